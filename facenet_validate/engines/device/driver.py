"""The CUDA driver through ctypes: is there a device, and the calls pycuda does not have."""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from facenet_validate.base.errors import EngineError

_LIBRARY = "libcuda.so.1"

_KERNEL_DRIVER = Path("/proc/driver/nvidia/version")
"""Exists when the kernel's driver is loaded, and has its version."""

_NO_DEVICE = 100
_MAJOR, _MINOR = 75, 76
"""``CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR`` and ``_MINOR``."""

_THREAD_LOCAL = 1
"""``CU_STREAM_CAPTURE_MODE_THREAD_LOCAL``: what other threads do cannot spoil a capture."""

_Handle = ctypes.c_void_p
_SIGNATURES: dict[str, list[Any]] = {
    "cuStreamBeginCapture_v2": [_Handle, ctypes.c_int],
    "cuStreamEndCapture": [_Handle, ctypes.POINTER(_Handle)],
    "cuGraphInstantiateWithFlags": [ctypes.POINTER(_Handle), _Handle, ctypes.c_ulonglong],
    "cuGraphLaunch": [_Handle, _Handle],
    "cuGraphExecDestroy": [_Handle],
    "cuGraphDestroy": [_Handle],
    "cuCtxPopCurrent_v2": [ctypes.POINTER(_Handle)],
    "cuGetErrorName": [ctypes.c_int, ctypes.POINTER(ctypes.c_char_p)],
}


def why_no_device(
    load: Callable[[str], Any] = ctypes.CDLL,
    environ: Mapping[str, str] = os.environ,
    kernel_driver: Path = _KERNEL_DRIVER,
) -> str:
    """Return why no CUDA device can be used; empty if one can.

    Asks the driver library alone and takes no memory of a device. It initialises CUDA in this
    process, so processes forked afterwards cannot use it.

    Parameters
    ----------
    load : callable
        Opens a shared library.
    environ : mapping
        The environment.
    kernel_driver : Path
        A file that exists when the kernel's driver is loaded.
    """
    try:
        library = load(_LIBRARY)
    except OSError as error:
        if "No such file" in str(error):
            return f"no CUDA driver ({_LIBRARY} is missing); install NVIDIA's driver"
        return f"the CUDA driver cannot be loaded: {error}; install NVIDIA's driver"
    visible = environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and visible.strip() in {"", "-1"}:
        return f"CUDA_VISIBLE_DEVICES is {visible!r}, which hides every device; unset it"
    status = library.cuInit(0)
    if status == _NO_DEVICE and not kernel_driver.exists():
        return (
            f"{_LIBRARY} is there, but the kernel's NVIDIA driver is not loaded ({kernel_driver} "
            "is missing); in a container, start it with the GPU passed through"
        )
    count = ctypes.c_int()
    call = "cuInit"
    if not status:
        call, status = "cuDeviceGetCount", library.cuDeviceGetCount(ctypes.byref(count))
    if status == _NO_DEVICE or (not status and not count.value):
        hidden = f" (CUDA_VISIBLE_DEVICES is {visible!r})" if visible is not None else ""
        return f"the NVIDIA driver finds no CUDA device{hidden}"
    return f"the NVIDIA driver fails: {call} gave {error_name(library, status)}" if status else ""


def pci_bus_id(ordinal: int = 0, load: Callable[[str], Any] = ctypes.CDLL) -> str:
    """Return where a CUDA device is, by which NVML finds it too.

    Raises
    ------
    EngineError
        If there is no such device.
    """
    return _told(ordinal, "cuDeviceGetPCIBusId", load)


def device_name(ordinal: int = 0, load: Callable[[str], Any] = ctypes.CDLL) -> str:
    """Return a CUDA device's name.

    Raises
    ------
    EngineError
        If there is no such device.
    """
    return _told(ordinal, "cuDeviceGetName", load)


def compute_capability(ordinal: int = 0, load: Callable[[str], Any] = ctypes.CDLL) -> str:
    """Return a CUDA device's compute capability, as ``9.0``; empty if the driver does not tell."""
    library = load(_LIBRARY)
    device, number = ctypes.c_int(), ctypes.c_int()
    if library.cuInit(0) or library.cuDeviceGet(ctypes.byref(device), ordinal):
        return ""
    numbers = []
    for attribute in (_MAJOR, _MINOR):
        if library.cuDeviceGetAttribute(ctypes.byref(number), attribute, device):
            return ""
        numbers.append(str(number.value))
    return ".".join(numbers)


def cuda_version(load: Callable[[str], Any] = ctypes.CDLL) -> str:
    """Return the newest CUDA the driver supports, as ``13.0``; empty if it does not tell."""
    number = ctypes.c_int()
    if load(_LIBRARY).cuDriverGetVersion(ctypes.byref(number)):
        return ""
    return f"{number.value // 1000}.{number.value % 1000 // 10}"


def driver_version(kernel_driver: Path = _KERNEL_DRIVER) -> str:
    """Return the version of NVIDIA's driver, as ``580.65.06``; empty if the kernel has none."""
    try:
        told = kernel_driver.read_text()
    except OSError:
        return ""
    found = re.search(r"\b\d{3,}\.\d+(?:\.\d+)?\b", told)
    return found[0] if found else ""


def _told(ordinal: int, question: str, load: Callable[[str], Any]) -> str:
    """Return what a call that takes a text, its length and a device writes."""
    library = load(_LIBRARY)
    device = ctypes.c_int()
    text = ctypes.create_string_buffer(128)
    for name, given in (
        ("cuInit", (0,)),
        ("cuDeviceGet", (ctypes.byref(device), ordinal)),
        (question, (text, len(text), device)),
    ):
        status = getattr(library, name)(*given)
        if status:
            raise EngineError(f"CUDA device {ordinal}: {name} gave {error_name(library, status)}.")
    return text.value.decode()


def error_name(library: Any, status: int) -> str:
    """Return a driver status as ``CUDA_ERROR_… (number)``."""
    name = ctypes.c_char_p()
    if library.cuGetErrorName(ctypes.c_int(status), ctypes.byref(name)) or name.value is None:
        return f"status {status}"
    return f"{name.value.decode()} ({status})"


class DriverCalls:
    """Stream capture, graphs and the stack of contexts, for the context that is current.

    Parameters
    ----------
    load : callable
        Opens a shared library.

    Raises
    ------
    EngineError
        If the driver has not one of the calls.
    """

    def __init__(self, load: Callable[[str], Any] = ctypes.CDLL) -> None:
        self._library = load(_LIBRARY)
        for name, arguments in _SIGNATURES.items():
            try:
                call = getattr(self._library, name)
            except AttributeError:
                raise EngineError(
                    f"{_LIBRARY} has no {name}: the NVIDIA driver is older than CUDA 11.4; "
                    "install a newer one."
                ) from None
            # Without these, ctypes passes handles as 32-bit integers and cuts them.
            call.argtypes, call.restype = arguments, ctypes.c_int

    def capture(self, stream: int, enqueue: Callable[[], None]) -> int:
        """Return an executable graph of what a call queues in a stream.

        Raises
        ------
        EngineError
            If the driver refuses, or the call did what cannot be captured.
        """
        self._call("cuStreamBeginCapture_v2", stream, _THREAD_LOCAL)
        graph = _Handle()
        try:
            enqueue()
        except BaseException:
            # The stream stays in capture, and useless, until it is ended.
            self._library.cuStreamEndCapture(stream, ctypes.byref(graph))
            if graph.value:
                self._library.cuGraphDestroy(graph)
            raise
        self._call("cuStreamEndCapture", stream, ctypes.byref(graph))
        executable = _Handle()
        try:
            self._call("cuGraphInstantiateWithFlags", ctypes.byref(executable), graph, 0)
        finally:
            self._call("cuGraphDestroy", graph)
        if not executable.value:
            raise EngineError("cuGraphInstantiateWithFlags gave no graph and no error.")
        return executable.value

    def launch(self, graph: int, stream: int) -> None:
        """Queue a graph in a stream."""
        self._call("cuGraphLaunch", graph, stream)

    def destroy(self, graph: int) -> None:
        """Release an executable graph."""
        self._call("cuGraphExecDestroy", graph)

    def pop_context(self) -> None:
        """Take the current context off this thread."""
        popped = _Handle()
        self._call("cuCtxPopCurrent_v2", ctypes.byref(popped))

    def _call(self, name: str, *arguments: object) -> None:
        status = getattr(self._library, name)(*arguments)
        if status:
            raise EngineError(f"CUDA: {name} gave {error_name(self._library, status)}.")
