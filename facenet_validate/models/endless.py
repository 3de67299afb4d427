"""Operators that run a graph again and again: how often is for the graph to say, and it may lie."""

from __future__ import annotations

from collections.abc import Iterator

import onnx

from facenet_validate.base.errors import ModelError
from facenet_validate.models.exported.onnx_extent import inner_graphs
from facenet_validate.models.passes import described

_REPEATING = ("Loop", "Scan", "SequenceMap")


def check_ends(model: onnx.ModelProto, source: str) -> None:
    """Check that no operator of a graph repeats others, in its branches neither.

    Parameters
    ----------
    model : onnx.ModelProto
        With its local functions inlined, as `load_onnx` gives it.
    source : str
        What to call it in an error.

    Raises
    ------
    ModelError
        Naming the node. Of operators with inner graphs only ``If`` runs them once at most.
    """
    for node in _all_nodes(model.graph):
        bodies = any(inner_graphs(attribute) for attribute in node.attribute)
        if node.op_type in _REPEATING or (bodies and node.op_type != "If"):
            raise ModelError(
                f"{source}: {described(node)} repeats a part of the graph, which may never end. "
                "Expected a FaceNet, whose layers run once: export the model without loops."
            )


def _all_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in inner_graphs(attribute):
                yield from _all_nodes(inner)
