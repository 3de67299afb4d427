"""Verification metrics against literal definitions and scikit-learn."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from types import FrameType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score, roc_curve

from facenet_validate.metrics.roc import Roc
from facenet_validate.metrics.verification import (
    FAR_TARGETS,
    Verification,
    decisions,
    evaluate,
    pair_distances,
)

Scores = tuple[NDArray[np.float64], NDArray[np.bool_]]
FoldedScores = tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.int64]]

DISTANCES = st.one_of(
    st.lists(st.integers(0, 4).map(float), min_size=2, max_size=60),  # heavily tied
    st.lists(st.floats(0, 4), min_size=2, max_size=60),
)


@st.composite
def scores(draw: st.DrawFn) -> Scores:
    """Distances and labels with both kinds of pairs."""
    distances = np.array(draw(DISTANCES))
    labels = st.lists(st.booleans(), min_size=len(distances), max_size=len(distances))
    same = np.array(draw(labels))
    same[:2] = True, False
    return distances, same


@st.composite
def folded_scores(draw: st.DrawFn) -> FoldedScores:
    """Two to four folds, each with both kinds of pairs."""
    parts = draw(st.lists(scores(), min_size=2, max_size=4))
    return (
        np.concatenate([distances for distances, _ in parts]),
        np.concatenate([same for _, same in parts]),
        np.repeat(np.arange(len(parts)), [len(same) for _, same in parts]),
    )


def lfw_like(*, overlap: float = 0.25) -> FoldedScores:
    """6000 pairs in LFW's order: ten folds of 300 genuine, then 300 impostor pairs."""
    rng = np.random.default_rng(7)
    same = np.tile(np.repeat([True, False], 300), 10)
    distances = np.where(same, 0.6, 1.4) + rng.normal(0, overlap, same.size)
    return distances.clip(0.001, 4), same, np.repeat(np.arange(10), 600)


def slow_best_threshold(distances: NDArray[np.float64], same: NDArray[np.bool_]) -> float:
    """Try every candidate in turn, ascending; only a strictly better one replaces the best."""
    distinct = sorted(set(distances.tolist()))
    pairs = list(zip(distances.tolist(), same.tolist(), strict=True))
    middles = [
        middle if (middle := low / 2 + high / 2) > low else high for low, high in pairwise(distinct)
    ]
    best, most = math.nan, -1
    for candidate in [distinct[0], *middles, math.nextafter(distinct[-1], math.inf)]:
        right = sum((distance < candidate) == genuine for distance, genuine in pairs)
        if right > most:
            best, most = candidate, right
    return best


def slow_rates(
    distances: NDArray[np.float64], same: NDArray[np.bool_]
) -> list[tuple[Fraction, Fraction]]:
    """FAR and TAR after accepting nothing, then ever more of the distinct distances."""
    genuine, impostor = distances[same].tolist(), distances[~same].tolist()
    return [(Fraction(0), Fraction(0))] + [
        (
            Fraction(sum(other <= limit for other in impostor), len(impostor)),
            Fraction(sum(own <= limit for own in genuine), len(genuine)),
        )
        for limit in sorted(set(distances.tolist()))
    ]


def slow_eer(distances: NDArray[np.float64], same: NDArray[np.bool_]) -> Fraction:
    """Walk the ROC's straight pieces until one meets the line FAR = 1 − TAR."""
    rates = slow_rates(distances, same)
    for (far, tar), (next_far, next_tar) in pairwise(rates):
        if next_far + next_tar >= 1:
            share = (1 - far - tar) / (next_far + next_tar - far - tar)
            return far + share * (next_far - far)
    raise AssertionError


@given(scores())
def test_best_threshold_is_that_of_the_literal_search(case: Scores) -> None:
    assert Roc.from_pairs(*case).best_threshold() == slow_best_threshold(*case)


@pytest.mark.parametrize(
    ("distances", "same", "expected"),
    [
        pytest.param([1, 2, 3, 4], "TTFF", 2.5, id="midpoint of the gap"),
        pytest.param([4, 3, 2, 1], "FFTT", 2.5, id="order does not matter"),
        pytest.param([1, 2, 3, 4], "TFTF", 1.5, id="of two equal maxima the lowest"),
        pytest.param([1, 2, 2, 3], "TTFF", 1.5, id="a tied pair of both kinds moves as one"),
        pytest.param([1, 2, 3], "FFT", 1.0, id="accepting nothing is best"),
        pytest.param([1, 2, 3], "FTT", math.nextafter(3, 4), id="accepting everything is best"),
        pytest.param(
            [1, math.nextafter(1, 2)], "TF", math.nextafter(1, 2), id="neighbouring floats"
        ),
    ],
)
def test_best_threshold_by_hand(distances: list[float], same: str, expected: float) -> None:
    labels = np.array([letter == "T" for letter in same])
    roc = Roc.from_pairs(np.array(distances, dtype=np.float64), labels)
    assert roc.best_threshold() == expected


@given(scores())
def test_auc_is_scikit_learns_and_the_share_of_won_duels(case: Scores) -> None:
    distances, same = case
    auc = Roc.from_pairs(distances, same).auc()
    duels = np.sign(distances[~same][:, None] - distances[same][None, :])
    assert auc == pytest.approx(float((1 + duels).mean() / 2), abs=1e-12)
    # Ranks are what both take; scikit-learn merges scores that differ by rounding only.
    ranks = np.unique(distances, return_inverse=True)[1]
    assert auc == pytest.approx(roc_auc_score(same, -ranks), abs=1e-12)


@given(scores())
def test_roc_has_scikit_learns_points(case: Scores) -> None:
    distances, same = case
    ranks = np.unique(distances, return_inverse=True)[1]
    far, tar, _ = roc_curve(same, -ranks, drop_intermediate=False)
    roc = Roc.from_pairs(distances, same)
    np.testing.assert_allclose(roc.impostor / roc.impostor[-1], far, atol=1e-12)
    np.testing.assert_allclose(roc.genuine / roc.genuine[-1], tar, atol=1e-12)


@given(scores())
def test_each_roc_threshold_accepts_the_pairs_it_counts(case: Scores) -> None:
    distances, same = case
    roc = Roc.from_pairs(distances, same)
    for threshold, genuine, impostor in zip(roc.thresholds, roc.genuine, roc.impostor, strict=True):
        accepted = distances < threshold
        assert (accepted & same).sum() == genuine
        assert (accepted & ~same).sum() == impostor


@given(scores())
def test_eer_is_where_the_literal_roc_crosses(case: Scores) -> None:
    assert Roc.from_pairs(*case).eer() == pytest.approx(float(slow_eer(*case)), abs=1e-12)


@given(scores(), st.sampled_from([*FAR_TARGETS, 0.29, 0.5, 1.0]))
def test_tar_at_far_is_the_most_that_the_impostors_allow(case: Scores, target: float) -> None:
    distances, same = case
    impostors = int((~same).sum())
    allowed = int(Fraction(str(target)) * impostors)
    rates = [(far, tar) for far, tar in slow_rates(*case) if far * impostors <= allowed]
    point = Roc.from_pairs(*case).tar_at_far(target)
    assert (point.far, point.tar) == (float(rates[-1][0]), float(rates[-1][1]))
    accepted = distances < point.threshold
    assert accepted[~same].mean() == point.far
    assert accepted[same].mean() == pytest.approx(point.tar)


def test_tar_at_far_counts_impostors_without_rounding_errors() -> None:
    distances = np.arange(101.0)
    assert math.floor(0.29 * 100) == 28
    assert Roc.from_pairs(distances, distances == 100).tar_at_far(0.29).far == 0.29


@given(scores())
def test_tar_interval_is_the_exact_binomial_one(case: Scores) -> None:
    _, same = case
    point = Roc.from_pairs(*case).tar_at_far(0.1)
    trials = int(same.sum())
    exact = binomtest(round(point.tar * trials), trials).proportion_ci(0.95, method="exact")
    assert point.interval == pytest.approx((exact.low, exact.high), abs=1e-9)


@given(scores())
def test_rank_metrics_survive_monotone_transforms(case: Scores) -> None:
    distances, same = case
    # Ranks first: a steep transform would merge distances that differ by rounding only.
    ranks = np.unique(distances, return_inverse=True)[1].astype(np.float64)
    plain, bent = (Roc.from_pairs(scale, same) for scale in (distances, np.exp(ranks / 8) - 3))
    assert bent.auc() == plain.auc()
    assert bent.eer() == plain.eer()
    assert bent.tar_at_far(0.1).tar == plain.tar_at_far(0.1).tar


@given(folded_scores())
def test_evaluate_is_the_literal_protocol(case: FoldedScores) -> None:
    distances, same, folds = case
    result = evaluate(distances, same, folds)
    accuracies = []
    for fold in range(int(folds.max()) + 1):
        threshold = slow_best_threshold(distances[folds != fold], same[folds != fold])
        assert result.thresholds[fold] == threshold
        test = folds == fold
        accuracies.append(float(np.mean((distances[test] < threshold) == same[test])))
    assert result.fold_accuracies.tolist() == pytest.approx(accuracies)
    mean = sum(accuracies) / len(accuracies)
    squares = sum((accuracy - mean) ** 2 for accuracy in accuracies)
    assert result.accuracy == pytest.approx(mean)
    assert result.accuracy_std == pytest.approx(math.sqrt(squares / len(accuracies)))
    error = math.sqrt(squares / (len(accuracies) - 1) / len(accuracies))
    assert result.accuracy_se == pytest.approx(error)
    assert result.auc == Roc.from_pairs(distances, same).auc()
    assert result.eer == pytest.approx(float(slow_eer(distances, same)), abs=1e-12)
    assert [point.target for point in result.tar_at_far] == [0.1, 0.01, 0.001]


def assert_equal(result: Verification, other: Verification) -> None:
    for name, value in vars(result).items():
        np.testing.assert_array_equal(np.asarray(value), np.asarray(getattr(other, name)), name)


@given(folded_scores(), st.randoms(use_true_random=False))
def test_evaluate_ignores_the_order_of_pairs(case: FoldedScores, random: Any) -> None:
    distances, same, folds = case
    order = list(range(len(distances)))
    random.shuffle(order)
    assert_equal(
        evaluate(distances, same, folds), evaluate(distances[order], same[order], folds[order])
    )


def test_separable_pairs_are_all_right() -> None:
    distances, same, folds = lfw_like(overlap=0.05)
    result = evaluate(distances, same, folds)
    assert (result.accuracy, result.accuracy_std, result.accuracy_se) == (1, 0, 0)
    assert (result.auc, result.eer) == (1, 0)
    assert [(point.tar, point.far) for point in result.tar_at_far] == [
        (1, 0.1),
        (1, 0.01),
        (1, 0.001),
    ]
    assert result.tar_at_far[0].interval[0] == pytest.approx(0.025 ** (1 / 3000))
    assert result.tar_at_far[0].interval[1] == 1


def test_folds_belong_to_positions_so_a_skipped_pair_moves_no_other() -> None:
    distances, same, folds = lfw_like()
    kept = np.arange(6000) >= 50
    by_position = evaluate(distances[kept], same[kept], folds[kept])
    renumbered = evaluate(distances[kept], same[kept], np.arange(5950) // 595)
    whole = evaluate(distances, same, folds)
    assert by_position.fold_accuracies.tolist()[1:] == whole.fold_accuracies.tolist()[1:]
    assert not np.array_equal(by_position.fold_accuracies, renumbered.fold_accuracies)


def test_the_threshold_of_a_fold_does_not_see_that_fold() -> None:
    distances, same, folds = lfw_like()
    before = evaluate(distances, same, folds)
    after = evaluate(np.where(folds == 3, 2 - distances, distances), same, folds)
    assert after.thresholds[3] == before.thresholds[3]
    assert after.fold_accuracies[3] < 0.2 < before.fold_accuracies[3]
    assert not np.array_equal(after.thresholds, before.thresholds)


def test_scale_drift_shows_at_frozen_thresholds_only() -> None:
    distances, same, folds = lfw_like()
    reference = evaluate(distances, same, folds)
    drifted = distances * 0.9
    retuned = evaluate(drifted, same, folds)
    frozen = np.mean(decisions(drifted, folds, reference.thresholds) == same)
    assert retuned.accuracy == pytest.approx(reference.accuracy, abs=1e-3)
    assert frozen < reference.accuracy - 0.005


def test_protocol_line_names_the_distance_and_the_folds() -> None:
    distances, same, folds = lfw_like()
    assert evaluate(distances, same, folds).protocol == (
        "squared L2, no flip, 10 folds by position"
    )
    named = evaluate(distances, same, folds % 5, distance_name="cosine, flip")
    assert named.protocol == "cosine, flip, 5 folds by position"


def _steps(work: Callable[[], object]) -> int:
    """Return how many instructions Python executes, in our code and in the libraries'."""
    steps = 0

    def count(frame: FrameType, event: str, _: object) -> Any:
        nonlocal steps
        frame.f_trace_opcodes = True
        steps += event == "opcode"
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        work()
    finally:
        sys.settrace(before)
    return steps


def test_evaluate_loops_over_folds_and_not_over_pairs_or_thresholds() -> None:
    """Its speed is told by tests/benchmarks."""
    distances, same, folds = lfw_like()
    all_6000 = _steps(lambda: evaluate(distances, same, folds))
    every_tenth = _steps(lambda: evaluate(distances[::10], same[::10], folds[::10]))
    assert 0 < all_6000 < 1.5 * every_tenth


@given(st.integers(0, 2**32 - 1), st.sampled_from([np.float32, np.float64]))
@settings(max_examples=25)
def test_pair_distances_are_literal_and_symmetric(seed: int, dtype: type) -> None:
    rng = np.random.default_rng(seed)
    embeddings: NDArray[Any] = rng.normal(size=(9, 5)).astype(dtype)
    left, right = rng.integers(0, 9, (2, 30))
    distances = pair_distances(embeddings, left, right)
    literal = [
        sum((float(x) - float(y)) ** 2 for x, y in zip(embeddings[i], embeddings[j], strict=True))
        for i, j in zip(left, right, strict=True)
    ]
    assert distances.dtype == np.float64
    np.testing.assert_allclose(distances, literal, rtol=1e-12, atol=1e-15)
    np.testing.assert_array_equal(distances, pair_distances(embeddings, right, left))


def test_pair_distances_beyond_one_chunk_stay_in_order() -> None:
    embeddings = np.arange(5000, dtype=np.float32)[:, None]
    rows = np.arange(5000)
    np.testing.assert_array_equal(
        pair_distances(embeddings, rows, rows * 0), rows.astype(float) ** 2
    )


@pytest.mark.parametrize("index", [-1, 3])
def test_pair_distances_refuse_rows_that_are_not_there(index: int) -> None:
    with pytest.raises(ValueError, match=f"rows {min(index, 0)} to .* of 3 embeddings"):
        pair_distances(np.eye(3), np.array([0, 1]), np.array([0, index]))


def test_pair_distances_refuse_shapes_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match=r"\(3, 3\), \(2,\) and \(3,\)"):
        pair_distances(np.eye(3), np.array([0, 1]), np.array([0, 1, 2]))


def test_decisions_use_each_pairs_own_fold_and_are_strict() -> None:
    accepted = decisions(
        np.array([1.0, 1.0, 2.0]), np.array([0, 1, 1]), np.array([1.0, math.nextafter(1, 2)])
    )
    assert accepted.tolist() == [False, True, False]


def test_decisions_refuse_a_fold_without_threshold() -> None:
    with pytest.raises(ValueError, match=r"folds run from 0 to 2, .* folds 0 to 1"):
        decisions(np.ones(3), np.arange(3), np.ones(2))


PAIRS = np.array([1.0, 2.0, 3.0, 4.0])
SAME = np.array([True, False, True, False])
FOLDS = np.array([0, 0, 1, 1])


@pytest.mark.parametrize(
    ("distances", "same", "folds", "message"),
    [
        (np.array([1, math.nan, 3, math.inf]), SAME, FOLDS, "2 of 4 distances .* at pair 1"),
        (PAIRS[:3], SAME, FOLDS, r"same has shape \(4,\), the distances \(3,\)"),
        (PAIRS, SAME, FOLDS[:3], r"folds has shape \(3,\)"),
        (PAIRS[:0], SAME[:0], FOLDS[:0], r"found \(0,\)"),
        (PAIRS, np.ones(4, dtype=bool), FOLDS, "4 of 4 pairs are genuine"),
        (PAIRS, np.zeros(4, dtype=bool), FOLDS, "0 of 4 pairs are genuine"),
        (PAIRS, SAME.astype(int), FOLDS, "boolean array, found int64"),
        (PAIRS, SAME, FOLDS * 0, r"at least two folds, numbered from 0, found \[0\]"),
        (PAIRS, SAME, FOLDS + 1, r"found \[1, 2\]"),
        (PAIRS, SAME, FOLDS.astype(float), "folds must be integers, found float64"),
        (PAIRS, SAME, np.array([0, 1, 0, 1]), "other than 0 hold 0 genuine of 2 pairs"),
    ],
)
def test_evaluate_refuses_what_it_cannot_score(
    distances: NDArray[np.float64], same: NDArray[np.bool_], folds: NDArray[np.int64], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate(distances, same, folds)
