"""Experiments, the rule over them all, and what is left: a diagnosis of one engine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from facenet_validate.base.progress import Report, silent
from facenet_validate.diagnosis.case import Case
from facenet_validate.diagnosis.diagnosis import Diagnosis, Finding, NotTried
from facenet_validate.diagnosis.distance_causes import distance_findings
from facenet_validate.diagnosis.input_causes import fitted_input_findings, input_findings
from facenet_validate.diagnosis.output_causes import output_findings
from facenet_validate.diagnosis.recipe_causes import recipe_findings
from facenet_validate.diagnosis.row_causes import row_findings, stale_findings
from facenet_validate.diagnosis.rule import NOTHING, rounding_only
from facenet_validate.diagnosis.walk import walk_nodes

Experiment = Callable[[Case], Iterable[Finding | NotTried]]

EXPERIMENTS: tuple[Experiment, ...] = (
    row_findings,
    output_findings,
    stale_findings,
    distance_findings,
    input_findings,
    recipe_findings,
    fitted_input_findings,
)
"""From the simplest fault to those that fit most, and from cheap to costly."""

MARGIN = 0.5
"""A later experiment replaces the cause if it leaves no more than this share of what was left."""

SECONDS, FULL_SECONDS = 110.0, 300.0
"""How long experiments may take, and how long where all are asked for: seconds of all processors
together that this process uses. What other programs take of a busy machine does not count."""


def diagnose(case: Case, *, full: bool = False, progress: Report = silent) -> Diagnosis:
    """Find out why an engine's embeddings differ from the reference's.

    Parameters
    ----------
    case : Case
        The engine, its reference, and a few dozen faces.
    full : bool
        Whether every experiment is made, and the nodes are walked. Otherwise experiments end at the
        first cause that leaves no more than rounding; the nodes are walked where no cause was
        found.
    progress : callable
        Called with (experiments done, experiments in all).
    """
    tried: list[Finding] = []
    not_tried: list[NotTried] = []
    seconds = FULL_SECONDS if full else SECONDS
    end = time.process_time() + seconds
    for done, experiment in enumerate(EXPERIMENTS):
        progress(done, len(EXPERIMENTS))
        for one in _guarded(experiment, case):
            progress(done, len(EXPERIMENTS))
            if isinstance(one, NotTried):
                not_tried.append(one)
            else:
                tried.append(one)
            if time.process_time() > end:
                reason = f"{seconds:g} processor seconds were over"
                not_tried.append(NotTried(_name(experiment), reason, over=True))
                break
            if not full and _settled(tried, case):
                break
        if not full and _settled(tried, case):
            break
    cause = simplest(tried)
    walk = None
    if full or cause is None:
        try:
            walk = walk_nodes(case)
        except Exception as error:  # as of an experiment
            not_tried.append(NotTried("walk", f"{type(error).__name__}: {error}"))
    progress(len(EXPERIMENTS), len(EXPERIMENTS))
    return Diagnosis(
        cause=cause,
        tried=tuple(sorted(tried, key=lambda one: -one.removed)),
        not_tried=tuple(not_tried),
        walk=walk,
        faces=len(case.faces),
        worst=case.names,
    )


def simplest(tried: Sequence[Finding]) -> Finding | None:
    """Return the cause: the first that explains the engine, unless a later one does far better.

    Findings come in the order of how much they fit. A fit can follow a simpler fault too, so it
    must leave half of what the simpler one leaves, or less; and that must be something.
    """
    best: Finding | None = None
    for one in tried:
        if one.named and (best is None or _far_better(one, best)):
            best = one
    return best


def _far_better(later: Finding, best: Finding) -> bool:
    left = 1 - best.removed
    return left > NOTHING and 1 - later.removed <= MARGIN * left


def _settled(tried: Sequence[Finding], case: Case) -> bool:
    """Say whether a cause leaves nothing to explain."""
    precision = case.engine.info.precision
    return any(
        one.named and (rounding_only(one.cosine_after, precision) or 1 - one.removed <= NOTHING)
        for one in tried
    )


def _name(experiment: Experiment) -> str:
    return experiment.__name__.removesuffix("_findings").replace("_", " ")


def _guarded(experiment: Experiment, case: Case) -> Iterator[Finding | NotTried]:
    """Yield what an experiment finds; an error of its own is an experiment not made."""
    try:
        yield from experiment(case)
    except Exception as error:  # a diagnosis must not hide the failure that it explains
        yield NotTried(_name(experiment), f"{type(error).__name__}: {error}")
