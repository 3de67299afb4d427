"""The power of the paired gate: the smallest true drop that it fails almost surely."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import betainc
from scipy.stats import binom

from facenet_validate.metrics.paired import check_counts, check_limits

_NEGLIGIBLE = 1e-9


@dataclass(frozen=True, eq=False)
class GatePower:
    """How likely the paired gate fails an engine, given its true drop.

    The model: each pair is independently won with probability w = (lost + won) / 2 pairs, and lost
    with probability w + drop. The w is half of the measured discordance: noise that goes either
    way. The drop is the damage.

    Attributes
    ----------
    noise : float
        The w: probability that a pair is won.
    most : float
        The largest drop there can be.
    chances : (W,) float64 array
        Probability of each number of won pairs.
    others : (W,) int64 array
        Pairs that are not won.
    needed : (W,) int64 array
        Fewest lost pairs that fail; may exceed ``others``.

    Examples
    --------
    An INT8 engine, δ 0.003, that lost 4 pairs of 6,000 and won 1:

    >>> power = GatePower.of(4, 1, 6000, delta=0.003)
    >>> [round(power.failure_probability(drop), 2) for drop in (0.0, 0.003, 0.005)]
    [0.0, 0.45, 0.98]
    """

    noise: float
    most: float
    chances: NDArray[np.float64]
    others: NDArray[np.int64]
    needed: NDArray[np.int64]

    @classmethod
    def of(cls, lost: int, won: int, pairs: int, *, delta: float, alpha: float = 0.01) -> GatePower:
        """Prepare the model; the parameters are those of :func:`minimum_detectable_drop`."""
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
        """Return the sum over all outcomes that fail, exact up to 1e-9.

        Raises ValueError if ``drop``, a share of the pairs, is negative or exceeds ``most``.
        """
        if not 0 <= drop <= self.most:
            raise ValueError(
                f"drop must be between 0 and {self.most}, all pairs less the noise; found {drop}"
            )
        # Given the pairs won, each of the others is lost with this probability.
        share = min((self.noise + drop) / (1 - self.noise), 1.0)
        possible = self.needed <= self.others
        needed, others = self.needed[possible], self.others[possible]
        # The binomial tail as a regularised incomplete beta function.
        return float(self.chances[possible] @ betainc(needed, others - needed + 1, share))


def minimum_detectable_drop(
    lost: int, won: int, pairs: int, *, delta: float, alpha: float = 0.01, power: float = 0.95
) -> float | None:
    """Return the smallest true drop that the gate fails with probability ``power``.

    Parameters
    ----------
    lost, won : int
        Discordant pairs measured, either way.
    pairs : int
        All pairs.
    delta, alpha : float
        Of the gate, as in :func:`~facenet_validate.metrics.paired.non_inferiority`. With a
        ``delta`` of 0 the McNemar test alone decides.
    power : float
        Between 0 and 1.

    Returns
    -------
    float or None
        As a share of the pairs. None where there are so few pairs that no drop fails so often.

    Raises
    ------
    ValueError
        If the counts do not fit, or ``delta``, ``alpha`` or ``power`` is out of range.

    Examples
    --------
    >>> round(minimum_detectable_drop(4, 1, 6000, delta=0.003), 4)
    0.0046
    >>> minimum_detectable_drop(0, 0, 6, delta=0.003) is None
    True
    """
    check_limits(power=power)
    gate = GatePower.of(lost, won, pairs, delta=delta, alpha=alpha)

    def excess(drop: float) -> float:
        return gate.failure_probability(drop) - power

    if excess(gate.most) < 0:
        return None
    return float(brentq(excess, 0.0, gate.most, xtol=1e-7)) if excess(0.0) < 0 else 0.0


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
