"""Faults of recipes, runtimes and single layers, found in the graph that an engine computes.

Three embeddings tell who lost it: of the FP32 model, of the engine's graph computed as it is
written, and of the engine. Where the engine computes its graph, a fault is undone in the graph and
what remains is measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from facenet_validate.diagnosis.case import Case
from facenet_validate.diagnosis.diagnosis import Finding, NotTried
from facenet_validate.diagnosis.graph_causes import EVERY, HALF_RANGE, RUNTIME, SATURATING
from facenet_validate.diagnosis.graph_trial import FEW, GraphTrial
from facenet_validate.diagnosis.half_in_float import has_half, in_float
from facenet_validate.diagnosis.layer_causes import layer_findings
from facenet_validate.diagnosis.layers_restored import unlike
from facenet_validate.diagnosis.rounding_causes import rounding_findings
from facenet_validate.diagnosis.saturation import saturated
from facenet_validate.diagnosis.sides import Sides
from facenet_validate.diagnosis.stale_engine import stale_engine_findings
from facenet_validate.models.prepared import load_onnx


def recipe_findings(case: Case) -> Iterator[Finding | NotTried]:
    """Yield what the graph of an engine tells, and whether it is an engine of another model.

    Parameters
    ----------
    case : Case
        Without its graph, only other models are tried.
    """
    if case.graph is None:
        yield from _untried("the ONNX graph that this engine was built from is not at hand")
    else:
        sides = Sides(load_onnx(case.model.entry.path), load_onnx(case.graph))
        yield from _of_graph(GraphTrial(case, sides))
    yield from stale_engine_findings(case, case.batch[:FEW])


def _untried(reason: str) -> Iterator[NotTried]:
    return (NotTried(cause.name, reason) for cause in EVERY)


def _of_graph(trial: GraphTrial) -> Iterator[Finding | NotTried]:
    sides = trial.sides
    if trial.sound:
        yield from _untried("the embeddings are as near to FP32's as the precision allows")
        return
    if not trial.in_graph:
        yield from _beside_the_graph(trial)
        return
    if has_half(sides.engine):
        yield trial.undone(HALF_RANGE, in_float(sides.engine), "in FP32 nothing overflows")
    if sides.matched.untold:
        yield from _untried(f"the graphs do not match: {sides.matched.untold}")
        return
    others = unlike(sides)
    yield from layer_findings(trial, others)
    if trial.precision == "int8":
        yield from rounding_findings(trial, others)


def _beside_the_graph(trial: GraphTrial) -> Iterator[Finding | NotTried]:
    """Yield what can be told of an engine that does not compute its graph."""
    if trial.precision == "int8":
        graph = saturated(trial.sides.theirs, trial.batch[:FEW])
        if graph is None:
            yield NotTried(SATURATING.name, "no sum of two products in this graph can saturate")
        else:
            yield trial.imitated(SATURATING, graph, trial.three_way)
    if trial.graph_agrees:
        # Any fault around the engine does this, so it names no cause.
        finding = trial.undone(RUNTIME, trial.sides.engine, trial.three_way)
        yield replace(finding, named=False)
