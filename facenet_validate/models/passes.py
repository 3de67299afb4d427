"""Small rewrites and questions of an ONNX graph that recipes need."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
from onnx import numpy_helper

from facenet_validate.errors import ModelError


def fold_scales(model: onnx.ModelProto) -> int:
    """Fold ``Mul`` by a scalar into the ``Conv`` before it, in place.

    The residual branches of Inception-ResNet end in ``Conv → Mul(0.17, 0.10, 0.20)``. Folded, the
    branch is quantised once and at its own scale.

    Returns
    -------
    int
        How many were folded.
    """
    graph = model.graph
    initializers = {tensor.name: tensor for tensor in graph.initializer}
    producers = {output: node for node in graph.node for output in node.output}
    uses = Counter(name for node in graph.node for name in node.input)
    outputs = {value.name for value in graph.output}
    folded = []
    for node in graph.node:
        if node.op_type != "Mul":
            continue
        scalars = [i for i in node.input if i in initializers and not list(initializers[i].dims)]
        data = [i for i in node.input if i not in initializers]
        if len(scalars) != 1 or len(data) != 1:
            continue
        conv = producers.get(data[0])
        if conv is None or conv.op_type != "Conv" or uses[data[0]] != 1 or data[0] in outputs:
            continue
        if any(uses[name] != 1 for name in conv.input[1:]):
            continue
        factor = numpy_helper.to_array(initializers[scalars[0]])
        for name in conv.input[1:]:
            tensor = initializers[name]
            scaled = (numpy_helper.to_array(tensor) * factor).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(scaled, name))
        conv.output[0] = node.output[0]
        folded.append(node)
    for node in folded:
        graph.node.remove(node)
    used = {name for node in graph.node for name in node.input}
    for name in [name for name in initializers if name not in used]:
        graph.initializer.remove(initializers[name])
    return len(folded)


def remove_round_trips(model: onnx.ModelProto) -> None:
    """Remove casts of float32 to float16 and straight back, in place; they only lose precision."""
    graph = model.graph
    producers = {output: node for node in graph.node for output in node.output}
    exact: dict[str, str] = {}
    for node in graph.node:
        before = producers.get(node.input[0]) if node.op_type == "Cast" else None
        if (
            before is not None
            and before.op_type == "Cast"
            and _cast_type(node) == onnx.TensorProto.FLOAT
            and _cast_type(before) == onnx.TensorProto.FLOAT16
        ):
            exact[node.output[0]] = before.input[0]
    for node in graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = exact.get(name, name)
    for value in graph.output:
        if value.name in exact:
            _rename(graph, exact[value.name], value.name)
    _remove_unread(graph)
    _sort(graph)


def _sort(graph: onnx.GraphProto) -> None:
    """Put every node after the nodes it reads, otherwise in the order they have."""
    made = {tensor.name for tensor in graph.initializer} | {value.name for value in graph.input}
    waiting = list(graph.node)
    ordered: list[onnx.NodeProto] = []
    while waiting:
        ready = next((node for node in waiting if made >= set(filter(None, node.input))), None)
        if ready is None:
            node = waiting[0]
            absent = next(name for name in node.input if name and name not in made)
            raise ModelError(
                f"node {node.name!r} ({node.op_type}) reads {absent!r}, which nothing before it "
                "gives: the graph has a cycle or a gap."
            )
        waiting.remove(ready)
        ordered.append(ready)
        made.update(ready.output)
    del graph.node[:]
    graph.node.extend(ordered)


def _cast_type(node: onnx.NodeProto) -> int:
    return next(int(attribute.i) for attribute in node.attribute if attribute.name == "to")


def _rename(graph: onnx.GraphProto, old: str, new: str) -> None:
    """Give a tensor the name of a graph output; what had that name before is read by nobody."""
    for node in graph.node:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                if name == new:
                    names[place] = f"{new}/replaced"
                elif name == old:
                    names[place] = new


def _remove_unread(graph: onnx.GraphProto) -> None:
    while True:
        read = {name for node in graph.node for name in node.input}
        read |= {value.name for value in graph.output}
        unread = [node for node in graph.node if not read & set(node.output)]
        if not unread:
            return
        for node in unread:
            graph.node.remove(node)


def embedding_tail(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Return the nodes from the last ``MatMul`` or ``Gemm``, the bottleneck, to the output.

    These are the ones a recipe keeps in FP32: the bottleneck, its batch norm and the L2 norm. In
    FP16 the norm's epsilon of 1e-10 would become zero; in INT8 the tail decides every bit of the
    embedding and costs nothing.
    """
    dense = [i for i, node in enumerate(model.graph.node) if node.op_type in ("MatMul", "Gemm")]
    return list(model.graph.node[dense[-1] :]) if dense else []


def name_nodes(model: onnx.ModelProto) -> None:
    """Give every node a name of its own, in place: recipes exclude nodes by name."""
    known: set[str] = set()
    for index, node in enumerate(model.graph.node):
        if not node.name or node.name in known:
            node.name = f"{node.op_type}_{index}"
        known.add(node.name)
