"""Parity by row and by pair."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from facenet_validate.metrics.parity import compare_embeddings, compare_pairs, row_cosines
from facenet_validate.metrics.verification import decisions


def unit_rows(rows: int = 512, dimensions: int = 64) -> NDArray[np.float64]:
    values = np.random.default_rng(5).normal(size=(rows, dimensions))
    return np.asarray(values / np.linalg.norm(values, axis=1, keepdims=True), dtype=np.float64)


@given(st.integers(0, 2**32 - 1), st.sampled_from([np.float32, np.float64]))
@settings(max_examples=25)
def test_row_cosines_are_literal(seed: int, dtype: type) -> None:
    a, b = np.random.default_rng(seed).normal(size=(2, 6, 9)).astype(dtype).astype(np.float64)
    literal = [
        sum(x * y for x, y in zip(p, q, strict=True))
        / (sum(x * x for x in p) * sum(y * y for y in q)) ** 0.5
        for p, q in zip(a.tolist(), b.tolist(), strict=True)
    ]
    np.testing.assert_allclose(row_cosines(a, b), literal, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(row_cosines(a * 3, b / 7), literal, rtol=1e-12, atol=1e-14)


def test_equal_embeddings_are_at_par() -> None:
    rows = unit_rows()
    parity = compare_embeddings(rows, rows)
    assert parity.rows == 512
    assert parity.cosine_min == pytest.approx(1, abs=1e-12)
    assert parity.cosine_min <= parity.cosine_p1 <= parity.cosine_mean <= 1
    assert parity.norm_error_max < 1e-12


def test_one_orthogonal_row_in_512_is_caught() -> None:
    reference = unit_rows()
    engine = reference.copy()
    turned = np.random.default_rng(8).normal(size=64)
    turned -= (turned @ reference[77]) * reference[77]
    engine[77] = turned / np.linalg.norm(turned)
    raveled = np.vdot(reference, engine) / (np.linalg.norm(reference) * np.linalg.norm(engine))
    assert raveled > 0.998
    parity = compare_embeddings(reference, engine)
    assert parity.worst_row == 77
    assert abs(parity.cosine_min) < 1e-12
    assert parity.cosine_p1 == pytest.approx(1)


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, 1e300])
def test_a_row_without_direction_is_the_worst(value: float) -> None:
    reference = unit_rows()
    engine = reference.copy()
    engine[9] = value
    parity = compare_embeddings(reference, engine)
    assert (parity.worst_row, parity.cosine_min) == (9, -1)
    assert parity.cosine_mean < 1 - 1 / 512
    assert parity.norm_error_max == (np.inf if value else 1)


def test_norm_error_is_the_engines() -> None:
    reference = unit_rows()
    engine = reference.copy()
    engine[4] *= 0.75
    parity = compare_embeddings(reference * 5, engine)
    assert parity.norm_error_max == pytest.approx(0.25)
    assert parity.cosine_min == pytest.approx(1)


def test_first_percentile_is_between_order_statistics() -> None:
    angles = np.linspace(0, 1, 151)
    engine = np.column_stack([np.cos(angles), np.sin(angles)])
    reference = np.tile([1.0, 0.0], (151, 1))
    parity = compare_embeddings(reference, engine)
    second, third = np.cos(angles[149]), np.cos(angles[148])
    assert parity.cosine_p1 == pytest.approx((second + third) / 2)  # at 1 % of 150 steps, 1.5
    assert parity.cosine_mean == pytest.approx(np.cos(angles).mean())


@pytest.mark.parametrize("value", [np.nan, 0.0])
def test_a_broken_reference_is_refused(value: float) -> None:
    reference = unit_rows()
    reference[[3, 6]] = value
    with pytest.raises(ValueError, match=r"2 rows of the reference .* first is row 3"):
        compare_embeddings(reference, unit_rows())


def test_shapes_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(511, 64\) and \(512, 64\)"):
        row_cosines(unit_rows()[:511], unit_rows())
    with pytest.raises(ValueError, match="rows, dimensions"):
        row_cosines(unit_rows().ravel(), unit_rows().ravel())


def test_pair_shift_counts_flips_at_the_frozen_thresholds() -> None:
    reference = np.array([0.9, 1.1, 0.4, 2.0])
    engine = np.array([1.2, 1.3, 0.6, 1.4])
    shift = compare_pairs(reference, engine, np.array([0, 0, 1, 1]), np.array([1.0, 0.5]))
    assert (shift.pairs, shift.flipped) == (4, 2)
    assert shift.mean_shift == pytest.approx(0.025)
    assert shift.max_shift == pytest.approx(0.6)


def test_scale_drift_flips_pairs_and_shows_its_sign() -> None:
    reference = np.linspace(0.5, 1.5, 101)
    folds, thresholds = np.arange(101) % 10, np.full(10, 1.0)
    shift = compare_pairs(reference, reference * 0.9, folds, thresholds)
    assert shift.mean_shift == pytest.approx(-0.1)
    changed = decisions(reference, folds, thresholds) ^ (reference * 0.9 < 1)
    assert shift.flipped == changed.sum() > 5
    assert compare_pairs(reference, reference, folds, thresholds).flipped == 0


def test_pair_shift_refuses_nan_and_unequal_lengths() -> None:
    good, folds, thresholds = np.ones(4), np.zeros(4, dtype=int), np.ones(1)
    with pytest.raises(ValueError, match="1 of 4 distances are NaN"):
        compare_pairs(good, np.array([1, 1, np.nan, 1]), folds, thresholds)
    with pytest.raises(ValueError, match=r"the engine's distances has shape \(3,\)"):
        compare_pairs(good, good[:3], folds, thresholds)
