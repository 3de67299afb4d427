"""``facenet-validate gates propose``: limits from reports, as a diff of the gates file."""

from __future__ import annotations

import difflib
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from facenet_validate.cli import main
from facenet_validate.commands import gates as command
from facenet_validate.gates import catalogue
from facenet_validate.gates.editing import with_limits
from facenet_validate.gates.limits import read_gates
from facenet_validate.gates.verdicts import Observed, Verdict, hold
from tests.reporting.small_reports import gate, report, write

GATES = """\
schema = 1
# Limits of ours: d²/2.

[gates.any.int8.any]
parity.cosine_min = 0.98                # as it came
accuracy.paired_drop = 0.003
"""


@dataclass(frozen=True)
class Said:
    """What a command wrote."""

    out: str
    err: str


Propose = Callable[..., Said]


@pytest.fixture
def propose(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Propose:
    """Run the command in a project with a gates file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "baselines").mkdir()
    (tmp_path / "baselines" / "gates.toml").write_text(GATES, encoding="utf-8")

    def run(*arguments: object, code: int = 0) -> Said:
        found = main(["gates", "propose", *map(str, arguments)])
        said = capsys.readouterr()
        assert found == code, said
        return Said(said.out, said.err)

    return run


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "baselines" / "gates.toml"


COSINE = "parity.cosine_min"


def test_a_limit_is_shown_as_a_diff_and_nothing_is_written(
    propose: Propose, file: Path, tmp_path: Path
) -> None:
    write(tmp_path / "a", report(gate(COSINE, "pass", 0.995)))
    said = propose("a")
    assert said.out == (
        "--- a/baselines/gates.toml\n"
        "+++ b/baselines/gates.toml\n"
        "@@ -4,3 +4,7 @@\n"
        " [gates.any.int8.any]\n"
        " parity.cosine_min = 0.98                # as it came\n"
        " accuracy.paired_drop = 0.003\n"
        "+\n"
        "+[gates.lfw.int8.cpu]\n"
        "+# gates propose: 0.995 at worst in 1 run, 1 engine, 2026-01-01; distance from 1 × 2\n"
        "+parity.cosine_min = 0.99\n"
    )
    assert "tightens parity.cosine_min of int8 on lfw, cpu from 0.98 to 0.99" in said.err
    assert "the limits of int8 on lfw, cpu stand on one engine" in said.err
    assert "nothing was written" in said.err
    assert file.read_text(encoding="utf-8") == GATES


def test_what_becomes_looser_is_said(propose: Propose, tmp_path: Path) -> None:
    write(tmp_path / "a", report(gate(COSINE, "pass", 0.985)))
    assert (
        "loosens parity.cosine_min of int8 on lfw, cpu from 0.98 to 0.97: look before you accept it"
    ) in propose("a").err


def test_the_worst_of_several_runs_counts_and_engines_are_counted(
    propose: Propose, tmp_path: Path
) -> None:
    runs = [("a", 0.997, 7, "e1"), ("b", 0.995, 5, "e1"), ("c", 0.996, 6, "e2")]
    for name, value, day, engine in runs:
        one = report(gate(COSINE, "pass", value), started_at=f"2026-01-0{day}T10:00:00+00:00")
        write(tmp_path / name, {**one, "engines": {"int8": {"sha256": engine}}})
    said = propose("a", "b", "c/results.json")
    assert (
        "+# gates propose: 0.995 at worst in 3 runs, 2 engines, 2026-01-05 to 2026-01-07; distance "
        "from 1 × 2\n+parity.cosine_min = 0.99\n"
    ) in said.out
    assert "stand on one engine" not in said.err


MANY = [
    gate("parity.cosine_p1", "pass", 0.9971234),
    gate(COSINE, "pass", 0.991),
    gate("accuracy.acc", "pass", 0.9871),
    gate("build.int8_share", "pass", 0.9993),
    gate("contract.reload", "pass", 0.0),
    gate("contract.norm_error_max", "pass", 3e-5),
    gate("contract.timed_outputs", "pass", 3e-5, batch=1),
    gate("contract.timed_outputs", "pass", 4e-5, batch=64),
]


def test_what_was_measured_passes_what_was_proposed(
    propose: Propose, file: Path, tmp_path: Path
) -> None:
    write(tmp_path / "a", report(*MANY))
    shutil.copy(Path(command.__file__).parents[2] / "baselines" / "gates.toml", file)
    before = file.read_text(encoding="utf-8").splitlines()
    file.chmod(0o640)
    said = propose("a", "--write")
    assert "wrote baselines/gates.toml" in said.err
    limits = read_gates(file).limits("lfw", "int8", "cpu")
    for one in MANY:
        observed = Observed(one["gate"], one["observed"])
        bound = catalogue.row(one["gate"]).bound
        assert hold(observed, limits[one["gate"]], bound).verdict == Verdict.PASS
    assert limits["contract.timed_outputs"] == 8e-5
    assert file.stat().st_mode & 0o777 == 0o640
    # Lines are gone only where a value stood in this very table.
    after = file.read_text(encoding="utf-8").splitlines()
    gone = [line[2:] for line in difflib.ndiff(before, after) if line.startswith("- ")]
    assert gone == ["parity.cosine_min = 0.99", "parity.cosine_p1 = 0.997"]
    # The same reports change nothing more.
    again = propose("a", "--write")
    assert again.out == ""
    assert "no limit of baselines/gates.toml changes" in again.err
    assert file.read_text(encoding="utf-8").splitlines() == after


@pytest.mark.skipif(shutil.which("git") is None, reason="no git")
@pytest.mark.parametrize("end", ["\n", ""])
def test_git_applies_the_diff(propose: Propose, file: Path, tmp_path: Path, end: str) -> None:
    file.write_text(GATES.rstrip("\n") + end, encoding="utf-8")
    write(tmp_path / "a", report(*MANY))
    diff = propose("a").out
    assert ("No newline" in diff) == (end == "")
    subprocess.run(["git", "apply", "-"], input=diff.encode(), check=True, cwd=tmp_path)
    applied = file.read_bytes()
    file.write_text(GATES.rstrip("\n") + end, encoding="utf-8")
    propose("a", "--write")
    assert file.read_bytes() == applied


def test_an_engine_that_failed_is_no_ground_for_limits(propose: Propose, tmp_path: Path) -> None:
    fp16 = {"precision": "fp16"}
    failed = gate("accuracy.acc", "fail", 0.9)
    good = gate(COSINE, "pass", 0.9999, **fp16)
    write(tmp_path / "a", report(failed, gate(COSINE, "pass", 0.99), good, verdict="fail"))
    said = propose("a")
    assert "a: int8 is left out: accuracy.acc fails" in said.err
    assert "[gates.lfw.fp16.cpu]" in said.out
    assert "[gates.lfw.int8.cpu]" not in said.out


@pytest.mark.parametrize(
    ("error", "fp16"), [({"judges": [{"precision": "int8"}]}, True), ({"judges": []}, False)]
)
def test_an_engine_whose_test_broke_is_left_out(
    propose: Propose, tmp_path: Path, error: dict[str, Any], fp16: bool
) -> None:
    good = gate(COSINE, "pass", 0.9999, precision="fp16")
    write(tmp_path / "a", report(gate(COSINE, "pass", 0.99), good, errors=[error]))
    said = propose("a")
    assert "a: int8 is left out: a test broke" in said.err
    assert ("[gates.lfw.fp16.cpu]" in said.out) == fp16
    assert "[gates.lfw.int8.cpu]" not in said.out


def test_what_is_left_as_it_is_is_said_with_its_reason(propose: Propose, tmp_path: Path) -> None:
    gates = [
        gate("accuracy.paired_drop", "pass", 0.0005),
        gate("performance.stored", "pass", 1.01, batch=1),
        gate("contract.non_finite", "pass", 0),
        gate("contract.reload", "pass", 0.0),
        gate(COSINE, "pass", 0.99, precision="fp16", recipe_only=True),
        gate("accuracy.acc", "pass", 0.99, dataset="staff"),
        gate("contract.of_tomorrow", "pass", 0.99),
        gate("parity.cosine_mean", "not run"),
    ]
    write(tmp_path / "a", report(*gates))
    said = propose("a")
    assert said.out == ""
    for line in (
        "left as they are: accuracy.paired_drop (int8): the limit is how much an engine may lose",
        "left as they are: performance.stored (int8): the limit is how much slower an engine may",
        "left as they are: contract.non_finite (int8): the limit parts right from wrong",
        "left as they are: contract.reload (int8): it is without any loss",
        "a: fp16 is left out: it was judged on a stand-in",
        "a: staff is left out: `sets` of the gates file lacks it",
        "no limit of baselines/gates.toml changes",
    ):
        assert line in said.err


def test_a_set_of_one_s_own_gets_its_first_limit(
    propose: Propose, file: Path, tmp_path: Path
) -> None:
    file.write_text(GATES.replace("schema = 1\n", 'schema = 1\nsets = ["staff"]\n'))
    measured = gate("accuracy.acc", "not evaluated", dataset="staff", limit=None)
    write(tmp_path / "a", report({**measured, "observed": 0.98}))
    said = propose("a", "--write")
    assert "adds accuracy.acc of int8 on staff, cpu: 0.975" in said.err
    assert read_gates(file).limits("staff", "int8", "cpu")["accuracy.acc"] == 0.975


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ("{", "no JSON"),
        ([], "no report"),
        (report(verdict="unfinished", exit_status=None), "has not come to its end"),
        (report(exit_status=2), "has not come to its end"),
        (report(exit_status="0"), "has not come to its end"),
        (report(runs=[], exit_status=0), "reports that were joined"),
        (report(model={}), "does not say which model"),
        (report(model=[]), "model is []; expected an object"),
        (report(settings=1), "settings is 1; expected an object"),
        (report(sets={"x": 1}), "x is 1; expected an object"),
        (report(sets={"x\n\x1b[2J": 1}), "x\ufffd\ufffd[2J is 1; expected an object"),
        (report(gate(COSINE, "pass"), engines={"int8": 3}), "int8 is 3; expected an object"),
        (report(started_at=None), "started_at is None"),
        (report(started_at="2026-01-01\n[gates]"), "started_at is "),
        (report(started_at=5), "started_at is 5"),
        (report(gate(COSINE, "pass", True)), "observed True"),
        (report(gate(COSINE, "pass", float("nan"))), "observed nan"),
        (report(gate(COSINE, "pass", 10**400)), "observed 1000"),
        (report(gate(COSINE, "pass", precision="int4")), "precision 'int4'"),
        (report(gate(COSINE, "pass", target="x]\n[gates")), r"target 'x]\n[gates'"),
        (report(gate(COSINE, "pass", target=["cpu"])), "target ['cpu']"),
        (report(gate(COSINE, "pass", dataset="any")), ""),
        (report(errors=[{"judges": [1]}]), "an error does not say"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "",
)
def test_what_is_no_ground_for_limits_is_refused_in_a_line(
    propose: Propose, file: Path, tmp_path: Path, document: Any, says: str
) -> None:
    write(tmp_path / "a", document)
    said = propose("a", "--write", code=2 if says else 0)
    assert said.out == ""
    assert file.read_text(encoding="utf-8") == GATES
    if says:
        assert says in said.err
        assert said.err.count("\n") == 1
        assert said.err.startswith("facenet-validate: a")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model": {"source_sha256": "bb"}}, "b: the model is 'bb', but 'aa' in a"),
        ({"settings": {"protocol": "flip"}}, "b: the protocol is 'flip', but None in a"),
        (
            {"dataset": {"name": "lfw", "pairs_sha256": "2"}},
            "b: the digest of the pairs of lfw is '2', but '1' in a",
        ),
        ({}, "a/results.json: its run is named twice"),
    ],
)
def test_reports_that_do_not_go_together_are_refused(
    propose: Propose, tmp_path: Path, changes: dict[str, Any], says: str
) -> None:
    one = report(gate(COSINE, "pass"), dataset={"name": "lfw", "pairs_sha256": "1"})
    write(tmp_path / "a", one)
    write(tmp_path / "b", {**one, **changes})
    said = propose("a", "b" if changes else "a/results.json", code=2)
    assert says in said.err
    assert said.err.count("\n") == 1


def test_a_project_without_a_gates_file_is_told_what_to_do(
    propose: Propose, file: Path, tmp_path: Path
) -> None:
    write(tmp_path / "a", report(gate(COSINE, "pass")))
    file.unlink()
    assert "facenet-validate init ." in propose("a", "--gates", file, code=2).err


def test_the_nearest_file_above_counts_and_a_link_stays_one(
    propose: Propose, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "a", report(gate(COSINE, "pass", 0.995)))
    real = tmp_path / "real.toml"
    file.rename(real)
    file.symlink_to(real)
    (tmp_path / "deep").mkdir()
    monkeypatch.chdir(tmp_path / "deep")
    assert f"patch {os.pardir}/baselines/gates.toml" in propose("../a").err
    propose("../a", "--write")
    assert file.is_symlink()
    assert read_gates(real).limits("lfw", "int8", "cpu")[COSINE] == 0.99


def test_a_file_that_changes_meanwhile_is_not_written_over(
    propose: Propose, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "a", report(gate(COSINE, "pass", 0.995)))

    def meanwhile(*arguments: Any) -> bytes:
        file.write_text(f"{GATES}# by somebody else\n", encoding="utf-8")
        return with_limits(*arguments)

    monkeypatch.setattr(command, "with_limits", meanwhile)
    said = propose("a", "--write", code=2)
    assert "it was changed meanwhile, and was not written" in said.err
    assert file.read_text(encoding="utf-8").endswith("# by somebody else\n")
