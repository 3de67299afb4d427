"""Prepared model and calibration faces → the INT8 graph of a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from facenet_validate.base.errors import ModelError
from facenet_validate.models.quantization.calibration import (
    Activation,
    Progress,
    observe_activations,
    observe_channels,
)
from facenet_validate.models.quantization.equalization import equalize
from facenet_validate.models.quantization.half_around import check_room, half_around_int8
from facenet_validate.models.quantization.precision import proven
from facenet_validate.models.quantization.qdq import insert_qdq
from facenet_validate.models.quantization.recipes import Int8Recipe


@dataclass(frozen=True)
class Calibrated:
    """A network ready to be quantised.

    Attributes
    ----------
    model : onnx.ModelProto
        The prepared model, equalized if that was asked for.
    activations : mapping
        Every tensor's values over the calibration images.
    """

    model: onnx.ModelProto
    activations: Mapping[str, Activation]


def calibrate(
    model: onnx.ModelProto,
    images: NDArray[np.float32],
    *,
    equalized: bool,
    progress: Progress | None = None,
) -> Calibrated:
    """Observe a prepared model over the calibration images, in two passes.

    Parameters
    ----------
    images : ndarray of shape (N, 3, H, W)
        Standardized faces.
    equalized : bool
        Whether channels get like ranges after the first pass.
    progress : callable, optional
        Called with (images done, images in all) over both passes.
    """
    total = 2 * len(images)

    def shown(offset: int) -> Progress | None:
        return progress and (lambda done, _: progress(offset + done, total))

    channels = observe_channels(model, images, progress=shown(0))
    if equalized:
        model, channels = equalize(model, channels)
    activations = observe_activations(model, images, channels, progress=shown(len(images)))
    return Calibrated(model, activations)


def to_int8(calibrated: Calibrated, recipe: Int8Recipe) -> onnx.ModelProto:
    """Return the Q/DQ graph of a recipe.

    Raises
    ------
    ModelError
        If the recipe keeps a node that is not in the graph, quantises nothing, or has FP16 around
        INT8 and the network's values do not fit FP16.
    """
    names = {node.name for node in calibrated.model.graph.node}
    unknown = sorted(set(recipe.keep) - names)
    if unknown:
        raise ModelError(
            f"the recipe keeps {unknown[0]!r} in floating point, which is no node of the graph; "
            f"those are named like {min(names)!r}."
        )
    quantized = quantized_graph(calibrated, recipe)
    quantized.producer_name = "facenet_validate"
    # The metadata describes the FP32 model.
    del quantized.metadata_props[:]
    return proven(quantized, "int8")


def quantized_graph(calibrated: Calibrated, recipe: Int8Recipe) -> onnx.ModelProto:
    """Return the graph of a recipe; one that keeps every node has no Q/DQ pair.

    Raises
    ------
    ModelError
        If the recipe has FP16 around INT8 and the network's values do not fit FP16.
    """
    if recipe.around == "fp16":
        check_room(calibrated.model, calibrated.activations)
    quantized = insert_qdq(calibrated.model, recipe, calibrated.activations)
    return half_around_int8(quantized) if recipe.around == "fp16" else quantized
