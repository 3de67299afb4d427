"""Engine graphs of the small FaceNet, in the types and forms that exporters and runtimes write."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from facenet_validate.models.quantization.int8 import calibrate, to_int8
from facenet_validate.models.quantization.recipes import int8_recipe
from tests.models.small_facenet import SIZE, small_facenet

LAYERS = ("Conv", "Gemm")


def copied(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy, to be changed."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    return made


def with_nodes(model: onnx.ModelProto, nodes: list[onnx.NodeProto]) -> onnx.ModelProto:
    """Put these nodes in the place of a model's own."""
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(kept)
    return model


@functools.cache
def _int8() -> bytes:
    images = np.random.default_rng(0).uniform(-1, 1, (4, 3, SIZE, SIZE)).astype(np.float32)
    calibrated = calibrate(small_facenet(), images, equalized=True)
    return bytes(to_int8(calibrated, int8_recipe("cpu")).SerializeToString())


def int8_engine() -> onnx.ModelProto:
    """Return the INT8 engine graph of the recipe for CPUs."""
    made = onnx.ModelProto()
    made.ParseFromString(_int8())
    return made


def half_engine(*, float_edges: bool = False) -> onnx.ModelProto:
    """Return the FP16 graph as a converter writes it, with FP16 edges unless told otherwise."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    converted: onnx.ModelProto = convert_float_to_float16(
        small_facenet(), keep_io_types=float_edges
    )
    return converted


def stored_in(data: int, weights: int) -> onnx.ModelProto:
    """Return the small network with every layer's operands dequantised from two types."""
    model = small_facenet()
    graph = model.graph
    shapes = {tensor.name: list(tensor.dims) for tensor in graph.initializer}

    def constant(name: str, kind: int, shape: list[int], value: float) -> str:
        count = int(np.prod(shape, dtype=int)) if shape else 1
        tensor = helper.make_tensor(name, kind, shape, [value] * count)
        graph.initializer.append(tensor)
        return name

    nodes = []
    for node in graph.node:
        if node.op_type in LAYERS:
            name = node.name
            constant(f"{name}/scale", TensorProto.FLOAT, [], 0.01)
            constant(f"{name}/zero", data, [], 0)
            constant(f"{name}/integers", weights, shapes[node.input[1]], 1)
            constant(f"{name}/zeros", weights, [], 0)
            parts = [f"{name}/scale", f"{name}/zero"]
            stored = [f"{name}/integers", f"{name}/scale", f"{name}/zeros"]
            nodes += [
                helper.make_node("QuantizeLinear", [node.input[0], *parts], [f"{name}/q"]),
                helper.make_node("DequantizeLinear", [f"{name}/q", *parts], [f"{name}/data"]),
                helper.make_node("DequantizeLinear", stored, [f"{name}/dequantised"]),
            ]
            node.input[0], node.input[1] = f"{name}/data", f"{name}/dequantised"
        nodes.append(node)
    model.opset_import[0].version = 21
    model.ir_version = 10
    return with_nodes(model, nodes)


def weights_in_constants(
    model: onnx.ModelProto, behind: Callable[[str, str], list[onnx.NodeProto]] | None = None
) -> onnx.ModelProto:
    """Move every weight into a ``Constant`` node, behind further nodes where these are given."""
    model = copied(model)
    nodes = []
    for tensor in model.graph.initializer:
        made = tensor.name if behind is None else f"{tensor.name}/stored"
        nodes.append(helper.make_node("Constant", [], [made], value=tensor))
        nodes += [] if behind is None else behind(made, tensor.name)
    with_nodes(model, [*nodes, *model.graph.node])
    del model.graph.initializer[:]
    return model


def named(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """Give every node the same name, which may be none."""
    model = copied(model)
    for node in model.graph.node:
        node.name = name
    return model


def with_sides(
    model: onnx.ModelProto, image: list[int | str] | None, rows: list[int | str] | None
) -> onnx.ModelProto:
    """State other sides of input and output, or none at all; the graph stays."""
    model = copied(model)
    for value, sides in ((model.graph.input[0], image), (model.graph.output[0], rows)):
        kind = value.type.tensor_type.elem_type
        value.CopyFrom(helper.make_tensor_value_info(value.name, kind, sides))
    return model


def with_node_first(model: onnx.ModelProto, node: onnx.NodeProto) -> onnx.ModelProto:
    """Add a node before all others whose result nobody reads."""
    model = copied(model)
    return with_nodes(model, [node, *model.graph.node])


def constant(model: onnx.ModelProto, name: str, value: object) -> str:
    """Add a constant; return its name."""
    model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    return name
