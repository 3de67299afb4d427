"""A deployed threshold in each metric."""

from __future__ import annotations

import math

import pytest

from facenet_validate.base.threshold import Metric, Threshold


@pytest.mark.parametrize(
    ("threshold", "metric", "squared"),
    [(1.1, "squared-l2", 1.1), (1.1, "l2", 1.21), (0.4, "cosine", 1.2), (-1, "cosine", 4.0)],
)
def test_a_threshold_in_any_metric(threshold: float, metric: Metric, squared: float) -> None:
    assert Threshold(threshold, metric).squared == pytest.approx(squared)


@pytest.mark.parametrize(
    ("threshold", "metric"),
    [(4.1, "squared-l2"), (2.1, "l2"), (1.1, "cosine"), (-0.1, "l2"), (math.nan, "l2")],
)
def test_a_threshold_out_of_range_is_refused(threshold: float, metric: Metric) -> None:
    with pytest.raises(ValueError, match="is out of range"):
        Threshold(threshold, metric)
