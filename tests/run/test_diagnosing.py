"""When a run finds out why an engine differs, and what its tests tell of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from facenet_validate.base.errors import EngineError
from facenet_validate.base.progress import Progress
from facenet_validate.diagnosis.case import Case
from facenet_validate.diagnosis.diagnosis import Cause, Diagnosis, Finding, NodeDifference, Walk
from facenet_validate.gates import catalogue
from facenet_validate.gates.records import Subject, gates_of
from facenet_validate.gates.verdicts import GateResult, Observed, Verdict, not_evaluated
from facenet_validate.reporting.diagnosis import diagnosis_lines
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


@dataclass
class Kept:
    """A process's diagnoses, and what was recorded of them."""

    diagnosing: Diagnosing
    recorded: list[Mapping[str, Any]]

    def explain(self, result: GateResult, precision: str = "int8") -> Explanation:
        return self.diagnosing.explain([result], precision, _case)

    def judge(self, case: Callable[[], Case], table: str = "") -> tuple[str, list[Any]]:
        """Fail a gate; return the test's text and the records of its gates."""
        properties: list[tuple[str, Any]] = []
        gates = Gates(
            {"parity.cosine_min": 0.98},
            Subject("int8", "cpu", "lfw", recipe_only=False),
            properties,
            "warn",
            explain=lambda results: self.diagnosing.explain(results, "int8", case),
        )
        with pytest.raises(pytest.fail.Exception) as failure:
            gates.check(Observed("parity.cosine_min", 0.5), table=table)
        return str(failure.value), gates_of(properties)


def _kept(mode: str = "auto", report: Path | None = None) -> Kept:
    recorded: list[Mapping[str, Any]] = []
    return Kept(Diagnosing(_run(mode, report), recorded.append), recorded)


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
    kept = _kept(mode)
    told = kept.explain(result)
    assert asked == made
    assert told.words.startswith("cause: red and blue are exchanged.") == bool(made)
    assert [one["cause"] for one in kept.recorded] == ["colour order"] * len(made)


def test_what_shows_that_an_engine_is_not_its_model_is_diagnosed() -> None:
    assert {gate.name for gate in catalogue.CATALOGUE if gate.diagnosed} >= {
        "parity.cosine_min", "parity.cosine_p1", "parity.cosine_mean", "contract.colour",
        "contract.norm_error_max", "accuracy.paired_drop",
    }  # fmt: skip


def test_an_engine_is_diagnosed_once_and_its_cause_told_again(asked: list[bool]) -> None:
    kept = _kept()
    first, again = kept.explain(FAILED), kept.explain(FAILED)
    kept.explain(FAILED, "fp16")
    assert asked == [False, False]
    assert again == Explanation(first.words)
    assert first.numbers
    assert [one["precision"] for one in kept.recorded] == ["int8", "fp16"]


def _broken() -> Case:
    raise EngineError("engine a.onnx:\n  no memory left")


def test_what_goes_wrong_is_a_note_and_changes_no_verdict(asked: list[bool]) -> None:
    kept = _kept()
    text, gates = kept.judge(_broken)
    note = "why it differs could not be found out: engine a.onnx: no memory left"
    lines = text.splitlines()
    assert (lines[0], lines[-1]) == ("int8 (cpu) on lfw: fail", note)
    assert [gate["verdict"] for gate in gates] == ["fail"]
    assert [one["text"] for one in kept.recorded] == [note]
    assert asked == []


def test_the_cause_stands_above_the_gates_and_the_numbers_below(asked: list[bool]) -> None:
    text, _ = _kept().judge(_case, table="a table")
    assert [part.splitlines()[0] for part in text.split("\n\n")] == [
        "cause: red and blue are exchanged.",
        "int8 (cpu) on lfw: fail",
        "a table",
        "tried on 2 faces     explains  row cosine",
    ]
    assert asked == [False]


def test_embeddings_that_no_gate_can_judge_are_explained_too(asked: list[bool]) -> None:
    """The message is the same each time: an error is told in full once."""
    kept, message = _kept(), "3 of 9 embeddings are not L2-normalised"
    told = [kept.diagnosing.explain_error(message, "int8", _case) for _ in range(2)]
    assert told[0] == told[1]
    parts = told[0].split("\n\n")
    assert parts[0].startswith("cause: red and blue are exchanged.\n")
    assert (parts[1], len(parts)) == (message, 3)
    assert (asked, len(kept.recorded)) == ([False], 1)
    assert _kept("off").diagnosing.explain_error(message, "int8", _case) == message


def test_of_an_engine_that_passes_only_a_named_cause_is_told(
    asked: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert diagnosis_lines(_measured(FAILED, PASSED)) == [
        "diagnosis, int8: red and blue are exchanged (explains over 99.9 % of the difference)"
    ]
    monkeypatch.setattr(
        "facenet_validate.diagnosis.diagnosing.diagnose",
        lambda case, *, full, progress: replace(FOUND, cause=None),
    )
    assert diagnosis_lines(_measured(PASSED)) == ["diagnosis, int8: no cause is named"]
    assert diagnosis_lines(_measured(FAILED)) == ["diagnosis, int8: no known cause explains it"]


def _measured(*results: GateResult) -> list[dict[str, Any]]:
    kept = _kept("full")
    for result in results:
        kept.explain(result)
    return [{"name": "diagnosis", **one} for one in kept.recorded]


def test_the_faces_that_moved_most_and_the_walk_are_drawn_into_the_report(
    asked: list[bool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = _kept("auto", tmp_path)
    told = kept.explain(FAILED)
    ((picture,),) = (one["pictures"] for one in kept.recorded)
    assert (tmp_path / picture).read_bytes().startswith(b"\x89PNG")
    assert picture in told.numbers
    assert json.dumps(dict(kept.recorded[0]))
    node = NodeDifference("first", "Conv", "stem", 60.0, 1.0, 60.0, 1.0)
    monkeypatch.setattr(
        "facenet_validate.diagnosis.diagnosing.diagnose",
        lambda case, *, full, progress: replace(FOUND, walk=Walk("by hand", (node, node))),
    )
    kept.explain(FAILED, "fp16")
    _, picture = kept.recorded[1]["pictures"]
    assert picture.endswith(".svg")
    assert (tmp_path / picture).read_text().startswith("<svg")
