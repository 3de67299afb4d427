"""The verdict in words."""

from __future__ import annotations

from typing import Any

import pytest

from facenet_validate.reporting.terminal import gate_table
from facenet_validate.reporting.words import failure_lines, unjudged_lines, verdict_sentence


def _gate(name: str, verdict: str, **values: Any) -> dict[str, Any]:
    return {
        "gate": name,
        "precision": "int8",
        "dataset": "lfw",
        "batch": None,
        "verdict": verdict,
        "fails": verdict == "fail",
        "recipe_only": False,
        "observed": 0.5,
        "limit": 0.9,
        "detail": "",
        **values,
    }


HOLDS = [_gate("build.size", "pass"), _gate("accuracy.acc", "pass")]
SPEED = [
    _gate("performance.fp32_ratio", "pass", batch=64),
    _gate("performance.stored", "not evaluated", batch=64, detail="no session; record one"),
]


@pytest.mark.parametrize(
    ("gates", "verdict", "says"),
    [
        (HOLDS, "pass", "INT8 may replace FP32: build, accuracy hold."),
        (
            [*HOLDS, *SPEED],
            "partial",
            "INT8 may replace FP32 on what was judged: build, accuracy, speed. "
            "Not judged: performance.stored.",
        ),
        (
            [*HOLDS, SPEED[1]],
            "partial",
            "INT8 may replace FP32 on what was judged: build, accuracy. Not judged: speed.",
        ),
        ([SPEED[1]], "partial", "Nothing was judged of INT8. Not judged: speed."),
        (
            [*HOLDS, _gate("parity.cosine_min", "fail"), SPEED[1]],
            "fail",
            "INT8 may not replace FP32: parity.cosine_min fails.",
        ),
        (HOLDS, "fail", "It was not shown that INT8 may replace FP32. BROKEN."),
        ([], "fail", "The engine was not judged. BROKEN."),
        (
            [*HOLDS, _gate("accuracy.paired_drop", "inconclusive")],
            "inconclusive",
            "It was not shown that INT8 may replace FP32: accuracy.paired_drop is inconclusive. "
            "What holds: build, accuracy.",
        ),
        (
            [_gate("accuracy.acc", "pass", precision="fp16", recipe_only=True), *HOLDS],
            "partial",
            "The FP16 recipe and INT8 may replace FP32 on what was judged: build, accuracy.",
        ),
        (
            [_gate("accuracy.acc", "pass", precision="fp32")],
            "pass",
            "FP32 may replace the reference: accuracy holds.",
        ),
        ([], "partial", "Nothing was judged of the engine."),
    ],
)
def test_sentence(gates: list[dict[str, Any]], verdict: str, says: str) -> None:
    broken = "BROKEN." if "BROKEN" in says else ""
    assert verdict_sentence(gates, verdict, broken=broken) == says


def test_it_names_the_engine_compared_with() -> None:
    said = verdict_sentence(HOLDS, "pass", against="old.onnx")
    assert said == "INT8 may replace old.onnx: build, accuracy hold."


def test_gates_without_a_verdict_are_told_by_reason() -> None:
    other = _gate("performance.stored_ratio", "not evaluated", detail="no session; record one")
    unasked = _gate("parity.cosine_min", "not run")
    assert unjudged_lines([*HOLDS, SPEED[1], other, unasked]) == [
        "not evaluated: performance.stored, performance.stored_ratio: no session; record one",
        "not run: parity.cosine_min: their tests were not asked for",
    ]


def test_failures_are_told_worst_first() -> None:
    doubtful = _gate("accuracy.paired_drop", "inconclusive", detail="too few pairs")
    assert failure_lines(
        [*HOLDS, doubtful, _gate("parity.cosine_min", "fail", observed="nan")]
    ) == [
        "fail: parity.cosine_min, int8 on lfw: nan observed, limit 0.9",
        "inconclusive: accuracy.paired_drop, int8 on lfw: 0.5 observed, limit 0.9; too few pairs",
    ]


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_begins_with_the_worst_suite_and_keeps_its_width(width: int) -> None:
    gates = [
        _gate("build.size", "pass", detail="27.2 of 94.0 MB " * 9),
        _gate("parity.cosine_p1", "pass"),
        _gate("parity.cosine_mean", "fail", detail="400 faces"),
        *SPEED,
    ]
    text = gate_table(gates, width=width, colour=False, verbose=False)
    lines = text.splitlines()
    named = [line.split()[0] for line in lines if "int8 " in line and "." in line.split()[0]]
    assert named[:5] == [
        "parity.cosine_mean",
        "parity.cosine_p1",
        "performance.stored",
        "performance.fp32_ratio",
        "build.size",
    ]
    assert max(len(line) for line in lines) <= width
    assert ("27.2 of 94.0 MB" in text) == (width > 100)
    assert "400 faces" in text


def test_details_of_gates_that_passed_are_whole_where_asked_for() -> None:
    gate = _gate("build.size", "pass", detail="27.2 of 94.0 MB " * 9)
    short, whole = (
        gate_table([gate], width=120, colour=False, verbose=verbose) for verbose in (False, True)
    )
    assert short.count("27.2") < whole.count("27.2") == 9
