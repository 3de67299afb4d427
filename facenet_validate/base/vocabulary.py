"""Words that every room shares: precisions, and what recipes are for."""

from __future__ import annotations

from typing import Literal

Precision = Literal["fp32", "fp16", "int8"]
Target = Literal["cpu", "cpu-vnni", "tensorrt"]

PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8")
TARGETS: tuple[Target, ...] = ("cpu", "cpu-vnni", "tensorrt")
