from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from facenet_validate.models.quantization.calibration import (
    BINS,
    Activation,
    activation_range,
    observe_activations,
    observe_channels,
    percentile_range,
)
from facenet_validate.models.quantization.recipes import Method


def _activation(values: NDArray[np.float64]) -> Activation:
    low, high = float(values.min()), float(values.max())
    counts, _ = np.histogram(values, bins=BINS, range=(low, high))
    return Activation(low, high, counts, values.mean(axis=0, keepdims=True))


@given(st.integers(0, 2**32 - 1), st.sampled_from([90.0, 99.0, 99.9]))
def test_percentile_range_matches_sorted_values(seed: int, percentile: float) -> None:
    values = np.random.default_rng(seed).normal(size=5000)
    low, high = values.min(), values.max()
    counts, _ = np.histogram(values, bins=BINS, range=(low, high))
    found = percentile_range(counts, low, high, percentile)
    width = (high - low) / BINS
    cut = (100.0 - percentile) / 200.0
    assert (values < found.low - 1e-9).mean() <= cut + 1e-12
    assert (values < found.low + width + 1e-9).mean() >= cut - 1e-12
    assert (values > found.high + 1e-9).mean() <= cut + 1e-12
    assert (values > found.high - width - 1e-9).mean() >= cut - 1e-12


def test_whole_range_is_kept_at_one_hundred_percent() -> None:
    found = percentile_range(np.array([1, 0, 0, 1]), -1.0, 3.0, 100.0)
    assert (found.low, found.high) == (-1.0, 3.0)


def test_minmax_keeps_every_value() -> None:
    found = activation_range(
        _activation(np.array([-1.0, 0.5, 4.0])), "minmax", percentile=0.0, symmetric=False
    )
    assert (found.low, found.high) == (-1.0, 4.0)


@pytest.mark.parametrize("method", ["minmax", "percentile", "entropy"])
def test_symmetric_ranges_are_symmetric(method: Method) -> None:
    values = np.random.default_rng(3).normal(size=20_000) + 0.5
    found = activation_range(_activation(values), method, percentile=99.9, symmetric=True)
    assert found.low == -found.high
    assert 0 < found.high <= np.abs(values).max() + 1e-12


def test_symmetric_percentile_matches_sorted_magnitudes() -> None:
    values = np.random.default_rng(4).normal(size=50_000)
    found = activation_range(_activation(values), "percentile", percentile=99.0, symmetric=True)
    assert found.high == pytest.approx(np.quantile(np.abs(values), 0.99), abs=0.01)


def test_entropy_cuts_a_far_outlier_that_minmax_keeps() -> None:
    values = np.append(np.random.default_rng(5).normal(size=100_000), 60.0)
    activation = _activation(values)
    entropy = activation_range(activation, "entropy", percentile=0.0, symmetric=True)
    assert 3.0 < entropy.high < 10.0
    assert activation_range(activation, "minmax", percentile=0.0, symmetric=True).high == 60.0


def test_entropy_keeps_what_is_uniform() -> None:
    values = np.random.default_rng(6).uniform(0.0, 2.0, size=100_000)
    found = activation_range(_activation(values), "entropy", percentile=0.0, symmetric=False)
    assert found.high > 1.9
    assert found.low == 0.0


def test_a_silent_tensor_has_a_range() -> None:
    silent = Activation(
        0.0,
        0.0,
        np.bincount([0], weights=[9], minlength=BINS).astype(np.int64),
        np.zeros((1, 2, 2)),
    )
    for method in ("minmax", "percentile", "entropy"):
        found = activation_range(silent, method, percentile=99.9, symmetric=True)
        assert -1.0 <= found.low <= 0.0 <= found.high <= 1.0


def test_observed_values_are_the_network_s_own(
    prepared_onnx: onnx.ModelProto, drawn_batch: NDArray[np.float32]
) -> None:
    channels = observe_channels(prepared_onnx, drawn_batch[:10])
    image = channels["input"]
    np.testing.assert_allclose(image.high, drawn_batch[:10].max(axis=(0, 2, 3)))
    np.testing.assert_allclose(image.mean, drawn_batch[:10].astype(float).mean(axis=0))
    activations = observe_activations(prepared_onnx, drawn_batch[:10], channels)
    assert activations["input"].counts.sum() == drawn_batch[:10].size
    relus = [node.output[0] for node in prepared_onnx.graph.node if node.op_type == "Relu"]
    assert min(activations[name].low for name in relus) == 0.0
    assert set(channels) == set(activations)
