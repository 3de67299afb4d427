from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from facenet_validate.benchmarking.provenance import provenance_changes
from facenet_validate.benchmarking.sessions import Session
from facenet_validate.history.series import Filter, group, titles
from facenet_validate.history.sources import Found, session_id
from tests.history.sessions import BEGIN, IDENTITY, make_session, series_of


def found(session: Session, *, accepted: bool = True) -> Found:
    return Found(session, accepted, Path("x"), session_id(session))


def test_sessions_are_grouped_by_identity_and_ordered_by_time() -> None:
    other = replace(make_session(0).identity, precision="fp32")
    sessions = [make_session(3), make_session(1), make_session(2, identity=other)]
    fp32, int8 = group(map(found, sessions))
    assert fp32.identity == other
    assert [entry.session for entry in int8.entries] == [sessions[1], sessions[0]]


def test_a_run_that_was_not_accepted_belongs_to_the_epoch_of_its_time() -> None:
    accepted = [make_session(0, epoch=2), make_session(4, epoch=3)]
    runs = [make_session(day) for day in (-1, 2, 6)]
    (series,) = group([*map(found, accepted), *(found(run, accepted=False) for run in runs)])
    assert [(e.epoch, e.accepted) for e in series.entries] == [
        (2, False),
        (2, True),
        (2, False),
        (3, True),
        (3, False),
    ]


def test_without_a_baseline_there_is_one_epoch() -> None:
    series = series_of([make_session(day) for day in range(3)], accepted=False)
    assert [entry.epoch for entry in series.entries] == [1, 1, 1]


def test_change_is_from_the_accepted_sessions_of_the_epoch() -> None:
    accepted = [make_session(day, latency) for day, latency in enumerate((0.10, 0.11, 0.12))]
    second = make_session(9, 0.05, epoch=2)
    slow = make_session(5, 0.22)
    (series,) = group([*map(found, accepted), found(second), found(slow, accepted=False)])
    changes = [series.change(entry) for entry in series.entries]
    assert changes == pytest.approx([10 / 11, 1.0, 12 / 11, 2.0, 1.0])


def test_narrowing_keeps_the_epochs_medians() -> None:
    series = series_of([make_session(day, 0.1 + 0.01 * day) for day in range(5)])
    (narrowed,) = Filter(limit=1).narrow([series])
    assert narrowed.change(narrowed.entries[0]) == pytest.approx(0.14 / 0.12)


def test_filters() -> None:
    series = series_of([make_session(day, epoch=1 + day // 3) for day in range(6)])

    def days(**asked: object) -> list[int]:
        narrowed = Filter(**asked).narrow([series])  # type: ignore[arg-type]
        return [(entry.when - BEGIN).days for one in narrowed for entry in one.entries]

    assert days() == [0, 1, 2, 3, 4, 5]
    assert days(limit=2) == [4, 5]
    assert days(epoch=1) == [0, 1, 2]
    assert days(since=BEGIN + timedelta(days=4)) == [4, 5]
    assert days(epoch=1, limit=1) == [2]
    assert days(device="fast") == days(device="CPU") == days()
    assert days(precision="int8", batch=8, backend="onnxruntime") == days()
    for other in ({"precision": "fp16"}, {"batch": 1}, {"backend": "tensorrt"}, {"device": "x"}):
        assert days(**other) == []


def test_titles_tell_identities_apart() -> None:
    details = IDENTITY.device_details.replace("2 cores", "4 cores")
    identities = [
        IDENTITY,
        replace(IDENTITY, device_details=details),
        replace(IDENTITY, protocol=1),
        replace(IDENTITY, batch=64),
    ]
    assert [title.removeprefix("int8, batch ") for title in titles(identities)] == [
        "8, onnxruntime, Fast(R) CPU, 2 cores, protocol 2",
        "8, onnxruntime, Fast(R) CPU, 4 cores, protocol 2",
        "8, onnxruntime, Fast(R) CPU, protocol 1, 2 cores",
        "64, onnxruntime, Fast(R) CPU",
    ]


def test_a_title_says_what_a_device_is_without() -> None:
    quota = replace(IDENTITY, device_details=f"{IDENTITY.device_details}, quota 1.5")
    assert [title.removeprefix("int8, batch ") for title in titles([IDENTITY, quota])] == [
        "8, onnxruntime, Fast(R) CPU, without quota 1.5",
        "8, onnxruntime, Fast(R) CPU, quota 1.5",
    ]


def test_of_sessions_of_one_second_the_id_decides() -> None:
    twins = [make_session(0, latency) for latency in (0.1, 0.11, 0.12, 0.13)]
    orders = [
        [entry.id for entry in group(map(found, order))[0].entries]
        for order in (twins, twins[::-1])
    ]
    assert orders[0] == orders[1] == sorted(orders[0])


def test_the_interval_is_that_of_the_median_over_the_blocks() -> None:
    # Of six values the range covers the median with 1 − 2/64 ≥ 95 %.
    blocks = (1.0, 6.0, 2.0, 5.0, 3.0, 4.0)
    session = make_session(0, block_seconds=blocks, latency_seconds=3.5)
    (entry,) = series_of([session]).entries
    assert entry.interval == (1.0, 6.0)
    assert entry.fps == pytest.approx(8 / 3.5)


def test_provenance_changes_name_both_sides() -> None:
    def with_(**provenance: str) -> Session:
        return make_session(0, provenance=provenance)

    before = [with_(runtime="1", model="sha256:" + "a" * 64), with_(runtime="2", model="a" * 64)]
    after = [with_(runtime="2", driver="580")]
    assert provenance_changes(before, after) == (
        "driver none → 580",
        "model aaaaaaaa…, aaaaaaaa… → none",
        "runtime 1, 2 → 2",
    )
    assert provenance_changes(after, after) == ()
    many = [with_(commit=str(number)) for number in range(9)]
    assert provenance_changes(many, after)[0] == "commit 0, …, 8 (9 values) → none"
    assert provenance_changes(many, many[::-1]) == ()
