"""Opens a CUDA device through the package that is installed: pycuda or cuda-bindings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from facenet_validate.base.errors import EngineError
from facenet_validate.base.versions import distribution_version
from facenet_validate.engines.device.bindings_device import (
    BindingsCalls,
    BindingsDevice,
    bindings_driver,
)
from facenet_validate.engines.device.driver import DriverCalls, gpu_identity, why_no_device
from facenet_validate.engines.device.graphs import GraphCalls
from facenet_validate.engines.device.interface import Device
from facenet_validate.engines.device.pycuda_device import PycudaDevice, pycuda_driver


@dataclass(frozen=True)
class Bindings:
    """A package through which Python calls the CUDA driver.

    Attributes
    ----------
    name, version : str
        Of its distribution.
    open : callable
        Opens a device by its number among the visible ones; raises EngineError if there is no such
        device or its context cannot be opened.
    """

    name: str
    version: str
    open: Callable[[int], Device]

    @property
    def text(self) -> str:
        """Name and version, for people."""
        return f"{self.name} {self.version}"


def pycuda() -> Bindings:
    """Return pycuda. Its graphs go through cuda-bindings where that is installed too.

    Raises
    ------
    EngineError
        If pycuda cannot be imported.
    """
    driver = pycuda_driver()

    def opened(ordinal: int) -> Device:
        return PycudaDevice(driver, _graph_calls(), gpu_identity(ordinal), ordinal)

    return Bindings("pycuda", distribution_version("pycuda"), opened)


def cuda_bindings() -> Bindings:
    """Return cuda-bindings.

    Raises
    ------
    EngineError
        If it cannot be imported.
    """
    calls = BindingsCalls(bindings_driver())

    def opened(ordinal: int) -> Device:
        return BindingsDevice(calls, gpu_identity(ordinal), ordinal)

    return Bindings("cuda-bindings", distribution_version("cuda-bindings"), opened)


def find_bindings() -> Bindings:
    """Return pycuda where it can be imported, else cuda-bindings.

    Raises
    ------
    EngineError
        If neither can be imported, with the reason of each and how to install them.
    """
    reasons = []
    for find in (pycuda, cuda_bindings):
        try:
            return find()
        except EngineError as error:
            reasons.append(str(error).removesuffix("."))
    raise EngineError(
        f"{'; '.join(reasons)}. Expected one of them: pip install 'facenet-validate[cuda]' for "
        "cuda-bindings, which needs no compiler; or pip install pycuda, which is compiled against "
        "the CUDA toolkit (docs/guide/gpu.md says what it needs)."
    )


def why_no_bindings() -> str:
    """Return why no package reaches the driver; empty if one does. They are imported to find out.

    NVIDIA's driver is not asked: it may be missing too.
    """
    try:
        find_bindings()
    except EngineError as error:
        return str(error).removesuffix(".")
    return ""


def open_device(ordinal: int = 0) -> Device:
    """Open a CUDA device by its number among the visible ones.

    Raises
    ------
    EngineError
        If the driver, a device or a package for it is missing, or they do not fit together.
    """
    reason = why_no_device()
    if reason:
        raise EngineError(f"no GPU to run on: {reason}.")
    return find_bindings().open(ordinal)


def _graph_calls() -> GraphCalls:
    """Return the calls that pycuda has not: of cuda-bindings where it is, else through ctypes."""
    try:
        return BindingsCalls(bindings_driver())
    except EngineError:
        return DriverCalls()
