from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from facenet_validate.benchmarking.latency import latencies, time_batches
from facenet_validate.engines.protocol import BatchTimes, Engine


def test_latencies_are_percentiles_in_milliseconds() -> None:
    found = latencies([0.1, 0.2, 0.3])
    assert (found.samples, found.p99_ms) == (3, None)
    assert (found.p50_ms, found.p90_ms) == pytest.approx((200.0, 280.0))


@pytest.mark.parametrize(("count", "p99"), [(999, None), (1000, 990.01)])
def test_a_99th_percentile_takes_a_thousand_samples(count: int, p99: float | None) -> None:
    assert latencies(np.arange(1, count + 1) / 1e3).p99_ms == (p99 and pytest.approx(p99))


class _Timed:
    """An engine of batches that all last as long, and what was asked of it."""

    def __init__(self, seconds: float, **more: Any) -> None:
        self.asked: list[tuple[int, int]] = []
        self._seconds, self._more = seconds, more

    def batch_times(self, batch: NDArray[np.float32], count: int) -> BatchTimes:
        self.asked.append((len(batch), count))
        seconds = np.full(count, self._seconds)
        more = {name: make(count) for name, make in self._more.items()}
        return BatchTimes(more.pop("clock", "host"), seconds, float(seconds.sum()), **more)


def _found(engine: _Timed, images: int = 8) -> dict[str, Any]:
    return time_batches(cast("Engine", engine), np.zeros((images, 3, 2, 2), np.float32))


@pytest.mark.parametrize(("seconds", "batches"), [(0.010, 1000), (0.011, 227), (9.0, 10)])
def test_a_thousand_batches_or_a_quarter_of_the_time(seconds: float, batches: int) -> None:
    """After ten that tell how many there will be, and that do where there are no more."""
    engine = _Timed(seconds)
    found = _found(engine)
    assert engine.asked == [(8, 10), (8, batches)][: 1 if batches == 10 else 2]
    assert (found["batch"], found["batches"], found["clock"]) == (8, batches, "host")
    assert ("p99_ms" in found) == (batches == 1000)
    assert found["p50_ms"] == found["p90_ms"] == pytest.approx(1e3 * seconds)
    assert not [one for one in found if one.startswith(("enqueue", "host_", "gpu_", "latency_"))]


def test_a_devices_clock_tells_what_launching_takes_and_holds() -> None:
    engine = _Timed(
        0.002,
        clock=lambda _: "device",
        enqueue_seconds=lambda count: np.full(count, 0.0018),
        gpu_memory_bytes=lambda _: 4096,
    )
    found = _found(engine, images=1)
    assert (found["clock"], found["gpu_memory_bytes"]) == ("device", 4096)
    assert found["enqueue_p50_ms"] == pytest.approx(1.8)
    assert found["enqueue_share"] == pytest.approx(0.9)
    assert found["host_bound"].startswith("host-bound: launching took 1800.00 ms of 2000.00 ms")


@pytest.mark.parametrize(("copied", "batches"), [(0.005, 1000), (0.023, 100)])
def test_a_batch_by_itself_with_its_copies_counts_into_the_time(
    copied: float, batches: int
) -> None:
    engine = _Timed(
        0.002, clock=lambda _: "device", latency_seconds=lambda count: np.full(count, copied)
    )
    found = _found(engine)
    assert engine.asked == [(8, 10), (8, batches)]
    assert found["p50_ms"] == pytest.approx(2.0)
    assert found["latency_p50_ms"] == found["latency_p90_ms"] == pytest.approx(1e3 * copied)
    assert ("latency_p99_ms" in found) == ("p99_ms" in found) == (batches == 1000)
