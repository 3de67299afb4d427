"""The two TensorRT packages by name: one of them is a backend's library."""

from __future__ import annotations

from typing import Literal

PlanBackend = Literal["tensorrt", "tensorrt-rtx"]

NAMES: dict[PlanBackend, str] = {"tensorrt": "TensorRT", "tensorrt-rtx": "TensorRT for RTX"}
"""What people call them."""

MODULES: dict[PlanBackend, tuple[str, ...]] = {
    "tensorrt": ("tensorrt",),
    "tensorrt-rtx": ("tensorrt_rtx", "tensorrt_rtx_bindings"),
}
"""The names under which they are imported."""
