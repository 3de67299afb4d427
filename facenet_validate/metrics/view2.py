"""LFW View 2 from embeddings: the evaluation, and the decision rule that it freezes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facenet_validate.metrics.arrays import Booleans, Floats
from facenet_validate.metrics.pairs import PairList
from facenet_validate.metrics.protocols import PROTOCOLS, Protocol, distances_at, training_means
from facenet_validate.metrics.roc import Roc
from facenet_validate.metrics.verification import (
    Verification,
    check_folds_known,
    choose_thresholds,
    decisions,
    scores,
)


@dataclass(frozen=True, eq=False)
class DecisionRule:
    """The rule by which one engine's evaluation decides pairs. Other engines are held to it.

    The rule stays as it is for every other engine. A threshold or a mean chosen anew for the other
    engine would hide a drift.

    Attributes
    ----------
    protocol : Protocol
    thresholds : (K,) float64 array
        One a fold, in the unit of the protocol's distance.
    means : (K, D) float64 array or None
        One a fold: what is subtracted from embeddings. None where the protocol subtracts nothing.

    Examples
    --------
    An engine that shrinks its embeddings is no worse at thresholds of its own, but far worse at
    the reference's:

    >>> embeddings = np.array([[0.0], [4.0], [10.0], [14.0]])
    >>> pairs = PairList(
    ...     left=np.array([0, 1, 2, 1]),
    ...     right=np.array([1, 2, 3, 2]),
    ...     same=np.array([True, False, True, False]),
    ...     folds=np.array([0, 0, 1, 1]),
    ... )
    >>> rule = evaluate_embeddings(embeddings, pairs).rule
    >>> rule.thresholds.tolist()
    [26.0, 26.0]
    >>> shrunk = rule.distances(embeddings / 2, pairs)
    >>> shrunk.tolist(), rule.accepts(shrunk, pairs).tolist()
    ([4.0, 9.0, 4.0, 9.0], [True, True, True, True])
    >>> rule.correct(shrunk, pairs).tolist()
    [True, False, True, False]
    """

    protocol: Protocol
    thresholds: NDArray[np.float64]
    means: NDArray[np.float64] | None

    def distances(self, embeddings: Floats, pairs: PairList) -> NDArray[np.float64]:
        """Return each pair's distance, (P,), at the mean of its own fold.

        Raises ValueError as :func:`~facenet_validate.metrics.protocols.distances_at`, or if a
        fold has no threshold.
        """
        check_folds_known(pairs.folds, self.thresholds)
        return _of_own_folds(distances_at(embeddings, pairs, self.protocol, self.means), pairs)

    def accepts(self, distances: Floats, pairs: PairList) -> Booleans:
        """Return which pairs are taken for one person, (P,), each at its own fold's threshold."""
        return decisions(distances, pairs.folds, self.thresholds)

    def correct(self, distances: Floats, pairs: PairList) -> Booleans:
        """Return which pairs are decided rightly, (P,)."""
        return np.asarray(self.accepts(distances, pairs) == pairs.same, np.bool_)


@dataclass(frozen=True, eq=False)
class View2:
    """One engine's evaluation on pairs, with what a comparison needs of it.

    Attributes
    ----------
    pairs : PairList
    scores : Verification
    measured : (P,) or (K, P) float64 array
        Distance of every pair; where a mean is subtracted, of every pair at every fold's mean. A
        fold's threshold is chosen on its row.
    distances : (P,) float64 array
        Distance of every pair as a test pair: at its own fold's mean where a mean is subtracted.
        AUC, EER and TAR pool these.
    correct : (P,) bool array
        Which pairs are decided rightly at their fold's threshold.
    roc : Roc
        Of the pooled ``distances``.
    rule : DecisionRule
    """

    pairs: PairList
    scores: Verification
    measured: NDArray[np.float64]
    distances: NDArray[np.float64]
    correct: Booleans
    roc: Roc
    rule: DecisionRule


def evaluate_embeddings(
    embeddings: Floats, pairs: PairList, protocol: Protocol = PROTOCOLS["plain"]
) -> View2:
    """Score embeddings by the LFW View 2 protocol.

    Where the mean of the training folds is subtracted, a fold's threshold is chosen on the
    distances of its training pairs at that mean, and its test pairs are measured at the same mean.

    Parameters
    ----------
    embeddings : (N, D) float array
        One a row; concatenated with those of the mirrored faces where ``protocol.flip``.
    pairs : PairList
    protocol : Protocol

    Returns
    -------
    View2

    Raises
    ------
    ValueError
        As :func:`~facenet_validate.metrics.verification.evaluate` and
        :func:`~facenet_validate.metrics.verification.pair_distances`.

    Examples
    --------
    Fold 0 is decided at the threshold of fold 1, and fold 1 at that of fold 0:

    >>> embeddings = np.array([[0.0], [3.0], [7.0], [10.0], [2.0]])
    >>> pairs = PairList(
    ...     left=np.array([0, 1, 2, 0]),
    ...     right=np.array([1, 2, 3, 4]),
    ...     same=np.array([True, False, True, False]),
    ...     folds=np.array([0, 0, 1, 1]),
    ... )
    >>> view = evaluate_embeddings(embeddings, pairs)
    >>> view.distances.tolist()
    [9.0, 16.0, 9.0, 4.0]
    >>> view.rule.thresholds.tolist()
    [4.0, 12.5]
    >>> view.correct.tolist(), view.scores.accuracy
    ([False, True, True, False], 0.5)
    """
    if protocol.subtract_mean:
        embeddings = np.asarray(embeddings, np.float64)  # once, for the means and the distances
    means = training_means(embeddings, pairs) if protocol.subtract_mean else None
    measured = distances_at(embeddings, pairs, protocol, means)
    thresholds = choose_thresholds(measured, pairs.same, pairs.folds)
    rule = DecisionRule(protocol, thresholds, means)
    distances = _of_own_folds(measured, pairs)
    correct = rule.correct(distances, pairs)
    roc = Roc.from_pairs(distances, pairs.same)
    return View2(
        pairs=pairs,
        scores=scores(roc, correct, pairs.folds, thresholds, distance_name=protocol.text),
        measured=measured,
        distances=distances,
        correct=correct,
        roc=roc,
        rule=rule,
    )


def _of_own_folds(measured: NDArray[np.float64], pairs: PairList) -> NDArray[np.float64]:
    """Return each pair's distance, (P,), by its own fold's row where there is a row a fold."""
    return measured if measured.ndim == 1 else measured[pairs.folds, np.arange(len(pairs))]
