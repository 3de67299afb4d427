"""The engine is as fast as it was: beside other precisions in this run, and stored sessions."""

import pytest

from facenet_validate import Gates, Timing

pytestmark = pytest.mark.facenet_fps


@pytest.mark.facenet_judges(
    "performance.fp32_ratio",
    "performance.fp16_ratio",
    "performance.stored",
    "performance.stored_ratio",
    "performance.against",
    "contract.timed_outputs",
)
def test_speed(facenet_timing: Timing, facenet_gates: Gates) -> None:
    """No slower than its stored sessions, nor than another engine; a lower precision pays."""
    speed = facenet_timing.speed(facenet_gates)
    for name, values in speed.measurements.items():
        facenet_gates.measure(name, values)
    facenet_gates.check(*speed.results, table=speed.table)


@pytest.mark.facenet_judges("performance.self_check", "contract.timed_outputs")
@pytest.mark.facenet_needs("self_check")
def test_self_check(facenet_timing: Timing, facenet_gates: Gates) -> None:
    """An engine is not called slower than itself."""
    speed = facenet_timing.self_check(facenet_gates)
    for name, values in speed.measurements.items():
        facenet_gates.measure(name, values)
    facenet_gates.check(*speed.results)
