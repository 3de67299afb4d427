"""The part of ``pycuda.driver`` that is used, over the fake driver."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from tests.engines.device.fake_device import Misuse
from tests.engines.device.fake_driver import STATUSES, FakeDriver


class Error(Exception):
    """pycuda's base class: its text is a call and a status."""


class FakePycuda(SimpleNamespace):
    """Stands for the module."""

    Error = Error

    def __init__(self, driver: FakeDriver) -> None:
        super().__init__()

        def call(name: str, *arguments: Any) -> Any:
            status, values = driver.call(name, *arguments)
            if status:
                raise Error(f"{name} failed: {STATUSES[status]}")
            return values[0] if len(values) == 1 else values

        class Context:
            """Destroys itself with its last reference, where it was not detached."""

            def __init__(self, device: int) -> None:
                self.device = device
                self.handle = call("cuDevicePrimaryCtxRetain", device)

            def push(self) -> None:
                call("cuCtxPushCurrent", self.handle)

            def detach(self) -> None:
                if self.handle in driver.contexts:
                    raise Misuse("pycuda leaves the context current when it detaches it")
                # What fails here, pycuda prints.
                driver.call("cuDevicePrimaryCtxRelease", self.device)

        class Device:
            def __init__(self, ordinal: int) -> None:
                self.device = call("cuDeviceGet", ordinal)

            def retain_primary_context(self) -> Context:
                return Context(self.device)

        class Held:
            """pycuda gives back what has no reference left."""

            def __init__(self, make: str, destroy: str, *arguments: int) -> None:
                self.destroy = destroy
                self.handle: int | None = None
                self.handle = call(make, *arguments)

            def __int__(self) -> int:
                assert self.handle is not None
                return self.handle

            def free(self) -> None:
                handle, self.handle = self.handle, None
                if handle is not None:
                    driver.call(self.destroy, handle)

            def __del__(self) -> None:
                self.free()

        class Stream(Held):
            def __init__(self, flags: int) -> None:
                super().__init__("cuStreamCreate", "cuStreamDestroy", flags)

            def synchronize(self) -> None:
                call("cuStreamSynchronize", self.handle)

            def wait_for_event(self, event: Event) -> None:
                call("cuStreamWaitEvent", self.handle, event.handle, 0)

        class Event(Held):
            def __init__(self, flags: int = 0) -> None:
                super().__init__("cuEventCreate", "cuEventDestroy", flags)

            def record(self, stream: Stream) -> None:
                call("cuEventRecord", self.handle, stream.handle)

            def synchronize(self) -> None:
                call("cuEventSynchronize", self.handle)

            def time_since(self, other: Event) -> float:
                return float(call("cuEventElapsedTime", other.handle, self.handle))

        class Pagelocked(np.ndarray[Any, Any]):
            """pycuda gives an array whose base frees it."""

            allocation: Held

            @property
            def base(self) -> Any:
                return self.allocation

        def pagelocked_empty(shape: tuple[int, ...], dtype: Any) -> Any:
            nbytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
            allocation = Held("cuMemHostAlloc", "cuMemFreeHost", nbytes, 0)
            _, pages = driver.held[int(allocation)]
            array = pages.view(dtype).reshape(shape).view(Pagelocked)
            array.allocation = allocation
            return array

        def memcpy_htod_async(target: int, source: Any, stream: Stream) -> None:
            address = source.ctypes.data
            call("cuMemcpyHtoDAsync", target, address, source.nbytes, stream.handle)

        def memcpy_dtoh_async(target: Any, source: int, stream: Stream) -> None:
            address = target.ctypes.data
            call("cuMemcpyDtoHAsync", address, source, target.nbytes, stream.handle)

        self.init = lambda: call("cuInit", 0)
        self.Device = Device
        self.Stream = Stream
        self.Event = Event
        self.mem_alloc = lambda nbytes: Held("cuMemAlloc", "cuMemFree", nbytes)
        self.pagelocked_empty = pagelocked_empty
        self.memcpy_htod_async = memcpy_htod_async
        self.memcpy_dtoh_async = memcpy_dtoh_async
        self.mem_get_info = lambda: call("cuMemGetInfo")
