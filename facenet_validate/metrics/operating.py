"""Error rates at one deployed threshold: counts of comparisons, and what an engine makes of them.

FMR and FNMR count comparisons, as ISO/IEC 19795-1 defines them: FNMR is the share of genuine
comparisons that are rejected, FMR the share of impostor comparisons that are accepted. Figures
weighted by person stand beside, since one person can supply most of a set's genuine comparisons.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from facenet_validate.gates.verdicts import GateResult, bounded, not_evaluated
from facenet_validate.metrics.arrays import Booleans, Integers
from facenet_validate.metrics.paired import check_limits
from facenet_validate.metrics.tally import jackknife_error

FEWEST_FALSE_ACCEPTS = 30
"""False accepts of the reference below which a ratio of FMRs says nothing."""

_Z95 = float(ndtri(0.95))


@dataclass(frozen=True, eq=False)
class ErrorRates:
    """Error rates at a threshold.

    Attributes
    ----------
    genuine, impostor : int
        Comparisons.
    false_rejects, false_accepts : int
        Genuine comparisons rejected, impostor comparisons accepted.
    fnmr_by_person : float
        Mean over people of the share of their genuine comparisons that is rejected.
    fmr_by_people : float
        Mean over pairs of people of the share of their comparisons that is accepted.
    accepts_of : (I,) integer array
        False accepts that involve each person.
    """

    genuine: int
    impostor: int
    false_rejects: int
    false_accepts: int
    fnmr_by_person: float
    fmr_by_people: float
    accepts_of: NDArray[np.int64]

    @property
    def fnmr(self) -> float:
        """Share of genuine comparisons that are rejected."""
        return self.false_rejects / self.genuine

    @property
    def fmr(self) -> float:
        """Share of impostor comparisons that are accepted."""
        return self.false_accepts / self.impostor


def rates_of_pairs(
    accepted: Booleans, same: Booleans, left: Integers, right: Integers
) -> ErrorRates:
    """Return the error rates of a list of pairs.

    Parameters
    ----------
    accepted : (P,) bool array
        Which pairs are taken for one person.
    same : (P,) bool array
        Which pairs show one person; both kinds must be there.
    left, right : (P,) integer arrays
        Who is in each photo of a pair, from 0.

    Returns
    -------
    ErrorRates

    Raises
    ------
    ValueError
        If a kind of pairs is missing.

    Examples
    --------
    >>> found = rates_of_pairs(
    ...     np.array([True, False, False, True]),
    ...     np.array([True, True, True, False]),
    ...     np.array([0, 0, 1, 0]),
    ...     np.array([0, 0, 1, 1]),
    ... )
    >>> round(found.fnmr, 3), found.fnmr_by_person, found.fmr, found.accepts_of.tolist()
    (0.667, 0.75, 1.0, [1, 1])
    """
    if same.all() or not same.any():
        raise ValueError("error rates need genuine and impostor pairs")
    people = int(max(left.max(), right.max())) + 1
    rejected = same & ~accepted
    of = np.bincount(left[same], minlength=people)
    shares = np.bincount(left[rejected], minlength=people)[of > 0] / of[of > 0]
    impostor, matched = ~same, ~same & accepted
    both = np.minimum(left, right).astype(np.int64) * people + np.maximum(left, right)
    _, pair = np.unique(both[impostor], return_inverse=True)
    comparisons = np.bincount(pair)
    by_people = np.bincount(pair, matched[impostor]) / comparisons
    accepts = np.bincount(left[matched], minlength=people)
    accepts += np.bincount(right[matched], minlength=people)
    return ErrorRates(
        genuine=int(same.sum()),
        impostor=int(impostor.sum()),
        false_rejects=int(rejected.sum()),
        false_accepts=int(matched.sum()),
        fnmr_by_person=float(shares.mean()),
        fmr_by_people=float(by_people.mean()),
        accepts_of=accepts.astype(np.int64),
    )


@dataclass(frozen=True)
class FmrRise:
    """The engine's FMR in relation to the reference's, on the same comparisons.

    Attributes
    ----------
    false_accepts, reference_false_accepts : int
    ratio : float
        Above 1 where the engine accepts more impostors.
    log_standard_error : float
        Of the ratio's logarithm, by the jackknife over people.
    upper : float
        One-sided 95 % upper bound of the ratio.
    p_value : float
        One-sided, normal, against "no rise".
    """

    false_accepts: int
    reference_false_accepts: int
    ratio: float
    log_standard_error: float
    upper: float
    p_value: float


def fmr_rise(reference: ErrorRates, engine: ErrorRates) -> FmrRise:
    """Return how an engine's FMR relates to the reference's.

    Leaving a person out removes all comparisons that involve that person, of both engines. The
    number of comparisons cancels out of the ratio. Half an accept is added to both counts, so that
    an engine without any has a logarithm (F. J. Anscombe, "On estimating binomial response
    relations", Biometrika 43, 1956).

    Parameters
    ----------
    reference, engine : ErrorRates
        Of the same comparisons.

    Returns
    -------
    FmrRise

    Raises
    ------
    ValueError
        If the comparisons differ.

    Examples
    --------
    >>> left, right = np.repeat(np.arange(40), 40), np.tile(np.arange(40), 40)
    >>> same, turn = left == right, (left * 7 + right * 11) % 40
    >>> before, after = (
    ...     rates_of_pairs(same | (turn < most), same, left, right) for most in (4, 8)
    ... )
    >>> found = fmr_rise(before, after)
    >>> found.reference_false_accepts, found.false_accepts, found.p_value < 0.001
    (156, 312, True)
    """
    if (reference.impostor, len(reference.accepts_of)) != (engine.impostor, len(engine.accepts_of)):
        raise ValueError("the reference and the engine were measured on different comparisons")
    before, after = reference.false_accepts + 0.5, engine.false_accepts + 0.5
    logarithm = math.log(after / before)
    left_out = np.log((after - engine.accepts_of) / (before - reference.accepts_of))
    error = jackknife_error(left_out)
    rises = float(ndtr(-logarithm / error)) if error > 0 else float(logarithm <= 0)
    return FmrRise(
        engine.false_accepts,
        reference.false_accepts,
        after / before,
        error,
        math.exp(logarithm + _Z95 * error),
        rises,
    )


def judge_fmr_rise(rise: FmrRise, *, gate: str, limit: float, alpha: float) -> GateResult:
    """Judge whether an engine's FMR rises to at most ``limit`` times the reference's.

    Pass if the upper bound is at most the limit; fail if the ratio exceeds it and "no rise" is
    rejected at ``alpha``; inconclusive otherwise. Not evaluated below 30 false accepts of the
    reference.

    Parameters
    ----------
    rise : FmrRise
    gate : str
        The gate's name.
    limit : float
        Largest acceptable ratio, above 1.
    alpha : float
        This gate's share of the run's false-alarm budget.

    Returns
    -------
    GateResult
        ``observed`` is the ratio, ``interval`` runs from 0 to the upper bound.

    Raises
    ------
    ValueError
        If the limit is not above 1, or ``alpha`` not between 0 and 1.

    Examples
    --------
    >>> for reference in (300, 20):
    ...     rise = FmrRise(3 * reference, reference, 3.0, 0.1, upper=3.5, p_value=0.0)
    ...     judge_fmr_rise(rise, gate="operating.fmr_rise", limit=1.5, alpha=0.005).verdict.value
    'fail'
    'not evaluated'
    """
    check_limits(alpha=alpha)
    if not limit > 1:
        raise ValueError(f"limit must be above 1, found {limit}")
    counts = f"{rise.false_accepts} false accepts, FP32 {rise.reference_false_accepts}"
    if rise.reference_false_accepts < FEWEST_FALSE_ACCEPTS:
        return not_evaluated(
            gate,
            f"{counts}; a ratio needs {FEWEST_FALSE_ACCEPTS} of the reference. "
            "--facenet-all-pairs compares every photo with every other",
            limit,
        )
    return GateResult(
        gate,
        bounded(rise.ratio, rise.upper, limit, rejected=rise.p_value < alpha),
        observed=rise.ratio,
        limit=limit,
        interval=(0.0, rise.upper),
        detail=f"{counts}; at most ×{rise.upper:.3g} (95 %), p {rise.p_value:.2g}",
    )
