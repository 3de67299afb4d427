"""What the default gates see: their operating characteristic on planted damage.

    python docs/evidence/measure_gates.py --lfw DIR [--work DIR] [--trials 200] [--all-pairs 20]

Real FP32 embeddings of LFW's 7,701 View 2 photos are damaged in known ways, hundreds of times each,
and judged by the limits that `baselines/gates.toml` ships. The engine that lost nothing is a
re-quantised one: INT8 graphs calibrated on eight different draws of faces are built and run, and
each trial takes every photo's embedding from one of them, drawn anew. The table between the markers
in docs/evidence/verification.md is written by this script.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pretrained_engines import PretrainedEngines
from scipy.special import ndtri
from scipy.stats import binomtest

from facenet_validate.base.errors import EngineError
from facenet_validate.cache import Cache
from facenet_validate.datasets.layout import find_layout
from facenet_validate.datasets.lfw import load_set
from facenet_validate.datasets.verification_set import VerificationSet
from facenet_validate.gates.limits import GatesFile, read_gates
from facenet_validate.gates.verdicts import Verdict
from facenet_validate.metrics.all_pairs import AllPairsDrop, compare_all_pairs
from facenet_validate.metrics.checks import check_embeddings
from facenet_validate.metrics.mixed import DIRECTIONS
from facenet_validate.metrics.paired import compare_decisions, non_inferiority
from facenet_validate.metrics.parity import compare_embeddings
from facenet_validate.metrics.view2 import View2, evaluate_embeddings

Embeddings = NDArray[np.float64]
Random = np.random.Generator

REPOSITORY = Path(__file__).parents[2]
TABLE = Path(__file__).with_name("verification.md")
Z_ONE_SIDED = float(ndtri(0.99))
REQUANTISED = 8
ALPHA = 0.01 / (2 * (1 + DIRECTIONS))
"""The share of one paired gate where FP16 and INT8 are judged in one run, as by default."""


@dataclass(frozen=True)
class Outcome:
    """What one trial's gates said: the verdicts of parity, of the floors, of the paired drop."""

    parity: Verdict
    floors: Verdict
    paired: Verdict

    @property
    def fails(self) -> bool:
        return Verdict.FAIL in (self.parity, self.floors, self.paired)


@dataclass(frozen=True)
class Judge:
    """The default gates, on one data set and one precision.

    Attributes
    ----------
    limits : dict
        Of ``gates.toml``.
    """

    dataset: VerificationSet
    reference: Embeddings
    view: View2
    limits: dict[str, float]

    def embeddings(self, damaged: Embeddings) -> Outcome:
        """Judge damaged embeddings by every gate of parity and accuracy."""
        parity = compare_embeddings(self.reference, damaged)
        seen = (
            (parity.cosine_min, "parity.cosine_min"),
            (parity.cosine_p1, "parity.cosine_p1"),
            (parity.cosine_mean, "parity.cosine_mean"),
        )
        fine = all(value >= self.limits[gate] for value, gate in seen)
        pairs = self.dataset.pairs
        outcome = self.distances(
            self.view.rule.distances(damaged, pairs), evaluate_embeddings(damaged, pairs)
        )
        try:
            check_embeddings(damaged, self.dataset.names, what="damaged")
        except EngineError:
            fine = False
        return replace(outcome, parity=Verdict.PASS if fine else Verdict.FAIL)

    def distances(self, frozen: NDArray[np.float64], view: View2) -> Outcome:
        """Judge damaged distances: of embeddings that parity finds unchanged."""
        floors = (
            view.scores.accuracy >= self.limits["accuracy.acc"]
            and view.scores.auc >= self.limits["accuracy.auc"]
        )
        return Outcome(
            Verdict.PASS,
            Verdict.PASS if floors else Verdict.FAIL,
            self.decisions(self.view.rule.correct(frozen, self.dataset.pairs)),
        )

    def decisions(self, correct: NDArray[np.bool_]) -> Verdict:
        """Judge which pairs an engine decides rightly by the reference's rule."""
        comparison = compare_decisions(self.view.correct, correct)
        delta = self.limits["accuracy.paired_drop"]
        return non_inferiority(
            comparison, gate="accuracy.paired_drop", delta=delta, alpha=ALPHA
        ).verdict


def rotated(embeddings: Embeddings, cosine: float, random: Random) -> Embeddings:
    """Turn every row by its own random direction so that the mean cosine is as asked for."""
    noise = random.standard_normal(embeddings.shape)
    noise -= np.einsum("nd,nd->n", noise, embeddings)[:, np.newaxis] * embeddings
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    # Angles vary from row to row as an engine's do: half-normal, scaled to the mean cosine.
    angles = np.abs(random.standard_normal((len(embeddings), 1)))
    angles *= np.sqrt(2 * (1 - cosine) / np.mean(angles**2))
    return np.cos(angles) * embeddings + np.sin(angles) * noise


def swapped(embeddings: Embeddings, random: Random) -> Embeddings:
    """Exchange the embeddings of two photos."""
    a, b = random.choice(len(embeddings), 2, replace=False)
    found = embeddings.copy()
    found[[a, b]] = embeddings[[b, a]]
    return found


def wronged(judge: Judge, start: NDArray[np.bool_], share: float, random: Random) -> Outcome:
    """Turn exactly this share of all decisions from right to wrong."""
    correct = start.copy()
    right = np.flatnonzero(correct)
    correct[random.choice(right, round(share * correct.size), replace=False)] = False
    return Outcome(Verdict.PASS, _floor(judge, correct), judge.decisions(correct))


def unlucky(judge: Judge, start: NDArray[np.bool_], share: float, random: Random) -> Outcome:
    """Turn each right decision with this probability: a true loss, seen on 6,000 pairs of many."""
    correct = start & (random.random(start.size) >= share)
    return Outcome(Verdict.PASS, _floor(judge, correct), judge.decisions(correct))


def _floor(judge: Judge, correct: NDArray[np.bool_]) -> Verdict:
    return Verdict.PASS if correct.mean() >= judge.limits["accuracy.acc"] else Verdict.FAIL


def main() -> None:
    """Measure, print, and write the table."""
    arguments = _arguments()
    cache = Cache(arguments.work)
    dataset, fp32, engines = embeddings_of_lfw(arguments.lfw, cache)
    gates = read_gates(REPOSITORY / "baselines" / "gates.toml")
    reference = fp32.astype(np.float64)
    view = evaluate_embeddings(fp32, dataset.pairs)
    judges = {
        precision: Judge(dataset, reference, view, _limits(gates, precision))
        for precision in ("fp16", "int8")
    }
    alone = [judges["int8"].embeddings(engine) for engine in engines]
    rows = [row_of(f"none: each of {len(engines)} re-quantised engines", "int8", alone)]
    for title, trial, count in trials_of(Trials(judges, engines), arguments.trials):
        start = time.perf_counter()
        seeds = np.random.SeedSequence(20180408).spawn(count)
        outcomes: dict[str, list[Outcome]] = {name: [] for name in judges}
        for seed in seeds:
            for name, outcome in trial(np.random.default_rng(seed)).items():
                outcomes[name].append(outcome)
        for name, found in outcomes.items():
            if found:
                rows.append(row_of(title, name, found))
                say(f"{rows[-1]} [{time.perf_counter() - start:.0f} s]")
    write_lines(TABLE, "gates", gate_table(rows, engines, reference))
    rows = []
    for title, draw in _all_pairs_draws(Trials(judges, engines)):
        rows += _all_pairs_rows(title, judges["int8"], draw, arguments.all_pairs)
    write_lines(TABLE, "all pairs", _all_pairs_table(rows, len(dataset.names)))


Trial = Callable[[Random], dict[str, Outcome]]


@dataclass(frozen=True)
class Trials:
    """One trial of each damage, by the judges of both precisions or of INT8 alone.

    Attributes
    ----------
    judges : dict
        By precision.
    engines : list of (N, D) arrays
        Embeddings of re-quantised engines.
    """

    judges: dict[str, Judge]
    engines: list[Embeddings]

    @property
    def int8(self) -> Judge:
        return self.judges["int8"]

    def undamaged(self, random: Random) -> dict[str, Outcome]:
        return {"int8": self.int8.embeddings(self.requantised(random))}

    def requantised(self, random: Random) -> Embeddings:
        rows = len(self.int8.reference)
        choice = random.integers(len(self.engines), size=rows)
        return np.stack(self.engines)[choice, np.arange(rows)]

    def rotated(self, random: Random, *, cosine: float) -> dict[str, Outcome]:
        damaged = rotated(self.int8.reference, cosine, random)
        return {name: judge.embeddings(damaged) for name, judge in self.judges.items()}

    def swapped(self, random: Random) -> dict[str, Outcome]:
        damaged = swapped(self.int8.reference, random)
        return {name: judge.embeddings(damaged) for name, judge in self.judges.items()}

    def scaled(self, random: Random) -> dict[str, Outcome]:
        del random
        view = self.int8.view
        return {
            name: judge.distances(0.9 * view.distances, view) for name, judge in self.judges.items()
        }

    def requantised_scaled(self, random: Random) -> dict[str, Outcome]:
        embeddings, pairs = self.requantised(random), self.int8.dataset.pairs
        distances = 0.9 * self.int8.view.rule.distances(embeddings, pairs)
        return {"int8": self.int8.distances(distances, evaluate_embeddings(embeddings, pairs))}

    def wronged(self, random: Random, *, share: float) -> dict[str, Outcome]:
        return {
            name: wronged(judge, judge.view.correct, share, random)
            for name, judge in self.judges.items()
        }

    def requantised_wronged(self, random: Random, *, share: float) -> dict[str, Outcome]:
        return {"int8": wronged(self.int8, self._decided(random), share, random)}

    def requantised_unlucky(self, random: Random, *, share: float) -> dict[str, Outcome]:
        return {"int8": unlucky(self.int8, self._decided(random), share, random)}

    def _decided(self, random: Random) -> NDArray[np.bool_]:
        rule, pairs = self.int8.view.rule, self.int8.dataset.pairs
        return rule.correct(rule.distances(self.requantised(random), pairs), pairs)


def trials_of(trials: Trials, count: int) -> Iterator[tuple[str, Trial, int]]:
    """Yield each damage's title, its trial, and how many trials are made."""
    yield "none: re-quantised, a mixture", trials.undamaged, 5 * count
    for cosine in (0.9999, 0.999, 0.995, 0.99):
        title = f"rows rotated to a mean cosine of {cosine}"
        yield title, partial(trials.rotated, cosine=cosine), count
    yield "distances × 0.9", trials.scaled, count
    yield "re-quantised, distances × 0.9", trials.requantised_scaled, count
    for share in (0.002, 0.005):
        part = f"{100 * share:.1f} %"
        title = f"{part} of the decisions wrong"
        yield title, partial(trials.wronged, share=share), count
        yield f"re-quantised, {title}", partial(trials.requantised_wronged, share=share), count
        title = f"re-quantised, each right decision wrong with {part}"
        yield title, partial(trials.requantised_unlucky, share=share), 5 * count
    yield "two photos swapped", trials.swapped, count


def row_of(title: str, precision: str, found: list[Outcome]) -> str:
    """Return the line of a damage: shares of its trials by verdict."""

    def share(condition: Callable[[Outcome], bool]) -> str:
        hits = sum(map(condition, found))
        return f"{100 * hits / len(found):.1f}"

    fails = sum(o.fails for o in found)
    interval = binomtest(fails, len(found)).proportion_ci(0.95)
    return (
        f"| {title} | {precision.upper()} | {len(found)} | {share(lambda o: o.parity == 'fail')} | "
        f"{share(lambda o: o.floors == 'fail')} | {share(lambda o: o.paired == 'fail')} | "
        f"{share(lambda o: o.paired == 'inconclusive')} | {share(lambda o: o.paired == 'pass')} | "
        f"{100 * fails / len(found):.1f} ({100 * interval.low:.1f}–{100 * interval.high:.1f}) |"
    )


def gate_table(rows: list[str], engines: list[Embeddings], reference: Embeddings) -> list[str]:
    """Return the lines of a table of damages."""
    cosines = [compare_embeddings(reference, engine).cosine_mean for engine in engines]
    return [
        "| damage | limits of | trials | parity fails | floors fail | paired fails | "
        "paired inconclusive | paired passes | any fails (95 %) |",
        "|---|---|---|---|---|---|---|---|---|",
        *rows,
        "",
        f"Shares in per cent. The {len(engines)} re-quantised engines: mean row cosine "
        f"{min(cosines):.5f} to {max(cosines):.5f}.",
    ]


def _all_pairs_draws(trials: Trials) -> Iterator[tuple[str, Callable[[Random], Embeddings]]]:
    yield "none: re-quantised, a mixture", trials.requantised
    for cosine in (0.9999, 0.999, 0.995, 0.99):
        draw = partial(_rotated_by, trials.int8.reference, cosine)
        yield f"rows rotated to a mean cosine of {cosine}", draw


def _rotated_by(reference: Embeddings, cosine: float, random: Random) -> Embeddings:
    return rotated(reference, cosine, random)


def _all_pairs_rows(
    title: str, judge: Judge, draw: Callable[[Random], Embeddings], count: int
) -> list[str]:
    """Compare damaged embeddings with the reference over all pairs of the View 2 photos."""
    start = time.perf_counter()
    drops: dict[float, list[AllPairsDrop]] = {}
    for seed in np.random.SeedSequence(102900).spawn(count):
        damaged = draw(np.random.default_rng(seed))
        found = compare_all_pairs(judge.reference, damaged, judge.dataset.identities)
        for drop in found.drops:
            drops.setdefault(drop.target, []).append(drop)
    rows = []
    for target, seen in drops.items():
        values = np.array([drop.drop for drop in seen])
        errors = np.array([drop.standard_error for drop in seen])
        detected = 100 * float(np.mean(values > Z_ONE_SIDED * errors))
        rows.append(
            f"| {title} | {target:.0e} | {count} | {values.mean():.5f} | "
            f"{values.std(ddof=1):.5f} | {errors.mean():.5f} | {detected:.0f} |"
        )
        say(f"{rows[-1]} [{time.perf_counter() - start:.0f} s]")
    return rows


def _all_pairs_table(rows: list[str], photos: int) -> list[str]:
    return [
        f"All pairs of the {photos:,} photos that are in pairs:",
        "",
        "| damage | FAR | trials | mean drop of TAR | standard deviation over trials | "
        "jackknife SE, mean | drop seen (one-sided, 1 %), % |",
        "|---|---|---|---|---|---|---|",
        *rows,
    ]


def write_lines(page: Path, name: str, lines: Sequence[str]) -> None:
    """Write lines between the markers of a name on a page."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    text = page.read_text(encoding="utf-8")
    before, after = text.split(begin)[0], text.split(end)[1]
    page.write_text(before + "\n".join([begin, "", *lines, "", end]) + after, encoding="utf-8")


def write_table(page: Path, name: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write a table between the markers of a name on a page."""
    lines = [head, ["---"] * len(head), *rows]
    write_lines(page, name, [f"| {' | '.join(line)} |" for line in lines])


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _limits(gates: GatesFile, precision: str) -> dict[str, float]:
    target = "cpu-vnni" if precision == "int8" else "cpu"
    return gates.limits("lfw", precision, target)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lfw", type=Path, required=True, metavar="DIR")
    parser.add_argument("--work", type=Path, required=True, metavar="DIR", help="cache folder")
    parser.add_argument("--trials", type=int, default=200, metavar="N")
    parser.add_argument(
        "--all-pairs", type=int, default=20, metavar="N", help="trials over all pairs"
    )
    return parser.parse_args()


def embeddings_of_lfw(
    lfw: Path, cache: Cache, engines_made: int = REQUANTISED
) -> tuple[VerificationSet, NDArray[np.float32], list[Embeddings]]:
    """Return the set, its FP32 embeddings, and those of re-quantised engines."""
    dataset = load_set(find_layout(lfw), name="lfw", title="LFW", calibration_images=1024)
    pretrained = PretrainedEngines(cache)
    faces = pretrained.aligned(dataset.names, dataset.paths)
    others = pretrained.aligned(dataset.calibration_names, dataset.calibration_paths)
    engines = []
    for draw in range(engines_made):
        random = np.random.default_rng(draw)
        rows = np.sort(random.choice(len(others.names), 512, replace=False)).tolist()
        made = pretrained.embedded("int8", others.part(rows), faces)
        engines.append(made.astype(np.float64))
        say(f"re-quantised {draw + 1} of {engines_made}")
    return dataset, pretrained.embedded("fp32", others, faces), engines


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "2")
    main()
