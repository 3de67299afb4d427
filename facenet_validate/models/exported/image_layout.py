"""Where an image's colours are, told by the first convolution that reads it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import onnx

from facenet_validate.models.exported.graph_view import declared_shape

Layout = Literal["NCHW", "NHWC"]

_COLOURS = 3
_LAYOUTS: dict[int, Layout] = {1: "NCHW", 3: "NHWC"}
_CONVOLUTIONS = ("Conv", "QLinearConv", "ConvInteger")
_ELEMENTWISE = (
    "Identity", "Cast", "Pad", "Dropout", "Clip", "BatchNormalization", "Add", "Sub", "Mul", "Div",
    "QuantizeLinear", "DequantizeLinear",
)  # fmt: skip
"""What leaves every axis in its place."""


def image_layout(graph: onnx.GraphProto, value: onnx.ValueInfoProto) -> Layout | None:
    """Return the layout of an input that can be the image, None of any other.

    A declared side of 3 tells it. Where the sides of colours are open, as in ``[b, c, h, w]``, the
    weights of the first convolution do.
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
    weights = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    axes = {image: (0, 1, 2, 3)}
    for node in graph.node:  # in order: what is read is known before
        read = axes.get(node.input[0]) if node.input else None
        if read is None:
            continue
        if node.op_type in _CONVOLUTIONS:
            place = 3 if node.op_type == "QLinearConv" else 1
            shape = _weight_shape(node.input[place], weights, makers)
            group = next((a.i for a in node.attribute if a.name == "group"), 1)
            if len(shape) == 4 and shape[1] * group == _COLOURS:
                return read[1]
        elif node.op_type == "Transpose":
            turn = next((list(a.ints) for a in node.attribute if a.name == "perm"), [3, 2, 1, 0])
            if sorted(turn) == [0, 1, 2, 3]:
                axes[node.output[0]] = (read[turn[0]], read[turn[1]], read[turn[2]], read[turn[3]])
        elif node.op_type in _ELEMENTWISE:
            axes[node.output[0]] = read
    return 0


def _weight_shape(
    name: str, weights: Mapping[str, list[int]], makers: Mapping[str, onnx.NodeProto]
) -> list[int]:
    """Return a constant's shape, looked up through what moves or converts it."""
    turns = []
    while name not in weights and name in makers:
        node = makers[name]
        if node.op_type == "Constant" and node.attribute and node.attribute[0].HasField("t"):
            shape = list(node.attribute[0].t.dims)
            break
        if node.op_type == "Transpose":
            turns.append(next((list(a.ints) for a in node.attribute if a.name == "perm"), []))
        elif node.op_type not in _ELEMENTWISE:
            return []
        name = node.input[0]
    else:
        shape = weights.get(name, [])
    for turn in reversed(turns):
        shape = [shape[axis] for axis in turn] if len(turn) == len(shape) else shape[::-1]
    return shape
