from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from facenet_validate.benchmarking.baselines import BaselineStore
from facenet_validate.benchmarking.recording import Measured, Recorded, record
from facenet_validate.benchmarking.sessions import Session

Make = Callable[..., Session]


@pytest.fixture
def store(tmp_path: Path) -> BaselineStore:
    return BaselineStore(tmp_path)


def recorded(
    store: BaselineStore, session: Session, mode: str, *, refusal: str = "", disturbance: str = ""
) -> Recorded:
    (found,) = record(
        [Measured(session, disturbance)],
        store,
        mode=mode,
        reason="a new driver" if mode == "accept" else "",
        refusals={session.identity.precision: refusal},
    )
    return found


def test_missing_records_until_there_are_five(store: BaselineStore, make_session: Make) -> None:
    for number in range(5):
        found = recorded(store, make_session(number, epoch=1), "missing")
        assert found.text.startswith("recorded in ")
    found = recorded(store, make_session(5, epoch=1), "missing")
    assert found.text == "not recorded: 5 sessions are stored, which are enough"
    assert not found.failed
    assert len(store.load(make_session(0).identity)) == 5


def test_all_goes_on_and_accept_begins_an_epoch(store: BaselineStore, make_session: Make) -> None:
    for number in range(6):
        recorded(store, make_session(number), "all")
    found = recorded(store, make_session(6), "accept")
    assert found.text.startswith("epoch 2 begins; recorded in ")
    recorded(store, make_session(7), "missing")
    sessions = store.load(make_session(0).identity)
    assert [session.epoch for session in sessions] == [1] * 6 + [2] * 2
    assert sessions[6].reason == "a new driver"


def test_the_first_accepted_session_begins_no_second_epoch(
    store: BaselineStore, make_session: Make
) -> None:
    assert recorded(store, make_session(0), "accept").text.startswith("recorded in ")
    (session,) = store.load(make_session(0).identity)
    assert session.epoch == 1


def test_what_speaks_against_it_is_named_and_nothing_is_stored(
    store: BaselineStore, make_session: Make
) -> None:
    found = recorded(store, make_session(0), "all", refusal="this engine fails parity.cosine_min")
    assert found.text == "not recorded: this engine fails parity.cosine_min"
    found = recorded(store, make_session(0), "all", disturbance="hardware thermal slowdown")
    assert found.text == "not recorded: disturbed: hardware thermal slowdown"
    assert not list(store.root.iterdir())


def test_a_file_that_cannot_be_read_is_left_as_it_is(
    store: BaselineStore, make_session: Make
) -> None:
    session = make_session(0)
    path = store.path_for(session.identity)
    path.parent.mkdir()
    path.write_text("<<<<<<< HEAD\n")
    found = recorded(store, session, "all")
    assert found.failed
    assert "this is a merge conflict" in found.text
    assert path.read_text() == "<<<<<<< HEAD\n"
