from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from facenet_validate.benchmarking import timing
from facenet_validate.benchmarking.machine import cpu_identity
from facenet_validate.benchmarking.measure import time_alone, time_beside
from facenet_validate.benchmarking.surroundings import Surroundings
from facenet_validate.engines.protocol import Work


class Clock:
    """Advances by what the works say they take."""

    def __init__(self) -> None:
        self.now = 0.0

    def work(self, seconds: float, images: int, batch: int) -> Work:
        def run() -> None:
            self.now += seconds

        return Work(run, images, batch, "device")


class Benchmark:
    """pytest-benchmark's fixture, as far as it is used."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.stats = SimpleNamespace(stats=SimpleNamespace(data=[]), update=lambda _: None)

    def pedantic(
        self, target: Callable[[], None], rounds: int, setup: Callable[[], None] = lambda: None
    ) -> None:
        for _ in range(rounds):
            setup()
            before = self._clock.now
            target()
            self.stats.stats.data.append(self._clock.now - before)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()

    def now() -> float:
        return made.now

    monkeypatch.setattr("facenet_validate.benchmarking.timing.time_block.__defaults__", (now,))
    monkeypatch.setattr(
        "facenet_validate.benchmarking.timing.AbbaTimer.__init__.__defaults__", (now,)
    )
    monkeypatch.setattr(
        "facenet_validate.benchmarking.timing.warm_up.__kwdefaults__",
        {**(timing.warm_up.__kwdefaults__ or {}), "clock": now},
    )
    return made


def _beside(clock: Clock, work: Work, fp32: Work) -> Any:
    return time_beside(
        Benchmark(clock),
        work,
        fp32,
        Surroundings(cpu_identity()),
        lambda _: None,
        lambda _done, _total: None,
    )


def test_a_block_of_several_batches_is_stored_as_seconds_a_batch(clock: Clock) -> None:
    timed = time_alone(
        Benchmark(clock), clock.work(0.5, images=640, batch=64), Surroundings(cpu_identity())
    )
    assert list(timed.timings.seconds) == pytest.approx([0.05] * 24)
    assert timed.speed.fps == pytest.approx(1280)
    assert timed.speed.p50_ms == pytest.approx(50)
    assert timed.values()["scope"] == "device"


def test_the_ratio_is_of_images_however_long_the_blocks_are(clock: Clock) -> None:
    """An engine of 2,000 images/s in blocks of ten batches, FP32 of 1,000 in blocks of two."""
    fast = clock.work(0.32, images=640, batch=64)
    slow = clock.work(0.128, images=128, batch=64)
    timed = _beside(clock, fast, slow)
    assert timed.ratio.ratio == pytest.approx(2.0)
    assert timed.speed.fps == pytest.approx(2000)
