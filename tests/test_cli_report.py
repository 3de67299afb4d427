"""``facenet-validate report``: the page again, two reports side by side, several as one."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from facenet_validate.cli import main
from tests.reporting.page.reading import read, same
from tests.reporting.small_reports import gate, report, write

Say = Callable[..., str]


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Say:
    """Run an action in the folder of the reports and return what it says."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object, code: int = 0) -> str:
        try:
            found = main(["report", *map(str, arguments)])
        except SystemExit as ended:
            found = int(ended.code or 0)
        said = capsys.readouterr()
        assert found == code, said
        return said.out + said.err

    return run


COSINE, ACC, SPEED = "parity.cosine_min", "accuracy.acc", "performance.stored"


def test_the_page_is_written_again(say: Say, tmp_path: Path) -> None:
    write(tmp_path / "a", report(gate(COSINE, "pass")))
    said = say("a")
    page = (tmp_path / "a" / "report.html").read_text()
    assert said == f"wrote {Path('a') / 'report.html'}\n"
    assert "It may." in page
    assert say("a/results.json") == said
    assert (tmp_path / "a" / "report.html").read_text() == page


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read"),
        ("{", "no JSON"),
        ("[]", "no report"),
        ('{"schema": 99}', "install a newer facenet-validate"),
        ('{"schema": 1, "gates": [1]}', "gates is no list of objects"),
        ('{"schema": 1, "gates": [{"gate": 1}]}', "its gate is 1; expected text"),
        (json.dumps(report(gate(COSINE, "ok"))), "its verdict is 'ok'"),
    ],
)
def test_what_is_no_report_is_refused(
    say: Say, tmp_path: Path, content: str | None, said: str
) -> None:
    (tmp_path / "a").mkdir()
    if content is not None:
        write(tmp_path / "a", content)
    assert said in say("a", code=2)
    assert not (tmp_path / "a" / "report.html").exists()


def test_two_reports_side_by_side(say: Say, tmp_path: Path) -> None:
    write(tmp_path / "a", report(gate(COSINE, "pass", 0.99), gate(ACC, "fail", 0.9)))
    changed = report(
        gate(COSINE, "fail", 0.5),
        gate(ACC, "pass", 0.995, limit=0.97),
        gate(SPEED, "pass", batch=8),
        engines={"int8": {"sha256": "e2"}},
    )
    write(tmp_path / "b", changed)
    lines = say("compare", "a", "b", "--out", "c.html", code=1).splitlines()
    table = [line.split() for line in lines if COSINE in line]
    assert table[0][0] == "worse"
    assert "-0.49" in table[0]
    assert any(line.startswith("better") and ACC in line for line in lines)
    assert any(line.startswith("only in B") and f"{SPEED} b8" in line for line in lines)
    assert "  engine int8: e1 → e2" in lines
    assert "  limit of accuracy.acc, int8 on lfw: 0.98 → 0.97" in lines
    assert "a gate is worse in B" in lines
    sides = {"a": json.loads((tmp_path / "a/results.json").read_text()), "b": changed}
    reading = read((tmp_path / "c.html").read_text())
    assert len(reading.values) > 10
    assert [one for one in reading.values if not same(sides, one)] == []


def test_reports_that_agree(say: Say, tmp_path: Path) -> None:
    write(tmp_path / "a", report(gate(COSINE, "pass")))
    assert say("compare", "a", "a").endswith("no gate is worse in B\n")


def test_what_one_machine_judged_completes_the_other(say: Say, tmp_path: Path) -> None:
    write(tmp_path / "cpu", report(gate(COSINE, "pass"), gate(SPEED, "not run")))
    gpu = report(
        gate(COSINE, "not evaluated"),
        gate(SPEED, "pass"),
        environment={"device": "a GPU"},
        verdict="partial",
    )
    write(tmp_path / "gpu", gpu)
    said = say("merge", "cpu", "gpu", "--out", "all")
    assert "verdict: PASS" in said
    merged = json.loads((tmp_path / "all" / "results.json").read_text())
    assert [(one["gate"], one["run"]) for one in merged["gates"]] == [(COSINE, 0), (SPEED, 1)]
    assert [run["environment"]["device"] for run in merged["runs"]] == ["a CPU", "a GPU"]
    assert merged["conflicts"] == []
    page = (tmp_path / "all" / "report.html").read_text()
    assert [one for one in read(page).values if not same(merged, one)] == []
    assert "a CPU" in page
    assert "a GPU" in page
    assert "exists; name a new folder" in say("merge", "cpu", "gpu", "--out", "all", code=2)


def test_a_recipe_gives_way_to_the_engine(say: Say, tmp_path: Path) -> None:
    write(tmp_path / "a", report(gate(COSINE, "pass", 0.98, recipe_only=True)))
    write(tmp_path / "b", report(gate(COSINE, "pass", 0.99)))
    assert "verdict: PASS" in say("merge", "a", "b", "--out", "all")
    (one,) = json.loads((tmp_path / "all" / "results.json").read_text())["gates"]
    assert one["observed"] == 0.99


@pytest.mark.parametrize(
    ("other", "verdict", "named"),
    [
        ({"model": {"source_sha256": "bb"}}, "INCONCLUSIVE", "they are of other models"),
        ({"gates": [gate(COSINE, "pass", limit=0.9)]}, "INCONCLUSIVE", "has other limits"),
        ({"gates": [gate(COSINE, "inconclusive")]}, "INCONCLUSIVE", "is pass and inconclusive of"),
        ({"gates": [gate(COSINE, "fail")]}, "FAIL", "is pass and fail of one engine"),
        ({"dataset": {"name": "lfw", "pairs_sha256": "p2"}}, "INCONCLUSIVE", "lfw has other pairs"),
    ],
    ids=["model", "limit", "verdict", "fail", "pairs"],
)
def test_conflicts_are_named(
    say: Say, tmp_path: Path, other: dict[str, Any], verdict: str, named: str
) -> None:
    pairs = {"name": "lfw", "pairs_sha256": "p1"}
    write(tmp_path / "a", report(gate(COSINE, "pass"), dataset=pairs))
    write(tmp_path / "b", {**report(gate(COSINE, "pass"), dataset=pairs), **other})
    said = say("merge", "a", "b", "--out", "all", code=1)
    assert f"verdict: {verdict}" in said
    assert "  " not in said
    (line,) = [line for line in said.splitlines() if line.startswith("conflict: ")]
    assert named in line
    assert line.endswith(": a, b")


def test_other_sets_are_no_conflict(say: Say, tmp_path: Path) -> None:
    lfw, orl = ({"name": name, "pairs_sha256": name} for name in ("lfw", "orl"))
    write(tmp_path / "a", report(gate(COSINE, "pass"), dataset=lfw))
    write(tmp_path / "b", report(gate(COSINE, "pass", dataset="orl"), dataset=orl))
    assert "conflict" not in say("merge", "a", "b", "--out", "all")


def test_other_engines_and_machines_may_have_other_verdicts(say: Say, tmp_path: Path) -> None:
    write(tmp_path / "a", report(gate(COSINE, "pass")))
    others: list[dict[str, Any]] = [
        {"engines": {"int8": {"sha256": "e2"}}},
        {"environment": {"device": "a CPU", "backend": "openvino"}},
        {"environment": {"device": "another CPU"}},
    ]
    for place, other in enumerate(others):
        write(tmp_path / "b", report(gate(COSINE, "inconclusive"), **other))
        assert "conflict" not in say("merge", "a", "b", "--out", str(place))


def test_speed_is_of_a_machine(say: Say, tmp_path: Path) -> None:
    """What one machine judged of its speed does not speak for another that timed the engine."""
    ratio = gate("performance.fp32_ratio", "pass")
    write(tmp_path / "a", report(ratio, gate(SPEED, "pass")))
    write(tmp_path / "new", report(ratio, gate(SPEED, "not evaluated")))
    assert "verdict: PARTIAL" in say("merge", "a", "new", "--out", "all")
    write(tmp_path / "new", report({**ratio, "verdict": "inconclusive"}, gate(SPEED, "pass")))
    said = say("merge", "a", "new", "--out", "noisy")
    assert "verdict: INCONCLUSIVE" in said
    assert "conflict" not in said


def test_a_run_that_did_not_end_fails_the_whole(say: Say, tmp_path: Path) -> None:
    write(tmp_path / "a", report(gate(COSINE, "pass")))
    write(tmp_path / "b", report(verdict="unfinished", finished_at=None, exit_status=None))
    said = say("merge", "a", "b", "--out", "all", code=1)
    assert "verdict: FAIL" in said
    assert "Not come to its end: b." in said


def test_a_run_without_a_report_fails_the_whole(say: Say, tmp_path: Path) -> None:
    for name in ("cpu", "gpu"):
        write(tmp_path / "reports" / name, report(gate(COSINE, "pass")))
    both = ("reports/cpu", "reports/gpu")
    assert "verdict: PASS" in say("merge", *both, "--out", "two", "--expect", "gpu", "cpu")
    expected = ("--expect", "cpu", "gpu", "arm")
    said = say("merge", *both, "--out", "all", *expected, code=1)
    assert "\narm: there is no report" in said
    assert "verdict: FAIL" in said
    merged = json.loads((tmp_path / "all" / "results.json").read_text())
    assert merged["missing_runs"] == ["arm"]
    page = (tmp_path / "all" / "report.html").read_text()
    assert [one for one in read(page).values if not same(merged, one)] == []
    assert "There is no report of arm." in page
    say("merge", "reports/cpu", "--out", "one", *expected, code=1)
    assert "gpu: not expected" in say("merge", *both, "--out", "x", "--expect", "cpu", code=2)
    assert not (tmp_path / "x").exists()


def test_the_step_summary_says_which_run_failed(
    say: Say, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "a", report(gate(COSINE, "pass")))
    cause = {"name": "diagnosis", "precision": "int8", "text": "grey faces", "explains": True}
    failing = report(gate(ACC, "fail", 0.9), verdict="fail", sentence="It may not.")
    write(tmp_path / "b", {**failing, "measurements": [cause]})
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    said = say("merge", "a", "b", "--out", "all", code=1)
    summary = (tmp_path / "summary.md").read_text()
    assert "## FaceNet validation of several runs: fail" in summary
    assert "b (a CPU): FAIL: It may not.\n" in said
    failed = "b: fail: accuracy.acc, int8 on lfw: 0.9 observed, limit 0.98"
    assert failed in said
    assert f"- {failed}" in summary
    assert "- b: why INT8 differs: grey faces" in summary
    page = (tmp_path / "all" / "report.html").read_text()
    assert re.search(r"Why .*int8.* of run .*b.* differs", page)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path))
    assert "was not written" in say("merge", "a", "b", "--out", "again", code=1)


@pytest.mark.parametrize(
    "arguments",
    [
        ("a", "b"),
        ("compare", "a"),
        ("merge", "a", "--out", "x"),
        ("merge", "a", "a"),
        ("a", "--out", "x"),
        ("compare", "a", "a", "--expect", "a"),
    ],
)
def test_arguments_that_do_not_go_together(
    say: Say, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    write(tmp_path / "a", report())
    assert "expected" in say(*arguments, code=2)
