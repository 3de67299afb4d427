"""The CUDA driver through ctypes: is there a device, which one, and the calls pycuda has not."""

from __future__ import annotations

import ctypes
import os
import re
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from facenet_validate.base.errors import EngineError
from facenet_validate.engines.device.interface import GpuAddress, GpuIdentity

_LIBRARY = "libcuda.so.1"

_KERNEL_DRIVER = Path("/proc/driver/nvidia/version")
"""Exists when the kernel's driver is loaded, and has its version."""

_NO_DEVICE = 100
_SM_COUNT, _MAJOR, _MINOR = 16, 75, 76
"""``CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT``, ``…_COMPUTE_CAPABILITY_MAJOR`` and ``_MINOR``."""

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


class _Asked:
    """A device of the driver, by its number among the visible ones.

    Raises
    ------
    EngineError
        If there is no such device, or the driver does not start.
    """

    def __init__(self, ordinal: int, load: Callable[[str], Any]) -> None:
        self._library = load(_LIBRARY)
        self._ordinal = ordinal
        self._device = ctypes.c_int()
        count = ctypes.c_int()
        self._call("cuInit", 0)
        self._call("cuDeviceGetCount", ctypes.byref(count))
        if not 0 <= ordinal < count.value:
            raise EngineError(f"no CUDA device {ordinal}: {count.value} are visible, from 0 on.")
        self._call("cuDeviceGet", ctypes.byref(self._device), ordinal)

    def text(self, question: str) -> str:
        """Return what a call writes as a text."""
        written = ctypes.create_string_buffer(128)
        self._call(question, written, len(written), self._device)
        return written.value.decode()

    def attribute(self, which: int) -> int:
        """Return an attribute by its number."""
        number = ctypes.c_int()
        self._call("cuDeviceGetAttribute", ctypes.byref(number), which, self._device)
        return number.value

    def memory_bytes(self) -> int:
        """Return its memory in all."""
        number = ctypes.c_size_t()
        self._call("cuDeviceTotalMem_v2", ctypes.byref(number), self._device)
        return number.value

    def memory_used(self) -> int:
        """Return how much of its memory is in use, by any process.

        The driver tells it in a context: the primary one, in which the CUDA runtime works too.
        """
        context, free, total = _Handle(), ctypes.c_size_t(), ctypes.c_size_t()
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(context), self._device)
        try:
            self._call("cuCtxPushCurrent_v2", context)
            try:
                self._call("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
            finally:
                self._call("cuCtxPopCurrent_v2", ctypes.byref(context))
        finally:
            self._call("cuDevicePrimaryCtxRelease_v2", self._device)
        return total.value - free.value

    def uuid(self) -> str:
        """Return its UUID; empty on a driver older than CUDA 11.4, which has not this call."""
        if not hasattr(self._library, "cuDeviceGetUuid_v2"):
            return ""
        # The older call gives the UUID of the whole GPU, also under MIG.
        written = (ctypes.c_ubyte * 16)()
        self._call("cuDeviceGetUuid_v2", ctypes.byref(written), self._device)
        return str(uuid.UUID(bytes=bytes(written)))

    def _call(self, name: str, *arguments: object) -> None:
        status = getattr(self._library, name)(*arguments)
        if status:
            why = error_name(self._library, status)
            raise EngineError(f"CUDA device {self._ordinal}: {name} gave {why}.")


def gpu_identity(ordinal: int = 0, load: Callable[[str], Any] = ctypes.CDLL) -> GpuIdentity:
    """Return which GPU a CUDA device is. No context is made on it.

    Raises
    ------
    EngineError
        If there is no such device.
    """
    device = _Asked(ordinal, load)
    return GpuIdentity(
        name=device.text("cuDeviceGetName"),
        compute_capability=f"{device.attribute(_MAJOR)}.{device.attribute(_MINOR)}",
        sm_count=device.attribute(_SM_COUNT),
        memory_bytes=device.memory_bytes(),
    )


def gpu_address(ordinal: int = 0, load: Callable[[str], Any] = ctypes.CDLL) -> GpuAddress:
    """Return where a CUDA device is, by which NVML finds it too.

    Raises
    ------
    EngineError
        If there is no such device.
    """
    device = _Asked(ordinal, load)
    return GpuAddress(device.text("cuDeviceGetPCIBusId"), device.uuid())


def memory_used(ordinal: int = 0, load: Callable[[str], Any] = ctypes.CDLL) -> int:
    """Return the bytes of a CUDA device that are in use, by any process.

    Raises
    ------
    EngineError
        If there is no such device, or it does not answer.
    """
    return _Asked(ordinal, load).memory_used()


def compute_capability(ordinal: int = 0, load: Callable[[str], Any] = ctypes.CDLL) -> str:
    """Return a CUDA device's compute capability, as ``9.0``; empty if the driver does not tell."""
    try:
        return gpu_identity(ordinal, load).compute_capability
    except EngineError:
        return ""


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


def error_name(library: Any, status: int) -> str:
    """Return a driver status as ``CUDA_ERROR_… (number)``."""
    name = ctypes.c_char_p()
    if library.cuGetErrorName(ctypes.c_int(status), ctypes.byref(name)) or name.value is None:
        return f"status {status}"
    return f"{name.value.decode()} ({status})"


class DriverCalls:
    """Implements ``GraphCalls`` with the driver's own functions.

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

    def begin_capture(self, stream: int) -> None:
        self._call("cuStreamBeginCapture_v2", stream, _THREAD_LOCAL)

    def end_capture(self, stream: int) -> int:
        return self._made("cuStreamEndCapture", lambda graph: (stream, graph))

    def instantiate(self, graph: int) -> int:
        return self._made("cuGraphInstantiateWithFlags", lambda made: (made, graph, 0))

    def launch(self, executable: int, stream: int) -> None:
        self._call("cuGraphLaunch", executable, stream)

    def destroy_graph(self, graph: int) -> None:
        self._call("cuGraphDestroy", graph)

    def destroy_executable(self, executable: int) -> None:
        self._call("cuGraphExecDestroy", executable)

    def pop_context(self) -> None:
        self._made("cuCtxPopCurrent_v2", lambda popped: (popped,))

    def _made(self, name: str, arguments: Callable[[object], tuple[object, ...]]) -> int:
        """Return the handle that a call writes; its place among the arguments differs."""
        handle = _Handle()
        self._call(name, *arguments(ctypes.byref(handle)))
        return handle.value or 0

    def _call(self, name: str, *arguments: object) -> None:
        status = getattr(self._library, name)(*arguments)
        if status:
            raise EngineError(f"CUDA: {name} gave {error_name(self._library, status)}.")
