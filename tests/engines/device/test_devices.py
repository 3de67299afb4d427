"""A device through each package that calls the driver; ``tests/gpu`` runs them on a real one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest

from facenet_validate.base.errors import EngineError
from facenet_validate.engines.device.bindings_device import BindingsCalls, BindingsDevice
from facenet_validate.engines.device.driver import DriverCalls
from facenet_validate.engines.device.interface import Device, GpuIdentity
from facenet_validate.engines.device.pycuda_device import PycudaDevice
from tests.engines.device.fake_bindings import FakeBindings
from tests.engines.device.fake_driver import FakeDriver
from tests.engines.device.fake_libcuda import Libcuda
from tests.engines.device.fake_pycuda import FakePycuda

IDENTITY = GpuIdentity("NVIDIA Fake", "8.9", 46, 2**33)

Open = Callable[[], Device]


def through_pycuda_and_ctypes(driver: FakeDriver) -> Device:
    calls = DriverCalls(lambda _: Libcuda(driver))
    return PycudaDevice(cast("Any", FakePycuda(driver)), calls, IDENTITY, 0)


def through_pycuda_and_bindings(driver: FakeDriver) -> Device:
    calls = BindingsCalls(cast("Any", FakeBindings(driver)))
    return PycudaDevice(cast("Any", FakePycuda(driver)), calls, IDENTITY, 0)


def through_bindings(driver: FakeDriver) -> Device:
    return BindingsDevice(BindingsCalls(cast("Any", FakeBindings(driver))), IDENTITY, 0)


@pytest.fixture
def driver() -> FakeDriver:
    """The driver that is called; it must hold nothing at the end of a test that closes."""
    return FakeDriver()


@pytest.fixture(
    params=[through_pycuda_and_ctypes, through_pycuda_and_bindings, through_bindings],
    ids=lambda way: way.__name__.replace("_", " "),
)
def opened(request: pytest.FixtureRequest, driver: FakeDriver) -> Open:
    """Opens a device of the driver."""
    way: Callable[[FakeDriver], Device] = request.param
    return lambda: way(driver)


def test_the_primary_context_is_current_until_the_device_is_closed(
    opened: Open, driver: FakeDriver
) -> None:
    with opened() as device:
        assert device.identity == IDENTITY
        assert driver.live == {"context": 1}
        assert len(driver.contexts) == 1
        assert device.memory_used() == 2**20
    assert driver.log == [
        "cuInit", "cuDeviceGet", "cuDevicePrimaryCtxRetain", "cuCtxPushCurrent", "cuMemGetInfo",
        "cuCtxPopCurrent", "cuDevicePrimaryCtxRelease",
    ]  # fmt: skip
    device.close()
    assert not driver.live
    assert not driver.contexts


def test_a_context_that_cannot_be_made_current_is_let_go(opened: Open, driver: FakeDriver) -> None:
    driver.fails = {"cuCtxPushCurrent": 2}
    with pytest.raises(
        EngineError, match=r"opening CUDA device 0 failed: .*cuCtxPushCurrent .*OUT_OF_MEMORY"
    ):
        opened()
    assert not driver.live


def test_what_is_copied_in_comes_out(opened: Open, driver: FakeDriver) -> None:
    with opened() as device:
        stream = device.stream()
        there, back = device.pinned((4, 3)), device.pinned((4, 3))
        buffer = device.allocate(48)
        assert buffer.nbytes == 48
        assert driver.held[buffer.address][0] == "allocation"
        assert there.array.shape == (4, 3)
        assert there.array.dtype == np.float32
        there.array[:] = np.arange(12, dtype=np.float32).reshape(4, 3)
        stream.copy_in(buffer, there, 3)
        stream.copy_out(back, buffer, 2)
        assert not back.array.any()  # queued, and not waited for
        stream.synchronize()
        np.testing.assert_array_equal(back.array[:2], there.array[:2])
        assert not back.array[2:].any()
        whole = driver.held[buffer.address][1].view(np.float32)
        np.testing.assert_array_equal(whole, [*range(9), 0, 0, 0])
        view = there.array[:1]
        for one in (buffer, there, back, stream):
            one.release()
            one.release()
        # Pages are unlocked though an array of them is left.
        assert view.size
        assert driver.live == {"context": 1}
        with pytest.raises(EngineError, match="pinned host memory was released"):
            _ = there.array


def test_a_stream_waits_for_an_event_of_another(opened: Open, driver: FakeDriver) -> None:
    with opened() as device:
        copying, computing = device.stream(), device.stream()
        there, back = device.pinned((2,)), device.pinned((2,))
        buffer, copied = device.allocate(8), device.event()
        there.array[:] = 7.0
        copying.copy_in(buffer, there, 2)
        copying.record(copied)
        computing.wait(copied)
        computing.copy_out(back, buffer, 2)
        computing.synchronize()
        assert (back.array == 7.0).all()
        for one in (copied, buffer, back, there, computing, copying):
            one.release()
        assert driver.live == {"context": 1}


def test_device_time_is_in_seconds(opened: Open, driver: FakeDriver) -> None:
    with opened() as device:
        stream, start, stop = device.stream(), device.event(), device.event()
        stream.record(start)
        stream.record(stop)
        with pytest.raises(EngineError, match=r"reading device time failed: .*NOT_READY"):
            stop.seconds_since(start)
        stop.synchronize()
        assert stop.seconds_since(start) == pytest.approx(2.5e-3)
        for one in (stop, start, stream):
            one.release()
        assert driver.live == {"context": 1}


def test_a_graph_does_its_work_at_each_launch(opened: Open, driver: FakeDriver) -> None:
    with opened() as device:
        stream, there, back = device.stream(), device.pinned((2,)), device.pinned((2,))
        buffer = device.allocate(8)

        def enqueue() -> None:
            stream.copy_in(buffer, there, 2)
            stream.copy_out(back, buffer, 2)

        begin = len(driver.log)
        graph = stream.capture(enqueue)
        assert driver.log[begin:] == [
            "cuStreamBeginCapture", "cuMemcpyHtoDAsync", "cuMemcpyDtoHAsync", "cuStreamEndCapture",
            "cuGraphInstantiate", "cuGraphDestroy",
        ]  # fmt: skip
        for value in (3.0, 4.0):
            there.array[:] = value
            graph.launch(stream)
            stream.synchronize()
            assert (back.array == value).all()
        graph.release()
        graph.release()
        with pytest.raises(EngineError, match="graph was released"):
            graph.launch(stream)
        for one in (buffer, back, there, stream):
            one.release()
        assert driver.live == {"context": 1}


def test_work_that_fails_inside_a_capture_ends_it(opened: Open, driver: FakeDriver) -> None:
    def fail() -> None:
        raise EngineError("refused")

    with opened() as device:
        stream = device.stream()
        with pytest.raises(EngineError, match="refused"):
            stream.capture(fail)
        assert driver.live == {"context": 1, "stream": 1}
        stream.synchronize()  # not in capture any more
        stream.release()


def test_what_cannot_be_captured_is_named(opened: Open, driver: FakeDriver) -> None:
    with opened() as device:
        stream = device.stream()
        with pytest.raises(EngineError, match=r"waiting for the GPU failed: .*UNSUPPORTED"):
            stream.capture(stream.synchronize)
        stream.synchronize()
        stream.release()
        assert driver.live == {"context": 1}


@pytest.mark.parametrize(
    "name", ["cuStreamBeginCapture", "cuStreamEndCapture", "cuGraphInstantiate"]
)
def test_a_capture_the_driver_refuses_is_named_and_leaves_no_graph(
    opened: Open, driver: FakeDriver, name: str
) -> None:
    with opened() as device:
        stream = device.stream()
        driver.fails = {name: 901}
        with pytest.raises(
            EngineError,
            match=rf"CUDA: {name}\w* gave CUDA_ERROR_STREAM_CAPTURE_INVALIDATED \(901\)",
        ):
            stream.capture(lambda: None)
        assert driver.live == {"context": 1, "stream": 1}
        stream.release()


@pytest.mark.parametrize(
    ("fails", "action", "message"),
    [
        (
            "cuMemAlloc",
            lambda device: device.allocate(2**30),
            "allocating 1024.0 MiB of GPU memory",
        ),
        (
            "cuMemHostAlloc",
            lambda device: device.pinned((2, 3)),
            r"allocating pinned host memory of shape \(2, 3\)",
        ),
        ("cuStreamCreate", lambda device: device.stream(), "making a stream"),
        ("cuEventCreate", lambda device: device.event(), "making an event"),
        ("cuMemGetInfo", lambda device: device.memory_used(), "asking for free memory"),
        (
            "cuStreamSynchronize",
            lambda device: device.stream().synchronize(),
            "waiting for the GPU",
        ),
        (
            "cuEventRecord",
            lambda device: device.stream().record(device.event()),
            "recording an event",
        ),
        (
            "cuStreamWaitEvent",
            lambda device: device.stream().wait(device.event()),
            "ordering two streams",
        ),
        (
            "cuMemcpyHtoDAsync",
            lambda device: device.stream().copy_in(device.allocate(4), device.pinned((1,)), 1),
            "copying to the GPU",
        ),
        (
            "cuMemcpyDtoHAsync",
            lambda device: device.stream().copy_out(device.pinned((1,)), device.allocate(4), 1),
            "copying from the GPU",
        ),
    ],
)
def test_what_fails_is_named_with_its_cause(
    opened: Open, driver: FakeDriver, fails: str, action: Callable[[Device], object], message: str
) -> None:
    with opened() as device:
        driver.fails = {fails: 2}
        with pytest.raises(EngineError, match=rf"^{message} failed: .*{fails} .*OUT_OF_MEMORY"):
            action(device)


def test_after_a_failed_run_everything_can_be_released(opened: Open, driver: FakeDriver) -> None:
    """Every call gives the first one's error then; what a user must see is that one."""
    with opened() as device:
        stream, event, buffer = device.stream(), device.event(), device.allocate(4)
        pinned, graph = device.pinned((1,)), stream.capture(lambda: None)
        releases = (
            "cuGraphExecDestroy", "cuMemFreeHost", "cuMemFree", "cuEventDestroy", "cuStreamDestroy",
            "cuDevicePrimaryCtxRelease",
        )  # fmt: skip
        driver.fails = dict.fromkeys(releases, 700)
        for one in (graph, pinned, buffer, event, stream):
            one.release()
    assert tuple(name for name in driver.log if name in releases) == releases


def test_a_closed_device_says_so(opened: Open) -> None:
    device = opened()
    device.close()
    with pytest.raises(EngineError, match="NVIDIA Fake was closed"):
        device.allocate(4)


def test_closing_after_a_fault_raises_nothing_and_still_releases_the_context(
    opened: Open, driver: FakeDriver
) -> None:
    device = opened()
    driver.contexts.clear()
    driver.fails = {"cuCtxPopCurrent": 700, "cuDevicePrimaryCtxRelease": 700}
    device.close()
    assert driver.log.index("cuCtxPopCurrent") < driver.log.index("cuDevicePrimaryCtxRelease")
