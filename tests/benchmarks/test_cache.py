"""What the cache costs beside the digest of what it hands out: `tox -e perf`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter

import pytest

from facenet_validate.base.digests import file_digest
from facenet_validate.cache import Cache

ENTRIES = 1_000
SIZE = 95_000_000
"""Bytes of an FP32 engine."""

INPUTS = {"model": "a" * 64, "recipe": {"bits": 8, "method": "percentile"}, "gpu": {"SMs": 72}}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Cache:
    cache = Cache(tmp_path_factory.mktemp("cache"))
    for number in range(ENTRIES):
        cache.get_or_build("plan", {**INPUTS, "number": number}, "engine.plan", _small)
    return cache


def _small(path: Path) -> None:
    path.write_bytes(b"plan")


def _large(path: Path) -> None:
    path.write_bytes(bytes(SIZE))


def _seconds(work: Callable[[], object]) -> float:
    start = perf_counter()
    work()
    return perf_counter() - start


def test_a_hit_beside_its_digest(cache: Cache) -> None:
    """Alternating, so that a slow moment of the machine meets both."""
    made = cache.get_or_build("plan", INPUTS, "engine.plan", _large)

    def hit() -> None:
        assert cache.get_or_build("plan", INPUTS, "engine.plan", _large).hit

    costs, digests = [], []
    for _ in range(9):
        digests.append(_seconds(lambda: file_digest(made.path)))
        costs.append(_seconds(hit) - digests[-1])
    print(
        f"\na hit among {ENTRIES} entries: {median(costs) * 1e3:.2f} ms and the digest of "
        f"{SIZE / 1e6:.0f} MB, {median(digests) * 1e3:.0f} ms"
    )
    assert median(costs) < 0.05


def test_a_miss_beside_a_first_build(cache: Cache, tmp_path: Path) -> None:
    """What it takes to name what changed, the entry's own writes left out."""
    empty = Cache(tmp_path)
    costs = []
    for number in range(9):
        inputs = {**INPUTS, "number": -1 - number}
        first = _seconds(lambda: empty.get_or_build("plan", inputs, "engine.plan", _small))  # noqa: B023
        among = _seconds(lambda: cache.get_or_build("plan", inputs, "engine.plan", _small))  # noqa: B023
        costs.append(among - first)
    print(f"\na miss among {ENTRIES} entries explains itself in {median(costs) * 1e3:.1f} ms")
    assert median(costs) < 0.25
