"""What the robustness gates see: healthy engines, engines blind to blur, and how long it takes.

    python docs/evidence/measure_robustness.py --work DIR [--lfw DIR] [--extent quick]
        [--trials 200] [--engines 8] [--tables blind healthy …]

The pretrained model on the ORL photos, or on LFW. Healthy engines are the recipe's INT8 engine and
re-quantised ones: each range of its activations is changed by up to 5 %, as another calibration
would. All is judged by the limits and the share of the 1 % that a run of one precision has. The
script writes the tables between the markers in docs/evidence/robustness.md.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from hashlib import sha256
from pathlib import Path

import numpy as np
import onnx
from measure_gates import Embeddings, Random, rotated, say, write_table
from measure_replacement import replaced
from numpy.typing import NDArray
from onnx import numpy_helper
from planted_blur import blind_to_blur, laplacian_energy, least_energy
from pretrained_engines import PretrainedEngines
from scipy.stats import binomtest

from facenet_validate.base.preprocessing import standardize
from facenet_validate.base.vocabulary import Precision
from facenet_validate.cache import Cache
from facenet_validate.datasets.calibration import drawn_faces
from facenet_validate.datasets.corrupted import CorruptedFaces, CorruptedPairs, corrupted_pairs
from facenet_validate.datasets.corruptions import KINDS, QUICK_KINDS
from facenet_validate.datasets.faces import AlignedFaces
from facenet_validate.datasets.layout import find_layout
from facenet_validate.datasets.lfw import load_set
from facenet_validate.datasets.orl import orl_folder
from facenet_validate.datasets.verification_set import VerificationSet
from facenet_validate.engines.artefacts import build_artefact
from facenet_validate.engines.embedding import Faces, cached_embeddings, embed
from facenet_validate.engines.onnxruntime.engine import OnnxRuntimeEngine
from facenet_validate.gates.limits import read_gates
from facenet_validate.gates.verdicts import GateResult, Verdict
from facenet_validate.metrics.fragility import Fragility
from facenet_validate.metrics.paired import non_inferiority
from facenet_validate.metrics.parity import compare_embeddings
from facenet_validate.metrics.view2 import View2, evaluate_embeddings
from facenet_validate.models.prepared import load_onnx
from facenet_validate.run.any_picture import noise_accepted, odd_pictures
from facenet_validate.run.corrupted import compared, decided
from facenet_validate.run.robustness import PICTURES

REPOSITORY = Path(__file__).parents[2]
PAGE = Path(__file__).with_name("robustness.md")
SHARES = (0.25, 0.5, 0.75, 0.9)
BROKEN = (0.005, 0.01, 0.02, 0.05, 0.1)
COSINES = (0.99, 0.95, 0.9)
RANGE = 0.05
TIMED = 256
AS_THEY_ARE = 32
TABLES = ("times", "blind", "noise", "curves", "healthy", "damaged")


@dataclass(frozen=True)
class Rows:
    """An engine's embeddings of the photos as they are, and of the corrupted ones of every kind."""

    clean: Embeddings
    corrupted: Embeddings


class Bench(PretrainedEngines):
    """The model, its engines, and the photos."""

    def __init__(self, work: Path, lfw: Path | None, extent: str) -> None:
        super().__init__(Cache(work))
        self.name = "orl" if lfw is None else "lfw"
        folder = orl_folder(self.cache) if lfw is None else lfw
        self.dataset: VerificationSet = load_set(find_layout(folder), name=self.name, title="")
        self.kinds = QUICK_KINDS if extent == "quick" else KINDS
        self.pictures = PICTURES[extent]
        self._planted = work / "planted"

    @cached_property
    def faces(self) -> AlignedFaces:
        return self.aligned(self.dataset.names, self.dataset.paths)

    @cached_property
    def chosen(self) -> CorruptedPairs:
        return corrupted_pairs(self.dataset.pairs, len(self.dataset.names), self.pictures)

    @cached_property
    def corrupted(self) -> CorruptedFaces:
        return CorruptedFaces(self.faces, self.kinds, self.chosen.photos, self.chosen.severities)

    def recipe(self) -> Path:
        """Return the recipe's INT8 graph, calibrated on drawn faces."""
        calibration = drawn_faces(self.cache).faces.part(range(512))
        return build_artefact("int8", self.model, self.target, lambda: calibration, self.cache).path

    def requantised(self, recipe: Path, number: int) -> Path:
        """Return an INT8 graph of other ranges; number 0 is the recipe's own."""
        if not number:
            return recipe
        graph = onnx.load(recipe)
        weights = {one.name: one for one in graph.graph.initializer}
        scales = {
            node.input[1]
            for node in graph.graph.node
            if node.op_type == "QuantizeLinear" and node.input[0] not in weights
        }
        random = np.random.default_rng(number)
        for name in sorted(scales):
            value = numpy_helper.to_array(weights[name])
            changed = value * np.float32(1 + RANGE * random.uniform(-1, 1))
            weights[name].CopyFrom(numpy_helper.from_array(changed.astype(value.dtype), name))
        return self.written(graph, f"requantised-{number}")

    def written(self, graph: onnx.ModelProto, name: str) -> Path:
        self._planted.mkdir(parents=True, exist_ok=True)
        path = self._planted / f"{name}.onnx"
        onnx.save(graph, path)
        return path

    def engine(self, path: Path, precision: Precision) -> OnnxRuntimeEngine:
        return OnnxRuntimeEngine(
            path,
            digest=sha256(path.read_bytes()).hexdigest(),
            precision=precision,
            artefact=path.name,
            device=self.cpu.name,
            threads=self.cpu.cores,
            target=self.target,
        )

    def rows(self, path: Path, precision: Precision) -> Rows:
        """Return embeddings by an engine, from the cache where they are there."""
        with self.engine(path, precision) as engine:

            def embedded(faces: Faces) -> Embeddings:
                found = cached_embeddings(engine, faces, 64, self.cache, cpu=self.cpu.name)
                return found.values.astype(np.float64)

            return Rows(embedded(self.faces), embedded(self.corrupted))


@dataclass(frozen=True)
class Judge:
    """The reference, and the gates that an engine is held to.

    Attributes
    ----------
    bench : Bench
    reference : Rows
    """

    bench: Bench
    reference: Rows

    @cached_property
    def view(self) -> View2:
        return evaluate_embeddings(self.reference.clean, self.bench.dataset.pairs)

    @cached_property
    def limits(self) -> dict[str, float]:
        gates = read_gates(REPOSITORY / "baselines" / "gates.toml")
        return gates.limits(self.bench.name, "int8", "cpu-vnni")

    @cached_property
    def before(self) -> dict[str, NDArray[np.bool_]]:
        return {kind: self.right(self.reference, kind) for kind in self.bench.kinds}

    def right(self, rows: Rows, kind: str) -> NDArray[np.bool_]:
        corrupted = rows.corrupted[self.bench.corrupted.rows(kind)]
        return decided(self.bench.chosen, self.view.rule, rows.clean, corrupted)

    def fragility(self, rows: Rows, kind: str) -> Fragility:
        people = self.bench.dataset.identities
        return compared(self.bench.chosen, people, self.before[kind], self.right(rows, kind))

    def judged(self, found: Fragility, kind: str) -> GateResult:
        gate = f"robustness.{kind}"
        alpha = 0.01 / len(self.bench.kinds)
        return non_inferiority(found.paired, gate=gate, delta=self.limits[gate], alpha=alpha)

    def verdicts(self, rows: Rows, kinds: Sequence[str]) -> dict[str, Verdict]:
        return {kind: self.judged(self.fragility(rows, kind), kind).verdict for kind in kinds}


def told(verdicts: Sequence[Verdict]) -> str:
    """Return how often a gate failed, was inconclusive and passed, in per cent."""
    counted, trials = Counter(verdicts), len(verdicts)
    shares = [counted[one] for one in (Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.PASS)]
    return " / ".join(f"{100 * share / trials:.1f}" for share in shares)


def row_of(title: str, trials: Sequence[Mapping[str, Verdict]], kinds: Sequence[str]) -> list[str]:
    """Return a table's row: trials, runs in which any kind fails, and each kind."""
    false = sum(Verdict.FAIL in one.values() for one in trials)
    interval = binomtest(false, len(trials)).proportion_ci(0.95)
    share = f"{100 * false / len(trials):.1f} ({100 * interval.low:.1f}–{100 * interval.high:.1f})"
    row = [title, str(len(trials)), share]
    row += [told([one[kind] for one in trials]) for kind in kinds]
    say(" | ".join(row))
    return row


def mixture(engines: Sequence[Rows], random: Random) -> Rows:
    """Return an engine whose every embedding is that of one of the engines."""

    def mixed(arrays: Sequence[Embeddings]) -> Embeddings:
        choice = random.integers(len(arrays), size=len(arrays[0]))
        return np.stack(arrays)[choice, np.arange(len(arrays[0]))]

    return Rows(mixed([one.clean for one in engines]), mixed([one.corrupted for one in engines]))


def healthy_rows(
    bench: Bench, judge: Judge, engines: Sequence[Rows], trials: int
) -> Iterator[list[str]]:
    """Yield the lines of engines that lost nothing."""
    kinds = bench.kinds
    each = [judge.verdicts(one, kinds) for one in engines]
    yield row_of(f"each of {len(engines)} INT8 engines beside FP32", each, kinds)
    seeds = np.random.SeedSequence(20180408).spawn(trials)
    found = [judge.verdicts(mixture(engines, np.random.default_rng(seed)), kinds) for seed in seeds]
    yield row_of("a mixture of them beside FP32", found, kinds)
    found = []
    for seed in seeds:
        random = np.random.default_rng(seed)
        one = int(random.integers(len(engines)))
        others = [rows for number, rows in enumerate(engines) if number != one]
        found.append(Judge(bench, engines[one]).verdicts(mixture(others, random), kinds))
    yield row_of("a mixture beside one of them", found, kinds)


def damaged_rows(
    judge: Judge, engines: Sequence[Rows], trials: int, kind: str
) -> Iterator[list[str]]:
    """Yield the lines of engines whose embeddings of one kind are damaged in a known way."""
    rows = judge.bench.corrupted.rows(kind)
    damages: list[tuple[str, Callable[[Embeddings, Random], Embeddings]]] = [
        (f"{100 * share:g} % of the corrupted photos somewhere else", partial(_replaced, share))
        for share in BROKEN
    ]
    damages += [
        (f"each corrupted photo turned, mean cosine {cosine}", partial(_turned, cosine))
        for cosine in COSINES
    ]
    for title, damage in damages:
        found, drops = [], []
        for seed in np.random.SeedSequence(20180408).spawn(trials):
            random = np.random.default_rng(seed)
            engine = mixture(engines, random)
            corrupted = engine.corrupted.copy()
            corrupted[rows] = damage(corrupted[rows], random)
            one = judge.fragility(Rows(engine.clean, corrupted), kind)
            drops.append(one.paired.drop)
            found.append(judge.judged(one, kind).verdict)
        row = [title, str(trials), f"{float(np.mean(drops)):.4f}", told(found)]
        say(" | ".join(row))
        yield row


def _replaced(share: float, rows: Embeddings, random: Random) -> Embeddings:
    return replaced(rows, share, random)


def _turned(cosine: float, rows: Embeddings, random: Random) -> Embeddings:
    return rotated(rows, cosine, random)


def planted_rows(bench: Bench, judge: Judge) -> Iterator[list[str]]:
    """Yield a line an engine that is blind to blur: what changes as it is, and each verdict."""
    faces, corrupted = bench.faces, bench.corrupted

    def batches(shown: Faces) -> Iterator[NDArray[np.float32]]:
        for start in range(0, len(shown.names), 64):
            rows = np.arange(start, min(start + 64, len(shown.names)))
            yield standardize(shown.load(rows))

    least = least_energy(batches(faces))
    energy = np.concatenate([laplacian_energy(batch) for batch in batches(corrupted)])
    smooth, tried = np.flatnonzero(energy < least), np.arange(AS_THEY_ARE)
    hit = Counter(bench.kinds[number // len(bench.chosen.photos)] for number in smooth.tolist())
    say(f"smoother than every face: {dict(hit)} of {len(bench.chosen.photos)} each")
    for share in SHARES:
        planted = blind_to_blur(load_onnx(bench.model.entry.path), least, share)
        path = bench.written(planted, f"blind-{share}")
        rows = judge.reference.corrupted.copy()
        with bench.engine(path, "fp32") as engine:
            # The others have the embeddings that they had; it is tried on some.
            rows[smooth] = embed(engine, corrupted, 64, rows=smooth)
            clean = embed(engine, faces, 64, rows=tried)
        moved = float(np.abs(clean - judge.reference.clean[tried]).max())
        broken = Rows(judge.reference.clean, rows)
        found = {kind: judge.fragility(broken, kind) for kind in bench.kinds}
        cells = [
            f"{found[kind].paired.drop:.4f}, {judge.judged(found[kind], kind).verdict}"
            for kind in bench.kinds
        ]
        row = [f"{100 * share:g} %", f"{moved:.1g}", *cells]
        say(" | ".join(row))
        yield row


def curve_rows(judge: Judge, recipe: Rows) -> Iterator[list[str]]:
    """Yield a line a kind: accuracies by severity, FP32's and the recipe's INT8 engine's."""
    for kind in judge.bench.kinds:
        found = judge.fragility(recipe, kind)
        cells = [f"{at.reference_accuracy:.4f}, {at.engine_accuracy:.4f}" for at in found.curve]
        counts = f"{found.paired.lost}, {found.paired.won} of {found.paired.pairs}"
        yield [kind, *cells, counts]


def odd_rows(bench: Bench, judge: Judge, graphs: Sequence[Path]) -> Iterator[list[str]]:
    """Yield a line an engine: odd pictures, and noise that it accepts."""
    rows = np.linspace(0, len(bench.faces.names) - 1, 16).astype(np.intp)
    faces = bench.faces.load(rows)
    with bench.engine(bench.model.entry.path, "fp32") as reference:
        for number, graph in enumerate(graphs):
            with bench.engine(graph, "int8") as engine:
                odd = odd_pictures(engine)
                noise = noise_accepted(engine, reference, judge.view.rule, faces)
            row = [str(number), f"{odd.value:g}", f"{noise.value:.4f}", noise.detail]
            say(" | ".join(row))
            yield row


def time_rows(bench: Bench, recipe: Path) -> Iterator[list[str]]:
    """Yield a line an engine: how fast it embeds corrupted photos, and what a run then takes."""
    rows = np.linspace(0, len(bench.corrupted.names) - 1, TIMED).astype(np.intp)
    for title, path, precision in (
        ("FP32", bench.model.entry.path, "fp32"),
        ("INT8", recipe, "int8"),
    ):
        with bench.engine(path, precision) as engine:  # type: ignore[arg-type]
            embed(engine, bench.corrupted, 64, rows=rows[:64])
            start = time.perf_counter()
            embed(engine, bench.corrupted, 64, rows=rows)
            rate = TIMED / (time.perf_counter() - start)
        quick, full = len(QUICK_KINDS) * PICTURES["quick"], len(KINDS) * PICTURES["full"]
        load = os.getloadavg()[0]
        row = [title, f"{rate:.0f}", f"{quick / rate:.1f}", f"{full / rate:.0f}", f"{load:.1f}"]
        say(" | ".join(row))
        yield row


def main() -> None:
    """Measure, print, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, metavar="DIR", help="cache folder")
    parser.add_argument("--lfw", type=Path, metavar="DIR", help="default: the ORL photos")
    parser.add_argument("--extent", choices=("quick", "full"), default="quick")
    parser.add_argument("--trials", type=int, default=200, metavar="N")
    parser.add_argument("--engines", type=int, default=8, metavar="N", help="INT8 engines")
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=TABLES, help="which ones")
    arguments = parser.parse_args()
    bench = Bench(arguments.work, arguments.lfw, arguments.extent)
    recipe, wanted = bench.recipe(), set(arguments.tables)
    where, trials = f"{bench.name} {arguments.extent}", arguments.trials
    if "times" in wanted:
        head = ["engine", "photos a second", "quick, s", "full, s", "load of the machine before"]
        write_table(PAGE, "times", head, list(time_rows(bench, recipe)))
    if wanted == {"times"}:
        return
    judge = Judge(bench, bench.rows(bench.model.entry.path, "fp32"))
    if "blind" in wanted:
        head = ["zeroed", f"largest change of {AS_THEY_ARE} photos as they are", *bench.kinds]
        write_table(PAGE, f"blind {where}", head, list(planted_rows(bench, judge)))
    graphs = [bench.requantised(recipe, number) for number in range(arguments.engines)]
    if "noise" in wanted:
        head = ["INT8 engine", "odd pictures", "noise accepted", "which"]
        write_table(PAGE, f"noise {where}", head, list(odd_rows(bench, judge, graphs)))
    if not wanted & {"curves", "healthy", "damaged"}:
        return
    engines = []
    for graph in graphs:
        engines.append(bench.rows(graph, "int8"))
        cosine = compare_embeddings(judge.reference.clean, engines[-1].clean).cosine_mean
        say(f"INT8 engine {len(engines)} of {len(graphs)}: mean row cosine {cosine:.5f}")
    if "curves" in wanted:
        head = ["kind", *(f"severity {number}" for number in range(1, 6)), "lost, won"]
        write_table(PAGE, f"curves {where}", head, list(curve_rows(judge, engines[0])))
    if "healthy" in wanted:
        head = ["engine", "trials", "a run fails, %", *bench.kinds]
        found = list(healthy_rows(bench, judge, engines, trials))
        write_table(PAGE, f"healthy {where}", head, found)
    if "damaged" in wanted:
        head = ["blurred photos", "trials", "mean drop", "fail / inconclusive / pass, %"]
        found = list(damaged_rows(judge, engines, trials, "blur"))
        write_table(PAGE, f"damaged {where}", head, found)


if __name__ == "__main__":
    main()
