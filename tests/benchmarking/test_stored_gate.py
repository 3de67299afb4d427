from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.stats import t

from facenet_validate.benchmarking.sessions import Identity, Session
from facenet_validate.benchmarking.shift import Shift, shift
from facenet_validate.benchmarking.stored_gate import (
    RELATIVE_LATENCY,
    comparison_table,
    confirmed,
    stored_gate,
)
from facenet_validate.gates.verdicts import GateResult, Verdict

Make = Callable[..., Session]
QUIET = (1.000, 1.002, 0.998, 1.001, 0.999)
NOISY = (1.00, 1.06, 0.95, 1.03, 0.97)
VERSION = {"onnxruntime": "1.31"}


def judged(
    make_session: Make, now: float, stored: Sequence[float], provenance: dict[str, str] = VERSION
) -> GateResult:
    sessions = [make_session(n, latency_seconds=value) for n, value in enumerate(stored)]
    last = make_session(99, latency_seconds=now, provenance=provenance)
    result = stored_gate(last, sessions, gate="performance.latency", limit=1.03).result
    assert result.gate == "performance.latency"
    return result


@given(
    st.floats(1e-4, 10.0),
    st.lists(st.floats(1e-4, 10.0), min_size=5, max_size=20),
)
def test_shift_follows_its_formula(now: float, stored: list[float]) -> None:
    logs = [math.log(value) for value in stored]
    k = len(logs)
    spread = statistics.stdev(logs)
    width = t.ppf(0.99, k - 1) * max(spread, 0.004) * math.sqrt(1 + 1.57 / k)
    found = shift(now, stored)
    assert found.distance == pytest.approx(math.log(now) - statistics.median(logs), abs=1e-12)
    assert found.below == found.above == pytest.approx(width)
    shared = shift(now, stored, alpha=0.002)
    assert shared.above == found.above
    assert shared.below == pytest.approx(width * t.ppf(0.998, k - 1) / t.ppf(0.99, k - 1))
    assert found.spread == pytest.approx(spread, abs=1e-12)


LIMIT = math.log(1.03)


@pytest.mark.parametrize(
    ("distance", "half_width", "expected"),
    [
        (0.0, 0.01, Verdict.PASS),
        (-1.0, 0.01, Verdict.PASS),
        (0.0, LIMIT, Verdict.INCONCLUSIVE),
        (0.0, math.nextafter(LIMIT, 0), Verdict.PASS),
        (LIMIT, 0.0, Verdict.INCONCLUSIVE),
        (math.nextafter(LIMIT, 1), 0.0, Verdict.FAIL),
        (0.05, 0.05, Verdict.INCONCLUSIVE),
        (0.05, math.nextafter(0.05, 0), Verdict.FAIL),
        (0.02, 0.01, Verdict.INCONCLUSIVE),
        (0.05, 1.0, Verdict.INCONCLUSIVE),
    ],
)
def test_the_rule_at_its_boundaries(distance: float, half_width: float, expected: Verdict) -> None:
    assert Shift(distance, half_width, half_width, 0.0).verdict(1.03) is expected


@given(
    st.floats(-0.2, 0.2),
    st.floats(0.0, 0.2),
    st.floats(0.0, 0.2),
    st.sampled_from([1.01, 1.03, 1.05]),
)
@example(math.log(1.03), 0.0, 0.0, 1.03)
def test_pass_and_fail_never_both_hold(
    distance: float, below: float, above: float, limit: float
) -> None:
    fails = distance > math.log(limit) and distance - below > 0.0
    passes = distance + above < math.log(limit)
    assert not (fails and passes)
    verdict = Shift(distance, below, above, 0.0).verdict(limit)
    assert (verdict is Verdict.FAIL, verdict is Verdict.PASS) == (fails, passes)


def test_pass_and_fail_exclude_each_other_over_a_grid() -> None:
    steps = [step / 1000 for step in range(-60, 61)]
    for distance in steps:
        for half_width in steps[60:]:
            fails = distance > LIMIT and distance - half_width > 0.0
            assert not (fails and distance + half_width < LIMIT)


def test_the_same_speed_on_a_quiet_machine_passes(make_session: Make) -> None:
    result = judged(make_session, 1.0, QUIET)
    assert result.verdict is Verdict.PASS
    assert result.observed == pytest.approx(1.0)
    assert result.limit == 1.03
    # w = t(0.99, 4)·0.004·sqrt(1 + 1.57 / 5) = 3.747·0.004·1.146
    assert result.interval == pytest.approx((math.exp(-0.01718), math.exp(0.01718)), abs=1e-4)
    assert result.detail == "+0.0 % latency against 5 sessions (-1.7 % to +1.7 %)"


def test_a_slower_session_on_a_quiet_machine_fails(make_session: Make) -> None:
    result = judged(make_session, 1.045, QUIET)
    assert result.verdict is Verdict.FAIL
    assert result.observed == pytest.approx(1.045)
    assert result.limit == 1.03
    assert result.detail.startswith("+4.5 % latency against 5 sessions (+2.7 % to +6.3 %)")


def test_a_faster_session_passes(make_session: Make) -> None:
    result = judged(make_session, 0.9, QUIET)
    assert result.verdict is Verdict.PASS
    assert result.detail.startswith("-10.0 % latency")


@pytest.mark.parametrize(("now", "stored"), [(1.02, QUIET), (1.0, NOISY), (1.1, NOISY)])
def test_what_noise_could_explain_is_inconclusive(
    make_session: Make, now: float, stored: Sequence[float]
) -> None:
    result = judged(make_session, now, stored)
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "the stored sessions spread by" in result.detail


@pytest.mark.parametrize("count", range(5))
def test_fewer_than_five_sessions_are_not_evaluated(make_session: Make, count: int) -> None:
    result = judged(make_session, 9.0, QUIET[:count])
    assert result.verdict is Verdict.NOT_EVALUATED
    assert result.observed is None
    assert result.detail == (
        f"{count} of 5 sessions recorded; record one with --facenet-update-baselines missing"
    )


def test_only_the_newest_epoch_counts(make_session: Make) -> None:
    old = [make_session(n, latency_seconds=0.5) for n in range(9)]
    new = [make_session(9 + n, latency_seconds=x, epoch=1) for n, x in enumerate(QUIET)]
    now = make_session(99)
    assert stored_gate(now, [*old, *new], gate="g", limit=1.03).result.verdict is Verdict.PASS
    assert stored_gate(now, [*old, *new[:2]], gate="g", limit=1.03).result.detail.startswith(
        "2 of 5 sessions"
    )


def test_slow_creep_fails_although_the_last_step_is_small(make_session: Make) -> None:
    crept = [1.055 + 0.0001 * n for n in range(15)]
    result = judged(make_session, 1.06, [*QUIET, *crept])
    assert shift(1.06, [*QUIET, *crept]).verdict(1.03) is not Verdict.FAIL
    assert result.verdict is Verdict.FAIL
    assert result.observed == pytest.approx(1.06)
    assert result.limit == 1.05
    assert "+6.0 % latency against the epoch's first 5 (slow creep)" in result.detail


def test_creep_that_passes_the_newer_sessions_fails_all_the_same(make_session: Make) -> None:
    # More than a file holds: only so many later sessions drown the spread that the first ones add.
    first, later = [1.0] * 5, [1.06] * 200
    assert shift(1.06, [*first, *later]).verdict(1.03) is Verdict.PASS
    assert judged(make_session, 1.06, [*first, *later]).verdict is Verdict.FAIL


def test_creep_within_five_percent_is_left_to_the_other_rule(make_session: Make) -> None:
    result = judged(make_session, 1.045, [*[1.0] * 5, *[1.045] * 200])
    assert result.verdict is Verdict.PASS
    assert "creep" not in result.detail


def test_a_loss_against_both_is_told_with_both(make_session: Make) -> None:
    result = judged(make_session, 1.2, [*QUIET, *QUIET])
    assert result.limit == 1.03
    assert "against 10 sessions" in result.detail
    assert "slow creep" in result.detail


def test_another_configuration_is_refused_with_the_fields_that_differ(
    make_session: Make, identity: Identity
) -> None:
    moved = identity.device_details.replace("stepping 7", "stepping 8")
    other = replace(identity, device_details=moved, target="cpu-vnni")
    stored = [make_session(n, identity=other) for n in range(7)]
    result = stored_gate(make_session(99), stored, gate="g", limit=1.03).result
    assert result.verdict is Verdict.NOT_EVALUATED
    assert result.detail == (
        "0 of 5 sessions recorded; 7 sessions of other configurations not compared "
        "(newest: device_details: stepping 8 → stepping 7, target: cpu-vnni → cpu); "
        "record one with --facenet-update-baselines missing"
    )


def test_another_configuration_beside_is_left_out_and_named(
    make_session: Make, identity: Identity
) -> None:
    foreign = make_session(50, latency_seconds=9.0, identity=replace(identity, protocol=0))
    stored = [make_session(n, latency_seconds=value) for n, value in enumerate(QUIET)]
    result = stored_gate(make_session(99), [*stored, foreign], gate="g", limit=1.03).result
    assert result.verdict is Verdict.PASS
    assert "1 session of another configuration not compared (protocol: 0 → 1)" in result.detail
    few = stored_gate(make_session(99), [*stored[:2], foreign], gate="g", limit=1.03).result
    assert few.verdict is Verdict.NOT_EVALUATED
    assert few.detail.startswith("2 of 5 sessions recorded; 1 session of another")


def test_what_changed_since_the_baseline_is_named(make_session: Make) -> None:
    old = {"onnxruntime": "1.31", "model": "3f" * 32, "driver": "570", "same": "x"}
    new = {"onnxruntime": "1.32", "model": "sha256:" + "9a" * 32, "commit": "abc", "same": "x"}
    stored = [make_session(n, latency_seconds=x, provenance=old) for n, x in enumerate(QUIET)]
    result = stored_gate(
        make_session(99, latency_seconds=1.061, provenance=new), stored, gate="g", limit=1.03
    ).result
    assert result.detail.startswith("+6.1 % latency")
    assert result.detail.endswith(
        "changed since the baseline: commit none → abc, driver 570 → none, "
        "model 3f3f3f3f… → 9a9a9a9a…, onnxruntime 1.31 → 1.32"
    )


def test_what_changed_within_the_epoch_is_named_with_its_share(make_session: Make) -> None:
    stored = [
        make_session(n, provenance={"onnxruntime": "1.30" if n < 2 else "1.31"}) for n in range(5)
    ]
    result = stored_gate(make_session(99), stored, gate="g", limit=1.03).result
    assert result.detail.endswith("baseline: onnxruntime 1.30 → 1.31 (in 2 of 5)")


def test_unchanged_provenance_is_not_mentioned(make_session: Make) -> None:
    assert "changed" not in judged(make_session, 1.0, QUIET).detail


def test_the_family_of_gates_shares_the_error_probability(make_session: Make) -> None:
    stored = [make_session(n, latency_seconds=x) for n, x in enumerate(QUIET)]
    slow = make_session(99, latency_seconds=1.04)
    assert stored_gate(slow, stored, gate="g", limit=1.03).result.verdict is Verdict.FAIL
    few = stored_gate(slow, stored, gate="g", limit=1.03, alpha=1e-4).result
    # t(0.9999, 4) = 13.03: the interval reaches below zero.
    assert few.verdict is Verdict.INCONCLUSIVE


def test_a_ratio_is_compared_as_a_latency_beside_fp32(make_session: Make) -> None:
    ratios = (2.00, 2.004, 1.996, 2.002, 1.998)
    stored = [
        make_session(n, latency_seconds=1.0 + n, paired_ratio=x) for n, x in enumerate(ratios)
    ]
    now = make_session(99, latency_seconds=9.0, paired_ratio=1.9)
    compared = stored_gate(now, stored, gate="g", limit=1.03, quantity=RELATIVE_LATENCY)
    assert compared.result.verdict is Verdict.FAIL
    assert compared.result.observed == pytest.approx(2.0 / 1.9)
    assert compared.result.detail.startswith("+5.3 % latency / FP32's against 5 sessions")
    assert compared.row[1:3] == ("0.5 (5 sessions, epoch 0)", "0.5263")


def test_sessions_without_a_ratio_are_not_compared_by_it(make_session: Make) -> None:
    stored = [make_session(n, paired_ratio=2.0 if n else None) for n in range(5)]
    now = make_session(99, paired_ratio=2.0)
    judge = partial(stored_gate, stored=stored, gate="g", limit=1.03, quantity=RELATIVE_LATENCY)
    assert judge(now).result.detail.startswith("4 of 5 sessions")
    alone = judge(make_session(99)).result
    assert alone.verdict is Verdict.NOT_EVALUATED
    assert alone.detail.startswith("latency / FP32's was not measured")


def test_a_fail_needs_the_second_measurement_alone_to_fail(make_session: Make) -> None:
    stored = [make_session(n, latency_seconds=x) for n, x in enumerate(QUIET)]
    judge = partial(stored_gate, stored=stored, gate="g", limit=1.03)
    slow, clean = (judge(make_session(99, latency_seconds=x)) for x in (1.06, 1.001))
    assert confirmed(slow, slow) is slow
    assert confirmed(clean, slow) is clean
    found = confirmed(slow, clean)
    assert found.result.verdict is Verdict.INCONCLUSIVE
    assert found.result.observed == slow.result.observed
    assert found.result.detail.endswith("; measured again it is +0.1 %: no fail")
    assert found.row == slow.row


def test_a_loosened_gate_is_held_to_its_own_limit_against_the_first_five(
    make_session: Make,
) -> None:
    stored = [make_session(n, latency_seconds=QUIET[n % 5]) for n in range(6)]
    now = make_session(99, latency_seconds=1.06)
    assert stored_gate(now, stored, gate="g", limit=1.10).result.verdict is Verdict.PASS
    assert stored_gate(now, stored, gate="g", limit=1.03).result.verdict is Verdict.FAIL


def test_sessions_of_one_hour_are_told(make_session: Make) -> None:
    first = make_session(0)
    begin = first.recorded()
    stored = [
        make_session(
            n, recorded_at=(begin + timedelta(minutes=2 * n)).isoformat(), latency_seconds=x
        )
        for n, x in enumerate(NOISY)
    ]
    now = make_session(99, latency_seconds=1.1)
    detail = stored_gate(now, stored, gate="g", limit=1.03).result.detail
    assert "they were recorded within 8 min, which does not show how much days differ" in detail
    spread = [
        make_session(n, recorded_at=(begin + timedelta(days=n)).isoformat(), latency_seconds=x)
        for n, x in enumerate(NOISY)
    ]
    assert "recorded within" not in stored_gate(now, spread, gate="g", limit=1.03).result.detail


def test_the_table_has_a_row_a_quantity_and_what_changed(make_session: Make) -> None:
    stored = [
        make_session(n, latency_seconds=x / 10, paired_ratio=2.0) for n, x in enumerate(QUIET)
    ]
    now = make_session(
        99, latency_seconds=0.106, paired_ratio=2.0, provenance={"onnxruntime": "1.32"}
    )
    compared = [
        stored_gate(now, stored, gate="a", limit=1.03),
        stored_gate(now, stored, gate="b", limit=1.03, quantity=RELATIVE_LATENCY),
    ]
    lines = comparison_table(compared).splitlines()
    assert lines[0].split("  ")[0] == "compared"
    assert "100 ms (5 sessions, epoch 0)" in lines[1]
    assert "106 ms" in lines[1]
    assert "+6.0 % (+4.2 % to +7.8 %)" in lines[1]
    assert lines[1].endswith("+3 %")
    assert lines[2].startswith("latency / FP32's")
    assert lines[3:] == ["changed since the baseline: onnxruntime 1.31 → 1.32"]
    assert comparison_table([stored_gate(now, [], gate="a", limit=1.03)]) == ""
