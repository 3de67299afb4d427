from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from facenet_validate.base.progress import silent
from facenet_validate.benchmarking.measure import Measurement
from facenet_validate.benchmarking.paired_ratio import PairedRatio, slow_down
from facenet_validate.benchmarking.self_check import self_check
from facenet_validate.engines.blocks import calibrated
from facenet_validate.engines.protocol import Outputs, Work
from facenet_validate.gates.verdicts import GateResult, Verdict
from tests.moved_clock import RIGHT


class Clock:
    """Advances by what the works say they take."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def work(self, seconds: float | Callable[[], float], images: int = 64, batch: int = 64) -> Work:
        """Blocks that take so long each; where they are calibrated anew, in proportion."""
        whole = images // batch

        def block(count: int) -> None:
            self.now += (seconds() if callable(seconds) else seconds) * count / whole

        return Work(block, whole, batch, "device", RIGHT)


class FakeWatch:
    """Has a fake clock, and says of given times that they were disturbed."""

    def __init__(self, clock: Clock, *spans: tuple[float, float]) -> None:
        self.clock = clock
        self.spans = spans

    def disturbance(self, begin: float, end: float) -> str:
        hit = any(begin < late and early < end for early, late in self.spans)
        return "others took 40 % of the processors" if hit else ""

    def values(self) -> dict[str, Any]:
        return {"samples": 3}


class Benchmark:
    """pytest-benchmark's fixture, as far as it is used."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.stats = SimpleNamespace(stats=SimpleNamespace(data=[]))

    def pedantic(
        self, target: Callable[[], None], rounds: int, setup: Callable[[], None] = lambda: None
    ) -> None:
        for _ in range(rounds):
            setup()
            before = self._clock.now
            target()
            self.stats.stats.data.append(self._clock.now - before)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def no_judge(_: PairedRatio) -> None:
    return None


def judge(ratio: PairedRatio) -> GateResult:
    return slow_down(ratio, gate="performance.against", limit=1.03)


def in_turn(*works: Work) -> Callable[[], AbstractContextManager[Work]]:
    loads = itertools.cycle(works)
    return lambda: nullcontext(next(loads))


def noisy(seed: int, seconds: float, sd: float) -> Callable[[], float]:
    random = np.random.default_rng(seed)
    return lambda: seconds * float(np.exp(random.normal(0.0, sd)))


def test_a_block_of_several_batches_is_stored_as_seconds_a_batch(clock: Clock) -> None:
    benchmark = Benchmark(clock)
    measurement = Measurement(clock.work(0.5, images=640), None, FakeWatch(clock))
    measurement.through(benchmark)
    assert measurement.until_decided(no_judge) is None
    timed = measurement.timed()
    assert list(timed.block_seconds) == pytest.approx([0.05] * 48)
    assert benchmark.stats.stats.data == pytest.approx([0.05] * 48)
    assert timed.fps == pytest.approx(1280)
    assert timed.latency_seconds == pytest.approx(0.05)
    assert timed.ratio is None
    assert timed.values()["scope"] == "device"
    assert timed.values()["surroundings"] == {"samples": 3}


def test_the_ratio_is_of_images_however_long_the_blocks_are(clock: Clock) -> None:
    """An engine of 2,000 images/s in blocks of ten batches, FP32 of 1,000 in blocks of two."""
    fast = clock.work(0.32, images=640)
    slow = clock.work(0.128, images=128)
    measurement = Measurement(fast, slow, FakeWatch(clock))
    measurement.through(Benchmark(clock))
    assert measurement.until_decided(no_judge) is None
    timed = measurement.timed()
    assert timed.ratio is not None
    assert timed.ratio.ratio == pytest.approx(2.0)
    assert timed.fps == pytest.approx(2000)


def test_looks_go_on_until_the_verdict_is_in(clock: Clock) -> None:
    told: list[tuple[int, int]] = []
    # 2 % slower on average: neither below 3 % for certain nor above.
    a, b = clock.work(noisy(1, 1.02, 0.02)), clock.work(noisy(2, 1.0, 0.02))
    measurement = Measurement(a, b, FakeWatch(clock), lambda *counts: told.append(counts))
    benchmark = Benchmark(clock)
    measurement.through(benchmark)
    verdict = measurement.until_decided(judge)
    ratio = measurement.ratio()
    assert verdict is not None
    assert ratio is not None
    assert ratio.quads in (24, 48, 96)
    assert (12, 12) in told
    assert (24, 24) in told
    assert len(benchmark.stats.stats.data) == 2 * ratio.quads
    assert verdict.verdict is not Verdict.INCONCLUSIVE or ratio.quads == 96


def test_a_clear_case_takes_the_first_look_alone(clock: Clock) -> None:
    a, b = clock.work(noisy(1, 1.06, 0.003)), clock.work(noisy(2, 1.0, 0.003))
    measurement = Measurement(a, b, FakeWatch(clock))
    verdict = measurement.until_decided(judge)
    assert verdict is not None
    assert verdict.verdict is Verdict.FAIL
    assert measurement.timed().ratio.quads == 12  # type: ignore[union-attr]


def test_measuring_again_pools_the_blocks(clock: Clock) -> None:
    durations = iter([1.0] * 48 + [3.0] * 48)
    measurement = Measurement(clock.work(lambda: next(durations)), None, FakeWatch(clock))
    benchmark = Benchmark(clock)
    measurement.through(benchmark)
    assert measurement.timed().latency_seconds == 1.0
    measurement.again()
    assert measurement.timed().latency_seconds == 2.0
    assert len(measurement.timed().block_seconds) == 96
    assert len(benchmark.stats.stats.data) == 96


def test_disturbed_quads_are_neither_in_the_ratio_nor_in_the_statistic(clock: Clock) -> None:
    """The second quad takes ten times as long, in A alone, while others are busy."""
    a = clock.work(lambda: 10.0 if 4.0 <= clock.now < 5.0 else 1.0)
    benchmark = Benchmark(clock)
    measurement = Measurement(a, clock.work(1.0), FakeWatch(clock, (4.5, 5.0)))
    measurement.through(benchmark)
    verdict = measurement.until_decided(judge)
    timed = measurement.timed()
    assert timed.dropped == ("others took 40 % of the processors",)
    assert timed.disturbance == ""
    assert set(timed.block_seconds) == set(benchmark.stats.stats.data) == {1.0}
    assert verdict is not None
    assert verdict.verdict is Verdict.PASS
    assert timed.values()["measured_again"] == ["others took 40 % of the processors"]


def test_a_disturbance_that_stays_is_inconclusive_with_its_reason(clock: Clock) -> None:
    a, b = clock.work(1.06), clock.work(1.0)
    measurement = Measurement(a, b, FakeWatch(clock, (0.0, 1e9)))
    measurement.through(Benchmark(clock))
    verdict = measurement.until_decided(judge)
    assert verdict is not None
    assert verdict.verdict is Verdict.INCONCLUSIVE
    assert verdict.detail.startswith(
        "disturbed 3 times in a row: others took 40 % of the processors; +6.0 % latency"
    )
    before = clock.now
    measurement.again()
    assert clock.now == before
    stays = GateResult("g", Verdict.NOT_EVALUATED, None, 1.03)
    assert measurement.unless_disturbed(stays) is stays


def test_an_engine_beside_itself_is_not_slower(clock: Clock) -> None:
    loaded: list[Work] = []

    def load() -> AbstractContextManager[Work]:
        loaded.append(clock.work(noisy(len(loaded), 1.0, 0.01)))
        return nullcontext(loaded[-1])

    told: list[tuple[int, int]] = []
    found = self_check(
        20,
        load,
        FakeWatch(clock),
        lambda *counts: told.append(counts),
        limit=1.03,
        alpha=0.01,
    )
    assert len(loaded) == 2 * len(found.results) == 40
    assert told == [(number, 20) for number in range(21)]
    assert found.false_failures == 0
    # 1 − 0.05^(1/20)
    assert found.bound == pytest.approx(0.1391, abs=1e-4)
    gate = found.gate("performance.self_check", 1.03)
    assert gate.verdict is Verdict.PASS
    assert gate.detail.startswith("20 comparisons with itself: 0 false failures (their rate is")
    assert found.values()["comparisons"] == 20


def test_a_machine_that_takes_an_engine_for_a_slower_one_fails(clock: Clock) -> None:
    load = in_turn(clock.work(1.05), clock.work(1.0))
    found = self_check(3, load, FakeWatch(clock), silent, limit=1.03, alpha=0.01)
    assert found.false_failures == 3
    assert found.bound == 1.0
    assert found.gate("performance.self_check", 1.03).verdict is Verdict.FAIL


def test_disturbed_comparisons_count_for_nothing(clock: Clock) -> None:
    load = in_turn(clock.work(1.0))
    # Each takes 16 s to warm up and fit its blocks; three disturbed quads of 4 s end it.
    found = self_check(3, load, FakeWatch(clock, (0.0, 55.0)), silent, limit=1.03, alpha=0.01)
    assert (len(found.results), found.disturbed) == (1, 2)
    assert found.bound == pytest.approx(0.95)
    gate = found.gate("performance.self_check", 1.03)
    assert gate.verdict is Verdict.INCONCLUSIVE
    assert gate.detail.endswith("2 disturbed, not counted")
    none = self_check(2, load, FakeWatch(clock, (0.0, 1e9)), silent, limit=1.03, alpha=0.01)
    assert none.gate("performance.self_check", 1.03).verdict is Verdict.INCONCLUSIVE
    assert none.bound == 1.0


def test_a_measurement_tells_of_its_second_half_alone(clock: Clock) -> None:
    durations = iter([1.1] * 24 + [1.0] * 24)
    a, b = clock.work(lambda: next(durations)), clock.work(1.0)
    measurement = Measurement(a, b, FakeWatch(clock))
    measurement.through(Benchmark(clock))
    since = measurement.again()
    assert since == 12
    whole, second = measurement.timed(), measurement.timed(since)
    assert whole.latency_seconds == pytest.approx(1.05)
    assert second.latency_seconds == 1.0
    assert len(second.block_seconds) == 24
    assert second.ratio is not None
    assert second.ratio.ratio == 1.0
    assert measurement.ratio(24) is None


def test_blocks_are_fitted_to_what_an_engine_takes_once_it_is_warm(clock: Clock) -> None:
    """A GPU's clock rises in the first 400 ms: what took 5 ms then takes 2 ms later."""

    def of(factor: float) -> Work:
        def block(count: int) -> None:
            clock.now += count * factor * (0.005 if clock.now < 0.4 else 0.002)

        return calibrated(Work(block, 1, 64, "device", RIGHT), clock)

    a, b = of(1.0), of(2.0)
    assert (a.count, b.count) == (16, 8)
    measurement = Measurement(a, b, FakeWatch(clock))
    measurement.warm_up()
    measurement.through(Benchmark(clock))
    timed = measurement.timed()
    assert timed.ratio is not None
    assert timed.ratio.ratio == pytest.approx(2.0)
    # Seconds a batch are what they are; the blocks behind them last 32 × 2 and 16 × 4 ms.
    assert list(timed.block_seconds) == pytest.approx([0.002] * 24)
    begin = clock.now
    measurement.again()
    assert clock.now - begin == pytest.approx(12 * 4 * 0.064)


def test_block_times_that_do_not_settle_are_told(
    clock: Clock,
) -> None:
    jumping = itertools.cycle([1.0, 1.0, 1.0, 2.0, 2.0, 2.0])
    steady = clock.work(1.0)
    settled = Measurement(steady, steady, FakeWatch(clock))
    settled.warm_up()
    settled.through(Benchmark(clock))
    assert not settled.timed().unsettled
    measurement = Measurement(steady, clock.work(lambda: next(jumping)), FakeWatch(clock))
    measurement.warm_up()
    measurement.through(Benchmark(clock))
    assert measurement.timed().unsettled


class Left:
    """What blocks leave, and how often somebody looked or spoilt it."""

    def __init__(self, right: bool = True) -> None:
        self.now = np.zeros((2, 3), np.float32)
        self.right = right
        self.calls = ""

    def block(self, work: Work) -> Work:
        def block(count: int) -> None:
            work.block(count)
            self.calls += "."
            if self.right:
                self.now = np.ones((2, 3), np.float32)

        return replace(work, block=block, outputs=Outputs(self.untimed, self.spoil, self.left))

    def untimed(self) -> NDArray[np.float32]:
        self.calls += "untimed"
        return np.ones((2, 3), np.float32)

    def spoil(self) -> None:
        self.calls += "spoil"
        self.now = np.full((2, 3), np.nan, np.float32)

    def left(self) -> tuple[NDArray[np.float32], ...]:
        self.calls += "left"
        return (self.now,)


def test_embeddings_are_looked_at_after_each_quad_and_overwritten_before(clock: Clock) -> None:
    one, other = Left(), Left()
    measurement = Measurement(
        one.block(clock.work(1.0)), other.block(clock.work(1.0)), FakeWatch(clock)
    )
    assert one.calls == other.calls == "untimed"
    measurement.through(Benchmark(clock))
    assert one.calls == "untimed" + "left".join(["spoil.."] * 12)
    assert measurement.outputs_moved == (0.0, 12)
    assert one.calls == other.calls == "untimed" + "spoil..left" * 12
    assert measurement.outputs_moved == (0.0, 12)


@pytest.mark.parametrize("beside", [True, False])
def test_blocks_that_compute_nothing_are_told_of_either_engine(clock: Clock, beside: bool) -> None:
    one, other = (Left(right).block(clock.work(1.0)) for right in (beside, not beside))
    measurement = Measurement(one, other, FakeWatch(clock))
    measurement.through(Benchmark(clock))
    moved, looks = measurement.outputs_moved
    assert (np.isnan(moved), looks) == (True, 12)


def test_one_quad_that_computed_something_else_is_told(clock: Clock) -> None:
    left = Left()
    measurement = Measurement(left.block(clock.work(1.0)), None, FakeWatch(clock))
    measurement.through(Benchmark(clock))
    left.right, left.now = False, np.zeros((2, 3), np.float32)
    moved, looks = measurement.outputs_moved
    assert moved == pytest.approx(3**0.5)
    assert looks == 12


def test_blocks_that_leave_no_embeddings_are_told(clock: Clock) -> None:
    none = replace(RIGHT, left=tuple)
    measurement = Measurement(replace(clock.work(1.0), outputs=none), None, FakeWatch(clock))
    measurement.through(Benchmark(clock))
    assert np.isnan(measurement.outputs_moved[0])


def test_an_engine_beside_itself_tells_of_its_blocks_too(clock: Clock) -> None:
    load = in_turn(clock.work(1.0), Left(right=False).block(clock.work(1.0)))
    found = self_check(2, load, FakeWatch(clock), silent, limit=1.03, alpha=0.01)
    moved, looks = found.outputs_moved
    assert (np.isnan(moved), looks) == (True, 24)
