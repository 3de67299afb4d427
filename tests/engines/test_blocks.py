from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from facenet_validate.engines import blocks
from facenet_validate.engines.blocks import HostBlock, repetitions


@pytest.mark.parametrize(
    ("seconds", "count"), [(1.0, 1), (0.05, 1), (0.03, 2), (0.001, 64), (0.0007, 128)]
)
def test_a_block_lasts_fifty_milliseconds_and_not_much_longer(seconds: float, count: int) -> None:
    now = 0.0

    def block(repeated: int) -> None:
        nonlocal now
        now += repeated * seconds

    assert repetitions(block, lambda: now) == count


def test_the_first_run_is_not_timed() -> None:
    now = 0.0
    runs: list[int] = []

    def block(repeated: int) -> None:
        nonlocal now
        now += 10.0 if not runs else repeated * 0.02
        runs.append(repeated)

    assert repetitions(block, lambda: now) == 4
    assert runs == [1, 1, 2, 4]


def test_a_block_of_nothing_comes_to_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "MOST_RUNS", 100)
    runs: list[int] = []
    assert repetitions(runs.append, lambda: 0.0) == 100
    assert runs == [1, 1, 2, 4, 8, 16, 32, 64, 100]


def test_a_block_on_the_host_leaves_what_its_last_run_gave() -> None:
    given = iter(range(100))
    engine: Any = SimpleNamespace(run=lambda batch: np.full((len(batch), 2), next(given)))
    block = HostBlock(engine, np.zeros((3, 1), np.float32))
    outputs = block.outputs()
    assert outputs.left() == ()
    block(4)
    (left,) = outputs.left()
    np.testing.assert_array_equal(left, np.full((3, 2), 3))
    np.testing.assert_array_equal(outputs.untimed(), np.full((3, 2), 4))
    outputs.spoil()
    assert outputs.left() == ()


def test_a_block_on_the_host_that_fails_leaves_nothing() -> None:
    def run(_: object) -> object:
        return next(answers)()

    answers: Any = iter([lambda: np.ones((1, 2)), lambda: 1 / 0])
    engine: Any = SimpleNamespace(run=run)
    block = HostBlock(engine, np.zeros((1, 1), np.float32))
    block(1)
    assert len(block.outputs().left()) == 1
    with pytest.raises(ZeroDivisionError):
        block(1)
    assert block.outputs().left() == ()
