"""How a GPU is doing while it is timed, as NVIDIA's management library tells."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, TypeVar

from facenet_validate.base.closing import Closing
from facenet_validate.engines.device.interface import GpuAddress, GpuFacts

_T = TypeVar("_T")

POWER_CAP = 0x4
"""NVML's clock-event bit of a GPU at its power limit: the usual state of a large one under load."""

REASONS = {
    0x8: "hardware slowdown",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "power brake",
}
"""NVML's clock-event bits of a GPU that is slowed down by a fault or its heat.

Idle (0x1), chosen clocks (0x2) and the power cap are not among them.
"""

RECENT = 1_000_000
"""Microseconds for which the use of the SMs is asked back. NVML samples it up to once a second."""

WHY_UNKNOWN = {
    "other_processes": "NVML does not tell which processes use this GPU's SMs; "
    "under MIG it tells of none"
}
"""Why a field of a `GpuSample` is None. Named are those that could have told of a disturbance."""


@dataclass(frozen=True)
class GpuSample:
    """A GPU at one moment; None where NVML does not tell.

    Attributes
    ----------
    sm_clock, memory_clock : int or None
        MHz.
    temperature : int or None
        Degrees Celsius.
    power : float or None
        Watts.
    reasons : int or None
        Clock-event bits.
    other_processes : int or None
        Processes beside this one that used the GPU's SMs during the last second. A display server
        or a notebook that only holds memory is none of them.
    """

    sm_clock: int | None
    memory_clock: int | None
    temperature: int | None
    power: float | None
    reasons: int | None
    other_processes: int | None


def disturbance(samples: Iterable[GpuSample]) -> str:
    """Return what disturbed a GPU in any of the samples; empty if nothing known did."""
    bits, others, hottest = 0, 0, None
    for sample in samples:
        bits |= sample.reasons or 0
        others = max(others, sample.other_processes or 0)
        if sample.temperature is not None:
            hottest = max(hottest or 0, sample.temperature)
    causes = [name for bit, name in REASONS.items() if bits & bit]
    if causes and hottest is not None:
        causes[-1] += f" (at most {hottest} °C)"
    if others:
        causes.append(f"{others} other process{'es' if others > 1 else ''} on the GPU")
    return ", ".join(causes)


class GpuWatch(Closing):
    """Takes samples of one GPU when asked. What NVML does not tell is None, and no error.

    Parameters
    ----------
    address : GpuAddress
        Which GPU. Under MIG, processes are those of its instance; clocks, power and temperature are
        the whole GPU's, as instances share them.
    nvml : module, optional
        ``pynvml``; imported by default.
    now : callable
        Returns nanoseconds since the epoch, by which NVML dates its samples.

    Attributes
    ----------
    unavailable : str
        Why NVML tells nothing; empty if it does.
    facts : GpuFacts
        What does not change.
    """

    def __init__(
        self,
        address: GpuAddress,
        nvml: ModuleType | None = None,
        now: Callable[[], int] = time.time_ns,
    ) -> None:
        self.unavailable = ""
        self._address = address
        self._now = now
        # Any: pynvml has no type hints.
        self._nvml: Any = None
        self._handle: Any = None
        try:
            self._nvml = _import_nvml() if nvml is None else nvml
            self._nvml.nvmlInit()
        except ImportError:
            self.unavailable = "NVML is not read: nvidia-ml-py is not installed"
            self._nvml = None
        except self._nvml.NVMLError as error:
            self.unavailable = f"NVML does not start: {error}"
            self._nvml = None
        else:
            try:
                self._handle = self._nvml.nvmlDeviceGetHandleByPciBusId(address.pci_bus_id)
            except self._nvml.NVMLError as error:
                self.unavailable = f"NVML does not show the GPU at {address.pci_bus_id}: {error}"
        self.facts = GpuFacts(
            driver=self._ask(lambda nvml, _: _text(nvml.nvmlSystemGetDriverVersion())),
            mig=self._ask(lambda nvml, handle: bool(nvml.nvmlDeviceGetMigMode(handle)[0])),
            power_limit=self._ask(
                lambda nvml, handle: nvml.nvmlDeviceGetEnforcedPowerLimit(handle) / 1e3
            ),
            application_clock=self._ask(
                lambda nvml, handle: int(
                    nvml.nvmlDeviceGetApplicationsClock(handle, nvml.NVML_CLOCK_SM)
                )
            ),
        )
        # The GPU's own handle tells of the processes of all its instances.
        self._shared: Any = self._ask(self._instance) if self.facts.mig else self._handle

    def sample(self) -> GpuSample:
        """Return how the GPU is doing now."""
        return GpuSample(
            sm_clock=self._ask(
                lambda nvml, handle: int(nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM))
            ),
            memory_clock=self._ask(
                lambda nvml, handle: int(nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_MEM))
            ),
            temperature=self._ask(
                lambda nvml, handle: int(
                    nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)
                )
            ),
            power=self._ask(lambda nvml, handle: nvml.nvmlDeviceGetPowerUsage(handle) / 1e3),
            reasons=self._ask(_reasons),
            other_processes=self._ask(self._other_processes),
        )

    def close(self) -> None:
        """Shut NVML down."""
        nvml, self._nvml, self._handle, self._shared = self._nvml, None, None, None
        if nvml is not None:
            nvml.nvmlShutdown()

    def _instance(self, nvml: Any, _: Any) -> Any:
        """Return the handle of the instance that CUDA uses."""
        return nvml.nvmlDeviceGetHandleByUUID(f"MIG-{self._address.uuid}")

    def _other_processes(self, nvml: Any, _: Any) -> int | None:
        """Count the other processes that use the SMs; this one does too while it is timed.

        In a container NVML gives the host's process numbers. This process cannot be found among
        them, so one of them is taken for it.
        """
        if self._shared is None:
            return None
        since = self._now() // 1000 - RECENT
        busy = {one.pid for one in _utilization(nvml, self._shared, since) if one.smUtil}
        running = nvml.nvmlDeviceGetComputeRunningProcesses(self._shared)
        own = os.getpid()
        numbered_alike = own in busy or own in {one.pid for one in running}
        return len(busy - {own}) if numbered_alike else max(0, len(busy) - 1)

    def _ask(self, question: Callable[[Any, Any], _T]) -> _T | None:
        """Return an answer, or None where this GPU, driver or user does not get one."""
        if self._handle is None:
            return None
        try:
            return question(self._nvml, self._handle)
        except (self._nvml.NVMLError, AttributeError):
            return None


def _import_nvml() -> ModuleType:
    import pynvml

    module: ModuleType = pynvml
    return module


def _reasons(nvml: Any, handle: Any) -> int:
    # Renamed with driver 535; older drivers answer to the older name alone.
    try:
        return int(nvml.nvmlDeviceGetCurrentClocksEventReasons(handle))
    except (nvml.NVMLError, AttributeError):
        return int(nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle))


def _utilization(nvml: Any, handle: Any, since: int) -> list[Any]:
    """Return a sample for each process that used the GPU after a time in microseconds."""
    try:
        found: list[Any] = nvml.nvmlDeviceGetProcessUtilization(handle, since)
    except nvml.NVMLError as error:
        # An idle GPU is an error: no sample was found, or pynvml needed no buffer for them.
        if error.value in (nvml.NVML_ERROR_NOT_FOUND, nvml.NVML_SUCCESS):
            return []
        raise
    return found


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
