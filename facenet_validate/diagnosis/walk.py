"""The nodes of an engine and of the FP32 model side by side, and the first at which they part."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from facenet_validate.base.errors import EngineError
from facenet_validate.base.progress import Report, silent
from facenet_validate.diagnosis.blocks import block_names
from facenet_validate.diagnosis.case import Case
from facenet_validate.diagnosis.diagnosis import NodeDifference, Walk
from facenet_validate.diagnosis.differences import Difference
from facenet_validate.diagnosis.emulation import CHUNK, Emulation, Values
from facenet_validate.diagnosis.local_graph import fed_input, local_graph, local_output
from facenet_validate.diagnosis.sides import ModelTensors, Sides

FACES = 8
"""Faces that are walked, the worst first."""

JUMP = 10.0
"""Decibels of local SQNR below which an operator is a jump: its noise has a tenth of its signal's
power."""

OUTLIER = 20.0
"""Decibels below the median operator from which one is a jump: a hundred times the noise power."""

_FINE = 60.0
"""Decibels from which noise is no longer told apart: FP32's own sums reach 100 and more."""

_SAME = 1e-6
"""Difference of two values of an embedding that the order of sums may make."""

_NEAR = 0.05
"""Difference up to which two computations are of one engine: kernels round in other places."""


def walk_nodes(case: Case, *, faces: int = FACES, progress: Report = silent) -> Walk:
    """Compare the intermediate tensors of an engine with the model's, in topological order.

    Parameters
    ----------
    case : Case
        The engine and its graph. Where the engine gives no tensors, or has other embeddings than
        its graph, the graph is computed as it is written.
    faces : int
        How many of the case's faces are run.
    progress : callable
        Called with (batches done, batches in all).

    Returns
    -------
    Walk
        One entry for each layer, pool, concatenation and addition; each tensor behind its
        activation and its Q/DQ pair.
    """
    from facenet_validate.models.prepared import load_onnx

    if case.graph is None:
        return Walk(
            untold="the ONNX graph that this engine was built from is not at hand. Validate that "
            "graph on the backend onnxruntime: its nodes can be compared"
        )
    sides = Sides(load_onnx(case.model.entry.path), load_onnx(case.graph))
    return walk_sides(case, sides, case.batch[:faces], progress)


def walk_sides(case: Case, sides: Sides, batch: Values, progress: Report = silent) -> Walk:
    """Walk over graphs that are loaded already, as `walk_nodes`."""
    if sides.matched.untold:
        return Walk(untold=sides.matched.untold)
    engine = _EngineTensors(case, sides, batch)
    whole, alone = measured(sides, batch, engine.run, progress)
    return _walk(sides, whole, alone, engine)


def measured(
    sides: Sides,
    batch: Values,
    run: Callable[[Values], Sequence[Values]] | None,
    progress: Report = silent,
) -> tuple[list[Difference], list[Difference]]:
    """Return the differences of all operators: of the whole engine, and of each by itself.

    Parameters
    ----------
    batch : ndarray of shape (N, 3, H, H)
        Standardized faces; `CHUNK` of them are in memory at a time, with all their tensors.
    run : callable or None
        Returns what the operators of the whole engine give; None to leave that out.
    """
    operators = sides.operators
    edges = {edge for operator in operators for edge in (operator.made, *operator.read)}
    model = ModelTensors(sides, (edge.reference for edge in edges))
    local = Emulation(local_graph(sides.theirs, operators), [local_output(o) for o in operators])
    fed = {edge.reference: edge.maker for operator in operators for edge in operator.read}
    whole, alone = [Difference() for _ in operators], [Difference() for _ in operators]

    def add(
        differences: list[Difference], wanted: dict[str, Values], found: Sequence[Values]
    ) -> None:
        for operator, difference, values in zip(operators, differences, found, strict=True):
            ours = wanted[operator.made.reference]
            difference.add(ours, sides.multiplied(values, operator.name))

    for start in range(0, len(batch), CHUNK):
        part = batch[start : start + CHUNK]
        wanted = model(part)
        if run is not None:
            add(whole, wanted, run(part))
        feed = {fed_input(name): sides.divided(wanted[name], fed[name]) for name in fed}
        add(alone, wanted, local(feed))
        progress(min(start + CHUNK, len(batch)), len(batch))
    return whole, alone


class _EngineTensors:
    """What the operators of the whole engine give, by the engine itself or by its graph.

    Attributes
    ----------
    source : str
        Who gives them.
    notes : tuple of str
        What else to know.
    run : callable
        Returns the tensors of a batch.
    """

    def __init__(self, case: Case, sides: Sides, batch: Values) -> None:
        names = [operator.made.engine for operator in sides.operators]
        self.notes: tuple[str, ...] = ()
        self._names = names
        given = self._given(case, names)
        few = batch[:CHUNK]
        if given is not None:
            moved = _moved(given(few)[0], case.engine.run(few))
            if moved > _SAME:
                self.notes += (
                    "with outputs added the engine fuses other nodes: its embeddings move by up "
                    f"to {moved:.2g}",
                )
            if moved <= _NEAR:
                self.run: Callable[[Values], Sequence[Values]] = lambda part: given(part)[1:]
                return
        emulation = Emulation(sides.engine, [sides.theirs.output, *names])
        (image,) = emulation.inputs
        self.source = "the ONNX graph, computed as it is written on ONNX Runtime's CPU provider"
        self.run = lambda part: emulation({image: part})[1:]
        self._compare(emulation({image: few})[0], case.engine.run(few))

    def _given(self, case: Case, names: list[str]) -> Callable[[Values], list[Values]] | None:
        try:
            inner = case.engine.inner_tensors(names)
        except EngineError as error:
            self.notes += (str(error),)
            return None
        self.source = inner.source
        if inner.untold:
            self.notes += (inner.untold,)
        return inner.run

    def _compare(self, graph: Values, engine: Values) -> None:
        moved = _moved(graph, engine)
        if moved > _NEAR:
            self.notes += (
                f"the engine's own embeddings differ from those of its graph by {moved:.2g}: what "
                "it does beside the graph is not in this walk",
            )


def _moved(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Return the largest difference of two arrays; infinite where one is not finite."""
    if one.shape != other.shape:
        return float("inf")
    moved = float(np.abs(one.astype(np.float64) - other).max(initial=0.0))
    return moved if np.isfinite(moved) else float("inf")


def _walk(
    sides: Sides, whole: Sequence[Difference], alone: Sequence[Difference], engine: _EngineTensors
) -> Walk:
    blocks = block_names(sides.model)
    nodes = tuple(
        NodeDifference(
            operator.reference.name or operator.name,
            operator.reference.op_type,
            blocks.get(operator.name, "bottleneck"),
            local.sqnr,
            local.cosine,
            together.sqnr,
            together.cosine,
        )
        for operator, together, local in zip(sides.operators, whole, alone, strict=True)
    )
    return Walk(engine.source, nodes, first_jump(nodes), notes=engine.notes)


def first_jump(nodes: Sequence[NodeDifference]) -> NodeDifference | None:
    """Return the first node that by itself loses far more than the others; None if none does."""
    known = [node.local_sqnr for node in nodes if node.local_sqnr is not None]
    limit = jump_limit(known)
    return next((n for n in nodes if n.local_sqnr is not None and n.local_sqnr < limit), None)


def jump_limit(local: Sequence[float]) -> float:
    """Return the local SQNR in dB below which an operator loses too much.

    Where rounding alone is at work, operators lose alike: those of the pretrained model's INT8
    graph lie within 11 dB below their median.
    """
    if not local:
        return JUMP
    return max(JUMP, min(float(np.median(local)), _FINE) - OUTLIER)
