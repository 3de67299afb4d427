"""The weights that two graphs multiply with, layer by layer, in one form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from facenet_validate.diagnosis.matching import Graph, Operator
from facenet_validate.models.onnx_session import cpu_session
from facenet_validate.models.passes import whole

Values = NDArray[np.float64]


@dataclass(frozen=True)
class LayerWeights:
    """The weights of a layer in both graphs.

    Attributes
    ----------
    reference, engine : ndarray of shape (O, I, K), float64
        As they multiply: dequantised, and with a batch norm behind the layer folded in. K is the
        size of the kernel.
    reference_bias, engine_bias : ndarray of shape (O,), float64
        Zero where there is none.
    step : ndarray of shape (O,) or (1,), float64
        Distance of two values that the engine can store, by output; zero where it stores no
        integers.
    stored : Stored
        How the engine's node reads its weights.
    followed : bool
        Whether a batch norm or a factor follows the layer in the engine.
    """

    reference: Values
    engine: Values
    reference_bias: Values
    engine_bias: Values
    step: Values
    stored: Stored
    followed: bool = False


@dataclass(frozen=True)
class Stored:
    """How a node reads its weights.

    Attributes
    ----------
    place : int
        Which of its inputs they are.
    shape : tuple of int
        Their sides.
    kind : numpy dtype
        Their type, once they are dequantised.
    turned : bool
        Whether inputs come before outputs.
    """

    place: int
    shape: tuple[int, ...]
    kind: np.dtype[np.generic]
    turned: bool


def layer_weights(
    ours: Graph, theirs: Graph, operators: Sequence[Operator]
) -> dict[str, LayerWeights]:
    """Return the weights of each layer by `Operator.name`.

    A layer whose weights have other shapes in the engine is left out.
    """
    mine, others = _Constants(ours, operators, "reference"), _Constants(theirs, operators, "engine")
    found = {}
    for operator in operators:
        if ours.kind(operator.reference) != "layer":
            continue
        weight, bias, _, _ = mine.layer(operator.reference)
        other, other_bias, step, stored = others.layer(operator.engine)
        if other.size != weight.size or len(other) != len(weight):
            continue
        other = other.reshape(weight.shape)
        behind = list(_behind(theirs, others, operator, len(other)))
        for scale, shift in behind:
            other, other_bias = other * scale[:, None, None], other_bias * scale + shift
            step = step * np.abs(scale)
        found[operator.name] = LayerWeights(
            weight, other, bias, other_bias, step, stored, followed=bool(behind)
        )
    return found


class _Constants:
    """The constants of a graph, computed."""

    def __init__(self, graph: Graph, operators: Sequence[Operator], side: str) -> None:
        self._graph = graph
        wanted = {
            name
            for operator in operators
            for name in getattr(operator, side).input
            if name in graph.constant and name not in graph.weights
        }
        wanted |= {
            name
            for node in graph.nodes
            if node.op_type in _AFFINE
            for name in node.input
            if name in graph.constant and name not in graph.weights
        }
        self._computed = _computed(graph, sorted(wanted))

    def __getitem__(self, name: str) -> Values:
        return self._raw(name).astype(np.float64)

    def _raw(self, name: str) -> NDArray[np.generic]:
        found = self._computed.get(name)
        return numpy_helper.to_array(self._graph.weights[name]) if found is None else found

    def layer(self, node: onnx.NodeProto) -> tuple[Values, Values, Values, Stored]:
        """Return a layer's weights (O, I, K), its bias (O,), and the step of its integers."""
        place = next(p for p, name in enumerate(node.input) if name in self._graph.constant)
        name = node.input[place]
        raw, turned = self._raw(name), False
        weight = raw.astype(np.float64)
        if node.op_type in ("Conv", "FusedConv"):
            weight = weight.reshape(*weight.shape[:2], -1)
        else:
            turned = not whole(node, "transB") if place else bool(whole(node, "transA"))
            weight = (weight.T if turned else weight)[:, :, None]
        bias = np.zeros(len(weight))
        if len(node.input) > 2 and node.input[2] in self._graph.constant:
            bias = bias + self[node.input[2]].reshape(-1)
        return weight, bias, self._step(name), Stored(place, raw.shape, raw.dtype, turned)

    def _step(self, name: str) -> Values:
        node = self._graph.makers.get(name)
        while node is not None and node.op_type != "DequantizeLinear" and len(node.input) == 1:
            node = self._graph.makers.get(node.input[0])
        if node is None or node.op_type != "DequantizeLinear":
            return np.zeros(1)
        scale = self._graph.weight(node.input[1])
        return np.zeros(1) if scale is None else _flat(scale)


_AFFINE = ("BatchNormalization", "Mul", "Div", "Add", "Sub")


def _behind(
    graph: Graph, constants: _Constants, operator: Operator, channels: int
) -> Iterator[tuple[Values, Values]]:
    """Yield what a batch norm, or a constant factor, makes of a layer's channels, in order."""
    chain, name = [], operator.made.engine
    while (node := graph.makers[name]).output[0] != operator.engine.output[0]:
        data = graph.data(node)
        if len(data) != 1:
            return  # the embedding's norm
        chain.append(node)
        name = data[0]
    for node in reversed(chain):
        if node.op_type == "BatchNormalization":
            scale, shift, mean, variance = (constants[name] for name in node.input[1:5])
            epsilon = next((a.f for a in node.attribute if a.name == "epsilon"), 1e-5)
            scale = scale / np.sqrt(variance + epsilon)
            yield scale, shift - mean * scale
        elif node.op_type in _AFFINE:
            constant = next(constants[name] for name in node.input if name in graph.constant)
            if constant.size not in (1, channels):
                return
            value = np.broadcast_to(constant.reshape(-1), (channels,))
            if node.op_type in ("Mul", "Div"):
                yield (value if node.op_type == "Mul" else 1 / value), np.zeros(channels)
            else:
                yield np.ones(channels), value if node.op_type == "Add" else -value


def _flat(tensor: onnx.TensorProto) -> Values:
    return numpy_helper.to_array(tensor).astype(np.float64).reshape(-1)


def _computed(graph: Graph, names: list[str]) -> Mapping[str, NDArray[np.generic]]:
    """Return the values of constants that nodes make: dequantised, cast or turned weights."""
    if not names:
        return {}
    model = onnx.ModelProto(ir_version=graph.model.ir_version)
    model.opset_import.extend(graph.model.opset_import)
    model.graph.name = "constants"
    needed = set(names)
    kept = []
    for node in reversed(graph.nodes):
        if not needed.isdisjoint(node.output):
            needed.update(node.input)
            kept.append(node)
    model.graph.node.extend(reversed(kept))
    model.graph.initializer.extend(t for t in graph.model.graph.initializer if t.name in needed)
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    found = cpu_session(model, optimisation="none").run(names, {})
    return dict(zip(names, found, strict=True))
