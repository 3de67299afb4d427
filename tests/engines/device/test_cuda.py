from __future__ import annotations

import sys
from types import ModuleType
from typing import Any, cast

import numpy as np
import pytest

from facenet_validate.base.errors import EngineError
from facenet_validate.engines.device import cuda
from facenet_validate.engines.device.cuda import CudaDevice, open_device
from facenet_validate.engines.device.driver import DriverCalls
from facenet_validate.engines.device.interface import GpuIdentity
from tests.engines.device.fake_pycuda import FakePycuda
from tests.engines.device.test_driver import Libcuda


def device_of(pycuda: FakePycuda, libcuda: Libcuda | None = None, ordinal: int = 0) -> CudaDevice:
    library = libcuda or Libcuda()
    return CudaDevice(cast("ModuleType", pycuda), DriverCalls(lambda _: library), ordinal)


def test_a_device_is_named_and_its_primary_context_is_current() -> None:
    pycuda, libcuda = FakePycuda(), Libcuda()
    with device_of(pycuda, libcuda) as device:
        assert device.identity == GpuIdentity("NVIDIA Fake", "8.9", 46, 2**33)
        assert device.identity.details() == "compute capability 8.9, 46 SMs, 8.0 GiB"
        assert pycuda.live == {"context": 1, "pushed": 1}
        assert device.memory_used() == 2**20
    device.close()
    assert not +pycuda.live
    assert pycuda.log == ["init", "retain", "push", "detach"]
    assert libcuda.names() == ["cuCtxPopCurrent_v2"]


def test_closing_after_a_fault_raises_nothing_and_lets_the_context_go() -> None:
    pycuda, libcuda = FakePycuda(), Libcuda()
    device = device_of(pycuda, libcuda)
    graph = device.stream().capture(lambda: None)
    libcuda.statuses |= {"cuGraphExecDestroy": 700, "cuCtxPopCurrent_v2": 700}
    graph.release()
    device.close()
    assert libcuda.names()[-2:] == ["cuGraphExecDestroy", "cuCtxPopCurrent_v2"]
    assert not pycuda.live["context"]


def test_a_context_that_cannot_be_made_current_is_let_go() -> None:
    pycuda = FakePycuda()
    pycuda.fails = {"push"}
    with pytest.raises(EngineError, match="opening CUDA device 0 failed: push failed"):
        device_of(pycuda)
    assert not +pycuda.live


def test_a_device_that_is_not_there_is_named() -> None:
    with pytest.raises(EngineError, match="no CUDA device 2: 2 are visible, from 0 on"):
        device_of(FakePycuda(2), ordinal=2)


def test_what_is_copied_in_comes_out() -> None:
    pycuda = FakePycuda()
    with device_of(pycuda) as device:
        stream = device.stream()
        there, back = device.pinned((4, 3)), device.pinned((4, 3))
        buffer = device.allocate(48)
        assert (buffer.nbytes, buffer.address) == (48, 0x7E00_0000_0000)
        there.array[:] = np.arange(12, dtype=np.float32).reshape(4, 3)
        stream.copy_in(buffer, there, 3)
        stream.copy_out(back, buffer, 2)
        stream.synchronize()
        np.testing.assert_array_equal(back.array[:2], there.array[:2])
        assert not back.array[2:].any()
        assert not pycuda.memory[buffer.address][9:].any()
        view = there.array[:1]
        for one in (buffer, there, back, stream):
            one.release()
            one.release()
        # Pages are unlocked though an array of them is left.
        assert view.size
        assert pycuda.live == {
            "context": 1, "pushed": 1, "allocation": 0, "pinned": 0, "stream": 0
        }  # fmt: skip


def test_device_time_is_in_seconds() -> None:
    pycuda = FakePycuda()
    with device_of(pycuda) as device:
        stream, start, stop = device.stream(), device.event(), device.event()
        stream.record(start)
        stream.wait(start)
        stream.record(stop)
        stop.synchronize()
        assert stop.seconds_since(start) == pytest.approx(2.5e-3)
        for one in (stop, start, stream):
            one.release()
        assert not pycuda.live["event"]


def test_a_graph_is_launched_and_released_once() -> None:
    libcuda = Libcuda()
    with device_of(FakePycuda(), libcuda) as device:
        stream = device.stream()
        graph = stream.capture(lambda: None)
        assert libcuda.log[0] == ("cuStreamBeginCapture_v2", (stream.handle, 1))
        graph.launch(stream)
        graph.release()
        graph.release()
        assert libcuda.names()[-2:] == ["cuGraphLaunch", "cuGraphExecDestroy"]
        with pytest.raises(EngineError, match="graph was released"):
            graph.launch(stream)


@pytest.mark.parametrize(
    ("fails", "action", "message"),
    [
        (
            "allocation",
            lambda device: device.allocate(2**30),
            "allocating 1024.0 MiB of GPU memory",
        ),
        ("pinned", lambda device: device.pinned((2, 3)), r"pinned host memory of shape \(2, 3\)"),
        ("stream", lambda device: device.stream(), "making a stream"),
        ("event", lambda device: device.event(), "making an event"),
        ("synchronize", lambda device: device.stream().synchronize(), "waiting for the GPU"),
    ],
)
def test_what_fails_is_named_with_its_cause(fails: str, action: Any, message: str) -> None:
    pycuda = FakePycuda()
    with device_of(pycuda) as device:
        pycuda.fails = {fails}
        with pytest.raises(EngineError, match=f"{message} failed: {fails} failed: out of memory"):
            action(device)
        pycuda.fails = set()


def test_a_closed_device_says_so() -> None:
    device = device_of(FakePycuda())
    device.close()
    with pytest.raises(EngineError, match="NVIDIA Fake was closed"):
        device.allocate(4)


@pytest.fixture
def visible(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if a device were there."""
    monkeypatch.setattr(cuda, "why_no_device", lambda: "")


def test_no_device_is_an_error_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "why_no_device", lambda: "the driver sleeps")
    with pytest.raises(EngineError, match="no GPU to run on: the driver sleeps"):
        open_device()


@pytest.mark.usefixtures("visible")
def test_pycuda_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pycuda", None)
    with pytest.raises(EngineError, match="pycuda is not installed"):
        open_device()


@pytest.mark.usefixtures("visible")
def test_pycuda_of_a_newer_toolkit_says_how_to_compile_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Broken:
        def find_spec(self, name: str, path: object, target: object = None) -> None:
            if name == "pycuda":
                raise ImportError("_driver.so: undefined symbol: cuCtxCreate_v4")

    monkeypatch.delitem(sys.modules, "pycuda", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    with pytest.raises(EngineError, match=r"undefined symbol: cuCtxCreate_v4.*not newer than"):
        open_device()


@pytest.mark.usefixtures("visible")
def test_an_open_device_is_pycudas(monkeypatch: pytest.MonkeyPatch) -> None:
    package = ModuleType("pycuda")
    package.driver = FakePycuda()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pycuda", package)
    monkeypatch.setattr(cuda, "DriverCalls", lambda: DriverCalls(lambda _: Libcuda()))
    with open_device() as device:
        assert device.identity.name == "NVIDIA Fake"
