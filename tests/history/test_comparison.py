from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from facenet_validate.benchmarking.sessions import Session
from facenet_validate.benchmarking.shift import shift
from facenet_validate.gates.verdicts import Verdict
from facenet_validate.history.comparison import SessionComparison, compare
from facenet_validate.history.selectors import Selection
from facenet_validate.history.text import report_lines
from tests.history.sessions import make_session, series_of


def side(*series: Sequence[Session]) -> Selection:
    every = [series_of(sessions) for sessions in series]
    return Selection("x", {one.identity: one.entries for one in every})


def quiet(days: range, level: float = 0.1, **changes: object) -> list[Session]:
    chance = np.random.default_rng(days.start)
    latencies = level * np.exp(chance.normal(0.0, 0.004, len(days)))
    return [make_session(day, float(x), **changes) for day, x in zip(days, latencies, strict=True)]


def verdicts(report: SessionComparison) -> list[Verdict]:
    return [one.verdict for pair in report.pairs for one in pair.compared]


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        (0.08, Verdict.PASS),
        (0.1, Verdict.PASS),
        (0.103, Verdict.INCONCLUSIVE),
        (0.106, Verdict.FAIL),
    ],
)
def test_a_later_session_is_judged_by_the_rule_for_stored_ones(
    level: float, expected: Verdict
) -> None:
    before, after = quiet(range(8)), [make_session(9, level)]
    report = compare(side(before), side(after), 1.03)
    (pair,) = report.pairs
    latency, ratio = pair.compared
    assert latency.verdict is expected
    assert latency.shift == shift(level, [s.latency_seconds for s in before], 0.01 / 2)
    assert latency.change == pytest.approx(math.log(level / 0.1), abs=0.005)
    assert ratio.verdict is Verdict.PASS
    assert report.verdict is expected
    assert report.alpha == 0.005


def test_the_median_of_several_sessions_is_judged() -> None:
    after = [make_session(9, 0.2), *quiet(range(10, 14))]
    report = compare(side(quiet(range(8))), side(after), 1.03)
    assert report.verdict is Verdict.PASS
    assert report.pairs[0].compared[0].sessions == (8, 5)


def test_fewer_than_five_sessions_are_inconclusive_and_told() -> None:
    report = compare(side(quiet(range(4))), side([make_session(9, 0.2)]), 1.03)
    assert verdicts(report) == [Verdict.INCONCLUSIVE] * 2
    latency = report.pairs[0].compared[0]
    assert latency.shift is None
    assert math.exp(latency.change) == pytest.approx(2.0, rel=0.01)
    assert report.verdict is Verdict.INCONCLUSIVE


def test_a_slower_engine_is_seen_by_its_ratio_on_a_machine_that_is_not_slower() -> None:
    before = quiet(range(8))
    after = quiet(range(9, 10), paired_ratio=1.8)
    report = compare(side(before), side(after), 1.03)
    assert verdicts(report) == [Verdict.PASS, Verdict.FAIL]
    assert report.verdict is Verdict.FAIL


def test_without_a_ratio_on_both_sides_the_latency_alone_is_compared() -> None:
    before = quiet(range(8), paired_ratio=None, paired_interval=None)
    report = compare(side(before), side([make_session(9)]), 1.03)
    assert [one.quantity.name for one in report.pairs[0].compared] == ["latency"]
    assert report.alpha == 0.01


def test_a_session_on_both_sides_is_taken_as_bs() -> None:
    sessions = quiet(range(8))
    report = compare(side(sessions), side(sessions[-1:]), 1.03)
    assert report.shared == 1
    assert report.pairs[0].compared[0].sessions == (7, 1)
    same = compare(side(sessions), side(sessions), 1.03)
    assert not same.pairs
    assert "every session of A is in B too" in same.only_b[0]
    assert same.verdict is Verdict.INCONCLUSIVE


def test_identities_are_never_compared_with_others() -> None:
    before = quiet(range(8))
    details = before[0].identity.device_details.replace("2 cores", "4 cores")
    elsewhere = replace(before[0].identity, device_details=details)
    fp32 = replace(elsewhere, precision="fp32", target="any")
    after = [make_session(9, identity=elsewhere)]
    report = compare(side(before), side(after, [make_session(9, identity=fp32)]), 1.03)
    assert not report.pairs
    assert report.verdict is Verdict.INCONCLUSIVE
    (only_a,) = report.only_a
    only_b, only_b_fp32 = report.only_b
    assert "only in A" in only_a
    assert only_a.endswith("nearest on the other side: device_details: 2 cores → 4 cores")
    assert "only in B" in only_b
    assert only_b.endswith("nearest on the other side: device_details: 2 cores → 4 cores")
    assert "precision: int8 → fp32; target: cpu → any" in only_b_fp32


def test_a_side_without_sessions_is_named() -> None:
    report = compare(Selection("epoch:9", {}), side([make_session()]), 1.03)
    assert report.only_b[0].endswith("only in B (x); epoch:9 selects no session")
    assert report.verdict is Verdict.INCONCLUSIVE


def test_what_b_holds_and_a_lacks_is_never_a_pass() -> None:
    before = quiet(range(8))
    fp32 = replace(before[0].identity, precision="fp32")
    more = [make_session(9, identity=fp32)]
    report = compare(side(before), side([make_session(9)], more), 1.03)
    assert verdicts(report) == [Verdict.PASS] * 2
    assert report.verdict is Verdict.INCONCLUSIVE
    assert report.text == "inconclusive: 1 of B's identities compared with nothing"
    # All of it was taken out of A.
    report = compare(side(before, more), side([make_session(9)], more), 1.03)
    assert report.verdict is Verdict.INCONCLUSIVE
    # More in A is what a baseline is.
    report = compare(side(before, more), side([make_session(9)]), 1.03)
    assert report.verdict is Verdict.PASS
    slow = compare(side(before), side([make_session(9, 0.2)], more), 1.03)
    assert slow.verdict is Verdict.FAIL


def test_of_identities_in_a_only_three_are_named() -> None:
    before = quiet(range(8))
    lone = [[make_session(9, identity=replace(before[0].identity, batch=b))] for b in range(20, 32)]
    report = compare(side(before, *lone), side([make_session(9)]), 1.03)
    assert [line[:15] for line in report.only_a] == [f"int8, batch {b}," for b in (20, 21, 22)]
    assert report.more_in_a == 9
    assert "and 9 more identities only in A" in report_lines(report)


@pytest.mark.parametrize(
    ("spread", "level", "why"),
    [
        (0.004, 0.1029, r"too near \+3\.0 % to tell by 8 sessions"),  # whatever the spread
        (0.0001, 0.1029, r"too near \+3\.0 % to tell by 8 sessions"),  # 0.4 % is assumed
        (0.02, 0.1, r"A's sessions spread by 2\.\d %"),
        (0.02, 0.1045, r"A's sessions spread by 2\.\d %"),
    ],
)
def test_inconclusive_says_what_it_is_for(spread: float, level: float, why: str) -> None:
    steps = np.linspace(-1.5, 1.5, 8) * spread
    before = [make_session(day, float(0.1 * np.exp(step))) for day, step in enumerate(steps)]
    report = compare(side(before), side([make_session(9, level)]), 1.03)
    assert report.pairs[0].compared[0].verdict is Verdict.INCONCLUSIVE
    assert re.search(f"inconclusive: {why}", report_lines(report)[1])


def test_the_levels_of_the_intervals_are_told() -> None:
    report = compare(side(quiet(range(8))), side([make_session(9)]), 1.03)
    assert (
        "intervals: of one new session, lower bounds at 99.5 %, upper ones at 99 %; "
        "allowed: +3.0 %" in report_lines(report)
    )
    few = compare(side(quiet(range(3))), side([make_session(9)]), 1.03)
    assert not any(line.startswith("intervals") for line in report_lines(few))


def test_all_comparisons_share_one_false_alarm_budget() -> None:
    """Ten configurations on a machine that did not change: no more than 1 % of calls fail."""
    chance = np.random.default_rng(5)
    base = make_session().identity
    identities = [replace(base, batch=batch) for batch in range(1, 11)]
    calls, fails = 200, 0
    blocks = make_session().block_seconds

    def session(identity: object, day: int) -> Session:
        latency = float(0.1 * np.exp(chance.normal(0.0, 0.012)))
        # The first block makes the session's id.
        return make_session(
            day,
            identity=identity,
            latency_seconds=latency,
            block_seconds=(latency, *blocks[1:]),
            paired_ratio=None,
            paired_interval=None,
        )

    for _ in range(calls):
        before = side(*([session(i, day) for day in range(6)] for i in identities))
        after = side(*([session(i, 9)] for i in identities))
        report = compare(before, after, 1.0001)
        assert report.alpha == pytest.approx(0.001)
        fails += report.verdict is Verdict.FAIL
    assert fails <= 0.025 * calls  # 1 % expected; five or fewer of 200 with 98 % probability
