"""The classic evaluation of davidsandberg/facenet on a grid of thresholds, digit for digit.

These figures stand beside figures that others published. The gates use :mod:`.view2`. The classic
evaluation has known defects. They stay here, because they are part of the published figures:

- The grid runs from 0 to 4 in steps of 0.01. The grid alone moves ACC by up to 0.13 points,
  depending on the distance.
- An angle ends at 1, so only 100 of the 400 thresholds can decide anything. Squared L2 between
  flip-concatenated embeddings reaches 8, twice the end of the grid. There the curve stops before it
  has accepted everything, and AUC, the area under that part of the curve, collapses (0.49 was
  seen).
- Of equal training accuracies the first grid step wins. A pair at the threshold is rejected.
- The standard deviation behind "±" divides by the number of folds (ddof=0). It is no standard
  error.
- VAL at a FAR of 1e-3 rests on 3 impostor pairs. Its threshold is interpolated between grid steps.
  FAR is level over most steps, where today's scipy refuses to interpolate. Older releases took the
  straight line from the last step at or below the wanted FAR to the next step, as is done here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facenet_validate.metrics.arrays import Integers
from facenet_validate.metrics.roc import equal_error_rate
from facenet_validate.metrics.view2 import View2

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
    eer : float or None
        Equal-error rate on that ROC. None where the grid ends before every impostor pair is
        accepted: ``validate_on_lfw`` stops with an error there.
    fold_accuracies, fold_thresholds : (K,) float64 array
        Per fold, at the first of the 400 thresholds with the best training accuracy.
    """

    accuracy: float
    accuracy_std: float
    val: float
    val_std: float
    far: float
    auc: float
    eer: float | None
    fold_accuracies: NDArray[np.float64]
    fold_thresholds: NDArray[np.float64]


def evaluate_classic(view: View2) -> ClassicEvaluation | None:
    """Score an engine as ``lfw.evaluate`` of davidsandberg/facenet does.

    Parameters
    ----------
    view : View2
        The engine's evaluation: its distances, and the pairs with their folds. The original cuts
        the folds as equal parts of a whole set, by position.

    Returns
    -------
    ClassicEvaluation or None
        None where a fold lacks genuine or impostor pairs: the original divides by their number.

    Examples
    --------
    Both rules make the same decisions, but the grid's threshold is the first step that makes them:

    >>> from facenet_validate.metrics.pairs import PairList
    >>> from facenet_validate.metrics.view2 import evaluate_embeddings
    >>> embeddings = np.array([[0.0], [0.5], [2.0], [2.5]])
    >>> pairs = PairList(
    ...     left=np.array([0, 1, 2, 1]),
    ...     right=np.array([1, 2, 3, 2]),
    ...     same=np.array([True, False, True, False]),
    ...     folds=np.array([0, 0, 1, 1]),
    ... )
    >>> view = evaluate_embeddings(embeddings, pairs)
    >>> classic = evaluate_classic(view)
    >>> view.scores.thresholds.tolist(), classic.fold_thresholds.round(2).tolist()
    ([1.25, 1.25], [0.26, 0.26])
    >>> view.scores.accuracy, classic.accuracy, classic.auc, classic.eer
    (1.0, 1.0, 1.0, 0.0)
    """
    same, folds = view.pairs.same, view.pairs.folds
    count = len(view.rule.thresholds)
    kinds = np.bincount(2 * folds + same, minlength=2 * count).reshape(count, 2)
    if not kinds.all():
        return None
    test, training = _accepted(view, _COARSE)
    # The rejected impostor pairs differ from −accepted by a constant; argmax takes the first.
    best = np.argmax(training[:, 1] - training[:, 0], axis=1)
    rows = np.arange(count)
    right = test[rows, 1, best] + (kinds[:, 0] - test[rows, 0, best])
    accuracies = right / kinds.sum(axis=1)
    fars, tars = np.mean(test / kinds[:, :, None], axis=0)

    _, training = _accepted(view, _FINE)
    trials = kinds[:, 0].sum() - kinds[:, 0]
    limits = np.array([_threshold_at_far(far) for far in training[:, 0] / trials[:, None]])
    accepted = view.distances < limits[folds]
    shares = np.bincount(2 * folds + same, weights=accepted).reshape(count, 2) / kinds
    return ClassicEvaluation(
        accuracy=float(np.mean(accuracies)),
        accuracy_std=float(np.std(accuracies)),
        val=float(np.mean(shares[:, 1])),
        val_std=float(np.std(shares[:, 1])),
        far=float(np.mean(shares[:, 0])),
        auc=float(np.trapezoid(tars, fars)),
        eer=equal_error_rate(fars, tars) if fars[-1] == 1 else None,
        fold_accuracies=accuracies,
        fold_thresholds=_COARSE[best],
    )


def _accepted(
    view: View2, grid: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count the pairs below each step of the grid: (fold, impostor or genuine, step).

    First the pairs of each fold, then the training pairs of each fold.
    """
    count = len(view.rule.thresholds)

    def cumulate(folds: Integers, distances: NDArray[np.float64]) -> NDArray[np.int64]:
        # The first step that accepts a pair; the last column is beyond the grid.
        steps = np.searchsorted(grid, distances, side="right")
        cells = (2 * folds + view.pairs.same) * (len(grid) + 1) + steps
        counted = np.bincount(cells.ravel(), minlength=2 * count * (len(grid) + 1))
        return counted.reshape(count, 2, len(grid) + 1)[:, :, :-1].cumsum(axis=2)

    test = cumulate(view.pairs.folds, view.distances)
    if view.measured.ndim == 1:
        return test, test.sum(axis=0) - test
    return test, cumulate(np.arange(count)[:, None], view.measured) - test


def _threshold_at_far(far: NDArray[np.float64]) -> float:
    """Interpolate the threshold for the wanted FAR; 0 where the grid does not reach it."""
    if far.max() < _FAR:
        return 0.0
    last = int(np.searchsorted(far, _FAR, side="right")) - 1
    if last == len(far) - 1:
        return float(_FINE[last])
    slope = (_FINE[last + 1] - _FINE[last]) / (far[last + 1] - far[last])
    return float(slope * (_FAR - far[last]) + _FINE[last])
