"""FP16 graphs computed in FP32: with every value rounded to FP16 on the way, or with none.

ONNX Runtime's CPU provider computes most FP16 nodes in FP32 and drops the casts between them, so a
value that overflows in FP16 stays finite there. Casts that stand in the graph are not dropped.
"""

from __future__ import annotations

import copy

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from facenet_validate.models.operands import tensors_of_graph
from facenet_validate.models.passes import set_nodes


def has_half(model: onnx.ModelProto) -> bool:
    """Say whether a graph computes in FP16 somewhere."""
    kinds = {tensor.data_type for tensor in model.graph.initializer}
    casts = {a.i for n in model.graph.node if n.op_type == "Cast" for a in n.attribute}
    return TensorProto.FLOAT16 in kinds | casts


def in_float(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of a graph in which every FP16 tensor is an FP32 one."""
    made = copy.deepcopy(model)
    graph = made.graph
    for tensor in graph.initializer:
        _widen(tensor)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                _widen(attribute.t)
            if attribute.name in ("to", "dtype") and attribute.i == TensorProto.FLOAT16:
                attribute.i = TensorProto.FLOAT
    for value in [*graph.input, *graph.output]:
        if value.type.tensor_type.elem_type == TensorProto.FLOAT16:
            value.type.tensor_type.elem_type = TensorProto.FLOAT
    del graph.value_info[:]
    return made


def as_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of a graph in FP32 in which what is FP16 is rounded to FP16, node by node."""
    types = tensors_of_graph(model)
    made = in_float(model)
    nodes = []
    for node in made.graph.node:
        nodes.append(node)
        for place, name in enumerate(node.output):
            if name and types.type_of(name) == TensorProto.FLOAT16 and node.op_type != "Constant":
                node.output[place] = f"{name}/computed"
                nodes.append(_cast(f"{name}/computed", f"{name}/half", TensorProto.FLOAT16))
                nodes.append(_cast(f"{name}/half", name, TensorProto.FLOAT))
    set_nodes(made.graph, [onnx.NodeProto.FromString(n.SerializeToString()) for n in nodes])
    return made


def _cast(read: str, made: str, to: int) -> onnx.NodeProto:
    return helper.make_node("Cast", [read], [made], name=f"{made}/Cast", to=to)


def _widen(tensor: TensorProto) -> None:
    if tensor.data_type == TensorProto.FLOAT16:
        values = numpy_helper.to_array(tensor).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
