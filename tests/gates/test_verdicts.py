"""The rule by which a loss and its bound become a verdict."""

from __future__ import annotations

import math

import pytest

from facenet_validate.gates.verdicts import Verdict, bounded


@pytest.mark.parametrize(
    ("value", "upper", "rejected", "verdict"),
    [
        (0.001, 0.003, False, Verdict.PASS),  # the bound may reach the limit
        (0.001, 0.003, True, Verdict.PASS),
        (0.003, 0.004, True, Verdict.INCONCLUSIVE),  # the loss itself may reach it too
        (0.0031, 0.004, True, Verdict.FAIL),
        (0.0031, 0.004, False, Verdict.INCONCLUSIVE),
        (math.nan, math.nan, False, Verdict.INCONCLUSIVE),
    ],
)
def test_a_loss_is_judged_by_its_bound(
    value: float, upper: float, rejected: bool, verdict: Verdict
) -> None:
    assert bounded(value, upper, 0.003, rejected=rejected) is verdict
