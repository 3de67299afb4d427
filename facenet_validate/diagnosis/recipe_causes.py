"""Faults of recipes, runtimes and single layers, found in the graph that an engine computes.

Three embeddings tell who lost it: of the FP32 model, of the engine's graph computed as it is
written, and of the engine. Where the engine computes its graph, a fault is undone in the graph and
what remains is measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from facenet_validate.diagnosis.blocks import block_names
from facenet_validate.diagnosis.case import Case
from facenet_validate.diagnosis.diagnosis import Cause, Finding, NotTried
from facenet_validate.diagnosis.graph_causes import (
    COLLAPSED,
    EVERY,
    FEW_CALIBRATION,
    HALF_RANGE,
    ONE_LAYER,
    RAW_CALIBRATION,
    RECIPE,
    RUNTIME,
    SATURATING,
    SCALED_CALIBRATION,
)
from facenet_validate.diagnosis.graph_trial import FEW, GraphTrial
from facenet_validate.diagnosis.half_in_float import has_half, in_float
from facenet_validate.diagnosis.layers_restored import restored, unlike
from facenet_validate.diagnosis.matching import Operator
from facenet_validate.diagnosis.quantisers import (
    Need,
    Quantiser,
    Range,
    needs,
    quantisers,
    with_ranges,
)
from facenet_validate.diagnosis.rule import cosine
from facenet_validate.diagnosis.saturation import saturated
from facenet_validate.diagnosis.sides import Sides
from facenet_validate.diagnosis.stale_engine import stale_engine_findings
from facenet_validate.diagnosis.walk import JUMP, measured

_OFF = 4.0
"""How often the noise of a range may be that of the range which the faces need: a bit more."""

_SINGLE = 0.05
"""Share of the ranges that may be off where single tensors are to blame, not the calibration."""

_RAW = 10.0
"""Largest input from which pixels were not standardized: those of the contract end at 1."""

_MOVED = 0.25
"""How far the ends of the image's range may lie from those of faces, as a share of its reach."""


def recipe_findings(case: Case) -> Iterator[Finding | NotTried]:
    """Yield what the graph of an engine tells, and whether it is an engine of another model."""
    if case.graph is None:
        reason = "the ONNX graph that this engine was built from is not at hand"
        yield from (NotTried(cause.name, reason) for cause in EVERY)
    else:
        yield from _graph_findings(case)
    yield from stale_engine_findings(case, case.batch[:FEW])


def _graph_findings(case: Case) -> Iterator[Finding | NotTried]:
    from facenet_validate.models.prepared import load_onnx

    assert case.graph is not None
    sides = Sides(load_onnx(case.model.entry.path), load_onnx(case.graph))
    trial = GraphTrial(case, sides)
    if trial.sound:
        reason = "the embeddings are as near to FP32's as the precision allows"
        yield from (NotTried(cause.name, reason) for cause in EVERY)
        return
    if not trial.in_graph:
        yield from _beside_the_graph(trial)
        return
    if has_half(sides.engine):
        yield trial.undone(HALF_RANGE, in_float(sides.engine), "in FP32 nothing overflows")
    if sides.matched.untold:
        causes = (COLLAPSED, RAW_CALIBRATION, SCALED_CALIBRATION, FEW_CALIBRATION, ONE_LAYER)
        yield from (NotTried(cause.name, sides.matched.untold) for cause in causes)
        return
    others = unlike(sides)
    yield from _one_layer(trial, others)
    if case.engine.info.precision == "int8":
        yield from _rounding(trial, others)


def _beside_the_graph(trial: GraphTrial) -> Iterator[Finding | NotTried]:
    """Yield what can be told of an engine that does not compute its graph."""
    shown = _three_way(trial)
    if trial.precision == "int8":
        graph = saturated(trial.sides.theirs, trial.batch[:FEW])
        if graph is None:
            yield NotTried(SATURATING.name, "no sum of two products in this graph can saturate")
        else:
            yield trial.imitated(SATURATING, graph, shown)
    if trial.graph_agrees:
        # Any fault around the engine does this, so by itself it names none.
        yield replace(trial.undone(RUNTIME, trial.sides.engine, shown), named=False)
    reason = "the engine does not compute its graph"
    rest = (cause for cause in EVERY if cause not in (SATURATING, RUNTIME))
    yield from (NotTried(cause.name, reason) for cause in rest)


def _three_way(trial: GraphTrial) -> str:
    return (
        f"row cosine of the graph to FP32 {cosine(trial.written, trial.expected):.5f}, of the "
        f"engine to the graph {cosine(trial.found, trial.written):.5f}"
    )


def _one_layer(trial: GraphTrial, others: Sequence[Operator]) -> Iterator[Finding | NotTried]:
    """Undo the one layer that is not the model's."""
    sides = trial.sides
    if not others:
        _, alone = measured(sides, trial.batch[:FEW], None)
        others = [
            operator
            for operator, difference in zip(sides.operators, alone, strict=True)
            if difference.sqnr < JUMP and operator.name in sides.weights
        ]
    if len(others) != 1:
        count = f"{len(others)} layers" if others else "no layer"
        yield NotTried(ONE_LAYER.name, f"{count} of the graph differ from the model's")
        return
    try:
        graph = restored(sides, others)
    except LookupError as error:
        yield NotTried(ONE_LAYER.name, str(error.args[0]))
        return
    yield trial.undone(ONE_LAYER, graph, _called(sides, others[0]))


def _called(sides: Sides, operator: Operator) -> str:
    block = block_names(sides.model).get(operator.name, "bottleneck")
    return f"{operator.reference.op_type} {operator.reference.name or operator.name} of {block}"


def _rounding(trial: GraphTrial, others: Sequence[Operator]) -> Iterator[Finding | NotTried]:
    """Undo the ranges, one and all, and at last the rounding of the weights."""
    sides = trial.sides
    every = quantisers(sides)
    pairs = list(zip(every, needs(sides, every, trial.batch), strict=True))
    ranges = _ranges_undone(trial, pairs)
    if ranges is not None:
        yield ranges
    if others:
        yield NotTried(RECIPE.name, f"{len(others)} layers have other weights than the model")
        return
    graph = with_ranges(restored(sides, _layers(sides)), _ranges(pairs))
    finding = trial.undone(RECIPE, graph, _three_way(trial))
    # Where the ranges alone explain it, this says nothing new.
    yield replace(finding, named=finding.named and not (ranges and ranges.named))


def _ranges_undone(trial: GraphTrial, pairs: Sequence[tuple[Quantiser, Need]]) -> Finding | None:
    """Return what fitting ranges leave, of single tensors or of all; None if none is off."""
    sides = trial.sides
    off = [pair for pair in pairs if pair[1].noise > _OFF * pair[1].least]
    if not off:
        return None
    shown = _off(*max(off, key=lambda pair: pair[1].noise))
    if len(off) <= max(1, _SINGLE * len(pairs)):
        return trial.undone(COLLAPSED, with_ranges(sides.engine, _ranges(off)), shown)
    graph = restored(sides, _layers(sides), weights=False)
    return trial.undone(
        _calibration(pairs),
        with_ranges(graph, _ranges(pairs)),
        f"{len(off)} of {len(pairs)} ranges are off; {shown}",
    )


def _layers(sides: Sides) -> list[Operator]:
    return [operator for operator in sides.operators if operator.name in sides.weights]


def _ranges(
    pairs: Sequence[tuple[Quantiser, Need]],
) -> dict[str, tuple[Quantiser, Range]]:
    return {one.scale: (one, need.range) for one, need in pairs}


def _off(one: Quantiser, need: Need) -> str:
    tensor = one.edges[0].reference
    return (
        f"{tensor} is rounded in {one.found.low:.4g} to {one.found.high:.4g}, the faces need "
        f"{need.range.low:.4g} to {need.range.high:.4g}"
    )


def _calibration(pairs: Sequence[tuple[Quantiser, Need]]) -> Cause:
    """Return what the calibration images were: the image's own range tells their scale."""
    image = next(((o, n) for o, n in pairs if any(not edge.maker for edge in o.edges)), None)
    ratios = [one.found.reach / max(need.range.reach, 1e-30) for one, need in pairs]
    if image is None:
        return RAW_CALIBRATION if float(np.median(ratios)) > _RAW else FEW_CALIBRATION
    (one, need) = image
    if one.found.reach > _RAW * need.range.reach:
        return RAW_CALIBRATION
    wanted = one.fitted(need.range)
    sides = ((one.found.low, wanted.low), (one.found.high, wanted.high))
    moved = max(abs(found - needed) for found, needed in sides)
    return SCALED_CALIBRATION if moved > _MOVED * wanted.reach else FEW_CALIBRATION
