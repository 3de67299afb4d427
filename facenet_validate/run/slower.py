"""Names the layers that explain why a speed gate failed, in its detail and in the report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facenet_validate.base.progress import Progress
from facenet_validate.benchmarking.slower_layers import (
    SlowerLayers,
    largest_layers,
    layer_times_in_turns,
    slower_layers,
)
from facenet_validate.engines.protocol import Engine, LayerTimes
from facenet_validate.gates import catalogue
from facenet_validate.gates.verdicts import GateResult, Observed, Verdict

_AGAINST = "against"


def name_slower_layers(
    results: Sequence[GateResult | Observed],
    engines: Callable[[], Sequence[Engine]],
    batch: Callable[[], NDArray[np.float32]],
    progress: Progress,
) -> tuple[tuple[GateResult | Observed, ...], dict[str, Any]]:
    """Profile the engines where a speed gate failed, and name the layers that explain it.

    No verdict changes. What goes wrong here becomes a note beside the failure.

    Parameters
    ----------
    results : sequence of GateResult or Observed
        Of one engine, batch size and engine beside it.
    engines : callable
        Returns the engine under test, and the one it was timed beside where there is one.
    batch : callable
        Returns the batch (N, 3, H, W) that was timed.
    progress : Progress
        Shows how far it is.

    Returns
    -------
    tuple
        The results, with words in the details of those that failed; and gate → its slower layers,
        for the report. Empty where nothing failed.
    """
    failed = [result for result in results if isinstance(result, GateResult) and _too_slow(result)]
    if not failed:
        return tuple(results), {}
    try:
        with progress.stage("timing the layers of an engine that is too slow, turns") as report:
            now, *before = layer_times_in_turns(engines(), batch(), report)
        told = {result.gate: _told(result, now, before) for result in failed}
    except Exception as error:  # whatever it is, the failure must be told
        note = f"the layers could not be timed: {' '.join(str(error).split())}"
        told = {result.gate: SlowerLayers(text=note, untold=note) for result in failed}
    return (
        tuple(
            replace(result, detail=f"{result.detail}; {told[result.gate].text}")
            if isinstance(result, GateResult) and result in failed and told[result.gate].text
            else result
            for result in results
        ),
        {gate: one.values() for gate, one in told.items()},
    )


def _too_slow(result: GateResult) -> bool:
    """Say whether a speed gate failed by what was measured, not for want of stored sessions."""
    failed = result.verdict is Verdict.FAIL and result.observed is not None
    return failed and catalogue.row(result.gate).family == "speed"


def _told(result: GateResult, now: LayerTimes, before: Sequence[LayerTimes]) -> SlowerLayers:
    """Compare with what the gate asks of each layer."""
    row, observed, limit = catalogue.row(result.gate), result.observed, result.limit
    assert observed
    assert limit
    if not before:
        reason = "nothing to compare layers with"
        text = "" if now.untold else f"{reason}; {largest_layers(now)}"
        return SlowerLayers(text=text, untold=now.untold or reason)
    (other,) = before
    if row.beside == _AGAINST:
        return slower_layers(now, other)
    beside = row.beside.upper()
    if row.bound == "floor":
        heading = f"layers slower than {beside}'s time / {limit:g}"
        return slower_layers(now, other, allowed=1.0 / limit, heading=heading)
    # Stored sessions have no times of layers: what they had, the other engine's share out.
    allowed = now.fastest / max(other.fastest, 1e-9) / observed
    heading = f"layers slow beside {beside}'s (stored sessions keep none)"
    return slower_layers(now, other, allowed=allowed, heading=heading)
