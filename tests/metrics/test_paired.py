"""Paired comparison: McNemar, Tango's bound and the non-inferiority gate."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import xlogy
from scipy.stats import binom, binomtest, norm

from facenet_validate.gates.verdicts import Verdict
from facenet_validate.metrics.paired import (
    compare_counts,
    compare_decisions,
    mcnemar_one_sided,
    non_inferiority,
    tango_upper_bound,
)

DELTAS = (0.001, 0.003)

Z95 = float(norm.ppf(0.95))


@st.composite
def counts(draw: st.DrawFn) -> tuple[int, int, int]:
    """Lost, won and all pairs."""
    pairs = draw(st.one_of(st.integers(1, 40), st.integers(1, 6000)))
    lost = draw(st.integers(0, pairs))
    return lost, draw(st.integers(0, pairs - lost)), pairs


def slow_score(lost: int, won: int, pairs: int, drop: float) -> float:
    """Score statistic from a numerical maximum of the likelihood under the given drop."""

    def negative_log_likelihood(q: float) -> float:
        return -float(
            xlogy(lost, q + drop) + xlogy(won, q) + xlogy(pairs - lost - won, 1 - drop - 2 * q)
        )

    low, high = max(0.0, -drop), (1 - drop) / 2
    fit = minimize_scalar(
        negative_log_likelihood, bounds=(low, high), method="bounded", options={"xatol": 1e-12}
    )
    # The search stays inside its bounds; with few discordant pairs the maximum lies on one.
    q = min((float(fit.x), low, high), key=negative_log_likelihood)
    return (lost - won - pairs * drop) / math.sqrt(pairs * (2 * q + drop - drop**2))


@given(counts())
def test_mcnemar_is_the_exact_binomial_test(case: tuple[int, int, int]) -> None:
    lost, won, _ = case
    expected = binomtest(lost, lost + won, 0.5, alternative="greater").pvalue if lost + won else 1.0
    assert mcnemar_one_sided(lost, won) == pytest.approx(expected, rel=1e-9, abs=1e-300)


def test_mcnemar_by_hand() -> None:
    assert mcnemar_one_sided(0, 0) == 1
    assert mcnemar_one_sided(0, 5) == 1
    assert mcnemar_one_sided(3, 0) == pytest.approx(1 / 8)
    assert mcnemar_one_sided(2, 1) == pytest.approx(1 / 2)


@given(counts())
@example((0, 3, 6000))
@example((1, 7, 21))
@example((5, 5, 6000))
@settings(max_examples=150, deadline=None)
def test_tango_bound_is_where_the_slow_score_test_starts_to_reject(
    case: tuple[int, int, int],
) -> None:
    bound = tango_upper_bound(*case)
    # Floating-point noise of the numerical maximum is far below these steps.
    step = 1e-4 * (1 + bound) / 2
    if bound - step > (case[0] - case[1]) / case[2]:
        assert slow_score(*case, bound - step) > -Z95
    if bound + step < 1:
        assert slow_score(*case, bound + step) < -Z95


@pytest.mark.parametrize("case", [(5, 5, 200), (7, 1, 21), (0, 3, 50), (12, 0, 50), (0, 0, 30)])
def test_tango_bound_is_the_last_point_kept_by_a_grid_search(case: tuple[int, int, int]) -> None:
    drop = (case[0] - case[1]) / case[2]
    kept = [
        point for point in np.arange(drop + 1e-4, 0.999, 1e-3) if slow_score(*case, point) >= -Z95
    ]
    assert 0 <= tango_upper_bound(*case) - max(kept) <= 1e-3


def test_tango_bounds_of_a_published_example() -> None:
    # Airway hyper-responsiveness, 21 children, 1 and 7 discordant; 95 % interval of the difference
    # in M. W. Fagerland et al., Statistics in Medicine 33 (2014), 2850-2875: -0.517 to -0.026.
    assert tango_upper_bound(1, 7, 21, confidence=0.975) == pytest.approx(-0.026, abs=5e-4)
    assert -tango_upper_bound(7, 1, 21, confidence=0.975) == pytest.approx(-0.517, abs=5e-4)


@pytest.mark.parametrize("pairs", [1, 7, 6000])
def test_tango_bound_at_its_corners(pairs: int) -> None:
    square = Z95**2
    assert tango_upper_bound(0, 0, pairs) == pytest.approx(square / (pairs + square))
    assert tango_upper_bound(pairs, 0, pairs) == 1
    # All pairs won: variance 1 − Δ², so n (1 + Δ) = z² (1 − Δ).
    assert tango_upper_bound(0, pairs, pairs) == pytest.approx((square - pairs) / (square + pairs))


@given(counts(), st.floats(0.6, 0.999))
def test_tango_bound_lies_between_the_drop_and_one(
    case: tuple[int, int, int], confidence: float
) -> None:
    lost, won, pairs = case
    bound = tango_upper_bound(lost, won, pairs, confidence)
    assert (lost - won) / pairs <= bound <= 1
    assert bound <= tango_upper_bound(lost, won, pairs, 0.9995) + 1e-9


@pytest.mark.parametrize(
    ("won_share", "lost_share"), [(0.02, 0.05), (0.05, 0.05), (0.1, 0.02), (0.01, 0.01)]
)
def test_tango_bound_covers_the_truth_about_as_often_as_it_says(
    won_share: float, lost_share: float
) -> None:
    pairs, covered, reached = 150, 0.0, 0.0
    for lost in range(31):
        for won in range(35):
            chance = float(
                binom.pmf(lost, pairs, lost_share)
                * binom.pmf(won, pairs - lost, won_share / (1 - lost_share))
            )
            reached += chance
            covered += chance * (tango_upper_bound(lost, won, pairs) >= lost_share - won_share)
    assert reached > 0.999
    assert 0.93 < covered < 0.98


@pytest.mark.parametrize("case", [(-1, 0, 5), (0, -1, 5), (3, 3, 5)])
def test_counts_that_cannot_be_are_refused(case: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="cannot be"):
        tango_upper_bound(*case)


def test_no_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match="no pairs"):
        compare_counts(0, 0, 0)


def test_a_confidence_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"between 0\.5 and 1, found 95"):
        tango_upper_bound(1, 1, 10, confidence=95)


def test_decisions_are_counted_both_ways() -> None:
    reference = np.array([True] * 8 + [False] * 4)
    engine = np.array([True] * 5 + [False] * 3 + [True] * 1 + [False] * 3)
    comparison = compare_decisions(reference, engine)
    assert (comparison.pairs, comparison.lost, comparison.won) == (12, 3, 1)
    assert comparison.drop == pytest.approx(2 / 12)
    assert comparison.drop == pytest.approx(reference.mean() - engine.mean())
    assert comparison == compare_counts(3, 1, 12)


def test_decisions_must_match_in_kind_and_number() -> None:
    good = np.ones(4, dtype=bool)
    with pytest.raises(ValueError, match="found int64"):
        compare_decisions(good, good.astype(int))
    with pytest.raises(ValueError, match="4 decisions of the reference, 3 of the engine"):
        compare_decisions(good, good[:3])
    with pytest.raises(ValueError, match=r"found bool \(0,\)"):
        compare_decisions(good[:0], good[:0])


@pytest.mark.parametrize(
    ("lost", "won", "delta", "verdict"),
    [
        (5, 5, 0.001, Verdict.PASS),  # measured: INT8 on saturation-free kernels
        (96, 14, 0.003, Verdict.FAIL),  # measured: the same graph, saturated
        (0, 0, 0.001, Verdict.PASS),
        (7, 0, 0.001, Verdict.FAIL),  # one pair beyond 0.001, p = 1/128
        (6, 0, 0.001, Verdict.INCONCLUSIVE),  # a drop of 0.001 does not exceed it
        (14, 6, 0.001, Verdict.INCONCLUSIVE),  # exceeds it, but p = 0.058
        (20, 10, 0.003, Verdict.INCONCLUSIVE),
    ],
)
def test_the_gate_on_6000_pairs(lost: int, won: int, delta: float, verdict: Verdict) -> None:
    result = non_inferiority(compare_counts(lost, won, 6000), gate="accuracy.drop", delta=delta)
    assert (result.gate, result.verdict, result.limit) == ("accuracy.drop", verdict, delta)


def test_the_gates_result_carries_the_evidence() -> None:
    result = non_inferiority(compare_counts(12, 4, 6000), gate="accuracy.drop", delta=0.003)
    assert result.observed == pytest.approx(8 / 6000)
    assert result.interval == (-math.inf, tango_upper_bound(12, 4, 6000))
    assert result.detail == "12 lost, 4 won of 6000 pairs, McNemar p 0.038"


def test_a_smaller_share_of_the_budget_asks_for_more_evidence() -> None:
    comparison = compare_counts(7, 0, 6000)
    strict = non_inferiority(comparison, gate="accuracy.drop", delta=0.001, alpha=0.005)
    assert strict.verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize(("delta", "alpha"), [(0, 0.01), (0.3, 0), (1.5, 0.01), (math.nan, 0.01)])
def test_the_gate_refuses_limits_out_of_range(delta: float, alpha: float) -> None:
    with pytest.raises(ValueError, match="must be between 0 and 1"):
        non_inferiority(compare_counts(1, 1, 9), gate="accuracy.drop", delta=delta, alpha=alpha)


@pytest.mark.parametrize("delta", DELTAS)
def test_pass_and_fail_exclude_each_other_and_each_row_runs_pass_to_fail(delta: float) -> None:
    order = (Verdict.PASS, Verdict.INCONCLUSIVE, Verdict.FAIL)
    # Dense where the verdicts change at either delta, then out to the corners of the triangle.
    wons = [*range(200), *range(200, 6000, 540), 6000]
    for won in wons:
        losts = [*range(min(240, 6001 - won)), *range(240, 6001 - won, 270), 6000 - won]
        ranks = []
        for lost in sorted(set(losts)):
            comparison = compare_counts(lost, won, 6000)
            passes = comparison.upper <= delta
            fails = (lost - won) / 6000 > delta and comparison.p_value < 0.01
            assert not (passes and fails)
            verdict = non_inferiority(comparison, gate="accuracy.drop", delta=delta).verdict
            expected = Verdict.PASS if passes else Verdict.FAIL if fails else Verdict.INCONCLUSIVE
            assert verdict is expected
            ranks.append(order.index(verdict))
        assert ranks == sorted(ranks), "more lost pairs never make a better verdict"
