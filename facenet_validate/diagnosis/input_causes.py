"""Experiments on the input: every known fault, two at once, and faults whose numbers are fitted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from facenet_validate.diagnosis.case import Case
from facenet_validate.diagnosis.diagnosis import Finding
from facenet_validate.diagnosis.fitting import fitted, starts
from facenet_validate.diagnosis.imitations import EIGHT_BITS, Faults, Stage
from facenet_validate.diagnosis.known_faults import known_faults
from facenet_validate.diagnosis.trial import Trial

TOGETHER = 3
"""Faults that are imitated at once, at most."""

WORTH = 0.1
"""Share of what is left that one more fault must remove."""


def input_findings(case: Case) -> Iterator[Finding]:
    """Imitate known faults, then add one to the best as long as that helps.

    Faults and numbers are chosen on a few faces. The best of each round is judged on other faces.
    """
    trial = Trial(case)
    singles = _singles(case)
    best: Faults = ()
    for round_ in range(TOGETHER):
        known = sorted(_more(best, singles), key=trial.left)
        yield from _judged(trial, known, shown=not round_)
        candidates = [best, *known[:1]]
        for start in starts(min(candidates, key=trial.left)):
            found = fitted(trial, start)
            if found is not None:
                candidates.append(found)
                yield trial.finding(found)
        nearest = min(candidates, key=trial.left)
        if trial.left(nearest) > (1 - WORTH) * trial.left(best):
            return
        best = nearest


def _singles(case: Case) -> list[Faults]:
    singles: list[Faults] = [(one,) for one in known_faults()]
    if case.engine.info.precision == "int8":
        singles += [(one, EIGHT_BITS) for (one,) in singles if one.stage == Stage.VALUES]
    return singles


def _more(faults: Faults, singles: Sequence[Faults]) -> Iterator[Faults]:
    """Yield faults with one more, of a stage at which nothing happens yet."""
    stages = {one.stage for one in faults}
    for more in singles:
        if stages.isdisjoint(one.stage for one in more):
            yield (*faults, *more)


def _judged(trial: Trial, ordered: Sequence[Faults], *, shown: bool) -> Iterator[Finding]:
    """Yield the best one judged, behind the others as they are seen on a few faces."""
    if shown:
        for faults in ordered[1:]:
            yield replace(trial.finding(faults, rows=trial.few), named=False)
    for faults in ordered[:1]:
        yield trial.finding(faults)
