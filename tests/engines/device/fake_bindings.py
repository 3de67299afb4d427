"""The part of ``cuda.bindings.driver`` that is used, over the fake driver.

A function returns a tuple: its status, then its values, handles in types of their own. It raises
RuntimeError where NVIDIA's driver does not have it. ``test_bindings_device.py`` holds the
parameters against the real module where that is installed.
"""

from __future__ import annotations

from enum import IntEnum
from types import SimpleNamespace
from typing import Any

from tests.engines.device.fake_driver import STATUSES, FakeDriver

PARAMETERS = {
    "cuInit": ("Flags",),
    "cuDeviceGet": ("ordinal",),
    "cuDevicePrimaryCtxRetain": ("dev",),
    "cuDevicePrimaryCtxRelease": ("dev",),
    "cuCtxPushCurrent": ("ctx",),
    "cuCtxPopCurrent": (),
    "cuMemGetInfo": (),
    "cuMemAlloc": ("bytesize",),
    "cuMemFree": ("dptr",),
    "cuMemHostAlloc": ("bytesize", "Flags"),
    "cuMemFreeHost": ("p",),
    "cuMemcpyHtoDAsync": ("dstDevice", "srcHost", "ByteCount", "hStream"),
    "cuMemcpyDtoHAsync": ("dstHost", "srcDevice", "ByteCount", "hStream"),
    "cuStreamCreate": ("Flags",),
    "cuStreamDestroy": ("hStream",),
    "cuStreamSynchronize": ("hStream",),
    "cuStreamWaitEvent": ("hStream", "hEvent", "Flags"),
    "cuEventCreate": ("Flags",),
    "cuEventDestroy": ("hEvent",),
    "cuEventRecord": ("hEvent", "hStream"),
    "cuEventSynchronize": ("hEvent",),
    "cuEventElapsedTime": ("hStart", "hEnd"),
    "cuStreamBeginCapture": ("hStream", "mode"),
    "cuStreamEndCapture": ("hStream",),
    "cuGraphInstantiate": ("hGraph", "flags"),
    "cuGraphLaunch": ("hGraphExec", "hStream"),
    "cuGraphDestroy": ("hGraph",),
    "cuGraphExecDestroy": ("hGraphExec",),
}
PLAIN = ("cuMemGetInfo", "cuMemHostAlloc", "cuEventElapsedTime")
"""Functions that return numbers and no handle."""


class CUresult(int):
    """A status, with its name as an enumeration has it."""

    @property
    def name(self) -> str:
        return STATUSES[self] if self else "CUDA_SUCCESS"


class CUstreamCaptureMode(IntEnum):
    CU_STREAM_CAPTURE_MODE_THREAD_LOCAL = 1


class Handle:
    """A type like ``CUstream``."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __int__(self) -> int:
        return self.value


class FakeBindings:
    """Stands for the module.

    Attributes
    ----------
    missing : set of str
        Functions that NVIDIA's driver does not have.
    """

    CUstreamCaptureMode = CUstreamCaptureMode
    CUstream_flags = SimpleNamespace(CU_STREAM_NON_BLOCKING=1)
    CUevent_flags = SimpleNamespace(CU_EVENT_DEFAULT=0)

    def __init__(self, driver: FakeDriver) -> None:
        self._driver = driver
        self.missing: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        if name not in PARAMETERS:
            raise AttributeError(name)

        def function(*arguments: Any) -> tuple[Any, ...]:
            if name in self.missing:
                raise RuntimeError(f'Function "{name}" not found')
            if len(arguments) != len(PARAMETERS[name]):
                raise TypeError(f"{name} takes {PARAMETERS[name]}, and was given {arguments}")
            if name == "cuStreamBeginCapture" and not isinstance(arguments[1], CUstreamCaptureMode):
                raise TypeError(f"mode: expected CUstreamCaptureMode, found {arguments[1]!r}")
            status, values = self._driver.call(name, *map(int, arguments))
            given = values if name in PLAIN else tuple(map(Handle, values))
            return (CUresult(status), *given)

        return function
