"""The engine is as fast as it was: beside FP32 in this run, and beside stored sessions."""

import pytest

from facenet_validate.benchmarking.paired_ratio import PairedRatio, ratio_floor
from facenet_validate.judge import Gates
from facenet_validate.stopwatch import Timing
from facenet_validate.verdicts import GateResult, not_evaluated

pytestmark = pytest.mark.facenet_fps


@pytest.mark.facenet_judges("performance.fp32_ratio", "performance.stored")
def test_speed(facenet_timing: Timing, facenet_gates: Gates, facenet_precision: str) -> None:
    """INT8 pays for itself beside FP32, and no engine is slower than its stored sessions."""
    limits = facenet_gates.limits
    floor = limits.get("performance.fp32_ratio")
    names = [name for name in ("performance.fp32_ratio", "performance.stored") if name in limits]
    if facenet_timing.unavailable:
        facenet_gates.check(
            *(not_evaluated(name, facenet_timing.unavailable, limits[name]) for name in names)
        )

    def judge(ratio: PairedRatio) -> GateResult | None:
        if floor is None:
            return None
        return ratio_floor(ratio, gate="performance.fp32_ratio", floor=floor)

    if facenet_precision == "fp32":
        timed = facenet_timing.alone()
    else:
        timed = facenet_timing.beside_fp32(judge)
    facenet_gates.measure("speed", timed.values())
    device_times = facenet_timing.device_times()
    if device_times is not None:
        facenet_gates.measure("device time", {"batch": timed.speed.batch, **device_times})
    results = [] if timed.ratio_gate is None else [timed.ratio_gate]
    if "performance.stored" in limits:
        results.append(facenet_timing.stored_gate(timed, limits["performance.stored"]))
    facenet_gates.check(*results)
