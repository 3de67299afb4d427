"""Which backend runs the engines, on what, and why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

from facenet_validate.base.errors import SettingsError
from facenet_validate.base.versions import ONNX_RUNTIMES, distribution_version

BackendName = Literal["onnxruntime", "onnxruntime-cuda", "tensorrt", "tensorrt-rtx"]
PlanBackend = Literal["tensorrt", "tensorrt-rtx"]
BACKENDS: tuple[BackendName, ...] = ("onnxruntime", "onnxruntime-cuda", "tensorrt", "tensorrt-rtx")

MODULES: dict[PlanBackend, tuple[str, ...]] = {
    "tensorrt": ("tensorrt",),
    "tensorrt-rtx": ("tensorrt_rtx", "tensorrt_rtx_bindings"),
}
"""The names under which the packages that build plans are imported."""

_DISTRIBUTIONS: dict[BackendName, tuple[str, ...]] = {
    "onnxruntime": ONNX_RUNTIMES,
    "onnxruntime-cuda": ("onnxruntime-gpu",),
    "tensorrt": ("tensorrt", "tensorrt-cu13", "tensorrt-cu12"),
    "tensorrt-rtx": ("tensorrt-rtx", "tensorrt-rtx-cu13-bindings", "tensorrt-rtx-cu12-bindings"),
}
INSTALL: dict[BackendName, str] = {
    "onnxruntime": "pip install onnxruntime",
    "onnxruntime-cuda": "pip uninstall onnxruntime, then pip install onnxruntime-gpu",
    "tensorrt": "pip install 'facenet-validate[tensorrt]'",
    "tensorrt-rtx": "pip install 'facenet-validate[tensorrt-rtx]'",
}
"""How each backend's library is installed."""


RTX_CAPABILITIES = ("", "7.5", "8.0", "8.6", "8.9")
"""What TensorRT for RTX 1.7 lists as ``ComputeCapability``, beside 12.x; unknown ones are tried."""


@dataclass(frozen=True)
class Backend:
    """What runs the engines of a run.

    Attributes
    ----------
    name : str
        The backend.
    version : str
        Its library's version.
    why : str
        Why it was chosen, for people.
    unavailable : str
        Why its engines can be built but not run here; empty if they can be run.
    """

    name: BackendName
    version: str
    why: str
    unavailable: str = ""

    @property
    def on_gpu(self) -> bool:
        """Whether its engines run on a GPU."""
        return self.name != "onnxruntime"

    @property
    def cannot_run(self) -> str:
        """Why its engines cannot be run here, for people; empty if they can."""
        return f"{self.name} cannot run here: {self.unavailable}" if self.unavailable else ""

    @property
    def builds_plans(self) -> bool:
        """Whether its engines are TensorRT plans."""
        return self.name in MODULES


@dataclass(frozen=True)
class Gpu:
    """What is asked of the GPU before a backend is chosen.

    Attributes
    ----------
    why_not : callable
        Returns why no CUDA device can be used; an empty string if one can.
    compute_capability : callable
        Returns the device's, as ``9.0``; an empty string if it is unknown.
    why_no_pycuda : callable
        Returns why pycuda cannot be used; an empty string if it can.
    """

    why_not: Callable[[], str]
    compute_capability: Callable[[], str]
    why_no_pycuda: Callable[[], str]

    def unusable(self) -> str:
        """Return why engines cannot be run on it; empty if they can."""
        return self.why_not() or self.why_no_pycuda()


def choose_backend(asked: str, origin: str, gpu: Gpu) -> Backend:
    """Return the backend to use; no library is imported for it.

    Parameters
    ----------
    asked : str
        ``auto`` or a backend's name.
    origin : str
        Where it was asked for, for messages.
    gpu : Gpu
        Asked only where a backend needs one.

    Raises
    ------
    SettingsError
        If the backend that was asked for is not installed.
    """
    if asked == "auto":
        return _automatic(gpu)
    name = next(known for known in BACKENDS if known == asked)
    version = installed_version(name)
    if not version:
        raise SettingsError(
            f"{origin}: {name}, which is not installed. Expected its library: {INSTALL[name]}."
        )
    unavailable = gpu.unusable() if name != "onnxruntime" else ""
    return Backend(name, version, f"asked for by {origin}", unavailable)


def _automatic(gpu: Gpu) -> Backend:
    why = "TensorRT is not installed"
    for name in MODULES:
        version = installed_version(name)
        if not version:
            continue
        reason = gpu.unusable()
        if not reason and name == "tensorrt-rtx" and not _is_listed(gpu.compute_capability()):
            reason = (
                f"it does not list compute capability {gpu.compute_capability()}; "
                "--facenet-backend tensorrt-rtx tries it nevertheless"
            )
        if not reason:
            return Backend(name, version, "it is installed and a CUDA device is visible")
        why = f"{name} {version} is installed, but {reason}"
    return Backend("onnxruntime", installed_version("onnxruntime"), why)


def _is_listed(compute_capability: str) -> bool:
    """Say whether TensorRT for RTX names a compute capability; 9.0 and 10.0 it does not."""
    return compute_capability in RTX_CAPABILITIES or compute_capability.startswith("12.")


def installed_version(name: BackendName) -> str:
    """Return the version of a backend's library; empty where it is not installed."""
    if name in MODULES and not any(_has_module(module) for module in MODULES[name]):
        return ""
    return distribution_version(*_DISTRIBUTIONS[name])


def _has_module(name: str) -> bool:
    """Say whether a module is there. Type stubs leave a folder without an ``__init__``."""
    spec = find_spec(name)
    return spec is not None and spec.origin is not None
