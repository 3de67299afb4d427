"""Recipes: a precision and how it is reached, and the target it is for."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from facenet_validate.base.errors import SettingsError
from facenet_validate.base.vocabulary import Target

Method = Literal["minmax", "percentile", "entropy"]
Placement = Literal["tensors", "operands", "operands and concatenated"]
Around = Literal["fp16", "fp32"]

METHODS: tuple[Method, ...] = ("minmax", "percentile", "entropy")
AROUND: tuple[Around, ...] = ("fp16", "fp32")

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
    placement : {"tensors", "operands", "operands and concatenated"}
        ``tensors``: every tensor is stored in 8 bits, as ONNX Runtime's integer kernels need it.
        ``operands``: data of convolutions, the skip side of residual additions and pools are
        quantised; a convolution's sum goes into its addition unrounded, and a concatenation is
        rounded once, after it, as TensorRT fuses them.
        ``operands and concatenated``: the inputs of a concatenation are rounded too, with its
        scale. They give the same integers, and each can leave its kernel in 8 bits.
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
    around : {"fp32", "fp16"}
        Type of the floating point around INT8: biases, scales, additions, nodes to keep. The
        image and the embedding tail are FP32 in both.
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
    around: Around = "fp32"
    version: int = 2

    @property
    def symmetric(self) -> bool:
        """Whether activation ranges are symmetric around zero."""
        return self.activations == "int8"

    def inputs(self) -> dict[str, Any]:
        """Return the part of an artefact's cache key that this recipe decides."""
        values = asdict(self)
        del values["why"]
        if self.around == "fp32":
            # Recipes had no other choice once, and their graphs are still in caches.
            del values["around"]
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
        return f"INT8 for {self.summary()}; {', '.join(extras)}"

    def summary(self) -> str:
        """Return target and reasons in a few words, for people."""
        # Integer kernels of a CPU have FP32 around them, always.
        around = f"; {self.around.upper()} around" if self.target == "tensorrt" else ""
        return f"{self.target}: {self.why}{around}"


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
        "tensorrt",
        "int8",
        8,
        "operands and concatenated",
        "symmetric S8, fusable by TensorRT's Q/DQ rules",
        around="fp16",
    ),
}


def int8_recipe(target: Target, around: Around | None = None) -> Int8Recipe:
    """Return the INT8 recipe of a target.

    Parameters
    ----------
    around : str or None
        Floating point around INT8; None for the target's own. A recipe for CPUs has FP32, whatever
        is asked for: see `check_around`.
    """
    recipe = _RECIPES[target]
    if target == "tensorrt" and around == "fp32":
        return replace(recipe, placement="operands", around="fp32")
    return recipe


def check_around(target: Target, origin: str) -> None:
    """Check that a target leaves a choice of the floating point around INT8.

    Parameters
    ----------
    origin : str
        Where the choice was made, for messages.

    Raises
    ------
    SettingsError
        If it is a CPU's.
    """
    if target != "tensorrt":
        raise SettingsError(
            f"{origin} means nothing to the target {target}: integer kernels of a CPU have FP32 "
            "around them. Leave it out, or choose the target tensorrt."
        )
