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
from facenet_validate.engines.device.driver import DriverCalls, why_no_device
from facenet_validate.engines.device.interface import (
    Device,
    DeviceBuffer,
    Event,
    GpuIdentity,
    Graph,
    PinnedBuffer,
    Stream,
)

_NON_BLOCKING = 1
"""``CU_STREAM_NON_BLOCKING``: no hidden order with the default stream."""


def why_no_pycuda() -> str:
    """Return why pycuda cannot be used; empty if it can. It is imported to find out."""
    try:
        _pycuda_driver()
    except EngineError as error:
        return str(error).removesuffix(".")
    return ""


def open_device(ordinal: int = 0) -> Device:
    """Open a CUDA device by its number among the visible ones.

    Raises
    ------
    EngineError
        If the driver, a device or pycuda is missing, or they do not fit together.
    """
    reason = why_no_device()
    if reason:
        raise EngineError(f"no GPU to run on: {reason}.")
    return CudaDevice(_pycuda_driver(), DriverCalls(), ordinal)


def _pycuda_driver() -> ModuleType:
    try:
        from pycuda import driver
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "pycuda":
            raise EngineError(f"pycuda is installed but cannot be loaded: {error}.") from None
        raise EngineError(
            "pycuda is not installed; it is compiled against the CUDA toolkit: "
            "pip install pycuda (docs/guide/gpu.md says what it needs)."
        ) from None
    except ImportError as error:
        raise EngineError(
            f"pycuda is installed but cannot be loaded: {error}. It must be compiled with a CUDA "
            "toolkit that is not newer than the driver: pip install --force-reinstall "
            "--no-binary pycuda --no-cache-dir pycuda."
        ) from None
    module: ModuleType = driver
    return module


class CudaDevice(Closing):
    """A GPU whose primary context is current in this thread until ``close``.

    Parameters
    ----------
    driver : module
        ``pycuda.driver``.
    calls : DriverCalls
        Calls of the driver that pycuda does not have.
    ordinal : int
        Its number among the visible devices.

    Raises
    ------
    EngineError
        If there is no such device, or its context cannot be opened.
    """

    def __init__(self, driver: ModuleType, calls: DriverCalls, ordinal: int) -> None:
        # pycuda has no type hints: what comes out of it is Any.
        self._driver: Any = driver
        self._calls = calls
        with _named(driver, f"opening CUDA device {ordinal}"):
            self._driver.init()
            count = self._driver.Device.count()
            if not 0 <= ordinal < count:
                raise EngineError(f"no CUDA device {ordinal}: {count} are visible, from 0 on.")
            device = self._driver.Device(ordinal)
            attribute = self._driver.device_attribute.MULTIPROCESSOR_COUNT
            major, minor = device.compute_capability()
            self.identity = GpuIdentity(
                name=device.name(),
                compute_capability=f"{major}.{minor}",
                sm_count=device.get_attribute(attribute),
                memory_bytes=device.total_memory(),
            )
            # The runtime API, and with it TensorRT, works in the primary context alone.
            context = device.retain_primary_context()
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
        with _named(self._driver, action):
            yield


@contextmanager
def _named(driver: Any, action: str) -> Iterator[None]:
    """Turn pycuda's errors, which name a call and a status, into one that names the action."""
    try:
        yield
    except driver.Error as error:
        raise EngineError(f"{action} failed: {error}.") from None


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
        with _named(self._driver, "waiting for the GPU"):
            self.event.synchronize()

    def seconds_since(self, start: Self) -> float:
        with _named(self._driver, "reading device time"):
            return float(self.event.time_since(start.event)) / 1e3

    def release(self) -> None:
        self.event = None


class _Stream:
    """pycuda destroys a stream with its last reference."""

    def __init__(self, driver: Any, calls: DriverCalls, stream: Any) -> None:
        self._driver = driver
        self._calls = calls
        self._stream = stream
        self.handle = int(stream.handle)

    def copy_in(self, target: DeviceBuffer, source: PinnedBuffer, rows: int) -> None:
        with _named(self._driver, "copying to the GPU"):
            self._driver.memcpy_htod_async(target.address, source.array[:rows], self._stream)

    def copy_out(self, target: PinnedBuffer, source: DeviceBuffer, rows: int) -> None:
        with _named(self._driver, "copying from the GPU"):
            self._driver.memcpy_dtoh_async(target.array[:rows], source.address, self._stream)

    def record(self, event: Any) -> None:
        with _named(self._driver, "recording an event"):
            event.event.record(self._stream)

    def wait(self, event: Any) -> None:
        with _named(self._driver, "ordering two streams"):
            self._stream.wait_for_event(event.event)

    def synchronize(self) -> None:
        with _named(self._driver, "waiting for the GPU"):
            self._stream.synchronize()

    def capture(self, enqueue: Callable[[], None]) -> Graph:
        return _Graph(self._calls, self._calls.capture(self.handle, enqueue))

    def release(self) -> None:
        self._stream = None


class _Graph:
    def __init__(self, calls: DriverCalls, handle: int) -> None:
        self._calls = calls
        self._handle: int | None = handle

    def launch(self, stream: Stream) -> None:
        if self._handle is None:
            raise EngineError("the CUDA graph was released.")
        self._calls.launch(self._handle, stream.handle)

    def release(self) -> None:
        handle, self._handle = self._handle, None
        if handle is not None:
            with suppress(EngineError):
                self._calls.destroy(handle)
