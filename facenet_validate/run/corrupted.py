"""Decisions on pairs with a corrupted photo, and two engines' beside each other."""

from __future__ import annotations

import numpy as np

from facenet_validate.datasets.corrupted import CorruptedPairs
from facenet_validate.metrics.arrays import Booleans, Floats, Integers
from facenet_validate.metrics.fragility import Fragility, compare_corrupted
from facenet_validate.metrics.view2 import DecisionRule


def without_embedding(embeddings: Floats) -> Booleans:
    """Return which rows, (N,), hold NaN or infinity."""
    return np.asarray(~np.isfinite(embeddings).all(axis=1), np.bool_)


def decided(
    chosen: CorruptedPairs, rule: DecisionRule, clean: Floats, corrupted: Floats
) -> Booleans:
    """Return which pairs an engine decides rightly; those of a picture without embedding are not.

    Parameters
    ----------
    chosen : CorruptedPairs
    rule : DecisionRule
        The reference's frozen one, of photos as they are.
    clean : (N, D) float array
        The engine's embeddings of the set's photos as they are.
    corrupted : (C, D) float array
        Of the corrupted pictures of one kind.

    Returns
    -------
    (P,) bool array
    """
    broken = without_embedding(corrupted)
    # What is put in a broken row's place is not looked at.
    whole = np.where(broken[:, None], clean[chosen.photos], corrupted)
    distances = rule.distances(np.concatenate([clean, whole]), chosen.pairs)
    return np.asarray(rule.correct(distances, chosen.pairs) & ~broken[chosen.picture])


def compared(
    chosen: CorruptedPairs, people: Integers, before: Booleans, after: Booleans
) -> Fragility:
    """Compare an engine's decisions with the reference's.

    Parameters
    ----------
    chosen : CorruptedPairs
    people : (N,) integer array
        Who is in each photo of the set, from 0.
    before, after : (P,) bool array
        Which pairs the reference and the engine decide rightly, from :func:`decided`.
    """
    shown = people[chosen.photos]
    return compare_corrupted(
        before,
        after,
        chosen.severities[chosen.picture],
        shown[chosen.picture],
        chosen.pairs,
        np.concatenate([people, shown]),
    )
