"""ONNX Runtime's optimiser simplifies the graphs that exporters write."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import numpy_helper

from facenet_validate.base.errors import ModelError
from facenet_validate.models.exported.graph_view import GraphView
from facenet_validate.models.onnx_session import cpu_session, reason
from facenet_validate.models.passes import constants_of

LARGEST_FOLDED = 32 * 2**20
"""Bytes a folded constant may have; FaceNet's largest weight has 3.7 million.

ONNX Runtime before 1.28 does not know the option and folds whatever a graph asks for.
"""


def simplified(model: onnx.ModelProto, planes: str, source: str) -> onnx.ModelProto:
    """Return a model that ONNX Runtime's optimiser has simplified as far as it can.

    The optimiser runs until it changes nothing: one pass folds constants that the next one fuses.

    Raises
    ------
    ModelError
        As `optimised`.
    """
    while True:
        count = len(model.graph.node)
        model = optimised(model, source)
        view = GraphView(model.graph, {}, planes)
        unfused = any(
            node.op_type == "BatchNormalization" or view.live.isdisjoint(node.output)
            for node in model.graph.node
        )
        if not unfused or len(model.graph.node) >= count:
            return model


def optimised(model: onnx.ModelProto, source: str) -> onnx.ModelProto:
    """Return a model after one pass of ONNX Runtime's optimiser.

    Raises
    ------
    ModelError
        If the installed ONNX Runtime cannot run it.
    """
    limit = {"optimization.constant_folding_max_output_size_in_bytes": str(LARGEST_FOLDED)}
    with tempfile.TemporaryDirectory(prefix="facenet-simplify-") as folder:
        made = Path(folder) / "model.onnx"
        try:
            cpu_session(model, optimisation="basic", entries=limit, optimised=made)
        except Exception as error:  # ONNX Runtime has one class an error code
            raise ModelError(
                f"{source}: the installed onnxruntime {ort.__version__} cannot run it (opset "
                f"{model.opset_import[0].version}): {reason(error).rstrip('.')}. {remedy(error)}"
            ) from None
        return onnx.load(made)


def undo_strides(graph: onnx.GraphProto, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Turn each ``Gather`` of all values in their order into the equal ``Reshape``, in place.

    PyTorch's dynamo exporter writes the flattening of an interleaved network as strides.
    """
    constants = constants_of(graph)
    for node in graph.node:
        shape = shapes.get(node.input[0], ()) if node.op_type == "Gather" else ()
        if len(shape) != 1 or node.input[1] not in constants:
            continue
        places = numpy_helper.to_array(constants[node.input[1]])
        if np.array_equal(places.ravel(), np.arange(shape[0])):
            node.op_type = "Reshape"
            del node.attribute[:]
            node.input[1] = f"{node.output[0]}/shape"
            graph.initializer.append(
                numpy_helper.from_array(np.array(places.shape, np.int64), node.input[1])
            )


def remedy(error: Exception) -> str:
    """Return what a user can do about a model that ONNX Runtime refuses."""
    if re.search(r"opset|IR.?version", str(error), re.IGNORECASE):
        return "Install a newer onnxruntime, or export the model with an older opset."
    return "The graph is damaged, or no valid ONNX: export the model again."
