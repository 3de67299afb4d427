"""An INT8 graph for TensorRT whose floating point is FP16: half the bytes between its layers."""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from facenet_validate.base.errors import ModelError
from facenet_validate.models.passes import embedding_tail
from facenet_validate.models.quantization.half_range import LARGEST, SMALLEST_NORMAL

OPSET = 19
"""The first whose ``QuantizeLinear`` and ``DequantizeLinear`` take FP16 (ONNX operators, 19)."""

_HALF = TensorProto.FLOAT16


def half_outside_int8(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a Q/DQ graph with FP16 wherever it had FP32, but for its input and its tail.

    Scales, biases, additions, concatenations and activations become FP16. The input is converted
    first; the embedding tail and the output stay FP32, as in the typed FP16 graph.

    Parameters
    ----------
    model : onnx.ModelProto
        A graph of the recipe for TensorRT; not changed.

    Raises
    ------
    ModelError
        If a weight, bias or scale does not fit FP16.
    """
    made = onnx.ModelProto()
    made.CopyFrom(model)
    graph = made.graph
    tail = {node.name for node in embedding_tail(made)}
    body = [node for node in graph.node if node.name not in tail]
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    halves = _halves(body, values)
    _convert_names(made, body, halves)
    _convert_edges(made, tail, body)
    known = {tensor.name for tensor in graph.initializer}
    for name, value in halves.items():
        if name not in known:
            graph.initializer.append(numpy_helper.from_array(value, name))
    for opset in made.opset_import:
        if not opset.domain:
            opset.version = max(opset.version, OPSET)
    made.ir_version = max(made.ir_version, 9)  # the IR that came with opset 19
    del graph.value_info[:]
    onnx.checker.check_model(made, full_check=True)
    return made


def _halves(
    body: list[onnx.NodeProto], values: dict[str, NDArray[np.generic]]
) -> dict[str, NDArray[np.generic]]:
    """Return new values under new names: ``…/half``; integers that were re-scaled keep theirs."""
    halves: dict[str, NDArray[np.generic]] = {}
    for node in body:
        if node.op_type == "DequantizeLinear" and node.input[0] in values:
            # Rounding to FP16 moves a scale by at most 2⁻¹¹, which turns no integer. One that FP16
            # cannot hold is raised to its smallest normal number, and the integers follow.
            integers, scale = values[node.input[0]], values[node.input[1]].astype(np.float64)
            rounded = np.maximum(scale, SMALLEST_NORMAL).astype(np.float16)
            ratio = (scale / rounded.astype(np.float64)).reshape(-1, *[1] * (integers.ndim - 1))
            again = np.round(integers.astype(np.float64) * ratio)
            halves[node.input[0]] = np.clip(again, -127, 127).astype(integers.dtype)
            halves[f"{node.input[1]}/half"] = rounded
            continue
        for place, name in enumerate(node.input):
            if name in values and values[name].dtype == np.float32:
                value = values[name]
                if place == 1 and node.op_type in ("QuantizeLinear", "DequantizeLinear"):
                    # A tensor that was zero on every image has a scale that FP16 has not.
                    value = np.maximum(value, np.float32(SMALLEST_NORMAL))
                halves[f"{name}/half"] = _half(name, value)
    return halves


def _half(name: str, value: NDArray[np.generic]) -> NDArray[np.generic]:
    peak = float(np.abs(value).max(initial=0.0))
    if not peak <= LARGEST:
        raise ModelError(
            f"{name!r} reaches {peak:.4g}, but FP16 ends at {LARGEST:.0f}: leave this graph's "
            "floating point in FP32."
        )
    return value.astype(np.float16)


def _convert_names(
    made: onnx.ModelProto, body: list[onnx.NodeProto], halves: dict[str, NDArray[np.generic]]
) -> None:
    """Have the body read FP16 values, and drop what nobody reads any more."""
    for node in body:
        for place, name in enumerate(node.input):
            if f"{name}/half" in halves:
                node.input[place] = f"{name}/half"
    read = {name for node in made.graph.node for name in node.input}
    kept = [tensor for tensor in made.graph.initializer if tensor.name in read]
    for tensor in kept:
        if tensor.name in halves:
            tensor.CopyFrom(numpy_helper.from_array(halves[tensor.name], tensor.name))
    kept = [onnx.TensorProto.FromString(tensor.SerializeToString()) for tensor in kept]
    del made.graph.initializer[:]
    made.graph.initializer.extend(kept)


def _convert_edges(made: onnx.ModelProto, tail: set[str], body: list[onnx.NodeProto]) -> None:
    """Convert the input to FP16, and what the tail reads of the body back."""
    graph = made.graph
    (source,) = graph.input
    for node in body:
        for place, name in enumerate(node.input):
            if name == source.name:
                node.input[place] = f"{source.name}/half"
    given = {name for node in body for name in node.output}
    nodes = [_cast(source.name, f"{source.name}/half", _HALF)]
    for node in graph.node:
        if node.name in tail:
            for place, name in enumerate(node.input):
                if name in given:
                    if all(f"{name}/float" not in known.output for known in nodes):
                        nodes.append(_cast(name, f"{name}/float", TensorProto.FLOAT))
                    node.input[place] = f"{name}/float"
        nodes.append(node)
    copied = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copied)


def _cast(read: str, made: str, to: int) -> onnx.NodeProto:
    return helper.make_node("Cast", [read], [made], name=f"{made}/Cast", to=to)
