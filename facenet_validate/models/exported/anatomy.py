"""The anatomy of a source model, found by its structure: its image input and its embedding."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import onnx
from onnx import TensorProto

from facenet_validate.base.errors import ModelError
from facenet_validate.models.exported.graph_view import (
    GraphView,
    shape_text,
)
from facenet_validate.models.exported.head import refuse_classifier
from facenet_validate.models.exported.image_input import ImageInput
from facenet_validate.models.exported.normalisation import Norm, find_norm


@dataclass(frozen=True)
class Embedding:
    """The output that is the embedding.

    Attributes
    ----------
    name : str
        In the source.
    size : int
        D.
    features : str
        The tensor before the norm, or the embedding itself.
    norm : Norm or None
        The norm it comes out of.
    why : str
        How it was recognised.
    """

    name: str
    size: int
    features: str
    norm: Norm | None
    why: str


@dataclass(frozen=True)
class Anatomy:
    """The parts found in a source model, and the size of the prepared model.

    Attributes
    ----------
    image, embedding
        The input of faces and the output of embeddings.
    bottleneck : bool
        Whether a dense layer follows the pool.
    batch_norms : int
        Batch norms the source has as nodes of their own.
    parameters : int
        Numbers in the prepared model's weights.
    multiply_adds : int
        Multiply-adds of the prepared model for one image.
    """

    image: ImageInput
    embedding: Embedding
    bottleneck: bool
    batch_norms: int
    parameters: int
    multiply_adds: int

    def lines(self) -> list[tuple[str, str]]:
        """Return (subject, what was found and why) for people."""
        image, embedding = self.image, self.embedding
        batch = "dynamic" if image.batch is None else f"fixed at {image.batch}; made dynamic"
        planes = "planes (NCHW): 3 channels at axis 1"
        if image.layout == "NHWC":
            planes = "interleaved pixels (NHWC): 3 channels at axis 3; turned into planes"
        folded = (
            f"{self.batch_norms} as nodes of their own; folded"
            if self.batch_norms
            else "folded already"
        )
        source = "the bottleneck" if self.bottleneck else "the pooled features: no bottleneck"
        return [
            ("input", f"{image.name}: {image.why}"),
            ("layout", planes),
            ("batch", batch),
            ("image size", f"{image.size}×{image.size}"),
            ("embedding", f"{embedding.name}: {embedding.size} values, {embedding.why}"),
            ("embedding is", source),
            ("normalisation", self._normalisation()),
            ("batch norms", folded),
            ("parameters", f"{self.parameters:,}"),
            ("multiply-adds", f"{self.multiply_adds:,} an image"),
        ]

    def _normalisation(self) -> str:
        norm = self.embedding.norm
        if norm is None:
            return "none found; the L2 norm is added"
        spelled = ", ".join(norm.spelling)
        if norm.unit:
            return f"L2, spelled {spelled}; written as FaceNet does"
        return f"to another length than 1, spelled {spelled}; replaced by the L2 norm"


def find_embedding(
    view: GraphView, model: onnx.ModelProto, *, source: str, name: str | None
) -> Embedding:
    """Return the output that is the embedding.

    One ``[N, D]`` or ``[N, D, 1, 1]`` output is it; of features and their norm the norm is.

    Raises
    ------
    ModelError
        If it is a classifier's, or there is none, or several and ``name`` picks none; the outputs
        are listed.
    """
    outputs = [value.name for value in view.graph.output]
    asked = [name] if name is not None else outputs
    candidates = [o for o in asked if o in view.live and view.features(o) > 1]
    if not candidates:
        for output in asked:
            if output in view.makers:
                refuse_classifier(view, output, source=source)
        raise ModelError(
            f"{source}: no embedding; "
            + ("its outputs are" if name is None else "asked for was")
            + f": {listed(view.shapes, asked)}. Expected [N, D] or [N, D, 1, 1] made from the "
            "image; name its tensor with --output NAME."
        )
    norms = {output: find_norm(view, model, output) for output in candidates}
    chosen, why = _chosen(view, candidates, norms)
    if chosen is None:
        raise ModelError(
            f"{source}: {len(candidates)} outputs could be the embedding: "
            f"{listed(view.shapes, candidates)}. Pick one: facenet-validate prepare "
            "SRC --output NAME."
        )
    if name is not None:
        why = "named with --output"
    elif len(candidates) == 1:
        why = "the only output" if len(outputs) == 1 else "the only output with one row a face"
    norm = norms[chosen]
    while norm is not None and (inner := find_norm(view, model, norm.features)) is not None:
        # Normalised twice: an exporter's norm around a network that has one.
        norm = Norm(inner.features, (*inner.spelling, *norm.spelling), norm.unit)
    features = norm.features if norm is not None else chosen
    refuse_classifier(view, features, source=source)
    return Embedding(chosen, view.features(chosen), features, norm, why)


def _chosen(
    view: GraphView, candidates: list[str], norms: dict[str, Norm | None]
) -> tuple[str | None, str]:
    by_origin = {view.origin(output): output for output in reversed(candidates)}
    if len(by_origin) == 1:
        return candidates[0], "the same values under several names"
    for output, norm in norms.items():
        if norm is not None and set(by_origin) == {view.origin(output), view.origin(norm.features)}:
            return output, "the normalised one of features and their norm"
    return None, ""


def listed(shapes: Mapping[str, tuple[int, ...]], names: list[str]) -> str:
    """Return tensors and their shapes for people; the first side of several is the batch."""

    def text(name: str) -> str:
        if name not in shapes:
            return name
        sides = [side or "?" for side in shapes[name]]
        return f"{name} {shape_text(['N', *sides[1:]] if len(sides) > 1 else sides)}"

    return "; ".join(map(text, names))


def parameter_count(model: onnx.ModelProto) -> int:
    """Return the number of weights of a model, in floating point or 8 bits."""
    kinds = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT8, TensorProto.UINT8)
    return sum(
        int(math.prod(tensor.dims))
        for tensor in model.graph.initializer
        if tensor.data_type in kinds and tensor.dims
    )
