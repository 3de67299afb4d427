"""Experiments on the input: every known fault, and two at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from facenet_validate.diagnosis.case import Case
from facenet_validate.diagnosis.diagnosis import Finding
from facenet_validate.diagnosis.imitations import EIGHT_BITS, VALUES, Imitation, known_faults
from facenet_validate.diagnosis.trial import Trial

Faults = tuple[Imitation, ...]

CLOSER = 3
"""Faults that are judged on all faces: those that leave least on a few."""


def input_findings(case: Case) -> Iterator[Finding]:
    """Imitate known faults, then a second one on top of the best.

    Each is measured on a few faces. Those that leave least are judged on other faces.
    """
    trial = Trial(case)
    singles: list[Faults] = [(one,) for one in known_faults()]
    if case.engine.info.precision == "int8":
        singles += [(one, EIGHT_BITS) for (one,) in singles if one.stage == VALUES]
    singles.sort(key=trial.left)
    yield from _judged(trial, singles)
    yield from _judged(trial, sorted(_pairs(singles), key=trial.left)[:CLOSER])


def _judged(trial: Trial, ordered: Sequence[Faults]) -> Iterator[Finding]:
    """Yield a finding for each: the first few on the faces to judge by, the others on a few."""
    for place, faults in enumerate(ordered):
        if place < CLOSER:
            yield trial.finding(faults)
        else:
            yield replace(trial.finding(faults, rows=trial.few), named=False)


def _pairs(singles: Sequence[Faults]) -> Iterator[Faults]:
    """Yield the best two faults, each with every fault of another stage."""
    for first in singles[:2]:
        stages = {one.stage for one in first}
        for second in singles:
            if stages.isdisjoint(one.stage for one in second):
                yield (*first, *second)
