from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from facenet_validate.benchmarking import latency
from facenet_validate.benchmarking.latency import latencies, time_batches
from facenet_validate.benchmarking.timing import time_block
from facenet_validate.engines.protocol import Engine


def test_latencies_are_percentiles_in_milliseconds() -> None:
    found = latencies([0.1, 0.2, 0.3])
    assert (found.samples, found.p99_ms) == (3, None)
    assert (found.p50_ms, found.p90_ms) == pytest.approx((200.0, 280.0))


@pytest.mark.parametrize(("count", "p99"), [(999, None), (1000, 990.01)])
def test_a_99th_percentile_takes_a_thousand_samples(count: int, p99: float | None) -> None:
    assert latencies(np.arange(1, count + 1) / 1e3).p99_ms == (p99 and pytest.approx(p99))


@pytest.mark.parametrize(("seconds", "batches"), [(0.010, 1000), (0.011, 227), (9.0, 10)])
def test_a_thousand_batches_or_a_quarter_of_the_time(
    monkeypatch: pytest.MonkeyPatch, seconds: float, batches: int
) -> None:
    monkeypatch.setattr(latency, "time_block", lambda _run: seconds)
    engine = cast("Engine", SimpleNamespace(run=lambda batch: batch))
    found: dict[str, Any] = time_batches(engine, np.zeros((8, 3, 2, 2), np.float32))
    assert (found["batch"], found["batches"]) == (8, batches)
    assert ("p99_ms" in found) == (batches == 1000)
    assert found["p50_ms"] == pytest.approx(1e3 * seconds)


def test_single_batches_are_timed_by_the_hosts_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every one of them by itself, after one that tells how many there will be."""
    monkeypatch.setattr(latency, "LATENCY_SECONDS", 0.0)
    now = 100.0
    ran = []

    def run(batch: NDArray[np.float32]) -> None:
        nonlocal now
        now += 0.002
        ran.append(len(batch))

    monkeypatch.setattr(latency, "time_block", partial(time_block, clock=lambda: now))
    engine = cast("Engine", SimpleNamespace(run=run))
    found = time_batches(engine, np.zeros((1, 3, 2, 2), np.float32))
    assert found["clock"] == "host"
    assert found["batches"] == 10
    assert found["p50_ms"] == found["p90_ms"] == pytest.approx(2.0)
    assert ran == [1] * 11
