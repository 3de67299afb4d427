"""Recipes: a precision and how it is reached, and the target it is for."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass
from typing import Any, Literal

Precision = Literal["fp32", "fp16", "int8"]
Target = Literal["cpu", "cpu-vnni"]

PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8")
TARGETS: tuple[Target, ...] = ("cpu", "cpu-vnni")


@dataclass(frozen=True)
class Int8Recipe:
    """How the INT8 graph is made.

    Attributes
    ----------
    target : str
        What it is for.
    activations, weights : str
        Integer types.
    weight_bits : int
        7 keeps pairs of products inside 16 bits, where the CPU's multiply-add saturates.
    percentile : float
        Share, in percent, of an activation's values inside its calibrated range.
    why : str
        Why this recipe for this target, for people.
    version : int
        Changes when the graph may change for the same inputs.
    """

    target: Target
    activations: str
    weights: str
    weight_bits: int
    percentile: float
    why: str
    version: int = 1

    def inputs(self) -> dict[str, Any]:
        """Return what an artefact made by this recipe depends on."""
        values = asdict(self)
        del values["why"]
        return values


def choose_target(cpu_flags: AbstractSet[str]) -> tuple[Target, str]:
    """Return the target of a CPU, and why.

    Without VNNI, ONNX Runtime multiplies unsigned by signed bytes with ``VPMADDUBSW``, which
    saturates sums of two products at 16 bits and silently ruins embeddings.
    """
    vnni = sorted(cpu_flags & {"avx512_vnni", "avx_vnni", "amx_int8", "asimddp"})
    if vnni:
        return "cpu-vnni", f"the CPU has {', '.join(vnni)}"
    return "cpu", "the CPU has no VNNI"


def int8_recipe(target: Target) -> Int8Recipe:
    """Return the INT8 recipe of a target."""
    if target == "cpu-vnni":
        return Int8Recipe(
            target, "uint8", "int8", 8, 99.999, "U8 activations, 8-bit weights: sums are exact"
        )
    return Int8Recipe(
        target, "uint8", "int8", 7, 99.999, "U8 activations, 7-bit weights: sums cannot saturate"
    )
