"""The classic evaluation of davidsandberg/facenet, on a grid of thresholds, digit for digit.

For comparison with figures that others published; gates use :mod:`.view2`. Its known defects, kept
here because they are part of those figures:

- The grid of 0..4 in steps of 0.01 moves ACC by up to 0.13 points, depending on the distance.
- An angle ends at 1, so that only 100 of the 400 thresholds can decide anything. Squared L2 between
  flip-concatenated embeddings reaches 8, twice the end of the grid: the curve stops before it has
  accepted everything, and AUC, the area under what there is of it, collapses (0.49 was seen).
- Of equal training accuracies the first grid step wins, and a pair at the threshold is rejected.
- The standard deviation behind "±" divides by the number of folds (ddof=0) and is no standard
  error.
- VAL at a FAR of 1e-3 rests on 3 impostor pairs. Its threshold is interpolated between grid steps.
  FAR is level over most steps, where today's scipy refuses to interpolate; what older releases did
  was a straight line from the last step at or below the wanted FAR to the one after it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facenet_validate.metrics.arrays import Booleans, Floats, Integers, check_scores
from facenet_validate.metrics.pairs import PairList
from facenet_validate.metrics.protocols import PROTOCOLS, Protocol, distances_at, training_means

_COARSE = np.arange(0, 4, 0.01)
_FINE = np.arange(0, 4, 0.001)
_FAR = 1e-3


@dataclass(frozen=True, eq=False)
class ClassicEvaluation:
    """What ``validate_on_lfw`` prints, and its thresholds.

    Attributes
    ----------
    accuracy, accuracy_std : float
        Mean and standard deviation (ddof=0) of ``fold_accuracies``.
    val, val_std, far : float
        Mean and standard deviation over folds of the share of genuine pairs accepted, and mean
        share of impostor pairs accepted, at the thresholds that the training folds give for a
        false-accept rate of 1e-3.
    auc : float
        Area under the mean ROC of the folds on 400 thresholds, by the trapezoid rule.
    fold_accuracies, fold_thresholds : (K,) float64 array
        Per fold, at the first of the 400 thresholds with the best training accuracy.
    """

    accuracy: float
    accuracy_std: float
    val: float
    val_std: float
    far: float
    auc: float
    fold_accuracies: NDArray[np.float64]
    fold_thresholds: NDArray[np.float64]


def evaluate_classic(
    embeddings: Floats, pairs: PairList, protocol: Protocol = PROTOCOLS["plain"]
) -> ClassicEvaluation:
    """Score embeddings as ``lfw.evaluate`` of davidsandberg/facenet does.

    Parameters
    ----------
    embeddings : (N, D) float array
        One a row; concatenated with those of the mirrored faces where ``protocol.flip``.
    pairs : PairList
        The folds are the pairs' own; the original's are equal parts of a whole set, by position.
    protocol : Protocol

    Returns
    -------
    ClassicEvaluation

    Raises
    ------
    ValueError
        As :func:`~facenet_validate.metrics.view2.evaluate_embeddings`; also if a fold lacks
        genuine or impostor pairs.
    """
    same, folds = pairs.same, pairs.folds
    count = int(folds.max()) + 1
    kinds = np.bincount(2 * folds + same, minlength=2 * count).reshape(count, 2)
    if count < 2 or not kinds.all():
        raise ValueError(
            "expected at least two folds, each with genuine and impostor pairs; found (impostor, "
            f"genuine) {kinds.tolist()}"
        )
    means = training_means(embeddings, pairs) if protocol.subtract_mean else None
    measured = np.atleast_2d(distances_at(embeddings, pairs, protocol, means))
    for row in measured:
        check_scores(row, same)

    test, training = _accepted(measured, same, folds, count, _COARSE)
    # The rejected impostor pairs differ from −accepted by a constant; argmax takes the first.
    best = np.argmax(training[:, 1] - training[:, 0], axis=1)
    rows = np.arange(count)
    right = test[rows, 1, best] + (kinds[:, 0] - test[rows, 0, best])
    accuracies = right / kinds.sum(axis=1)
    fars, tars = np.mean(test / kinds[:, :, None], axis=0)

    own = measured[folds if len(measured) > 1 else 0, np.arange(len(pairs))]
    _, training = _accepted(measured, same, folds, count, _FINE)
    limits = np.array(
        [
            _threshold_at_far(impostors / trials)
            for impostors, trials in zip(
                training[:, 0], kinds[:, 0].sum() - kinds[:, 0], strict=True
            )
        ]
    )
    accepted = own < limits[folds]
    shares = np.bincount(2 * folds + same, weights=accepted).reshape(count, 2) / kinds
    return ClassicEvaluation(
        accuracy=float(np.mean(accuracies)),
        accuracy_std=float(np.std(accuracies)),
        val=float(np.mean(shares[:, 1])),
        val_std=float(np.std(shares[:, 1])),
        far=float(np.mean(shares[:, 0])),
        auc=float(np.trapezoid(tars, fars)),
        fold_accuracies=accuracies,
        fold_thresholds=_COARSE[best],
    )


def _accepted(
    measured: NDArray[np.float64],
    same: Booleans,
    folds: Integers,
    count: int,
    grid: NDArray[np.float64],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count the pairs below each step of the grid: (fold, impostor or genuine, step).

    First the pairs of each fold, then the training pairs of each fold.
    """
    # The first step that accepts a pair, by every row of distances; beyond the grid there is none.
    steps = np.searchsorted(grid, measured, side="right")
    width = len(grid) + 1

    def cumulate(cells: Integers, steps: Integers) -> NDArray[np.int64]:
        counted = np.bincount((cells * width + steps).ravel(), minlength=2 * count * width)
        return counted.reshape(count, 2, width)[:, :, :-1].cumsum(axis=2)

    kind = same.astype(np.intp)
    if len(measured) == 1:
        test = cumulate(2 * folds + kind, steps[0])
        return test, test.sum(axis=0) - test
    fold = np.arange(count)[:, None]
    whole = cumulate(2 * fold + kind, steps)
    test = cumulate(2 * folds + kind, steps[folds, np.arange(len(folds))])
    return test, whole - test


def _threshold_at_far(far: NDArray[np.float64]) -> float:
    """Interpolate the threshold for the wanted FAR; 0 where the grid does not reach it."""
    if far.max() < _FAR:
        return 0.0
    last = int(np.searchsorted(far, _FAR, side="right")) - 1
    if last == len(far) - 1:
        return float(_FINE[last])
    slope = (_FINE[last + 1] - _FINE[last]) / (far[last + 1] - far[last])
    return float(slope * (_FAR - far[last]) + _FINE[last])
