"""The blocks of a FaceNet graph, its multiply-adds, and the precisions they are computed in.

A layer is named by its first output: names of nodes may be missing or equal, those of tensors not.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import onnx
from onnx import TensorProto

from facenet_validate.base.errors import ModelError
from facenet_validate.models.layers import LAYERS, WEIGHTS_FOURTH, multiplied, operands
from facenet_validate.models.operands import EIGHT_BITS, Tensors, tensors_of_graph, type_text
from facenet_validate.models.passes import (
    described,
    inner_nodes,
    is_standard,
    makers_of,
    read_nodes,
)

_INTEGER = (*WEIGHTS_FOURTH, "ConvInteger", "MatMulInteger", "MatMulIntegerToFloat")
_QUANTIZED = ("Conv", "MaxPool", "AveragePool", "GlobalAveragePool", "Concat")
_UNCOUNTED = (
    "ConvTranspose", "DeformConv", "Einsum", "RNN", "GRU", "LSTM", "Attention", "Loop", "Scan",
)  # fmt: skip
"""Standard operators whose multiply-adds are not counted here."""

_COUNTLESS = (
    "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinear", "Gelu", "FastGelu",
    "QuickGelu", "BiasGelu", "NhwcMaxPool", "FusedBatchNorm",
)  # fmt: skip
"""Beginnings of names: these operators of a runtime have no weights to multiply with."""

_FLOATING: dict[int, str] = {TensorProto.FLOAT: "fp32", TensorProto.FLOAT16: "fp16"}


@dataclass(frozen=True)
class Block:
    """A stretch of the network.

    Attributes
    ----------
    name : str
        ``stem``, ``residual 01`` …, ``reduction 01`` …, ``pool``.
    nodes : tuple of str
        First outputs of its convolutions, pools, concatenations and residual addition, in graph
        order.
    """

    name: str
    nodes: tuple[str, ...]


def multiply_adds(model: onnx.ModelProto) -> dict[str, int]:
    """Return the multiply-adds an image of every convolution and dense layer, by first output.

    A product of two activations counts like one with weights. A layer that no output needs does not
    count. A layer that reads weights alone does not count either: it is computed once, not for
    every image.

    Raises
    ------
    ModelError
        If a layer's size is not known, as behind a runtime's own operators; the layer is named.
    """
    return _counted(model, tensors_of_graph(model))


def _counted(model: onnx.ModelProto, tensors: Tensors) -> dict[str, int]:
    return {
        node.output[0]: -(-multiplied(node, tensors) // tensors.batch)
        for node in read_nodes(model.graph)
        if node.op_type in LAYERS and not tensors.constants.issuperset(operands(node))
    }


def precision_shares(model: onnx.ModelProto) -> dict[str, float]:
    """Return the share of multiply-adds in each precision, 0 to 1.

    A layer is ``int8`` where its data and its weights are both stored in INT8 or UINT8: it is an
    integer operator that reads them so, or both come out of ``DequantizeLinear``, which a backend
    fuses into integer kernels. Where both are stored in other types, these name the precision:
    ``UINT16×INT8``. Any other layer computes in the type of its weights: ``fp32``, ``fp16``, or a
    type's name, and ``unknown`` where that type is not known.

    Returns
    -------
    dict
        Precision or types → share; ``fp32``, ``fp16`` and ``int8`` are always there.

    Raises
    ------
    ModelError
        As `multiply_adds` does, and where an operator multiplies in a way that is not counted.
    """
    _check_countable(model)
    tensors = tensors_of_graph(model)
    counted = _counted(model, tensors)
    sums: Counter[str] = Counter()
    for node in model.graph.node:
        if node.output and node.output[0] in counted:
            sums[_computed_in(node, tensors)] += counted[node.output[0]]
    total = max(sum(counted.values()), 1)
    shares = {precision: sums[precision] / total for precision in ("fp32", "fp16", "int8")}
    return shares | {kind: count / total for kind, count in sums.items()}


def _computed_in(node: onnx.NodeProto, tensors: Tensors) -> str:
    read = operands(node)
    if node.op_type in _INTEGER:
        stored: list[int | None] = [tensors.type_of(name) for name in read]
    else:
        stored = [tensors.dequantized_from(name) for name in read]
    told = [kind for kind in stored if kind is not None]
    if len(told) == len(read):
        if all(kind in EIGHT_BITS for kind in told):
            return "int8"
        return "×".join(map(type_text, told))
    # The weights of a dense layer may stand on either side.
    kind = tensors.type_of(next((name for name in read if name in tensors.constants), read[1]))
    return _FLOATING.get(kind, type_text(kind))


def _check_countable(model: onnx.ModelProto) -> None:
    """Check that no operator hides multiply-adds: a share would leave them out."""
    for node in read_nodes(model.graph):
        inner = inner_nodes(node)
        hidden = next((n for n in inner if n.op_type in LAYERS or _is_uncounted(n)), None)
        if hidden is not None or _is_uncounted(node):
            what = described(node) if hidden is None else f"{described(hidden)} in a branch"
            raise ModelError(
                f"what {what} multiplies cannot be counted, so the shares of the precisions are "
                "not known."
            )


def _is_uncounted(node: onnx.NodeProto) -> bool:
    foreign = not is_standard(node)
    known = node.op_type in LAYERS or node.op_type.startswith(_COUNTLESS)
    return node.op_type in _UNCOUNTED or (foreign and not known)


def int8_share(model: onnx.ModelProto) -> float:
    """Return the share of multiply-adds whose operands are all 8-bit integers, 0 to 1.

    Raises as `multiply_adds` does.
    """
    return precision_shares(model)["int8"]


def blocks(model: onnx.ModelProto) -> list[Block]:
    """Return the layers that a recipe quantises as blocks, in order.

    A residual block lies between a tensor and the ``Add`` that reads this tensor again. The layers
    before the first residual block are the stem, those between residual blocks reductions, and
    those after the last one the pool.
    """
    block_of = _residual_blocks(model)
    found: list[tuple[int | None, list[onnx.NodeProto]]] = []
    for node in model.graph.node:
        if not node.output or (node.op_type not in _QUANTIZED and node.output[0] not in block_of):
            continue
        block = block_of.get(node.output[0])
        if not found or found[-1][0] != block:
            found.append((block, []))
        found[-1][1].append(node)
    return _named(found)


def _residual_blocks(model: onnx.ModelProto) -> dict[str, int]:
    """Return the number of the ``Add`` that closes the block of each layer in one."""
    makers = makers_of(model.graph)
    order = {n: index for index, node in enumerate(model.graph.node) for n in node.output if n}
    block_of: dict[str, int] = {}
    for node in model.graph.node:
        if node.op_type != "Add" or any(name not in makers for name in node.input):
            continue
        skip, branch = sorted(node.input, key=lambda name: order[name])
        seen: set[str] = set()
        waiting = [branch]
        while waiting:
            name = waiting.pop()
            if name in seen:
                continue
            seen.add(name)
            if name != skip and name in makers:
                waiting += [n for n in makers[name].input if n in makers]
        inside = [makers[name] for name in seen - {skip}]
        # Two branches that are only added make no residual block.
        if skip in seen and not any(made.output[0] in block_of for made in inside):
            number = order[node.output[0]]
            block_of[node.output[0]] = number
            block_of |= {m.output[0]: number for m in inside if m.op_type in _QUANTIZED}
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
        named.append(Block(name, tuple(node.output[0] for node in nodes)))
    return named
