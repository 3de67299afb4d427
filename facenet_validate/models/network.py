"""What a FaceNet graph consists of: blocks, multiply-adds, and which of them are in INT8."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto

from facenet_validate.errors import ModelError
from facenet_validate.models.quantization.recipes import Precision

_CONVOLUTIONS = ("Conv", "QLinearConv", "ConvInteger")
_DENSE = ("MatMul", "Gemm", "QLinearMatMul", "MatMulInteger")
_QUANTIZED = ("Conv", "MaxPool", "AveragePool", "GlobalAveragePool", "Concat")
_INTEGER = ("QLinearConv", "ConvInteger", "QLinearMatMul", "MatMulInteger")
_CARRIERS = ("DequantizeLinear", "QuantizeLinear", "Cast", "Transpose", "Identity")


@dataclass(frozen=True)
class Block:
    """A stretch of the network.

    Attributes
    ----------
    name : str
        ``stem``, ``residual 01`` …, ``reduction 01`` …, ``pool``.
    nodes : tuple of str
        Names of its convolutions, pools, concatenations and residual addition, in graph order.
    """

    name: str
    nodes: tuple[str, ...]


def multiply_adds(model: onnx.ModelProto) -> dict[str, int]:
    """Return the multiply-adds an image of every convolution and dense layer, by node name.

    Raises
    ------
    ModelError
        If the size of a layer's output cannot be inferred, as behind a runtime's own operators.
    """
    shapes = _shapes(model)
    weights = _WeightShapes(model)
    counted = {}
    for node in model.graph.node:
        if node.op_type not in (*_CONVOLUTIONS, *_DENSE):
            continue
        weight = weights.of(node.input[3] if node.op_type.startswith("QLinear") else node.input[1])
        if not weight:
            continue
        places: list[int] = []
        if node.op_type in _CONVOLUTIONS:
            places = shapes.get(node.output[0], [])[2:]
            if len(places) != 2 or not all(places):
                raise ModelError(
                    f"the size of what {node.op_type} {node.output[0]!r} gives is not known, so "
                    "its multiply-adds cannot be counted."
                )
        counted[node.name] = int(np.prod(weight, dtype=np.int64) * np.prod(places, dtype=np.int64))
    return counted


def precision_shares(model: onnx.ModelProto) -> dict[Precision, float]:
    """Return the share of multiply-adds in each precision, 0 to 1.

    Raises as `multiply_adds` does.

    A layer is INT8 where it is an integer operator, or where both its data and its weights come out
    of ``DequantizeLinear``: what a backend fuses into integer kernels. Otherwise its weights' type
    is its precision.
    """
    producers = {name: node.op_type for node in model.graph.node for name in node.output}
    halves = {t.name for t in model.graph.initializer if t.data_type == TensorProto.FLOAT16}
    counted = multiply_adds(model)
    sums: dict[Precision, int] = {"fp32": 0, "fp16": 0, "int8": 0}
    for node in model.graph.node:
        if node.name not in counted:
            continue
        if node.op_type in _INTEGER or all(
            producers.get(name) == "DequantizeLinear" for name in node.input[:2]
        ):
            sums["int8"] += counted[node.name]
        else:
            sums["fp16" if node.input[1] in halves else "fp32"] += counted[node.name]
    total = max(sum(counted.values()), 1)
    return {precision: count / total for precision, count in sums.items()}


def int8_share(model: onnx.ModelProto) -> float:
    """Return the share of multiply-adds whose operands are all 8-bit integers, 0 to 1.

    Raises as `multiply_adds` does.
    """
    return precision_shares(model)["int8"]


def blocks(model: onnx.ModelProto) -> list[Block]:
    """Return all that a recipe quantises as blocks, in order.

    A residual block is what lies between a tensor and the ``Add`` that reads it again. What lies
    between residual blocks is a reduction, the stem before the first, or the pool behind the last.
    """
    block_of = _residual_blocks(model)
    found: list[tuple[int | None, list[onnx.NodeProto]]] = []
    for node in model.graph.node:
        if node.op_type not in _QUANTIZED and node.name not in block_of:
            continue
        block = block_of.get(node.name)
        if not found or found[-1][0] != block:
            found.append((block, []))
        found[-1][1].append(node)
    return _named(found)


def _residual_blocks(model: onnx.ModelProto) -> dict[str, int]:
    """Return the number of the ``Add`` that closes the block of each node in one."""
    producers = {name: node for node in model.graph.node for name in node.output}
    order = {node.name: index for index, node in enumerate(model.graph.node)}
    block_of: dict[str, int] = {}
    for node in model.graph.node:
        if node.op_type != "Add" or any(name not in producers for name in node.input):
            continue
        skip, branch = sorted(node.input, key=lambda name: order[producers[name].name])
        seen: set[str] = set()
        waiting = [branch]
        while waiting:
            name = waiting.pop()
            if name in seen:
                continue
            seen.add(name)
            if name != skip and name in producers:
                waiting += [n for n in producers[name].input if n in producers]
        inside = [producers[name] for name in seen - {skip}]
        # Two branches that are only added are no block around a skip.
        if skip in seen and not any(made.name in block_of for made in inside):
            block_of[node.name] = order[node.name]
            block_of |= {m.name: order[node.name] for m in inside if m.op_type in _QUANTIZED}
    return block_of


def _named(found: list[tuple[int | None, list[onnx.NodeProto]]]) -> list[Block]:
    named, residuals, others = [], 0, 0
    for block, nodes in found:
        if block is not None:
            residuals += 1
            name = f"residual {residuals:02}"
        elif not any(node.op_type == "Conv" for node in nodes):
            name = "pool"
        else:
            name = f"reduction {others:02}" if others else "stem"
            others += 1
        named.append(Block(name, tuple(node.name for node in nodes)))
    return named


def _shapes(model: onnx.ModelProto) -> dict[str, list[int]]:
    inferred = onnx.shape_inference.infer_shapes(model)
    values = [*inferred.graph.value_info, *inferred.graph.output, *inferred.graph.input]
    return {
        value.name: [int(dim.dim_value) for dim in value.type.tensor_type.shape.dim]
        for value in values
    }


class _WeightShapes:
    """Shapes of weights, looked up through the operators that carry them unchanged."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._shapes = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
        self._carriers = {
            name: node.input[0]
            for node in model.graph.node
            if node.op_type in _CARRIERS
            for name in node.output
        }

    def of(self, name: str) -> list[int]:
        while name in self._carriers and name not in self._shapes:
            name = self._carriers[name]
        return self._shapes.get(name, [])
