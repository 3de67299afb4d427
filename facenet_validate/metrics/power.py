"""What the paired gate can see: the smallest true drop that it fails almost surely."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import betainc
from scipy.stats import binom

from facenet_validate.metrics.paired import check_counts, check_limits

_NEGLIGIBLE = 1e-9


def failure_probability(
    drop: float, lost: int, won: int, pairs: int, *, delta: float, alpha: float = 0.01
) -> float:
    """Return how likely the gate fails an engine whose true drop is ``drop``.

    The model: each pair is independently won with probability w = (lost + won) / 2 pairs, half of
    the measured discordance, which is noise that goes either way; and lost with probability
    w + drop, the same noise and the damage. The sum over all outcomes is exact, up to 1e-9.

    Parameters
    ----------
    drop : float
        True loss of accuracy, as a share of the pairs.
    lost, won : int
        Discordant pairs measured, either way.
    pairs : int
        All pairs.
    delta, alpha : float
        Of the gate, as in :func:`~facenet_validate.metrics.paired.non_inferiority`; a ``delta`` of
        0 leaves the McNemar test alone.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If the counts do not fit, or a probability would be negative or exceed 1.
    """
    model = _Model.of(lost, won, pairs, delta, alpha)
    if not 0 <= drop <= model.most:
        raise ValueError(
            f"drop must be between 0 and {model.most}, all pairs less the noise; found {drop}"
        )
    return model.failure_probability(drop)


def minimum_detectable_drop(
    lost: int, won: int, pairs: int, *, delta: float, alpha: float = 0.01, power: float = 0.95
) -> float | None:
    """Return the smallest true drop that the gate fails with probability ``power``.

    Parameters
    ----------
    lost, won, pairs, delta, alpha
        As in :func:`failure_probability`.
    power : float
        Between 0 and 1.

    Returns
    -------
    float or None
        As a share of the pairs; None if there are too few pairs for any drop to be failed so
        often.

    Raises
    ------
    ValueError
        As :func:`failure_probability`.
    """
    check_limits(power=power)
    model = _Model.of(lost, won, pairs, delta, alpha)

    def excess(drop: float) -> float:
        return model.failure_probability(drop) - power

    if excess(model.most) < 0:
        return None
    return float(brentq(excess, 0.0, model.most, xtol=1e-7)) if excess(0.0) < 0 else 0.0


@dataclass(frozen=True, eq=False)
class _Model:
    """The numbers of won pairs there may be, how likely each is, and the lost pairs it takes.

    Attributes
    ----------
    noise : float
        Probability that a pair is won.
    most : float
        The largest drop there can be.
    chances : (W,) float64 array
        Of each number of won pairs.
    others : (W,) int64 array
        Pairs that are not won.
    needed : (W,) int64 array
        Fewest lost pairs that fail; may exceed ``others``.
    """

    noise: float
    most: float
    chances: NDArray[np.float64]
    others: NDArray[np.int64]
    needed: NDArray[np.int64]

    @classmethod
    def of(cls, lost: int, won: int, pairs: int, delta: float, alpha: float) -> _Model:
        check_counts(lost, won, pairs)
        check_limits(alpha=alpha)
        if not 0 <= delta < 1:
            raise ValueError(f"delta must be at least 0 and below 1, found {delta}")
        noise = (lost + won) / (2 * pairs)
        wons = np.arange(int(binom.isf(_NEGLIGIBLE, pairs, noise)) + 1)
        return cls(
            noise,
            1 - (lost + won) / pairs,
            binom.pmf(wons, pairs, noise),
            pairs - wons,
            _lost_that_fail(wons, pairs, delta, alpha),
        )

    def failure_probability(self, drop: float) -> float:
        # Given the pairs won, each of the others is lost with this probability.
        share = min((self.noise + drop) / (1 - self.noise), 1.0)
        possible = self.needed <= self.others
        needed, others = self.needed[possible], self.others[possible]
        # The binomial tail as a regularised incomplete beta function.
        return float(self.chances[possible] @ betainc(needed, others - needed + 1, share))


def _lost_that_fail(
    wons: NDArray[np.int64], pairs: int, delta: float, alpha: float
) -> NDArray[np.int64]:
    """Return, for each number of won pairs, the fewest lost pairs that the gate fails."""
    # drop > delta; the division is the gate's own, so that both round alike.
    low = np.maximum(wons + int(delta * pairs) - 1, 1)
    while (short := (low - wons) / pairs <= delta).any():
        low = low + short
    high = np.maximum(low, 2 * wons + 64)
    while (weak := betainc(high, wons + 1, 0.5) >= alpha).any():
        high = np.where(weak, 2 * high, high)
    while (apart := low < high).any():
        middle = (low + high) // 2
        fails = betainc(middle, wons + 1, 0.5) < alpha
        high = np.where(apart & fails, middle, high)
        low = np.where(apart & ~fails, middle + 1, low)
    return low
