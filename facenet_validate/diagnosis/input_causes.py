"""Experiments on the input: known faults, several at once, and faults whose numbers are fitted.

Faults and numbers are chosen on a few faces. The best of each step is judged on other faces.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice

from facenet_validate.diagnosis.case import Case
from facenet_validate.diagnosis.diagnosis import Finding
from facenet_validate.diagnosis.fitting import fitted, refitted, starts
from facenet_validate.diagnosis.imitations import EIGHT_BITS, Faults, Stage
from facenet_validate.diagnosis.known_faults import SHARES, THROUGH, known_faults, resized
from facenet_validate.diagnosis.rule import NOTHING
from facenet_validate.diagnosis.trial import Trial

TOGETHER = 3
"""Faults that are imitated at once, at most."""

WORTH = 0.1
"""Share of what is left that one more fault must remove."""

BEAM = 3
"""Faults, or faults together, to which each other one is added."""

CLOSER = 8
"""Faults that are looked at on more faces."""


def input_findings(case: Case) -> Iterator[Finding]:
    """Imitate known faults, then two and more at once."""
    trial = Trial(case)
    singles = _singles(case)
    known = _nearest_first(trial, singles)
    for faults in known[1:]:
        yield replace(trial.finding(faults, rows=trial.first), named=False)
    yield trial.finding(known[0])
    for faults in islice(_together(trial, singles, known), 1, None):
        yield trial.finding(faults)


def fitted_input_findings(case: Case) -> Iterator[Finding]:
    """Fit the numbers of faults, on top of the known ones and alone."""
    trial = Trial(case)
    singles = _singles(case)
    best: Faults = ()
    for faults in _together(trial, singles, _nearest_first(trial, singles)):
        best = faults
    for base in dict.fromkeys((best, ())):
        if (found := _sized(trial, base)) is not None:
            yield trial.finding(found)
        yield from _fits(trial, base)


def _together(trial: Trial, singles: Sequence[Faults], known: Sequence[Faults]) -> Iterator[Faults]:
    """Yield the nearest fault, then the nearest ones with one more, as long as that helps."""
    best: Faults = ()
    ahead = known[:BEAM]
    while ahead and _helps(trial, ahead[0], best):
        best = ahead[0]
        yield best
        more = dict.fromkeys(one for faults in ahead for one in _more(faults, singles))
        ahead = _nearest_first(trial, list(more))[:BEAM]


def _sized(trial: Trial, base: Faults) -> Faults | None:
    """Return faults with the side through which pictures were resized, where such a one helps."""
    others = tuple(one for one in base if one.stage != Stage.GEOMETRY)
    halves = min(((*others, resized(0.5, *way)) for way in THROUGH), key=trial.left)
    if not _helps(trial, halves, others):
        return None
    known = _nearest_first(
        trial, [(*others, resized(share, *way)) for way in THROUGH for share in SHARES]
    )
    return known[0]


def _fits(trial: Trial, best: Faults) -> Iterator[Finding]:
    """Fit the numbers of each family on top of some faults; then of another one on top of both."""
    while len(best) < TOGETHER:
        candidates = [best]
        for start in starts(best):
            found = fitted(trial, start)
            if found is not None:
                simple = refitted(trial, found)
                candidates.append(simple)
                yield trial.finding(simple)
        nearest = min(candidates, key=trial.left)
        if not _helps(trial, nearest, best) or len(nearest) <= len(best):
            return
        best = nearest


def _helps(trial: Trial, faults: Faults, before: Faults) -> bool:
    """Say whether faults leave less, where there was something left."""
    if trial.left(before) <= NOTHING:
        return False
    return trial.left(faults) <= (1 - WORTH) * trial.left(before)


def _nearest_first(trial: Trial, choice: Sequence[Faults]) -> list[Faults]:
    """Return faults in the order of what they leave: the best few by more faces than the others."""
    ordered = sorted(choice, key=lambda faults: trial.left(faults, trial.first))
    return sorted(ordered[:CLOSER], key=trial.left) + ordered[CLOSER:]


def _singles(case: Case) -> list[Faults]:
    singles: list[Faults] = [(one,) for one in known_faults(case.model.image_size)]
    if case.engine.info.precision == "int8":
        singles += [(one, EIGHT_BITS) for (one,) in singles if one.stage == Stage.VALUES]
    return singles


def _more(faults: Faults, singles: Sequence[Faults]) -> Iterator[Faults]:
    """Yield faults with one more, of a stage at which nothing happens yet."""
    stages = {one.stage for one in faults}
    if len(stages - {Stage.ROUNDING}) < TOGETHER:
        for more in singles:
            if stages.isdisjoint(one.stage for one in more):
                yield (*faults, *more)
