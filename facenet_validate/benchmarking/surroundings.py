"""What else the machine did while an engine was timed."""

from __future__ import annotations

import resource
import sys
import threading
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from operator import attrgetter
from time import perf_counter
from typing import Any, Self, TypeVar

from facenet_validate.base.closing import Closing
from facenet_validate.base.machine import CpuIdentity
from facenet_validate.benchmarking.gpu import POWER_CAP, GpuSample, GpuWatch, disturbance
from facenet_validate.benchmarking.gpu import WHY_UNKNOWN as WHY_GPU_UNKNOWN
from facenet_validate.benchmarking.processors import (
    WHY_UNKNOWN,
    CpuSample,
    CpuState,
    cpu_sample,
    cpu_state,
)

_T = TypeVar("_T")

STEAL_LIMIT = 0.05
"""Share of the processors' time that the hypervisor may give to others."""

OTHERS_LIMIT = 0.10
"""Share that other processes may take where less than `IDLE_LIMIT` is idle."""

IDLE_LIMIT = 0.10
"""Share of idle time from which neighbours do not matter: there is room for them."""

THROTTLED_LIMIT = 0.05
"""Share of one processor's time for which quotas may hold this process back."""

SHORTEST = 0.5
"""Seconds that are judged at least: the kernel counts in ticks of 10 ms."""


class Surroundings(Closing):
    """Watches the processors, and the GPU where there is one, in a thread.

    These disturb:

    - steal above `STEAL_LIMIT`: more is taken than the 3 % that gates look for;
    - other processes above `OTHERS_LIMIT` where less than `IDLE_LIMIT` is idle: where processors
      are idle, neighbours take nothing from what is timed;
    - quotas above `THROTTLED_LIMIT`: threads wait for the one that is held back;
    - a GPU slowed down by heat, a fault or its supply, and other processes that use its SMs.

    These do not disturb and are only reported by `values`: the power limit of a GPU, which a large
    one reaches under any load; clock, power and temperature, whose drift both engines of a quad
    share; the load average, which counts this process too and lags by a minute.

    Parameters
    ----------
    cpu : CpuIdentity
        This machine's processors.
    gpu : GpuWatch, optional
        The GPU that is timed.
    sample : callable
        Moment → `CpuSample`; quick, as it is also called between timed blocks.
    state : callable
        → `CpuState`; only the thread calls it.
    clock : callable
        Seconds; the clock that blocks are timed with.
    period : float
        Seconds between the thread's samples.
    """

    def __init__(
        self,
        cpu: CpuIdentity,
        gpu: GpuWatch | None = None,
        *,
        sample: Callable[[float], CpuSample] = cpu_sample,
        state: Callable[[], CpuState] = cpu_state,
        clock: Callable[[], float] = perf_counter,
        period: float = 0.2,
    ) -> None:
        self._cores = cpu.cores
        self._gpu = gpu
        self._sample = sample
        self._state = state
        self.clock = clock
        self._period = period
        self._samples: list[CpuSample] = []
        self._states: list[CpuState] = []
        self._gpu_samples: list[tuple[float, GpuSample]] = []
        self._failures: dict[str, str] = {}
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._watch, name="surroundings", daemon=True)

    def __enter__(self) -> Self:
        self._look()
        self._thread.start()
        return self

    def close(self) -> None:
        """Stop watching."""
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        gpu = self._gpu
        while not self._stop.wait(self._period):
            self._look()
            self._read("state", self._states, self._state)
            if gpu is not None:
                self._read("gpu", self._gpu_samples, lambda: (self.clock(), gpu.sample()))

    def _look(self) -> None:
        with self._lock:  # keeps the samples in their order
            self._read("processors", self._samples, lambda: self._sample(self.clock()))

    def _read(self, name: str, into: list[_T], reader: Callable[[], _T]) -> None:
        try:
            into.append(reader())
        except Exception as error:  # a reading that fails must not end the timing
            self._failures[name] = f"{type(error).__name__}: {error}"

    def disturbance(self, begin: float, end: float) -> str:
        """Say what disturbed the time from `begin` to `end` of the clock; empty if nothing did.

        Call it when that time ends. It takes a sample of the processors, but none of the GPU, which
        would stand idle meanwhile. The processors were disturbed if they were within that time and
        also over at least `SHORTEST` seconds that end with it: one tick is a large part of a short
        time, and the longer span alone would blame what came before.
        """
        self._look()
        causes = []
        if samples := list(self._samples):
            exact, wide = (
                _causes(_shares(*_between(samples, begin, end, shortest), self._cores))
                for shortest in (0.0, SHORTEST)
            )
            causes = wide if exact else []
        return ", ".join(filter(None, [*causes, disturbance(self._gpu_during(begin, end))]))

    def _gpu_during(self, begin: float, end: float) -> list[GpuSample]:
        """Return the GPU's samples of that time; the last one before it if there are none."""
        samples = list(self._gpu_samples)
        first = bisect_left(samples, begin, key=lambda pair: pair[0])
        last = bisect_right(samples, end, key=lambda pair: pair[0])
        return [sample for _, sample in samples[min(first, max(last - 1, 0)) : last]]

    def values(self) -> dict[str, Any]:
        """Return what was seen so far, for reports.

        Returns
        -------
        dict
            Shares of the processors' time (``own``, ``others``, ``idle``, ``steal``), of one
            processor's (``throttled``), of the GPU's samples at its power limit (``power_cap``);
            the lowest and highest of each reading (``load1``; ``mhz``, ``sm_clock``,
            ``memory_clock`` in MHz; ``temperature`` in °C; ``power`` in W); counts (``samples``,
            ``throttled_periods``); ``peak_memory_bytes`` of this process; under ``unknown`` and
            ``gpu`` what could not be read, and why.
        """
        cpu, states = list(self._samples), list(self._states)
        gpu = [sample for _, sample in list(self._gpu_samples)]
        found: dict[str, Any] = {"samples": len(cpu), "peak_memory_bytes": _peak_memory()}
        if cpu:
            shares = _shares(cpu[0], cpu[-1], self._cores)
            found |= {name: round(share, 4) for name, share in shares.items()}
            if cpu[0].throttled_periods is not None and cpu[-1].throttled_periods is not None:
                found["throttled_periods"] = cpu[-1].throttled_periods - cpu[0].throttled_periods
        found |= _ranges(states, ("load1", "mhz"))
        found |= _ranges(gpu, ("sm_clock", "memory_clock", "temperature", "power"))
        known = [sample.reasons for sample in gpu if sample.reasons is not None]
        if known:
            found["power_cap"] = round(
                sum(bool(bits & POWER_CAP) for bits in known) / len(known), 4
            )
        unknown = _unknown((*cpu[-1:], *states[-1:], *gpu[-1:])) | self._failures
        if unknown:
            found["unknown"] = unknown
        if self._gpu is not None and self._gpu.unavailable:
            found["gpu"] = self._gpu.unavailable
        return found


def _between(
    samples: Sequence[CpuSample], begin: float, end: float, shortest: float
) -> tuple[CpuSample, CpuSample]:
    """Return the samples around a time, at least so many seconds apart where there are such."""
    moment = attrgetter("moment")
    last = samples[min(bisect_left(samples, end, key=moment), len(samples) - 1)]
    start = min(begin, last.moment - shortest)
    return samples[max(bisect_right(samples, start, key=moment) - 1, 0)], last


def _shares(first: CpuSample, last: CpuSample, cores: int) -> dict[str, float]:
    """Return what became of the processors' time between two samples; only what is known.

    All are shares of all processors' time, but ``throttled``, which is in processors.
    """
    seconds = last.moment - first.moment
    if seconds <= 0.0:
        return {}
    capacity = seconds * cores
    own = last.own - first.own
    found = {"own": own / capacity}
    for name, whole in (("idle", capacity), ("steal", capacity), ("throttled", seconds)):
        before, after = getattr(first, name), getattr(last, name)
        if before is not None and after is not None:
            found[name] = (after - before) / whole
    if first.busy is not None and last.busy is not None:
        found["others"] = max(0.0, last.busy - first.busy - own) / capacity
    return found


def _causes(shares: Mapping[str, float]) -> list[str]:
    causes = []
    if (steal := shares.get("steal", 0.0)) > STEAL_LIMIT:
        causes.append(f"the hypervisor gave {steal:.0%} of the processors to others")
    others = shares.get("others", 0.0)
    if others > OTHERS_LIMIT and shares.get("idle", 1.0) < IDLE_LIMIT:
        causes.append(f"other processes took {others:.0%} of the processors")
    if (throttled := shares.get("throttled", 0.0)) > THROTTLED_LIMIT:
        causes.append(f"a quota held back {throttled:.0%} of a processor")
    return [cause.replace("%", " %") for cause in causes]


def _unknown(read: Iterable[CpuSample | CpuState | GpuSample]) -> dict[str, str]:
    """Return which fields are None, and why."""
    fields = {name: value for one in read for name, value in asdict(one).items()}
    reasons = WHY_UNKNOWN | WHY_GPU_UNKNOWN
    return {name: why for name, why in reasons.items() if fields.get(name, 0) is None}


def _ranges(samples: Sequence[object], names: tuple[str, ...]) -> dict[str, list[float]]:
    found = {}
    for name in names:
        known = [value for sample in samples if (value := getattr(sample, name)) is not None]
        if known:
            found[name] = [min(known), max(known)]
    return found


def _peak_memory() -> int:
    """Return this process's largest resident memory so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
