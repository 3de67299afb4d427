"""What else the machine did while an engine was timed."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

from facenet_validate.benchmarking.gpu import GpuSample, GpuWatch, disturbance
from facenet_validate.benchmarking.machine import CpuIdentity, machine_state

STEAL_LIMIT = 0.05
"""Share of the processors that others may take before a session is not recorded."""


class Surroundings:
    """Watches the processors, and the GPU where there is one, from its making to `values`.

    Parameters
    ----------
    cpu : CpuIdentity
        This machine's processors.
    gpu : GpuWatch, optional
        The GPU that is timed.
    clock, steal : callable
        Seconds of the host; seconds the hypervisor gave to others, None if unknown.
    """

    def __init__(
        self,
        cpu: CpuIdentity,
        gpu: GpuWatch | None = None,
        *,
        clock: Callable[[], float] = perf_counter,
        steal: Callable[[], float | None] = lambda: machine_state().steal_seconds,
    ) -> None:
        self._cpu = cpu
        self._gpu = gpu
        self._clock = clock
        self._steal = steal
        self._begin = clock()
        self._stolen = steal()
        self._samples: list[GpuSample] = []

    @property
    def watches(self) -> bool:
        """Whether looking takes time: there is a GPU to ask."""
        return self._gpu is not None

    def look(self) -> None:
        """Take a sample of the GPU; call it between timed blocks."""
        if self._gpu is not None:
            self._samples.append(self._gpu.sample())

    def disturbance(self) -> str:
        """Return what disturbed the timing so far; empty if nothing known did."""
        causes = []
        share = self._steal_share()
        if share is not None and share > STEAL_LIMIT:
            causes.append(f"others took {share:.0%} of the processors")
        causes += filter(None, [disturbance(self._samples)])
        return ", ".join(causes)

    def values(self) -> dict[str, Any]:
        """Return what was seen, for reports; of a GPU the range of each reading."""
        found: dict[str, Any] = {"steal": self._steal_share(), "disturbance": self.disturbance()}
        if self._gpu is not None and self._gpu.unavailable:
            found["gpu"] = self._gpu.unavailable
        for name in ("sm_clock", "memory_clock", "temperature", "power"):
            known = [v for s in self._samples if (v := getattr(s, name)) is not None]
            if known:
                found[name] = [min(known), max(known)]
        return found

    def _steal_share(self) -> float | None:
        now = self._steal()
        spent = self._clock() - self._begin
        if self._stolen is None or now is None or spent <= 0:
            return None
        return (now - self._stolen) / (spent * self._cpu.cores)
