"""The arrays the metrics take, and what must hold before a number is computed from them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Integers = NDArray[np.integer[Any]]
Booleans = NDArray[np.bool_]


def check_scores(distances: Floats, same: Booleans) -> None:
    """Raise unless the distances are finite and both kinds of pairs are there.

    Parameters
    ----------
    distances : (P,) float array
    same : (P,) bool array

    Raises
    ------
    ValueError
        If a distance is NaN or infinite (NaN is never below a threshold, so it would count as a
        correct rejection), lengths differ, ``same`` is not boolean, or a kind is missing.

    Examples
    --------
    >>> check_scores(np.array([0.4, 1.5]), np.array([True, True]))
    Traceback (most recent call last):
    ValueError: 2 of 2 pairs are genuine: verification needs genuine and impostor pairs
    """
    check_distances(distances)
    check_length("same", same, distances)
    if same.dtype != np.bool_:
        raise ValueError(f"same must be a boolean array, found {same.dtype}")
    if same.all() or not same.any():
        raise ValueError(
            f"{same.sum()} of {same.size} pairs are genuine: verification needs genuine and "
            "impostor pairs"
        )


def check_distances(distances: Floats) -> None:
    """Raise ValueError unless ``distances`` is a (P,) array of finite numbers, P ≥ 1.

    Examples
    --------
    >>> check_distances(np.array([0.4, np.nan]))
    Traceback (most recent call last):
    ValueError: 1 of 2 distances are NaN or infinite, the first at pair 1
    """
    if distances.ndim != 1 or not distances.size:
        raise ValueError(f"expected distances of shape (pairs,), found {distances.shape}")
    finite = np.isfinite(distances)
    if not finite.all():
        raise ValueError(
            f"{np.count_nonzero(~finite)} of {distances.size} distances are NaN or infinite, the "
            f"first at pair {np.argmin(finite)}"
        )


def check_length(name: str, array: NDArray[Any], distances: Floats) -> None:
    """Raise ValueError unless ``array`` has one value a distance.

    Examples
    --------
    >>> check_length("folds", np.array([0, 0, 1]), np.array([0.4, 1.5]))
    Traceback (most recent call last):
    ValueError: folds has shape (3,), the distances (2,)
    """
    if array.shape != distances.shape:
        raise ValueError(f"{name} has shape {array.shape}, the distances {distances.shape}")
