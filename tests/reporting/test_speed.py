"""The lines of a run's speeds."""

from __future__ import annotations

import math

import pytest

from facenet_validate.reporting.speed import speed_lines

SPEED = {
    "name": "speed",
    "precision": "int8",
    "batch": 64,
    "scope": "end-to-end",
    "fps": 98.4,
    "blocks": 8,
    "ratio": 2.895,
    "beside": "fp32",
    "measured_again": [],
    "unsettled": False,
    "disturbance": "",
}


@pytest.mark.parametrize(
    ("interval", "told"),
    [
        ([2.5, 3.25], "2.895 × FP32's (2.500 to 3.250)"),
        ([0.0, math.inf], "2.895 × FP32's (too few quads for an interval)"),
    ],
)
def test_an_interval_that_says_nothing_is_not_shown(interval: list[float], told: str) -> None:
    (line,) = speed_lines([SPEED | {"ratio_interval": interval}])
    assert line == f"speed int8, batch 64, end-to-end: 98.4 images/s over 8 blocks, {told}"
