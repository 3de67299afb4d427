"""When a run finds out why an engine differs, and what its tests tell of it."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from facenet_validate.base.errors import EngineError
from facenet_validate.base.progress import Progress
from facenet_validate.diagnosis.case import Case
from facenet_validate.diagnosis.diagnosis import Cause, Diagnosis, Finding
from facenet_validate.gates import catalogue
from facenet_validate.gates.records import Subject, gates_of, measurements_of
from facenet_validate.gates.verdicts import GateResult, Observed, Verdict, not_evaluated
from facenet_validate.run.diagnosing import Diagnosing, Explanation
from facenet_validate.run.judging import Gates
from facenet_validate.run.run import Run

CAUSE = Cause("colour order", "red and blue are exchanged", "Feed RGB.")
FINDING = Finding(CAUSE, 0.9999, 0.5, 1.0, named=True)
FOUND = Diagnosis(FINDING, (FINDING,), (), None, 2, ("ben", "ann"))


def _run(mode: str, report: Path | None = None) -> Run:
    settings = SimpleNamespace(diagnose=mode, report=report)
    return cast("Run", SimpleNamespace(settings=settings, progress=Progress(None)))


def _case() -> Case:
    def engine(rows: list[list[float]]) -> Any:
        info = SimpleNamespace(precision="int8", backend="onnxruntime")
        return SimpleNamespace(run=lambda batch: np.array(rows, np.float32), info=info)

    faces = np.zeros((2, 160, 160, 3), np.uint8)
    model = cast("Any", SimpleNamespace(image_size=160))
    worse, same = engine([[1, 0], [0, 1]]), engine([[1, 0], [1, 1]])
    return Case(worse, same, model, faces, ("ann", "ben"))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Of every diagnosis that is made, whether it was full."""
    calls: list[bool] = []

    def diagnose(case: Case, *, full: bool, progress: Any) -> Diagnosis:
        progress(1, 1)
        calls.append(full)
        return FOUND

    monkeypatch.setattr("facenet_validate.diagnosis.diagnosing.diagnose", diagnose)
    return calls


def _result(gate: str, verdict: Verdict) -> GateResult:
    return GateResult(gate, verdict, 0.5, 0.9)


FAILED = _result("parity.cosine_min", Verdict.FAIL)
PASSED = _result("parity.cosine_min", Verdict.PASS)
UNKNOWN = not_evaluated("parity.cosine_min", "nothing was measured")
SLOW = _result("performance.against", Verdict.FAIL)


@pytest.mark.parametrize(
    ("mode", "result", "made"),
    [
        ("auto", FAILED, [False]),
        ("auto", PASSED, []),
        ("auto", UNKNOWN, []),
        ("auto", SLOW, []),
        ("full", FAILED, [True]),
        ("full", PASSED, [True]),
        ("full", UNKNOWN, []),
        ("full", SLOW, []),
        ("off", FAILED, []),
        ("off", PASSED, []),
    ],
)
def test_an_engine_is_diagnosed_where_a_gate_fails_and_in_full_always(
    mode: str, result: GateResult, made: list[bool], asked: list[bool]
) -> None:
    told = Diagnosing(_run(mode)).explain([result], "int8", _case)
    assert asked == made
    assert told.words.startswith("cause: red and blue are exchanged.") == bool(made)
    assert told.values.get("cause", "") == ("colour order" if made else "")


def test_what_shows_that_an_engine_is_not_its_model_is_diagnosed() -> None:
    assert {gate.name for gate in catalogue.CATALOGUE if gate.diagnosed} >= {
        "parity.cosine_min", "parity.cosine_p1", "parity.cosine_mean", "contract.colour",
        "contract.norm_error_max", "accuracy.paired_drop",
    }  # fmt: skip


def test_an_engine_is_diagnosed_once_and_its_cause_told_again(asked: list[bool]) -> None:
    diagnosing = Diagnosing(_run("auto"))
    first = diagnosing.explain([FAILED], "int8", _case)
    again = diagnosing.explain([FAILED], "int8", _case)
    diagnosing.explain([FAILED], "fp16", _case)
    assert asked == [False, False]
    assert again == Explanation(first.words)
    assert (first.numbers != "", first.values != {}) == (True, True)


def _broken() -> Case:
    raise EngineError("engine a.onnx:\n  no memory left")


def test_what_goes_wrong_is_a_note_and_changes_no_verdict(asked: list[bool]) -> None:
    diagnosing, properties = Diagnosing(_run("auto")), list[tuple[str, Any]]()
    gates = Gates(
        {"parity.cosine_min": 0.98},
        Subject("int8", "cpu", "lfw", recipe_only=False),
        properties,
        "warn",
        explain=lambda results: diagnosing.explain(results, "int8", _broken),
    )
    with pytest.raises(pytest.fail.Exception) as failure:
        gates.check(Observed("parity.cosine_min", 0.5))
    note = "why it differs could not be found out: engine a.onnx: no memory left"
    lines = str(failure.value).splitlines()
    assert (lines[0], lines[-1]) == ("int8 (cpu) on lfw: fail", note)
    assert [gate["verdict"] for gate in gates_of(properties)] == ["fail"]
    assert [(name, told["text"]) for name, told in measurements_of(properties)] == [
        ("diagnosis", note)
    ]
    assert asked == []


def test_the_cause_stands_above_the_gates_and_the_numbers_below(asked: list[bool]) -> None:
    diagnosing, properties = Diagnosing(_run("auto")), list[tuple[str, Any]]()
    gates = Gates(
        {"parity.cosine_min": 0.98},
        Subject("int8", "cpu", "lfw", recipe_only=False),
        properties,
        "warn",
        explain=lambda results: diagnosing.explain(results, "int8", _case),
    )
    with pytest.raises(pytest.fail.Exception) as failure:
        gates.check(Observed("parity.cosine_min", 0.5), table="a table")
    parts = str(failure.value).split("\n\n")
    assert [part.splitlines()[0] for part in parts] == [
        "cause: red and blue are exchanged.",
        "int8 (cpu) on lfw: fail",
        "a table",
        "tried on 2 faces     explains  row cosine",
    ]


def test_the_faces_that_moved_most_are_drawn_into_the_report(
    asked: list[bool], tmp_path: Path
) -> None:
    told = Diagnosing(_run("auto", tmp_path)).explain([FAILED], "int8", _case)
    (picture,) = told.values["pictures"]
    assert (tmp_path / picture).read_bytes().startswith(b"\x89PNG")
    assert picture in told.numbers
    assert json.dumps(dict(told.values))
