"""The bootstrap over identities against a literal one, and its coverage."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from facenet_validate.metrics.bootstrap import (
    IdentityBootstrap,
    bootstrap_identities,
    upper_bound_over_people,
)
from facenet_validate.metrics.pairs import PairList
from facenet_validate.metrics.view2 import View2, evaluate_embeddings
from tests.metrics.test_view2 import people

Case = tuple[PairList, NDArray[np.intp], View2, View2, NDArray[np.float64]]


def two_engines(seed: int = 0, *, damage: float = 0.05, folds: int = 4) -> Case:
    embeddings, pairs = people(seed, folds=folds, per_kind=40)
    random = np.random.default_rng(seed + 1)
    damaged = embeddings + np.float32(damage) * random.normal(size=embeddings.shape)
    reference, engine = (evaluate_embeddings(rows, pairs) for rows in (embeddings, damaged))
    frozen = reference.rule.distances(damaged, pairs)
    return pairs, np.arange(len(embeddings)) // 4, reference, engine, frozen


def run(case: Case, *, replicates: int = 2000, seed: int = 0) -> IdentityBootstrap:
    pairs, identities, reference, engine, frozen = case
    return bootstrap_identities(
        pairs,
        identities,
        reference=reference,
        engine=engine,
        frozen=frozen,
        replicates=replicates,
        seed=seed,
    )


def test_the_intervals_are_the_literal_ones() -> None:
    """People are drawn one by one, and every drawn pair is listed as often as it was drawn."""
    case = two_engines()
    pairs, identities, reference, engine, frozen = case
    held = reference.rule.correct(frozen, pairs)
    present = np.unique(identities[np.concatenate([pairs.left, pairs.right])])
    random = np.random.default_rng(0)
    # As the bootstrap draws: blocks of replicates of as many people as there are.
    differences = []
    for draw in random.integers(len(present), size=(100, len(present))):
        times = {person: int(np.sum(present[draw] == person)) for person in present.tolist()}
        listed: list[int] = []
        for pair, (i, j) in enumerate(zip(pairs.left, pairs.right, strict=True)):
            a, b = int(identities[i]), int(identities[j])
            listed += [pair] * (times[a] if a == b else times[a] * times[b])
        rows = np.array(listed)
        same = pairs.same[rows]
        differences.append(
            [
                reference.correct[rows].mean() - held[rows].mean(),
                reference.correct[rows].mean() - engine.correct[rows].mean(),
                roc_auc_score(same, -reference.distances[rows])
                - roc_auc_score(same, -engine.distances[rows]),
            ]
        )
    low, high = np.quantile(differences, [0.025, 0.975], axis=0)
    found = run(case, replicates=100)
    expected = np.stack([low, high], axis=1)
    np.testing.assert_allclose([found.drop, found.accuracy, found.auc], expected, atol=1e-12)
    assert found.replicates == 100


def test_one_seed_gives_one_interval() -> None:
    case = two_engines()
    assert run(case, replicates=250) == run(case, replicates=250)
    assert run(case, replicates=250) != run(case, replicates=250, seed=1)


def test_an_engine_equal_to_the_reference_differs_by_nothing() -> None:
    pairs, identities, reference, _, _ = two_engines()
    same = run((pairs, identities, reference, reference, reference.distances), replicates=50)
    assert (same.drop, same.accuracy, same.auc) == ((0, 0), (0, 0), (0, 0))


def test_ties_count_half() -> None:
    """An engine that says nothing has an AUC of one half in every replicate."""
    pairs, identities, reference, engine, frozen = two_engines()
    mute = replace(engine, distances=np.ones(len(pairs)))
    low, high = run((pairs, identities, reference, mute, frozen)).auc
    assert low < reference.scores.auc - 0.5 < high < 0.5
    perfect = replace(reference, distances=np.where(pairs.same, 0.0, 1.0))
    assert run((pairs, identities, perfect, mute, frozen), replicates=50).auc == (0.5, 0.5)


def test_the_intervals_hold_the_observed_differences() -> None:
    case = two_engines(damage=0.2)
    pairs, _, reference, engine, frozen = case
    found = run(case)
    held = reference.rule.correct(frozen, pairs)
    for (low, high), observed in (
        (found.drop, reference.correct.mean() - held.mean()),
        (found.accuracy, reference.correct.mean() - engine.correct.mean()),
        (found.auc, reference.scores.auc - engine.scores.auc),
    ):
        assert low < observed < high
    assert found.auc[0] > 0, "so much damage is no accident"


def test_one_person_in_many_pairs_widens_the_interval() -> None:
    """All damage in the pairs of one person: who is drawn decides."""
    pairs, identities, reference, _, _ = two_engines(folds=8)
    first, second = identities[pairs.left], identities[pairs.right]
    lost = np.flatnonzero(reference.correct)[:: max(1, reference.correct.sum() // 12)][:12]
    one = int(np.argmax(np.bincount(np.concatenate([first, second]))))
    mine = np.flatnonzero(reference.correct & ((first == one) | (second == one)))
    widths = []
    for rows in (mine[: len(lost)], lost[: len(mine)]):
        broken = reference.distances.copy()
        broken[rows] = np.where(pairs.same[rows], 9.0, 0.0)
        found = run((pairs, identities, reference, reference, broken))
        widths.append(found.drop[1] - found.drop[0])
    assert widths[0] > 1.3 * widths[1]


def test_pairs_that_contradict_the_identities_are_named() -> None:
    pairs, identities, reference, engine, frozen = two_engines()
    with pytest.raises(ValueError, match=r"pairs contradict the identities, the first is pair \d"):
        run((pairs, identities // 2, reference, engine, frozen))


def test_lengths_must_fit() -> None:
    pairs, identities, reference, engine, frozen = two_engines()
    with pytest.raises(ValueError, match=r"same has shape \(320,\), the distances \(319,\)"):
        run((pairs, identities, reference, engine, frozen[1:]))
    short = replace(engine, distances=engine.distances[1:])
    with pytest.raises(ValueError, match=r"the engine's distances has shape \(319,\)"):
        run((pairs, identities, reference, short, frozen))


def test_the_bound_over_people_is_a_quantile_of_the_drop_of_drawn_people() -> None:
    pairs, identities, *_ = two_engines()
    random = np.random.default_rng(3)
    lost = random.choice([-1.0, 0.0, 1.0], len(pairs), p=[0.05, 0.75, 0.2])
    present = np.unique(identities[np.concatenate([pairs.left, pairs.right])])
    first, second = identities[pairs.left], identities[pairs.right]
    drawn = np.random.default_rng(7)
    drops = []
    for count in (100, 50):
        for row in drawn.integers(len(present), size=(count, len(present))):
            times = np.bincount(present[row], minlength=int(present.max()) + 1)
            weights = np.where(pairs.same, times[first], times[first] * times[second])
            drops.append(weights @ lost / weights.sum())
    found = upper_bound_over_people(lost, pairs, identities, replicates=150, seed=7)
    assert found == pytest.approx(np.quantile(drops, 0.95), abs=1e-12)


def test_losses_of_one_person_widen_the_bound_over_people() -> None:
    identities = np.arange(20).repeat(2)
    left = 2 * np.arange(20).repeat(10)
    pairs = PairList(left, left + 1, np.ones(200, np.bool_), np.zeros(200, np.intp))
    spread, together = np.zeros(200), np.zeros(200)
    spread[::20], together[:10] = 1.0, 1.0
    one, other = (upper_bound_over_people(x, pairs, identities) for x in (spread, together))
    assert 0.05 < one < other
    assert upper_bound_over_people(np.zeros(200), pairs, identities) == 0
