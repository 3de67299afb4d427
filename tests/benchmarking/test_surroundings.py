from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import pytest

from facenet_validate.benchmarking.gpu import GpuSample, GpuWatch
from facenet_validate.benchmarking.machine import CpuIdentity
from facenet_validate.benchmarking.surroundings import Surroundings

CPU = CpuIdentity("x", 1, 1, 1, frozenset(), cores=2)
QUIET = GpuSample(1980, 2619, 40, 500.0, 0x1, 0)


class Gpu:
    """Gives prepared samples."""

    def __init__(self, *samples: GpuSample, unavailable: str = "") -> None:
        self._samples = iter(samples)
        self.unavailable = unavailable

    def sample(self) -> GpuSample:
        return next(self._samples)


def _around(*samples: GpuSample, steal: float = 0.0, unavailable: str = "") -> Surroundings:
    """Return ten seconds in which the hypervisor took some."""
    stolen: Iterator[float] = iter([100.0] + [100.0 + steal] * 9)
    clock: Iterator[float] = iter([50.0] + [60.0] * 9)
    gpu = cast("GpuWatch", Gpu(*samples, unavailable=unavailable))
    around = Surroundings(CPU, gpu, clock=clock.__next__, steal=stolen.__next__)
    for _ in samples:
        around.look()
    return around


def test_a_quiet_machine_is_not_disturbed() -> None:
    assert _around(QUIET, QUIET, steal=0.9).disturbance() == ""


def test_stolen_processors_and_a_slowed_gpu_disturb() -> None:
    slowed = GpuSample(1200, 2619, 88, 700.0, 0x40, 1)
    found = _around(QUIET, slowed, steal=4.0).disturbance()
    assert found.startswith("others took 20% of the processors, hardware thermal slowdown")
    assert "1 other process on the GPU" in found


def test_readings_are_told_as_ranges() -> None:
    values = _around(QUIET, GpuSample(1800, None, 44, 610.5, None, None)).values()
    assert values["sm_clock"] == [1800, 1980]
    assert values["memory_clock"] == [2619, 2619]
    assert values["power"] == [500.0, 610.5]
    assert values["steal"] == pytest.approx(0.0)


def test_what_nvml_does_not_tell_is_said() -> None:
    nothing = GpuSample(None, None, None, None, None, None)
    values = _around(nothing, unavailable="NVML is not read").values()
    assert values["gpu"] == "NVML is not read"
    assert "sm_clock" not in values


def test_without_a_gpu_the_processors_alone_are_watched() -> None:
    around = Surroundings(CPU)
    around.look()
    assert set(around.values()) == {"steal", "disturbance"}
