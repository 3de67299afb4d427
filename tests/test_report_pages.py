"""The page of a run: beside results.json, never of another run, and no verdict hangs on it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.reporting.page.reading import read, same

MINE = """
def test_mine(facenet_gates):
    facenet_gates.measure("mine", {"figure": 1.5})
    facenet_gates.check(facenet_gates.hold("parity.cosine_min", 0.99, "by hand"))
"""
ARGUMENTS = ("--precision=fp32", "--facenet-report=report")


@pytest.fixture
def reported(light_project: pytest.Pytester) -> pytest.Pytester:
    """A project whose report folder holds a finished report and its page."""
    folder = light_project.path / "report"
    folder.mkdir()
    (folder / "results.json").write_text(json.dumps({"schema": 1, "verdict": "pass"}))
    (folder / "report.html").write_text("of an older run")
    light_project.makepyfile(test_mine=MINE)
    return light_project


def _page(project: pytest.Pytester, *below: str) -> Path:
    return project.path.joinpath("report", *below, "report.html")


def test_a_run_writes_its_page(reported: pytest.Pytester) -> None:
    result = reported.runpytest_inprocess(*ARGUMENTS)
    assert result.ret == 0
    result.stdout.fnmatch_lines([f"report: *{Path('report', 'report.html')}"])
    document = json.loads((reported.path / "report" / "results.json").read_text())
    reading = read(_page(reported).read_text())
    assert [one for one in reading.values if not same(document, one)] == []
    assert {"by hand", "0.99", "1.5"} <= {one.text for one in reading.values}
    assert _page(reported, "previous").read_text() == "of an older run"


def test_while_a_run_is_under_way_no_older_page_stands(reported: pytest.Pytester) -> None:
    reported.makepyfile(test_mine="import os\ndef test_mine(facenet_gates):\n    os._exit(0)\n")
    reported.runpytest_subprocess(*ARGUMENTS)
    assert not _page(reported).exists()
    assert _page(reported, "previous").read_text() == "of an older run"


def test_a_session_without_a_test_of_ours_puts_the_page_back(reported: pytest.Pytester) -> None:
    reported.makepyfile(test_mine="def test_mine(): pass\n")
    reported.runpytest_inprocess(*ARGUMENTS)
    assert _page(reported).read_text() == "of an older run"
    assert not _page(reported, "previous").exists()


def test_a_page_that_cannot_be_made_changes_no_verdict(
    reported: pytest.Pytester,
) -> None:
    reported.makeconftest(
        (reported.path / "conftest.py").read_text()
        + """
def pytest_configure():
    from facenet_validate.reporting.page import writing

    def broken(folder, document):
        raise RuntimeError("no page today")

    writing.write_page = broken
"""
    )
    result = reported.runpytest_subprocess(*ARGUMENTS)  # its conftest changes a module
    assert result.ret == 0
    result.stdout.fnmatch_lines(["report.html was not written: *no page today"])
    assert json.loads((reported.path / "report" / "results.json").read_text())["gates"]


def test_the_plugin_s_start_imports_neither_jinja2_nor_matplotlib(
    light_project: pytest.Pytester,
) -> None:
    light_project.makeconftest("")
    light_project.makepyfile(
        test_theirs="""
import sys
def test_theirs():
    assert not {"jinja2", "matplotlib"} & set(sys.modules)
"""
    )
    assert light_project.runpytest_subprocess("--precision=fp32").ret == 0
