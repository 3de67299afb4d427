"""Prepared model → typed FP16 graph, or INT8 graph with Q/DQ."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import onnx
from onnx import TensorProto

from facenet_validate.models.calibration import ActivationRange, tensors_range
from facenet_validate.models.passes import embedding_tail, remove_round_trips
from facenet_validate.models.recipes import Int8Recipe, Precision

FP16_VERSION = 2
_QUANTIZED_OPS = ["Conv", "Add", "Concat", "MaxPool", "AveragePool", "Relu"]


def to_fp16(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the typed FP16 graph; input, output and the embedding tail stay float32."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    tail = [node.name for node in embedding_tail(model)]
    converted: onnx.ModelProto = convert_float_to_float16(
        copy.deepcopy(model), keep_io_types=True, node_block_list=tail
    )
    # The converter casts to FP16 and back between the nodes it was told to keep.
    remove_round_trips(converted)
    return converted


def to_int8(
    model: onnx.ModelProto, recipe: Int8Recipe, ranges: Mapping[str, ActivationRange]
) -> onnx.ModelProto:
    """Return the Q/DQ graph of a recipe: per-channel weights, per-tensor activations.

    Parameters
    ----------
    model : onnx.ModelProto
        The prepared model.
    ranges : mapping
        Calibrated range of every activation, by tensor name.
    """
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    types = {"uint8": QuantType.QUInt8, "int8": QuantType.QInt8}
    tail = [node.name for node in embedding_tail(model)]
    quantizer = QDQQuantizer(
        onnx.shape_inference.infer_shapes(model),
        per_channel=True,
        reduce_range=recipe.weight_bits == 7,
        weight_qType=types[recipe.weights],
        activation_qType=types[recipe.activations],
        tensors_range=tensors_range(ranges),
        nodes_to_quantize=[],
        nodes_to_exclude=tail,
        op_types_to_quantize=_QUANTIZED_OPS,
        extra_options={},
    )
    quantizer.quantize_model()
    quantized: onnx.ModelProto = quantizer.model.model
    quantized.producer_name = "facenet_validate"
    return quantized


def infer_precision(model: onnx.ModelProto) -> Precision:
    """Return the precision a graph is typed in: Q/DQ nodes, then FP16 weights, else FP32."""
    if any(node.op_type == "DequantizeLinear" for node in model.graph.node):
        return "int8"
    if any(tensor.data_type == TensorProto.FLOAT16 for tensor in model.graph.initializer):
        return "fp16"
    return "fp32"
