"""Small rewrites and questions of an ONNX graph that several rooms need."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

import onnx

from facenet_validate.base.errors import ModelError


def sort_nodes(graph: onnx.GraphProto, *, source: str) -> None:
    """Put every node after the nodes it reads, in place; otherwise they keep their order.

    Raises
    ------
    ModelError
        If nodes read each other in a cycle, or two give the same tensor; a node is named.
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
    needs = [{maker[name] for name in reads(node) if name in maker} for node in nodes]
    readers: list[list[int]] = [[] for _ in nodes]
    for index, needed in enumerate(needs):
        for other in needed:
            readers[other].append(index)
    missing = [len(needed) for needed in needs]
    ready = [index for index, count in enumerate(missing) if not count]
    order = []
    while ready:
        index = heapq.heappop(ready)
        order.append(index)
        for reader in readers[index]:
            missing[reader] -= 1
            if not missing[reader]:
                heapq.heappush(ready, reader)
    if len(order) < len(nodes):
        raise ModelError(
            f"{source}: {described(nodes[_in_a_cycle(needs, missing)])} reads what is made from "
            "its own output: the graph has a cycle. Export the model again."
        )
    if order != list(range(len(nodes))):
        del graph.node[:]
        graph.node.extend(nodes[index] for index in order)


def _in_a_cycle(needs: list[set[int]], missing: list[int]) -> int:
    """Return a node of a cycle: going from need to need among the unsortable ends in one."""
    index = next(index for index, count in enumerate(missing) if count)
    seen: set[int] = set()
    while index not in seen:
        seen.add(index)
        index = next(other for other in needs[index] if missing[other])
    return index


def reads(node: onnx.NodeProto) -> set[str]:
    """Return the tensors a node reads, those that its inner graphs take from outside included."""
    found = set(filter(None, node.input))
    for attribute in node.attribute:
        for graph in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
            inner = {value.name for value in graph.input}
            inner |= {tensor.name for tensor in graph.initializer}
            inner |= {name for child in graph.node for name in child.output}
            for child in graph.node:
                found |= reads(child) - inner
            found |= {value.name for value in graph.output} - inner
    return found


def read_nodes(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Return the nodes that an output needs, in order."""
    makers = {name: index for index, node in enumerate(graph.node) for name in node.output if name}
    needed: set[int] = set()
    waiting = [value.name for value in graph.output]
    while waiting:
        index = makers.get(waiting.pop())
        if index is not None and index not in needed:
            needed.add(index)
            waiting += reads(graph.node[index])
    return [graph.node[index] for index in sorted(needed)]


def inner_nodes(node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
    """Yield the nodes of a node's branches and bodies, at any depth."""
    for graph in _bodies(node):
        for child in graph.node:
            yield child
            yield from inner_nodes(child)


def described(node: onnx.NodeProto) -> str:
    """Return how to call a node in an error: numeric exports leave names empty."""
    called = node.name or next(iter(filter(None, node.output)), "?")
    return f"node {called!r} ({node.op_type})"


def remove_round_trips(model: onnx.ModelProto) -> None:
    """Remove casts of float32 to float16 and straight back, in place; they only lose precision."""
    graph = model.graph
    producers = {output: node for node in graph.node for output in node.output}
    exact: dict[str, str] = {}
    for node in graph.node:
        before = producers.get(node.input[0]) if node.op_type == "Cast" else None
        if (
            before is not None
            and before.op_type == "Cast"
            and _cast_type(node) == onnx.TensorProto.FLOAT
            and _cast_type(before) == onnx.TensorProto.FLOAT16
        ):
            exact[node.output[0]] = before.input[0]
    for node in graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = exact.get(name, name)
    for value in graph.output:
        if value.name in exact:
            _rename(graph, exact[value.name], value.name)
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


def _cast_type(node: onnx.NodeProto) -> int:
    return next(int(attribute.i) for attribute in node.attribute if attribute.name == "to")


def _rename(graph: onnx.GraphProto, old: str, new: str) -> None:
    """Give a tensor the name of a graph output; what had that name before is read by nobody."""
    for node in graph.node:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                if name == new:
                    names[place] = f"{new}/replaced"
                elif name == old:
                    names[place] = new


def remove_unread(graph: onnx.GraphProto) -> None:
    """Remove nodes and weights that no output needs, in place; the nodes are in order."""
    needed = {value.name for value in graph.output}
    kept = []
    for node in reversed(graph.node):
        if needed & set(node.output):
            needed |= reads(node)
            kept.append(node)
    if len(kept) < len(graph.node):
        kept.reverse()
        del graph.node[:]
        graph.node.extend(kept)
    for place in reversed(range(len(graph.initializer))):
        if graph.initializer[place].name not in needed:
            del graph.initializer[place]


def embedding_tail(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Return the nodes from the last ``MatMul`` or ``Gemm``, the bottleneck, to the output.

    These are the ones a recipe keeps in FP32: the bottleneck, its batch norm and the L2 norm. In
    FP16 the norm's epsilon of 1e-10 would become zero; in INT8 the tail decides every bit of the
    embedding and costs nothing. Of a model without a bottleneck, what follows the last ``Flatten``.
    """
    operators = [node.op_type for node in model.graph.node]
    dense = [i for i, operator in enumerate(operators) if operator in ("MatMul", "Gemm")]
    flat = [i + 1 for i, operator in enumerate(operators) if operator == "Flatten"]
    starts = dense or flat
    return list(model.graph.node[starts[-1] :]) if starts else []


def has_equal_names(model: onnx.ModelProto) -> bool:
    """Say whether two nodes of a graph have one name: legal ONNX that no runtime here loads.

    A branch is a graph of its own.
    """
    return any(
        len(set(names)) < len(names)
        for graph in _graphs(model.graph)
        for names in [[node.name for node in graph.node if node.name]]
    )


def name_nodes(model: onnx.ModelProto) -> None:
    """Give every node a name of its own in its graph, in place: recipes exclude nodes by name.

    Nodes of branches are excluded by nobody: they are renamed only where their name is taken.
    """
    for place, graph in enumerate(_graphs(model.graph)):
        known: set[str] = set()
        for index, node in enumerate(graph.node):
            if node.name in known or not (node.name or place):
                node.name = f"{node.op_type}_{index}"
                while node.name in known:
                    node.name += "_"
            known |= {node.name} - {""}


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """Yield a graph and those inside it."""
    yield graph
    for node in graph.node:
        for inner in _bodies(node):
            yield from _graphs(inner)


def _bodies(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    """Return a node's branches and bodies."""
    return [
        graph for a in node.attribute for graph in [*([a.g] if a.HasField("g") else []), *a.graphs]
    ]
