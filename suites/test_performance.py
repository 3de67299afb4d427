"""The engine is as fast as it was: beside FP32 in this run, and beside stored sessions."""

import pytest

from facenet_validate.benchmarking.paired_ratio import PairedRatio, ratio_floor, slow_down
from facenet_validate.gates.verdicts import GateResult, not_evaluated
from facenet_validate.run.judging import Gates
from facenet_validate.run.timing import Other, Timing

pytestmark = pytest.mark.facenet_fps


SPEEDS = (
    "performance.fp32_ratio",
    "performance.stored",
    "performance.stored_ratio",
    "performance.against",
)
SELF_CHECK = "performance.self_check"


@pytest.mark.facenet_judges(*SPEEDS)
def test_speed(facenet_timing: Timing, facenet_gates: Gates, facenet_timed_beside: Other) -> None:
    """No slower than its stored sessions, nor than another engine; INT8 pays beside FP32."""
    limits = {gate: limit for gate, limit in facenet_gates.limits.items() if gate in SPEEDS}
    if reason := facenet_timing.unavailable_beside(facenet_timed_beside):
        absent = [not_evaluated(gate, reason, limit) for gate, limit in limits.items()]
        facenet_gates.check(*absent or [facenet_gates.without_limit("performance.stored", reason)])

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
    if facenet_timed_beside == "fp32":
        facenet_gates.measure("latency", facenet_timing.latencies())
    results = stored if speed.verdict is None else (speed.verdict, *stored)
    if not results:
        gate = "performance.against" if facenet_timed_beside == "against" else "performance.stored"
        results = (facenet_gates.without_limit(gate, f"{speed.timed.fps:.1f} images/s"),)
    facenet_gates.check(*results, table=table)


@pytest.mark.facenet_judges(SELF_CHECK)
def test_self_check(facenet_timing: Timing, facenet_gates: Gates, facenet_self_check: int) -> None:
    """An engine is not called slower than itself."""
    limit = facenet_gates.limits.get(SELF_CHECK)
    if limit is None:
        facenet_gates.check(facenet_gates.without_limit(SELF_CHECK, "not measured"))
    elif facenet_timing.unavailable:
        facenet_gates.check(not_evaluated(SELF_CHECK, facenet_timing.unavailable, limit))
    else:
        found = facenet_timing.against_itself(facenet_self_check, limit)
        facenet_gates.measure("self-check", found.values())
        facenet_gates.check(found.gate(SELF_CHECK, limit))
