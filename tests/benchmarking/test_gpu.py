from __future__ import annotations

import os
import sys
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import pytest

from facenet_validate.benchmarking.gpu import (
    REASONS,
    RECENT,
    GpuSample,
    GpuWatch,
    disturbance,
)
from facenet_validate.engines.device.interface import GpuAddress, GpuFacts

ADDRESS = GpuAddress("0000:17:00.0", "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0")
NOW = 1_700_000_000_000_000
"""Microseconds since the epoch."""

UNKNOWN = GpuSample(None, None, None, None, None, None)
QUIET = GpuSample(1980, 2619, 41, 310.5, 0x1, 0)


class NVMLError(Exception):
    """pynvml's: it also has its number."""

    def __init__(self, text: str, value: int = 3) -> None:
        super().__init__(text)
        self.value = value


def idle(text: str = "Not Found", value: int = 6) -> NVMLError:
    return NVMLError(text, value)


class FakeNvml(SimpleNamespace):
    """The part of pynvml that is used; what a test removes or breaks is missing on that driver."""

    NVMLError = NVMLError
    NVML_SUCCESS, NVML_ERROR_NOT_FOUND = 0, 6
    NVML_CLOCK_SM, NVML_CLOCK_MEM, NVML_TEMPERATURE_GPU = 1, 2, 0

    def __init__(self, **answers: Any) -> None:
        super().__init__()
        self.open = 0
        self.asked: list[tuple[str, tuple[object, ...]]] = []
        self.answers = {
            "nvmlDeviceGetHandleByPciBusId": "handle",
            "nvmlDeviceGetHandleByUUID": "instance",
            "nvmlSystemGetDriverVersion": b"575.57.08",
            "nvmlDeviceGetMigMode": [0, 0],
            "nvmlDeviceGetEnforcedPowerLimit": 700_000,
            "nvmlDeviceGetApplicationsClock": 1980,
            "nvmlDeviceGetTemperature": 41,
            "nvmlDeviceGetPowerUsage": 310_500,
            "nvmlDeviceGetCurrentClocksEventReasons": 0x4,
            "nvmlDeviceGetComputeRunningProcesses": [os.getpid(), 97, 98, 99],
            "nvmlDeviceGetProcessUtilization": {os.getpid(): 90, 97: 0, 98: 5, 99: 1},
            **answers,
        }

    def nvmlInit(self) -> None:  # noqa: N802  # NVML's name
        if "nvmlInit" in self.answers:
            raise self.answers["nvmlInit"]
        self.open += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.open -= 1

    def nvmlDeviceGetClockInfo(self, _handle: str, kind: int) -> int:  # noqa: N802
        return {1: 1980, 2: 2619}[kind]

    def asked_of(self, name: str) -> list[tuple[object, ...]]:
        return [arguments for asked, arguments in self.asked if asked == name]

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("nvml") or self.answers.get(name, AttributeError) is AttributeError:
            raise AttributeError(name)

        def answer(*arguments: object) -> Any:
            self.asked.append((name, arguments))
            found = self.answers[name]
            if isinstance(found, Exception):
                raise found
            if name.endswith("RunningProcesses"):
                return [SimpleNamespace(pid=pid) for pid in found]
            if name.endswith("ProcessUtilization"):
                return [SimpleNamespace(pid=pid, smUtil=used) for pid, used in found.items()]
            return found

        return answer


def watch(nvml: FakeNvml) -> GpuWatch:
    return GpuWatch(ADDRESS, cast("ModuleType", nvml), lambda: NOW * 1000)


def test_a_gpu_is_sampled() -> None:
    nvml = FakeNvml()
    with watch(nvml) as found:
        assert found.unavailable == ""
        assert found.facts == GpuFacts("575.57.08", False, 700.0, 1980)
        assert found.sample() == GpuSample(1980, 2619, 41, 310.5, 0x4, 2)
        assert nvml.asked_of("nvmlDeviceGetHandleByPciBusId") == [(ADDRESS.pci_bus_id,)]
        assert nvml.open == 1
    found.close()
    assert nvml.open == 0
    assert found.sample() == UNKNOWN


def test_an_older_driver_gives_its_reasons_by_the_older_name() -> None:
    for missing in (AttributeError, NVMLError("Function Not Found")):
        nvml = FakeNvml(
            nvmlDeviceGetCurrentClocksEventReasons=missing,
            nvmlDeviceGetCurrentClocksThrottleReasons=0x40,
        )
        assert watch(nvml).sample().reasons == 0x40


def test_what_may_not_be_read_is_unknown_and_the_rest_is_not() -> None:
    nvml = FakeNvml(
        nvmlDeviceGetMigMode=NVMLError("Not Supported"),
        nvmlDeviceGetPowerUsage=NVMLError("Insufficient Permissions"),
        nvmlDeviceGetProcessUtilization=NVMLError("Not Supported"),
    )
    found = watch(nvml)
    assert found.facts.mig is None
    sample = found.sample()
    assert (sample.power, sample.other_processes, sample.temperature) == (None, None, 41)


def test_use_of_the_sms_is_asked_for_the_last_second() -> None:
    nvml = FakeNvml()
    watch(nvml).sample()
    assert nvml.asked_of("nvmlDeviceGetProcessUtilization") == [("handle", NOW - RECENT)]


OWN = os.getpid()


@pytest.mark.parametrize(
    ("running", "used", "others"),
    [
        ([OWN, 98, 99], {OWN: 90}, 0),
        ([OWN, 98, 99], {OWN: 90, 98: 0}, 0),
        ([OWN, 98, 99], {OWN: 90, 98: 1}, 1),
        ([OWN, 98], {98: 50}, 1),  # this one rests, and is known to be here
        ([OWN], {OWN: 90, 99: 7}, 1),  # a graphics process
        ([OWN, 98], idle(), 0),
        ([OWN, 98], idle("Success", 0), 0),
    ],
)
def test_a_process_that_uses_the_sms_disturbs_and_one_that_is_only_there_does_not(
    running: list[int], used: dict[int, int] | Exception, others: int
) -> None:
    nvml = FakeNvml(
        nvmlDeviceGetComputeRunningProcesses=running, nvmlDeviceGetProcessUtilization=used
    )
    assert watch(nvml).sample().other_processes == others


@pytest.mark.parametrize(
    ("running", "used", "others"),
    [
        ([7001], {7001: 90}, 0),
        ([7001, 7002], {7001: 90, 7002: 3}, 1),
        ([7001, 7002], {7001: 90, 7002: 0}, 0),
        ([], idle(), 0),
    ],
)
def test_in_a_container_one_process_is_taken_for_this_one(
    running: list[int], used: dict[int, int] | Exception, others: int
) -> None:
    nvml = FakeNvml(
        nvmlDeviceGetComputeRunningProcesses=running, nvmlDeviceGetProcessUtilization=used
    )
    assert watch(nvml).sample().other_processes == others


def test_under_mig_processes_are_the_instances_and_clocks_the_gpus() -> None:
    nvml = FakeNvml(nvmlDeviceGetMigMode=[1, 1])
    found = watch(nvml)
    assert found.facts.mig is True
    assert found.sample() == GpuSample(1980, 2619, 41, 310.5, 0x4, 2)
    assert nvml.asked_of("nvmlDeviceGetHandleByUUID") == [(f"MIG-{ADDRESS.uuid}",)]
    assert [asked[0] for asked in nvml.asked_of("nvmlDeviceGetProcessUtilization")] == ["instance"]
    assert nvml.asked_of("nvmlDeviceGetComputeRunningProcesses") == [("instance",)]
    assert nvml.asked_of("nvmlDeviceGetPowerUsage") == [("handle",)]


@pytest.mark.parametrize(
    "answer",
    [
        {"nvmlDeviceGetHandleByUUID": NVMLError("Not Found")},
        {"nvmlDeviceGetProcessUtilization": NVMLError("Not Supported")},
    ],
)
def test_an_instance_that_nvml_tells_nothing_of_is_unknown_and_the_gpu_is_not(
    answer: dict[str, Exception],
) -> None:
    """The whole GPU's processes are those of other instances, too."""
    nvml = FakeNvml(nvmlDeviceGetMigMode=[1, 1], **answer)
    assert watch(nvml).sample() == GpuSample(1980, 2619, 41, 310.5, 0x4, None)
    assert all(of[0] == "instance" for of in nvml.asked_of("nvmlDeviceGetProcessUtilization"))


def test_missing_nvml_leaves_everything_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with GpuWatch(ADDRESS) as found:
        assert found.unavailable == "NVML is not read: nvidia-ml-py is not installed"
        assert found.facts == GpuFacts(None, None, None, None)
        assert found.sample() == UNKNOWN


def test_nvml_that_does_not_start_says_why() -> None:
    nvml = FakeNvml(nvmlInit=NVMLError("Driver Not Loaded"))
    with watch(nvml) as found:
        assert found.unavailable == "NVML does not start: Driver Not Loaded"
        assert found.sample() == UNKNOWN
    assert nvml.open == 0


def test_a_gpu_that_nvml_does_not_show_is_named_and_nvml_let_go() -> None:
    nvml = FakeNvml(nvmlDeviceGetHandleByPciBusId=NVMLError("Not Found"))
    with watch(nvml) as found:
        assert found.unavailable == "NVML does not show the GPU at 0000:17:00.0: Not Found"
        assert found.sample() == UNKNOWN
    assert nvml.open == 0


@pytest.mark.parametrize("samples", [[], [UNKNOWN], [QUIET, QUIET], [QUIET, UNKNOWN]])
def test_a_quiet_gpu_is_not_disturbed(samples: list[GpuSample]) -> None:
    assert disturbance(samples) == ""


@pytest.mark.parametrize(("bit", "name"), REASONS.items())
def test_each_reason_disturbs_in_any_sample(bit: int, name: str) -> None:
    slow = GpuSample(900, 2619, 88, 700.0, bit | 0x1, 0)
    assert disturbance([QUIET, slow, QUIET]) == f"{name} (at most 88 °C)"


@pytest.mark.parametrize("bit", [0x1, 0x2, 0x4, 0x10, 0x100])
def test_idle_chosen_clocks_and_the_power_limit_do_not_disturb(bit: int) -> None:
    assert disturbance([GpuSample(900, 2619, 40, 60.0, bit, 0)]) == ""


def test_other_processes_disturb() -> None:
    one = GpuSample(1980, 2619, None, None, None, 1)
    assert disturbance([one]) == "1 other process on the GPU"
    both = GpuSample(1980, 2619, None, None, 0x88, 2)
    assert (
        disturbance([one, both]) == "hardware slowdown, power brake, 2 other processes on the GPU"
    )
