from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from facenet_validate.base.errors import EngineError
from facenet_validate.engines.device.driver import (
    DriverCalls,
    compute_capability,
    cuda_version,
    device_name,
    driver_version,
    pci_bus_id,
    why_no_device,
)

NAMES = {
    3: b"CUDA_ERROR_NOT_INITIALIZED",
    35: b"CUDA_ERROR_INSUFFICIENT_DRIVER",
    100: b"CUDA_ERROR_NO_DEVICE",
    101: b"CUDA_ERROR_INVALID_DEVICE",
    901: b"CUDA_ERROR_STREAM_CAPTURE_INVALIDATED",
}


class Call:
    """A function of a shared library: types can be set on it."""

    def __init__(self, run: Callable[..., int]) -> None:
        self.run: Callable[..., int] = run
        self.argtypes: list[Any] | None = None
        self.restype: Any = None

    def __call__(self, *arguments: Any) -> int:
        status: int = self.run(*arguments)
        return status


class Libcuda:
    """A driver library whose calls give set statuses and note what they were called with."""

    def __init__(self, count: int = 1, **statuses: int) -> None:
        self.count = count
        self.statuses = statuses
        self.log: list[tuple[str, tuple[Any, ...]]] = []
        self.writes: dict[str, Callable[..., None]] = {
            "cuDeviceGetCount": lambda target: self._set(target, self.count),
            "cuDeviceGetPCIBusId": lambda text, _length, _device: setattr(
                text, "value", b"0000:17:00.0"
            ),
            "cuDeviceGetName": lambda text, _length, _device: setattr(text, "value", b"NVIDIA L4"),
            "cuDeviceGetAttribute": lambda target, which, _device: self._set(
                target, {75: 8, 76: 9}[which]
            ),
            "cuDriverGetVersion": lambda target: self._set(target, 12020),
            "cuStreamEndCapture": lambda _stream, graph: self._set(graph, 0xAAAA00000001),
            "cuGraphInstantiateWithFlags": lambda made, _graph, _flags: self._set(
                made, 0xBBBB00000002
            ),
        }
        self.calls: dict[str, Call] = {}

    @staticmethod
    def _set(target: Any, value: int) -> None:
        target._obj.value = value

    def __getattr__(self, name: str) -> Call:
        if not name.startswith("cu") or self.statuses.get(name) == -1:
            raise AttributeError(name)
        if name not in self.calls:
            self.calls[name] = Call(lambda *arguments: self._run(name, *arguments))
        return self.calls[name]

    def _run(self, name: str, *arguments: Any) -> int:
        if name == "cuGetErrorName":
            asked, text = arguments
            number = getattr(asked, "value", asked)
            text._obj.value = NAMES.get(number)
            return 0 if number in NAMES else 1
        self.log.append((name, arguments))
        status = self.statuses.get(name, 0)
        if not status and name in self.writes:
            self.writes[name](*arguments)
        return status

    def names(self) -> list[str]:
        return [name for name, _ in self.log]


def why(
    library: Libcuda | OSError, environ: Mapping[str, str] | None = None, *, kernel: bool = True
) -> str:
    def load(name: str) -> Any:
        assert name == "libcuda.so.1"
        if isinstance(library, OSError):
            raise library
        return library

    return why_no_device(load, environ or {}, Path(__file__ if kernel else "/missing/version"))


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


def test_a_device_is_found_on_the_bus() -> None:
    assert pci_bus_id(0, lambda _: Libcuda()) == "0000:17:00.0"
    with pytest.raises(
        EngineError, match=r"CUDA device 3: cuDeviceGet gave CUDA_ERROR_INVALID_DEVICE \(101\)"
    ):
        pci_bus_id(3, lambda _: Libcuda(cuDeviceGet=101))


def test_a_capture_is_ended_made_executable_and_its_graph_let_go() -> None:
    library = Libcuda()
    graphs = DriverCalls(lambda _: library)
    queued: list[str] = []
    executable = graphs.capture(0x7F00_0000_0010, lambda: queued.append("work"))
    assert executable == 0xBBBB00000002
    assert queued == ["work"]
    assert library.names() == [
        "cuStreamBeginCapture_v2",
        "cuStreamEndCapture",
        "cuGraphInstantiateWithFlags",
        "cuGraphDestroy",
    ]
    assert library.log[0][1] == (0x7F00_0000_0010, 1)
    graphs.launch(executable, 0x7F00_0000_0010)
    graphs.destroy(executable)
    assert library.log[-2:] == [
        ("cuGraphLaunch", (0xBBBB00000002, 0x7F00_0000_0010)),
        ("cuGraphExecDestroy", (0xBBBB00000002,)),
    ]


def test_handles_are_passed_whole() -> None:
    """An undeclared ctypes call takes an address for a 32-bit integer."""
    library = Libcuda()
    DriverCalls(lambda _: library)
    for name, call in library.calls.items():
        assert call.restype is ctypes.c_int, name
        assert call.argtypes, name
    assert library.calls["cuGraphLaunch"].argtypes == [ctypes.c_void_p, ctypes.c_void_p]


def test_work_that_fails_inside_a_capture_ends_it() -> None:
    library = Libcuda()

    def fail() -> None:
        raise EngineError("refused")

    with pytest.raises(EngineError, match="refused"):
        DriverCalls(lambda _: library).capture(1, fail)
    assert library.names() == ["cuStreamBeginCapture_v2", "cuStreamEndCapture", "cuGraphDestroy"]


@pytest.mark.parametrize(
    "name", ["cuStreamBeginCapture_v2", "cuStreamEndCapture", "cuGraphInstantiateWithFlags"]
)
def test_a_capture_the_driver_refuses_is_named(name: str) -> None:
    library = Libcuda(**{name: 901})
    with pytest.raises(
        EngineError, match=rf"CUDA: {name} gave CUDA_ERROR_STREAM_CAPTURE_INVALIDATED \(901\)"
    ):
        DriverCalls(lambda _: library).capture(1, lambda: None)
    made = library.names().count("cuStreamEndCapture") and name != "cuStreamEndCapture"
    assert library.names().count("cuGraphDestroy") == int(made)


def test_a_driver_without_graphs_is_named() -> None:
    with pytest.raises(
        EngineError, match=r"has no cuGraphInstantiateWithFlags.*older than CUDA 11"
    ):
        DriverCalls(lambda _: Libcuda(cuGraphInstantiateWithFlags=-1))


def test_a_device_tells_its_name_and_capability_and_the_driver_its_cuda() -> None:
    def load(_name: str) -> Any:
        return Libcuda()

    assert device_name(load=load) == "NVIDIA L4"
    assert compute_capability(load=load) == "8.9"
    assert cuda_version(load=load) == "12.2"


def test_what_the_driver_does_not_tell_is_empty_or_named() -> None:
    def load(_name: str) -> Any:
        return Libcuda(cuDeviceGetAttribute=3, cuDriverGetVersion=3, cuDeviceGetName=101)

    assert compute_capability(load=load) == ""
    assert cuda_version(load=load) == ""
    with pytest.raises(EngineError, match=r"cuDeviceGetName gave CUDA_ERROR_INVALID_DEVICE"):
        device_name(load=load)


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
