"""Times an engine through pytest-benchmark, alone or beside another one."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from facenet_validate.base.progress import Report, silent
from facenet_validate.benchmarking.paired_ratio import ALPHA, LOOKS, PairedRatio, paired_ratio
from facenet_validate.benchmarking.timed_outputs import TimedOutputs
from facenet_validate.benchmarking.timing import MEASURED_AGAIN, Clock, QuadTimer, warm_up
from facenet_validate.engines.blocks import calibrated
from facenet_validate.engines.protocol import Scope, Work
from facenet_validate.gates.verdicts import GateResult, Verdict

RatioGate: TypeAlias = Callable[[PairedRatio], GateResult | None]
"""Gives the verdict on a ratio; None if the first look is enough."""


class Watch(Protocol):
    """Watches the machine while an engine is timed, and has the clock that blocks are timed with.

    `Surroundings` is the real one. A test that moves the time passes its own.
    """

    @property
    def clock(self) -> Clock:
        """Seconds since an arbitrary start; monotonic."""
        ...

    def disturbance(self, begin: float, end: float) -> str:
        """Say what disturbed the time from `begin` to `end` of `clock`; empty if nothing did."""
        ...

    def values(self) -> dict[str, Any]:
        """Return what was seen so far, for reports."""
        ...


@dataclass(frozen=True)
class Timed:
    """One engine's blocks, and its ratio to another engine where that was measured.

    Attributes
    ----------
    batch : int
        Images in a batch.
    scope : {"device", "end-to-end"}
        What a block spans.
    block_seconds : tuple of float
        Seconds a batch of each block, in the order measured.
    ratio : PairedRatio or None
        Speed in relation to the other engine.
    dropped : tuple of str
        What disturbed each quad that was measured again.
    disturbance : str
        What disturbed a quad every time it was measured; empty if nothing did.
    unsettled : bool
        Whether block times had not settled when warming up ended.
    surroundings : mapping
        What else the machine did meanwhile, for reports.
    """

    batch: int
    scope: Scope
    block_seconds: tuple[float, ...]
    ratio: PairedRatio | None
    dropped: tuple[str, ...]
    disturbance: str
    unsettled: bool
    surroundings: Mapping[str, Any]

    @property
    def latency_seconds(self) -> float:
        """Median over the blocks of the seconds a batch takes."""
        return statistics.median(self.block_seconds)

    @property
    def fps(self) -> float:
        """Images per second: `batch` over the median block's seconds a batch."""
        return self.batch / self.latency_seconds

    def values(self) -> dict[str, Any]:
        """Return what reports print."""
        found: dict[str, Any] = {
            "batch": self.batch,
            "scope": self.scope,
            "fps": self.fps,
            "blocks": len(self.block_seconds),
            "block_seconds": list(self.block_seconds),
            "measured_again": list(self.dropped),
            "disturbance": self.disturbance,
            "unsettled": self.unsettled,
            "surroundings": dict(self.surroundings),
        }
        if self.ratio is not None:
            found |= {
                "ratio": self.ratio.ratio,
                "ratio_interval": [str(v) if np.isinf(v) else v for v in self.ratio.interval],
                "quads": self.ratio.quads,
                "log_ratios": list(self.ratio.log_ratios),
            }
        return found


class Measurement:
    """Times one engine, alone or in ABBA quads with another.

    Parameters
    ----------
    work : Work
        A block of the engine under test.
    other : Work or None
        A block of the engine it is compared with, over the same batch.
    watch : Watch
        Has the clock, and says which quads were disturbed.
    report : callable
        Called with (quads, quads of the next look).
    alpha : float
        Error probability of the gate on the ratio, over all its looks.
    """

    def __init__(
        self,
        work: Work,
        other: Work | None,
        watch: Watch,
        report: Report = silent,
        alpha: float = ALPHA,
    ) -> None:
        self._work = work
        self._other = other
        self._watch = watch
        self._report = report
        self._alpha = alpha
        self._outputs = [TimedOutputs(one) for one in (work, other) if one is not None]
        self._benchmark: Any = None
        self._unsettled = False
        self._timer = self._quad_timer()

    def warm_up(self) -> None:
        """Run both engines until their block times settle; then fit their blocks to that speed."""
        clock = self._watch.clock
        works = [work for work in (self._work, self._other) if work is not None]
        warmed = [warm_up(work.run, clock=clock) for work in works]
        self._unsettled = not all(one.settled for one in warmed)
        self._work = calibrated(self._work, clock)
        self._other = None if self._other is None else calibrated(self._other, clock)
        self._timer = self._quad_timer()

    def through(self, benchmark: Any) -> None:
        """Time the quads of the first look in pytest-benchmark's pedantic mode."""
        self._benchmark = benchmark
        timer = self._timer

        def before_round() -> None:
            timer.before_round()
            self._report(timer.kept, LOOKS[0])

        benchmark.pedantic(timer.run_a, setup=before_round, rounds=timer.rounds(LOOKS[0]))
        self._report(timer.kept, LOOKS[0])
        self._take(LOOKS[0])

    def until_decided(self, gate: RatioGate) -> GateResult | None:
        """Take quads until the verdict on the ratio is in or the looks are used up."""
        verdict = None
        for look in LOOKS:
            self._take(look)
            ratio = self.ratio()
            verdict = None if ratio is None else gate(ratio)
            undecided = verdict is not None and verdict.verdict is Verdict.INCONCLUSIVE
            if not undecided or self.disturbance:
                break
        return verdict if verdict is None else self.unless_disturbed(verdict)

    @property
    def outputs_moved(self) -> tuple[float, int]:
        """Largest L2 distance of timed blocks' embeddings to untimed ones, and in how many looks.

        Of both engines; NaN where blocks left no embeddings.
        """
        for outputs in self._outputs:
            outputs.look()
        moved = [outputs.moved for outputs in self._outputs]
        return float(np.max(moved)), min(outputs.looks for outputs in self._outputs)

    def again(self) -> int:
        """Take as many more quads as the first look has, and return how many there were before.

        The new quads are pooled with the others. `timed` and `ratio`, called with the number
        returned, tell of the new ones alone.
        """
        before = self._timer.kept
        self._take(before + LOOKS[0])
        return before

    @property
    def disturbance(self) -> str:
        """What disturbed a quad every time it was measured; empty if nothing did."""
        return self._timer.disturbance

    def unless_disturbed(self, result: GateResult) -> GateResult:
        """Return the result, made inconclusive if the measurement was disturbed."""
        reason = self.disturbance
        if not reason or result.verdict is Verdict.NOT_EVALUATED:
            return result
        times = MEASURED_AGAIN + 1
        detail = f"disturbed {times} times in a row: {reason}; {result.detail}"
        return replace(result, verdict=Verdict.INCONCLUSIVE, detail=detail)

    def ratio(self, since: int = 0) -> PairedRatio | None:
        """Return the speed in relation to the other engine, from a quad on; None without one."""
        quads = self._timer.quads()[since:]
        if self._other is None or not len(quads):
            return None
        # Blocks are as long as they need to be, so the two engines' may hold different counts.
        a, b = self._work.images, self._other.images
        return paired_ratio(quads / np.array([a, b, b, a]), self._alpha)

    def timed(self, since: int = 0) -> Timed:
        """Return what was measured so far, from a quad on."""
        return Timed(
            self._work.batch,
            self._work.scope,
            tuple(self._a_batch(self._timer.a_blocks(since)).tolist()),
            self.ratio(since),
            tuple(self._timer.dropped),
            self.disturbance,
            self._unsettled,
            self._watch.values(),
        )

    def _quad_timer(self) -> QuadTimer:
        other = None if self._other is None else self._other.run
        watch = self._watch
        return QuadTimer(self._work.run, other, watch.disturbance, watch.clock, self._between_quads)

    def _between_quads(self) -> None:
        for outputs in self._outputs:
            outputs.look()
            outputs.spoil()

    def _take(self, quads: int) -> None:
        self._timer.complete(quads, self._report)
        if self._benchmark is not None:
            # Its statistic holds what ours does: blocks kept, as seconds a batch.
            stats = self._benchmark.stats
            stats.stats.data[:] = self._a_batch(self._timer.a_blocks()).tolist()

    def _a_batch(self, blocks: tuple[float, ...]) -> NDArray[np.float64]:
        return np.array(blocks) * self._work.batch / self._work.images
