"""Pieces of a work, done by threads."""

from __future__ import annotations

import subprocess
import sys
import threading
from threading import Barrier, Event

import pytest
from threadpoolctl import threadpool_info

from facenet_validate.base.workers import Threads
from tests.waiting import HANG


def blas_threads() -> list[int]:
    return [one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"]


@pytest.mark.parametrize("count", [1, 2, 5])
def test_every_piece_is_done_once(count: int) -> None:
    found = sorted(Threads(count)(lambda piece: piece * piece, range(20)))
    assert found == [(piece, piece * piece) for piece in range(20)]
    assert list(Threads(count)(len, [])) == []


def test_threads_work_at_the_same_time_and_multiply_with_one_each() -> None:
    before, both = blas_threads(), Barrier(2, timeout=HANG)

    def work(piece: int) -> list[int]:
        both.wait()
        return blas_threads()

    assert [found for _, found in Threads(2)(work, range(2))] == [[1] * len(before)] * 2
    assert blas_threads() == before


@pytest.mark.parametrize("count", [1, 2])
def test_what_fails_is_raised_and_the_rest_is_left(count: int) -> None:
    begun, raised = [], Event()

    def work(piece: int) -> int:
        begun.append(piece)
        if piece == 1:
            raise ZeroDivisionError("piece 1")
        if piece > 1:
            raised.wait(HANG)
        return piece

    with pytest.raises(ZeroDivisionError, match="piece 1"):
        list(Threads(count)(work, range(1000)))
    raised.set()
    assert len(begun) <= 4


def test_results_do_not_pile_up_where_nobody_takes_them() -> None:
    begun: list[int] = []
    for taken, _ in enumerate(Threads(2)(begun.append, range(1000)), start=1):
        assert len(begun) <= taken + 4
    assert len(begun) == 1000


def test_no_more_threads_than_pieces() -> None:
    before, alive = threading.active_count(), []
    both = Barrier(2, timeout=HANG)

    def work(piece: int) -> None:
        both.wait()
        alive.append(threading.active_count() - before)
        both.wait()

    list(Threads(1000)(work, range(2)))
    assert max(alive) <= 2
    assert list(Threads(1000)(work, [])) == []


def test_a_command_that_is_stopped_does_not_wait_for_its_threads() -> None:
    code = (
        "from threading import Event\n"
        "from facenet_validate.base.workers import Threads\n"
        "def work(piece):\n"
        "    if piece: Event().wait(3600)\n"
        "try:\n"
        "    for _ in Threads(2)(work, range(4)): raise KeyboardInterrupt\n"
        "except KeyboardInterrupt: print('stopped')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=HANG
    )
    assert done.stdout == "stopped\n"
