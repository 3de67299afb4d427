"""An engine's graph on trial: computed as it is written, and with a part of it undone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import onnx

from facenet_validate.base.vocabulary import Precision
from facenet_validate.diagnosis.case import Case
from facenet_validate.diagnosis.diagnosis import Cause, Finding
from facenet_validate.diagnosis.emulation import Values, emulated
from facenet_validate.diagnosis.half_in_float import as_half, has_half
from facenet_validate.diagnosis.matching import Operator
from facenet_validate.diagnosis.quantisers import Need, Quantiser, needs, quantisers, with_ranges
from facenet_validate.diagnosis.rule import cosine, distance, judged, unit
from facenet_validate.diagnosis.sides import Sides

FACES = 8
"""Faces of a trial."""

FEW = 4
"""Faces of what takes long."""

SOUND: dict[Precision, float] = {"fp32": 1 - 1e-9, "fp16": 0.9999, "int8": 0.995}
"""Mean row cosine from which an engine has nothing to undo: the limits of ``parity.cosine_mean`` of
the shipped gates. FP32's leaves the last bits, which another order of sums moves."""

SMALL = 0.2
"""Share of the difference that two computations of one graph may differ by."""


@dataclass(frozen=True, eq=False)
class GraphTrial:
    """The graph of a case, the FP32 model, and the embeddings of the case's first faces.

    Where a fault is undone in the graph, what remains is compared with the reference: a part that
    is to blame leaves nothing when it is undone. Rows are compared by direction: a norm that is
    rounded as well leaves wrong lengths.
    """

    case: Case
    sides: Sides

    @cached_property
    def batch(self) -> Values:
        """The faces, (N, 3, H, H)."""
        return self.case.batch[:FACES]

    @property
    def precision(self) -> Precision:
        """Of the engine."""
        return self.case.engine.info.precision

    @cached_property
    def expected(self) -> Values:
        """Embeddings by the reference."""
        return self.case.expected[:FACES]

    @cached_property
    def found(self) -> Values:
        """Embeddings by the engine; zero where they are not finite."""
        return finite(self.case.found[:FACES])

    @cached_property
    def written(self) -> Values:
        """Embeddings by the graph, computed as it is written; FP16 as FP16."""
        graph = self.sides.engine
        return finite(emulated(as_half(graph) if has_half(graph) else graph, self.batch))

    @property
    def sound(self) -> bool:
        """Whether the engine is as near to the reference as its precision allows."""
        return cosine(self.found, self.expected) >= SOUND[self.precision]

    @property
    def in_graph(self) -> bool:
        """Whether the engine computes its graph, so that the difference is in the graph."""
        before = distance(self.found, self.expected)
        return distance(self.found, self.written) <= SMALL * before

    @property
    def graph_agrees(self) -> bool:
        """Whether the graph agrees with the reference, so that the difference is not in it."""
        before = distance(self.found, self.expected)
        return distance(self.written, self.expected) <= SMALL * before

    @property
    def three_way(self) -> str:
        """Who lost how much, for people."""
        return (
            f"row cosine of the graph to FP32 {cosine(self.written, self.expected):.5f}, of the "
            f"engine to the graph {cosine(self.found, self.written):.5f}"
        )

    @cached_property
    def layers(self) -> tuple[Operator, ...]:
        """The layers whose weights are known on both sides."""
        sides = self.sides
        return tuple(one for one in sides.operators if one.name in sides.weights)

    @cached_property
    def ranges(self) -> tuple[tuple[Quantiser, Need], ...]:
        """What rounds activations, and what the faces need of it."""
        every = quantisers(self.sides)
        return tuple(zip(every, needs(self.sides, every, self.batch), strict=True))

    def refitted(self, graph: onnx.ModelProto) -> onnx.ModelProto:
        """Return a copy of a graph, made from the engine's, that rounds as the faces need it."""
        return with_ranges(graph, [(one, need.range) for one, need in self.ranges])

    def undone(self, cause: Cause, graph: onnx.ModelProto, detail: str) -> Finding:
        """Return what undoing a fault in the graph leaves of the difference."""
        rows = finite(emulated(graph, self.batch))
        return _by_direction(cause, self.expected, self.found, rows, self.precision, detail)

    def imitated(self, cause: Cause, graph: onnx.ModelProto, detail: str) -> Finding:
        """Return how much of the engine a graph with a fault explains, on the first faces."""
        rows = finite(emulated(graph, self.batch[:FEW]))
        found, expected = self.found[:FEW], self.expected[:FEW]
        return _by_direction(cause, found, expected, rows, self.precision, detail)


def _by_direction(
    cause: Cause, known: Values, other: Values, made: Values, precision: Precision, detail: str
) -> Finding:
    return judged(cause, unit(known), unit(other), unit(made), precision, detail)


def finite(rows: Values) -> Values:
    """Return rows with zeros in place of NaN and infinity."""
    return np.nan_to_num(rows, nan=0.0, posinf=0.0, neginf=0.0)
