"""The layout of an image: which axis holds its colours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import onnx

from facenet_validate.models.exported.graph_view import declared_shape
from facenet_validate.models.passes import constants_of, makers_of, whole

Layout = Literal["NCHW", "NHWC"]

_COLOURS = 3
_LAYOUTS: dict[int, Layout] = {1: "NCHW", 3: "NHWC"}
_CONVOLUTIONS = ("Conv", "QLinearConv", "ConvInteger")
_ELEMENTWISE = (
    "Identity", "Cast", "Pad", "Dropout", "Clip", "BatchNormalization", "Add", "Sub", "Mul", "Div",
    "QuantizeLinear", "DequantizeLinear",
)  # fmt: skip
"""Operators that leave every axis in its place."""


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
