from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, repeat
from typing import Any

import numpy as np
import pytest

from facenet_validate.benchmarking.timing import MEASURED_AGAIN, QuadTimer, warm_up

pytest_plugins = ["pytester"]


def warmed(clock: Any, durations: Iterator[float], **options: float) -> tuple[int, bool]:
    found = warm_up(clock.work(lambda: next(durations)), clock=clock, **options)  # type: ignore[arg-type]
    return found.blocks, found.settled


def test_warm_up_ends_at_six_blocks_when_nothing_changes(clock: Any) -> None:
    assert warmed(clock, repeat(1.0)) == (6, True)


def test_warm_up_waits_until_block_times_settle(clock: Any) -> None:
    # Medians of three: 3.0 is within 5 % only once both windows are free of the slow start.
    assert warmed(clock, chain([9.0, 8.0, 7.0, 6.0, 5.0], repeat(3.0))) == (10, True)


def test_warm_up_waits_for_blocks_that_get_slower_too(clock: Any) -> None:
    assert warmed(clock, chain([1.0] * 3, [2.0] * 2, repeat(3.0))) == (10, True)


def test_warm_up_gives_up_at_the_maximum(clock: Any) -> None:
    jumping = chain.from_iterable(repeat([1.0, 1.0, 1.0, 2.0, 2.0, 2.0]))
    assert warmed(clock, jumping) == (20, False)
    growing = (1.2**n for n in range(100))
    assert warmed(clock, growing) == (20, False)


def test_warm_up_of_short_blocks_lasts_the_minimum_time(clock: Any) -> None:
    assert warmed(clock, repeat(2.0**-8), minimum_seconds=0.25) == (64, True)


def test_warm_up_runs_the_minimum_of_blocks(clock: Any) -> None:
    assert warmed(clock, repeat(1.0), minimum_blocks=9) == (9, True)


class Engines:
    """Two engines that record their calls; block n takes n quarter seconds."""

    def __init__(self, clock: Any) -> None:
        self.calls = ""
        self.a = clock.work(lambda: self._called("A"))
        self.b = clock.work(lambda: self._called("B"))

    def _called(self, name: str) -> float:
        self.calls += name
        return 0.25 * len(self.calls)


def test_rounds_alternate_as_abba_and_every_block_is_recorded(clock: Any) -> None:
    engines = Engines(clock)
    timer = QuadTimer(engines.a, engines.b, clock=clock)
    for _ in range(5):
        timer.before_round()
        timer.run_a()
    assert engines.calls == "ABBAABBAA"
    np.testing.assert_array_equal(timer.quads(), [[0.25, 0.5, 0.75, 1.0], [1.25, 1.5, 1.75, 2.0]])
    assert timer.a_blocks() == (0.25, 1.0, 1.25, 2.0)
    assert timer.a_blocks(since=1) == (1.25, 2.0)


def test_what_comes_between_quads_is_neither_timed_nor_watched(clock: Any) -> None:
    engines, spans = Engines(clock), list[tuple[float, float]]()

    def disturbed(begin: float, end: float) -> str:
        spans.append((begin, end))
        return ""

    def between() -> None:
        engines.calls += "|"
        clock.now += 100.0

    timer = QuadTimer(engines.a, engines.b, disturbed, clock, between)
    for _ in range(timer.rounds(1)):
        timer.before_round()
        timer.run_a()
    timer.complete(2)
    assert engines.calls == "|ABBA|ABBA"
    assert [end - begin for begin, end in spans] == [3.5, 8.5]
    assert timer.quads().max() < 100


def test_an_engine_alone_is_timed_in_fours(clock: Any) -> None:
    engines = Engines(clock)
    timer = QuadTimer(engines.a, None, clock=clock)
    for _ in range(timer.rounds(1)):
        timer.before_round()
        timer.run_a()
    timer.complete(2)
    assert engines.calls == "A" * 8
    assert timer.kept == 2
    assert timer.a_blocks() == (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)


class Disturbances:
    """Says of the n-th quad that it was disturbed, and keeps the times it was asked about."""

    def __init__(self, *quads: int) -> None:
        self.quads = quads
        self.asked: list[tuple[float, float]] = []

    def __call__(self, begin: float, end: float) -> str:
        self.asked.append((begin, end))
        return f"steal in {len(self.asked)}" if len(self.asked) in self.quads else ""


def test_a_disturbed_quad_is_measured_again(clock: Any) -> None:
    disturbed = Disturbances(2, 3)
    timer = QuadTimer(clock.work(lambda: 1.0), clock.work(lambda: 2.0), disturbed, clock)
    begin = clock.now
    timer.complete(3)
    assert timer.kept == 3
    assert timer.dropped == ["steal in 2", "steal in 3"]
    assert timer.disturbance == ""
    assert disturbed.asked == [(begin + 6.0 * n, begin + 6.0 * (n + 1)) for n in range(5)]


def test_a_quad_that_stays_disturbed_ends_the_measurement(clock: Any) -> None:
    timer = QuadTimer(clock.work(lambda: 1.0), None, Disturbances(2, 3, 4), clock)
    timer.complete(9)
    assert MEASURED_AGAIN == 2
    assert timer.dropped == ["steal in 2", "steal in 3"]
    assert timer.disturbance == "steal in 4"
    assert timer.kept == 2
    timer.complete(9)
    assert timer.kept == 2


def test_nothing_run_is_no_quads(clock: Any) -> None:
    timer = QuadTimer(lambda: None, lambda: None, clock=clock)
    assert timer.quads().shape == (0, 4)
    assert timer.quads().dtype == np.float64
    assert timer.a_blocks() == ()


def test_later_looks_continue_with_a_new_quad(clock: Any) -> None:
    engines = Engines(clock)
    timer = QuadTimer(engines.a, engines.b, clock=clock)
    for _ in range(3):
        timer.before_round()
        timer.run_a()
    timer.complete(3)
    assert engines.calls == "ABBA" + "A" + "ABBA" * 2
    assert timer.quads().shape == (3, 4)
    timer.complete(3)
    assert len(engines.calls) == 13


def test_blocks_without_a_round_run_but_are_not_recorded(clock: Any) -> None:
    engines = Engines(clock)
    timer = QuadTimer(engines.a, engines.b, clock=clock)
    timer.complete(1)
    timer.run_a()
    assert engines.calls == "ABBAA"
    assert len(timer.a_blocks()) == 2


def test_two_rounds_begun_at_once_are_refused() -> None:
    timer = QuadTimer(lambda: None, lambda: None)
    timer.before_round()
    with pytest.raises(RuntimeError, match="run_a"):
        timer.before_round()


def test_a_failing_engine_leaves_no_half_quad(clock: Any) -> None:
    def fail() -> None:
        raise OSError("device lost")

    timer = QuadTimer(lambda: None, fail, clock=clock)
    with pytest.raises(OSError, match="device lost"):
        timer.complete(1)
    assert timer.quads().shape == (0, 4)


INNER = """
from itertools import count

from facenet_validate.benchmarking.timing import QuadTimer

def test_speed(benchmark):
    calls = []
    tick = count().__next__  # a clock that goes on by one whenever it is read
    timer = QuadTimer(lambda: calls.append("A"), lambda: calls.append("B"), clock=tick)
    benchmark.pedantic(timer.run_a, setup=timer.before_round, rounds=ROUNDS)
    assert "".join(calls) == EXPECTED, calls
    assert timer.quads().tolist() == [[1] * 4] * QUADS
    if QUADS:
        # pytest-benchmark times A only.
        assert len(benchmark.stats.stats.data) == len(timer.a_blocks()) == ROUNDS
"""


@pytest.mark.parametrize(
    ("options", "rounds", "expected", "quads"),
    [
        ((), 6, "ABBA" * 3, 3),
        (("--benchmark-disable-gc",), 6, "ABBA" * 3, 3),
        # Without timing pytest-benchmark runs a single round: no quad, and no error.
        (("--benchmark-disable",), 6, "A", 0),
        # It profiles one more round: a block of A that belongs to no quad.
        (("--benchmark-cprofile=tottime",), 6, None, 3),
    ],
)
def test_pedantic_mode_yields_quads(
    pytester: pytest.Pytester,
    options: tuple[str, ...],
    rounds: int,
    expected: str | None,
    quads: int,
) -> None:
    source = INNER.replace("ROUNDS", str(rounds)).replace("QUADS", str(quads))
    if expected is None:
        expected = "ABBA" * 3 + "A"
    pytester.makepyfile(source.replace("EXPECTED", repr(expected)))
    pytester.runpytest_inprocess(*options).assert_outcomes(passed=1)


def test_pedantic_mode_of_this_very_run(benchmark: Any) -> None:
    """The fixture as users meet it, whatever options this run of the suite has."""
    calls: list[str] = []
    timer = QuadTimer(lambda: calls.append("A"), lambda: calls.append("B"))
    benchmark.pedantic(timer.run_a, setup=timer.before_round, rounds=4)
    timer.complete(3)
    assert len(timer.quads()) == 3
    assert "".join(calls).endswith("ABBA")
