"""An engine beside another engine on the same pairs, decided by the other's frozen rule."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from facenet_validate.metrics.arrays import Booleans, Floats, Integers
from facenet_validate.metrics.bootstrap import (
    IdentityBootstrap,
    bootstrap_identities,
    upper_bound_over_people,
)
from facenet_validate.metrics.delong import DeLong, delong_paired
from facenet_validate.metrics.paired import PairedComparison, compare_decisions
from facenet_validate.metrics.pairs import PairList
from facenet_validate.metrics.power import minimum_detectable_drop
from facenet_validate.metrics.view2 import View2


@dataclass(frozen=True, eq=False)
class FrozenDecisions:
    """What an engine decides by the reference's frozen rule, beside the reference's decisions.

    Attributes
    ----------
    distances : (P,) float64 array
        The engine's, at the reference's means where the protocol subtracts a mean.
    correct : (P,) bool array
        Which pairs the engine decides rightly at the reference's thresholds.
    paired : PairedComparison
        ``correct`` against the reference's own decisions.
    """

    distances: NDArray[np.float64]
    correct: Booleans
    paired: PairedComparison


@dataclass(frozen=True, eq=False)
class ViewComparison:
    """Two engines on the same pairs.

    Attributes
    ----------
    frozen : FrozenDecisions
        The engine by the reference's rule: what the gate judges.
    delong : DeLong
        Of the pooled AUCs; ``auc_a`` is the reference's.
    bootstrap : IdentityBootstrap
        How much the differences depend on the people.
    minimum_detectable_drop : float or None
        The true drop that the gate would fail 95 times in 100; None where no drop fails so often.
    """

    frozen: FrozenDecisions
    delong: DeLong
    bootstrap: IdentityBootstrap
    minimum_detectable_drop: float | None


def frozen_decisions(
    reference: View2, embeddings: Floats, pairs: PairList | None = None
) -> FrozenDecisions:
    """Decide the reference's pairs by the reference's rule, from an engine's embeddings.

    Parameters
    ----------
    reference : View2
        The evaluation that freezes the rule.
    embeddings : (N, D) float array
        The engine's, of the same images in the same order.
    pairs : PairList, optional
        The same pairs, where the rows of their images are others.

    Returns
    -------
    FrozenDecisions

    Raises
    ------
    ValueError
        As :meth:`~facenet_validate.metrics.view2.DecisionRule.distances`.

    Examples
    --------
    The engine halves its embeddings, and two impostor pairs come below the reference's thresholds:

    >>> from facenet_validate.metrics.pairs import PairList
    >>> from facenet_validate.metrics.view2 import evaluate_embeddings
    >>> embeddings = np.array([[0.0], [4.0], [10.0], [14.0]])
    >>> pairs = PairList(
    ...     left=np.array([0, 1, 2, 1]),
    ...     right=np.array([1, 2, 3, 2]),
    ...     same=np.array([True, False, True, False]),
    ...     folds=np.array([0, 0, 1, 1]),
    ... )
    >>> found = frozen_decisions(evaluate_embeddings(embeddings, pairs), embeddings / 2)
    >>> found.correct.tolist()
    [True, False, True, False]
    >>> found.paired.lost, found.paired.won, found.paired.drop
    (2, 0, 0.5)
    """
    pairs = reference.pairs if pairs is None else pairs
    distances = reference.rule.distances(embeddings, pairs)
    correct = reference.rule.correct(distances, pairs)
    return FrozenDecisions(distances, correct, compare_decisions(reference.correct, correct))


def bounded_over_people(
    frozen: FrozenDecisions, reference: View2, identities: Integers
) -> FrozenDecisions:
    """Return decisions whose upper bound of the drop also holds if people are drawn.

    Parameters
    ----------
    frozen : FrozenDecisions
        Of the pairs that ``reference`` was evaluated on.
    reference : View2
        The evaluation whose rule decided.
    identities : (N,) integer array
        Who is in each image, from 0.

    Returns
    -------
    FrozenDecisions
        ``paired.upper`` is the larger one of Tango's bound and the bootstrap's over people.

    Examples
    --------
    >>> from facenet_validate.metrics.pairs import PairList
    >>> from facenet_validate.metrics.view2 import evaluate_embeddings
    >>> embeddings = np.array([[0.0], [4.0], [10.0], [14.0]])
    >>> pairs = PairList(
    ...     left=np.array([0, 1, 2, 1]),
    ...     right=np.array([1, 2, 3, 2]),
    ...     same=np.array([True, False, True, False]),
    ...     folds=np.array([0, 0, 1, 1]),
    ... )
    >>> reference = evaluate_embeddings(embeddings, pairs)
    >>> found = frozen_decisions(reference, embeddings / 2)
    >>> wider = bounded_over_people(found, reference, np.array([0, 0, 1, 1]))
    >>> wider.paired.drop == found.paired.drop, wider.paired.upper >= found.paired.upper
    (True, True)
    """
    lost = reference.correct.astype(np.float64) - frozen.correct
    upper = upper_bound_over_people(lost, reference.pairs, identities)
    paired = replace(frozen.paired, upper=max(frozen.paired.upper, upper))
    return replace(frozen, paired=paired)


def compare_views(
    reference: View2,
    engine: View2,
    embeddings: Floats,
    identities: Integers,
    *,
    delta: float,
    alpha: float = 0.01,
) -> ViewComparison:
    """Compare an engine with a reference on the pairs that both were evaluated on.

    Parameters
    ----------
    reference, engine : View2
        Evaluations on the same pairs by the same protocol.
    embeddings : (N, D) float array
        The engine's, as ``engine`` was evaluated on.
    identities : (N,) integer array
        Who is in each image, from 0.
    delta, alpha : float
        Of the gate, as in :func:`~facenet_validate.metrics.power.minimum_detectable_drop`. A
        ``delta`` of 0 stands for a gate without a limit.

    Returns
    -------
    ViewComparison

    Raises
    ------
    ValueError
        If protocols or pairs differ, a pair's kind contradicts its identities, or there are fewer
        than two genuine or two impostor pairs.

    Examples
    --------
    >>> from facenet_validate.metrics.pairs import PairList
    >>> from facenet_validate.metrics.view2 import evaluate_embeddings
    >>> embeddings = np.array([[0.0], [4.0], [10.0], [14.0]])
    >>> pairs = PairList(
    ...     left=np.array([0, 1, 2, 1]),
    ...     right=np.array([1, 2, 3, 2]),
    ...     same=np.array([True, False, True, False]),
    ...     folds=np.array([0, 0, 1, 1]),
    ... )
    >>> halved = embeddings / 2
    >>> reference, engine = (evaluate_embeddings(rows, pairs) for rows in (embeddings, halved))
    >>> found = compare_views(reference, engine, halved, np.array([0, 0, 1, 1]), delta=0.003)

    Thresholds of its own hide that the engine loses two pairs, and so does the AUC:

    >>> engine.scores.accuracy, found.delong.difference, found.frozen.paired.lost
    (1.0, 0.0, 2)

    Four pairs are too few for any drop to fail almost surely:

    >>> found.minimum_detectable_drop is None
    True
    """
    if reference.rule.protocol != engine.rule.protocol:
        raise ValueError(
            f"the reference was evaluated by protocol {reference.rule.protocol.name}, the engine "
            f"by {engine.rule.protocol.name}"
        )
    pairs = reference.pairs
    if not pairs.equals(engine.pairs):
        raise ValueError("the reference and the engine were evaluated on different pairs")
    frozen = frozen_decisions(reference, embeddings)
    paired = frozen.paired
    return ViewComparison(
        frozen=frozen,
        delong=delong_paired(reference.distances, engine.distances, pairs.same),
        bootstrap=bootstrap_identities(
            pairs, identities, reference=reference, engine=engine, frozen=frozen.distances
        ),
        minimum_detectable_drop=minimum_detectable_drop(
            paired.lost, paired.won, paired.pairs, delta=delta, alpha=alpha
        ),
    )
