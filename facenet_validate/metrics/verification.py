"""LFW View 2 verification: pair distances, per-fold thresholds and accuracy."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facenet_validate.metrics.arrays import (
    Booleans,
    Floats,
    Integers,
    check_distances,
    check_length,
    check_scores,
)
from facenet_validate.metrics.roc import Roc, TarAtFar

FAR_TARGETS = (1e-1, 1e-2, 1e-3)

_CHUNK = 64  # pairs at a time stay in the processor's cache


@dataclass(frozen=True, eq=False)
class Verification:
    """The result of one LFW View 2 evaluation.

    Attributes
    ----------
    protocol : str
        What was compared and how: ``squared L2, no flip, 10 folds by position``.
    accuracy : float
        Mean of ``fold_accuracies``.
    accuracy_std : float
        Standard deviation over the folds (ddof=0): what most repositories print behind "±".
    accuracy_se : float
        Standard error of the mean (ddof=1, divided by √folds): what LFW asks for.
    auc : float
        Pooled area under the exact ROC, ties counted half.
    eer : float
        Pooled equal-error rate.
    tar_at_far : tuple of TarAtFar
        At the FARs 1e-1, 1e-2 and 1e-3, pooled.
    thresholds : (folds,) float64 array
        Per fold, the threshold chosen on the other folds; in the unit of the distances.
    fold_accuracies : (folds,) float64 array
        Share of the fold's pairs decided rightly at its threshold.
    """

    protocol: str
    accuracy: float
    accuracy_std: float
    accuracy_se: float
    auc: float
    eer: float
    tar_at_far: tuple[TarAtFar, ...]
    thresholds: NDArray[np.float64]
    fold_accuracies: NDArray[np.float64]


def pair_distances(embeddings: Floats, left: Integers, right: Integers) -> NDArray[np.float64]:
    """Return the squared L2 distance of each pair, computed in float64.

    Parameters
    ----------
    embeddings : (N, D) float array
        One embedding a row.
    left, right : (P,) integer arrays
        Rows of each pair's two faces.

    Returns
    -------
    (P,) float64 array
        Squared L2 distances: 0 to 4 between unit embeddings, ``2 − 2 cosine``.

    Raises
    ------
    ValueError
        If the shapes do not fit or an index is negative or beyond the last row.

    Examples
    --------
    >>> embeddings = np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> pair_distances(embeddings, np.array([0, 0]), np.array([0, 1])).tolist()
    [0.0, 2.0]
    """
    _check_rows(embeddings, left, right)
    return cross_distances(embeddings, embeddings, left, right)


def cross_distances(
    lefts: Floats, rights: Floats, left: Integers, right: Integers
) -> NDArray[np.float64]:
    """Return the squared L2 distances of rows of one array to rows of another, in float64.

    Parameters
    ----------
    lefts, rights : (N, D) and (M, D) float arrays
    left, right : (P,) integer arrays
        Rows of each pair: of ``lefts`` and of ``rights``. They are not checked.

    Returns
    -------
    (P,) float64 array

    Examples
    --------
    >>> lefts, rights = np.array([[0.0], [1.0]]), np.array([[5.0]])
    >>> cross_distances(lefts, rights, np.array([0, 1]), np.array([0, 0])).tolist()
    [25.0, 16.0]
    """
    distances = np.empty(len(left))
    most = min(_CHUNK, len(left))
    sides = [np.empty((most, side.shape[1]), side.dtype) for side in (lefts, rights)]
    first, second = (np.empty(side.shape) for side in sides)
    for start in range(0, len(left), _CHUNK):
        part = slice(start, start + _CHUNK)
        count = len(left[part])
        for rows, which, side, wide in (
            (lefts, left[part], sides[0], first),
            (rights, right[part], sides[1], second),
        ):
            # Into the same memory each time; numpy writes there directly where it clips.
            rows.take(which, axis=0, out=side[:count], mode="clip")
            wide[:count] = side[:count]
        difference = np.subtract(first[:count], second[:count], out=first[:count])
        np.einsum("ij,ij->i", difference, difference, out=distances[part])
    return distances


def pair_products(embeddings: Floats, left: Integers, right: Integers) -> NDArray[np.float64]:
    """Return the dot product of each pair, computed in float64; as :func:`pair_distances`.

    Examples
    --------
    >>> embeddings = np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> pair_products(embeddings, np.array([0, 0]), np.array([0, 1])).tolist()
    [1.0, 0.0]
    """
    _check_rows(embeddings, left, right)
    products = np.empty(len(left))
    for start in range(0, len(left), _CHUNK):
        part = slice(start, start + _CHUNK)
        first = embeddings[left[part]].astype(np.float64)
        products[part] = np.einsum("ij,ij->i", first, embeddings[right[part]])
    return products


def decisions(distances: Floats, folds: Integers, thresholds: NDArray[np.float64]) -> Booleans:
    """Return which pairs are accepted, each at its own fold's threshold.

    Parameters
    ----------
    distances : (P,) float array
    folds : (P,) integer array
        Fold of each pair, 0 to K−1; some may have no pair here.
    thresholds : (K,) float64 array
        As in :attr:`Verification.thresholds`.

    Returns
    -------
    (P,) bool array
        True where ``distance < threshold``.

    Raises
    ------
    ValueError
        If lengths differ, a distance is not finite, or a fold has no threshold.

    Examples
    --------
    >>> decisions(np.array([1.0, 1.0]), np.array([0, 1]), np.array([0.8, 1.2])).tolist()
    [False, True]
    """
    check_distances(distances)
    check_length("folds", folds, distances)
    check_folds_known(folds, thresholds)
    return np.asarray(distances < thresholds[folds], dtype=np.bool_)


def evaluate(
    distances: Floats,
    same: Booleans,
    folds: Integers,
    *,
    distance_name: str = "squared L2, no flip",
) -> Verification:
    """Score pairs by the LFW View 2 protocol.

    Each fold is decided at the threshold chosen on the others (Huang et al., *Labeled Faces in the
    Wild*, 2007, section on View 2). AUC, EER and TAR at FAR come from the pooled pairs.

    Parameters
    ----------
    distances : (P,) float array
        Lower means more alike; in any unit.
    same : (P,) bool array
        True for genuine pairs.
    folds : (P,) integer array
        Fold of each pair, 0 to K−1 with K ≥ 2: by position in the pairs file, so that a skipped
        pair moves no other.
    distance_name : str
        What the distances are, for the protocol line.

    Returns
    -------
    Verification

    Raises
    ------
    ValueError
        As :func:`~facenet_validate.metrics.arrays.check_scores`; also if folds are fewer than two
        or not 0 to K−1, or if the training pairs of a fold lack genuine or impostor pairs.

    Examples
    --------
    Each fold is decided at the other's threshold, 0.6 and 1.2; the last pair is accepted wrongly:

    >>> found = evaluate(
    ...     np.array([0.4, 2.0, 0.4, 0.8]),
    ...     np.array([True, False, True, False]),
    ...     np.array([0, 0, 1, 1]),
    ... )
    >>> found.thresholds.round(9).tolist(), found.fold_accuracies.tolist()
    ([0.6, 1.2], [1.0, 0.5])
    >>> found.accuracy, found.auc, found.protocol
    (0.75, 1.0, 'squared L2, no flip, 2 folds by position')
    """
    thresholds = choose_thresholds(distances, same, folds)
    correct = decisions(distances, folds, thresholds) == same
    roc = Roc.from_pairs(distances, same)
    return scores(roc, correct, folds, thresholds, distance_name=distance_name)


def choose_thresholds(distances: Floats, same: Booleans, folds: Integers) -> NDArray[np.float64]:
    """Return, for each fold, the best threshold of the pairs of all other folds.

    The best is that of :meth:`~facenet_validate.metrics.roc.Roc.best_threshold`.

    Parameters
    ----------
    distances : (P,) or (K, P) float array
        Of every pair; or, where each fold measures differently, of every pair by every fold.
    same : (P,) bool array
    folds : (P,) integer array

    Returns
    -------
    (K,) float64 array

    Raises
    ------
    ValueError
        As :func:`evaluate`.

    Examples
    --------
    >>> choose_thresholds(
    ...     np.array([1.0, 4.0, 1.0, 2.0]),
    ...     np.array([True, False, True, False]),
    ...     np.array([0, 0, 1, 1]),
    ... ).tolist()
    [1.5, 2.5]
    """
    measured = np.atleast_2d(distances)
    for row in measured:
        check_scores(row, same)
    count = _check_folds(folds, measured[0])
    orders = np.argsort(measured, axis=1)
    thresholds = np.empty(count)
    for fold in range(count):
        row = fold if len(measured) > 1 else 0
        order = orders[row]
        order = order[folds[order] != fold]
        training_same = same[order]
        if training_same.all() or not training_same.any():
            raise ValueError(
                f"the folds other than {fold} hold {training_same.sum()} genuine of "
                f"{training_same.size} pairs: a threshold needs both kinds"
            )
        training = measured[row, order].astype(np.float64)
        thresholds[fold] = Roc.from_sorted(training, training_same).best_threshold()
    return thresholds


def scores(
    roc: Roc,
    correct: Booleans,
    folds: Integers,
    thresholds: NDArray[np.float64],
    *,
    distance_name: str,
) -> Verification:
    """Return the figures of pairs that are decided.

    Parameters
    ----------
    roc : Roc
        Of all pairs.
    correct : (P,) bool array
        Which pairs are decided rightly.
    folds : (P,) integer array
        Fold of each pair, 0 to K−1, K ≥ 2; no fold is empty.
    thresholds : (K,) float64 array
        What each fold's pairs were decided at.
    distance_name : str
        As in :func:`evaluate`.

    Returns
    -------
    Verification

    Examples
    --------
    >>> roc = Roc.from_pairs(np.array([0.4, 2.0, 0.4, 0.8]), np.array([True, False] * 2))
    >>> correct = np.array([True, True, True, False])
    >>> found = scores(
    ...     roc, correct, np.array([0, 0, 1, 1]), np.array([0.6, 1.2]), distance_name="squared L2"
    ... )
    >>> found.accuracy, found.accuracy_std, found.accuracy_se, found.auc
    (0.75, 0.25, 0.25, 1.0)
    """
    accuracies = np.bincount(folds, weights=correct) / np.bincount(folds)
    return Verification(
        protocol=f"{distance_name}, {len(accuracies)} folds by position",
        accuracy=float(accuracies.mean()),
        accuracy_std=float(accuracies.std()),
        accuracy_se=float(accuracies.std(ddof=1) / math.sqrt(len(accuracies))),
        auc=roc.auc(),
        eer=roc.eer(),
        tar_at_far=tuple(roc.tar_at_far(target) for target in FAR_TARGETS),
        thresholds=thresholds,
        fold_accuracies=accuracies,
    )


def check_folds_known(folds: Integers, thresholds: NDArray[np.float64]) -> None:
    """Raise ValueError unless each pair's fold has a threshold.

    Examples
    --------
    >>> check_folds_known(np.array([0, 1, 2]), np.array([1.2, 1.3]))
    Traceback (most recent call last):
    ValueError: folds run from 0 to 2, but there are thresholds for folds 0 to 1
    """
    if folds.size and (folds.min() < 0 or folds.max() >= len(thresholds)):
        raise ValueError(
            f"folds run from {folds.min()} to {folds.max()}, but there are thresholds for folds "
            f"0 to {len(thresholds) - 1}"
        )


def _check_rows(embeddings: Floats, left: Integers, right: Integers) -> None:
    """Raise unless two index arrays name rows of the embeddings."""
    if embeddings.ndim != 2 or left.ndim != 1 or left.shape != right.shape:
        raise ValueError(
            f"expected embeddings (N, D) and two index arrays (P,), found shapes "
            f"{embeddings.shape}, {left.shape} and {right.shape}"
        )
    for index in (left, right):
        if index.size and (index.min() < 0 or index.max() >= len(embeddings)):
            raise ValueError(
                f"pairs name rows {index.min()} to {index.max()} of {len(embeddings)} embeddings"
            )


def _check_folds(folds: Integers, distances: Floats) -> int:
    """Return how many folds there are; raise ValueError unless they are 0 to K−1, K ≥ 2."""
    check_length("folds", folds, distances)
    if not np.issubdtype(folds.dtype, np.integer):
        raise ValueError(f"folds must be integers, found {folds.dtype}")
    found = np.unique(folds)
    if len(found) < 2 or not np.array_equal(found, np.arange(len(found))):
        raise ValueError(f"expected at least two folds, numbered from 0, found {found.tolist()}")
    return len(found)
