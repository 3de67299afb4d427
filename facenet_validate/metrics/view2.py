"""LFW View 2 from embeddings: the evaluation, and the decision rule it freezes."""

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
    evaluate_at,
)


@dataclass(frozen=True, eq=False)
class DecisionRule:
    """What one engine's evaluation decides pairs by; another engine is held to it unchanged.

    A threshold, or a mean, chosen anew for the other engine would hide a drift.

    Attributes
    ----------
    protocol : Protocol
    thresholds : (K,) float64 array
        Per fold, in the unit of the protocol's distance.
    means : (K, D) float64 array or None
        Per fold, what is subtracted from embeddings; None where the protocol subtracts nothing.
    """

    protocol: Protocol
    thresholds: NDArray[np.float64]
    means: NDArray[np.float64] | None

    def distances(self, embeddings: Floats, pairs: PairList) -> NDArray[np.float64]:
        """Return each pair's distance, (P,), at the mean of its own fold.

        Raises ValueError as :func:`~facenet_validate.metrics.protocols.distances_at`, or if a
        fold has no threshold and no mean.
        """
        check_folds_known(pairs.folds, self.thresholds)
        distances = distances_at(embeddings, pairs, self.protocol, self.means)
        if self.means is None:
            return distances
        return np.asarray(distances[pairs.folds, np.arange(len(pairs))])

    def accepts(self, distances: Floats, pairs: PairList) -> Booleans:
        """Return which pairs are taken for one person, (P,), each at its own fold's threshold."""
        return decisions(distances, pairs.folds, self.thresholds)

    def correct(self, distances: Floats, pairs: PairList) -> Booleans:
        """Return which pairs are decided rightly, (P,)."""
        return np.asarray(self.accepts(distances, pairs) == pairs.same, np.bool_)


@dataclass(frozen=True, eq=False)
class View2:
    """One engine's evaluation, with what a comparison needs of it.

    Attributes
    ----------
    scores : Verification
    distances : (P,) float64 array
        Of the pairs as test pairs: at their own fold's mean where one is subtracted. AUC, EER and
        TAR pool these.
    correct : (P,) bool array
        Which pairs are decided rightly at their fold's threshold.
    roc : Roc
        Of the pooled ``distances``.
    rule : DecisionRule
    """

    scores: Verification
    distances: NDArray[np.float64]
    correct: Booleans
    roc: Roc
    rule: DecisionRule


def evaluate_embeddings(
    embeddings: Floats, pairs: PairList, protocol: Protocol = PROTOCOLS["plain"]
) -> View2:
    """Score embeddings by the LFW View 2 protocol.

    Where the mean of the training folds is subtracted, a fold's threshold is chosen on the
    distances of its training pairs at that mean, and its test pairs are measured at the same.

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
    """
    same, folds = pairs.same, pairs.folds
    if protocol.subtract_mean:
        embeddings = np.asarray(embeddings, np.float64)  # once, for the means and the distances
    means = training_means(embeddings, pairs) if protocol.subtract_mean else None
    distances = distances_at(embeddings, pairs, protocol, means)
    thresholds = choose_thresholds(distances, same, folds)
    if means is not None:
        distances = distances[folds, np.arange(len(pairs))]
    rule = DecisionRule(protocol, thresholds, means)
    return View2(
        scores=evaluate_at(distances, same, folds, thresholds, distance_name=protocol.text),
        distances=distances,
        correct=rule.correct(distances, pairs),
        roc=Roc.from_pairs(distances, same),
        rule=rule,
    )
