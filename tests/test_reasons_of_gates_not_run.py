"""Where set-up ends a test, the gates it was to judge say why they were not."""

from __future__ import annotations

import json

import pytest

BROKEN = """
import pytest

from facenet_validate.base.errors import {error}


@pytest.fixture
def embeddings(facenet_gates):
    raise {error}({message!r})


@pytest.mark.facenet_judges("parity.cosine_min")
def test_broken(embeddings, facenet_gates):
    pass


@pytest.mark.facenet_judges("parity.cosine_mean")
def test_after_it(facenet_gates):
    facenet_gates.check(facenet_gates.hold("parity.cosine_mean", 0.999))
"""

COLLAPSED = "fp32 engine: all 880 embeddings are the same. An engine that ignores its input."
MISSING = "1 of 880 photos are missing, the first Anna_0001. Get the whole set."


def _details(project: pytest.Pytester, *arguments: str) -> tuple[pytest.RunResult, dict[str, str]]:
    result = project.runpytest_subprocess(
        "--precision=fp32", "--facenet-report=report", "-p", "no:randomly", *arguments
    )
    document = json.loads((project.path / "report" / "results.json").read_text())
    return result, {gate["gate"]: gate["detail"] for gate in document["gates"]}


@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["one process", "xdist"])
def test_the_error_of_its_test_is_a_gate_s_reason(
    light_project: pytest.Pytester, workers: tuple[str, ...]
) -> None:
    light_project.makepyfile(test_mine=BROKEN.format(error="EngineError", message=COLLAPSED))
    result, details = _details(light_project, *workers)
    assert details["parity.cosine_min"] == COLLAPSED
    assert details["parity.cosine_mean"] == ""  # it was judged
    assert details["accuracy.paired_drop"] == ""  # nobody asked for it
    result.stdout.fnmatch_lines(["*cosine_min*not run*see below", f"not run, 1 gate: {COLLAPSED}"])


def test_what_ended_the_run_is_the_reason_of_all_gates_after_it(
    light_project: pytest.Pytester,
) -> None:
    light_project.makepyfile(test_mine=BROKEN.format(error="DatasetError", message=MISSING))
    result, details = _details(light_project)
    assert details["parity.cosine_min"] == MISSING
    assert details["parity.cosine_mean"] == MISSING
    result.stdout.fnmatch_lines(["*cosine_mean*not run*see below", f"not run, 3 gates: {MISSING}"])


def test_an_interrupted_run_says_so(light_project: pytest.Pytester) -> None:
    light_project.makepyfile(
        test_mine="""
        def test_mine(facenet_gates):
            raise KeyboardInterrupt
        """
    )
    _, details = _details(light_project)
    assert details["parity.cosine_min"] == "the run was interrupted"


def test_an_error_of_python_is_told_by_its_last_line(light_project: pytest.Pytester) -> None:
    light_project.makepyfile(
        test_mine="""
        import pytest


        @pytest.mark.facenet_judges("parity.cosine_min")
        def test_mine(facenet_gates):
            raise ZeroDivisionError("in a metric")
        """
    )
    _, details = _details(light_project)
    assert details["parity.cosine_min"] == "ZeroDivisionError: in a metric"


SKIPS = {
    "skipped in set-up": (
        "def gone(): pytest.skip('the disk is away')",
        "",
        "skipped: the disk is away",
    ),
    "skipped by a mark": (
        "def gone(): pass",
        "@pytest.mark.skip(reason='not today')",
        "skipped: not today",
    ),
    "expected to fail": (
        "def gone(): raise ValueError('collapsed')",
        "@pytest.mark.xfail(reason='known')",
        "skipped: expected to fail: known",
    ),
    "a fixture that is not there": (
        "def gone(no_such_fixture): pass",
        "",
        "fixture 'no_such_fixture' not found",
    ),
}


@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["one process", "xdist"])
@pytest.mark.parametrize("case", SKIPS)
def test_what_kept_a_test_from_judging_is_told(
    light_project: pytest.Pytester, case: str, workers: tuple[str, ...]
) -> None:
    fixture, mark, reason = SKIPS[case]
    light_project.makepyfile(
        test_mine=f"""
import pytest


@pytest.fixture
{fixture}


{mark}
@pytest.mark.facenet_judges("parity.cosine_min")
def test_mine(gone, facenet_gates):
    pass
"""
    )
    _, details = _details(light_project, *workers)
    assert details["parity.cosine_min"] == reason
