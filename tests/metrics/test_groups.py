"""Groups: each is judged, a small one cannot pass, the worst one tells."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facenet_validate.gates.verdicts import Verdict
from facenet_validate.metrics.groups import (
    Group,
    Rates,
    compare_groups,
    fewest_pairs,
    judge_groups,
)
from facenet_validate.metrics.paired import compare_counts, tango_upper_bound

RATES = Rates(0.99, 0.01, 0.01)
FINE, FEW, LOST = (1, 1, 6000), (0, 0, 400), (30, 1, 1200)


def groups(*counts: tuple[int, int, int]) -> list[Group]:
    return [
        Group(f"g{number}", compare_counts(*one), RATES, RATES) for number, one in enumerate(counts)
    ]


@given(st.lists(st.tuples(st.integers(-1, 2), st.booleans(), st.booleans(), st.booleans())))
def test_groups_are_counted_one_by_one(
    pairs: list[tuple[int, bool, bool, bool]],
) -> None:
    pairs = [*pairs, (0, True, True, False), (1, False, True, True), (2, True, False, True)]
    of, same, before, after = (np.array(column) for column in zip(*pairs, strict=True))
    found = compare_groups(["x", "y", "z"], of, same, before, after)
    for number, group in enumerate(found):
        mine = [pair for pair in pairs if pair[0] == number]
        assert group.paired.pairs == len(mine)
        assert group.paired.lost == sum(b and not a for _, _, b, a in mine)
        assert group.engine.accuracy == np.mean([a for *_, a in mine])
        genuine = [not a for _, s, _, a in mine if s]
        assert group.engine.fnmr == (np.mean(genuine) if genuine else None)
        impostor = [not b for _, s, b, _ in mine if not s]
        assert group.reference.fmr == (np.mean(impostor) if impostor else None)


@pytest.mark.parametrize("delta", [0.001, 0.003, 0.01, 0.2])
def test_so_many_pairs_pass_and_one_less_does_not(delta: float) -> None:
    fewest = fewest_pairs(delta)
    assert tango_upper_bound(0, 0, fewest) <= delta < tango_upper_bound(0, 0, fewest - 1)


@pytest.mark.parametrize(
    ("counts", "verdict", "detail"),
    [
        ([FINE, FINE], Verdict.PASS, "2 of 2 groups pass"),
        ([FINE, FEW], Verdict.INCONCLUSIVE, "group g1 is inconclusive: 0 lost, 0 won of 400 pairs"),
        ([FEW, LOST, FINE], Verdict.FAIL, "group g1 fails: 30 lost, 1 won of 1200 pairs"),
        ([(40, 0, 400), FINE], Verdict.FAIL, "group g0 fails: 40 lost, 0 won of 400 pairs"),
    ],
)
def test_the_worst_group_tells(
    counts: list[tuple[int, int, int]], verdict: Verdict, detail: str
) -> None:
    found = judge_groups(groups(*counts), gate="accuracy.group_drop", delta=0.003, alpha=0.001)
    assert found.verdict is verdict
    assert found.detail.startswith(detail)
    assert ("a pass needs 900 pairs" in found.detail) == any(pairs < 900 for *_, pairs in counts)


def test_no_group_is_refused() -> None:
    with pytest.raises(ValueError, match="there is no group"):
        judge_groups([], gate="accuracy.group_drop", delta=0.003, alpha=0.001)
    nothing = np.array([True])
    with pytest.raises(ValueError, match="group b has no pair"):
        compare_groups(["a", "b"], np.array([0]), nothing, nothing, nothing)
