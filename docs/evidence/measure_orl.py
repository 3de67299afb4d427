"""What the gates see on the ORL photos, beside the drawn faces.

    python docs/evidence/measure_orl.py --work DIR [--trials 200] [--engines 8]

The planted damage of `measure_gates.py`, on both sets that need no LFW. Re-quantised engines are
calibrated on draws of 512 photos of 128 drawn people who are in neither set. The tables between the
markers in docs/evidence/verification.md are written by this script.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from measure_gates import (
    ALPHA,
    TABLE,
    Embeddings,
    Judge,
    Outcome,
    Random,
    Trials,
    gate_table,
    rotated,
    row_of,
    say,
    trials_of,
    write_lines,
    write_table,
)
from numpy.typing import NDArray
from pretrained_engines import PretrainedEngines

from facenet_validate.base.vocabulary import Precision
from facenet_validate.cache import Cache
from facenet_validate.datasets.calibration import drawn_faces
from facenet_validate.datasets.faces import AlignedFaces, already_aligned
from facenet_validate.datasets.images import encode_png
from facenet_validate.datasets.layout import find_layout
from facenet_validate.datasets.lfw import load_set
from facenet_validate.datasets.orl import orl_folder
from facenet_validate.datasets.orl_pairs import FOLDS, person_name
from facenet_validate.datasets.synthetic import EVALUATION_PEOPLE, render_photo
from facenet_validate.datasets.synthetic_cache import synthetic_folder
from facenet_validate.datasets.verification_set import VerificationSet
from facenet_validate.gates.limits import read_gates
from facenet_validate.gates.verdicts import Verdict
from facenet_validate.metrics.bootstrap import upper_bound_over_people
from facenet_validate.metrics.comparison import (
    FrozenDecisions,
    bounded_over_people,
    frozen_decisions,
)
from facenet_validate.metrics.paired import (
    compare_counts,
    compare_decisions,
    non_inferiority,
    tango_upper_bound,
)
from facenet_validate.metrics.parity import compare_embeddings
from facenet_validate.metrics.view2 import View2, evaluate_embeddings

REPOSITORY = Path(__file__).parents[2]
PEOPLE_DRAWN, PHOTOS_DRAWN, CALIBRATED_ON = 128, 8, 512
GATE = "accuracy.paired_drop"
RESAMPLES, INNER = 500, 500


@dataclass(frozen=True)
class JudgeOverPeople(Judge):
    """The default gates on a set of few people: the paired bound holds for people too."""

    def decisions(self, correct: NDArray[np.bool_]) -> Verdict:
        paired = compare_decisions(self.view.correct, correct)
        found = FrozenDecisions(np.empty(0), correct, paired)
        wider = bounded_over_people(found, self.view, self.dataset.identities).paired
        return non_inferiority(wider, gate=GATE, delta=self.limits[GATE], alpha=ALPHA).verdict


class Bench(PretrainedEngines):
    """The model, its engines, and the faces they embed."""

    def __init__(self, work: Path) -> None:
        super().__init__(Cache(work))
        self._folder = work / "drawn-for-calibration"

    def load(self, name: str) -> VerificationSet:
        folder = orl_folder(self.cache) if name == "orl" else synthetic_folder(self.cache)
        found = load_set(find_layout(folder), name=name, title=name)
        return replace(found, few_people=name == "orl")

    def faces(self, dataset: VerificationSet) -> AlignedFaces:
        return self.aligned(dataset.names, dataset.paths)

    @cached_property
    def drawn(self) -> AlignedFaces:
        """Photos of drawn people who are in neither set."""
        names, paths = [], []
        for person in range(EVALUATION_PEOPLE, EVALUATION_PEOPLE + PEOPLE_DRAWN):
            folder = self._folder / f"Synthetic_{person + 1:04d}"
            folder.mkdir(parents=True, exist_ok=True)
            for photo in range(PHOTOS_DRAWN):
                path = folder / f"{folder.name}_{photo + 1:04d}.png"
                if not path.exists():
                    path.write_bytes(encode_png(render_photo(person, photo)))
                names.append(path.stem)
                paths.append(path)
        return already_aligned(names, paths)

    def rows(
        self, precision: Precision, calibration: AlignedFaces, faces: AlignedFaces
    ) -> Embeddings:
        return self.embedded(precision, calibration, faces).astype(np.float64)

    def draw(self, number: int) -> AlignedFaces:
        rows = np.random.default_rng(number).choice(
            len(self.drawn.names), CALIBRATED_ON, replace=False
        )
        return self.drawn.part(np.sort(rows).tolist())


def main() -> None:
    """Measure, print, and write the tables."""
    arguments = _arguments()
    bench = Bench(arguments.work)
    for name, marker in (("orl", "gates orl"), ("synthetic", "gates drawn")):
        dataset = bench.load(name)
        faces = bench.faces(dataset)
        reference = bench.rows("fp32", bench.drawn, faces)
        engines = []
        for number in range(arguments.engines):
            engines.append(bench.rows("int8", bench.draw(number), faces))
            say(f"{name}: re-quantised {number + 1} of {arguments.engines}")
        half = bench.rows("fp16", bench.drawn, faces)
        view = evaluate_embeddings(reference, dataset.pairs)
        _planted(dataset, reference, view, half, engines, arguments.trials, marker)
        if name == "orl":
            _clusters(dataset, reference, view, engines)
            _halves(bench, dataset, faces, reference)


def _planted(
    dataset: VerificationSet,
    reference: Embeddings,
    view: View2,
    half: Embeddings,
    engines: list[Embeddings],
    trials: int,
    marker: str,
) -> None:
    gates = read_gates(REPOSITORY / "baselines" / "gates.toml")
    no_floors = {"accuracy.acc": 0.0, "accuracy.auc": 0.0}
    kind = JudgeOverPeople if dataset.few_people else Judge
    judges = {
        precision: kind(
            dataset, reference, view, no_floors | gates.limits(dataset.name, precision, target)
        )
        for precision, target in (("fp16", "cpu"), ("int8", "cpu-vnni"))
    }
    alone = [judges["int8"].embeddings(engine) for engine in engines]
    rows = [
        row_of("none: FP16", "fp16", [judges["fp16"].embeddings(half)]),
        row_of(f"none: each of {len(engines)} re-quantised engines", "int8", alone),
    ]
    for title, trial, count in trials_of(Trials(judges, engines), trials):
        start = time.perf_counter()
        outcomes: dict[str, list[Outcome]] = {name: [] for name in judges}
        for seed in np.random.SeedSequence(20180408).spawn(count):
            for name, outcome in trial(np.random.default_rng(seed)).items():
                outcomes[name].append(outcome)
        for name, found in outcomes.items():
            if found:
                rows.append(row_of(title, name, found))
                say(f"{rows[-1]} [{time.perf_counter() - start:.0f} s]")
    scores = view.scores
    about = f"FP32: ACC {scores.accuracy:.5f}, AUC {scores.auc:.5f}."
    write_lines(TABLE, marker, [*gate_table(rows, engines, reference), about])


def _clusters(
    dataset: VerificationSet, reference: Embeddings, view: View2, engines: list[Embeddings]
) -> None:
    """Say how far bounds are off that take the pairs of one person to be independent."""
    random = np.random.default_rng(0)
    damaged = [rotated(reference, 0.98, random) for _ in range(len(engines))]
    rows = []
    for title, group in (("re-quantised", engines), ("rotated to 0.98", damaged)):
        for number, engine in enumerate(group, start=1):
            frozen = frozen_decisions(view, engine)
            wider = bounded_over_people(frozen, view, dataset.identities).paired
            lost = view.correct.astype(np.float64) - frozen.correct
            missed, missed_wide, failed = _resampled(dataset, lost, random)
            rows.append(
                [
                    f"{title} {number}",
                    *(f"{value:.5f}" for value in _cosines(reference, engine)),
                    f"{frozen.paired.lost}",
                    f"{frozen.paired.won}",
                    f"{frozen.paired.upper:.5f}",
                    f"{upper_bound_over_people(lost, view.pairs, dataset.identities):.5f}",
                    f"{wider.upper:.5f}",
                    f"{100 * missed:.1f}",
                    f"{100 * missed_wide:.1f}",
                    f"{100 * failed:.1f}",
                ]
            )
            say(" | ".join(rows[-1]))
    head = ["engine", "cosine min", "p1", "mean", "lost", "won", "Tango's bound", "bootstrap's"]
    head += ["the larger", "Tango's misses, %", "the larger misses, %", "INT8's gate fails, %"]
    write_table(TABLE, "people orl", head, rows)


def _cosines(reference: Embeddings, engine: Embeddings) -> tuple[float, float, float]:
    found = compare_embeddings(reference, engine)
    return found.cosine_min, found.cosine_p1, found.cosine_mean


def _resampled(
    dataset: VerificationSet, lost: NDArray[np.float64], random: Random
) -> tuple[float, float, float]:
    """Draw people anew; return how often each bound misses, and how often the gate fails.

    The drop over all people is the truth of which people are drawn. A 95 % bound should miss it in
    5 % of the draws.
    """
    first, second = dataset.identities[dataset.left], dataset.identities[dataset.right]
    dyads, of_pair = np.unique(np.stack([first, second], axis=1), axis=0, return_inverse=True)
    of_pair = of_pair.ravel()
    bad = np.bincount(of_pair, lost > 0)
    good = np.bincount(of_pair, lost < 0)
    size, alone = np.bincount(of_pair), dyads[:, 0] == dyads[:, 1]

    def weights(counts: NDArray[np.intp]) -> NDArray[np.intp]:
        return counts[..., dyads[:, 0]] * np.where(alone, 1, counts[..., dyads[:, 1]])

    truth, people = float(lost.mean()), dataset.people
    missed = missed_wide = failed = 0
    for _ in range(RESAMPLES):
        drawn = random.integers(people, size=people)
        once = weights(np.bincount(drawn, minlength=people))
        paired = compare_counts(int(once @ bad), int(once @ good), int(once @ size))
        again = np.stack(
            [np.bincount(random.choice(drawn, people), minlength=people) for _ in range(INNER)]
        )
        twice = weights(again)
        over_people = float(np.quantile(twice @ (bad - good) / (twice @ size), 0.95))
        missed += paired.upper < truth
        missed_wide += max(paired.upper, over_people) < truth
        failed += (
            non_inferiority(paired, gate=GATE, delta=0.003, alpha=ALPHA).verdict is Verdict.FAIL
        )
    return missed / RESAMPLES, missed_wide / RESAMPLES, failed / RESAMPLES


def _halves(
    bench: Bench, dataset: VerificationSet, faces: AlignedFaces, reference: Embeddings
) -> None:
    """Calibrate on 20 of the people and judge the other 20, beside faces the package draws."""
    judged = {person_name(person) for people in FOLDS[::2] for person in people}
    kept = [name.rpartition("_")[0] in judged for name in dataset.names]
    others = faces.part([row for row, one in enumerate(kept) if not one])
    part = np.isin(dataset.folds, np.arange(0, len(FOLDS), 2))
    view = evaluate_embeddings(reference, dataset.pairs)
    rows = []
    sources: Sequence[tuple[str, AlignedFaces]] = (
        ("200 photos of the other 20 people", others),
        ("the 512 drawn faces of the package", drawn_faces(bench.cache).faces),
    )
    for title, calibration in sources:
        engine = bench.rows("int8", calibration, faces)
        frozen = frozen_decisions(view, engine)
        cosines = _cosines(reference[kept], engine[kept])
        before, after = view.correct[part], frozen.correct[part]
        lost, won = int((before & ~after).sum()), int((after & ~before).sum())
        upper = tango_upper_bound(lost, won, int(part.sum()))
        rows.append(
            [title, *(f"{value:.5f}" for value in cosines), f"{lost}", f"{won}", f"{upper:.5f}"]
        )
        say(" | ".join(rows[-1]))
    head = ["calibrated on", "cosine min", "p1", "mean", "lost", "won", "Tango's bound"]
    write_table(TABLE, "halves orl", head, rows)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, metavar="DIR", help="cache folder")
    parser.add_argument("--trials", type=int, default=200, metavar="N")
    parser.add_argument("--engines", type=int, default=8, metavar="N")
    return parser.parse_args()


if __name__ == "__main__":
    main()
