"""How often this machine would call an engine slower than itself: A/A comparisons."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np

from facenet_validate.base.progress import Report
from facenet_validate.benchmarking.measure import Measurement, Watch
from facenet_validate.benchmarking.paired_ratio import slow_down
from facenet_validate.engines.protocol import Work
from facenet_validate.gates.verdicts import GateResult, Verdict


@dataclass(frozen=True)
class SelfCheck:
    """Comparisons of an engine with itself.

    Attributes
    ----------
    results : tuple of GateResult
        One a comparison; observed is the latency of the engine over its own, one if all is well.
    quads : tuple of int
        Quads each took.
    disturbed : int
        Comparisons that stayed disturbed; they are not among `results`.
    outputs_moved : tuple of (float, int)
        As of `Measurement`, over all comparisons.
    """

    results: tuple[GateResult, ...]
    quads: tuple[int, ...]
    disturbed: int
    outputs_moved: tuple[float, int]

    def count(self, verdict: Verdict) -> int:
        """Return how many comparisons have this verdict."""
        return sum(result.verdict is verdict for result in self.results)

    @property
    def false_failures(self) -> int:
        """Comparisons that call the engine slower than itself."""
        return self.count(Verdict.FAIL)

    @property
    def bound(self) -> float:
        """95 % upper bound of the rate of false failures (Clopper and Pearson, one-sided)."""
        from scipy.special import betaincinv

        failures, trials = self.false_failures, len(self.results)
        return (
            float(betaincinv(failures + 1, trials - failures, 0.95)) if failures < trials else 1.0
        )

    def gate(self, gate: str, limit: float) -> GateResult:
        """Fail where there is a false failure; pass where most comparisons were undisturbed."""
        verdict = Verdict.INCONCLUSIVE
        if self.false_failures:
            verdict = Verdict.FAIL
        elif len(self.results) > self.disturbed:
            verdict = Verdict.PASS
        worst = max((result.observed or 0.0 for result in self.results), default=None)
        return GateResult(gate, verdict, worst, limit, detail=self.text())

    def values(self) -> dict[str, Any]:
        """Return what reports print."""
        return {
            "comparisons": len(self.results),
            "disturbed": self.disturbed,
            "false_failures": self.false_failures,
            "inconclusive": self.count(Verdict.INCONCLUSIVE),
            "false_failure_bound": self.bound,
            "latency_ratios": [result.observed for result in self.results],
            "quads": list(self.quads),
            "details": [result.detail for result in self.results],
        }

    def text(self) -> str:
        """Return one line for people."""
        text = (
            f"{len(self.results)} comparisons with itself: {self.false_failures} false failures "
            f"(their rate is below {100.0 * self.bound:.2g} %, at 95 % confidence), "
            f"{self.count(Verdict.INCONCLUSIVE)} inconclusive"
        )
        observed = [result.observed for result in self.results if result.observed is not None]
        if observed:
            low, high = (100.0 * (bound - 1.0) for bound in (min(observed), max(observed)))
            text += f"; medians {low:+.2f} to {high:+.2f} %"
        return f"{text}; {self.disturbed} disturbed, not counted" if self.disturbed else text


def self_check(
    comparisons: int,
    load: Callable[[], AbstractContextManager[Work]],
    watch: Watch,
    report: Report,
    *,
    limit: float,
    alpha: float,
) -> SelfCheck:
    """Compare two loads of an engine, by the rule engines are compared by.

    Parameters
    ----------
    comparisons : int
        How many.
    load : callable
        Loads the engine anew and gives a block of that load. Each comparison makes two loads of its
        own: equal engines may differ in speed by where their weights lie in memory, and a load that
        served all comparisons would show one such difference only.
    watch : Watch
        Has the clock, and says which quads were disturbed.
    report : callable
        Called with (comparisons made, comparisons).
    limit : float
        Largest acceptable latency in relation to the twin's, above one.
    alpha : float
        Error probability of each comparison.
    """
    results, quads, disturbed, moved, looks = [], [], 0, 0.0, 0
    for number in range(comparisons):
        report(number, comparisons)
        with load() as one, load() as other:
            measurement = Measurement(one, other, watch, alpha=alpha)
            measurement.warm_up()
            result = measurement.until_decided(
                lambda ratio: slow_down(ratio, gate="performance.self_check", limit=limit)
            )
            farthest, looked = measurement.outputs_moved
        moved, looks = float(np.maximum(moved, farthest)), looks + looked
        ratio = measurement.ratio()
        assert result is not None
        assert ratio is not None
        if measurement.disturbance:
            disturbed += 1
            continue
        results.append(result)
        quads.append(ratio.quads)
    report(comparisons, comparisons)
    return SelfCheck(tuple(results), tuple(quads), disturbed, (moved, looks))
