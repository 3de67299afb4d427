from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facenet_validate.base.errors import BaselineError
from facenet_validate.benchmarking.sessions import (
    SCHEMA,
    Identity,
    Session,
    from_line,
    newest_epoch,
    to_line,
    utc_now,
)

seconds = st.floats(min_value=1e-9, max_value=1e9)
identities = st.builds(
    Identity,
    device=st.text(),
    device_details=st.text(),
    precision=st.sampled_from(["fp32", "fp16", "int8"]),
    target=st.text(),
    batch=st.integers(1, 4096),
    shape=st.lists(st.integers(1, 512), max_size=4).map(tuple),
    backend=st.sampled_from(["onnxruntime", "tensorrt-rtx"]),
    scope=st.text(),
    protocol=st.integers(0, 9),
)
sessions = st.builds(
    Session,
    recorded_at=st.datetimes(datetime(1970, 1, 1), datetime(9000, 12, 31)).map(
        lambda moment: f"{moment.isoformat()}+00:00"
    ),
    identity=identities,
    provenance=st.dictionaries(st.text(), st.text(), max_size=4),
    epoch=st.integers(0, 99),
    reason=st.text(),
    latency_seconds=seconds,
    block_seconds=st.lists(seconds, min_size=6, max_size=9).map(tuple),
    paired_ratio=st.none() | seconds,
    paired_interval=st.none() | st.tuples(seconds, seconds),
)


@given(sessions)
def test_a_session_survives_its_line_bit_for_bit(session: Session) -> None:
    line = to_line(session)
    assert "\n" not in line
    assert from_line(line) == session
    assert to_line(from_line(line)) == line


def test_a_line_has_sorted_keys_and_exact_floats(make_session: Callable[..., Session]) -> None:
    line = to_line(make_session(latency_seconds=0.1 + 0.2))
    keys = list(json.loads(line))
    assert keys == sorted(keys)
    assert '"latency_seconds": 0.30000000000000004' in line


def test_provenance_is_the_sessions_own(make_session: Callable[..., Session]) -> None:
    provenance = {"commit": "1"}
    session = make_session(provenance=provenance)
    provenance["commit"] = "2"
    assert session.provenance == {"commit": "1"}
    assert len({session, make_session(provenance=provenance)}) == 2


@pytest.mark.parametrize("bad", [math.nan, math.inf, 0.0, -1.0, 9e-10, 1.1e9, 5e-324])
@pytest.mark.parametrize(
    ("field", "wrap"),
    [
        ("latency_seconds", lambda x: x),
        ("block_seconds", lambda x: (*[1.0] * 5, x)),
        ("paired_ratio", lambda x: x),
        ("paired_interval", lambda x: (1.0, x)),
    ],
)
def test_numbers_are_such_as_machines_reach(
    make_session: Callable[..., Session], field: str, wrap: Callable[[float], Any], bad: float
) -> None:
    with pytest.raises(BaselineError, match=f"{field} holds .*; expected numbers from 1e-09"):
        make_session(**{field: wrap(bad)})


def test_fewer_blocks_than_a_speed_needs_are_refused(make_session: Callable[..., Session]) -> None:
    with pytest.raises(BaselineError, match="block_seconds holds 5; expected 6 or more"):
        make_session(block_seconds=(1.0,) * 5)


@pytest.mark.parametrize(
    "moment", ["yesterday", "2026-01-01T00:00:00", "2026-01-01T00:00:00+02:00", "2026-01-01"]
)
def test_times_are_utc(make_session: Callable[..., Session], moment: str) -> None:
    with pytest.raises(BaselineError, match="expected a UTC time such as 20"):
        make_session(recorded_at=moment)


@pytest.mark.parametrize("year", ["1969", "9001", "0001", "9999"])
def test_years_are_such_as_a_picture_can_hold(
    make_session: Callable[..., Session], year: str
) -> None:
    with pytest.raises(BaselineError, match="expected a year from 1970 to 9000"):
        make_session(recorded_at=f"{year}-01-01T00:00:00+00:00")


@pytest.mark.parametrize("number", [-1, 10**6 + 1, 10**400])
def test_epochs_and_batches_are_counts(
    make_session: Callable[..., Session], identity: Identity, number: int
) -> None:
    with pytest.raises(BaselineError, match=r"epoch is -?1.*; expected 0 to 1000000"):
        make_session(epoch=number)
    with pytest.raises(BaselineError, match=r"batch is -?1.*; expected 1 to 1000000"):
        make_session(identity=replace(identity, batch=number))
    with pytest.raises(BaselineError, match="batch is 0"):
        make_session(identity=replace(identity, batch=0))


def test_now_is_a_time_of_recording(make_session: Callable[..., Session]) -> None:
    assert make_session(recorded_at=utc_now()).recorded().year >= 2025


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": SCHEMA + 1}, "its schema is 2.*upgrade facenet-validate"),
        (
            {"schema": 0},
            "its schema is 0, this version writes and reads 1; record its sessions again",
        ),
        ({"schema": True}, "has the wrong kind of schema"),
        ({"schema": "1"}, "no schema number"),
        ({"surprise": 1}, "session has unknown surprise"),
        ({"identity": []}, "wrong kind of identity"),
        ({"identity": {}}, "identity lacks backend, batch"),
        ({"epoch": True}, "wrong kind of epoch"),
        ({"epoch": 1.0}, "wrong kind of epoch"),
        ({"provenance": {"a": 1}}, "wrong kind of provenance"),
        ({"latency_seconds": "1"}, "wrong kind of latency_seconds"),
        ({"latency_seconds": 10**400}, "wrong kind of latency_seconds"),
        ({"paired_interval": [1.0]}, "wrong kind of paired_interval"),
        ({"block_seconds": [1.0, None]}, "wrong kind of block_seconds"),
    ],
)
def test_a_malformed_session_is_refused_with_what_is_wrong(
    make_session: Callable[..., Session], change: dict[str, object], message: str
) -> None:
    found = json.loads(to_line(make_session())) | change
    with pytest.raises(BaselineError, match=message):
        from_line(json.dumps(found))


@pytest.mark.parametrize("line", ["", "{", "[]", "1", "nonsense", "[" * 100_000])
def test_what_is_no_session_is_refused(line: str) -> None:
    with pytest.raises(BaselineError, match=r"not a line of JSON|not a session"):
        from_line(line)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_json_lacks_are_refused(
    make_session: Callable[..., Session], number: str
) -> None:
    line = to_line(make_session()).replace('"latency_seconds": 1.0', f'"latency_seconds": {number}')
    with pytest.raises(BaselineError, match=r"is not a number|wrong kind"):
        from_line(line)


def test_differences_name_the_field_and_both_values(identity: Identity) -> None:
    other = replace(identity, batch=8, target="cpu-vnni")
    assert identity.differences(other) == ("target: cpu → cpu-vnni", "batch: 64 → 8")
    assert identity.differences(identity) == ()


def test_of_the_device_only_the_parts_that_differ_are_named(identity: Identity) -> None:
    other = replace(identity, device_details=f"{identity.device_details}, quota 1.5")
    assert identity.differences(other) == ("device_details: none → quota 1.5",)


def test_newest_epoch_is_the_highest(make_session: Callable[..., Session]) -> None:
    stored = [make_session(minute, epoch=epoch) for minute, epoch in enumerate([0, 2, 1, 2])]
    assert newest_epoch(stored) == (stored[1], stored[3])
    assert newest_epoch([]) == ()
