"""Facts about an ONNX graph, and small rewrites of it, that several modules need."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from math import prod

import onnx
from onnx import TensorProto

from facenet_validate.base.errors import ModelError

_STANDARD = ("", "ai.onnx")
_FEW = 16
"""Most values of a weight that shape inference gets, whatever their type."""

# -- facts ---------------------------------------------------------------------------------------


def described(node: onnx.NodeProto) -> str:
    """Return how an error calls a node: by its first output where the node has no name."""
    called = node.name or next(iter(filter(None, node.output)), "?")
    return f"node {called!r} ({node.op_type})"


def is_standard(node: onnx.NodeProto) -> bool:
    """Say whether a node is of the standard ONNX operators, and not of a runtime's own."""
    return node.domain in _STANDARD


def opset_of(model: onnx.ModelProto) -> int:
    """Return the version of the standard operators that a model states; 0 if it states none."""
    return next((o.version for o in model.opset_import if o.domain in _STANDARD), 0)


def whole(node: onnx.NodeProto, name: str, default: int = 0) -> int:
    """Return the value of an integer attribute; the default where the node has no such one."""
    return next((int(a.i) for a in node.attribute if a.name == name), default)


def inner_graphs(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    """Return the branches of a node and the bodies of its loops."""
    return [
        graph for a in node.attribute for graph in [*([a.g] if a.HasField("g") else []), *a.graphs]
    ]


def inner_nodes(node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
    """Yield the nodes of a node's branches and bodies, at any depth."""
    for graph in inner_graphs(node):
        for child in graph.node:
            yield child
            yield from inner_nodes(child)


def reads(node: onnx.NodeProto) -> set[str]:
    """Return the tensors a node reads, those that its inner graphs take from outside included."""
    found = set(filter(None, node.input))
    for graph in inner_graphs(node):
        inner = {value.name for value in graph.input}
        inner |= {tensor.name for tensor in graph.initializer}
        inner |= {name for child in graph.node for name in child.output}
        for child in graph.node:
            found |= reads(child) - inner
        found |= {value.name for value in graph.output} - inner
    return found


def makers_of(graph: onnx.GraphProto) -> dict[str, onnx.NodeProto]:
    """Return the node that makes each tensor."""
    return {name: node for node in graph.node for name in node.output if name}


def constants_of(graph: onnx.GraphProto) -> dict[str, TensorProto]:
    """Return the weights, and the values of ``Constant`` nodes, by tensor."""
    found = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and [a.name for a in node.attribute] == ["value"]:
            found[node.output[0]] = node.attribute[0].t
    return found


def read_nodes(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Return the nodes that an output needs, in order; the nodes of the graph are in order."""
    needed = {value.name for value in graph.output}
    kept = []
    for node in reversed(graph.node):
        if not needed.isdisjoint(node.output):
            needed |= reads(node)
            kept.append(node)
    return kept[::-1]


def embedding_tail(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Return the nodes from the last ``MatMul`` or ``Gemm``, the bottleneck, to the output.

    Every recipe keeps these nodes in FP32: the bottleneck, its batch norm and the L2 norm. In FP16
    the norm's epsilon of 1e-10 would become zero. In INT8 the tail decides every bit of the
    embedding, and it costs nothing. The tail of a model without a bottleneck starts after its last
    ``Flatten``.
    """
    operators = [node.op_type for node in model.graph.node]
    dense = [i for i, operator in enumerate(operators) if operator in ("MatMul", "Gemm")]
    flat = [i + 1 for i, operator in enumerate(operators) if operator == "Flatten"]
    starts = dense or flat
    return list(model.graph.node[starts[-1] :]) if starts else []


def has_equal_names(model: onnx.ModelProto) -> bool:
    """Say whether two nodes of one graph have the same name. A branch is a graph of its own.

    ONNX allows equal names; no runtime here loads them.
    """
    return any(
        len(set(names)) < len(names)
        for graph in _graphs(model.graph)
        for names in [[node.name for node in graph.node if node.name]]
    )


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """Yield a graph and the graphs inside it."""
    yield graph
    for node in graph.node:
        for inner in inner_graphs(node):
            yield from _graphs(inner)


def without_weights(
    model: onnx.ModelProto,
    nodes: Iterable[onnx.NodeProto],
    inputs: Iterable[onnx.ValueInfoProto],
) -> onnx.ModelProto:
    """Return a model for shape inference, whose large weights are inputs.

    Shape inference needs the shapes of weights alone, and would copy all 94 MB of a FaceNet twice.

    Parameters
    ----------
    model : onnx.ModelProto
        Gives outputs and weights.
    nodes, inputs
        The nodes, and the inputs beside the weights, that shapes are inferred for.
    """
    light = onnx.ModelProto(ir_version=max(model.ir_version, 4), opset_import=model.opset_import)
    light.graph.name = "shapes"
    light.graph.node.extend(nodes)
    light.graph.input.extend(inputs)
    light.graph.output.extend(model.graph.output)
    for tensor in model.graph.initializer:
        # Shapes, axes and the scales of a resize decide sizes by their values.
        if tensor.data_type == TensorProto.INT64 or prod(tensor.dims) <= _FEW:
            light.graph.initializer.append(tensor)
        else:
            light.graph.input.append(
                onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            )
    return light


# -- rewrites ------------------------------------------------------------------------------------


def set_nodes(graph: onnx.GraphProto, nodes: Iterable[onnx.NodeProto]) -> None:
    """Replace the nodes of a graph, in place; the new nodes may come from the same graph."""
    nodes = list(nodes)
    del graph.node[:]
    graph.node.extend(nodes)


def rename_tensor(nodes: Iterable[onnx.NodeProto], old: str, new: str) -> None:
    """Rename a tensor wherever nodes read or make it, in place, in their inner graphs too."""
    for node in nodes:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                if name == old:
                    names[place] = new
        for graph in inner_graphs(node):
            rename_tensor(graph.node, old, new)
            for value in [*graph.input, *graph.output, *graph.value_info, *graph.initializer]:
                if value.name == old:
                    value.name = new


def sort_nodes(graph: onnx.GraphProto, *, source: str) -> None:
    """Put every node after the nodes it reads, in place. Otherwise the nodes keep their order.

    Raises
    ------
    ModelError
        If nodes read each other in a cycle, or two make the same tensor; a node is named.
    """
    nodes = list(graph.node)
    maker: dict[str, int] = {}
    for index, node in enumerate(nodes):
        for name in filter(None, node.output):
            if name in maker:
                raise ModelError(
                    f"{source}: {described(node)} gives {name!r}, which "
                    f"{described(nodes[maker[name]])} gives too. Expected every tensor from one "
                    "node: export the model again."
                )
            maker[name] = index
    sorter = TopologicalSorter(
        {i: {maker[name] for name in reads(n) if name in maker} for i, n in enumerate(nodes)}
    )
    try:
        sorter.prepare()
    except CycleError as error:
        raise ModelError(
            f"{source}: {described(nodes[error.args[1][0]])} reads what is made from its own "
            "output: the graph has a cycle. Export the model again."
        ) from None
    ready = sorted(sorter.get_ready())
    order = []
    while ready:
        # The first node in the file goes first: the order is stable.
        order.append(heapq.heappop(ready))
        sorter.done(order[-1])
        for index in sorter.get_ready():
            heapq.heappush(ready, index)
    if order != sorted(order):
        set_nodes(graph, [nodes[index] for index in order])


def remove_round_trips(model: onnx.ModelProto) -> None:
    """Remove casts of float32 to float16 and straight back, in place: they only lose precision."""
    graph = model.graph
    makers = makers_of(graph)
    exact: dict[str, str] = {}
    for node in graph.node:
        before = makers.get(node.input[0]) if node.op_type == "Cast" else None
        if (
            before is not None
            and before.op_type == "Cast"
            and whole(node, "to") == TensorProto.FLOAT
            and whole(before, "to") == TensorProto.FLOAT16
        ):
            exact[node.output[0]] = before.input[0]
    for node in graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = exact.get(name, name)
    for value in graph.output:
        if value.name in exact:
            # No node reads the cast that had the output's name any more.
            rename_tensor(graph.node, value.name, f"{value.name}/replaced")
            rename_tensor(graph.node, exact[value.name], value.name)
    sort_nodes(graph, source="the FP16 graph")
    remove_unread(graph)
    _check_complete(graph)


def _check_complete(graph: onnx.GraphProto) -> None:
    made = {tensor.name for tensor in graph.initializer} | {value.name for value in graph.input}
    for node in graph.node:
        absent = sorted(reads(node) - made)
        if absent:
            raise ModelError(
                f"{described(node)} reads {absent[0]!r}, which nothing before it gives: the graph "
                "has a cycle or a gap."
            )
        made.update(node.output)


def remove_unread(graph: onnx.GraphProto) -> None:
    """Remove nodes and weights that no output needs, in place; the nodes are in order."""
    kept = read_nodes(graph)
    if len(kept) < len(graph.node):
        set_nodes(graph, kept)
    needed = {value.name for value in graph.output}.union(*map(reads, kept))
    for place in reversed(range(len(graph.initializer))):
        if graph.initializer[place].name not in needed:
            del graph.initializer[place]


def name_nodes(model: onnx.ModelProto) -> None:
    """Give every node a name of its own in its graph, in place: recipes exclude nodes by name.

    No recipe excludes a node of a branch. Such a node is renamed only where its name is taken.
    """
    for place, graph in enumerate(_graphs(model.graph)):
        known: set[str] = set()
        for index, node in enumerate(graph.node):
            if node.name in known or not (node.name or place):
                node.name = f"{node.op_type}_{index}"
                while node.name in known:
                    node.name += "_"
            known |= {node.name} - {""}
