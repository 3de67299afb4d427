"""A mean loss over people: its error, its bound, its test."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facenet_validate.gates.verdicts import Verdict
from facenet_validate.metrics.by_person import judge_loss, loss_by_person, sign_flip_p_value
from facenet_validate.metrics.paired import mcnemar_one_sided


@given(st.lists(st.integers(-4, 4).map(lambda n: n / 4), min_size=2, max_size=9))
def test_few_losses_are_counted_in_every_way(values: list[float]) -> None:
    losses = np.array(values)
    ways = [
        sum(s * v for s, v in zip(signs, values, strict=True))
        for signs in product((1, -1), repeat=len(values))
    ]
    as_bad = sum(total >= sum(values) for total in ways)
    assert sign_flip_p_value(losses) == pytest.approx(as_bad / len(ways))


@pytest.mark.parametrize(("lost", "won"), [(20, 8), (30, 25), (25, 2)])
def test_equal_losses_are_mcnemar_s_test(lost: int, won: int) -> None:
    """100,000 drawn ways stray from the exact probability by no more than chance."""
    losses = np.concatenate([np.ones(lost), -np.ones(won), np.zeros(500)])
    exact = mcnemar_one_sided(lost, won)
    error = np.sqrt(exact * (1 - exact) / 100_000) + 1e-5
    assert abs(sign_flip_p_value(losses) - exact) < 5 * error


def test_the_error_is_that_of_a_mean() -> None:
    losses = np.random.default_rng(0).uniform(-0.5, 0.6, size=300)
    found = loss_by_person(losses)
    assert found.loss == pytest.approx(losses.mean())
    assert found.standard_error == pytest.approx(losses.std(ddof=1) / np.sqrt(300))


@pytest.mark.parametrize(
    ("people", "lost", "verdict"),
    [
        (1000, 0, Verdict.PASS),
        (1000, 30, Verdict.FAIL),
        (1000, 4, Verdict.INCONCLUSIVE),
        (100, 0, Verdict.INCONCLUSIVE),
    ],
)
def test_verdicts(people: int, lost: int, verdict: Verdict) -> None:
    """A hundred people without a loss are too few to show that at most 0.5 % is lost."""
    losses = np.zeros(people)
    losses[:lost] = 1.0
    found = judge_loss(
        loss_by_person(losses), gate="identification.rank1_drop", delta=0.005, alpha=0.005
    )
    assert found.verdict is verdict


@pytest.mark.parametrize(
    ("losses", "message"),
    [
        ([0.5], "at least two people"),
        ([0.5, 1.5], "between −1 and 1"),
        ([0.5, np.nan], "between −1"),
    ],
)
def test_what_is_no_loss_is_refused(losses: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        loss_by_person(np.array(losses))
