"""DeLong's test: whether two engines rank the same pairs equally well."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from facenet_validate.metrics.arrays import Booleans, Floats, check_scores


@dataclass(frozen=True)
class DeLong:
    """Two correlated AUCs and the test of their difference.

    Attributes
    ----------
    auc_a, auc_b : float
        Ties counted half.
    difference : float
        ``auc_a − auc_b``.
    standard_error : float
        Of the difference.
    p_value : float
        Two-sided, normal approximation. With a standard error of 0: 1 for equal AUCs, else 0.
    """

    auc_a: float
    auc_b: float
    difference: float
    standard_error: float
    p_value: float


def delong_paired(distances_a: Floats, distances_b: Floats, same: Booleans) -> DeLong:
    """Test the difference of two AUCs on the same pairs, in O(P log P).

    Parameters
    ----------
    distances_a, distances_b : (P,) float array
        Distances by the two engines; lower means more alike.
    same : (P,) bool array
        True for genuine pairs; at least two of each kind.

    Returns
    -------
    DeLong

    Raises
    ------
    ValueError
        As :func:`~facenet_validate.metrics.arrays.check_scores`, or with fewer than two pairs of
        a kind.

    References
    ----------
    E. DeLong et al., Biometrics 44 (1988), 837-845; X. Sun and W. Xu, "Fast implementation of
    DeLong's algorithm", IEEE Signal Processing Letters 21 (2014), 1389-1393.

    Examples
    --------
    Two of nine duels are lost, and six pairs do not tell that from chance:

    >>> same = np.array([True, True, True, False, False, False])
    >>> found = delong_paired(
    ...     np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), np.array([1.0, 2.0, 5.0, 4.0, 3.0, 6.0]), same
    ... )
    >>> found.auc_a, round(found.auc_b, 3), round(found.p_value, 2)
    (1.0, 0.778, 0.37)
    """
    check_scores(distances_a, same)
    check_scores(distances_b, same)
    genuine = int(np.count_nonzero(same))
    impostor = same.size - genuine
    if min(genuine, impostor) < 2:
        raise ValueError(
            f"DeLong needs two pairs of each kind, found {genuine} genuine and {impostor} impostor"
        )
    genuine_a, impostor_a = _placements(distances_a, same)
    genuine_b, impostor_b = _placements(distances_b, same)
    # Differences of whole numbers first: two engines that rank alike differ by exactly 0.
    most = 2 * genuine * impostor
    difference = int(np.sum(genuine_a - genuine_b)) / most
    variance = (
        np.var((genuine_a - genuine_b) / (2 * impostor), ddof=1) / genuine
        + np.var((impostor_a - impostor_b) / (2 * genuine), ddof=1) / impostor
    )
    error = math.sqrt(variance)
    if error > 0:
        p_value = float(2 * ndtr(-abs(difference) / error))
    else:
        p_value = 1.0 if difference == 0 else 0.0
    return DeLong(
        auc_a=int(np.sum(genuine_a)) / most,
        auc_b=int(np.sum(genuine_b)) / most,
        difference=difference,
        standard_error=error,
        p_value=p_value,
    )


def _placements(distances: Floats, same: Booleans) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return, doubled, how many pairs of the other kind each pair is on the right side of.

    Ties count half. First the genuine pairs, then the impostor pairs, in their order.
    """
    genuine, impostor = np.sort(distances[same]), np.sort(distances[~same])
    own, other = distances[same], distances[~same]
    closer = 2 * impostor.size - _twice_midrank(impostor, own)
    farther = _twice_midrank(genuine, other)
    return closer, farther


def _twice_midrank(ordered: Floats, values: Floats) -> NDArray[np.int64]:
    """Return twice the number of ``ordered`` below each value, its equals counted half."""
    left = np.searchsorted(ordered, values, side="left")
    return np.asarray(left + np.searchsorted(ordered, values, side="right"), dtype=np.int64)
