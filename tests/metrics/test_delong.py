"""DeLong's test against its quadratic definition and scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from facenet_validate.metrics.delong import delong_paired

Engines = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]


def two_engines(seed: int, *, levels: int) -> Engines:
    rng = np.random.default_rng(seed)
    same = rng.random(60) < 0.5
    same[:4] = True, True, False, False
    first = np.where(same, 0.6, 1.0) + rng.normal(0, 0.4, 60)
    second = first + rng.normal(0, 0.2, 60)
    return np.round(first * levels), np.round(second * levels), same


def slow_delong(
    a: NDArray[np.float64], b: NDArray[np.float64], same: NDArray[np.bool_]
) -> tuple[float, float, float]:
    """DeLong's structural components from every duel, and their covariance matrices."""
    duels = [(1 + np.sign(d[~same][None, :] - d[same][:, None])) / 2 for d in (a, b)]
    by_genuine = np.cov([duel.mean(axis=1) for duel in duels])
    by_impostor = np.cov([duel.mean(axis=0) for duel in duels])
    covariance = by_genuine / same.sum() + by_impostor / (~same).sum()
    contrast = np.array([1.0, -1.0])
    variance = max(float(contrast @ covariance @ contrast), 0.0)
    return float(duels[0].mean()), float(duels[1].mean()), math.sqrt(variance)


@given(st.integers(0, 2**32 - 1), st.sampled_from([2, 5, 10**9]))
def test_delong_is_the_quadratic_definition(seed: int, levels: int) -> None:
    a, b, same = two_engines(seed, levels=levels)
    result = delong_paired(a, b, same)
    auc_a, auc_b, error = slow_delong(a, b, same)
    assert result.auc_a == pytest.approx(auc_a, abs=1e-12)
    assert result.auc_b == pytest.approx(auc_b, abs=1e-12)
    assert result.auc_b == pytest.approx(roc_auc_score(same, -b), abs=1e-12)
    assert result.difference == pytest.approx(auc_a - auc_b, abs=1e-12)
    assert result.standard_error == pytest.approx(error, abs=1e-7)
    if error > 1e-6:
        expected = 2 * norm.sf(abs(auc_a - auc_b) / error)
        assert result.p_value == pytest.approx(expected, rel=1e-5)


def test_delong_of_engines_that_rank_alike_is_exactly_equal() -> None:
    a, _, same = two_engines(1, levels=10**9)
    result = delong_paired(a, a * 0.9 + 4, same)
    assert (result.difference, result.standard_error, result.p_value) == (0, 0, 1)


def test_delong_of_perfect_against_reversed_is_certain() -> None:
    distances = np.array([1.0, 2, 3, 4])
    result = delong_paired(distances, -distances, distances < 2.5)
    assert (result.difference, result.standard_error, result.p_value) == (1, 0, 0)


def test_delong_needs_two_pairs_of_each_kind_and_finite_distances() -> None:
    distances = np.array([1.0, 2, 3])
    with pytest.raises(ValueError, match="found 1 genuine and 2 impostor"):
        delong_paired(distances, distances, distances < 2)
    with pytest.raises(ValueError, match="1 of 3 distances are NaN"):
        delong_paired(distances, np.array([1, np.nan, 3]), distances < 3)
