"""A CUDA device through pycuda, in the primary context, which TensorRT uses too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import ModuleType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from facenet_validate.base.closing import Closing
from facenet_validate.base.errors import EngineError
from facenet_validate.engines.device.failures import named
from facenet_validate.engines.device.graphs import CapturedGraph, GraphCalls
from facenet_validate.engines.device.interface import (
    DeviceBuffer,
    Event,
    GpuIdentity,
    Graph,
    PinnedBuffer,
    Stream,
)

_NON_BLOCKING = 1
"""``CU_STREAM_NON_BLOCKING``: no hidden order with the default stream."""


def pycuda_driver() -> ModuleType:
    """Return ``pycuda.driver``.

    Raises
    ------
    EngineError
        If it is not installed, or was compiled for a newer driver.
    """
    try:
        from pycuda import driver
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "pycuda":
            raise EngineError(f"pycuda is installed but cannot be loaded: {error}.") from None
        raise EngineError("pycuda is not installed.") from None
    except ImportError as error:
        raise EngineError(
            f"pycuda is installed but cannot be loaded: {error}. It must be compiled with a CUDA "
            "toolkit that is not newer than the driver: pip install --force-reinstall "
            "--no-binary pycuda --no-cache-dir pycuda."
        ) from None
    module: ModuleType = driver
    return module


class PycudaDevice(Closing):
    """A GPU whose primary context is current in this thread until ``close``.

    Parameters
    ----------
    driver : module
        ``pycuda.driver``.
    calls : GraphCalls
        Calls of the driver that pycuda does not have.
    identity : GpuIdentity
        Which GPU.
    ordinal : int
        Its number among the visible devices.

    Raises
    ------
    EngineError
        If its context cannot be opened.
    """

    def __init__(
        self, driver: ModuleType, calls: GraphCalls, identity: GpuIdentity, ordinal: int
    ) -> None:
        # pycuda has no type hints: what comes out of it is Any.
        self._driver: Any = driver
        self._calls = calls
        self.identity = identity
        with named(f"opening CUDA device {ordinal}", self._driver.Error):
            self._driver.init()
            # The runtime API, and with it TensorRT, works in the primary context alone.
            context = self._driver.Device(ordinal).retain_primary_context()
            try:
                context.push()
            except BaseException:
                context.detach()
                raise
        self._context: Any = context

    def allocate(self, nbytes: int) -> DeviceBuffer:
        """Return memory of the device.

        Raises
        ------
        EngineError
            If the device has not as much left.
        """
        with self._checked(f"allocating {nbytes / 2**20:.1f} MiB of GPU memory"):
            return _Buffer(self._driver.mem_alloc(nbytes), nbytes)

    def pinned(self, shape: tuple[int, ...]) -> PinnedBuffer:
        """Return a page-locked float32 array of the host."""
        with self._checked(f"allocating pinned host memory of shape {shape}"):
            return _Pinned(self._driver.pagelocked_empty(shape, np.float32))

    def stream(self) -> Stream:
        """Return a stream of its own."""
        with self._checked("making a stream"):
            return _Stream(self._driver, self._calls, self._driver.Stream(_NON_BLOCKING))

    def event(self) -> Event:
        """Return an event that takes the time."""
        with self._checked("making an event"):
            return _Event(self._driver, self._driver.Event())

    def memory_used(self) -> int:
        """Return the bytes of the device that are in use, by any process."""
        with self._checked("asking for free memory"):
            free, total = self._driver.mem_get_info()
            return int(total - free)

    def close(self) -> None:
        """Take the context off this thread and release it."""
        if self._context is None:
            return
        context, self._context = self._context, None
        # pycuda's own pop does not do: detaching a context that is not current makes it current
        # first, and a primary one stays so, on this thread, after its release.
        # After a fault of the device every call may fail. The call that met it first has told, and
        # a context that is not released aborts the process.
        with suppress(EngineError):
            self._calls.pop_context()
        context.detach()

    @contextmanager
    def _checked(self, action: str) -> Iterator[None]:
        if self._context is None:
            raise EngineError(f"{action}: {self.identity.name} was closed; open it again.")
        with named(action, self._driver.Error):
            yield


class _Buffer:
    def __init__(self, allocation: Any, nbytes: int) -> None:
        self._allocation = allocation
        self.address = int(allocation)
        self.nbytes = nbytes

    def release(self) -> None:
        allocation, self._allocation = self._allocation, None
        if allocation is not None:
            allocation.free()


class _Pinned:
    def __init__(self, array: Any) -> None:
        self._array = array

    @property
    def array(self) -> NDArray[np.float32]:
        if self._array is None:
            raise EngineError("pinned host memory was released.")
        array: NDArray[np.float32] = self._array
        return array

    def release(self) -> None:
        array, self._array = self._array, None
        if array is not None:
            # A view left somewhere would keep the pages locked: free them by name.
            array.base.free()


class _Event:
    """pycuda destroys an event with its last reference."""

    def __init__(self, driver: Any, event: Any) -> None:
        self._driver = driver
        self.event = event

    def synchronize(self) -> None:
        with named("waiting for the GPU", self._driver.Error):
            self.event.synchronize()

    def seconds_since(self, start: Self) -> float:
        with named("reading device time", self._driver.Error):
            return float(self.event.time_since(start.event)) / 1e3

    def release(self) -> None:
        self.event = None


class _Stream:
    """pycuda destroys a stream with its last reference."""

    def __init__(self, driver: Any, calls: GraphCalls, stream: Any) -> None:
        self._driver = driver
        self._calls = calls
        self._stream = stream
        self.handle = int(stream.handle)

    def copy_in(self, target: DeviceBuffer, source: PinnedBuffer, rows: int) -> None:
        with named("copying to the GPU", self._driver.Error):
            self._driver.memcpy_htod_async(target.address, source.array[:rows], self._stream)

    def copy_out(self, target: PinnedBuffer, source: DeviceBuffer, rows: int) -> None:
        with named("copying from the GPU", self._driver.Error):
            self._driver.memcpy_dtoh_async(target.array[:rows], source.address, self._stream)

    def record(self, event: Any) -> None:
        with named("recording an event", self._driver.Error):
            event.event.record(self._stream)

    def wait(self, event: Any) -> None:
        with named("ordering two streams", self._driver.Error):
            self._stream.wait_for_event(event.event)

    def synchronize(self) -> None:
        with named("waiting for the GPU", self._driver.Error):
            self._stream.synchronize()

    def capture(self, enqueue: Callable[[], None]) -> Graph:
        return CapturedGraph(self._calls, self.handle, enqueue)

    def release(self) -> None:
        self._stream = None
