"""Memory, streams, events and graphs of a real device, through each package: tox -e gpu."""

from __future__ import annotations

from contextlib import ExitStack

import numpy as np
import pytest

from facenet_validate.base.errors import EngineError
from facenet_validate.engines.device.driver import gpu_identity, why_no_device
from facenet_validate.engines.device.interface import Device, DeviceBuffer, PinnedBuffer, Stream

WHY = why_no_device()
pytestmark = [pytest.mark.requires_gpu, pytest.mark.skipif(bool(WHY), reason=f"no GPU: {WHY}")]

SHAPE = (64, 3, 160, 160)


class Copying:
    """A batch on its way to the device and back."""

    def __init__(self, device: Device, stack: ExitStack) -> None:
        self.stream: Stream = device.stream()
        self.there: PinnedBuffer = device.pinned(SHAPE)
        self.back: PinnedBuffer = device.pinned(SHAPE)
        self.buffer: DeviceBuffer = device.allocate(self.there.array.nbytes)
        for one in (self.stream, self.there, self.back, self.buffer):
            stack.callback(one.release)

    def enqueue(self, rows: int = SHAPE[0]) -> None:
        self.stream.copy_in(self.buffer, self.there, rows)
        self.stream.copy_out(self.back, self.buffer, rows)


def test_the_device_is_the_one_that_the_driver_names(device: Device) -> None:
    assert device.identity == gpu_identity()
    assert device.identity.sm_count
    assert 0 < device.memory_used() < device.identity.memory_bytes


def test_what_is_copied_in_comes_out(device: Device) -> None:
    with ExitStack() as stack:
        copying = Copying(device, stack)
        copying.there.array[:] = np.random.default_rng(0).standard_normal(SHAPE)
        copying.back.array[:] = np.nan
        copying.enqueue(rows=5)
        copying.stream.synchronize()
        np.testing.assert_array_equal(copying.back.array[:5], copying.there.array[:5])
        assert np.isnan(copying.back.array[5:]).all()
        assert copying.buffer.address % 256 == 0


def test_a_graph_copies_what_is_there_when_it_is_launched(device: Device) -> None:
    with ExitStack() as stack:
        copying = Copying(device, stack)
        graph = copying.stream.capture(copying.enqueue)
        stack.callback(graph.release)
        for value in (1.0, 2.0, 3.0):
            copying.there.array[:] = value
            graph.launch(copying.stream)
            copying.stream.synchronize()
            assert (copying.back.array == value).all()


def test_events_order_two_streams_and_take_the_time(device: Device) -> None:
    with ExitStack() as stack:
        copying, other = Copying(device, stack), device.stream()
        start, copied, stop = (device.event() for _ in range(3))
        for one in (other, start, copied, stop):
            stack.callback(one.release)
        copying.there.array[:] = 7.0
        copying.stream.record(start)
        copying.stream.copy_in(copying.buffer, copying.there, SHAPE[0])
        copying.stream.record(copied)
        other.wait(copied)
        other.copy_out(copying.back, copying.buffer, SHAPE[0])
        other.record(stop)
        stop.synchronize()
        copying.stream.synchronize()
        assert (copying.back.array == 7.0).all()
        assert 0 < copied.seconds_since(start) < stop.seconds_since(start)


def test_what_the_driver_refuses_is_named_and_the_device_goes_on(device: Device) -> None:
    with ExitStack() as stack:
        copying = Copying(device, stack)
        with pytest.raises(EngineError, match=r"(?i)MiB of GPU memory failed: .*out.of.memory"):
            device.allocate(2 * device.identity.memory_bytes)
        with pytest.raises(EngineError, match="waiting for the GPU failed"):
            copying.stream.capture(copying.stream.synchronize)
        copying.there.array[:] = 1.0
        copying.enqueue()
        copying.stream.synchronize()
        assert (copying.back.array == 1.0).all()


def test_memory_is_given_back(device: Device) -> None:
    used = device.memory_used()
    for _ in range(20):
        with ExitStack() as stack:
            copying = Copying(device, stack)
            copying.enqueue()
            copying.stream.synchronize()
    # Twenty batches would be 390 MB.
    assert device.memory_used() - used < 5 * 4 * np.prod(SHAPE)
