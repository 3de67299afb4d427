"""Recipes: a precision and how it is reached, and the target it is for."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass
from typing import Any, Literal

from facenet_validate.base.vocabulary import Target

Method = Literal["minmax", "percentile", "entropy"]
Placement = Literal["tensors", "operands"]

METHODS: tuple[Method, ...] = ("minmax", "percentile", "entropy")

MINIMUM_CALIBRATION_IMAGES = 500

RECIPE_KEY = "facenet_validate.recipe"
"""The key of a graph's metadata under which JSON describes the recipe it was made by."""


@dataclass(frozen=True)
class Int8Recipe:
    """How the INT8 graph is made.

    Attributes
    ----------
    target : {"cpu", "cpu-vnni", "tensorrt"}
        The kind of device the graph is for.
    activations : {"uint8", "int8"}
        Unsigned with a zero point, or signed and symmetric.
    weight_bits : int
        With 7, sums of two products fit 16 bits, where a CPU without VNNI saturates.
    placement : {"tensors", "operands"}
        ``tensors``: every tensor is stored in 8 bits, as ONNX Runtime's integer kernels need it.
        ``operands``: data of convolutions, the skip side of residual additions and pools are
        quantised; a convolution's sum goes into its addition unrounded, and a concatenation is
        rounded once, after it, as TensorRT fuses them.
    why : str
        Why these choices for this target, for people.
    method : {"percentile", "minmax", "entropy"}
        How ranges follow from the calibration images.
    percentile : float
        Share, in percent, of a tensor's values inside its range.
    equalized : bool
        Whether channels get like ranges first.
    bias_corrected : bool
        Whether biases make up for the mean error that rounded weights cause.
    keep : tuple of str
        Convolutions and residual additions left in floating point, by name.
    version : int
        Changes when the same inputs may give another graph.
    """

    target: Target
    activations: Literal["uint8", "int8"]
    weight_bits: int
    placement: Placement
    why: str
    method: Method = "percentile"
    percentile: float = 99.999
    equalized: bool = True
    bias_corrected: bool = True
    keep: tuple[str, ...] = ()
    version: int = 2

    @property
    def symmetric(self) -> bool:
        """Whether activation ranges are symmetric around zero."""
        return self.activations == "int8"

    def inputs(self) -> dict[str, Any]:
        """Return the part of an artefact's cache key that this recipe decides."""
        values = asdict(self)
        del values["why"]
        return values

    def text(self, images: int) -> str:
        """Describe the recipe in a line, for people."""
        how = f"percentile {self.percentile}" if self.method == "percentile" else self.method
        extras = [
            "per-channel weights",
            *(["equalized channels"] if self.equalized else []),
            *(["corrected biases"] if self.bias_corrected else []),
            f"{how} over {images} images",
            *([f"{len(self.keep)} nodes left in floating point"] if self.keep else []),
        ]
        return f"INT8 for {self.target}: {self.why}; {', '.join(extras)}"


def choose_target(cpu_flags: AbstractSet[str]) -> tuple[Target, str]:
    """Return the target of a CPU, and why.

    Without VNNI, ONNX Runtime multiplies unsigned by signed bytes with ``VPMADDUBSW``, which
    saturates sums of two products at 16 bits and silently ruins embeddings.
    """
    vnni = sorted(cpu_flags & {"avx512_vnni", "avx_vnni", "amx_int8", "asimddp"})
    if vnni:
        return "cpu-vnni", f"the CPU has {', '.join(vnni)}"
    return "cpu", "the CPU has no VNNI"


_RECIPES: dict[Target, Int8Recipe] = {
    "cpu": Int8Recipe(
        "cpu", "uint8", 7, "tensors", "U8 activations, 7-bit weights: sums cannot saturate"
    ),
    "cpu-vnni": Int8Recipe(
        "cpu-vnni", "uint8", 8, "tensors", "U8 activations, 8-bit weights: sums are exact"
    ),
    "tensorrt": Int8Recipe(
        "tensorrt", "int8", 8, "operands", "symmetric S8, fusable by TensorRT's Q/DQ rules"
    ),
}


def int8_recipe(target: Target) -> Int8Recipe:
    """Return the INT8 recipe of a target."""
    return _RECIPES[target]
