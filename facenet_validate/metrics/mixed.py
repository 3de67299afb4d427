"""Pairs of a stored template and a new probe: one face embedded by the old engine, one by the new.

A system keeps templates of its enrolled people. They were made by the engine in production. After a
change of engines every comparison is between such a template and an embedding of the new engine.
An engine that turns all its embeddings by one rotation decides its own pairs as before, and decides
none of these.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from facenet_validate.gates.verdicts import SEVERITY, GateResult
from facenet_validate.metrics.arrays import Floats, Integers
from facenet_validate.metrics.comparison import (
    FrozenDecisions,
    bounded_over_people,
    frozen_decisions,
)
from facenet_validate.metrics.paired import non_inferiority
from facenet_validate.metrics.pairs import PairList
from facenet_validate.metrics.view2 import View2

DIRECTIONS = 2
"""Comparisons in which a pair is decided: each of its faces may be the stored one."""


@dataclass(frozen=True, eq=False)
class MixedTemplates:
    """Pairs decided by the old engine's frozen rule, with one face of each embedded by the new one.

    Attributes
    ----------
    stored_left, stored_right : FrozenDecisions
        The old engine embedded the pair's left face, or its right face. ``paired`` compares with
        the old engine's own decisions.

    Examples
    --------
    >>> from facenet_validate.metrics.paired import compare_counts
    >>> healthy, damaged = (
    ...     FrozenDecisions(np.empty(0), np.empty(0, bool), compare_counts(lost, 1, pairs=6000))
    ...     for lost in (2, 40)
    ... )
    >>> found = MixedTemplates(healthy, damaged)
    >>> found.judge(gate="accuracy.mixed_drop", delta=0.003, alpha=0.005).verdict.value
    'fail'
    """

    stored_left: FrozenDecisions
    stored_right: FrozenDecisions

    @property
    def text(self) -> str:
        """Pairs lost and won in each direction, for people."""
        left, right = self.stored_left.paired, self.stored_right.paired
        return (
            f"{left.lost} lost, {left.won} won with the left face stored; {right.lost} lost, "
            f"{right.won} won with the right face stored; of {left.pairs} pairs each"
        )

    def bounded_over_people(self, old: View2, identities: Integers) -> MixedTemplates:
        """Return the same decisions with bounds that also hold if people are drawn.

        Parameters
        ----------
        old : View2
            The old engine's evaluation.
        identities : (N,) integer array
            Who is in each image, from 0.
        """
        return MixedTemplates(
            bounded_over_people(self.stored_left, old, identities),
            bounded_over_people(self.stored_right, old, identities),
        )

    def judge(self, *, gate: str, delta: float, alpha: float) -> GateResult:
        """Judge both directions as the paired gate does, and return the worse result.

        Parameters
        ----------
        gate : str
            The gate's name.
        delta : float
            Largest acceptable drop in each direction, as a share of the pairs.
        alpha : float
            Each direction's share of the run's false-alarm budget.

        Returns
        -------
        GateResult
            Of two equal verdicts the one with the larger upper bound.

        Raises
        ------
        ValueError
            As :func:`~facenet_validate.metrics.paired.non_inferiority`.
        """
        results = [
            non_inferiority(one.paired, gate=gate, delta=delta, alpha=alpha)
            for one in (self.stored_left, self.stored_right)
        ]
        return replace(max(results, key=_badness), detail=self.text)


def _badness(result: GateResult) -> tuple[int, float]:
    upper = result.interval[1] if result.interval is not None else 0.0
    return SEVERITY.index(result.verdict), upper


def mixed_templates(old: View2, old_embeddings: Floats, new_embeddings: Floats) -> MixedTemplates:
    """Decide pairs whose one face is a stored template, by the old engine's frozen rule.

    Parameters
    ----------
    old : View2
        The old engine's evaluation. It freezes thresholds, and means where the protocol has them.
    old_embeddings, new_embeddings : (N, D) float arrays
        Of the same images in the same order, as ``old`` was evaluated on.

    Returns
    -------
    MixedTemplates

    Raises
    ------
    ValueError
        If the shapes differ; as :meth:`~facenet_validate.metrics.view2.DecisionRule.distances`.

    Examples
    --------
    A new engine with the sign of its embeddings turned is as good as the old one by itself, and
    worthless beside stored templates:

    >>> from facenet_validate.metrics.view2 import evaluate_embeddings
    >>> embeddings = np.array([[0.0], [4.0], [10.0], [14.0]])
    >>> pairs = PairList(
    ...     left=np.array([0, 1, 2, 1]),
    ...     right=np.array([1, 2, 3, 2]),
    ...     same=np.array([True, False, True, False]),
    ...     folds=np.array([0, 0, 1, 1]),
    ... )
    >>> old = evaluate_embeddings(embeddings, pairs)
    >>> frozen_decisions(old, -embeddings).paired.lost
    0
    >>> found = mixed_templates(old, embeddings, -embeddings)
    >>> found.stored_left.distances.tolist(), found.stored_left.paired.lost
    ([16.0, 196.0, 576.0, 196.0], 1)
    """
    if old_embeddings.shape != new_embeddings.shape:
        raise ValueError(
            f"templates have shape {old_embeddings.shape}, the new embeddings "
            f"{new_embeddings.shape}: expected the same images and the same size"
        )
    both = np.concatenate([old_embeddings, new_embeddings])
    images, pairs = len(old_embeddings), old.pairs

    def decided(left: int, right: int) -> FrozenDecisions:
        mixed = PairList(pairs.left + left, pairs.right + right, pairs.same, pairs.folds)
        return frozen_decisions(old, both, mixed)

    return MixedTemplates(stored_left=decided(0, images), stored_right=decided(images, 0))
