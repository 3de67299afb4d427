"""How often a diagnosis names the cause that was planted, and how often one that is not there.

    python docs/evidence/measure_diagnosis.py --lfw DIR --work DIR [--tune] [--part NAME ...]

Faults are planted at the input, the output or the graph of sound engines of the pretrained model.
Each is diagnosed on faces of LFW that are drawn for it. `--tune` draws by another seed: limits were
chosen on those, and the tables are of the others. Every diagnosis is kept in the work folder as it
is made, so a run that was interrupted goes on where it ended. The script writes the tables between
the markers in docs/evidence/diagnosis.md.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from measure_gates import say, write_table
from numpy.typing import NDArray
from planted_causes import Plant, planted_inputs, planted_outputs
from planted_graphs import (
    CHANGES,
    Change,
    calibrated_on,
    changed_layers,
    collapsed,
    from_0_to_1,
    layers,
    noisy,
    pruned,
    random_values,
    raw,
    renamed,
    rounded_tensors,
    standardized_again,
)
from pretrained_engines import PretrainedEngines

from facenet_validate.base.preprocessing import standardize
from facenet_validate.base.vocabulary import PRECISIONS, Precision
from facenet_validate.cache import Cache
from facenet_validate.datasets.faces import AlignedFaces
from facenet_validate.datasets.layout import find_layout
from facenet_validate.datasets.lfw import load_set
from facenet_validate.diagnosis.case import Case
from facenet_validate.diagnosis.diagnosing import diagnose
from facenet_validate.engines.artefacts import build_artefact
from facenet_validate.engines.onnxruntime.engine import OnnxRuntimeEngine
from facenet_validate.engines.protocol import Engine
from facenet_validate.models.prepared import load_onnx
from facenet_validate.models.quantization.recipes import int8_recipe

TABLE = Path(__file__).with_name("diagnosis.md")
SEED, TUNING_SEED = 20180408, 18
FACES = 32
THREE = 3
"""Strengths or places of every cause, at least."""

POOL = 800
"""Photos that faces are drawn from."""

CALIBRATION = 128
"""Photos that a re-quantised engine is calibrated on, drawn anew for each."""


@dataclass(frozen=True)
class Trial:
    """One engine to diagnose.

    Attributes
    ----------
    part : str
        Of the tables.
    expected : str
        The name of the cause; empty where none may be named.
    title : str
        What was planted, how strong, in which engine.
    make : callable
        Returns the engine and its graph.
    """

    part: str
    expected: str
    title: str
    make: Callable[[np.random.Generator], tuple[Engine, Path | None]]


@dataclass
class Bench:
    """Sound engines, and faces to diagnose them on."""

    lfw: Path
    work: Path
    _engines: dict[str, tuple[Engine, Path]] = field(default_factory=dict)

    @cached_property
    def pretrained(self) -> PretrainedEngines:
        return PretrainedEngines(Cache(self.work))

    @cached_property
    def _photos(self) -> tuple[AlignedFaces, AlignedFaces]:
        found = load_set(find_layout(self.lfw), name="lfw", title="LFW", calibration_images=1024)
        every = np.random.default_rng(0).permutation(len(found.names))[:POOL]
        names = tuple(found.names[row] for row in every)
        paths = tuple(found.paths[row] for row in every)
        aligned = self.pretrained.aligned
        return aligned(names, paths), aligned(found.calibration_names, found.calibration_paths)

    @cached_property
    def faces(self) -> NDArray[np.uint8]:
        return self._photos[0].load(np.arange(POOL))

    @property
    def calibration(self) -> AlignedFaces:
        return self._photos[1]

    def opened(self, path: Path, precision: Precision) -> Engine:
        """Return an engine of a graph on this machine's CPU."""
        cpu = self.pretrained.cpu
        return OnnxRuntimeEngine(
            path, digest="", precision=precision, artefact=path.name, device=cpu.name,
            threads=1, target=self.pretrained.target,  # parts are measured side by side
        )  # fmt: skip

    def sound(
        self, precision: Precision, calibration: Sequence[int] | None = None
    ) -> tuple[Engine, Path]:
        """Return an engine of a recipe and its graph, for INT8 calibrated on some photos."""
        rows = range(CALIBRATION) if calibration is None else calibration
        key = f"{precision} {list(rows) if precision == 'int8' else ''}"
        if key not in self._engines:
            made = build_artefact(
                precision, self.pretrained.model, self.pretrained.target,
                lambda: self.calibration.part(list(rows)), self.pretrained.cache,
            )  # fmt: skip
            self._engines[key] = self.opened(made.path, precision), made.path
        return self._engines[key]

    def of_graph(
        self, graph: onnx.ModelProto, name: str, precision: Precision = "fp32"
    ) -> tuple[Engine, Path]:
        """Return an engine of a graph, and where the graph is."""
        path = self.work / "graphs" / f"{name}.onnx"
        path.parent.mkdir(exist_ok=True, parents=True)
        onnx.save(graph, path)
        return self.opened(path, precision), path

    def case(self, engine: Engine, graph: Path | None, random: np.random.Generator) -> Case:
        """Return a case on faces that are drawn, the worst first."""
        rows = random.choice(POOL, FACES, replace=False)
        names = tuple(str(row) for row in rows)
        reference, _ = self.sound("fp32")
        return Case(engine, reference, self.pretrained.model, self.faces[rows], names, graph)


# -- what is planted -------------------------------------------------------------------------------


def planted(bench: Bench) -> Iterator[Trial]:
    """Yield faults at the input, the output and the batch, three or more of each cause.

    Faults of three strengths or more are planted in FP16 and INT8 engines in turn, the others in
    one engine of each precision.
    """
    plants = [*planted_outputs(), *planted_inputs()]
    strengths = Counter(plant.cause for plant in plants)
    for place, plant in enumerate(plants):
        alone = strengths[plant.cause] < THREE
        for precision in PRECISIONS if alone else PRECISIONS[1 + place % 2 :][:1]:
            make = partial(_planted, bench, plant, precision)
            yield Trial("planted", plant.cause, f"{plant.strength}, {precision}", make)


def _planted(
    bench: Bench, plant: Plant, precision: Precision, random: np.random.Generator
) -> tuple[Engine, Path | None]:
    return plant.make(bench.sound(precision)[0], random), None


def planted_in_graphs(bench: Bench) -> Iterator[Trial]:
    """Yield faults of single layers, of ranges and of calibration."""

    def layer(
        place: float, change: Change, random: np.random.Generator
    ) -> tuple[Engine, Path | None]:
        model = load_onnx(bench.pretrained.model.entry.path)
        names = layers(model)
        name = names[round(place * (len(names) - 1))]
        graph = changed_layers(model, [name], change, random)
        return bench.of_graph(graph, f"layer-{place}-{change.__name__}")

    for place in (0.1, 0.5, 0.9):
        for change in CHANGES:
            title = f"layer at {place:.0%}: {change.__name__}"
            yield Trial("graphs", "single layer", title, partial(layer, place, change))

    def ranged(place: float, factor: float, _: np.random.Generator) -> tuple[Engine, Path | None]:
        graph = load_onnx(bench.sound("int8")[1])
        tensors = rounded_tensors(graph)
        tensor = tensors[round(place * (len(tensors) - 1))]
        return bench.of_graph(collapsed(graph, tensor, factor), f"range-{place}", "int8")

    for place, factor in ((0.2, 1 / 30), (0.5, 1 / 30), (0.8, 1 / 30)):
        title = f"range at {place:.0%} × {factor:.2f}"
        yield Trial("graphs", "collapsed range", title, partial(ranged, place, factor))

    def calibrated(
        images: Callable[[NDArray[np.float32]], NDArray[np.float32]], _: np.random.Generator
    ) -> tuple[Engine, Path | None]:
        model = load_onnx(bench.pretrained.model.entry.path)
        faces = standardize(bench.faces[:CALIBRATION], bench.pretrained.model.image_size)
        graph = calibrated_on(model, images(faces), int8_recipe(bench.pretrained.target))
        return bench.of_graph(graph, f"calibrated-{getattr(images, '__name__', 'few')}", "int8")

    for cause, images in (
        ("calibration on raw photos", raw),
        ("calibration scale", from_0_to_1),
        ("calibration scale", standardized_again),
        ("calibration on few faces", _first_face),
    ):
        title = f"calibrated on {images.__name__.strip('_').replace('_', ' ')}"
        yield Trial("graphs", cause, title, partial(calibrated, images))


def _first_face(faces: NDArray[np.float32]) -> NDArray[np.float32]:
    return faces[:1]


def sound_engines(bench: Bench) -> Iterator[Trial]:
    """Yield engines that lost nothing: re-quantised, FP16, and exported in another way."""
    for draw in range(30):

        def quantised(_: np.random.Generator, draw: int = draw) -> tuple[Engine, Path | None]:
            random = np.random.default_rng([SEED, draw])
            rows = random.choice(len(bench.calibration.names), CALIBRATION, replace=False)
            return bench.sound("int8", np.sort(rows).tolist())

        yield Trial("sound", "", f"re-quantised, draw {draw}", quantised)
    for draw in range(10):
        yield Trial("sound", "", f"fp16, faces {draw}", lambda _: bench.sound("fp16"))

        def exported(random: np.random.Generator, draw: int = draw) -> tuple[Engine, Path | None]:
            model = load_onnx(bench.pretrained.model.entry.path)
            return bench.of_graph(renamed(model, random), f"renamed-{draw}")

        yield Trial("sound", "", f"re-exported, {draw}", exported)


def unlisted(bench: Bench) -> Iterator[Trial]:
    """Yield engines that fail for a reason that is on no list."""

    def damaged(
        change: Callable[[onnx.ModelProto, np.random.Generator], onnx.ModelProto], title: str
    ) -> Trial:
        def make(random: np.random.Generator) -> tuple[Engine, Path | None]:
            model = load_onnx(bench.pretrained.model.entry.path)
            return bench.of_graph(change(model, random), title.replace(" ", "-"))

        return Trial("unlisted", "", title, make)

    for level in (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5):
        yield damaged(partial(_noisy, level), f"noise of {level} on all weights")
    for share in (0.3, 0.4, 0.5, 0.6, 0.7, 0.8):
        yield damaged(partial(_pruned, share), f"{share} of all weights pruned")
    for count in (2, 4, 8, 16, 32, 64):
        yield damaged(partial(_drawn, count), f"{count} random layers")


def _noisy(level: float, model: onnx.ModelProto, random: np.random.Generator) -> onnx.ModelProto:
    return noisy(model, level, random)


def _pruned(share: float, model: onnx.ModelProto, _: np.random.Generator) -> onnx.ModelProto:
    return pruned(model, share)


def _drawn(count: int, model: onnx.ModelProto, random: np.random.Generator) -> onnx.ModelProto:
    names = random.choice(layers(model), count, replace=False).tolist()
    return changed_layers(model, names, random_values, random)


# Faults in graphs have a part of their own here: a function that yields trials.
PARTS: dict[str, Callable[[Bench], Iterator[Trial]]] = {
    "planted": planted,
    "graphs": planted_in_graphs,
    "sound": sound_engines,
    "unlisted": unlisted,
}

# -- measuring -------------------------------------------------------------------------------------


def measured(bench: Bench, trial: Trial, seed: int, place: int) -> dict[str, Any]:
    """Diagnose one engine; return a line of the log."""
    random = np.random.default_rng([seed, place])
    engine, graph = trial.make(random)
    start = time.perf_counter()
    diagnosis = diagnose(bench.case(engine, graph, random), full=trial.part == "sound")
    best = diagnosis.cause or diagnosis.tried[0]
    return {
        "part": trial.part,
        "expected": trial.expected,
        "title": trial.title,
        "named": "" if diagnosis.cause is None else diagnosis.cause.cause.name,
        "best": best.cause.name,
        "removed": best.removed,
        "before": best.cosine_before,
        "after": best.cosine_after,
        "detail": best.detail,
        "seconds": time.perf_counter() - start,
    }


def right(line: dict[str, Any]) -> bool:
    """Say whether the cause is the planted one, or none where none was planted.

    Of two planted faults one is enough: with it undone, the next diagnosis has the other.
    """
    named, expected = (set(filter(None, line[key].split(" + "))) for key in ("named", "expected"))
    return bool(named) == bool(expected) and named <= expected


def rows_of(lines: Sequence[dict[str, Any]]) -> Iterator[list[str]]:
    """Yield a row for each cause, or for each kind of engine where none may be named."""
    grouped: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in lines:
        grouped[line["expected"] or line["title"].split(",")[0]].append(line)
    for name, group in grouped.items():
        wrong = [line for line in group if not right(line)]
        told = "; ".join(f"{one['title']}: {one['named'] or 'none'}" for one in wrong)
        removed = [line["removed"] for line in group]
        counted = f"{len(group) - len(wrong)} of {len(group)}"
        yield [name, counted, f"{min(removed):.3f} to {max(removed):.3f}", told or "–"]
    total = sum(right(line) for line in lines)
    yield ["all", f"{total} of {len(lines)} ({100 * total / len(lines):.1f} %)", "", ""]


def main() -> None:
    """Measure, print, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lfw", type=Path, required=True, metavar="DIR")
    parser.add_argument("--work", type=Path, required=True, metavar="DIR", help="cache folder")
    parser.add_argument("--tune", action="store_true", help="the seed that limits were chosen by")
    parser.add_argument("--part", choices=PARTS, nargs="+", default=list(PARTS))
    parser.add_argument("--only", default="", metavar="TEXT", help="causes and titles with it")
    parser.add_argument("--draws", type=int, default=1, metavar="N", help="draws of faces")
    arguments = parser.parse_args()
    seed = TUNING_SEED if arguments.tune else SEED
    bench = Bench(arguments.lfw, arguments.work)
    log = arguments.work / f"diagnosis-{seed}.jsonl"
    known = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    done = {(line["part"], line["expected"], line["title"], line["draw"]): line for line in known}
    for part in arguments.part:
        lines = []
        for draw in range(arguments.draws):
            for place, trial in enumerate(PARTS[part](bench)):
                if arguments.only not in f"{trial.expected} {trial.title}":
                    continue
                key = (part, trial.expected, trial.title, draw)
                if key not in done:
                    done[key] = measured(bench, trial, seed, 1000 * draw + place) | {"draw": draw}
                    with log.open("a") as file:
                        file.write(json.dumps(done[key]) + "\n")
                line = done[key]
                lines.append(line)
                say(
                    f"{'  ' if right(line) else '! '}{part} | {line['expected']} | {line['title']} "
                    f"→ {line['named'] or 'none'} ({line['best']}: {line['removed']:.3f}, cosine "
                    f"{line['before']:.4f} to {line['after']:.4f}; {line['detail']}) "
                    f"[{line['seconds']:.0f} s]"
                )
        if lines and not arguments.tune and not arguments.only:
            write_table(TABLE, part, ["planted", "right", "removed", "wrong"], list(rows_of(lines)))


if __name__ == "__main__":
    main()
