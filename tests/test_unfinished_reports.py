"""A report of an older run never stands for one that broke."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

STALE = json.dumps({"schema": 1, "verdict": "pass", "run": "stale"})
OLDER = json.dumps({"schema": 1, "verdict": "pass", "run": "older"})

MINE = """
def test_mine(facenet_gates):
    facenet_gates.check(facenet_gates.hold("parity.cosine_min", 0.99))
"""

DIES = """
import os
import signal


def test_mine(facenet_gates):
    {death}
"""

INTERRUPTED = """
import pytest


{hook}
"""


@pytest.fixture
def reported(light_project: pytest.Pytester) -> pytest.Pytester:
    """A project whose report folder holds a report that says pass, and an older one."""
    folder = light_project.path / "report"
    (folder / "previous").mkdir(parents=True)
    (folder / "results.json").write_text(STALE)
    (folder / "previous" / "results.json").write_text(OLDER)
    light_project.makepyfile(test_mine=MINE)
    return light_project


ARGUMENTS = ("--precision=fp32", "--facenet-report=report")


def _run(project: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return project.runpytest_inprocess(*ARGUMENTS, *arguments, no_reraise_ctrlc=True)


def _report(project: pytest.Pytester, *below: str) -> dict[str, Any]:
    path = project.path.joinpath("report", *below, "results.json")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def _files(project: pytest.Pytester) -> dict[str, str]:
    folder = project.path / "report"
    return {
        str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*.json"))
    }


def test_a_finished_report_takes_the_place_of_the_older_one(reported: pytest.Pytester) -> None:
    copying = f"import shutil\n{MINE}    shutil.copy('report/results.json', 'm.json')\n"
    reported.makepyfile(test_mine=copying)
    assert _run(reported).ret == pytest.ExitCode.OK
    document, meanwhile = _report(reported), json.loads((reported.path / "m.json").read_text())
    assert (document["verdict"], document["exit_status"]) == ("partial", 0)
    assert (meanwhile["verdict"], meanwhile["finished_at"]) == ("unfinished", None)
    assert meanwhile["started_at"] == document["started_at"] <= document["finished_at"]
    assert _report(reported, "previous")["run"] == "stale"
    assert len(_files(reported)) == 2


@pytest.mark.parametrize(
    "death",
    ["os._exit(0)", "os.kill(os.getpid(), signal.SIGKILL)", "os.kill(os.getpid(), signal.SIGTERM)"],
    ids=["os._exit", "SIGKILL", "SIGTERM"],
)
def test_a_run_that_dies_leaves_an_unfinished_report(reported: pytest.Pytester, death: str) -> None:
    reported.makepyfile(test_mine=DIES.format(death=death))
    # Twice: an unfinished report is no report to keep.
    for _ in range(2):
        reported.runpytest_subprocess(*ARGUMENTS)
        document = _report(reported)
        assert (document["verdict"], document["finished_at"]) == ("unfinished", None)
        assert _report(reported, "previous")["run"] == "stale"


def test_a_run_after_an_unfinished_one_keeps_the_last_finished_report(
    reported: pytest.Pytester,
) -> None:
    reported.makepyfile(test_mine=DIES.format(death="os._exit(0)"))
    reported.runpytest_subprocess(*ARGUMENTS)
    reported.makepyfile(test_mine=MINE)
    _run(reported)
    assert _report(reported)["verdict"] == "partial"
    assert _report(reported, "previous")["run"] == "stale"


@pytest.mark.parametrize(
    ("hook", "workers"),
    [
        ("def pytest_collection_modifyitems(): raise KeyboardInterrupt", ()),
        ("def pytest_runtest_protocol(): raise KeyboardInterrupt", ()),
        ("def pytest_xdist_node_collection_finished(): raise KeyboardInterrupt", ("-n", "1")),
        ("def pytest_runtest_protocol(): pytest.exit('enough', returncode=77)", ()),
        ("def pytest_runtestloop(): raise RuntimeError('internal')", ()),
    ],
    ids=[
        "Ctrl-C in collection",
        "Ctrl-C before a test",
        "Ctrl-C under xdist",
        "pytest.exit",
        "internal error",
    ],
)
def test_a_run_that_is_interrupted_before_its_first_result_is_a_fail(
    reported: pytest.Pytester, hook: str, workers: tuple[str, ...]
) -> None:
    conftest = reported.path / "conftest.py"
    conftest.write_text(conftest.read_text() + INTERRUPTED.format(hook=hook))
    result = _run(reported, *workers)
    assert result.ret not in (0, 1)
    document = _report(reported)
    assert (document["verdict"], document["exit_status"]) == ("fail", result.ret)
    assert _report(reported, "previous")["run"] == "stale"


def test_ctrl_c_while_workers_start_leaves_an_unfinished_report(reported: pytest.Pytester) -> None:
    conftest = reported.path / "conftest.py"
    hook = "def pytest_xdist_setupnodes(): raise KeyboardInterrupt"
    conftest.write_text(conftest.read_text() + INTERRUPTED.format(hook=hook))
    assert _run(reported, "-n", "2").ret == pytest.ExitCode.INTERRUPTED
    assert _report(reported)["verdict"] == "unfinished"
    assert _report(reported, "previous")["run"] == "stale"


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (("--facenet-backend=gpu",), "--facenet-backend: 'gpu'"),
        (("--facenet-lfw=/no/such/folder",), "/no/such/folder"),
        (("--facenet-require=lfw",), "data set lfw is required"),
        (("no_such_test.py",), "no_such_test.py"),
        (("test_mine.py::no_such_test",), "no_such_test"),
    ],
    ids=["value", "path", "requirement", "file", "test"],
)
def test_a_usage_error_is_reported(
    reported: pytest.Pytester, arguments: tuple[str, ...], names: str
) -> None:
    result = _run(reported, *arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    document = _report(reported)
    assert (document["verdict"], document["exit_status"]) == ("fail", 4)
    assert names in document["errors"][0]["message"]
    assert _report(reported, "previous")["run"] == "stale"


def test_a_file_that_cannot_be_collected_is_reported(reported: pytest.Pytester) -> None:
    reported.makepyfile(test_mine="import no_such_module")
    result = _run(reported)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    document = _report(reported)
    assert document["verdict"] == "fail"
    assert "no_such_module" in document["errors"][0]["message"]


@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["one process", "xdist"])
@pytest.mark.parametrize(
    ("source", "status"),
    [("def test_theirs(): pass", 0), ("def test_theirs(): assert False", 1), ("", 5)],
    ids=["passes", "fails", "no test"],
)
def test_without_a_test_of_ours_everything_is_as_it_was(
    reported: pytest.Pytester, source: str, status: int, workers: tuple[str, ...]
) -> None:
    reported.makepyfile(test_mine=source)
    before = _files(reported)
    for folder in ("report", "new/report"):
        result = _run(reported, f"--facenet-report={folder}", *workers)
        assert result.ret == status
        assert _files(reported) == before
        assert not (reported.path / "new").exists()


@pytest.mark.parametrize(
    "listing",
    [
        "--collect-only",
        "--help",
        "--fixtures",
        "--fixtures-per-test",
        "--setup-plan",
        "--markers",
        "--version",
        "--cache-show",
    ],
)
def test_listing_leaves_reports_alone(reported: pytest.Pytester, listing: str) -> None:
    before = _files(reported)
    _run(reported, listing)
    assert _files(reported) == before


def test_two_runs_in_one_folder_lose_no_report(tmp_path: Path) -> None:
    from facenet_validate.reporting.folder import ReportFolder

    report = tmp_path / "report"
    ReportFolder.begin(report, {"verdict": "unfinished"}).finish({"verdict": "pass"})
    without_ours = ReportFolder.begin(report, {"verdict": "unfinished"})
    failing = ReportFolder.begin(report, {"verdict": "unfinished"})
    failing.finish({"verdict": "fail"})
    without_ours.put_back()
    assert json.loads((report / "results.json").read_text()) == {"verdict": "fail"}
    passing = ReportFolder.begin(report, {"verdict": "unfinished"})
    ReportFolder.begin(report, {"verdict": "unfinished"}).finish({"verdict": "fail", "n": 2})
    passing.finish({"verdict": "pass"})
    assert json.loads((report / "previous" / "results.json").read_text())["n"] == 2


def test_usage_errors_do_not_push_the_last_report_out(reported: pytest.Pytester) -> None:
    for _ in range(2):
        _run(reported, "--facenet-backend=gpu")
    assert _report(reported, "previous")["run"] == "stale"


def test_a_pipe_in_the_report_s_place_is_named(reported: pytest.Pytester) -> None:
    (reported.path / "report" / "results.json").unlink()
    os.mkfifo(reported.path / "report" / "results.json")
    result = _run(reported)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "results.json: not a regular file" in result.stderr.str()


@pytest.mark.parametrize(
    "ending",
    ["pytest.exit('x', returncode=3)", "(_ for _ in ()).throw(KeyboardInterrupt)"],
    ids=["exit", "Ctrl-C"],
)
def test_a_conftest_that_ends_the_session_at_its_start_leaves_no_older_report(
    reported: pytest.Pytester, ending: str
) -> None:
    conftest = reported.path / "conftest.py"
    hook = f"def pytest_sessionstart(): {ending}"
    conftest.write_text(conftest.read_text() + INTERRUPTED.format(hook=hook))
    _run(reported)
    assert _report(reported)["verdict"] == "unfinished"
    assert _report(reported, "previous")["run"] == "stale"


@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["one process", "xdist"])
def test_a_run_that_variables_make_ours_is_reported(
    reported: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, workers: tuple[str, ...]
) -> None:
    (reported.path / "baselines").rename(reported.path / "shared")
    monkeypatch.setenv("FACENET_BASELINES", "shared")
    monkeypatch.setenv("FACENET_REPORT", "report")
    monkeypatch.setenv("FACENET_PRECISION", "fp32")
    reported.makepyfile(test_mine=MINE.replace("0.99", "0.9"))
    result = reported.runpytest_inprocess(*workers)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert _report(reported)["verdict"] == "fail"
    monkeypatch.setenv("FACENET_REQUIRE", "lfw")
    assert reported.runpytest_inprocess(*workers).ret == pytest.ExitCode.USAGE_ERROR


def test_no_signal_handler_is_installed(reported: pytest.Pytester) -> None:
    reported.makepyfile(
        test_mine=f"""
        import signal


        def test_mine(facenet_gates):
            assert signal.getsignal(signal.SIGTERM) == {int(signal.SIG_DFL)}
        """
    )
    assert _run(reported).ret == pytest.ExitCode.OK


def test_a_report_that_cannot_be_begun_leaves_the_older_one(tmp_path: Path) -> None:
    from facenet_validate.reporting.folder import ReportFolder

    report = tmp_path / "report"
    (report / "previous").mkdir(parents=True)
    (report / "results.json").mkdir()
    with pytest.raises(OSError, match="not a regular file"):
        ReportFolder.begin(report, {"verdict": "unfinished"})
    assert [path.name for path in sorted(report.iterdir())] == ["previous", "results.json"]
