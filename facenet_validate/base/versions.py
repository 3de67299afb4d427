"""Versions of what a result depends on, without importing any of it."""

from __future__ import annotations

import platform
from importlib import metadata

ONNX_RUNTIMES = ("onnxruntime", "onnxruntime-gpu")


def distribution_version(*names: str) -> str:
    """Return the version of the first distribution that is installed; empty if none is."""
    for name in names:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return ""


def onnxruntime_version() -> str:
    """Return ONNX Runtime's version, by whichever name it is installed."""
    return distribution_version(*ONNX_RUNTIMES)


def graph_tools() -> str:
    """Return what graphs are written with."""
    return f"onnx {distribution_version('onnx')}, onnxruntime {onnxruntime_version()}"


def platform_text() -> str:
    """Return the operating system and architecture."""
    return f"{platform.system()} {platform.machine()}"
