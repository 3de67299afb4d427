"""The anatomy of a source model, found by its structure: its image input and its embedding."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from facenet_validate.base.errors import ModelError
from facenet_validate.models.exported.graph_view import (
    GraphView,
    declared_shape,
    own_inputs,
    shape_text,
    type_name,
)
from facenet_validate.models.exported.head import refuse_classifier
from facenet_validate.models.exported.image_layout import Layout, image_layout, is_open
from facenet_validate.models.exported.normalisation import Norm, find_norm

IMAGE_SIZE = 160
"""Pixels a side of a FaceNet face, assumed where a source leaves them open."""

MOST_BATCH = 1024
"""Most faces of a fixed batch: the proof of a prepared model runs the source in full batches."""


@dataclass(frozen=True)
class ImageInput:
    """The input that faces go into.

    Attributes
    ----------
    name : str
        In the source.
    layout : str
        Planes (NCHW) or interleaved pixels (NHWC).
    batch : int or None
        Fixed batch size, None for a dynamic one.
    size : int
        Pixels a side.
    why : str
        How it was recognised.
    assumed : bool
        Whether the source leaves its size open, so that FaceNet's is assumed.
    """

    name: str
    layout: Layout
    batch: int | None
    size: int
    why: str
    assumed: bool = False

    @contextmanager
    def running(self) -> Iterator[None]:
        """Add to an error of running the source that the size of its images was assumed."""
        try:
            yield
        except ModelError as error:
            if not self.assumed:
                raise
            raise ModelError(
                f"{error} Or it reads another size: that of input {self.name!r} is open, so "
                f"{self.size} pixels were assumed. State H and W in the input's shape, such as "
                "[N, 3, 112, 112]."
            ) from error.__cause__

    def laid_out(self, images: NDArray[Any]) -> NDArray[Any]:
        """Return images ``(N, 3, H, W)`` in the layout that the source reads."""
        return images if self.layout == "NCHW" else images.transpose(0, 2, 3, 1)


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


def find_image(
    graph: onnx.GraphProto,
    *,
    source: str,
    name: str | None,
    types: tuple[int, ...] = (TensorProto.FLOAT,),
) -> ImageInput:
    """Return the input that faces go into: rank 4, 3 channels, read by a convolution in the end.

    An open side of colours is found from that convolution. Open sides of the image are FaceNet's.

    Parameters
    ----------
    types : tuple of int
        ``TensorProto.DataType`` that faces may be given in.

    Raises
    ------
    ModelError
        If there is none, or several and ``name`` picks none of them; all inputs are listed.
    """
    inputs = own_inputs(graph)
    listed = "; ".join(f"{v.name} {shape_text(declared_shape(v))}" for v in inputs) or "none"
    if name is None:
        found = [v for v in inputs if image_layout(graph, v) and _reaches_conv(graph, v.name)]
    else:
        found = [value for value in inputs if value.name == name]
    if len(found) != 1:
        what = "no image input" if not found else f"{len(found)} inputs that could be the image"
        if name is not None:
            what = f"no input {name!r}"
        raise ModelError(
            f"{source}: {what}; its inputs are: {listed}. Expected one of rank 4 with 3 channels "
            "that convolutions read; name it: facenet-validate prepare SRC --input NAME."
        )
    value = found[0]
    shape, layout = declared_shape(value), image_layout(graph, value)
    if layout is None:
        raise ModelError(
            f"{source}: input {value.name!r} has shape {shape_text(shape)}; expected "
            "[N, 3, H, W] or [N, H, W, 3], and where the sides are open a first convolution of 3 "
            "channels."
        )
    kind = value.type.tensor_type.elem_type
    if kind not in types:
        raise ModelError(
            f"{source}: input {value.name!r} is {type_name(kind)}; expected FLOAT: faces as "
            "(x − 127.5) / 128."
        )
    shape = shape or ["?"] * 4
    size, dynamic = _image_size(shape[2:] if layout == "NCHW" else shape[1:3], value.name, source)
    stored = "float32" if kind == TensorProto.FLOAT else type_name(kind)
    why = f"{stored} {shape_text(shape)}, " + (
        "the only input" if len(inputs) == 1 else "named with --input" if name else "the one of "
        f"{len(inputs)} inputs that is an image"
    )  # fmt: skip
    if is_open(shape[1 if layout == "NCHW" else 3]):
        why += "; its first convolution reads 3 channels"
    if dynamic:
        why += f"; its size is open, {IMAGE_SIZE} is FaceNet's"
    batch = shape[0] if isinstance(shape[0], int) and shape[0] > 0 else None
    check_batch(batch, source)
    return ImageInput(value.name, layout, batch, size, why, dynamic)


def check_batch(batch: int | None, source: str) -> None:
    """Check that a fixed batch is one that can be run.

    Raises
    ------
    ModelError
        If it has more than 1024 faces.
    """
    if batch is not None and batch > MOST_BATCH:
        raise ModelError(
            f"{source}: its batch is fixed at {batch:,}; expected at most {MOST_BATCH:,}. Export "
            "the model with a dynamic batch."
        )


def _image_size(sides: list[int | str], name: str, source: str) -> tuple[int, bool]:
    known = {side for side in sides if isinstance(side, int) and side > 0}
    if len(known) > 1 or any(side > 4096 for side in known):
        raise ModelError(
            f"{source}: input {name!r} takes images of {sides[0]}×{sides[1]}; expected square "
            "faces, such as 160×160."
        )
    return (known.pop(), False) if known else (IMAGE_SIZE, True)


def _reaches_conv(graph: onnx.GraphProto, name: str) -> bool:
    view = GraphView(graph, {}, name)
    return any(
        node.op_type in ("Conv", "QLinearConv") and not view.live.isdisjoint(node.output)
        for node in graph.node
    )


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
