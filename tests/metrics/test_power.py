"""The minimum detectable drop against simulations of the gate's own rule."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multinomial

from facenet_validate.gates.verdicts import Verdict
from facenet_validate.metrics.paired import compare_counts, non_inferiority
from facenet_validate.metrics.power import GatePower, minimum_detectable_drop

MEASURED = [(5, 5), (4, 1), (0, 0), (55, 55)]


def simulated_failures(
    drop: float, lost: int, won: int, *, delta: float, trials: int
) -> tuple[float, float]:
    """Share of engines that the gate itself fails, and its standard error."""
    noise = (lost + won) / 12000
    chances = [noise + drop, noise, 1 - 2 * noise - drop]
    draws = np.random.default_rng(0).multinomial(6000, chances, size=trials)
    outcomes, counts = np.unique(draws[:, :2], axis=0, return_counts=True)
    failed = sum(
        count
        for (lost_now, won_now), count in zip(outcomes.tolist(), counts.tolist(), strict=True)
        if non_inferiority(compare_counts(lost_now, won_now, 6000), gate="g", delta=delta).verdict
        is Verdict.FAIL
    )
    share = failed / trials
    return share, np.sqrt(max(share * (1 - share), 1e-4) / trials)


@pytest.mark.parametrize(("lost", "won"), MEASURED)
@pytest.mark.parametrize("delta", [0.001, 0.003])
def test_the_gate_fails_the_minimum_detectable_drop_95_times_in_100(
    lost: int, won: int, delta: float
) -> None:
    drop = minimum_detectable_drop(lost, won, 6000, delta=delta)
    assert drop is not None
    share, error = simulated_failures(drop, lost, won, delta=delta, trials=20_000)
    assert share == pytest.approx(0.95, abs=4 * error)


@pytest.mark.parametrize("drop", [0.0, 0.002, 0.004])
def test_the_probability_of_failing_is_the_simulated_one(drop: float) -> None:
    exact = GatePower.of(5, 5, 6000, delta=0.003).failure_probability(drop)
    share, error = simulated_failures(drop, 5, 5, delta=0.003, trials=20_000)
    assert share == pytest.approx(exact, abs=4 * error)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(8, 30),
    st.integers(0, 3),
    st.integers(0, 3),
    st.floats(0, 1),
    st.sampled_from([0.001, 0.1, 0.25]),
)
def test_the_probability_of_failing_is_the_sum_over_all_outcomes(
    pairs: int, lost: int, won: int, share: float, delta: float
) -> None:
    noise = (lost + won) / (2 * pairs)
    drop = share * (1 - (lost + won) / pairs)
    chances = [noise + drop, noise, max(1 - 2 * noise - drop, 0.0)]
    literal = sum(
        float(multinomial.pmf([b, c, pairs - b - c], pairs, chances))
        for c in range(pairs + 1)
        for b in range(pairs + 1 - c)
        if non_inferiority(compare_counts(b, c, pairs), gate="g", delta=delta).verdict
        is Verdict.FAIL
    )
    exact = GatePower.of(lost, won, pairs, delta=delta).failure_probability(drop)
    assert exact == pytest.approx(literal, abs=1e-8)


def test_an_int8_engine_that_loses_half_a_point_is_failed_almost_surely() -> None:
    # Measured on LFW: 4 pairs lost, 1 won; 5 and 5 with another calibration.
    assert GatePower.of(4, 1, 6000, delta=0.003).failure_probability(0.005) > 0.97
    assert GatePower.of(5, 5, 6000, delta=0.003).failure_probability(0.005) > 0.96


def test_without_noise_only_the_budget_counts() -> None:
    # Seven lost pairs are the fewest with p < 0.01, and more than 0.001 of 6000.
    needed = minimum_detectable_drop(0, 0, 6000, delta=0.001)
    assert needed == minimum_detectable_drop(0, 0, 6000, delta=1e-6)
    assert needed is not None
    # 95 % of the Poisson numbers with mean 11.84 are at least 7.
    assert needed * 6000 == pytest.approx(11.84, abs=0.02)


def test_too_few_pairs_see_nothing() -> None:
    assert minimum_detectable_drop(0, 0, 6, delta=0.001) is None
    assert minimum_detectable_drop(0, 0, 7, delta=0.001) is not None


@settings(max_examples=60, deadline=None)
@given(
    st.integers(20, 6000),
    st.integers(0, 5),
    st.integers(0, 5),
    st.sampled_from([0.0, 0.001, 0.003, 0.05]),
)
def test_a_larger_drop_is_failed_more_often(pairs: int, lost: int, won: int, delta: float) -> None:
    drops = np.linspace(0, 1 - (lost + won) / pairs, 12)
    gate = GatePower.of(lost, won, pairs, delta=delta)
    chances = [gate.failure_probability(drop) for drop in drops.tolist()]
    assert (np.diff(chances) >= -1e-8).all()
    assert -1e-12 <= min(chances) <= max(chances) <= 1 + 1e-12
    smallest = minimum_detectable_drop(lost, won, pairs, delta=delta)
    if smallest is None:
        assert chances[-1] < 0.95
    else:
        at = gate.failure_probability(smallest + 1e-6)
        assert at >= 0.95 - 1e-9


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be"):
        minimum_detectable_drop(4, 4, 6, delta=0.001)
    with pytest.raises(ValueError, match="power must be between 0 and 1, found 95"):
        minimum_detectable_drop(1, 1, 600, delta=0.001, power=95)
    with pytest.raises(ValueError, match=r"drop must be between 0 and 1\.0, .* found 1\.5"):
        GatePower.of(0, 0, 600, delta=0.1).failure_probability(1.5)
    with pytest.raises(ValueError, match="delta must be at least 0 and below 1, found 3"):
        minimum_detectable_drop(0, 0, 600, delta=3)
