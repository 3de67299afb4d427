"""A CUDA device through cuda.bindings, in the primary context, which TensorRT uses too.

Calls, their arguments and what they return are equal in cuda-bindings 12.8 to 13.5. Handles are
given as integers, which every call takes in place of its own types.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from math import prod
from types import ModuleType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from facenet_validate.base.closing import Closing
from facenet_validate.base.errors import EngineError
from facenet_validate.engines.device.failures import named
from facenet_validate.engines.device.graphs import CapturedGraph
from facenet_validate.engines.device.interface import (
    DeviceBuffer,
    Event,
    GpuIdentity,
    Graph,
    PinnedBuffer,
    Stream,
)


def bindings_driver() -> ModuleType:
    """Return ``cuda.bindings.driver``. Importing it does not look for NVIDIA's driver.

    Raises
    ------
    EngineError
        If it is not installed or cannot be loaded.
    """
    try:
        from cuda.bindings import driver
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and error.name in ("cuda", "cuda.bindings"):
            raise EngineError("cuda-bindings is not installed.") from None
        why = f"cuda-bindings is installed but cannot be loaded: {error}."
        raise EngineError(why) from None
    module: ModuleType = driver
    return module


class BindingsCalls:
    """Calls of ``cuda.bindings.driver``, which raise what the driver refuses.

    Also implements ``GraphCalls``.

    Parameters
    ----------
    driver : module
        ``cuda.bindings.driver``.
    """

    def __init__(self, driver: ModuleType) -> None:
        # cuda.bindings has no type hints: what comes out of it is Any.
        self.driver: Any = driver

    def __call__(self, name: str, *arguments: object) -> Any:
        """Return what a function of the driver gives: a value, a tuple of several, or None.

        Raises
        ------
        EngineError
            If the driver refuses, or is older than the function.
        """
        try:
            found = getattr(self.driver, name)(*arguments)
        except (RuntimeError, ValueError) as error:
            # A function the driver has not; a status that is newer than the package.
            raise EngineError(f"CUDA: {name} failed: {error}.") from None
        status = found[0]
        if status:
            raise EngineError(f"CUDA: {name} gave {status.name} ({int(status)}).")
        if len(found) == 1:
            return None
        return found[1] if len(found) == 2 else found[1:]

    def released(self, name: str, handle: int) -> None:
        """Give something back.

        After a failed run every call of the driver fails. The run's error is the one to show, so
        what happens here is not raised.
        """
        with suppress(EngineError):
            self(name, handle)

    def begin_capture(self, stream: int) -> None:
        mode = self.driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        self("cuStreamBeginCapture", stream, mode)

    def end_capture(self, stream: int) -> int:
        return int(self("cuStreamEndCapture", stream))

    def instantiate(self, graph: int) -> int:
        return int(self("cuGraphInstantiate", graph, 0))

    def launch(self, executable: int, stream: int) -> None:
        self("cuGraphLaunch", executable, stream)

    def destroy_graph(self, graph: int) -> None:
        self("cuGraphDestroy", graph)

    def destroy_executable(self, executable: int) -> None:
        self("cuGraphExecDestroy", executable)

    def pop_context(self) -> None:
        self("cuCtxPopCurrent")


class BindingsDevice(Closing):
    """A GPU whose primary context is current in this thread until ``close``.

    Parameters
    ----------
    calls : BindingsCalls
        The driver.
    identity : GpuIdentity
        Which GPU.
    ordinal : int
        Its number among the visible devices.

    Raises
    ------
    EngineError
        If its context cannot be opened.
    """

    def __init__(self, calls: BindingsCalls, identity: GpuIdentity, ordinal: int) -> None:
        self._calls = calls
        self.identity = identity
        with named(f"opening CUDA device {ordinal}", EngineError):
            calls("cuInit", 0)
            self._device = int(calls("cuDeviceGet", ordinal))
            # The runtime API, and with it TensorRT, works in the primary context alone.
            context = calls("cuDevicePrimaryCtxRetain", self._device)
            try:
                calls("cuCtxPushCurrent", context)
            except BaseException:
                calls.released("cuDevicePrimaryCtxRelease", self._device)
                raise
        self._opened = True

    def allocate(self, nbytes: int) -> DeviceBuffer:
        """Return memory of the device.

        Raises
        ------
        EngineError
            If the device has not as much left.
        """
        with self._checked(f"allocating {nbytes / 2**20:.1f} MiB of GPU memory"):
            return _Buffer(self._calls, nbytes)

    def pinned(self, shape: tuple[int, ...]) -> PinnedBuffer:
        """Return a page-locked float32 array of the host."""
        with self._checked(f"allocating pinned host memory of shape {shape}"):
            return _Pinned(self._calls, shape)

    def stream(self) -> Stream:
        """Return a stream of its own."""
        with self._checked("making a stream"):
            return _Stream(self._calls)

    def event(self) -> Event:
        """Return an event that takes the time."""
        with self._checked("making an event"):
            return _Event(self._calls)

    def memory_used(self) -> int:
        """Return the bytes of the device that are in use, by any process."""
        with self._checked("asking for free memory"):
            free, total = self._calls("cuMemGetInfo")
            return int(total - free)

    def close(self) -> None:
        """Take the context off this thread and release it."""
        if not self._opened:
            return
        self._opened = False
        # As in `PycudaDevice.close`: the call that met a fault first has told of it.
        with suppress(EngineError):
            self._calls.pop_context()
        self._calls.released("cuDevicePrimaryCtxRelease", self._device)

    @contextmanager
    def _checked(self, action: str) -> Iterator[None]:
        if not self._opened:
            raise EngineError(f"{action}: {self.identity.name} was closed; open it again.")
        with named(action, EngineError):
            yield


class _Held:
    """A handle of the driver, released once."""

    destroy: str

    def __init__(self, calls: BindingsCalls, handle: Any) -> None:
        self._calls = calls
        self.handle = int(handle)
        self._released = False

    def release(self) -> None:
        if not self._released:
            self._released = True
            self._calls.released(self.destroy, self.handle)


class _Buffer(_Held):
    destroy = "cuMemFree"

    def __init__(self, calls: BindingsCalls, nbytes: int) -> None:
        super().__init__(calls, calls("cuMemAlloc", nbytes))
        self.address = self.handle
        self.nbytes = nbytes


class _Pinned(_Held):
    destroy = "cuMemFreeHost"

    def __init__(self, calls: BindingsCalls, shape: tuple[int, ...]) -> None:
        count = prod(shape)
        super().__init__(calls, calls("cuMemHostAlloc", 4 * count, 0))
        # The array looks at the pages; it does not hold them.
        pages = memoryview((ctypes.c_float * count).from_address(self.handle))
        self._array: NDArray[np.float32] = np.frombuffer(pages, np.float32).reshape(shape)

    @property
    def array(self) -> NDArray[np.float32]:
        if self._released:
            raise EngineError("pinned host memory was released.")
        return self._array


class _Event(_Held):
    destroy = "cuEventDestroy"

    def __init__(self, calls: BindingsCalls) -> None:
        flags = calls.driver.CUevent_flags.CU_EVENT_DEFAULT
        super().__init__(calls, calls("cuEventCreate", int(flags)))

    def synchronize(self) -> None:
        with named("waiting for the GPU", EngineError):
            self._calls("cuEventSynchronize", self.handle)

    def seconds_since(self, start: Self) -> float:
        with named("reading device time", EngineError):
            return float(self._calls("cuEventElapsedTime", start.handle, self.handle)) / 1e3


class _Stream(_Held):
    destroy = "cuStreamDestroy"

    def __init__(self, calls: BindingsCalls) -> None:
        # No hidden order with the default stream.
        flags = calls.driver.CUstream_flags.CU_STREAM_NON_BLOCKING
        super().__init__(calls, calls("cuStreamCreate", int(flags)))

    def copy_in(self, target: DeviceBuffer, source: PinnedBuffer, rows: int) -> None:
        with named("copying to the GPU", EngineError):
            given = source.array[:rows]
            self._calls(
                "cuMemcpyHtoDAsync", target.address, given.ctypes.data, given.nbytes, self.handle
            )

    def copy_out(self, target: PinnedBuffer, source: DeviceBuffer, rows: int) -> None:
        with named("copying from the GPU", EngineError):
            taken = target.array[:rows]
            self._calls(
                "cuMemcpyDtoHAsync", taken.ctypes.data, source.address, taken.nbytes, self.handle
            )

    def record(self, event: Any) -> None:
        with named("recording an event", EngineError):
            self._calls("cuEventRecord", event.handle, self.handle)

    def wait(self, event: Any) -> None:
        with named("ordering two streams", EngineError):
            self._calls("cuStreamWaitEvent", self.handle, event.handle, 0)

    def synchronize(self) -> None:
        with named("waiting for the GPU", EngineError):
            self._calls("cuStreamSynchronize", self.handle)

    def capture(self, enqueue: Callable[[], None]) -> Graph:
        return CapturedGraph(self._calls, self.handle, enqueue)
