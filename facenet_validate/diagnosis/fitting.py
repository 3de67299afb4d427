"""Numbers of a family of faults, fitted so that the reference follows the engine."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from facenet_validate.diagnosis.families import (
    COLOURS,
    CURVE,
    FAMILIES,
    VALUES,
    Family,
    Numbers,
    along,
)
from facenet_validate.diagnosis.imitations import Faults, Stage
from facenet_validate.diagnosis.rule import NOTHING, unit
from facenet_validate.diagnosis.trial import Trial

ROUNDS = 12
"""Steps of a fit at most."""

WORTH = 0.05
"""Share of what is left that a step must remove, or be expected to remove."""

FAR = 3.0
"""How much longer steps are where short ones lead nowhere."""

SIMPLER = 1.5
"""What one fault fewer may leave, beside what is left with it."""

DAMPING = (1e-3, 1e-1, 1.0)
"""Tried in turn until a step helps."""

HALVINGS = 4
"""How often the steps of a search are halved."""


@dataclass(frozen=True)
class Start:
    """Where a fit begins.

    Attributes
    ----------
    family : Family
        Whose numbers are fitted.
    faults : tuple of Imitation
        The faults beside it.
    numbers : ndarray of shape (P,)
        Of the family.
    """

    family: Family
    faults: Faults
    numbers: Numbers

    def with_numbers(self, numbers: Numbers) -> Faults:
        """Return all faults."""
        return (*self.faults, self.family.member(numbers))


def starts(faults: Faults) -> list[Start]:
    """Return a start for each family: from a fault's own numbers, where it is a member."""
    return [_start(family, faults) for family in FAMILIES]


def _start(family: Family, faults: Faults) -> Start:
    for one in faults:
        others = tuple(other for other in faults if other is not one)
        if one.family == family.name:
            return Start(family, others, np.array(one.numbers))
        if family is CURVE and one.stage == Stage.VALUES and one.family:
            return Start(family, others, along(one.change))
        if family is COLOURS and one.family == VALUES.name:
            return Start(family, others, _in_colours(np.array(one.numbers)))
    return Start(family, faults, np.array(family.identity, np.float64))


def _in_colours(values: Numbers) -> Numbers:
    """Return the numbers of `COLOURS` that do what those of `VALUES` do."""
    return np.concatenate([np.diag(values[:3]).ravel(), -values[:3] * values[3:]])


def fitted(trial: Trial, start: Start) -> Faults | None:
    """Return the faults with the numbers that leave least, or None where no number helps.

    Levenberg's and Marquardt's method: the squared differences of the embeddings of a few faces,
    with derivatives by differences. Marquardt, SIAM Journal 11, 1963.
    """
    family, numbers = start.family, start.numbers
    left = trial.left(start.with_numbers(numbers))
    improved, reach = False, 1.0
    for _ in range(ROUNDS):
        ahead, slopes = _linear(trial, start, numbers, reach)
        better = None
        for damping in DAMPING:
            step, expected = _step(ahead, slopes, damping)
            if expected < WORTH:
                break
            moved = numbers + reach * step * family.steps(numbers)
            after = trial.left(start.with_numbers(moved))
            if after < (1 - WORTH) * left:
                better = moved, after
                break
        if better is not None:
            numbers, left = better
            improved = True
        elif improved and reach == 1 and left > NOTHING:
            reach = FAR  # kinks hide the way at small steps
        else:
            break
    return start.with_numbers(numbers) if improved else None


def searched(trial: Trial, start: Start) -> Start:
    """Return a start that is nearer, where steps in the family's ways lead to one.

    A compass search: of the steps in all ways, forth and back, the best is taken; where none helps,
    steps are halved. Kolda, Lewis and Torczon, SIAM Review 45, 2003.
    """
    ways = np.array(start.family.ways, np.float64).reshape(-1, len(start.numbers))
    halvings = 0
    left = trial.left(start.with_numbers(start.numbers), trial.first)
    while halvings <= HALVINGS and left > NOTHING and len(ways):
        steps = np.concatenate([ways, -ways]) / 2**halvings
        near = [replace(start, numbers=start.numbers + step) for step in steps]
        lefts = [trial.left(one.with_numbers(one.numbers), trial.first) for one in near]
        best = int(np.argmin(lefts))
        if lefts[best] < (1 - WORTH) * left:
            start, left = near[best], lefts[best]
        else:
            halvings += 1
    return start


def refitted(trial: Trial, faults: Faults) -> Faults:
    """Return fewer faults that leave nearly as little: fitted ones, without those beside them."""
    *others, last = faults
    for one in others:
        fewer = tuple(other for other in faults if other is not one)
        family = next(family for family in FAMILIES if family.name == last.family)
        start = Start(family, fewer[:-1], np.array(last.numbers))
        again = fitted(trial, start) or fewer
        if trial.left(again) <= SIMPLER * trial.left(faults):
            return refitted(trial, again)
    return faults


def _linear(
    trial: Trial, start: Start, numbers: Numbers, reach: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what is left of each value, and how it changes with each step: (M,) and (M, P)."""
    steps, few = reach * start.family.steps(numbers), trial.few
    here = trial.directions(start.with_numbers(numbers), few)
    there = [
        (trial.directions(start.with_numbers(numbers + step * one), few) - here).ravel()
        for step, one in zip(steps, np.eye(len(steps)), strict=True)
    ]
    return (unit(trial.case.found[few]) - here).ravel(), np.stack(there, axis=1)


def _step(
    ahead: NDArray[np.float64], slopes: NDArray[np.float64], damping: float
) -> tuple[Numbers, float]:
    """Return a damped step, in steps of the family, and the share that it should remove."""
    products = slopes.T @ slopes
    size = np.diag(products)
    damped = products + damping * np.diag(size + 1e-6 * size.max() + 1e-12)
    step: Numbers = np.asarray(np.linalg.solve(damped, slopes.T @ ahead), np.float64)
    remains = np.sum((ahead - slopes @ step) ** 2)
    return step, float(1 - remains / max(np.sum(ahead**2), 1e-30))
