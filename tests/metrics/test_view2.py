"""View 2 from embeddings, by every protocol, against literal definitions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from facenet_validate.metrics.pairs import PairList
from facenet_validate.metrics.protocols import PROTOCOLS, Protocol, distances_at, with_flips
from facenet_validate.metrics.roc import Roc
from facenet_validate.metrics.verification import evaluate
from facenet_validate.metrics.view2 import View2, evaluate_embeddings

Rows = NDArray[np.float64]

ALL_PROTOCOLS = [
    Protocol("squared L2", "squared L2", flip=False, subtract_mean=False),
    Protocol("cosine", "cosine", flip=False, subtract_mean=False),
    Protocol("angle", "angle", flip=False, subtract_mean=False),
    Protocol("cosine, mean", "cosine", flip=False, subtract_mean=True),
    Protocol("angle, mean", "angle", flip=False, subtract_mean=True),
]
every_protocol = pytest.mark.parametrize("protocol", ALL_PROTOCOLS, ids=lambda p: p.name)


def people(
    seed: int = 0,
    *,
    folds: int = 10,
    per_kind: int = 30,
    dimensions: int = 32,
    noise: float = 0.9,
    dtype: Any = np.float32,
) -> tuple[NDArray[Any], PairList]:
    """Unit embeddings of people, off centre as real ones are, and pairs in LFW's order."""
    random = np.random.default_rng(seed)
    count = 40 * folds
    centres = np.repeat(random.normal(size=(count // 4, dimensions)), 4, axis=0)
    embeddings = centres + noise * random.normal(size=centres.shape) + 0.5
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    left, right, same = [], [], []
    for _ in range(folds):
        person = random.integers(count // 4, size=per_kind)
        first, second = random.permuted(np.tile(np.arange(4), (per_kind, 1)), axis=1)[:, :2].T
        other = (person + random.integers(1, count // 4, size=per_kind)) % (count // 4)
        left += [*(4 * person + first), *(4 * person + first)]
        right += [*(4 * person + second), *(4 * other + second)]
        same += [True] * per_kind + [False] * per_kind
    pairs = PairList(
        np.array(left), np.array(right), np.array(same), np.repeat(np.arange(folds), 2 * per_kind)
    )
    return embeddings.astype(dtype), pairs


def literal_distance(a: Rows, b: Rows, distance: str) -> float:
    if distance == "squared L2":
        return math.fsum((x - y) ** 2 for x, y in zip(a, b, strict=True))
    product = math.fsum(x * y for x, y in zip(a, b, strict=True))
    cosine = product / math.sqrt(math.fsum(x * x for x in a) * math.fsum(y * y for y in b))
    return 1 - cosine if distance == "cosine" else math.acos(cosine) / math.pi


def literal_view_2(
    embeddings: NDArray[Any], pairs: PairList, protocol: Protocol
) -> tuple[list[float], list[float], Rows]:
    """Fold by fold: centre, measure, choose a threshold, decide; one pair at a time."""
    rows = embeddings.astype(np.float64)
    accuracies, thresholds = [], []
    tested = np.empty(len(pairs))
    for fold in range(int(pairs.folds.max()) + 1):
        train = pairs.folds != fold
        sides = np.concatenate([rows[pairs.left[train]], rows[pairs.right[train]]])
        mean = sides.mean(axis=0) if protocol.subtract_mean else np.zeros(rows.shape[1])
        distances = np.array(
            [
                literal_distance(rows[i] - mean, rows[j] - mean, protocol.distance)
                for i, j in zip(pairs.left, pairs.right, strict=True)
            ]
        )
        threshold = Roc.from_pairs(distances[train], pairs.same[train]).best_threshold()
        right = (distances < threshold) == pairs.same
        accuracies.append(float(right[~train].mean()))
        thresholds.append(threshold)
        tested[~train] = distances[~train]
    return accuracies, thresholds, tested


@every_protocol
def test_the_evaluation_is_the_literal_one(protocol: Protocol) -> None:
    embeddings, pairs = people()
    view = evaluate_embeddings(embeddings, pairs, protocol)
    accuracies, thresholds, distances = literal_view_2(embeddings, pairs, protocol)
    np.testing.assert_allclose(view.distances, distances, atol=1e-12, rtol=0)
    np.testing.assert_allclose(view.scores.thresholds, thresholds, atol=1e-12, rtol=0)
    assert view.scores.fold_accuracies.tolist() == accuracies
    assert 0.6 < view.scores.accuracy < 0.99, "too easy or too hard to tell protocols apart"
    right = (distances < np.array(thresholds)[pairs.folds]) == pairs.same
    np.testing.assert_array_equal(view.correct, right)
    pooled = evaluate(distances, pairs.same, pairs.folds)
    assert view.scores.auc == view.roc.auc() == pooled.auc
    assert view.scores.protocol == f"{protocol.text}, 10 folds by position"


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(ALL_PROTOCOLS), st.integers(2, 5))
def test_small_random_evaluations_are_the_literal_ones(
    seed: int, protocol: Protocol, folds: int
) -> None:
    embeddings, pairs = people(seed, folds=folds, per_kind=6, dimensions=5, dtype=np.float64)
    view = evaluate_embeddings(embeddings, pairs, protocol)
    accuracies, _, distances = literal_view_2(embeddings, pairs, protocol)
    np.testing.assert_allclose(view.distances, distances, atol=1e-9, rtol=0)
    assert view.scores.fold_accuracies.tolist() == accuracies


def assert_same_view(view: View2, other: View2) -> None:
    for name, value in vars(view.scores).items():
        np.testing.assert_array_equal(np.asarray(value), np.asarray(getattr(other.scores, name)))


@every_protocol
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), swapped=st.integers(0, 2**32 - 1))
def test_swapping_sides_of_pairs_changes_nothing(
    protocol: Protocol, seed: int, swapped: int
) -> None:
    embeddings, pairs = people(seed, folds=3, per_kind=8)
    swap = np.random.default_rng(swapped).random(len(pairs)) < 0.5
    turned = PairList(
        np.where(swap, pairs.right, pairs.left),
        np.where(swap, pairs.left, pairs.right),
        pairs.same,
        pairs.folds,
    )
    first, second = (evaluate_embeddings(embeddings, p, protocol) for p in (pairs, turned))
    np.testing.assert_array_equal(first.distances, second.distances)
    assert_same_view(first, second)


@every_protocol
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), order=st.integers(0, 2**32 - 1))
def test_permuting_pairs_within_folds_changes_nothing(
    protocol: Protocol, seed: int, order: int
) -> None:
    embeddings, pairs = people(seed, folds=3, per_kind=8)
    random = np.random.default_rng(order)
    moved = np.concatenate(
        [random.permutation(np.flatnonzero(pairs.folds == fold)) for fold in range(3)]
    )
    shuffled = PairList(pairs.left[moved], pairs.right[moved], pairs.same[moved], pairs.folds)
    first, second = (evaluate_embeddings(embeddings, p, protocol) for p in (pairs, shuffled))
    assert_same_view(first, second)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_distances_that_rank_alike_score_alike(seed: int) -> None:
    embeddings, pairs = people(seed, folds=3, per_kind=8, dtype=np.float64)
    views = [evaluate_embeddings(embeddings, pairs, protocol) for protocol in ALL_PROTOCOLS[:3]]
    for view in views[1:]:  # unit embeddings: squared L2 is twice the cosine distance
        assert view.scores.auc == views[0].scores.auc
        assert view.scores.eer == views[0].scores.eer
        assert view.scores.accuracy == views[0].scores.accuracy


@every_protocol
def test_the_reference_decides_by_its_own_rule(protocol: Protocol) -> None:
    embeddings, pairs = people()
    view = evaluate_embeddings(embeddings, pairs, protocol)
    np.testing.assert_array_equal(view.rule.distances(embeddings, pairs), view.distances)
    np.testing.assert_array_equal(view.rule.correct(view.distances, pairs), view.correct)
    accepted = view.rule.accepts(view.distances, pairs)
    np.testing.assert_array_equal(accepted, view.correct == pairs.same)


@pytest.mark.parametrize(
    ("protocol", "drift"),
    [
        (ALL_PROTOCOLS[0], lambda rows: rows * np.float32(math.sqrt(0.8))),
        (ALL_PROTOCOLS[4], lambda rows: rows + np.float32(0.25)),
    ],
    ids=["scale", "mean"],
)
def test_a_drift_shows_at_the_frozen_rule_and_hides_in_a_new_one(
    protocol: Protocol, drift: Callable[[NDArray[Any]], NDArray[Any]]
) -> None:
    embeddings, pairs = people(noise=0.7, per_kind=100)
    reference = evaluate_embeddings(embeddings, pairs, protocol)
    drifted = drift(embeddings)
    frozen = reference.rule.distances(drifted, pairs)
    held = reference.rule.correct(frozen, pairs).mean()
    anew = evaluate_embeddings(drifted, pairs, protocol).scores.accuracy
    assert anew == pytest.approx(reference.scores.accuracy, abs=2e-3)
    assert held < reference.scores.accuracy - 0.01


def test_pairs_left_out_are_neither_trained_on_nor_tested() -> None:
    embeddings, pairs = people()
    rows = np.array([3, 64, 599])
    without = pairs.without(rows)
    kept = np.setdiff1d(np.arange(600), rows)
    np.testing.assert_array_equal(without.folds, pairs.folds[kept])
    view = evaluate_embeddings(embeddings, without)
    literal = evaluate(
        evaluate_embeddings(embeddings, pairs).distances[kept], pairs.same[kept], pairs.folds[kept]
    )
    assert view.scores.fold_accuracies.tolist() == literal.fold_accuracies.tolist()
    assert view.scores.thresholds.tolist() == literal.thresholds.tolist()
    assert len(pairs.without(rows[:0])) == len(pairs) == 600


@pytest.mark.parametrize("rows", [[-1], [600]])
def test_only_pairs_that_are_there_can_be_left_out(rows: list[int]) -> None:
    with pytest.raises(ValueError, match="of 600 cannot be left out"):
        people()[1].without(np.array(rows))


def test_flips_are_concatenated() -> None:
    embeddings, pairs = people()
    flipped = embeddings[::-1]
    both = with_flips(embeddings, flipped)
    np.testing.assert_array_equal(both[7], np.concatenate([embeddings[7], flipped[7]]))
    plain = PROTOCOLS["plain"]
    np.testing.assert_allclose(
        distances_at(both, pairs, plain),
        distances_at(embeddings, pairs, plain) + distances_at(flipped, pairs, plain),
    )
    with pytest.raises(ValueError, match=r"\(400, 32\) and \(399, 32\)"):
        with_flips(embeddings, flipped[1:])


def test_the_named_protocols() -> None:
    assert PROTOCOLS["plain"].text == "squared L2, no flip"
    assert PROTOCOLS["davidsandberg"].text == (
        "angle, flip concatenated, mean of the training folds subtracted"
    )
    assert [name == protocol.name for name, protocol in PROTOCOLS.items()] == [True, True]


def test_equal_faces_are_at_angle_zero() -> None:
    embeddings = np.tile(np.random.default_rng(0).normal(size=(1, 512)), (2, 1))
    pairs = PairList(np.array([0]), np.array([1]), np.array([True]), np.array([0]))
    angle = distances_at(embeddings, pairs, ALL_PROTOCOLS[2])
    assert 0 <= angle[0] < 1e-7  # arccos turns the last digit of the cosine into 1e-8


@pytest.mark.parametrize("protocol", ALL_PROTOCOLS[3:], ids=lambda p: p.name)
def test_embeddings_equal_to_their_mean_have_no_direction(protocol: Protocol) -> None:
    _, pairs = people()
    with pytest.raises(ValueError, match="NaN or infinite"):
        evaluate_embeddings(np.ones((400, 4)), pairs, protocol)


def test_protocols_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="cancels in squared L2"):
        Protocol("x", "squared L2", flip=False, subtract_mean=True)
    with pytest.raises(ValueError, match="'euclid': expected one of squared L2, cosine, angle"):
        Protocol("x", "euclid", flip=False, subtract_mean=False)  # type: ignore[arg-type]


def test_a_rule_refuses_folds_it_has_not_seen() -> None:
    embeddings, pairs = people(folds=3)
    rule = evaluate_embeddings(embeddings, pairs, ALL_PROTOCOLS[4]).rule
    more = PairList(pairs.left, pairs.right, pairs.same, pairs.folds + 1)
    with pytest.raises(ValueError, match="thresholds for folds 0 to 2"):
        rule.distances(embeddings, more)


def test_one_fold_has_no_training_pairs() -> None:
    embeddings, pairs = people(folds=1)
    for protocol in (ALL_PROTOCOLS[0], ALL_PROTOCOLS[4]):
        with pytest.raises(ValueError, match="at least two folds"):
            evaluate_embeddings(embeddings, pairs, protocol)


GOOD = np.arange(4)
KINDS = np.array([True, False, True, False])


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ((GOOD, GOOD[:3], KINDS, GOOD), r"one value a pair .*found shapes \[\(4,\), \(3,\)"),
        ((GOOD[:0], GOOD[:0], KINDS[:0], GOOD[:0]), "at least one pair"),
        ((GOOD - 1, GOOD, KINDS, GOOD), "left: -1 at pair 0 is negative"),
        ((GOOD, GOOD * 1.0, KINDS, GOOD), "right: expected integers .* float64"),
        ((GOOD, GOOD, GOOD, GOOD), "boolean array, found int64"),
        ((GOOD, GOOD, KINDS, GOOD - 2), "folds: -2 at pair 0 is negative"),
        ((GOOD[None], GOOD, KINDS, GOOD), r"left: .* \(1, 4\)"),
    ],
)
def test_a_pair_list_is_checked_once(arrays: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PairList(*arrays)
