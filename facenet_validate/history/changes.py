"""Where the level of a series changed: change points of its log latency, epoch by epoch.

PELT (Killick, Fearnhead and Eckley, *JASA* 107, 2012; `ruptures.KernelCPD` with the linear kernel)
proposes segments of at least three sessions. It minimises the squared distance from the segments'
means plus, for each change, 2·σ²·log n: BIC's price of two parameters, a level and a place. σ is
1.4826/√2 times the median absolute difference of neighbouring sessions, which steps hardly move.

A proposal is not a finding: twenty sessions tell σ poorly, and BIC is no error probability. So
every proposed change is tested by the difference d of the mean logs of the two segments beside it::

    |d| > t(1 − α/(2N), n1 + n2 − 2) · max(s, 0.004) · sqrt(1/n1 + 1/n2)

with s the pooled standard deviation and N = C(n − 3, 3), the number of ways in which two
neighbouring segments of at least three lie in n sessions. Of changes that fail the test the weakest
is removed, its segments are joined, and all are tested again. By the union bound over those N
pairs, a series without a change shows one with a probability of at most α, if its sessions are
independent and normal. docs/evidence/history.md shows what happens if they are not. 0.004 is the
spread below which the rule for stored sessions trusts no spread either.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facenet_validate.benchmarking.paired_ratio import ALPHA
from facenet_validate.benchmarking.provenance import provenance_changes
from facenet_validate.benchmarking.shift import LEAST_SPREAD
from facenet_validate.history.series import Series, SeriesEntry

SEGMENT = 3
"""Fewest sessions between two changes."""


@dataclass(frozen=True)
class ChangePoint:
    """A change of level between two neighbouring sessions.

    Attributes
    ----------
    before, after : SeriesEntry
        The sessions on both sides.
    sessions : tuple of int
        Lengths of the segments before and after.
    change : float
        Natural log of latency after over latency before; above zero, slower.
    changed : tuple of str
        Provenance that differs between the two sessions.
    """

    before: SeriesEntry
    after: SeriesEntry
    sessions: tuple[int, int]
    change: float
    changed: tuple[str, ...]


def available() -> bool:
    """Whether change points can be looked for: ruptures is installed."""
    return importlib.util.find_spec("ruptures") is not None


def change_points(every: Sequence[Series], *, ratio: bool = False) -> tuple[ChangePoint, ...]:
    """Return the change points of some series, within epochs; needs ruptures.

    All series and epochs share the error probability `ALPHA`.

    Parameters
    ----------
    every : sequence of Series
        Any number.
    ratio : bool
        Look at the latency in relation to FP32's instead; sessions without it are left out.
    """
    epochs: list[list[SeriesEntry]] = []
    for series in every:
        by_epoch: dict[int, list[SeriesEntry]] = {}
        for entry in series.entries:
            if not ratio or entry.session.paired_ratio is not None:
                by_epoch.setdefault(entry.epoch, []).append(entry)
        epochs += [entries for entries in by_epoch.values() if len(entries) >= 2 * SEGMENT]
    found: list[ChangePoint] = []
    for entries in epochs:
        logs = np.log([_value(entry.session.paired_ratio, entry, ratio=ratio) for entry in entries])
        bounds = [0, *level_changes(logs, ALPHA / len(epochs)), len(logs)]
        found += [
            ChangePoint(
                entries[middle - 1],
                entries[middle],
                (middle - start, end - middle),
                float(logs[middle:end].mean() - logs[start:middle].mean()),
                provenance_changes([entries[middle - 1].session], [entries[middle].session]),
            )
            for start, middle, end in zip(bounds, bounds[1:], bounds[2:], strict=False)
        ]
    return tuple(found)


def _value(speed: float | None, entry: SeriesEntry, *, ratio: bool) -> float:
    return 1.0 / speed if ratio and speed is not None else entry.session.latency_seconds


def level_changes(logs: ArrayLike, alpha: float) -> list[int]:
    """Return the places where the level of a sequence changes; needs ruptures.

    Parameters
    ----------
    logs : array_like, shape (n,)
        Natural logs, in the order of time.
    alpha : float
        Probability of finding any change where there is none.

    Returns
    -------
    list of int
        Index of the first value after each change, ascending; none if n < 6.
    """
    from ruptures import KernelCPD

    values = np.asarray(logs, dtype=np.float64)
    count = len(values)
    if count < 2 * SEGMENT:
        return []
    noise = max(_noise(values), LEAST_SPREAD)
    search = KernelCPD(kernel="linear", min_size=SEGMENT).fit(values.reshape(-1, 1))
    proposed = search.predict(pen=2.0 * noise**2 * math.log(count))
    return _tested(values, [0, *proposed], alpha / math.comb(count - SEGMENT, 3))


def _noise(values: NDArray[np.float64]) -> float:
    """Return a robust standard deviation, from the differences of neighbours."""
    steps = np.diff(values)
    return float(1.4826 / math.sqrt(2.0) * np.median(np.abs(steps - np.median(steps))))


def _tested(values: NDArray[np.float64], bounds: Sequence[int], alpha: float) -> list[int]:
    """Return the inner bounds that pass the test; the weakest that fails goes first."""
    from scipy.special import stdtrit

    kept = np.asarray(bounds)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    squares = np.concatenate([[0.0], np.cumsum(values**2)])
    while len(kept) > 2:
        counts = np.diff(kept)
        means = np.diff(sums[kept]) / counts
        spreads = np.maximum(np.diff(squares[kept]) - counts * means**2, 0.0)
        n1, n2 = counts[:-1], counts[1:]
        freedom = n1 + n2 - 2
        spread = np.sqrt((spreads[:-1] + spreads[1:]) / freedom)
        spread = np.maximum(spread, LEAST_SPREAD)
        needed = stdtrit(freedom, 1.0 - alpha / 2.0) * spread * np.sqrt(1.0 / n1 + 1.0 / n2)
        strength = np.abs(np.diff(means)) / needed
        weakest = int(np.argmin(strength))
        if strength[weakest] > 1.0:
            break
        kept = np.delete(kept, weakest + 1)
    return [int(bound) for bound in kept[1:-1]]
