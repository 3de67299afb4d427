"""``libcuda.so.1`` as ctypes sees it, over the fake driver."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.engines.device.fake_driver import STATUSES, FakeDriver

OUT = "out"
"""Marks the parameter that a function writes to."""

FUNCTIONS: dict[str, tuple[str, tuple[str, ...]]] = {
    "cuInit": ("cuInit", ("flags",)),
    "cuDriverGetVersion": ("cuDriverGetVersion", (OUT,)),
    "cuDeviceGetCount": ("cuDeviceGetCount", (OUT,)),
    "cuDeviceGet": ("cuDeviceGet", (OUT, "ordinal")),
    "cuDeviceGetName": ("cuDeviceGetName", (OUT, "", "device")),
    "cuDeviceGetPCIBusId": ("cuDeviceGetPCIBusId", (OUT, "", "device")),
    "cuDeviceGetUuid_v2": ("cuDeviceGetUuid", (OUT, "device")),
    "cuDeviceGetAttribute": ("cuDeviceGetAttribute", (OUT, "attribute", "device")),
    "cuDeviceTotalMem_v2": ("cuDeviceTotalMem", (OUT, "device")),
    "cuDevicePrimaryCtxRetain": ("cuDevicePrimaryCtxRetain", (OUT, "device")),
    "cuDevicePrimaryCtxRelease_v2": ("cuDevicePrimaryCtxRelease", ("device",)),
    "cuCtxPushCurrent_v2": ("cuCtxPushCurrent", ("context",)),
    "cuCtxPopCurrent_v2": ("cuCtxPopCurrent", (OUT,)),
    "cuMemGetInfo_v2": ("cuMemGetInfo", (OUT, OUT)),
    "cuStreamBeginCapture_v2": ("cuStreamBeginCapture", ("stream", "mode")),
    "cuStreamEndCapture": ("cuStreamEndCapture", ("stream", OUT)),
    "cuGraphInstantiateWithFlags": ("cuGraphInstantiate", (OUT, "graph", "flags")),
    "cuGraphLaunch": ("cuGraphLaunch", ("executable", "stream")),
    "cuGraphDestroy": ("cuGraphDestroy", ("graph",)),
    "cuGraphExecDestroy": ("cuGraphExecDestroy", ("executable",)),
}
"""Exported name → the fake driver's, and its parameters; one that is empty is not handed on."""


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
    """Stands for the library; a status of -1 means that the function is not there."""

    def __init__(self, devices: int | FakeDriver = 1, /, **fails: int) -> None:
        self.driver = FakeDriver(devices) if isinstance(devices, int) else devices
        self._fails = fails
        self.calls: dict[str, Call] = {}

    def __getattr__(self, name: str) -> Call:
        known = name in FUNCTIONS or name == "cuGetErrorName"
        if not known or self._fails.get(name) == -1:
            raise AttributeError(name)
        if name not in self.calls:
            self.calls[name] = Call(lambda *arguments: self._run(name, *arguments))
        return self.calls[name]

    def _run(self, name: str, *arguments: Any) -> int:
        if name == "cuGetErrorName":
            status, text = arguments
            known = STATUSES.get(status.value)
            text._obj.value = known.encode() if known else None
            return 0 if known else 1
        if name in self._fails:
            return self._fails[name]
        function, parameters = FUNCTIONS[name]
        given = list(zip(parameters, arguments, strict=True))
        status, values = self.driver.call(
            function,
            *(getattr(one, "value", one) for key, one in given if key and key != OUT),
        )
        targets = [one for key, one in given if key == OUT]
        for target, value in zip(targets, values if targets else (), strict=False):
            _write(target, value)
        return status


def _write(target: Any, value: Any) -> None:
    place = getattr(target, "_obj", target)
    if isinstance(value, bytes) and not hasattr(place, "value"):
        place[:] = value
    else:
        place.value = value
