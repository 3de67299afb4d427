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
    result = project.runpytest_inprocess(
        "--precision=fp32", "--facenet-report=report", *arguments, no_reraise_ctrlc=True
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
    result.stdout.fnmatch_lines(
        ["*cosine_min*not run*see below", f"not run: parity.cosine_min: {COLLAPSED}"]
    )


def test_what_ended_the_run_is_the_reason_of_all_gates_after_it(
    light_project: pytest.Pytester,
) -> None:
    light_project.makepyfile(test_mine=BROKEN.format(error="DatasetError", message=MISSING))
    result, details = _details(light_project)
    assert details["parity.cosine_min"] == MISSING
    assert details["parity.cosine_mean"] == MISSING
    told = f"not run: parity.cosine_min, parity.cosine_mean, accuracy.paired_drop: {MISSING}"
    result.stdout.fnmatch_lines(["*cosine_mean*not run*see below", told])


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


# A fixture, a mark of the test, and what is told of the gate that the test was to judge.
SKIPS = {
    "parity.cosine_min": (
        "def gone(): pytest.skip('the disk is away')",
        "",
        "skipped: the disk is away",
    ),
    "parity.cosine_p1": (
        "def gone(): pass",
        "@pytest.mark.skip(reason='not today')",
        "skipped: not today",
    ),
    "parity.cosine_mean": (
        "def gone(): raise ValueError('collapsed')",
        "@pytest.mark.xfail(reason='known')",
        "skipped: expected to fail: known",
    ),
    "accuracy.paired_drop": (
        "def gone(no_such_fixture): pass",
        "",
        "fixture 'no_such_fixture' not found",
    ),
}

KEPT = """
import pytest


@pytest.fixture
{fixture}


{mark}
@pytest.mark.facenet_judges("{gate}")
def test_mine(gone, facenet_gates):
    pass
"""


@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["one process", "xdist"])
def test_what_kept_a_test_from_judging_is_told(
    light_project: pytest.Pytester, workers: tuple[str, ...]
) -> None:
    gates = light_project.path / "baselines" / "gates.toml"
    gates.write_text(gates.read_text() + "parity.cosine_p1 = 0.99\n")
    sources = {
        f"test_{gate.partition('.')[2]}": KEPT.format(fixture=fixture, mark=mark, gate=gate)
        for gate, (fixture, mark, _) in SKIPS.items()
    }
    light_project.makepyfile(**sources)
    _, details = _details(light_project, *workers)
    assert details == {gate: reason for gate, (_, _, reason) in SKIPS.items()}
