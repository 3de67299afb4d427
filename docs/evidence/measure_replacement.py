"""What the gates on a replacement see: stored templates, the deployed threshold, identification.

    python docs/evidence/measure_replacement.py --lfw DIR --work DIR [--tables …]

Real FP32 embeddings of LFW's View 2 photos stand for the engine in production. The new engine is a
re-quantised one, or one that is damaged in a known way; `measure_gates.py` has the damages. Each
trial is judged by the limits that `baselines/gates.toml` ships. The script writes the tables
between the markers in docs/evidence/replacement.md.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from measure_gates import Embeddings, Random, embeddings_of_lfw, rotated, say, write_table
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import binomtest, ortho_group

from facenet_validate.cache import Cache
from facenet_validate.datasets.verification_set import VerificationSet
from facenet_validate.gates.limits import read_gates
from facenet_validate.gates.verdicts import Verdict
from facenet_validate.metrics.all_pairs import all_pairs
from facenet_validate.metrics.by_person import judge_loss
from facenet_validate.metrics.comparison import frozen_decisions
from facenet_validate.metrics.gallery_rates import gallery_rates
from facenet_validate.metrics.groups import compare_groups
from facenet_validate.metrics.identification import (
    Enrolment,
    Searches,
    compare_searches,
    enrol_first_images,
    search,
)
from facenet_validate.metrics.mixed import DIRECTIONS, mixed_templates
from facenet_validate.metrics.operating import fmr_rise, judge_fmr_rise
from facenet_validate.metrics.paired import compare_decisions, non_inferiority
from facenet_validate.metrics.parity import compare_embeddings
from facenet_validate.metrics.verification import pair_distances
from facenet_validate.metrics.view2 import View2, evaluate_embeddings

REPOSITORY = Path(__file__).parents[2]
TABLE = Path(__file__).with_name("replacement.md")
PRECISIONS = 2  # as by default
PAIRED_ALPHA = 0.01 / (PRECISIONS * (1 + DIRECTIONS))
ALPHA = 0.01 / (PRECISIONS * 2)
FARS = (1e-3, 1e-4)
TABLES = ("templates", "groups", "identification", "FNMR", "FMR")
GROUPS = 10
GROUP = "accuracy.group_drop"
PAIRED, MIXED = "accuracy.paired_drop", "accuracy.mixed_drop"
FNMR, FMR = "operating.fnmr_rise", "operating.fmr_rise"
RANK1, FNIR = "identification.rank1_drop", "identification.fnir_rise"

Draw = Callable[[Random], Embeddings]


@dataclass(frozen=True)
class Judge:
    """The engine in production, and the gates that a new one is held to.

    Attributes
    ----------
    dataset : VerificationSet
    old : (N, D) array
        Embeddings by the engine in production.
    limits : dict
        Of ``gates.toml``, for LFW and INT8.
    """

    dataset: VerificationSet
    old: Embeddings
    limits: dict[str, float]

    @cached_property
    def view(self) -> View2:
        return evaluate_embeddings(self.old, self.dataset.pairs)

    @cached_property
    def enrolment(self) -> Enrolment:
        return enrol_first_images(self.dataset.identities)

    @cached_property
    def searched(self) -> Searches:
        return search(self.old, self.old, self.enrolment)

    @cached_property
    def thresholds(self) -> dict[float, float]:
        """Squared L2 of the engine in production over all pairs, by FAR."""
        found = all_pairs(self.old, self.dataset.identities, FARS)
        return {point.target: point.threshold for point in found.points}

    def paired(self, new: Embeddings) -> Verdict:
        paired = frozen_decisions(self.view, new).paired
        delta = self.limits[PAIRED]
        return non_inferiority(paired, gate=PAIRED, delta=delta, alpha=PAIRED_ALPHA).verdict

    def mixed(self, new: Embeddings) -> Verdict:
        found = mixed_templates(self.view, self.old, new)
        return found.judge(gate=MIXED, delta=self.limits[MIXED], alpha=PAIRED_ALPHA).verdict

    def fnmr(self, new: Embeddings, far: float) -> Verdict:
        pairs, limit = self.dataset.pairs, self.thresholds[far]
        before, after = (
            pair_distances(rows, pairs.left[pairs.same], pairs.right[pairs.same]) < limit
            for rows in (self.old, new)
        )
        paired = compare_decisions(before, after)
        return non_inferiority(paired, gate=FNMR, delta=self.limits[FNMR], alpha=ALPHA).verdict

    def fmr(self, new: Embeddings, far: float) -> Verdict:
        limit, identities = self.thresholds[far], self.dataset.identities
        rise = fmr_rise(self._rates[far], gallery_rates(new, identities, limit))
        return judge_fmr_rise(rise, gate=FMR, limit=self.limits[FMR], alpha=ALPHA).verdict

    @cached_property
    def _rates(self) -> dict[float, Any]:
        return {
            far: gallery_rates(self.old, self.dataset.identities, limit)
            for far, limit in self.thresholds.items()
        }

    def identification(self, new: Embeddings) -> tuple[Verdict, Verdict]:
        found = compare_searches(self.searched, search(new, new, self.enrolment), self.enrolment)
        rank1, fnir = (
            judge_loss(loss, gate=gate, delta=self.limits[gate], alpha=ALPHA).verdict
            for gate, loss in ((RANK1, found.rank1_loss), (FNIR, found.fnir_loss))
        )
        return rank1, fnir


def turned(embeddings: Embeddings, cosine: float, random: Random) -> Embeddings:
    """Turn all embeddings by one rotation, so that their mean cosine to before is as asked for.

    A skew matrix S has eigenvalues i·w. The rotation exp(t·S) turns the plane of each by t·w, so
    the mean cosine is the sum over k of (mean of |v_k·x|²) cos(t·w_k).
    """
    skew = random.standard_normal((embeddings.shape[1],) * 2)
    values, vectors = np.linalg.eigh(1j * (skew - skew.T))
    shares = (np.abs(embeddings @ vectors.conj()) ** 2).mean(axis=0)

    def excess(turn: float) -> float:
        return float(shares @ np.cos(turn * values)) - cosine

    # Up to half a turn of the fastest plane the mean cosine falls.
    turn = brentq(excess, 0.0, np.pi / np.abs(values).max())
    rotation = (vectors * np.exp(-1j * turn * values)) @ vectors.conj().T
    return np.asarray(embeddings @ rotation.real)


def anywhere(embeddings: Embeddings, random: Random) -> Embeddings:
    """Turn all embeddings by one rotation that is drawn from all rotations."""
    rotation = ortho_group.rvs(embeddings.shape[1], random_state=random)
    return np.asarray(embeddings @ rotation)


def replaced(embeddings: Embeddings, share: float, random: Random) -> Embeddings:
    """Replace the embeddings of this share of the photos by random directions."""
    found = embeddings.copy()
    rows = random.choice(len(found), round(share * len(found)), replace=False)
    found[rows] = random.standard_normal((len(rows), found.shape[1]))
    found[rows] /= np.linalg.norm(found[rows], axis=1, keepdims=True)
    return found


def damages(old: Embeddings, engines: Sequence[Embeddings]) -> Iterator[tuple[str, Draw]]:
    """Yield the lines of every table: a title, and what draws a new engine's embeddings."""

    def mixture(random: Random) -> Embeddings:
        choice = random.integers(len(engines), size=len(old))
        return np.stack(engines)[choice, np.arange(len(old))]

    yield "none: re-quantised, a mixture", mixture
    yield "one rotation, drawn from all", partial(anywhere, old)
    for cosine in (0.999, 0.99):
        yield f"each row rotated, mean cosine {cosine}", partial(rotated, old, cosine)
    yield "distances × 0.9", lambda _: np.sqrt(0.9) * old
    for share in (0.002, 0.005, 0.02):
        title = f"{100 * share:.1f} % of the photos somewhere else"
        yield title, partial(replaced, old, share)


def rotations(old: Embeddings) -> Iterator[tuple[str, Draw]]:
    """Yield rotations by strength. No distance between the engine's own embeddings changes."""
    for cosine in (0.99, 0.956, 0.92, 0.881):
        yield f"one rotation, mean cosine {cosine}", partial(turned, old, cosine)


def told(verdicts: Sequence[Verdict]) -> str:
    """Return how often a gate failed, was inconclusive and passed, in per cent."""
    counted, trials = Counter(verdicts), len(verdicts)
    fails = counted[Verdict.FAIL]
    interval = binomtest(fails, trials).proportion_ci(0.95)
    return (
        f"{100 * fails / trials:.1f} ({100 * interval.low:.1f}–{100 * interval.high:.1f}) / "
        f"{100 * counted[Verdict.INCONCLUSIVE] / trials:.1f} / "
        f"{100 * counted[Verdict.PASS] / trials:.1f}"
    )


def rows_of(
    lines: Sequence[tuple[str, Draw]], trials: int, *gates: Callable[..., Any]
) -> Iterator[list[str]]:
    """Yield a row a damage: title, trials, and what each gate said."""
    for title, draw in lines:
        start = time.perf_counter()
        seen: list[list[Verdict]] = []
        # A damage without chance needs one trial.
        count = 1 if title == "distances × 0.9" else trials
        for seed in np.random.SeedSequence(20180408).spawn(count):
            new = draw(np.random.default_rng(seed))
            verdicts = [gate(new) for gate in gates]
            seen.append([one for v in verdicts for one in (v if isinstance(v, tuple) else (v,))])
        row = [title, str(count), *(told(column) for column in zip(*seen, strict=True))]
        say(f"{' | '.join(row)} [{time.perf_counter() - start:.0f} s]")
        yield row


def group_rows(judge: Judge, engines: Sequence[Embeddings], trials: int) -> Iterator[list[str]]:
    """Yield a row a damage in one of ten groups: how often it fails by name, and the total.

    Pairs of a trial are drawn from View 2's with replacement. The engine is a re-quantised one. In
    the damaged group each right decision is wrong with the given probability. A run judges one
    precision, or FP16 and INT8, which then share the run's 1 %.
    """
    decided = [frozen_decisions(judge.view, engine).correct for engine in engines]
    reference, same = judge.view.correct, judge.dataset.same
    cases = product((1, PRECISIONS), ((12_000, 0.0), (6_000, 0.0), (12_000, 0.02), (6_000, 0.03)))
    for precisions, (pairs, damage) in cases:
        alpha = 0.01 / (precisions * (1 + DIRECTIONS + GROUPS))
        named, any_other, total = 0, 0, 0
        for seed in np.random.SeedSequence(20180408).spawn(trials):
            random = np.random.default_rng(seed)
            rows = random.integers(len(same), size=pairs)
            of = np.arange(pairs) % GROUPS
            correct = decided[random.integers(len(decided))][rows]
            correct = correct & ~((of == 0) & (random.random(pairs) < damage))
            groups = compare_groups(
                [f"g{n}" for n in range(GROUPS)], of, same[rows], reference[rows], correct
            )
            delta = judge.limits[GROUP]
            failed = [
                non_inferiority(one.paired, gate=GROUP, delta=delta, alpha=alpha).verdict
                is Verdict.FAIL
                for one in groups
            ]
            named += failed[0]
            any_other += any(failed[1:]) or (failed[0] and not damage)
            whole = compare_decisions(reference[rows], correct)
            found = non_inferiority(whole, gate=PAIRED, delta=judge.limits[PAIRED], alpha=alpha)
            total += found.verdict is Verdict.FAIL
        what = f"{damage:.0%} in one" if damage else "none"
        shares = [f"{100 * count / trials:.1f}" for count in (named, any_other, total)]
        shares[0] = shares[0] if damage else "-"
        of_pairs = f"{GROUPS} of {pairs // GROUPS:,}"
        row = [what, of_pairs, str(precisions), str(trials), *shares]
        say(" | ".join(row))
        yield row


def main() -> None:
    """Measure, print, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lfw", type=Path, required=True, metavar="DIR")
    parser.add_argument("--work", type=Path, required=True, metavar="DIR", help="cache folder")
    parser.add_argument("--trials", type=int, default=200, metavar="N")
    parser.add_argument("--all-pairs", type=int, default=20, metavar="N", help="trials of these")
    parser.add_argument("--engines", type=int, default=8, metavar="N", help="re-quantised engines")
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=TABLES, help="which ones")
    arguments = parser.parse_args()
    cache, trials = Cache(arguments.work), arguments.trials
    dataset, fp32, engines = embeddings_of_lfw(arguments.lfw, cache, arguments.engines)
    limits = read_gates(REPOSITORY / "baselines" / "gates.toml").limits("lfw", "int8", "cpu-vnni")
    old: NDArray[np.float64] = fp32.astype(np.float64)
    judge = Judge(dataset, old, limits)
    lines = list(damages(old, engines))
    if "templates" in arguments.tables:
        every = [*lines[:2], *rotations(old), *lines[2:]]
        templates = [healthy(judge, engines), *rows_of(every, trials, judge.paired, judge.mixed)]
        write_table(TABLE, "templates", ["new engine", "trials", "paired", "mixed"], templates)
    if "groups" in arguments.tables:
        head = [
            *("damage", "groups", "precisions", "trials"),
            *("it fails, %", "another group fails, %", "the total fails, %"),
        ]
        write_table(TABLE, "groups", head, list(group_rows(judge, engines, 5 * trials)))
    if "identification" in arguments.tables:
        searches = list(rows_of(lines, trials, judge.identification))
        write_table(TABLE, "identification", ["new engine", "trials", "rank 1", "FNIR"], searches)
    for name, rate, count in (
        ("FNMR", judge.fnmr, trials),
        ("FMR", judge.fmr, arguments.all_pairs),
    ):
        if name in arguments.tables:
            rows = list(rows_of(lines, count, *(partial(rate, far=far) for far in FARS)))
            head = ["new engine", "trials", *(f"{name}, FAR {far:g}" for far in FARS)]
            write_table(TABLE, name, head, rows)


def healthy(judge: Judge, engines: Sequence[Embeddings]) -> list[str]:
    """Return the row of the re-quantised engines themselves."""
    title = f"none: each of {len(engines)} re-quantised engines"
    paired, mixed = [judge.paired(e) for e in engines], [judge.mixed(e) for e in engines]
    cosines = [compare_embeddings(judge.old, engine).cosine_mean for engine in engines]
    say(f"{title}: mean row cosine {min(cosines):.5f} to {max(cosines):.5f}")
    say(f"  paired {told(paired)}; mixed {told(mixed)}")
    return [title, str(len(engines)), told(paired), told(mixed)]


if __name__ == "__main__":
    main()
