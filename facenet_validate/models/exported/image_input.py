"""The image input of a source model: its layout, its batch and the size of its images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from facenet_validate.base.errors import ModelError
from facenet_validate.models.exported.graph_view import (
    GraphView,
    declared_shape,
    own_inputs,
    shape_text,
    type_name,
)
from facenet_validate.models.passes import constants_of, makers_of, whole

IMAGE_SIZE = 160
"""Pixels a side of a FaceNet face, assumed where a source leaves them open."""

MOST_BATCH = 1024
"""Most faces of a fixed batch: the proof of a prepared model runs the source in full batches."""

Layout = Literal["NCHW", "NHWC"]

_COLOURS = 3
_LAYOUTS: dict[int, Layout] = {1: "NCHW", 3: "NHWC"}
_CONVOLUTIONS = ("Conv", "QLinearConv", "ConvInteger")
_ELEMENTWISE = (
    "Identity", "Cast", "Pad", "Dropout", "Clip", "BatchNormalization", "Add", "Sub", "Mul", "Div",
    "QuantizeLinear", "DequantizeLinear",
)  # fmt: skip
"""Operators that leave every axis in its place."""


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


def with_inner_batch(graph: onnx.GraphProto, image: ImageInput, source: str) -> ImageInput:
    """Return the image with the batch that a reshape inside a graph fixes, if one does."""
    if image.batch is not None:
        return image
    view = GraphView(graph, {}, image.name)
    constants = constants_of(graph)
    targets = [
        numpy_helper.to_array(constants[node.input[1]])
        for node in graph.node
        if node.op_type == "Reshape" and node.input[0] in view.live and node.input[1] in constants
    ]
    fixed = {
        int(target[0])
        for target in targets
        if target.shape == (2,) and target.dtype == np.int64 and target[0] > 0
    }
    if len(fixed) != 1:
        return image
    (batch,) = fixed
    check_batch(batch, source)
    return replace(image, batch=batch, why=f"{image.why}; a reshape inside fixes the batch")


# -- the layout of an image ----------------------------------------------------------------------


def image_layout(graph: onnx.GraphProto, value: onnx.ValueInfoProto) -> Layout | None:
    """Return the layout of an input that can be the image; None for any other input.

    A declared side of 3 is the axis of colours. Where that side is open, as in ``[b, c, h, w]``,
    the weights of the first convolution tell the axis.
    """
    shape = declared_shape(value)
    if len(shape) == 4:
        for axis, layout in _LAYOUTS.items():
            if shape[axis] == _COLOURS:
                return layout
    elif value.type.tensor_type.HasField("shape"):
        return None
    axis = _axis_of_colours(graph, value.name)
    if axis not in _LAYOUTS or (len(shape) == 4 and not is_open(shape[axis])):
        return None
    return _LAYOUTS[axis]


def is_open(side: int | str) -> bool:
    """Say whether a declared side leaves its size open."""
    return isinstance(side, str) or side < 1


def _axis_of_colours(graph: onnx.GraphProto, image: str) -> int:
    """Return the image's axis that a convolution reads as three channels; 0 if none does."""
    constants, makers = constants_of(graph), makers_of(graph)
    axes = {image: (0, 1, 2, 3)}
    for node in graph.node:  # in order: the axes of what a node reads are known
        read = axes.get(node.input[0]) if node.input else None
        if read is None:
            continue
        if node.op_type in _CONVOLUTIONS:
            weight = node.input[3 if node.op_type == "QLinearConv" else 1]
            shape = _weight_shape(weight, constants, makers)
            if len(shape) == 4 and shape[1] * whole(node, "group", 1) == _COLOURS:
                return read[1]
        elif node.op_type == "Transpose":
            turn = _turn(node) or [3, 2, 1, 0]
            if sorted(turn) == [0, 1, 2, 3]:
                axes[node.output[0]] = (read[turn[0]], read[turn[1]], read[turn[2]], read[turn[3]])
        elif node.op_type in _ELEMENTWISE:
            axes[node.output[0]] = read
    return 0


def _weight_shape(
    name: str, constants: Mapping[str, onnx.TensorProto], makers: Mapping[str, onnx.NodeProto]
) -> list[int]:
    """Return a weight's shape, found through the operators that turn or convert the weight."""
    turns = []
    while name not in constants and name in makers:
        node = makers[name]
        if node.op_type == "Transpose":
            turns.append(_turn(node))
        elif node.op_type not in _ELEMENTWISE:
            return []
        name = node.input[0]
    shape = list(constants[name].dims) if name in constants else []
    for turn in reversed(turns):
        shape = [shape[axis] for axis in turn] if len(turn) == len(shape) else shape[::-1]
    return shape


def _turn(node: onnx.NodeProto) -> list[int]:
    return next((list(a.ints) for a in node.attribute if a.name == "perm"), [])
