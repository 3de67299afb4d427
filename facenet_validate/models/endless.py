"""Operators that run a graph again and again: how often is for the graph to say, and it may lie."""

from __future__ import annotations

import onnx

from facenet_validate.base.errors import ModelError
from facenet_validate.models.passes import described, inner_graphs, inner_nodes

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
        Naming the node. Of the operators with inner graphs only ``If`` runs them once at most.
    """
    for outer in model.graph.node:
        for node in (outer, *inner_nodes(outer)):
            if node.op_type in _REPEATING or (inner_graphs(node) and node.op_type != "If"):
                raise ModelError(
                    f"{source}: {described(node)} repeats a part of the graph, which may never "
                    "end. Expected a FaceNet, whose layers run once: export the model without "
                    "loops."
                )
