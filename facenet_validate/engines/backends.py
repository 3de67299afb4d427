"""Every backend, and which of them runs the engines of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from facenet_validate.base.errors import SettingsError
from facenet_validate.engines.backend import Backend
from facenet_validate.engines.onnxruntime.backend import OnnxRuntime
from facenet_validate.engines.onnxruntime.cuda_backend import OnnxRuntimeCuda
from facenet_validate.engines.openvino.backend import OpenVino
from facenet_validate.engines.tensorrt.backend import TensorRt, TensorRtRtx

if TYPE_CHECKING:
    from facenet_validate.engines.device.probe import Gpu

BACKENDS: tuple[type[Backend], ...] = (
    OnnxRuntime,
    OpenVino,
    OnnxRuntimeCuda,
    TensorRt,
    TensorRtRtx,
)
"""Every backend. ``auto`` asks those it may choose in this order; else it is the first, which is
installed everywhere."""

BACKEND_NAMES = tuple(backend.name for backend in BACKENDS)


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
    backend = next(known for known in BACKENDS if known.name == asked)
    version = backend.installed_version()
    if not version:
        raise SettingsError(
            f"{origin}: {asked}, which is not installed. Expected its library: {backend.install}."
        )
    return backend(version, f"asked for by {origin}", backend.why_not_here(gpu))


def _automatic(gpu: Gpu) -> Backend:
    why = "TensorRT is not installed"
    for backend in BACKENDS:
        version = backend.installed_version() if backend.automatic else ""
        if not version:
            continue
        reason = backend.why_not_automatic(gpu)
        if not reason:
            return backend(version, "it is installed and a CUDA device is visible")
        why = f"{backend.name} {version} is installed, but {reason}"
    return BACKENDS[0](BACKENDS[0].installed_version(), why)
