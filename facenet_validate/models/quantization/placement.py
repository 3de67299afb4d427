"""Where a recipe rounds to 8 bits: which node reads which tensor dequantised."""

from __future__ import annotations

import onnx

from facenet_validate.models.passes import embedding_tail, makers_of
from facenet_validate.models.quantization.recipes import Int8Recipe

_POOLS = ("MaxPool", "AveragePool", "GlobalAveragePool")


def edges_in_8_bits(model: onnx.ModelProto, recipe: Int8Recipe) -> set[tuple[str, str]]:
    """Return the pairs of a node's name and a tensor that it reads in 8 bits."""
    kept = {node.name for node in embedding_tail(model)} | set(recipe.keep)
    makers = makers_of(model.graph)
    weights = {tensor.name for tensor in model.graph.initializer}
    edges: set[tuple[str, str]] = set()
    for node in model.graph.node:
        data = [name for name in node.input if name and name not in weights]
        if node.name in kept:
            continue
        if node.op_type in ("Conv", *_POOLS):
            read = data[:1]
        elif node.op_type == "Add" and len(data) == 2:
            read = data
            if recipe.placement != "tensors":
                read = [n for n in data if n not in makers or makers[n].op_type != "Conv"]
        elif node.op_type == "Concat" and recipe.placement == "tensors":
            read = data
        else:
            continue
        edges |= {(node.name, name) for name in read}
    if recipe.placement == "tensors":
        # Every reader of a tensor that is stored in 8 bits reads the stored one.
        stored = {name for _, name in edges}
        edges |= {(n.name, name) for n in model.graph.node for name in n.input if name in stored}
    return edges


def rounded_ahead(
    model: onnx.ModelProto, recipe: Int8Recipe, edges: set[tuple[str, str]]
) -> set[str]:
    """Return the concatenations whose inputs are rounded too, by name.

    They are those that every reader reads in 8 bits.

    Parameters
    ----------
    edges : set of (str, str)
        Of `edges_in_8_bits`.
    """
    if recipe.placement != "operands and concatenated":
        return set()
    unrounded = {
        name for node in model.graph.node for name in node.input if (node.name, name) not in edges
    }
    stored = {name for _, name in edges}
    return {
        node.name
        for node in model.graph.node
        if node.op_type == "Concat"
        and node.output[0] in stored - unrounded
        and node.name not in recipe.keep
    }
