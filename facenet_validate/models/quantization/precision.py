"""Prepared model → typed FP16 graph; and the precision a graph is typed in."""

from __future__ import annotations

import copy

import onnx
from onnx import TensorProto

from facenet_validate.base.errors import ModelError
from facenet_validate.base.vocabulary import Precision
from facenet_validate.models.passes import embedding_tail, remove_round_trips, whole

FP16_VERSION = 2

_QUANTIZED_PREFIXES = (
    "QLinear", "QGemm", "QAttention", "DynamicQuantize", "MatMulInteger", "MatMulNBits",
    "MatMulBnb4",
)  # fmt: skip


def to_fp16(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the typed FP16 graph; input, output and the embedding tail stay float32."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    tail = [node.name for node in embedding_tail(model)]
    converted: onnx.ModelProto = convert_float_to_float16(
        copy.deepcopy(model), keep_io_types=True, node_block_list=tail
    )
    # The converter casts to FP16 and back between the nodes it was told to keep.
    remove_round_trips(converted)
    # The FP32 model was proven; this one is not.
    del converted.metadata_props[:]
    return proven(converted, "fp16")


def infer_precision(model: onnx.ModelProto) -> Precision:
    """Return the precision whose limits a graph is judged by.

    Any quantising or integer operator makes it INT8, whatever it quantises to: a graph in 16 bits,
    4 bits or FP8 is judged as an INT8 engine, and ``build.int8_share`` fails it. Otherwise FP16
    weights, constants or casts make it FP16. Otherwise it is FP32.
    """
    if any(_is_quantized(node.op_type) for node in model.graph.node):
        return "int8"
    constants = [
        attribute.t
        for node in model.graph.node
        if node.op_type == "Constant"
        for attribute in node.attribute
    ]
    if any(t.data_type == TensorProto.FLOAT16 for t in [*model.graph.initializer, *constants]):
        return "fp16"
    casts = [whole(node, "to") for node in model.graph.node if node.op_type == "Cast"]
    return "fp16" if TensorProto.FLOAT16 in casts else "fp32"


def _is_quantized(operator: str) -> bool:
    return operator.startswith(_QUANTIZED_PREFIXES) or operator.endswith(
        ("Integer", "QuantizeLinear", "DequantizeLinear")
    )


def proven(model: onnx.ModelProto, precision: Precision) -> onnx.ModelProto:
    """Return the graph, which must be of a precision: a converter may skip every node.

    Raises
    ------
    ModelError
        If the graph is of another precision.
    """
    found = infer_precision(model)
    if found != precision:
        raise ModelError(
            f"the {precision} recipe left the graph in {found}: nothing in it could be converted. "
            "Expected convolutions with names of their own."
        )
    return model
