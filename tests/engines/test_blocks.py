from __future__ import annotations

import pytest

from facenet_validate.engines.blocks import repetitions


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
