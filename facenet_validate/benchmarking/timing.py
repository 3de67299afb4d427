"""The block protocol: warm up, time blocks, alternate two engines.

A *block* is one synchronised piece of work over a known number of images: whoever passes a block
in sees to it that the call returns when the device has finished, not when the work was queued. The
block is the unit of evidence; nothing here averages inside one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from facenet_validate.base.progress import Report, silent

Block: TypeAlias = Callable[[], None]
"""Runs one block: returns when its images are done."""

Clock: TypeAlias = Callable[[], float]
"""Seconds since an arbitrary start; monotonic."""

PROTOCOL = 2
"""Version of the timing protocol: raised whenever a change here moves the numbers."""

MINIMUM_BLOCKS = 6
"""Fewest blocks that a speed may be quoted from."""

MEASURED_AGAIN = 2
"""How often a disturbed quad is measured again."""

_WINDOW = 3


@dataclass(frozen=True)
class WarmUp:
    """How an engine was warmed up: blocks run, and whether their times settled."""

    blocks: int
    settled: bool


def time_block(block: Block, clock: Clock = perf_counter) -> float:
    """Run one block and return the seconds it took."""
    start = clock()
    block()
    return clock() - start


def warm_up(
    block: Block,
    *,
    clock: Clock = perf_counter,
    settle: float = 0.05,
    minimum_blocks: int = 2 * _WINDOW,
    maximum_blocks: int = 20,
    minimum_seconds: float = 0.2,
) -> WarmUp:
    """Run untimed blocks until block times settle.

    Block times are settled when the median of the last three blocks is within `settle` of the
    median of the three before them, in either direction; so at least six blocks are needed to see
    it. Warming up ends at the first block at which `minimum_seconds` have been spent in blocks and
    either `minimum_blocks` have run and settled, or `maximum_blocks` have run. Short blocks thus
    run more than `maximum_blocks` times: 200 ms is what a GPU's clocks need to rise.

    Parameters
    ----------
    block : callable
        Runs one block.
    clock : callable
        Seconds; it must advance.
    settle : float
        Largest relative difference of two medians that are taken as equal.
    minimum_blocks, maximum_blocks : int
        Bounds of the number of blocks.
    minimum_seconds : float
        Least time spent in blocks.

    Returns
    -------
    WarmUp
        How many blocks were run, and whether they settled.
    """
    seconds: list[float] = []
    spent = 0.0
    while True:
        seconds.append(time_block(block, clock))
        spent += seconds[-1]
        if spent < minimum_seconds:
            continue
        settled = len(seconds) >= minimum_blocks and _settled(seconds, settle)
        if settled or len(seconds) >= maximum_blocks:
            return WarmUp(len(seconds), settled)


def _settled(seconds: list[float], settle: float) -> bool:
    if len(seconds) < 2 * _WINDOW:
        return False
    before = median(seconds[-2 * _WINDOW : -_WINDOW])
    return abs(median(seconds[-_WINDOW:]) - before) <= settle * before


class QuadTimer:
    """Turns pytest-benchmark's pedantic mode into quads of blocks, and drops disturbed quads.

    A pedantic round calls ``setup``, which it does not time, and then ``target``, which it does.
    Here the target is one block of engine A, and the setup alternates between nothing and two
    blocks of engine B::

        round     0      1      2      3
        setup     -     B B     -     B B
        target    A      A      A      A

    Two rounds make the quad A B B A, and pytest-benchmark's own statistic holds blocks of A alone.
    Without a B, four rounds make the quad A A A A. Every block is also timed here, with one clock::

        timer = QuadTimer(int8_block, fp32_block)
        benchmark.pedantic(timer.run_a, setup=timer.before_round, rounds=timer.rounds(LOOKS[0]))
        timer.complete(LOOKS[0])
        measured = paired_ratio(timer.quads())

    Warm both engines up first (`warm_up`), with ``warmup_rounds=0`` there: pytest-benchmark's own
    warm-up rounds would be counted. As ``pedantic`` runs once a test, later quads, and those that
    take the place of disturbed ones, come from `complete`.

    Parameters
    ----------
    a : callable
        Runs one block of the engine under test.
    b : callable or None
        Runs one block of the engine it is compared with.
    disturbed : callable
        Says what disturbed the time from ``begin`` to ``end`` on `clock`; empty if nothing known
        did. A disturbed quad is dropped and measured again, up to `MEASURED_AGAIN` times. If it is
        disturbed even then, it is kept, and `disturbance` says by what.
    clock : callable
        Seconds; `time.perf_counter` by default.
    between : callable
        Called before each quad; neither timed nor watched.

    Attributes
    ----------
    dropped : list of str
        What disturbed each quad that was measured again.
    disturbance : str
        What disturbed a quad every time it was measured; empty if nothing did.
    """

    def __init__(
        self,
        a: Block,
        b: Block | None,
        disturbed: Callable[[float, float], str] = lambda _begin, _end: "",
        clock: Clock = perf_counter,
        between: Callable[[], None] = lambda: None,
    ) -> None:
        self._a = a
        self._b = b
        self._disturbed = disturbed
        self._clock = clock
        self._between = between
        self._quads: list[list[float]] = []
        self._open: list[float] = []
        self._begin = 0.0
        self._ready = False
        self._in_a_row = 0
        self.dropped: list[str] = []
        self.disturbance = ""

    def rounds(self, quads: int) -> int:
        """Return how many pedantic rounds make so many quads."""
        return quads * (4 if self._b is None else 2)

    def before_round(self) -> None:
        """Run what comes between the blocks of A: in every second round, two blocks of B.

        Raises
        ------
        RuntimeError
            If the round begun before has not run its block of A.
        """
        if self._ready:
            msg = "before_round was called twice without run_a between"
            raise RuntimeError(msg)
        if not self._open:
            self._between()
            self._begin = self._clock()
        elif self._b is not None:
            self._open += [time_block(self._b, self._clock), time_block(self._b, self._clock)]
        self._ready = True

    def run_a(self) -> None:
        """Run one block of A, and record it if `before_round` began the round.

        pytest-benchmark calls its target without a setup when it repeats it under a profiler;
        such blocks run and are not recorded.
        """
        if not self._ready:
            self._a()
            return
        self._ready = False
        self._open.append(time_block(self._a, self._clock))
        if len(self._open) == 4:
            self._end_quad()

    def complete(self, quads: int, report: Report = silent) -> None:
        """Run until there are `quads` quads, or one stays disturbed; begin with a new quad."""
        self._open = []
        self._ready = False
        while self.kept < quads and not self.disturbance:
            self.before_round()
            self.run_a()
            if not self._open:
                report(self.kept, quads)

    def _end_quad(self) -> None:
        quad, self._open = self._open, []
        reason = self._disturbed(self._begin, self._clock())
        self._in_a_row = self._in_a_row + 1 if reason else 0
        if reason and self._in_a_row <= MEASURED_AGAIN:
            self.dropped.append(reason)
            return
        if reason:
            self.disturbance = self.disturbance or reason
            self._in_a_row = 0
        self._quads.append(quad)

    @property
    def kept(self) -> int:
        """How many quads were kept."""
        return len(self._quads)

    def quads(self) -> NDArray[np.float64]:
        """Return the quads kept: float64 seconds, shape (Q, 4), in the order A, B, B, A."""
        return np.array(self._quads, dtype=np.float64).reshape(-1, 4)

    def a_blocks(self, since: int = 0) -> tuple[float, ...]:
        """Return the seconds of the blocks of A in the quads kept, from a quad on."""
        columns = (0, 1, 2, 3) if self._b is None else (0, 3)
        return tuple(quad[column] for quad in self._quads[since:] for column in columns)
