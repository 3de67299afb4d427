"""What rounding to 8 bits lost: by the ranges, of one tensor or of all, or by the weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from facenet_validate.diagnosis.diagnosis import Cause, Finding, NotTried
from facenet_validate.diagnosis.graph_causes import (
    COLLAPSED,
    FEW_CALIBRATION,
    RAW_CALIBRATION,
    RECIPE,
    SCALED_CALIBRATION,
)
from facenet_validate.diagnosis.graph_trial import GraphTrial
from facenet_validate.diagnosis.layers_restored import restored
from facenet_validate.diagnosis.matching import Operator
from facenet_validate.diagnosis.quantisers import Need, Quantiser, with_ranges

_OFF = 4.0
"""How often the noise of a range may be that of the range which the faces need: one bit."""

_RAW = 10.0
"""How often the image's range may be what faces need, from which pixels were not standardized:
those of the contract end at 1, raw ones at 255."""

_MOVED = 0.25
"""How far the ends of the image's range may lie from those of faces, as a share of its reach."""


def rounding_findings(
    trial: GraphTrial, others: Sequence[Operator]
) -> Iterator[Finding | NotTried]:
    """Undo the ranges; then ranges and weights, where the weights are the model's, rounded.

    Parameters
    ----------
    others : sequence of Operator
        The layers whose weights differ from the model's by more than rounding.
    """
    try:
        ranges = _ranges_undone(trial)
        if ranges is not None:
            yield ranges
        if others:
            yield NotTried(RECIPE.name, f"{len(others)} layers have other weights than the model")
            return
        graph = trial.refitted(restored(trial.sides, trial.layers))
    except LookupError as error:
        yield NotTried(RECIPE.name, str(error.args[0]))
        return
    finding = trial.undone(RECIPE, graph, trial.three_way)
    # Where the ranges alone explain it, this says nothing new.
    yield replace(finding, named=finding.named and not (ranges is not None and ranges.named))


def _ranges_undone(trial: GraphTrial) -> Finding | None:
    """Return what fitting ranges leaves, of one tensor or of all; None if none is off."""
    off = [pair for pair in trial.ranges if pair[1].noise > _OFF * pair[1].least]
    if not off:
        return None
    worst = max(off, key=lambda pair: pair[1].noise)
    one, need = worst
    if all(edge.maker for edge in one.edges):
        graph = with_ranges(trial.sides.engine, [(one, need.range)])
        finding = trial.undone(COLLAPSED, graph, _off(*worst))
        if finding.named or len(off) == 1:
            return finding
    # Corrected biases make up for rounded weights on the calibration images.
    graph = trial.refitted(restored(trial.sides, (), trial.layers))
    count = f"{len(off)} of {len(trial.ranges)} ranges are off"
    return trial.undone(_calibration(trial.ranges), graph, f"{count}; {_off(*worst)}")


def _off(one: Quantiser, need: Need) -> str:
    return (
        f"{one.edges[0].reference} is rounded in {one.found.low:.4g} to {one.found.high:.4g}, the "
        f"faces need {need.range.low:.4g} to {need.range.high:.4g}"
    )


def _calibration(pairs: Sequence[tuple[Quantiser, Need]]) -> Cause:
    """Return what the calibration images were: the image's own range tells their scale."""
    image = next((pair for pair in pairs if not all(edge.maker for edge in pair[0].edges)), None)
    if image is None:
        ratios = [one.found.reach / max(need.range.reach, 1e-30) for one, need in pairs]
        return RAW_CALIBRATION if float(np.median(ratios)) > _RAW else FEW_CALIBRATION
    one, need = image
    if one.found.reach > _RAW * need.range.reach:
        return RAW_CALIBRATION
    wanted = one.fitted(need.range)
    moved = max(abs(one.found.low - wanted.low), abs(one.found.high - wanted.high))
    return SCALED_CALIBRATION if moved > _MOVED * wanted.reach else FEW_CALIBRATION
