from __future__ import annotations

import ctypes
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from facenet_validate.base.errors import EngineError
from facenet_validate.engines.device.driver import (
    DriverCalls,
    compute_capability,
    cuda_version,
    driver_version,
    gpu_address,
    gpu_identity,
    memory_used,
    why_no_device,
)
from facenet_validate.engines.device.interface import GpuAddress, GpuIdentity
from tests.engines.device.fake_libcuda import Libcuda


def why(
    library: Libcuda | OSError, environ: Mapping[str, str] | None = None, *, kernel: bool = True
) -> str:
    def load_it(name: str) -> Any:
        assert name == "libcuda.so.1"
        if isinstance(library, OSError):
            raise library
        return library

    return why_no_device(load_it, environ or {}, Path(__file__ if kernel else "/missing/version"))


def test_a_device_that_can_be_used_has_no_reason() -> None:
    assert why(Libcuda()) == ""
    assert why(Libcuda(2), {"CUDA_VISIBLE_DEVICES": "1"}) == ""


@pytest.mark.parametrize(
    ("library", "environ", "kernel", "reason"),
    [
        (
            OSError("libcuda.so.1: not found"),
            {},
            True,
            "the CUDA driver cannot be loaded: libcuda.so.1: not",
        ),
        (
            OSError("libcuda.so.1: No such file"),
            {},
            True,
            "no CUDA driver (libcuda.so.1 is missing)",
        ),
        (Libcuda(), {"CUDA_VISIBLE_DEVICES": ""}, True, "is '', which hides every device"),
        (Libcuda(), {"CUDA_VISIBLE_DEVICES": "-1"}, True, "is '-1', which hides every device"),
        (Libcuda(cuInit=100), {}, False, "the kernel's NVIDIA driver is not loaded"),
        (Libcuda(cuInit=100), {}, True, "the NVIDIA driver finds no CUDA device"),
        (Libcuda(0), {}, True, "the NVIDIA driver finds no CUDA device"),
        (
            Libcuda(0),
            {"CUDA_VISIBLE_DEVICES": "7"},
            True,
            "finds no CUDA device (CUDA_VISIBLE_DEVICES is '7')",
        ),
        (
            Libcuda(cuInit=35),
            {},
            True,
            "the NVIDIA driver fails: cuInit gave CUDA_ERROR_INSUFFICIENT_DRIVER (35)",
        ),
        (Libcuda(cuInit=4711), {}, True, "cuInit gave status 4711"),
        (
            Libcuda(cuDeviceGetCount=3),
            {},
            True,
            "cuDeviceGetCount gave CUDA_ERROR_NOT_INITIALIZED (3)",
        ),
    ],
)
def test_each_cause_has_its_own_reason(
    library: Libcuda | OSError, environ: dict[str, str], kernel: bool, reason: str
) -> None:
    assert reason in why(library, environ, kernel=kernel)


def test_this_machine_gets_an_answer() -> None:
    assert isinstance(why_no_device(), str)


def load(_name: str) -> Any:
    return Libcuda()


def test_a_device_tells_which_it_is_and_where() -> None:
    assert gpu_identity(load=load) == GpuIdentity("NVIDIA Fake", "8.9", 46, 2**33)
    assert gpu_identity(load=load).details() == "compute capability 8.9, 46 SMs, 8.0 GiB"
    assert gpu_address(load=load) == GpuAddress(
        "0000:17:00.0", "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"
    )


def test_a_driver_that_tells_no_uuid_of_an_instance_tells_the_rest() -> None:
    """The older call names the whole GPU, also under MIG."""
    older = Libcuda(cuDeviceGetUuid_v2=-1)
    assert gpu_address(load=lambda _: older) == GpuAddress("0000:17:00.0", "")


def test_a_device_that_is_not_there_is_named() -> None:
    with pytest.raises(EngineError, match="no CUDA device 2: 2 are visible, from 0 on"):
        gpu_identity(2, lambda _: Libcuda(2))


@pytest.mark.parametrize("name", ["cuDeviceGet", "cuDeviceGetName", "cuDeviceTotalMem_v2"])
def test_a_question_that_the_driver_refuses_is_named(name: str) -> None:
    refusing = Libcuda(**{name: 101})
    with pytest.raises(
        EngineError, match=rf"CUDA device 0: {name} gave CUDA_ERROR_INVALID_DEVICE \(101\)"
    ):
        gpu_identity(load=lambda _: refusing)


def test_capability_and_cuda_are_empty_where_the_driver_does_not_tell_them() -> None:
    assert compute_capability(load=load) == "8.9"
    assert cuda_version(load=load) == "12.2"
    silent = Libcuda(cuDeviceGetAttribute=3, cuDriverGetVersion=3)
    assert compute_capability(load=lambda _: silent) == ""
    assert cuda_version(load=lambda _: silent) == ""


def test_handles_are_passed_whole() -> None:
    """An undeclared ctypes call takes an address for a 32-bit integer."""
    library = Libcuda()
    DriverCalls(lambda _: library)
    for name, call in library.calls.items():
        assert call.restype is ctypes.c_int, name
        assert call.argtypes, name
    assert library.calls["cuGraphLaunch"].argtypes == [ctypes.c_void_p, ctypes.c_void_p]


def test_a_driver_without_graphs_is_named() -> None:
    with pytest.raises(
        EngineError, match=r"has no cuGraphInstantiateWithFlags.*older than CUDA 11"
    ):
        DriverCalls(lambda _: Libcuda(cuGraphInstantiateWithFlags=-1))


@pytest.mark.parametrize(
    ("told", "version"),
    [
        (
            "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC "
            "2023\nGCC version:  gcc version 11.4.0\n",
            "535.104.05",
        ),
        (
            "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.10  Release Build\n",
            "570.86.10",
        ),
        ("NVRM version: unknown\n", ""),
    ],
)
def test_the_drivers_version_is_the_kernels(tmp_path: Path, told: str, version: str) -> None:
    assert driver_version(tmp_path / "absent") == ""
    (tmp_path / "version").write_text(told)
    assert driver_version(tmp_path / "version") == version


def test_the_driver_tells_how_much_memory_is_in_use_and_keeps_nothing() -> None:
    library = Libcuda()
    assert memory_used(load=lambda _: library) == 2**20
    assert not +library.driver.live


@pytest.mark.parametrize(
    "call", ["cuDevicePrimaryCtxRetain", "cuCtxPushCurrent_v2", "cuMemGetInfo_v2"]
)
def test_a_device_that_does_not_tell_its_memory_is_an_error(call: str) -> None:
    library = Libcuda(**{call: 999})
    with pytest.raises(EngineError, match=f"CUDA device 0: {call} gave status 999"):
        memory_used(load=lambda _: library)
    assert not +library.driver.live
