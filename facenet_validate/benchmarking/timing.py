"""The block protocol: warm up, time blocks, alternate two engines.

A *block* is one synchronised piece of work over a known number of images: whoever passes ``work``
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

Work: TypeAlias = Callable[[], None]
"""One block: returns when its images are done."""

Clock: TypeAlias = Callable[[], float]
"""Seconds since an arbitrary start; monotonic."""

PROTOCOL = 1
"""Version of the timing protocol: raised whenever a change here moves the numbers."""

MINIMUM_BLOCKS = 6
"""Fewest blocks that a speed may be quoted from."""

_WINDOW = 3


@dataclass(frozen=True)
class BlockTimings:
    """The times of consecutive blocks of one engine.

    Attributes
    ----------
    seconds : tuple of float
        One duration a block, in the order measured; at least one.

    Raises
    ------
    ValueError
        If there is no block.
    """

    seconds: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.seconds:
            msg = "no block was timed"
            raise ValueError(msg)

    @property
    def median_seconds(self) -> float:
        """Median duration of a block, in seconds."""
        return median(self.seconds)

    def fps(self, batch: int) -> float:
        """Return images per second: `batch` images a block over the median block."""
        return batch / self.median_seconds

    def latency_ms(self, percentile: float) -> float:
        """Return a percentile (0 to 100, linearly interpolated) of block latency in ms."""
        return 1e3 * float(np.percentile(self.seconds, percentile))


@dataclass(frozen=True)
class TimingSummary:
    """What a report prints about one engine's blocks.

    Attributes
    ----------
    blocks : int
        Number of blocks.
    batch : int
        Images in a block.
    median_seconds : float
        Median block, in seconds.
    p50_ms, p90_ms : float
        Percentiles of block latency, in milliseconds.
    fps : float
        Images per second: `batch` over `median_seconds`.
    """

    blocks: int
    batch: int
    median_seconds: float
    p50_ms: float
    p90_ms: float
    fps: float


def summary(timings: BlockTimings, batch: int) -> TimingSummary:
    """Summarise blocks of `batch` images each."""
    return TimingSummary(
        blocks=len(timings.seconds),
        batch=batch,
        median_seconds=timings.median_seconds,
        p50_ms=timings.latency_ms(50.0),
        p90_ms=timings.latency_ms(90.0),
        fps=timings.fps(batch),
    )


def time_block(work: Work, clock: Clock = perf_counter) -> float:
    """Run one block and return the seconds it took."""
    start = clock()
    work()
    return clock() - start


def time_blocks(
    work: Work, blocks: int = MINIMUM_BLOCKS, clock: Clock = perf_counter
) -> BlockTimings:
    """Time consecutive blocks of one engine."""
    return BlockTimings(tuple(time_block(work, clock) for _ in range(blocks)))


def warm_up(
    work: Work,
    *,
    clock: Clock = perf_counter,
    settle: float = 0.05,
    minimum_blocks: int = 2 * _WINDOW,
    maximum_blocks: int = 20,
    minimum_seconds: float = 0.2,
) -> int:
    """Run untimed blocks until block times settle.

    Block times are settled when the median of the last three blocks is within `settle` of the
    median of the three before them, in either direction; so at least six blocks are needed to see
    it. Warming up ends at the first block at which `minimum_seconds` have been spent in blocks and
    either `minimum_blocks` have run and settled, or `maximum_blocks` have run. Short blocks thus
    run more than `maximum_blocks` times: 200 ms is what a GPU's clocks need to rise.

    Parameters
    ----------
    work : callable
        Runs one block.
    clock : callable
        Seconds; it must advance.
    settle : float
        Relative difference of the two medians that counts as none.
    minimum_blocks, maximum_blocks : int
        Bounds of the number of blocks.
    minimum_seconds : float
        Least time spent in blocks.

    Returns
    -------
    int
        The number of blocks run.
    """
    seconds: list[float] = []
    spent = 0.0
    while True:
        seconds.append(time_block(work, clock))
        spent += seconds[-1]
        if spent < minimum_seconds:
            continue
        settled = len(seconds) >= minimum_blocks and _settled(seconds, settle)
        if settled or len(seconds) >= maximum_blocks:
            return len(seconds)


def _settled(seconds: list[float], settle: float) -> bool:
    if len(seconds) < 2 * _WINDOW:
        return False
    before = median(seconds[-2 * _WINDOW : -_WINDOW])
    return abs(median(seconds[-_WINDOW:]) - before) <= settle * before


class AbbaTimer:
    """Turns pytest-benchmark's pedantic mode into ABBA quads.

    A pedantic round calls ``setup``, which it does not time, and then ``target``, which it does.
    Here the target is one block of engine A, and the setup alternates between nothing and two
    blocks of engine B::

        round     0      1      2      3
        setup     -     B B     -     B B
        target    A      A      A      A

    Two rounds make the quad A B B A, and pytest-benchmark's own statistic holds blocks of A alone.
    Every block is also timed here, with one clock for both engines::

        timer = AbbaTimer(int8_block, fp32_block)
        benchmark.pedantic(timer.run_a, setup=timer.before_round, rounds=2 * LOOKS[0])
        measured = paired_ratio(timer.quads())

    Warm both engines up first (`warm_up`), with ``warmup_rounds=0`` there: pytest-benchmark's own
    warm-up rounds would be counted as quads. As ``pedantic`` runs once a test, later looks call
    `complete`.

    Parameters
    ----------
    a, b : callable
        Run one block of the engine under test and of the engine it is compared with.
    clock : callable
        Seconds; `time.perf_counter` by default.
    """

    def __init__(self, a: Work, b: Work, clock: Clock = perf_counter) -> None:
        self._a = a
        self._b = b
        self._clock = clock
        self._quads: list[list[float]] = []
        self._open: list[float] = []
        self._ready = False

    @property
    def between_quads(self) -> bool:
        """Whether the next block begins a quad."""
        return not self._open

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
        if self._open:
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
            self._quads.append(self._open)
            self._open = []

    def complete(self, quads: int) -> None:
        """Run until there are `quads` complete quads; begin with a new quad."""
        self._open = []
        self._ready = False
        while len(self._quads) < quads:
            self.before_round()
            self.run_a()

    def quads(self) -> NDArray[np.float64]:
        """Return the complete quads: float64 seconds, shape (Q, 4), in the order A, B, B, A."""
        return np.array(self._quads, dtype=np.float64).reshape(-1, 4)

    @property
    def a_blocks(self) -> tuple[float, ...]:
        """Seconds of every recorded block of A, one of an unfinished quad included."""
        done = [seconds for a1, _, _, a2 in self._quads for seconds in (a1, a2)]
        return (*done, *self._open[:1])

    @property
    def b_blocks(self) -> tuple[float, ...]:
        """Seconds of the blocks of B of complete quads."""
        return tuple(seconds for _, b1, b2, _ in self._quads for seconds in (b1, b2))
