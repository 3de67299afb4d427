"""Small rewrites and questions of an ONNX graph that recipes need."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
from onnx import numpy_helper


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


def embedding_tail(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Return the nodes from the bottleneck ``MatMul`` or ``Gemm`` to the output.

    These are the ones a recipe keeps in FP32: the bottleneck, its batch norm and the L2 norm. In
    FP16 the norm's epsilon of 1e-10 would become zero; in INT8 the tail decides every bit of the
    embedding and costs nothing.
    """
    for index, node in enumerate(model.graph.node):
        if node.op_type in ("MatMul", "Gemm"):
            return list(model.graph.node[index:])
    return []
