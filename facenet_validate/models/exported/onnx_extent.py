"""The nodes and parts that an ONNX file lists, counted before memory is taken for them.

An empty node takes two bytes in a file and hundreds in memory, and functions of functions grow
without bound. So both are counted first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import onnx

from facenet_validate.base.errors import ModelError
from facenet_validate.models.frozen.graphdef import wire_fields
from facenet_validate.models.passes import described, inner_graphs

NODE_LIMIT = 100_000
"""Nodes a model may have, as it is and once its functions are inlined; a FaceNet has about 500."""

PART_LIMIT = 250_000
"""Nodes, tensors and their parts a file may list; a FaceNet has 50,000 at most."""

DEPTH_LIMIT = 100
"""Functions within functions: the inliner calls itself for each."""

EXPORT_AGAIN = "Export the model again, or save it with onnx.save(onnx.load(path), new_path)."

_Function = tuple[str, str, str]


def check_extent(data: bytes, path: Path) -> None:
    """Walk a file's messages on the wire and count them; nothing is parsed.

    Raises
    ------
    ModelError
        If there are more nodes, or parts of anything, than any network has.
    ValueError
        If a field claims more bytes than there are.
    """
    waiting = [(onnx.ModelProto.DESCRIPTOR, 0, len(data))]
    nodes = parts = 0
    while waiting:
        message, start, end = waiting.pop()
        for number, first, last in wire_fields(data, start, end):
            parts += 1
            field = message.fields_by_number.get(number)
            inner = field.message_type if field is not None else None
            if inner is not None:
                nodes += inner is onnx.NodeProto.DESCRIPTOR
                waiting.append((inner, first, last))
            if nodes > NODE_LIMIT or parts > PART_LIMIT:
                what = f"{NODE_LIMIT:,} nodes" if nodes > NODE_LIMIT else f"{PART_LIMIT:,} parts"
                raise ModelError(
                    f"{path}: more than {what}, counted at byte {first:,} of {len(data):,}. "
                    "Expected a FaceNet, which has about 500 nodes."
                )


def check_expansion(model: onnx.ModelProto, path: Path) -> None:
    """Count the nodes of the inlined model before its functions are inlined.

    Raises
    ------
    ModelError
        If they would be too many, a function calls itself, or functions are nested too deep.
    """
    bodies = {(f.domain, f.name, f.overload): f for f in model.functions}

    def calls(nodes: Iterable[onnx.NodeProto]) -> Iterator[_Function | None]:
        for node in nodes:
            key = (node.domain, node.op_type, node.overload)
            yield key if key in bodies else None
            for graph in inner_graphs(node):
                yield from calls(graph.node)

    called = {key: list(calls(function.node)) for key, function in bodies.items()}
    needs = {key: {other for other in others if other} for key, others in called.items()}
    sizes: dict[_Function | None, int] = {None: 1}
    depths: dict[_Function, int] = {}
    try:
        for key in TopologicalSorter(needs).static_order():
            # Counting stops at the limit: the sums may double at every function.
            sizes[key] = min(sum(sizes[other] for other in called[key]), NODE_LIMIT + 1)
            depths[key] = 1 + max((depths[other] for other in needs[key]), default=0)
    except CycleError as error:
        raise ModelError(
            f"{path}: local function {error.args[1][0][1]!r} calls itself: a cycle. {EXPORT_AGAIN}"
        ) from None
    if sum(sizes[key] for key in calls(model.graph.node)) > NODE_LIMIT:
        worst = max(model.graph.node, key=lambda node: _size(node, sizes))
        raise ModelError(
            f"{path}: more than {NODE_LIMIT:,} nodes once local functions are inlined, most of "
            f"them in {described(worst)}; a FaceNet has about 500. {EXPORT_AGAIN}"
        )
    deepest = max(depths, key=lambda key: depths[key])
    if depths[deepest] > DEPTH_LIMIT:
        raise ModelError(
            f"{path}: local function {deepest[1]!r} is {depths[deepest]:,} functions deep; "
            f"expected at most {DEPTH_LIMIT}. {EXPORT_AGAIN}"
        )


def _size(node: onnx.NodeProto, sizes: dict[_Function | None, int]) -> int:
    return sizes.get((node.domain, node.op_type, node.overload), 1)
