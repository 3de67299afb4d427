"""Which operator of an engine's graph is which of the model's, told by structure and not by names.

Both graphs are followed backwards from the embedding. What multiplies, pools, concatenates or adds
must be the same on both sides; what stands between does not matter: ``Relu``, Q/DQ pairs, casts, a
batch norm that was not folded. So the engine's names and the order of its nodes may be any.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import onnx

from facenet_validate.models.layers import CONVOLUTIONS, DENSE
from facenet_validate.models.passes import constants_of, described, makers_of, read_nodes, reads

_KINDS = {
    **dict.fromkeys(("Conv", "FusedConv", "Gemm", "MatMul", "FusedMatMul", "FusedGemm"), "layer"),
    **dict.fromkeys(("AveragePool", "GlobalAveragePool", "ReduceMean"), "average"),
    **dict.fromkeys(("MaxPool", "GlobalMaxPool"), "largest"),
    "Concat": "concatenation",
    "Add": "addition",
    "Sum": "addition",
}
_INTEGERS = tuple(operator for operator in (*CONVOLUTIONS, *DENSE) if operator not in _KINDS)


@dataclass(frozen=True)
class Edge:
    """One tensor that an operator hands to another, on both sides.

    Attributes
    ----------
    reference, engine : str
        Its name in the model's graph, and in the engine's: behind the activation there, and behind
        the Q/DQ pair.
    maker : str
        First output, in the model, of the operator that it comes from; empty for the image.
    """

    reference: str
    engine: str
    maker: str = ""


@dataclass(frozen=True)
class Operator:
    """An operator that both graphs have.

    Attributes
    ----------
    reference, engine : onnx.NodeProto
        Its nodes.
    made : Edge
        What it gives, as its first reader reads it.
    read : tuple of Edge
        What it reads, in order.
    """

    reference: onnx.NodeProto
    engine: onnx.NodeProto
    made: Edge
    read: tuple[Edge, ...]

    @property
    def name(self) -> str:
        """Its first output in the model, which is a name of its own."""
        return str(self.reference.output[0])


@dataclass(frozen=True)
class Matched:
    """The operators that two graphs have in common.

    Attributes
    ----------
    operators : tuple of Operator
        In the model's order; the embedding's last. Empty where the graphs do not match.
    image : Edge
        The graphs' inputs.
    untold : str
        Why the graphs do not match; empty where they do.
    """

    operators: tuple[Operator, ...]
    image: Edge
    untold: str = ""


class Graph:
    """A graph as it is matched: the operators that count, and what they read.

    Parameters
    ----------
    model : onnx.ModelProto
        Its nodes are in order. It has one input and one output.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        graph = model.graph
        self.makers = makers_of(graph)
        self.weights = constants_of(graph)
        self.constant = _constants(graph)
        self.image = next(v.name for v in graph.input if v.name not in self.weights)
        self.output = graph.output[0].name
        self.nodes = read_nodes(graph)
        self._likeness: dict[str, int] = {}

    @cached_property
    def last(self) -> onnx.NodeProto | None:
        """The last operator with weights: what follows is the embedding's norm."""
        return next((n for n in reversed(self.nodes) if self.kind(n) == "layer"), None)

    def kind(self, node: onnx.NodeProto) -> str:
        """Return which kind of operator a node is; empty for those that do not count."""
        kind: str = _KINDS.get(node.op_type, "")
        several = len(self.data(node)) > 1
        if kind == "addition" and not several:
            return ""  # a bias
        return "" if kind == "layer" and several else kind

    def data(self, node: onnx.NodeProto) -> list[str]:
        """Return what a node reads and an image can change."""
        return [name for name in node.input if name and name not in self.constant]

    def behind(self, tensor: str) -> onnx.NodeProto | None:
        """Return the operator whose values a tensor holds; None for the image.

        Raises
        ------
        LookupError
            If a node in between reads two tensors, as the product of two.
        """
        node = self.makers.get(tensor)
        while node is not None and not self.kind(node):
            (before, *others) = self.data(node) or [""]
            if others:
                raise LookupError(f"{described(node)} joins tensors in a way of its own")
            node = self.makers.get(before)
        return node

    def weight(self, name: str) -> onnx.TensorProto | None:
        """Return the weight that a constant is made from, through casts and dequantising."""
        while name not in self.weights:
            node = self.makers.get(name)
            if node is None or not node.input:
                return None
            name = node.input[0]
        return self.weights[name]

    def likeness(self, tensor: str) -> int:
        """Return a number that two tensors share whose operators are the same down to the image."""
        node = self.behind(tensor)
        if node is None:
            return 0
        made = node.output[0]
        if made not in self._likeness:
            below = [self.likeness(name) for name in self.data(node)]
            kind = self.kind(node)
            sizes = self.sizes(node) if kind == "layer" else ()
            ordered = tuple(sorted(below) if kind == "addition" else below)
            self._likeness[made] = hash((kind, sizes, ordered))
        return self._likeness[made]

    def sizes(self, node: onnx.NodeProto) -> tuple[int, ...]:
        """Return the sides of a layer's weights, in an order that exporters do not change."""
        weight = next(
            filter(None, (self.weight(n) for n in node.input[:2] if n in self.constant)), None
        )
        return tuple(sorted(side for side in weight.dims if side > 1)) if weight else ()


def matched(ours: Graph, theirs: Graph) -> Matched:
    """Match the operators of an engine's graph with those of the prepared model's."""
    image = Edge(ours.image, theirs.image)
    integer = next((n for n in theirs.nodes if n.op_type in _INTEGERS), None)
    if integer is not None:
        how = "its tensors are integers between nodes; export it with Q/DQ pairs"
        return Matched((), image, f"the engine's {described(integer)}: {how}")
    try:
        return Matched(_operators(ours, theirs), image)
    except LookupError as error:
        return Matched((), image, str(error.args[0]))


def _operators(ours: Graph, theirs: Graph) -> tuple[Operator, ...]:
    if ours.last is None or theirs.last is None:
        raise LookupError("a graph has no layer with weights")
    pairs = _Pairs(ours, theirs)
    pairs.add(ours.last, theirs.last, Edge(ours.output, theirs.output, ours.last.output[0]))
    while pairs.waiting:
        pairs.waiting.pop()()
    order = {node.output[0]: place for place, node in enumerate(ours.nodes)}

    def first(edges: list[tuple[int, Edge]]) -> Edge:
        return min(edges, key=lambda known: known[0])[1]

    return tuple(
        Operator(
            pair.reference,
            pair.engine,
            first([(order.get(reader, len(order)), edge) for reader, edge in pair.made]),
            tuple(pair.read),
        )
        for _, pair in sorted(pairs.found.items(), key=lambda item: order[item[0]])
    )


@dataclass
class _Pair:
    """An operator of both graphs while its readers are still being found."""

    reference: onnx.NodeProto
    engine: onnx.NodeProto
    made: list[tuple[str, Edge]] = field(default_factory=list)
    read: list[Edge] = field(default_factory=list)


class _Pairs:
    """Pairs of operators by the model's tensor, and pairs whose inputs are still to be matched."""

    def __init__(self, ours: Graph, theirs: Graph) -> None:
        self._ours, self._theirs = ours, theirs
        self.found: dict[str, _Pair] = {}
        self.waiting: list[Callable[[], None]] = []

    def add(
        self, mine: onnx.NodeProto, other: onnx.NodeProto, edge: Edge, reader: str = ""
    ) -> None:
        """Pair two operators; their inputs are matched later."""
        name = mine.output[0]
        if name not in self.found:
            self._check(mine, other)
            self.found[name] = _Pair(mine, other)
            self.waiting.append(lambda: self._inputs(self.found[name]))
        elif self.found[name].engine.output[0] != other.output[0]:
            raise LookupError(
                f"the model's {described(mine)} has two counterparts in the engine: "
                f"{described(self.found[name].engine)} and {described(other)}"
            )
        self.found[name].made.append((reader, edge))

    def _check(self, mine: onnx.NodeProto, other: onnx.NodeProto) -> None:
        same = self._ours.kind(mine) == self._theirs.kind(other)
        sizes = self._ours.sizes(mine), self._theirs.sizes(other)
        if not same or sizes[0] != sizes[1]:
            shown = [" × ".join(map(str, side)) for side in sizes]
            raise LookupError(
                f"where the model has {described(mine)} {shown[0]}, the engine has "
                f"{described(other)} {shown[1]}".rstrip()
            )

    def _inputs(self, pair: _Pair) -> None:
        mine, others = self._ours.data(pair.reference), self._theirs.data(pair.engine)
        if len(mine) != len(others):
            raise LookupError(
                f"the model's {described(pair.reference)} reads {len(mine)} tensors, the engine's "
                f"{described(pair.engine)} {len(others)}"
            )
        if self._ours.kind(pair.reference) == "addition":
            others = self._turned(mine, others)
        for name, other in zip(mine, others, strict=True):
            before, theirs = self._ours.behind(name), self._theirs.behind(other)
            edge = Edge(name, other, "" if before is None else before.output[0])
            pair.read.append(edge)
            if before is not None and theirs is not None:
                self.add(before, theirs, edge, pair.reference.output[0])
            elif before is not theirs:
                raise LookupError(f"the engine's {described(pair.engine)} reads other layers")

    def _turned(self, mine: list[str], others: list[str]) -> list[str]:
        """Return an addition's operands in the model's order: a sum may be written either way."""
        wanted = [self._ours.likeness(name) for name in mine]
        left, ordered = list(others), []
        for likeness in wanted:
            same = [name for name in left if self._theirs.likeness(name) == likeness]
            if not same:
                return others  # the place where they differ is found below
            ordered.append(same[0])
            left.remove(same[0])
        return ordered


def _constants(graph: onnx.GraphProto) -> frozenset[str]:
    """Return the tensors that no image reaches."""
    found = {tensor.name for tensor in graph.initializer}
    for node in graph.node:
        if reads(node) <= found:
            found.update(filter(None, node.output))
    return frozenset(found)
