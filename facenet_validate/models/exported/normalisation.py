"""The L2 norm of an embedding: found by structure, proven by numbers, written in one form."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from facenet_validate.models.exported.graph_view import GraphView
from facenet_validate.models.onnx_session import cpu_session

TOLERANCE = 1e-5


@dataclass(frozen=True)
class Norm:
    """A division of features by a length computed from them alone.

    Attributes
    ----------
    features : str
        The tensor before it.
    spelling : tuple of str
        Its operators, in order.
    unit : bool
        Whether the result has length 1. Otherwise each row is scaled to another length.
    """

    features: str
    spelling: tuple[str, ...]
    unit: bool


def find_norm(view: GraphView, model: onnx.ModelProto, tensor: str) -> Norm | None:
    """Return the norm a tensor comes out of, or None.

    A norm has two signs. Structure: its last operator multiplies or divides features by a value
    reduced from these features alone. Numbers: on random features it gives ``x / |x|`` within 1e-5,
    up to a factor per row.
    """
    last = view.makers.get(view.origin(tensor))
    if last is None:
        return None
    if last.op_type == "LpNormalization":
        return _proven(view, model, tensor, view.origin(last.input[0]), [last])
    if last.op_type not in ("Div", "Mul") or len(last.input) != 2:
        return None
    orders = [(last.input[0], last.input[1])]
    if last.op_type == "Mul":
        orders.append((last.input[1], last.input[0]))
    for data, factor in orders:
        features = view.origin(data)
        if features not in view.live or factor not in view.live:
            continue
        between = view.ancestors([factor], until=features)
        if any(view.image in node.input for node in between) or not any(
            node.op_type.startswith(("Reduce", "LpNorm")) for node in between
        ):
            continue
        found = _proven(view, model, tensor, features, [*between, last])
        if found is not None:
            return found
    return None


def _proven(
    view: GraphView,
    model: onnx.ModelProto,
    tensor: str,
    features: str,
    spelled: list[onnx.NodeProto],
) -> Norm | None:
    shape = view.shapes.get(features, ())
    if not view.features(features) or not all(shape):
        return None
    nodes = view.ancestors([tensor], until=features)
    random = np.random.default_rng(0)
    scale = 10.0 ** random.uniform(-1, 1, size=(shape[0], *[1] * (len(shape) - 1)))
    values = (random.normal(size=shape) * scale).astype(np.float32)
    result = _run(model, nodes, features, values, tensor)
    if result is None:
        return None
    rows = values.reshape(shape[0], -1).astype(np.float64)
    given = result.reshape(shape[0], -1).astype(np.float64)
    lengths = np.linalg.norm(given, axis=1, keepdims=True)
    if given.shape != rows.shape or not (lengths > 0).all():
        return None
    expected = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    if not np.abs(given / lengths - expected).max() <= TOLERANCE:
        return None
    # These operators do not show how the norm is written.
    spelling = tuple(n.op_type for n in spelled if n.op_type not in ("Constant", "Identity"))
    return Norm(features, spelling, bool(np.abs(lengths - 1.0).max() <= TOLERANCE))


def _run(
    model: onnx.ModelProto,
    nodes: list[onnx.NodeProto],
    name: str,
    values: NDArray[np.float32],
    output: str,
) -> NDArray[np.float32] | None:
    """Run a few nodes of a model; None if they need more than ``name`` and weights."""
    needed = {read for node in nodes for read in node.input}
    graph = helper.make_graph(
        nodes,
        "norm",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, values.shape)],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        [tensor for tensor in model.graph.initializer if tensor.name in needed],
    )
    small = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    try:
        (result,) = cpu_session(small).run([output], {name: values})
    except Exception:  # nodes that do not run are no norm: ONNX Runtime has one class an error code
        return None
    return np.asarray(result)


def append_norm(features: str, output: str) -> tuple[list[onnx.NodeProto], Iterable[TensorProto]]:
    """Return the nodes and weights that give ``x / sqrt(max(sum(x²), 1e-10))``, as FaceNet does."""

    def node(op: str, inputs: list[str], name: str, **attributes: Any) -> onnx.NodeProto:
        return helper.make_node(op, inputs, [name], name=name, **attributes)

    square, total, floor, root, inverse = (
        f"{output}/{part}" for part in ("square", "sum", "maximum", "sqrt", "reciprocal")
    )
    nodes = [
        node("Mul", [features, features], square),
        node("ReduceSum", [square, f"{total}/axes"], total, keepdims=1),
        node("Max", [total, f"{floor}/epsilon"], floor),
        node("Sqrt", [floor], root),
        node("Reciprocal", [root], inverse),
        node("Mul", [features, inverse], output),
    ]
    weights = [
        numpy_helper.from_array(np.array([1], np.int64), f"{total}/axes"),
        numpy_helper.from_array(np.array(1e-10, np.float32), f"{floor}/epsilon"),
    ]
    return nodes, weights
