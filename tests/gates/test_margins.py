from __future__ import annotations

import math
from decimal import Decimal
from pathlib import Path

import measure_margins
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from facenet_validate.gates import catalogue
from facenet_validate.gates.catalogue import row
from facenet_validate.gates.margins import SCALES, propose, rounded_up, tolerance_bound
from facenet_validate.gates.verdicts import Observed, Verdict, hold

MEASURED = [gate for gate in catalogue.CATALOGUE if gate.measures]


@pytest.mark.parametrize(
    ("gate", "values", "limit"),
    [
        ("parity.cosine_min", [0.995], 0.99),
        ("parity.cosine_min", [0.995, 0.997], 0.99),  # the worst counts
        ("parity.cosine_min", [0.99513], 0.9902),  # two digits, outwards: 0.00974 → 0.0098
        ("parity.cosine_mean", [1 - 1e-12], 1 - 5e-11),  # no nearer than float32 rounds
        ("contract.reload", [0.004], 0.008),
        ("contract.norm_error_max", [1e-7], 1e-5),
        ("build.int8_share", [0.99], 0.98),
        ("accuracy.acc", [0.984], 0.98),  # a quarter more errors
    ],
)
def test_a_limit_is_the_worst_value_with_a_margin(
    gate: str, values: list[float], limit: float
) -> None:
    assert propose(row(gate), values).limit == limit


@pytest.mark.parametrize("value", [1.0, 1.0000001])
def test_an_engine_without_loss_says_nothing_of_a_limit(value: float) -> None:
    found = propose(row("parity.cosine_min"), [value])
    assert found.limit is None
    assert "without any loss" in found.reason
    assert propose(row("contract.reload"), [0.0]).limit is None


@pytest.mark.parametrize(
    ("gate", "value"), [("parity.cosine_min", -0.5), ("build.int8_share", 0.5), ("accuracy.acc", 0)]
)
def test_a_limit_that_every_value_reaches_is_none(gate: str, value: float) -> None:
    assert propose(row(gate), [value]).limit is None


def test_engines_that_differ_widely_have_a_wider_margin() -> None:
    near = [0.9950, 0.9951, 0.9952, 0.9953, 0.9954]
    far = [0.9950, 0.9970, 0.9980, 0.9990, 0.9995]
    gate = row("parity.cosine_min")
    assert propose(gate, near).limit == 0.99
    wider = propose(gate, far)
    assert wider.limit is not None
    assert wider.limit < 0.99
    assert wider.reason == "95 %/95 % tolerance bound of 5 engines"
    # Four are too few to tell a spread.
    assert propose(gate, far[:4]).limit == 0.99


def test_the_tolerance_bound_holds_as_often_as_it_says() -> None:
    """Of many samples, 95 % give a bound above the 95 % quantile of what they are of."""
    quantile = math.exp(1.6448536)
    rng = np.random.default_rng(20261129)
    samples = np.exp(rng.standard_normal((2000, 6)))
    held = sum(tolerance_bound(list(one)) >= quantile for one in samples)
    # The share's standard error is 0.005.
    assert abs(held / 2000 - 0.95) < 0.02


@example(row("contract.reload"), [1.0, 1.0, 1.0, 1.0, 1e-230])
@given(st.sampled_from(MEASURED), st.lists(st.floats(-1.0, 2.0, width=64), min_size=1, max_size=8))
def test_every_value_passes_what_it_proposes(gate: catalogue.Gate, values: list[float]) -> None:
    found = propose(gate, values)
    if found.limit is None:
        return
    scale = SCALES[gate.measures]
    assert min(scale.best, scale.worst) < found.limit < max(scale.best, scale.worst)
    for value in values:
        assert hold(Observed(gate.name, value), found.limit, gate.bound).verdict == Verdict.PASS


@given(st.floats(min_value=1e-300, max_value=1e6).map(Decimal))
def test_rounding_goes_outwards_by_a_tenth_at_most(distance: Decimal) -> None:
    assert distance <= rounded_up(distance) <= distance * Decimal("1.1")


def test_the_page_has_what_was_measured_of_margins() -> None:
    page = Path(__file__).parents[2] / "docs" / "evidence" / "recipes.md"
    found = measure_margins.engines()
    assert sum(map(len, found.values())) == 22
    assert measure_margins.table(found) in page.read_text(encoding="utf-8")


def test_scales_go_the_way_of_their_gates() -> None:
    """A floor is below the best value, and a ceiling above it; the rest is for people to decide."""
    for gate in MEASURED:
        scale = SCALES[gate.measures]
        assert (scale.best > scale.worst) == (gate.bound == "floor"), gate.name
        assert not gate.family, gate.name
        assert gate.above is None, gate.name
