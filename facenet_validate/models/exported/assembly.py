"""Trunk, pool, bottleneck and norm → the prepared model, with its own names."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from facenet_validate.base.errors import ModelError
from facenet_validate.base.vocabulary import INPUT_NAME, OUTPUT_NAME
from facenet_validate.models.exported.anatomy import Embedding
from facenet_validate.models.exported.graph_view import GraphView
from facenet_validate.models.exported.head import Head
from facenet_validate.models.exported.image_input import ImageInput
from facenet_validate.models.exported.normalisation import append_norm
from facenet_validate.models.onnx_session import reason
from facenet_validate.models.passes import name_nodes, opset_of

FLATTEN_NAME = "flatten"
BOTTLENECK_NAME = "bottleneck"


def assembled(
    view: GraphView,
    body: onnx.ModelProto,
    image: ImageInput,
    embedding: Embedding,
    head: Head,
    *,
    source: str,
) -> onnx.ModelProto:
    """Return the prepared model of the parts found in a simplified graph.

    The trunk is taken as it is. The pool becomes an ``AveragePool``; a ``Flatten``, at most one
    ``Gemm`` and the norm follow it.

    Raises
    ------
    ModelError
        If the result is no valid ONNX model.
    """
    trunk = onnx.GraphProto(node=view.ancestors([head.image]))
    renamed = _rename_nodes(trunk, view.image)
    weights = _named_weights(trunk, body.graph)
    pooled = head.pool.name if head.pool.name not in {"", *renamed.values()} else "pool"
    tail = [
        helper.make_node(
            "AveragePool",
            [renamed[head.image]],
            [pooled],
            name=pooled,
            kernel_shape=list(head.window),
        ),
        helper.make_node("Flatten", [pooled], [FLATTEN_NAME], name=FLATTEN_NAME, axis=1),
    ]
    features = FLATTEN_NAME
    if head.weights is not None and head.bias is not None:
        features = BOTTLENECK_NAME
        names = [f"{BOTTLENECK_NAME}/weight", f"{BOTTLENECK_NAME}/bias"]
        tail.append(
            helper.make_node("Gemm", [FLATTEN_NAME, *names], [features], name=BOTTLENECK_NAME)
        )
        for name, value in zip(names, (head.weights, head.bias), strict=True):
            weights.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
    norm, constants = append_norm(features, OUTPUT_NAME)
    size = image.size
    graph = helper.make_graph(
        [*trunk.node, *tail, *norm],
        "facenet",
        [helper.make_tensor_value_info(INPUT_NAME, TensorProto.FLOAT, ["N", 3, size, size])],
        [helper.make_tensor_value_info(OUTPUT_NAME, TensorProto.FLOAT, ["N", embedding.size])],
        [*weights, *constants],
    )
    opset = helper.make_opsetid("", opset_of(body))
    ir_version = max(8, helper.find_min_ir_version_for([opset], ignore_unknown=True))
    model = helper.make_model(
        graph, opset_imports=[opset], producer_name="facenet_validate", ir_version=ir_version
    )
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ModelError(
            f"{source}: what it was turned into is no valid ONNX model: "
            f"{reason(error)}. Expected a FaceNet of standard operators; export the model again."
        ) from None
    return model


def _rename_nodes(trunk: onnx.GraphProto, planes: str) -> dict[str, str]:
    """Give nodes names of their own and tensors their node's; return old tensor → new."""
    reserved = (INPUT_NAME, OUTPUT_NAME, FLATTEN_NAME, BOTTLENECK_NAME)
    for node in trunk.node:
        if node.name in reserved or node.name.startswith(f"{OUTPUT_NAME}/"):
            node.name = ""
    named = onnx.ModelProto(graph=trunk)
    name_nodes(named)
    renamed = {planes: INPUT_NAME}
    for node, name in zip(trunk.node, (n.name for n in named.graph.node), strict=True):
        node.name = name
        node.ClearField("doc_string")
        del node.metadata_props[:]
        for place, read in enumerate(node.input):
            node.input[place] = renamed.get(read, read)
        for place, made in enumerate(node.output):
            if made:
                renamed[made] = name if not place else f"{name}:{place}"
                node.output[place] = renamed[made]
    return renamed


def _named_weights(trunk: onnx.GraphProto, body: onnx.GraphProto) -> list[TensorProto]:
    """Return the weights of the nodes, in their order and named after them."""
    tensors = {tensor.name: tensor for tensor in body.initializer}
    made = {name for node in trunk.node for name in node.output} | {INPUT_NAME}
    renamed: dict[str, str] = {}
    found = []
    parts = {1: "weight", 2: "bias"}
    for node in trunk.node:
        for place, name in enumerate(node.input):
            if not name or name in made:
                continue
            if name not in renamed:
                renamed[name] = f"{node.name}/{parts.get(place, place)}"
                value = numpy_helper.to_array(tensors[name])
                found.append(numpy_helper.from_array(value, renamed[name]))
            node.input[place] = renamed[name]
    return found
