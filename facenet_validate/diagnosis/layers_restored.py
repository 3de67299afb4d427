"""An engine's graph with the model's own weights in some of its layers."""

from __future__ import annotations

import copy
from collections.abc import Iterable

import numpy as np
import onnx
from onnx import numpy_helper

from facenet_validate.diagnosis.layer_weights import Values
from facenet_validate.diagnosis.matching import Operator
from facenet_validate.diagnosis.sides import Sides
from facenet_validate.models.passes import described

FLOATS = 2.0**-10
"""Error of a stored weight, relative to it, that FP16 and the factors' fit may leave."""

_NEAR = 1.5
"""How far a layer's own factors may be from those of the graph."""

STEPS = 4.0
"""How often the power of a layer's errors may be what rounding to its integers leaves."""


def wanted(sides: Sides, operator: Operator) -> tuple[Values, Values]:
    """Return a layer's weights (O, I, K) and bias (O,) as an engine without a fault has them."""
    layer = sides.weights[operator.name]
    read = sides.factors[operator.read[0].maker]
    made = sides.factors[operator.name]
    columns = np.repeat(read, layer.reference.shape[1] // len(read))
    rows = np.broadcast_to(made, (len(layer.reference),))
    weight = layer.reference * columns[None, :, None] / rows[:, None, None]
    return weight, layer.reference_bias / rows


def unlike(sides: Sides) -> list[Operator]:
    """Return the layers whose weights differ from the model's by more than their type explains."""
    return [
        operator
        for operator in sides.operators
        if operator.name in sides.weights and _error(sides, operator) > 1
    ]


def _error(sides: Sides, operator: Operator) -> float:
    """Return the power of a layer's errors, as a multiple of what its type explains.

    Factors of rows and columns are fitted to the layer itself: those of the graph come from
    rounded weights, and their errors add up.
    """
    layer, (weight, _) = sides.weights[operator.name], wanted(sides, operator)
    for others in ((1, 2), (0, 2), (1, 2)):
        product = (layer.engine * weight).sum(axis=others, keepdims=True)
        power = (weight**2).sum(axis=others, keepdims=True)
        ratio = np.divide(product, power, out=np.ones_like(product), where=power > 0)
        # A factor is positive and near one; weights that need another are others.
        weight = weight * np.clip(ratio, 1 / _NEAR, _NEAR)
    error = float(((layer.engine - weight) ** 2).sum())
    steps = np.broadcast_to(layer.step, (len(weight),))
    rounding = float((steps**2).sum()) * weight[0].size / 12
    floats = FLOATS**2 * float((weight**2).sum())
    return float(error / max(STEPS * rounding + floats, 1e-300))


def restored(
    sides: Sides, weights: Iterable[Operator], biases: Iterable[Operator] = ()
) -> onnx.ModelProto:
    """Return a copy of the engine's graph with the model's own values, unrounded.

    Parameters
    ----------
    weights : iterable of Operator
        Layers that get their weights and biases back.
    biases : iterable of Operator
        Layers that get their biases back.

    Raises
    ------
    LookupError
        If a batch norm follows one of them, or its bias is added by another node.
    """
    made = copy.deepcopy(sides.engine)
    by_output = {node.output[0]: node for node in made.graph.node}
    whole = {operator.name: operator for operator in weights}
    every = {operator.name: operator for operator in biases} | whole
    for name, operator in every.items():
        node, layer = by_output[operator.engine.output[0]], sides.weights[name]
        stored, (weight, bias) = layer.stored, wanted(sides, operator)
        if layer.followed:
            raise LookupError(f"{described(node)} is followed by a batch norm or a factor")
        if name in whole:
            values = weight[:, :, 0].T if stored.turned else weight
            values = values.reshape(stored.shape)
            _store(made.graph, node, stored.place, values.astype(stored.kind))
        if bias.any() and len(node.input) == 2:
            if node.op_type not in ("Conv", "Gemm"):
                raise LookupError(f"{described(node)} takes no bias")
            node.input.append("")
        if len(node.input) > 2:
            _store(made.graph, node, 2, bias.astype(stored.kind))
    return made


def _store(graph: onnx.GraphProto, node: onnx.NodeProto, place: int, value: Values) -> None:
    node.input[place] = f"{node.output[0]}/restored/{place}"
    graph.initializer.append(numpy_helper.from_array(np.array(value, order="C"), node.input[place]))
