"""The engine is as fast as it was: beside FP32 in this run, and beside stored sessions."""

import pytest

from facenet_validate.benchmarking.paired_ratio import PairedRatio, ratio_floor, slow_down
from facenet_validate.judge import Gates
from facenet_validate.stopwatch import Other, Timing
from facenet_validate.verdicts import GateResult, not_evaluated

pytestmark = pytest.mark.facenet_fps


def _stop_where_timing_means_nothing(timing: Timing, gates: Gates) -> None:
    if timing.unavailable:
        speeds = [gate for gate in gates.limits if gate.startswith("performance.")]
        gates.check(
            *(not_evaluated(gate, timing.unavailable, gates.limits[gate]) for gate in speeds)
        )


@pytest.mark.facenet_judges(
    "performance.fp32_ratio",
    "performance.stored",
    "performance.stored_ratio",
    "performance.against",
)
def test_speed(facenet_timing: Timing, facenet_gates: Gates, facenet_timed_beside: Other) -> None:
    """No slower than its stored sessions, nor than another engine; INT8 pays beside FP32."""
    limits = facenet_gates.limits
    _stop_where_timing_means_nothing(facenet_timing, facenet_gates)

    def judge(ratio: PairedRatio) -> GateResult | None:
        if "performance.against" in limits:
            limit = limits["performance.against"]
            return slow_down(ratio, gate="performance.against", limit=limit)
        if "performance.fp32_ratio" in limits:
            floor = limits["performance.fp32_ratio"]
            return ratio_floor(ratio, gate="performance.fp32_ratio", floor=floor)
        return None

    speed = facenet_timing.beside(facenet_timed_beside, judge)
    stored, table = facenet_timing.stored(speed)
    facenet_gates.measure("speed", speed.values())
    facenet_gates.measure("latency", facenet_timing.latencies())
    beside = [] if speed.verdict is None else [speed.verdict]
    facenet_gates.check(*beside, *stored, table=table)


@pytest.mark.facenet_judges("performance.self_check")
def test_self_check(facenet_timing: Timing, facenet_gates: Gates, facenet_self_check: int) -> None:
    """An engine is not called slower than itself."""
    _stop_where_timing_means_nothing(facenet_timing, facenet_gates)
    gate = "performance.self_check"
    limit = facenet_gates.limits.get(gate)
    if limit is None:
        facenet_gates.check(facenet_gates.without_limit(gate, "not measured"))
        return
    found = facenet_timing.against_itself(facenet_self_check, limit)
    facenet_gates.measure("self-check", found.values())
    facenet_gates.check(found.gate(gate, limit))
