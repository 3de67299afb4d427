"""An FP16 graph with FP32 in its place: what remains when nothing overflows or is rounded."""

from __future__ import annotations

import copy

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper


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


def _widen(tensor: TensorProto) -> None:
    if tensor.data_type == TensorProto.FLOAT16:
        values = numpy_helper.to_array(tensor).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
