from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binom, binomtest

from facenet_validate.benchmarking.paired_ratio import (
    ALPHA,
    LOOKS,
    PairedRatio,
    median_interval,
    next_look,
    paired_ratio,
    ratio_floor,
    slow_down,
)
from facenet_validate.gates.limits import read_gates
from facenet_validate.gates.verdicts import Verdict

SHIPPED = Path(__file__).parents[2] / "baselines" / "gates.toml"

LOOK_ALPHA = ALPHA / len(LOOKS)


def quads_of(ratios: list[float]) -> NDArray[np.float64]:
    """Quads whose A is faster than B by the given factors, at uneven block times."""
    return np.array([[0.8, 1.1 * ratio, 0.9 * ratio, 1.2] for ratio in ratios])


def interval_by_inverting_sign_tests(values: list[float], alpha: float) -> tuple[float, float]:
    """Literal definition: the medians that an exact two-sided sign test does not reject."""
    ordered = sorted(values)
    count = len(ordered)
    kept = []
    for index, value in enumerate(ordered):
        # The hypothetical median lies just above value: index + 1 values are below it.
        if binomtest(index + 1, count, 0.5).pvalue > alpha:
            kept.append((value, ordered[index + 1] if index + 1 < count else math.inf))
    if binomtest(0, count, 0.5).pvalue > alpha:
        kept.append((-math.inf, ordered[0]))
    return min(low for low, _ in kept), max(high for _, high in kept)


@given(
    st.lists(st.integers(-1000, 1000).map(float), min_size=1, max_size=60, unique=True),
    st.sampled_from([0.5, 0.1, 0.05, 0.01, 0.0025]),
)
def test_interval_equals_inverted_sign_tests(values: list[float], alpha: float) -> None:
    assert median_interval(values, alpha) == interval_by_inverting_sign_tests(values, alpha)


@pytest.mark.parametrize("count", [*LOOKS, 13, 25, 1200])
@pytest.mark.parametrize("alpha", [0.05, LOOK_ALPHA])
def test_interval_covers_at_least_and_would_not_if_it_were_narrower(
    count: int, alpha: float
) -> None:
    low, high = median_interval(np.arange(1, count + 1), alpha)
    assert low + high == count + 1
    assert 2 * binom.cdf(low - 1, count, 0.5) <= alpha < 2 * binom.cdf(low, count, 0.5)


def test_interval_misses_the_median_as_rarely_as_it_says() -> None:
    samples = np.random.default_rng(5).lognormal(size=(4000, 24))
    missed = [not low <= 1.0 <= high for low, high in (median_interval(s, 0.05) for s in samples)]
    # 24 values at alpha 0.05: k = 7, exact error 2·P(X ≤ 6) = 0.0227.
    assert np.mean(missed) == pytest.approx(2 * binom.cdf(6, 24, 0.5), abs=0.007)


@pytest.mark.parametrize("values", [[], [1.0], [1.0] * 9])
def test_too_few_values_have_no_interval(values: list[float]) -> None:
    assert median_interval(values, LOOK_ALPHA) == (-math.inf, math.inf)


def test_ten_values_are_the_fewest_with_an_interval() -> None:
    assert median_interval(range(10), LOOK_ALPHA) == (0.0, 9.0)


@pytest.mark.parametrize(
    ("values", "alpha"),
    [([math.nan], 0.1), ([[1.0]], 0.1), ([1.0], 0.0), ([1.0], 1.0), ([1.0], math.nan)],
)
def test_interval_refuses_nonsense(values: list[float], alpha: float) -> None:
    with pytest.raises(ValueError, match=r"vector|alpha"):
        median_interval(values, alpha)


def test_looks_share_alpha_evenly() -> None:
    quads = quads_of([1.0 + n / 100 for n in range(48)])
    for alpha in (ALPHA, ALPHA / 5):
        measured = paired_ratio(quads, alpha)
        low, high = median_interval(measured.log_ratios, LOOK_ALPHA)
        assert measured.interval == pytest.approx((math.exp(low), math.exp(high)))
        _, judged = median_interval(measured.log_ratios, alpha / len(LOOKS))
        assert measured.judged_upper == pytest.approx(math.exp(judged))
    assert paired_ratio(quads, ALPHA / 5).judged_upper > paired_ratio(quads).judged_upper
    assert [next_look(n) for n in (0, 11, 12, 50, 95, 96, 97)] == [12, 12, 24, 96, 96, None, None]


def test_ratio_is_above_one_when_a_is_faster() -> None:
    measured = paired_ratio(np.array([[1.0, 2.0, 2.0, 1.0]] * 12))
    assert measured.ratio == pytest.approx(2.0)
    assert measured.interval == pytest.approx((2.0, 2.0))
    assert measured.log_ratios == pytest.approx([math.log(2.0)] * 12)
    assert measured.quads == 12


@given(st.lists(st.floats(0.1, 10.0), min_size=1, max_size=40))
def test_swapping_the_engines_inverts_ratio_and_interval(ratios: list[float]) -> None:
    quads = quads_of(ratios)
    there, back = paired_ratio(quads), paired_ratio(quads[:, [1, 0, 3, 2]])
    assert there.ratio * back.ratio == pytest.approx(1.0)
    if math.isfinite(there.interval[1]):
        assert there.interval[0] * back.interval[1] == pytest.approx(1.0)
        assert there.interval[1] * back.interval[0] == pytest.approx(1.0)


@given(st.floats(-0.2, 0.5), st.floats(0.2, 5.0))
def test_a_drift_over_the_quad_cancels(drift: float, ratio: float) -> None:
    slower = 1.0 + drift * np.arange(4)
    quad = np.array([[1.0, ratio, ratio, 1.0]]) * slower
    assert paired_ratio(quad).ratio == pytest.approx(ratio)


@pytest.mark.parametrize(
    "quads",
    [
        np.empty((0, 4)),
        np.ones(4),
        np.ones((3, 3)),
        np.array([[1.0, 1.0, 0.0, 1.0]]),
        np.array([[1.0, 1.0, math.nan, 1.0]]),
        np.array([[1.0, math.inf, 1.0, 1.0]]),
    ],
)
def test_ratio_refuses_broken_quads(quads: NDArray[np.float64]) -> None:
    with pytest.raises(ValueError, match=r"shape|clock"):
        paired_ratio(quads)


def floor_of(low: float, high: float, quads: int = 12) -> tuple[Verdict, str]:
    measured = PairedRatio(quads, 1.62, (low, high), high, ALPHA, (math.log(1.62),) * quads)
    result = ratio_floor(measured, gate="performance.ratio_floor", floor=1.2, beside="FP32")
    assert (result.gate, result.observed, result.limit) == ("performance.ratio_floor", 1.62, 1.2)
    assert result.interval == (low, high)
    return result.verdict, result.detail


def test_floor_passes_when_the_whole_interval_is_at_or_above_it() -> None:
    verdict, detail = floor_of(1.2, 1.65)
    assert verdict is Verdict.PASS
    assert detail == "1.62 × FP32's speed over 12 quads, ≥ 1.2 (99.875 %), ≤ 1.65 (99.875 %)"


def test_floor_fails_when_the_whole_interval_is_below_it() -> None:
    assert floor_of(1.1, 1.199)[0] is Verdict.FAIL


@pytest.mark.parametrize(("low", "high"), [(1.1, 1.2), (1.1, 1.3)])
def test_floor_inside_the_interval_is_inconclusive_and_names_the_next_look(
    low: float, high: float
) -> None:
    assert floor_of(low, high) == (
        Verdict.INCONCLUSIVE,
        f"1.62 × FP32's speed over 12 quads, ≥ {low} (99.875 %), ≤ {high} (99.875 %); "
        "next look at 24 quads",
    )
    assert floor_of(low, high, quads=96)[1].endswith("no looks are left")


@pytest.mark.parametrize("quads", [10, 13, 97])
def test_floor_is_not_judged_between_looks(quads: int) -> None:
    verdict, detail = floor_of(1.5, 1.7, quads)
    assert verdict is Verdict.INCONCLUSIVE
    assert "judged only at 12, 24, 48, 96 quads" in detail


def test_floor_on_too_few_quads_is_inconclusive() -> None:
    result = ratio_floor(
        paired_ratio(quads_of([2.0] * 3)), gate="performance.floor", floor=1.2, beside="FP16"
    )
    assert result.verdict is Verdict.INCONCLUSIVE
    assert result.interval == (0.0, math.inf)


@pytest.mark.parametrize(
    ("speed", "verdict"), [(1.54, Verdict.PASS), (1.0, Verdict.PASS), (0.94, Verdict.FAIL)]
)
def test_the_shipped_floor_beside_fp16_takes_as_fast_for_fast_enough(
    speed: float, verdict: Verdict
) -> None:
    """Blocks with 0.5 % of noise; a floor of one would leave equal speeds inconclusive."""
    floor = read_gates(SHIPPED).limits("lfw", "int8", "tensorrt")["performance.fp16_ratio"]
    random = np.random.default_rng(0)
    for _ in range(100):
        noise = np.exp(random.normal(0.0, 0.005, size=(LOOKS[0], 4)))
        measured = paired_ratio(noise / np.array([speed, 1.0, 1.0, speed]))
        gate = ratio_floor(measured, gate="performance.fp16_ratio", floor=floor, beside="FP16")
        assert gate.verdict is verdict


def slowed(ratio: float, low: float, high: float, quads: int = 12) -> tuple[Verdict, str]:
    """Judge a speed ratio with its interval: A is slower where it is below one."""
    measured = PairedRatio(quads, ratio, (low, high), high, ALPHA, (math.log(ratio),) * quads)
    result = slow_down(measured, gate="performance.against", limit=1.03)
    assert result.observed == pytest.approx(1 / ratio)
    assert result.interval == pytest.approx((1 / high, math.inf if low == 0 else 1 / low))
    return result.verdict, result.detail


def test_an_engine_of_the_same_speed_passes() -> None:
    verdict, detail = slowed(1.0, 0.98, 1.02)
    assert verdict is Verdict.PASS
    assert (
        detail
        == "+0.0 % latency over 12 quads, at most +2.0 % (99.875 %), at least -2.0 % (99.875 %)"
    )


def test_a_slower_engine_fails() -> None:
    verdict, detail = slowed(1 / 1.06, 1 / 1.08, 1 / 1.04)
    assert verdict is Verdict.FAIL
    assert (
        detail
        == "+6.0 % latency over 12 quads, at most +8.0 % (99.875 %), at least +4.0 % (99.875 %)"
    )


@pytest.mark.parametrize(
    ("ratio", "low", "high"),
    [
        (1 / 1.02, 1 / 1.04, 1 / 1.01),  # slower, by less than the limit, or by more
        (1 / 1.06, 1 / 1.14, 1.01),  # by more than the limit, or not at all
        (1.0, 1 / 1.05, 1.05),
        (1 / 1.06, 0.0, math.inf),
    ],
)
def test_what_noise_could_explain_is_inconclusive(ratio: float, low: float, high: float) -> None:
    verdict, detail = slowed(ratio, low, high)
    assert verdict is Verdict.INCONCLUSIVE
    assert detail.endswith("next look at 24 quads")


def test_each_bound_tells_its_own_confidence_and_none_is_infinite() -> None:
    both = slow_down(paired_ratio(quads_of([1.0] * 12), ALPHA / 4), gate="g", limit=1.03)
    assert both.detail.endswith("at most +0.0 % (99.875 %), at least +0.0 % (99.969 %)")
    # 2·2^-12 is more than the fourth of 1 % over 21 gates: no bound to fail by at twelve quads.
    one = slow_down(paired_ratio(quads_of([1.0] * 12), ALPHA / 21), gate="g", limit=1.03)
    assert one.detail.endswith("over 12 quads, at most +0.0 % (99.875 %)")


def test_a_slow_down_is_not_judged_between_looks() -> None:
    assert slowed(1 / 1.06, 1 / 1.08, 1 / 1.04, quads=13)[0] is Verdict.INCONCLUSIVE
    assert slowed(1.0, 0.98, 1.02, quads=11)[0] is Verdict.INCONCLUSIVE


@given(st.lists(st.floats(0.8, 1.25), min_size=12, max_size=12), st.floats(1.001, 1.2))
def test_a_slow_down_passes_or_fails_by_its_definition(ratios: list[float], limit: float) -> None:
    measured = paired_ratio(quads_of(ratios))
    fails = 1 / measured.ratio > limit and 1 / measured.judged_upper > 1.0
    passes = 1 / measured.interval[0] < limit
    assert not (fails and passes)
    verdict = slow_down(measured, gate="g", limit=limit).verdict
    assert (verdict is Verdict.FAIL, verdict is Verdict.PASS) == (fails, passes)
