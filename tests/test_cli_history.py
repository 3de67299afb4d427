from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from facenet_validate.benchmarking.baselines import BaselineStore
from facenet_validate.cli import main
from facenet_validate.datasets.images import decode_image
from tests.history.sessions import benchmark_file, make_session, report_file, write_project

Say = Callable[..., str]


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    """Run an action and return what it says."""

    def run(*arguments: object, code: int = 0) -> str:
        try:
            found = main(["history", *map(str, arguments)])
        except SystemExit as ended:
            found = int(ended.code or 0)
        said = capsys.readouterr()
        assert found == code, said
        return said.out + said.err

    return run


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with baselines and the reports of runs."""
    write_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


BOTH = ("--source", "baselines", "--source", "ci")


def baseline(folder: Path) -> Path:
    (path,) = (folder / "baselines").glob("*/*-b8.jsonl")
    return path


def test_list_shows_sessions_epochs_and_change_points(project: Path, say: Say) -> None:
    lines = say("list", *BOTH).splitlines()
    assert lines[0] == "int8, batch 8, onnxruntime, Fast(R) CPU"
    table = [line for line in lines if line.startswith("2026")]
    assert len(table) == 15
    assert max(map(len, lines)) <= 100
    assert not any("\x1b" in line for line in lines)
    date, time, fps, latency, _interval, _ratio, _bounds, change, _, epoch, commit, _id = table[
        0
    ].split()
    assert (date, time, epoch, commit) == ("2026-01-01", "03:00", "1", "a1a1a1a")
    assert float(fps) == pytest.approx(80, rel=0.02)
    assert float(latency) == pytest.approx(100, rel=0.02)
    assert change[0] in "+-"
    assert "(2)" in table[-1]
    assert "epoch 2 begins 2026-01-07 03:00: pairs fuse with the adds" in lines
    (place,) = (n for n, line in enumerate(lines) if line.startswith("change point"))
    assert lines[place].startswith("change point 2026-01-13 03:00: +")
    assert "(6 sessions before, 3 after)" in lines[place]
    assert lines[place + 1] == (
        "  commit acacaca → adadada; changed: runtime onnxruntime 1.31 → onnxruntime 1.32"
    )


def test_by_default_baselines_and_benchmarks_of_this_folder_are_read(
    project: Path,
    say: Say,
) -> None:
    benchmark_file(project / ".benchmarks/Linux/0001_a.json", [make_session(20)], others=2)
    said = say("export")
    assert len([line for line in said.splitlines() if "onnxruntime,int8" in line]) == 13
    assert "2 measurements without a session are left out" in said


def test_show_tells_everything_and_what_changed(project: Path, say: Say) -> None:
    said = say("show", "latest~2", *BOTH)
    rows = dict(re.split(r"  +", line.strip(), maxsplit=1) for line in said.splitlines())
    assert rows["recorded"] == "2026-01-13T03:00:00+00:00"
    assert rows["epoch"] == "2 (by its time; the run was not accepted)"
    assert rows["device_details"] == "family 6, model 85, stepping 7, flags 0a1b2c3d, 2 cores"
    assert rows["file"] == "ci/run-12/results.json"
    assert rows["runtime"] == "onnxruntime 1.32"
    assert rows["blocks"].startswith("24, sd ")
    assert "runtime onnxruntime 1.31 → onnxruntime 1.32" in rows["changed"]
    assert "since" in rows["changed"]
    assert "2026-01-12 03:00" in rows["changed"]
    assert said == say("show", rows["session"][:8], *BOTH)
    assert "2026-01-06T03:00" in say("show", "latest", "--epoch", 1)
    assert "(since" in say("show", "latest", "--limit", 1)


def test_show_wants_one_session(
    project: Path,
    say: Say,
) -> None:
    fp32 = replace(make_session().identity, precision="fp32")
    BaselineStore(project / "baselines").append(make_session(identity=fp32))
    assert "expected one session, not 2" in say("show", "latest", code=2)
    assert "fp32" in say("show", "latest", "--precision", "fp32")
    assert "no session has this id" in say("show", "00000000", code=2)


def test_compare_exits_with_what_it_found(project: Path, say: Say) -> None:
    path, report = baseline(project), "ci/run-13/results.json"
    said = say("compare", "epoch:2", "latest", *BOTH, code=1)
    assert "verdict: REGRESSION" in said
    assert "changed: commit" in said
    assert "runtime onnxruntime 1.31 → onnxruntime 1.32" in said
    assert say("compare", path, report, code=1).startswith(
        f"A {path}: 6 sessions; 6 of earlier epochs left out\nB {report}: 1 session\n"
    )
    assert "verdict: no regression" in say("compare", "epoch:1", "epoch:2")
    assert "verdict: no regression" in say("compare", path, report, "--allow", "20")
    said = say("compare", "latest~1", "latest", *BOTH, code=3)
    assert "A has 1 of the 5 sessions that an interval needs" in said
    nothing = "verdict: inconclusive: no identity has sessions on both sides"
    assert nothing in say("compare", "epoch:9", "latest", code=3)
    assert nothing in say("compare", "epoch:1", "latest", "--batch", 64, code=3)
    assert "expected an id" in say("compare", "yesterday", "latest", code=2)
    say("compare", "latest", code=2)
    say("compare", "epoch:1", "epoch:2", "--allow", "-3", code=2)


def test_two_files_are_compared_where_nothing_else_is(
    tmp_path: Path,
    say: Say,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    before = benchmark_file(tmp_path / "a.json", [make_session(day) for day in range(6)])
    after = report_file(tmp_path / "b", make_session(9))
    assert "no regression" in say("compare", before, after)
    assert "no ./baselines" in say("compare", before, "latest", code=2)


def test_what_cannot_be_read_is_told_and_hides_nothing(
    project: Path,
    say: Say,
) -> None:
    broken = baseline(project).with_name("onnxruntime-int8-b64.jsonl")
    broken.write_text("<<<<<<< HEAD\n")
    for action in (["list"], ["export"], ["plot", "-o", "x.png"], ["show", "latest"]):
        said = say(*action)
        assert f"{broken.relative_to(project)}:1: this is a merge conflict" in said
        (project / "x.png").unlink(missing_ok=True)
        named = say(*action, "--source", "baselines", code=2)
        assert "this is a merge conflict" in named
        assert len(named) >= len(said)
    # What could not be read might have been slower.
    said = say("compare", "epoch:1", "epoch:2", code=3)
    assert (
        "verdict: inconclusive: a source could not be read whole; of the rest: no regression\n"
        in said
    )
    # A regression that was found remains one.
    said = say("compare", "epoch:2", "epoch:1", code=1)
    assert said.splitlines()[-2] == "verdict: REGRESSION"
    assert "merge conflict" in say("compare", "epoch:1", broken, code=2)
    # What is not asked does not matter.
    say("compare", baseline(project), "ci/run-12", code=1)


def test_a_slow_session_and_a_bad_source_end_with_the_error(project: Path, say: Say) -> None:
    (project / "ci/results.json").write_text("{")
    said = say("compare", "epoch:2", "latest", *BOTH, code=2)
    assert (
        "verdict: none: a source that was named could not be read whole; of the rest: REGRESSION"
        in said
    )
    assert "ci/results.json: this is not JSON" in said


def test_nothing_to_show_says_what_to_do(
    tmp_path: Path, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "name files or folders with --source" in say("list", code=2)
    (tmp_path / "baselines").mkdir()
    said = say("list", code=2)
    assert "no session in 0 files. Record some: pytest suites/ --facenet-update-baselines" in said
    said = say("list", "--source", "nothing.jsonl", code=2)
    assert "nothing.jsonl: there is no such file or folder" in said


def test_filters_that_leave_nothing_name_what_there_is(project: Path, say: Say) -> None:
    said = say("list", "--device", "H200", code=2)
    assert "none of the sessions is asked for. There are: int8, batch 8" in said
    assert "expected a date such as" in say("list", "--since", "monday", code=2)
    table = say("list", "--since", "2026-01-10", "--limit", "2")
    assert [line[:10] for line in table.splitlines() if line.startswith("2026")] == [
        "2026-01-11",
        "2026-01-12",
    ]


@pytest.mark.parametrize("name", ["history.png", "history.svg"])
def test_plot_writes_a_picture_and_names_change_points(project: Path, say: Say, name: str) -> None:
    said = say("plot", *BOTH, "-o", name)
    assert f"wrote {name}: 15 sessions of 1 series" in said
    assert "change point 2026-01-13" in said
    content = (project / name).read_bytes()
    if name.endswith("png"):
        assert decode_image(content, name=name).shape[1] == 1210
    else:
        assert content.rstrip().endswith(b"</svg>")
    assert "exists; nothing was written" in say("plot", *BOTH, "-o", name, code=2)
    assert (project / name).read_bytes() == content
    say("plot", *BOTH, "-o", name, "--force")
    assert "ends in .png or .svg" in say("plot", "-o", "x.pdf", code=2)


def test_plot_of_the_ratio_looks_for_changes_of_the_ratio(project: Path, say: Say) -> None:
    """The latency stays as it was: the machine became faster when the engine lost speed."""
    runs = [
        make_session(
            day, 0.1 + 1e-6 * day, paired_ratio=2.0 if day < 28 else 1.8, paired_interval=(1.7, 2.1)
        )
        for day in range(20, 36)
    ]
    path = report_file(project / "x", *runs)
    said = say("plot", "--ratio", "-o", "x.svg", "--source", path)
    assert "change point 2026-01-29 03:00: +11.1 %" in said
    assert "speed, × FP32's" in (project / "x.svg").read_text(encoding="utf-8")
    assert "change point" not in say("plot", "-o", "y.svg", "--source", path)
    assert "latency, ms a batch" in (project / "y.svg").read_text(encoding="utf-8")


def test_plot_says_what_it_leaves_out(
    project: Path,
    say: Say,
) -> None:
    base = make_session().identity
    store = BaselineStore(project / "baselines")
    for batch in range(20, 34):
        other = replace(base, batch=batch)
        store.append(make_session(batch, identity=other, paired_ratio=None, paired_interval=None))
    said = say("plot", "-o", "a.png")
    assert "12 sessions of 12 series" in said
    assert "it shows the 12 series measured last, of 15" in said
    said = say("plot", "-o", "b.png", "--ratio")
    assert "12 sessions of 1 series" in said
    assert said.count("without a ratio to FP32, not shown: int8, batch") == 14
    assert "no session has a ratio" in say("plot", "-o", "c.png", "--ratio", "--batch", 20, code=2)


def test_export_writes_a_file_once(project: Path, say: Say) -> None:
    assert "wrote x.csv: 12 sessions" in say("export", "-o", "x.csv")
    text = (project / "x.csv").read_text()
    assert text == say("export")
    assert "--force replaces it" in say("export", "-o", "x.csv", "--limit", 1, code=2)
    assert (project / "x.csv").read_text() == text
    say("export", "-o", "x.csv", "--limit", 1, "--force")
    assert len((project / "x.csv").read_text().splitlines()) == 2


def test_without_the_extra_change_points_are_missing_and_that_is_said(
    project: Path, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ruptures", None)
    said = say("list", *BOTH)
    assert "change points are not looked for: ruptures is not installed" in said
    assert "pip install 'facenet-validate[history]'" in said
    assert "change points are not looked for" in say("plot", "-o", "x.png")


def test_what_a_file_says_cannot_steer_the_terminal(
    project: Path,
    say: Say,
) -> None:
    nasty = "\x1b[2J[red]\ud800"
    changed = replace(make_session().identity, device=f"CPU {nasty}")
    session = make_session(identity=changed, reason=nasty, provenance={"commit": nasty})
    path = report_file(project / "x", session)
    for action in ("list", "show", "compare", "plot"):
        more = {
            "show": ["latest"],
            "compare": ["latest", "latest"],
            "plot": ["-o", "x.png"],
        }.get(action, [])
        said = say(action, *more, "--source", path, code=3 if action == "compare" else 0)
        assert "\x1b" not in said
        said.encode()
    assert "[red]" in say("list", "--source", path)
    say("export", "--source", path, "-o", "x.csv")


def test_an_error_that_names_what_a_file_says_cannot_steer_the_terminal(
    project: Path, say: Say
) -> None:
    identity = replace(make_session().identity, device="CPU \x1b[2J")
    path = report_file(project / "x", make_session(identity=identity))
    said = say("list", "--source", path, "--device", "H200", code=2)
    assert "There are: int8, batch 8, onnxruntime, CPU �[2J" in said


def test_a_configuration_that_a_lacks_is_not_passed_over(project: Path, say: Say) -> None:
    fp32 = replace(make_session().identity, precision="fp32")
    run = report_file(project / "run", make_session(20, 0.08), make_session(20, identity=fp32))
    said = say("compare", baseline(project), run, code=3)
    assert "latency / FP32's: 0.5 (6 sessions) → 0.5 (1 session), +0.0 %" in said
    assert "fp32, batch 8, onnxruntime, Fast(R) CPU: only in B" in said
    assert said.endswith("verdict: inconclusive: 1 of B's identities compared with nothing\n")


def test_compare_takes_an_epoch_as_a_side_only(project: Path, say: Say) -> None:
    said = say("compare", baseline(project), "ci/run-12", "--epoch", 2, code=2)
    assert "--epoch 2: compare takes an epoch as a side: epoch:2" in said
    assert "verdict" not in said


def test_show_takes_a_file_of_one_session(project: Path, say: Say) -> None:
    said = say("show", "ci/run-12/results.json")
    assert "2026-01-13T03:00:00" in said
    assert "2026-01-12 03:00" in said  # the session before it is the baselines'
    (project / "baselines").rename(project / "elsewhere")
    assert "2026-01-13T03:00:00" in say("show", "ci/run-12")
    assert "expected one session, not 3" in say("show", "ci", code=2)
    bad = project / "ci/run-12/more.jsonl"
    bad.write_text("{")
    assert "not a line of JSON" in say("show", "ci/run-12", code=2)


def test_numbers_that_are_none_are_told(say: Say) -> None:
    said = say("list", "--batch", "x", code=2)
    assert "argument --batch: 'x': expected a whole number above zero" in said
    assert "expected a whole number above zero" in say("list", "--limit", 0, code=2)
    for text in ("x", "nan", "0", "1001"):
        said = say("compare", "a", "b", "--allow", text, code=2)
        assert f"argument --allow: '{text}': expected a percentage above 0, up to 1000" in said


@pytest.mark.parametrize(
    "error",
    [
        OSError(5, "Input/output error"),
        UnicodeEncodeError("ascii", "\ud800", 0, 1, "ordinal not in range"),
        OverflowError("too large"),
        ValueError("odd"),
        RuntimeError("loop"),
        KeyError("a mistake of ours"),
    ],
)
def test_whatever_goes_wrong_is_no_regression(
    project: Path, say: Say, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*arguments: object) -> None:
        raise error

    monkeypatch.setattr("facenet_validate.commands.history.compare", fail)
    said = say("compare", "epoch:1", "epoch:2", code=2)
    assert said.splitlines()[-1] == f"facenet-validate: {type(error).__name__}: {error}"
    assert ("Traceback" in said) == isinstance(error, KeyError)


COMMAND = [
    sys.executable,
    "-c",
    "import sys; from facenet_validate.cli import main; sys.exit(main())",
    "history",
]


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    ("action", "code"), [(["export"], 0), (["compare", "epoch:2", "epoch:1"], 1)]
)
def test_a_reader_who_leaves_early_changes_no_exit_code(
    project: Path, unbuffered: str, action: list[str], code: int
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as gone:
        done = subprocess.run(
            [*COMMAND, *action],
            stdout=gone,
            stderr=subprocess.PIPE,
            check=False,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        )
    assert done.stderr == b""
    assert done.returncode == code


@pytest.mark.parametrize(
    ("where", "why"),
    [
        ("/dev/full", "standard output cannot be written (No space left on device)"),
        ("&-", "standard output is closed"),
    ],
)
@pytest.mark.parametrize("action", ["export", "compare epoch:2 epoch:1"])
def test_output_that_cannot_be_written_is_an_error(
    project: Path, where: str, why: str, action: str
) -> None:
    shell = ["sh", "-c", f'"$@" {action} >{where}', "sh", *COMMAND]
    done = subprocess.run(shell, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"facenet-validate: {why}")


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_any_text_can_be_written_in_any_encoding(project: Path, encoding: str) -> None:
    path = report_file(
        project / "x", make_session(reason="\ud800", provenance={"commit": "\udfff"})
    )
    actions = (
        ["list", *BOTH],
        ["show", str(path)],
        ["compare", "epoch:1", "epoch:2"],
        ["export", "--source", str(path)],
    )
    # One process for all of them: what each writes stands before its number.
    every = (
        "import sys; from facenet_validate.cli import main\n"
        f"for number, action in enumerate({actions}):\n"
        "    assert main(['history', *action]) == 0\n"
        "    print(f'=== {number}', flush=True)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", every],
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONIOENCODING": encoding},
    )
    assert done.returncode == 0, done.stderr
    written = done.stdout.decode(encoding)
    for number in range(len(actions)):
        said, _, written = written.partition(f"=== {number}")
        assert said.strip()
