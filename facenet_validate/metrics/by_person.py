"""A mean over people of what an engine loses: its bound, and the test that it is above zero.

Probes of one person fail together, so that a person is the unit. Each has one value, the share of
their probes that the reference has right less the share that the engine has right.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from facenet_validate.gates.verdicts import GateResult, bounded
from facenet_validate.metrics.paired import check_limits
from facenet_validate.metrics.tally import jackknife_error

_Z95 = float(ndtri(0.95))
_Z_DETECTABLE = float(ndtri(0.99) + ndtri(0.95))
_FLIPS = 100_000
_CHUNK = 2_000
_SEED = 20180408


@dataclass(frozen=True)
class LossByPerson:
    """What an engine loses, a mean over people.

    Attributes
    ----------
    people : int
        With at least one probe.
    loss : float
        Mean over people of their loss, from −1 to 1.
    standard_error : float
        Of ``loss``, by the jackknife over people.
    upper : float
        One-sided 95 % upper bound. It is at least what people without any loss leave possible.
    p_value : float
        One-sided sign-flip test over people against "no loss".
    minimum_detectable : float
        The true loss that a one-sided test at 1 %, with this standard error, detects 95 times in
        100.
    """

    people: int
    loss: float
    standard_error: float
    upper: float
    p_value: float
    minimum_detectable: float


def loss_by_person(losses: NDArray[np.float64]) -> LossByPerson:
    """Summarise the losses of people.

    The upper bound is normal, ``loss + z SE``. Where nobody loses anything the jackknife's error
    is zero, which says nothing of people who were not seen. So the bound is at least that of Tango
    for as many pairs without a difference, ``z² / (n + z²)``.

    Parameters
    ----------
    losses : (I,) float64 array
        One a person, from −1 to 1.

    Returns
    -------
    LossByPerson

    Raises
    ------
    ValueError
        If there are fewer than two people, or a value is out of range.

    Examples
    --------
    One of 200 people loses half of their probes:

    >>> losses = np.zeros(200)
    >>> losses[0] = 0.5
    >>> found = loss_by_person(losses)
    >>> found.loss, round(found.standard_error, 4), round(found.upper, 4), found.p_value
    (0.0025, 0.0025, 0.0133, 0.5)
    """
    if losses.ndim != 1 or len(losses) < 2:
        raise ValueError(f"expected losses of at least two people, found shape {losses.shape}")
    if not (np.abs(losses) <= 1).all():
        raise ValueError("a person's loss must be between −1 and 1")
    count, loss = len(losses), float(losses.mean())
    error = jackknife_error((losses.sum() - losses) / (count - 1))
    return LossByPerson(
        people=count,
        loss=loss,
        standard_error=error,
        upper=max(loss + _Z95 * error, _Z95**2 / (count + _Z95**2)),
        p_value=sign_flip_p_value(losses),
        minimum_detectable=_Z_DETECTABLE * error,
    )


def sign_flip_p_value(losses: NDArray[np.float64]) -> float:
    """Return the share of ways to turn the signs of losses that give as large a sum.

    If an engine is as good as the reference, a person's loss is as likely as the equal gain. Up to
    16 losses all ways are counted; beyond that 100,000 are drawn with a fixed seed, and the way
    observed is counted among them (B. Phipson and G. K. Smyth, "Permutation p-values should never
    be zero", 2010).

    Parameters
    ----------
    losses : (I,) float64 array

    Examples
    --------
    Three people of three lose: of the eight ways one is as bad.

    >>> sign_flip_p_value(np.array([0.5, 0.2, 1.0, 0.0]))
    0.125
    """
    moved = losses[losses != 0]
    observed = float(moved.sum()) - 1e-12 * len(moved)  # equal sums may round apart
    if len(moved) <= 16:
        ways = 2 ** np.arange(len(moved))
        signs = 1 - 2 * (np.arange(2 ** len(moved))[:, None] // ways % 2)
        return float(np.mean(signs @ moved >= observed))
    generator = np.random.default_rng(_SEED)
    as_bad = 1
    for _ in range(_FLIPS // _CHUNK):
        signs = 1 - 2 * generator.integers(0, 2, (_CHUNK, len(moved)), np.int8)
        as_bad += int(np.count_nonzero(signs @ moved >= observed))
    return as_bad / (_FLIPS + 1)


def judge_loss(loss: LossByPerson, *, gate: str, delta: float, alpha: float) -> GateResult:
    """Judge whether an engine loses at most ``delta``, as a mean over people.

    Pass if the upper bound is at most ``delta``; fail if the loss exceeds ``delta`` and the
    sign-flip test rejects at ``alpha``; inconclusive otherwise.

    Parameters
    ----------
    loss : LossByPerson
    gate : str
        The gate's name.
    delta : float
        Largest acceptable loss, between 0 and 1.
    alpha : float
        This gate's share of the run's false-alarm budget.

    Returns
    -------
    GateResult
        ``observed`` is the loss, ``interval`` runs from −∞ to the upper bound.

    Raises
    ------
    ValueError
        If ``delta`` or ``alpha`` is not between 0 and 1.

    Examples
    --------
    >>> few, many = np.zeros(1000), np.zeros(1000)
    >>> few[:2], many[:20] = 1.0, 1.0
    >>> for losses in (few, many):
    ...     loss = loss_by_person(losses)
    ...     judge_loss(loss, gate="rank1", delta=0.005, alpha=0.01).verdict.value
    'pass'
    'fail'
    """
    check_limits(delta=delta, alpha=alpha)
    return GateResult(
        gate,
        bounded(loss.loss, loss.upper, delta, rejected=loss.p_value < alpha),
        observed=loss.loss,
        limit=delta,
        interval=(-math.inf, loss.upper),
        detail=(
            f"mean over {loss.people} people, SE {loss.standard_error:.2g}, sign-flip p "
            f"{loss.p_value:.2g}; would detect a loss of {loss.minimum_detectable:.2g} 95 times "
            "in 100"
        ),
    )
