"""A failed speed gate names its slower layers; nothing of that changes a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from facenet_validate.base.errors import EngineError
from facenet_validate.base.progress import Progress
from facenet_validate.engines.protocol import Engine, LayerTime, LayerTimes
from facenet_validate.gates.verdicts import GateResult, Observed, Verdict, not_evaluated
from facenet_validate.run.slower import name_slower_layers

BATCH = np.zeros((1, 3, 8, 8), np.float32)


def engine(**layers: float) -> Engine:
    """An engine whose layers take so many ms."""
    found = LayerTimes(
        "by hand",
        tuple(LayerTime(name, "Conv", (name,), (1e-3 * ms,)) for name, ms in layers.items()),
    )
    return _answering(lambda: found)


def _answering(answer: Any) -> Engine:
    return cast("Engine", SimpleNamespace(layer_times=lambda batch, count: answer()))


def _fails() -> LayerTimes:
    raise EngineError("engine a.onnx: its layers cannot be timed:\n  no space left")


def failed(gate: str, observed: float | None, limit: float) -> GateResult:
    return GateResult(gate, Verdict.FAIL, observed, limit, (1.0, 2.0), "+20 % latency")


def told(
    results: Sequence[GateResult | Observed], *engines: Engine
) -> tuple[tuple[GateResult | Observed, ...], dict[str, Any]]:
    return name_slower_layers(results, lambda: engines, lambda: BATCH, Progress(None))


@pytest.mark.parametrize(
    ("gate", "observed", "limit", "words"),
    [
        # The other engine is as fast as this one should be.
        (
            "performance.against", 1.2, 1.03,
            "slower layers: Conv a +2 ms (2 → 4); it explains all of the added 2 ms a batch",
        ),
        # FP32 takes 10 ms, so the floor of 1.25 allows 8: of a 1.6 and of b 6.4.
        (
            "performance.fp32_ratio", 0.8, 1.25,
            "layers slower than FP32's time / 1.25: Conv a +2.4 ms (1.6 → 4), Conv b +1.6 ms "
            "(6.4 → 8); these explain all of the added 4 ms a batch",
        ),
        # 12 ms are 1.2 times what was stored: 10 then, which is FP32's time.
        (
            "performance.stored", 1.2, 1.03,
            "layers slow beside FP32's (stored sessions keep none): Conv a +2 ms (2 → 4); it "
            "explains all of the added 2 ms a batch",
        ),
        (
            "performance.stored_ratio", 1.2, 1.03,
            "layers slow beside FP32's (stored sessions keep none): Conv a +2 ms (2 → 4); it "
            "explains all of the added 2 ms a batch",
        ),
    ],
)  # fmt: skip
def test_a_gate_names_the_layers_that_take_longer_than_it_allows(
    gate: str, observed: float, limit: float, words: str
) -> None:
    result = failed(gate, observed, limit)
    (found,), values = told([result], engine(a=4.0, b=8.0), engine(a=2.0, b=8.0))
    assert isinstance(found, GateResult)
    assert found.detail == f"+20 % latency; {words}"
    assert (found.verdict, found.observed, found.limit, found.interval) == (
        result.verdict, observed, limit, result.interval,
    )  # fmt: skip
    assert values[gate]["layers"][0]["name"] == "a"


def test_an_engine_alone_shows_its_largest_layers() -> None:
    (found,), values = told([failed("performance.stored", 1.2, 1.03)], engine(a=4.0, b=8.0))
    assert isinstance(found, GateResult)
    assert found.detail == (
        "+20 % latency; nothing to compare layers with; this engine's largest, of 12 ms a batch: "
        "Conv b 8 ms, Conv a 4 ms"
    )
    assert values == {"performance.stored": {"untold": "nothing to compare layers with"}}


@pytest.mark.parametrize("beside", [True, False])
def test_a_backend_that_does_not_tell_leaves_the_detail_as_it_is(beside: bool) -> None:
    untold = _answering(lambda: LayerTimes(untold="openvino does not tell"))
    result = failed("performance.stored", 1.2, 1.03)
    found, values = told([result], untold, *([engine(a=1.0)] if beside else []))
    assert found == (result,)
    assert values == {"performance.stored": {"untold": "openvino does not tell"}}


def test_an_error_is_a_note_beside_the_failure() -> None:
    (found,), values = told(
        [failed("performance.against", 1.2, 1.03)], engine(a=1.0), _answering(_fails)
    )
    assert isinstance(found, GateResult)
    assert found.verdict is Verdict.FAIL
    note = "the layers could not be timed: engine a.onnx: its layers cannot be timed: no space left"
    assert found.detail == f"+20 % latency; {note}"
    assert values == {"performance.against": {"untold": note}}


def test_nothing_is_profiled_unless_a_speed_gate_failed_by_what_was_measured() -> None:
    def never() -> Any:
        raise AssertionError

    results = (
        GateResult("performance.against", Verdict.PASS, 1.0, 1.03),
        GateResult("performance.fp32_ratio", Verdict.INCONCLUSIVE, 1.2, 1.5),
        GateResult("parity.cosine_min", Verdict.FAIL, 0.5, 0.9),
        failed("performance.stored", None, 1.03),  # too few sessions, in CI
        not_evaluated("performance.stored_ratio", "no sessions"),
        Observed("performance.stored", 1.0),
    )
    assert name_slower_layers(results, never, never, Progress(None)) == (results, {})


def test_profiling_shows_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("facenet_validate.base.progress._PATIENCE", -1.0)
    lines: list[str] = []
    engines = engine(a=4.0), engine(a=2.0)
    results = [failed("performance.against", 1.2, 1.03)]
    progress = Progress(lines.append, nullcontext)
    name_slower_layers(results, lambda: engines, lambda: BATCH, progress)
    assert lines[0].startswith("timing the layers of an engine that is too slow, turns: 1 of 8")
