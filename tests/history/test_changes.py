from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from facenet_validate.history.changes import change_points, level_changes
from tests.history.sessions import make_session, series_of

TRIALS = 1000
STEP = np.log(1.05)

Noise = Callable[[int], NDArray[np.float64]]


def normal(spread: float) -> Noise:
    chance = np.random.default_rng(20260101)
    return lambda count: chance.normal(0.0, spread, count)


def heavy_tailed(spread: float) -> Noise:
    """Student's t with three degrees of freedom, of the standard deviation `spread`."""
    chance = np.random.default_rng(20260102)
    return lambda count: spread / np.sqrt(3.0) * chance.standard_t(3, count)


@pytest.mark.parametrize("make_noise", [normal, heavy_tailed])
@pytest.mark.parametrize("sessions", [20, 200])
@pytest.mark.parametrize("spread", [0.004, 0.012, 0.05])
def test_noise_is_no_change(
    make_noise: Callable[[float], Noise], sessions: int, spread: float
) -> None:
    """α is 1 %; what was counted is in docs/evidence/history.md."""
    noise = make_noise(spread)
    alarms = sum(bool(level_changes(noise(sessions), 0.01)) for _ in range(TRIALS))
    assert alarms <= 0.01 * TRIALS


@pytest.mark.parametrize(
    ("sessions", "spread", "least"),
    [
        (20, 0.004, 0.99),
        (20, 0.012, 0.95),
        (200, 0.004, 0.99),
        (200, 0.012, 0.99),
        (200, 0.05, 0.7),
    ],
)
def test_a_step_of_five_percent_is_found(sessions: int, spread: float, least: float) -> None:
    noise, half = normal(spread), sessions // 2
    step = np.where(np.arange(sessions) < half, 0.0, STEP)
    found = [level_changes(noise(sessions) + step, 0.01) for _ in range(TRIALS // 4)]
    assert np.mean([len(one) == 1 for one in found]) >= least
    near = [abs(one[0] - half) for one in found if one]
    assert np.median(near) <= {0.004: 0, 0.012: 0, 0.05: 2}[spread]


def test_a_step_among_noise_is_found_in_its_place() -> None:
    """It is not where the noise is taken for that of a quiet machine: 94 % then."""
    noise, half = normal(0.012), 100
    step = np.where(np.arange(200) < half, 0.0, STEP)
    found = [level_changes(noise(200) + step, 0.01) for _ in range(500)]
    assert np.mean([any(abs(place - half) <= 1 for place in one) for one in found]) >= 0.98


def test_a_change_is_tested_on_both_sides() -> None:
    """With three sessions a side there is one place: t(0.995, 4) = 4.60, t(0.99, 4) = 3.75."""
    spread = 0.02
    error = spread * np.sqrt(2.0 / 3.0)
    segment = np.array([-spread, 0.0, spread])
    for sign in (-1.0, 1.0):
        assert level_changes([*segment, *(segment + sign * 4.4 * error)], 0.01) == []
        assert level_changes([*segment, *(segment + sign * 4.8 * error)], 0.01) == [3]


def test_all_series_and_epochs_share_one_error_probability(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shares: list[float] = []

    def record(logs: object, alpha: float) -> list[int]:
        shares.append(alpha)
        return []

    monkeypatch.setattr("facenet_validate.history.changes.level_changes", record)
    two_epochs = series_of([make_session(day, epoch=1 + day // 6) for day in range(12)])
    short = series_of([make_session(day) for day in range(5)])
    change_points([two_epochs, series_of([make_session(day) for day in range(6)]), short])
    assert shares == pytest.approx([0.01 / 3] * 3)


def test_a_burst_has_two_ends() -> None:
    logs = normal(0.004)(60)
    logs[20:40] += STEP
    assert level_changes(logs, 0.01) == [20, 40]


def test_one_or_two_slow_sessions_are_no_level() -> None:
    logs = normal(0.004)(20)
    logs[10:12] += STEP
    assert level_changes(logs, 0.01) == []


@pytest.mark.parametrize("count", range(7))
def test_three_sessions_on_each_side_are_needed(count: int) -> None:
    logs = np.where(np.arange(count) < count - 3, 0.0, 1.0)
    assert level_changes(logs, 0.01) == ([3] if count == 6 else [])


def test_sessions_that_agree_by_luck_do_not_judge_too_sharply() -> None:
    """Sixty equal values, then sixty 0.25 % above: less than any machine repeats."""
    assert level_changes(np.repeat([0.0, 0.0025], 60), 0.01) == []
    assert level_changes(np.repeat([0.0, 0.02], 12), 0.01) == [12]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.floats(-1.0, 1.0), min_size=6, max_size=60),
    st.floats(-10.0, 10.0),
)
def test_found_changes_leave_segments_and_ignore_the_unit(logs: list[float], unit: float) -> None:
    """Milliseconds instead of seconds is a constant added to every log."""
    rounded = np.round(logs, 3)
    found = level_changes(rounded, 0.01)
    assert all(np.diff([0, *found, len(logs)]) >= 3)
    assert level_changes(rounded + unit, 0.01) == found


def test_a_change_point_names_sessions_commits_and_provenance() -> None:
    chance = np.random.default_rng(1)
    sessions = [
        make_session(
            day,
            float((0.1 if day < 8 else 0.106) * np.exp(chance.normal(0.0, 0.004))),
            provenance={"runtime": "1.31" if day < 8 else "1.32", "commit": f"{day:02d}" * 20},
        )
        for day in range(16)
    ]
    series = series_of(sessions)
    (point,) = change_points([series])
    assert point.before.session == sessions[7]
    assert point.after.session == sessions[8]
    assert point.sessions == (8, 8)
    assert np.expm1(point.change) == pytest.approx(0.06, abs=0.01)
    assert point.changed == ("commit 07070707… → 08080808…", "runtime 1.31 → 1.32")


def test_the_beginning_of_an_epoch_is_no_change_point() -> None:
    sessions = [
        make_session(day, 0.1 if day < 8 else 0.2, epoch=1 if day < 8 else 2) for day in range(16)
    ]
    assert change_points([series_of(sessions)]) == ()


def test_the_ratio_is_looked_at_where_it_is_asked_for() -> None:
    """A machine twice as slow, on which the engine lost nothing against FP32; and the reverse."""
    slower = [make_session(day, 0.1 if day < 8 else 0.2) for day in range(16)]
    assert len(change_points([series_of(slower)])) == 1
    assert change_points([series_of(slower)], ratio=True) == ()
    lost = [
        make_session(
            day, 0.1 + 1e-6 * day, paired_ratio=None if day == 3 else 2.0 - 0.2 * (day > 7)
        )
        for day in range(16)
    ]
    assert change_points([series_of(lost)]) == ()
    (point,) = change_points([series_of(lost)], ratio=True)
    assert point.sessions == (7, 8)
    assert np.exp(point.change) == pytest.approx(2.0 / 1.8)
