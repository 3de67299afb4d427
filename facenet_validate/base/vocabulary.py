"""Words that every room shares: precisions, targets of recipes, names of a model's edges."""

from __future__ import annotations

from typing import Literal

Precision = Literal["fp32", "fp16", "int8"]
Target = Literal["cpu", "cpu-vnni", "tensorrt"]

PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8")
TARGETS: tuple[Target, ...] = ("cpu", "cpu-vnni", "tensorrt")

INPUT_NAME = "input"
"""The input of a prepared model: float32 ``[N, 3, H, H]``, standardized RGB faces."""

OUTPUT_NAME = "embeddings"
"""The output of a prepared model: float32 ``[N, D]``, rows of length 1."""
