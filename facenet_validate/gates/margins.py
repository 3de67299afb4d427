"""Limits from measurements: the worst of what healthy engines measured, and a margin.

The margin is counted from what an engine without any loss would measure, and not from the limit
that is there. `docs/explanation/margins.md` says why.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal

from facenet_validate.gates.catalogue import Gate

FEWEST = 5
"""Engines from which on their spread is looked at."""

CONTENT = CONFIDENCE = 0.95
"""A tolerance bound holds for this share of engines, with this confidence."""

_DIGITS = 2


@dataclass(frozen=True)
class Scale:
    """What a measure can be, and how it is given a margin.

    Attributes
    ----------
    best, worst : int
        What an engine without loss measures, and what none is worse than.
    factor : Decimal
        By which the distance from ``best`` is multiplied.
    finest : Decimal
        A limit is not set nearer to ``best``.
    """

    best: int
    worst: int
    factor: Decimal
    finest: Decimal = Decimal()

    def distance(self, value: float) -> Decimal:
        """Return how far a value is from the best one, at least 0.

        In decimals, so that 0.995 is 0.005 from 1, and not a little more.
        """
        lost = Decimal(repr(float(value))) - self.best
        return max(Decimal(), -lost if self.best > self.worst else lost)


# Rounding of float32 moves an embedding by some 1e-7, and other kernels round in another way. A
# distance d of unit vectors is a cosine of 1 - d²/2.
SCALES: Mapping[str, Scale] = {
    "distance": Scale(best=0, worst=2, factor=Decimal(2), finest=Decimal("1e-5")),
    "cosine": Scale(best=1, worst=-1, factor=Decimal(2), finest=Decimal("5e-11")),
    "share": Scale(best=1, worst=0, factor=Decimal(2)),
    # Most of these errors are the model's, and every engine of it makes them.
    "accuracy": Scale(best=1, worst=0, factor=Decimal("1.25")),
}
"""`Gate.measures` → its scale."""


@dataclass(frozen=True)
class Proposal:
    """A limit that measurements speak for.

    Attributes
    ----------
    limit : float or None
        The limit; None where no limit can be told from the values.
    worst : float
        The worst value.
    reason : str
        What the margin is, or why there is no limit.
    """

    limit: float | None
    worst: float
    reason: str


def propose(gate: Gate, values: Sequence[float]) -> Proposal:
    """Return the limit that values of healthy engines speak for.

    Parameters
    ----------
    gate : Gate
        One that measures something.
    values : sequence of float
        The worst value of each engine; at least one, each finite.

    Returns
    -------
    Proposal
        Its limit is never tighter than the worst value, and inside the range of the measure.
    """
    scale = SCALES[gate.measures]
    distances = [scale.distance(value) for value in values]
    farthest, span = max(distances), abs(scale.best - scale.worst)
    worst = values[distances.index(farthest)]
    if not farthest:
        return Proposal(None, worst, "it is without any loss, and a margin is a multiple of a loss")
    distance, reason = farthest * scale.factor, f"distance from {scale.best} × {scale.factor}"
    if len(values) >= FEWEST and min(distances) > 0:
        bound = Decimal(min(tolerance_bound([float(one) for one in distances]), span))
        if bound > distance:
            distance, reason = bound, f"95 %/95 % tolerance bound of {len(values)} engines"
    if distance < scale.finest:
        distance, reason = scale.finest, "as near as float32 rounds"
    rounded = rounded_up(distance)
    if rounded >= span:
        return Proposal(None, worst, "with a margin it would take in every value")
    limit = scale.best - rounded if scale.best > scale.worst else scale.best + rounded
    return Proposal(float(limit), worst, reason)


def tolerance_bound(distances: Sequence[float]) -> float:
    """Return an upper bound of the distances of 95 % of such engines, with 95 % confidence.

    The one-sided tolerance bound of a log-normal distribution: exp(mean + k·s) of the logarithms,
    with k from the noncentral t distribution (Hahn and Meeker, *Statistical Intervals*, 4.6).

    Parameters
    ----------
    distances : sequence of float
        At least two, each above 0.
    """
    from scipy.stats import nct, norm

    count = len(distances)
    logs = [math.log(one) for one in distances]
    skew = float(norm.ppf(CONTENT)) * math.sqrt(count)
    factor = float(nct.ppf(CONFIDENCE, count - 1, skew)) / math.sqrt(count)
    exponent = statistics.fmean(logs) + factor * statistics.stdev(logs)
    return math.exp(exponent) if exponent < 700.0 else math.inf


def rounded_up(distance: Decimal) -> Decimal:
    """Return a distance above 0 with two significant digits, never below itself.

    Examples
    --------
    >>> rounded_up(Decimal("0.00971")), rounded_up(Decimal("0.01"))
    (Decimal('0.0098'), Decimal('0.010'))
    """
    unit = Decimal(1).scaleb(distance.adjusted() - _DIGITS + 1)
    return distance.quantize(unit, ROUND_CEILING)
