"""All pairs of a large set beside the plain matrix product, in one run.

``FACENET_PAIRS_IMAGES`` sets how many images; 200000 is the size that the guide speaks of.
``FACENET_PAIRS_KEPT`` sets how many impostors are kept one by one: with 84000, 20,000 images keep
the share that 200,000 keep. Stripes are compared in a thread a processor; after six a thread the
plain product has its turn, with as many threads of its own. Rates are told by the clock, and by the
processors' time for machines that do other work too.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Iterable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from facenet_validate.base.machine import usable_processors
from facenet_validate.base.workers import Threads
from facenet_validate.metrics.large_set import large_set
from facenet_validate.metrics.limits import MOST_KEPT, Limits, Pilot
from facenet_validate.metrics.partials import Partial
from facenet_validate.metrics.rows import ArrayRows, Comparisons
from facenet_validate.metrics.stripes import stripe, stripes_of

_IMAGES = int(os.environ.get("FACENET_PAIRS_IMAGES", "20000"))
_KEPT = int(os.environ.get("FACENET_PAIRS_KEPT", MOST_KEPT))
_DIMENSIONS = 512


def _set() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Draw ten images a person: normal centres in 128 of 512 dimensions, and noise around them."""
    random = np.random.default_rng(20)
    people = _IMAGES // 10
    identities = np.repeat(np.arange(people), 10)
    turn = random.normal(size=(128, _DIMENSIONS)).astype(np.float32)
    rows = np.empty((len(identities), _DIMENSIONS), np.float32)
    centres = random.normal(size=(people, 128)).astype(np.float32)
    for start in range(0, len(rows), 10_000):
        of = identities[start : start + 10_000]
        drawn = centres[of] + 0.7 * random.normal(size=(len(of), 128)).astype(np.float32)
        block = drawn @ turn
        rows[start : start + 10_000] = block / np.linalg.norm(block, axis=1, keepdims=True)
    return rows, identities


def _times() -> NDArray[np.float64]:
    return np.array([time.perf_counter(), time.process_time()])


def _product(rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return seconds, and processors' seconds, of a pair in plain products with all threads."""
    left, right = rows[:2048], rows[-2048:].T
    out = np.empty((2048, 2048), np.float32)
    spent = []
    np.matmul(left, right, out=out)  # wakes its threads
    for _ in range(40):
        start = _times()
        np.matmul(left, right, out=out)
        spent.append(_times() - start)
    return np.median(spent, axis=0) / out.size


def test_all_pairs_of_a_large_set() -> None:
    rows, identities = _set()
    pairs = Comparisons.of(ArrayRows(rows), identities)
    products, spent, threads = [], [], len(usable_processors())

    def find(pairs: Comparisons, pilot: Pilot, limits: Limits) -> Iterable[Partial]:
        stripes = stripes_of(pairs.images)
        for first in range(0, len(stripes), 6 * threads):
            part = stripes[first : first + 6 * threads]
            products.append(_product(rows))
            began = _times()
            found = list(Threads(threads)(partial(stripe, pairs, limits), part))
            spent.append(_times() - began)
            yield from (one for _, one in found)

    began = time.perf_counter()
    found = large_set(pairs, find=find, most_kept=_KEPT)
    whole = time.perf_counter() - began
    pair = np.sum(spent, axis=0) / pairs.total
    product = np.median(products, axis=0)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak *= 1 if sys.platform == "darwin" else 1024
    print(
        f"\n{found.images:,} images, {found.people:,} people, {pairs.total:,} pairs: {whole:.1f} s"
        f"\na pair in stripes takes {pair[0] * 1e9:.1f} ns, in the plain product "
        f"{product[0] * 1e9:.1f}: {product[0] / pair[0]:.2f} of its rate"
        f"\nby processors' time {pair[1] * 1e9:.1f} ns and {product[1] * 1e9:.1f}: "
        f"{product[1] / pair[1]:.2f} of its rate"
        f"\npeak memory of the process, embeddings included: {peak / 1e9:.2f} GB"
        f"\nexact below {found.exact_below:.4f}, bins of {found.width}"
    )
    for one in found.rates:
        point = one.point
        print(
            f"FAR {point.target:.0e}: TAR {point.tar:.4f} ± {point.standard_error:.4f} at "
            f"{point.threshold:.5f}, {point.impostor_accepted:,} pairs, {one.people:,} people, "
            f"exact {one.exact}, carried {one.carried}"
        )
    assert peak < 4e9
