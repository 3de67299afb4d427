"""Multiply-adds of a layer: of convolutions and of products of matrices."""

from __future__ import annotations

from math import prod

import onnx

from facenet_validate.base.errors import ModelError
from facenet_validate.models.operands import Tensors
from facenet_validate.models.passes import described, whole

CONVOLUTIONS = ("Conv", "QLinearConv", "ConvInteger", "FusedConv")
DENSE = (
    "MatMul", "Gemm", "QLinearMatMul", "MatMulInteger", "FusedMatMul", "FusedGemm", "QGemm",
    "MatMulIntegerToFloat",
)  # fmt: skip
LAYERS = (*CONVOLUTIONS, *DENSE)
WEIGHTS_FOURTH = ("QLinearConv", "QLinearMatMul", "QGemm")
"""Operators whose first operand is followed by a scale and a zero point."""

_Sides = tuple[int, ...]


def operands(node: onnx.NodeProto) -> tuple[str, str]:
    """Return the two tensors that a layer multiplies, in order."""
    return node.input[0], node.input[3 if node.op_type in WEIGHTS_FOURTH else 1]


def multiplied(node: onnx.NodeProto, tensors: Tensors) -> int:
    """Return the multiply-adds of a layer, for the batch of the given shapes.

    Raises
    ------
    ModelError
        If a size that it depends on is not known.
    """
    first, second = (tensors.shapes.get(name, ()) for name in operands(node))
    made = tensors.shapes.get(node.output[0], ())
    if node.op_type in CONVOLUTIONS:
        return _convolution(node, second, made)
    return _product(node, first, second, made)


def _convolution(node: onnx.NodeProto, weight: _Sides, made: _Sides) -> int:
    if not weight or not all(weight):
        raise ModelError(
            f"the size of the weights of {described(node)} is not known, so its multiply-adds "
            "cannot be counted."
        )
    if len(made) != len(weight) or not all(made):
        raise ModelError(
            f"the size of what {node.op_type} {node.output[0]!r} gives is not known, so its "
            "multiply-adds cannot be counted."
        )
    places = made[1:-1] if whole(node, "channels_last") else made[2:]
    return prod(weight) * made[0] * prod(places)


def _product(node: onnx.NodeProto, first: _Sides, second: _Sides, made: _Sides) -> int:
    """Return the multiply-adds of a product: values of the result times the side they sum over."""
    if whole(node, "transBatchA") or whole(node, "transBatchB"):
        first = second = ()
    left = _turned(first, whole(node, "transA"))
    right = _turned(second, whole(node, "transB"))
    # A vector is a row on the left, a column on the right.
    left = (1, *left) if len(left) == 1 else left
    right = (*right, 1) if len(right) == 1 else right
    inner = (left[-1] if left else 0) or (right[-2] if right else 0)
    if left and right and all(left) and all(right):
        depth = max(len(left), len(right)) - 2
        over, under = ((*(1,) * (depth + 2 - len(s)), *s)[:depth] for s in (left, right))
        values = prod(map(max, over, under)) * left[-2] * right[-1]
    else:
        values = prod(made) if made else 0
    if not inner or not values:
        raise ModelError(
            f"the sizes of what {described(node)} multiplies are not known, so its multiply-adds "
            "cannot be counted."
        )
    return int(inner * values)


def _turned(sides: _Sides, turn: int) -> _Sides:
    return (*sides[:-2], sides[-1], sides[-2]) if turn and len(sides) > 1 else sides
