"""Parity: whether an engine is the same model as the reference, by image and by pair."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import pdist

from facenet_validate.metrics.arrays import Floats, Integers, check_distances, check_length
from facenet_validate.metrics.verification import decisions


@dataclass(frozen=True)
class Parity:
    """How far an engine's embeddings are from the reference's.

    Attributes
    ----------
    rows : int
        Images compared.
    cosine_min, cosine_p1, cosine_mean : float
        Of the row-wise cosines: smallest, 1st percentile (linear between order statistics, numpy's
        default) and mean. A row without a direction counts as −1.
    worst_row : int
        Row of ``cosine_min``, the first of equals.
    norm_error_max : float
        Largest ``|‖e‖ − 1|`` of the engine's rows; infinite if a row is not finite.
    """

    rows: int
    cosine_min: float
    cosine_p1: float
    cosine_mean: float
    worst_row: int
    norm_error_max: float


@dataclass(frozen=True)
class PairShift:
    """How far an engine moves the distances of pairs, in their unit.

    Attributes
    ----------
    pairs : int
        Pairs compared.
    mean_shift : float
        Mean of engine minus reference: a drift of scale shows here.
    max_shift : float
        Largest absolute shift.
    flipped : int
        Pairs decided differently from the reference, at the reference's thresholds.
    """

    pairs: int
    mean_shift: float
    max_shift: float
    flipped: int


def row_cosines(a: Floats, b: Floats) -> NDArray[np.float64]:
    """Return the cosine of each row of ``a`` with the same row of ``b``, computed in float64.

    Row by row: over the raveled batch, one orthogonal row in 512 still gives 0.998.

    Parameters
    ----------
    a, b : (N, D) float array
        Embeddings, normalised or not.

    Returns
    -------
    (N,) float64 array
        Between −1 and 1. A row that is zero or not finite on either side has no direction and gets
        −1, the worst value, so that no statistic over the rows can miss it.

    Raises
    ------
    ValueError
        If the shapes differ, or the arrays are not two-dimensional or are empty.

    Examples
    --------
    >>> a, b = np.array([[1.0, 0], [3, 4], [1, 0]]), np.array([[2.0, 0], [4, 3], [0, 0]])
    >>> row_cosines(a, b).tolist()
    [1.0, 0.96, -1.0]
    """
    if a.shape != b.shape or a.ndim != 2 or not a.size:
        raise ValueError(f"expected two arrays (rows, dimensions), found {a.shape} and {b.shape}")
    left, right = a.astype(np.float64), b.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        norms = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
        cosines = np.einsum("ij,ij->i", left, right) / norms
    # A finite row whose norm overflows would otherwise get 0 or a meaningless number.
    usable = np.isfinite(cosines) & np.isfinite(norms)
    return np.where(usable, np.clip(cosines, -1, 1), -1.0)


def compare_embeddings(reference: Floats, engine: Floats) -> Parity:
    """Compare an engine's embeddings with the reference's, row by row.

    Parameters
    ----------
    reference, engine : (N, D) float array
        Embeddings of the same images in the same order.

    Returns
    -------
    Parity

    Raises
    ------
    ValueError
        As :func:`row_cosines`, or if the reference itself has a row that is zero or not finite:
        that is no fault of the engine.

    Examples
    --------
    >>> reference, engine = np.array([[1.0, 0], [3, 4]]), np.array([[1.0, 0], [8, 6]])
    >>> found = compare_embeddings(reference, engine)
    >>> found.cosine_min, found.cosine_mean, found.worst_row, found.norm_error_max
    (0.96, 0.98, 1, 9.0)
    """
    cosines = row_cosines(reference, engine)
    broken = np.flatnonzero(~np.isfinite(reference).all(axis=1) | ~reference.any(axis=1))
    if broken.size:
        raise ValueError(
            f"{broken.size} rows of the reference are zero or not finite, the first is row "
            f"{broken[0]}"
        )
    with np.errstate(invalid="ignore", over="ignore"):
        norm_errors = np.abs(np.linalg.norm(engine.astype(np.float64), axis=1) - 1)
    worst_row = int(cosines.argmin())
    return Parity(
        rows=len(cosines),
        cosine_min=float(cosines[worst_row]),
        cosine_p1=float(np.percentile(cosines, 1)),
        cosine_mean=float(cosines.mean()),
        worst_row=worst_row,
        norm_error_max=float(np.where(np.isnan(norm_errors), np.inf, norm_errors).max()),
    )


def compare_pairs(
    reference_distances: Floats,
    engine_distances: Floats,
    folds: Integers,
    thresholds: NDArray[np.float64],
) -> PairShift:
    """Compare the distances of pairs, and the decisions at the reference's frozen thresholds.

    Parameters
    ----------
    reference_distances, engine_distances : (P,) float array
    folds : (P,) integer array
        Fold of each pair.
    thresholds : (K,) float64 array
        The reference's, one a fold.

    Returns
    -------
    PairShift

    Raises
    ------
    ValueError
        As :func:`~facenet_validate.metrics.verification.decisions`.

    Examples
    --------
    >>> found = compare_pairs(
    ...     np.array([1.0, 2.0, 3.0]),
    ...     np.array([0.5, 1.5, 2.5]),
    ...     folds=np.array([0, 0, 1]),
    ...     thresholds=np.array([1.75, 2.25]),
    ... )
    >>> found.mean_shift, found.max_shift, found.flipped
    (-0.5, 0.5, 1)
    """
    check_distances(reference_distances)
    check_length("the engine's distances", engine_distances, reference_distances)
    flipped = decisions(reference_distances, folds, thresholds) != decisions(
        engine_distances, folds, thresholds
    )
    shift = engine_distances.astype(np.float64) - reference_distances.astype(np.float64)
    return PairShift(
        pairs=shift.size,
        mean_shift=float(shift.mean()),
        max_shift=float(np.abs(shift).max()),
        flipped=int(np.count_nonzero(flipped)),
    )


def largest_distance(a: Floats, b: Floats) -> float:
    """Return the largest L2 distance between rows of two ``(N, D)`` arrays; NaN where a value is.

    Examples
    --------
    >>> largest_distance(np.array([[0.0, 0.0], [1.0, 1.0]]), np.array([[3.0, 4.0], [1.0, 1.0]]))
    5.0
    """
    return float(np.linalg.norm(np.asarray(a, np.float64) - b, axis=1).max())


def distance_kept(reference: Floats, engine: Floats) -> float:
    """Return the smallest part that an engine keeps of the distance between two faces.

    Distances are those of directions, ``|a/|a| − b/|b||``. Pairs at or above the reference's median
    distance count: the reference holds them apart, so that they show other people or photos that
    differ as much. An engine that gives every face one embedding keeps 0, and so does one that
    gives two of these faces the same.

    Parameters
    ----------
    reference, engine : (N, D) float array
        Embeddings of the same images in the same order, at least two.

    Returns
    -------
    float
        About 1 for an engine that agrees; NaN if a row of the engine has no direction.

    Raises
    ------
    ValueError
        If the reference tells no faces apart: that is no fault of the engine.

    Examples
    --------
    >>> reference = np.array([[1.0, 0], [0, 1], [-1, 0]])
    >>> distance_kept(reference, reference[:, ::-1])
    1.0
    >>> distance_kept(reference, np.array([[1.0, 0], [0, 1], [0, 1]]))
    0.0
    """
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        apart, kept = (
            pdist(rows / np.linalg.norm(rows, axis=1, keepdims=True))
            for rows in (reference.astype(np.float64), engine.astype(np.float64))
        )
    middle = np.median(apart)
    if not middle > 0:
        raise ValueError(f"the reference's median distance between faces is {middle}")
    held = apart >= middle
    return float((kept[held] / apart[held]).min())


def largest_change(expected: Floats, found: Floats) -> float:
    """Return the largest L2 distance of rows to those that were expected of the same images.

    Parameters
    ----------
    expected, found : (N, D) float array
        Embeddings of the same images in the same order.

    Returns
    -------
    float
        NaN where a value is, or where there are more or fewer rows: so no limit holds.

    Examples
    --------
    >>> largest_change(np.zeros((2, 2)), np.array([[3.0, 4.0], [0.0, 0.0]]))
    5.0
    >>> largest_change(np.zeros((2, 2)), np.zeros((1, 2)))
    nan
    """
    return largest_distance(expected, found) if expected.shape == found.shape else float("nan")
