"""An INT8 graph for TensorRT whose floating point is FP16: half the bytes between its layers."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from facenet_validate.base.errors import ModelError
from facenet_validate.models.passes import embedding_tail, set_nodes
from facenet_validate.models.quantization.calibration import Activation
from facenet_validate.models.quantization.half_range import LARGEST, SMALLEST_NORMAL

OPSET = 19
"""The first whose ``QuantizeLinear`` and ``DequantizeLinear`` take FP16 (ONNX operators, 19)."""

ROOM = 8
"""How often the largest activation must fit below 65504, as ``contract.half_headroom`` asks."""

_ADVICE = (
    "Take FP32 around INT8: --facenet-int8-around fp32, or --around fp32 of facenet-validate "
    "quantize."
)


def check_room(model: onnx.ModelProto, activations: Mapping[str, Activation]) -> None:
    """Check that FP16 has room for every activation outside the embedding tail.

    Parameters
    ----------
    model : onnx.ModelProto
        FP32, as it is quantised: equalized where the recipe says so.
    activations : mapping
        Every tensor's values over the calibration images.

    Raises
    ------
    ModelError
        If one of them comes near 65504.
    """
    tail = {name for node in embedding_tail(model) for name in node.output}
    peaks = {
        name: max(-values.low, values.high)
        for name, values in activations.items()
        if name not in tail
    }
    name = max(peaks, key=lambda name: peaks[name])
    if not peaks[name] * ROOM <= LARGEST:
        raise ModelError(
            f"{name!r} reaches {peaks[name]:.4g} on the calibration faces. FP16 ends at "
            f"{LARGEST:.0f}; expected room for {ROOM} times as much. {_ADVICE}"
        )


def has_half_scales(model: onnx.ModelProto) -> bool:
    """Say whether a graph dequantises to FP16."""
    types = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    return any(
        node.op_type == "DequantizeLinear" and types.get(node.input[1]) == TensorProto.FLOAT16
        for node in model.graph.node
    )


def half_around_int8(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a Q/DQ graph with FP16 in place of FP32, except at its input and in its tail.

    Scales, biases, additions, concatenations and activations become FP16. The input is converted
    first. The embedding tail and the output stay FP32, as in the typed FP16 graph.

    Parameters
    ----------
    model : onnx.ModelProto
        A graph of the recipe for TensorRT; not changed.

    Raises
    ------
    ModelError
        If a weight, bias or scale does not fit FP16.
    """
    made = copy.deepcopy(model)
    graph = made.graph
    tail = {node.name for node in embedding_tail(made)}
    body = [node for node in graph.node if node.name not in tail]
    halves = _halves(body, {t.name: numpy_helper.to_array(t) for t in graph.initializer})
    (image,) = (value.name for value in graph.input)
    for node in body:
        for place, name in enumerate(node.input):
            if name == image or f"{name}/half" in halves:
                node.input[place] = f"{name}/half"
    set_nodes(graph, _with_casts(graph, tail, image))
    read = {name for node in graph.node for name in node.input}
    weights = {tensor.name: tensor for tensor in graph.initializer if tensor.name in read}
    weights |= {name: numpy_helper.from_array(value, name) for name, value in halves.items()}
    del graph.initializer[:], graph.value_info[:]
    graph.initializer.extend(weights.values())
    for opset in made.opset_import:
        if not opset.domain:
            opset.version = max(opset.version, OPSET)
    made.ir_version = max(made.ir_version, 9)  # the IR that came with opset 19
    onnx.checker.check_model(made, full_check=True)
    return made


def _with_casts(graph: onnx.GraphProto, tail: set[str], image: str) -> Iterator[onnx.NodeProto]:
    """Yield the nodes with casts: of the image to FP16, and of what the tail reads to FP32."""
    halves = {name for node in graph.node if node.name not in tail for name in node.output}
    floats: set[str] = set()
    yield _cast(image, f"{image}/half", TensorProto.FLOAT16)
    for node in graph.node:
        for place, name in enumerate(node.input if node.name in tail else ()):
            if name in halves:
                if name not in floats:
                    yield _cast(name, f"{name}/float", TensorProto.FLOAT)
                floats.add(name)
                node.input[place] = f"{name}/float"
        yield node


def _halves(
    body: list[onnx.NodeProto], values: dict[str, NDArray[np.generic]]
) -> dict[str, NDArray[np.generic]]:
    """Return new values by name: ``…/half``, or the old name of integers that get a new scale."""
    halves: dict[str, NDArray[np.generic]] = {}
    for node in body:
        if node.op_type == "DequantizeLinear" and node.input[0] in values:
            # Rounding to FP16 moves a scale by at most 2⁻¹¹, which changes no integer. A scale that
            # FP16 cannot hold becomes its smallest normal number, and the integers follow.
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
                    # A tensor that was zero on every image has a scale below those of FP16.
                    value = np.maximum(value, np.float32(SMALLEST_NORMAL))
                halves[f"{name}/half"] = _half(name, value)
    return halves


def _half(name: str, value: NDArray[np.generic]) -> NDArray[np.generic]:
    peak = float(np.abs(value).max(initial=0.0))
    if not peak <= LARGEST:
        raise ModelError(f"{name!r} reaches {peak:.4g}, but FP16 ends at {LARGEST:.0f}. {_ADVICE}")
    return value.astype(np.float16)


def _cast(read: str, made: str, to: int) -> onnx.NodeProto:
    return helper.make_node("Cast", [read], [made], name=f"{made}/Cast", to=to)
