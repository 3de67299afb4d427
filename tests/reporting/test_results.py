from __future__ import annotations

import json
from pathlib import Path

import pytest

from facenet_validate.gates.records import (
    GateRecord,
    Subject,
    gate_property,
    gates_of,
    verdict_of,
)
from facenet_validate.gates.verdicts import GateResult, Observed, Verdict, hold, worst
from facenet_validate.reporting.folder import ReportFolder
from facenet_validate.reporting.results import Results, overall

SUBJECT = Subject("int8", "cpu", "lfw", recipe_only=False)


def _gate(verdict: str, *, recipe_only: bool = False) -> dict[str, object]:
    return {
        "gate": "g",
        "precision": "int8",
        "batch": None,
        "verdict": verdict,
        "fails": verdict == "fail",
        "recipe_only": recipe_only,
    }


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        (["pass"], "pass"),
        (["pass", "fail", "inconclusive"], "fail"),
        (["pass", "inconclusive", "not evaluated"], "inconclusive"),
        (["pass", "not evaluated"], "partial"),
        (["pass", "not run"], "partial"),
        ([], "partial"),
    ],
)
def test_overall_verdict(verdicts: list[str], expected: str) -> None:
    assert overall([_gate(verdict) for verdict in verdicts], broken=False) == expected


def test_a_recipe_alone_is_partial_and_a_broken_run_a_fail() -> None:
    assert overall([_gate("pass", recipe_only=True)], broken=False) == "partial"
    assert overall([_gate("pass")], broken=True) == "fail"


def test_gates_without_a_record_are_listed_as_not_run() -> None:
    results = Results()
    record = gate_property(
        GateRecord(SUBJECT, hold(Observed("parity.cosine_min", 0.99), 0.98, "floor"), fails=False)
    )
    results.add("test", "call", gates_of([record]), [], "")
    expected = [
        {"gate": gate, "dataset": name, "precision": "int8", "batch": None, "limit": 1.0}
        for gate, name in (
            ("parity.cosine_min", SUBJECT.dataset),
            ("parity.cosine_min", "another set"),
            ("accuracy.acc", SUBJECT.dataset),
        )
    ]
    found = results.with_not_run(expected)
    assert [(g["gate"], g["dataset"], g["verdict"]) for g in found] == [
        ("parity.cosine_min", SUBJECT.dataset, "pass"),
        ("parity.cosine_min", "another set", "not run"),
        ("accuracy.acc", SUBJECT.dataset, "not run"),
    ]


def test_records_survive_infinite_values() -> None:
    result = GateResult("g", Verdict.FAIL, float("nan"), 1.0, (float("-inf"), 2.0), "d")
    (record,) = gates_of([gate_property(GateRecord(SUBJECT, result, fails=True))])
    assert (record["observed"], record["interval"]) == ("nan", ["-inf", 2.0])


def test_verdict_of_a_test_is_its_worst_gate() -> None:
    properties = [
        gate_property(GateRecord(SUBJECT, hold(Observed("a", 1.0), 2.0, "ceiling"), fails=False)),
        gate_property(GateRecord(SUBJECT, hold(Observed("b", 3.0), 2.0, "ceiling"), fails=True)),
    ]
    assert verdict_of(properties) is Verdict.FAIL
    assert verdict_of([]) is None


def test_nan_never_passes() -> None:
    observed = Observed("g", float("nan"))
    assert hold(observed, 0.0, "floor").verdict is Verdict.FAIL
    assert hold(observed, 0.0, "ceiling").verdict is Verdict.FAIL


def test_worst_orders_verdicts() -> None:
    assert worst([]) is Verdict.NOT_EVALUATED
    assert worst([Verdict.PASS, Verdict.NOT_EVALUATED]) is Verdict.NOT_EVALUATED
    assert worst([Verdict.INCONCLUSIVE, Verdict.NOT_EVALUATED]) is Verdict.INCONCLUSIVE
    assert worst([Verdict.NOT_EVALUATED, Verdict.NOT_RUN]) is Verdict.NOT_RUN
    assert worst(Verdict) is Verdict.FAIL


def test_the_previous_report_moves_aside(tmp_path: Path) -> None:
    for number in range(3):
        folder = ReportFolder.begin(tmp_path / "report", {"verdict": "unfinished"})
        folder.finish({"number": number})
    assert json.loads((tmp_path / "report" / "results.json").read_text()) == {"number": 2}
    previous = tmp_path / "report" / "previous" / "results.json"
    assert json.loads(previous.read_text()) == {"number": 1}
    assert len(list((tmp_path / "report").iterdir())) == 2
