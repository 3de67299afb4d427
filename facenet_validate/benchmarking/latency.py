"""How long single batches take, beside how many of them a second: percentiles of latency."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facenet_validate.engines.protocol import BatchTimes, Engine

FEWEST_FOR_P99 = 1000
"""Samples that a 99th percentile needs."""

FEWEST_BATCHES = 10

LATENCY_SECONDS = 10.0
"""Where 1,000 single batches take longer there is no 99th percentile, and a quarter of the time."""


@dataclass(frozen=True)
class Latencies:
    """How long single batches took.

    Attributes
    ----------
    samples : int
        Batches timed one by one.
    p50_ms, p90_ms : float
        Percentiles, in milliseconds.
    p99_ms : float or None
        The 99th; None from fewer than `FEWEST_FOR_P99` samples, of which ten or less would decide
        it.
    """

    samples: int
    p50_ms: float
    p90_ms: float
    p99_ms: float | None


def latencies(seconds: ArrayLike) -> Latencies:
    """Summarise the durations of single batches, in seconds; percentiles are interpolated."""
    sample = 1e3 * np.asarray(seconds, dtype=np.float64)
    p50, p90, p99 = (float(value) for value in np.percentile(sample, (50, 90, 99)))
    return Latencies(len(sample), p50, p90, p99 if len(sample) >= FEWEST_FOR_P99 else None)


def time_batches(engine: Engine, batch: NDArray[np.float32]) -> dict[str, Any]:
    """Time single batches of an engine and return their percentiles, in milliseconds.

    On TensorRT they are what trtexec tells: device time between events, how long a launch takes,
    and the latency of a batch by itself, copied in, computed and copied out. Elsewhere the host's
    clock tells, from a batch in memory to its embeddings in memory.
    """
    # One batch alone would tell what the first one costs, launched and waited for by itself.
    times = engine.batch_times(batch, FEWEST_BATCHES)
    count = _count(times)
    if count > FEWEST_BATCHES:
        times = engine.batch_times(batch, count)
    found = latencies(times.seconds)
    told: dict[str, Any] = {
        "batch": len(batch),
        "batches": found.samples,
        "p50_ms": found.p50_ms,
        "p90_ms": found.p90_ms,
    }
    if found.p99_ms is not None:
        told["p99_ms"] = found.p99_ms
    told["clock"] = times.clock
    if times.enqueue_seconds is not None:
        told |= {
            "enqueue_p50_ms": latencies(times.enqueue_seconds).p50_ms,
            "enqueue_share": float(times.enqueue_seconds.sum() / times.seconds.sum()),
            "host_bound": times.host_bound,
        }
    if times.latency_seconds is not None:
        alone = latencies(times.latency_seconds)
        told |= {"latency_p50_ms": alone.p50_ms, "latency_p90_ms": alone.p90_ms}
        if alone.p99_ms is not None:
            told["latency_p99_ms"] = alone.p99_ms
    if times.gpu_memory_bytes is not None:
        told["gpu_memory_bytes"] = times.gpu_memory_bytes
    return told


def _count(times: BatchTimes) -> int:
    """Return how many batches are timed, by what a few took."""
    alone = 0.0 if times.latency_seconds is None else float(times.latency_seconds.sum())
    seconds = (times.wall_seconds + alone) / len(times.seconds)
    if FEWEST_FOR_P99 * seconds <= LATENCY_SECONDS:
        return FEWEST_FOR_P99
    return max(FEWEST_BATCHES, int(LATENCY_SECONDS / 4.0 / seconds))
