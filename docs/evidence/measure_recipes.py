"""Measure INT8 recipes on LFW and write the table of docs/evidence/recipes.md.

    python docs/evidence/measure_recipes.py --lfw LFW --work FOLDER

Rows that FOLDER/rows-….jsonl holds already are not measured again, so an interrupted run goes on.
A row that was not measured in FOLDER stays as the page has it. About 45 minutes on 2 cores; with
``--target`` the rows of that target alone.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache, cached_property
from importlib import metadata
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facenet_validate.base.digests import file_digest, inputs_digest
from facenet_validate.base.machine import cpu_identity, flags_digest
from facenet_validate.base.preprocessing import standardize
from facenet_validate.base.vocabulary import TARGETS
from facenet_validate.benchmarking.paired_ratio import LOOKS, paired_ratio
from facenet_validate.benchmarking.timing import QuadTimer, warm_up
from facenet_validate.cache import Cache
from facenet_validate.datasets.faces import AlignedFaces, already_aligned, faces_of
from facenet_validate.datasets.layout import find_layout
from facenet_validate.datasets.lfw import load_set
from facenet_validate.datasets.synthetic import proof_faces
from facenet_validate.datasets.synthetic_cache import synthetic_folder
from facenet_validate.datasets.verification_set import VerificationSet
from facenet_validate.engines.embedding import cached_embeddings
from facenet_validate.engines.onnxruntime.engine import OnnxRuntimeEngine
from facenet_validate.engines.protocol import Engine
from facenet_validate.metrics.paired import compare_decisions
from facenet_validate.metrics.parity import compare_embeddings
from facenet_validate.metrics.verification import decisions, evaluate, pair_distances
from facenet_validate.models.network import int8_share
from facenet_validate.models.prepared import PreparedModel, load_onnx, prepare, source_model
from facenet_validate.models.quantization.int8 import Calibrated, calibrate, to_int8
from facenet_validate.models.quantization.recipes import METHODS, Int8Recipe, int8_recipe

BATCH = 64
ALL = 1549
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


@dataclass(frozen=True)
class Row:
    """A recipe and the images it is calibrated on."""

    recipe: Int8Recipe
    faces: str
    images: int

    @property
    def key(self) -> str:
        """What tells it from other rows."""
        recipe = json.dumps(self.recipe.inputs(), sort_keys=True)
        return f"{self.faces} {self.images} {recipe}"

    @property
    def method(self) -> str:
        """The method, for people."""
        recipe = self.recipe
        name = (
            f"{recipe.method} {recipe.percentile:g}"
            if recipe.method == "percentile"
            else (recipe.method)
        )
        missing = [
            *([] if recipe.equalized else ["not equalized"]),
            *([] if recipe.bias_corrected else ["biases not corrected"]),
            *([f"{recipe.around.upper()} around"] if recipe.target == "tensorrt" else []),
        ]
        return ", ".join([name, *missing])

    @property
    def cells(self) -> str:
        """The first cells of its line in the table."""
        return f"| `{self.recipe.target}` | {self.method} | {self.images} {self.faces} |"


def rows() -> Iterator[Row]:
    """Yield the rows of the table: each target's recipe, then one thing changed at a time."""
    for target in TARGETS:
        recipe = int8_recipe(target)
        yield Row(recipe, "LFW", 512)
        if recipe.around == "fp16":
            # Ranges, faces and biases are varied with FP32 around.
            recipe = int8_recipe(target, "fp32")
            yield Row(recipe, "LFW", 512)
        for method in METHODS:
            if method != recipe.method:
                yield Row(replace(recipe, method=method), "LFW", 512)
        yield Row(recipe, "LFW", 128)
        yield Row(recipe, "LFW", ALL)
        yield Row(recipe, "drawn", 512)
        yield Row(replace(recipe, equalized=False, bias_corrected=False), "LFW", 512)


class Bench:
    """The model, the faces and FP32's results."""

    def __init__(self, lfw: Path, work: Path) -> None:
        self.cache = Cache(work)
        self.work = work
        self.cpu = cpu_identity()
        self.set: VerificationSet = load_set(
            find_layout(lfw), name="lfw", title="", calibration_images=ALL
        )
        self.model: PreparedModel = prepare(source_model(None), self.cache, faces=proof_faces())

    def aligned(self, names: tuple[str, ...], paths: tuple[Path, ...]) -> AlignedFaces:
        """Return photos as aligned faces."""
        return faces_of(names, paths, self.cache, workers=self.cpu.cores)

    @cached_property
    def faces(self) -> AlignedFaces:
        """The evaluation faces."""
        return self.aligned(self.set.names, self.set.paths)

    @cache  # noqa: B019  one bench a run
    def calibrated(self, faces: str, images: int, equalized: bool) -> Calibrated:
        """Return the network calibrated on the first images of a set."""
        if faces == "drawn":
            drawn = load_set(find_layout(synthetic_folder(self.cache)), name="synthetic", title="")
            found = already_aligned(drawn.calibration_names, drawn.calibration_paths)
        else:
            found = self.aligned(self.set.calibration_names, self.set.calibration_paths)
        batch = standardize(found.load(np.arange(images)))
        return calibrate(load_onnx(self.model.entry.path), batch, equalized=equalized)

    def engine(self, path: Path, recipe: Int8Recipe | None) -> OnnxRuntimeEngine:
        """Load an engine; FP32 where there is no recipe."""
        return OnnxRuntimeEngine(
            path,
            digest=file_digest(path),
            precision="int8" if recipe else "fp32",
            artefact=path.name,
            device=self.cpu.name,
            device_details=self.cpu.details(),
            threads=self.cpu.cores,
            target=recipe.target if recipe else "cpu",
        )

    @cached_property
    def fp32(self) -> Engine:
        """The reference engine."""
        return self.engine(self.model.entry.path, None)

    @cached_property
    def reference(self) -> NDArray[np.float32]:
        """FP32's embeddings of the evaluation faces."""
        return self.embeddings(self.fp32)

    def embeddings(self, engine: Engine) -> NDArray[np.float32]:
        """Return an engine's embeddings of the evaluation faces, from the cache if it has them."""
        cpu = f"{self.cpu.name}, flags {flags_digest(self.cpu.flags)}"
        return cached_embeddings(engine, self.faces, BATCH, self.cache, cpu=cpu).values

    def measure(self, row: Row) -> dict[str, Any]:
        """Build a recipe's graph and return what it reaches."""
        calibrated = self.calibrated(row.faces, row.images, row.recipe.equalized)
        graph = to_int8(calibrated, row.recipe)
        path = self.work / "recipe.onnx"
        path.write_bytes(graph.SerializeToString(deterministic=True))
        with self.engine(path, row.recipe) as engine:
            embeddings = self.embeddings(engine)
            # Ranges and weights have other values there, not another speed.
            timed = row in (
                Row(int8_recipe("cpu"), "LFW", 512),
                Row(int8_recipe("cpu-vnni"), "LFW", 512),
            )
            speed = self.speed(engine) if timed else None
        pairs = self.set
        parity = compare_embeddings(self.reference, embeddings)
        before = pair_distances(self.reference, pairs.left, pairs.right)
        after = pair_distances(embeddings, pairs.left, pairs.right)
        frozen = evaluate(before, pairs.same, pairs.folds).thresholds
        scores = evaluate(after, pairs.same, pairs.folds)
        right = [decisions(d, pairs.folds, frozen) == pairs.same for d in (before, after)]
        paired = compare_decisions(*right)
        return {
            "key": row.key,
            "cosines": [parity.cosine_min, parity.cosine_p1, parity.cosine_mean],
            "acc": scores.accuracy,
            "auc": scores.auc,
            "lost": paired.lost,
            "won": paired.won,
            "ratio": speed,
            "int8_share": int8_share(graph),
        }

    def speed(self, engine: Engine) -> list[float]:
        """Return the speed in relation to FP32 and its interval, of twelve ABBA quads."""
        batch = standardize(self.faces.load(np.arange(BATCH)))
        block = engine.work(batch, "end-to-end").run
        fp32_block = self.fp32.work(batch, "end-to-end").run
        warm_up(block)
        warm_up(fp32_block)
        timer = QuadTimer(block, fp32_block)
        timer.complete(LOOKS[0])
        found = paired_ratio(timer.quads())
        return [found.ratio, *found.interval]


def line_of(row: Row, measured: dict[str, Any]) -> str:
    """Return a row of the table."""
    low, first, mean = measured["cosines"]
    ratio = measured["ratio"]
    speed = "" if ratio is None else "{:.2f} ({:.2f} to {:.2f})".format(*ratio)
    return (
        f"{row.cells} {low:.5f} / {first:.5f} / {mean:.5f} | {measured['acc']:.5f} | "
        f"{measured['auc']:.5f} | {measured['lost']}, {measured['won']} | {speed} |"
    )


def table(known: dict[str, dict[str, Any]], page: str) -> str:
    """Return the table: rows that were measured, and others as the page has them."""
    lines = [
        "| target | ranges | calibrated on | row cosine min / p1 / mean | ACC | AUC | lost, won |"
        " × FP32, batch 64 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows():
        if row.key in known:
            lines.append(line_of(row, known[row.key]))
        else:
            lines += [line for line in page.splitlines() if line.startswith(row.cells)]
    return "\n".join(lines)


def main() -> None:
    """Measure what is not yet measured, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lfw", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--target", choices=TARGETS, help="measure the rows of this target alone")
    parser.add_argument("--rows", type=int, default=None, help="measure no more than these many")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    bench = Bench(given.lfw, given.work)
    # Another prepared model, machine or runtime is another table.
    told = {
        "model": bench.model.entry.digest,
        "cpu": bench.cpu.name,
        "onnxruntime": metadata.version("onnxruntime"),
    }
    log = given.work / f"rows-{inputs_digest(told)[:16]}.jsonl"
    known = {}
    if log.is_file():
        known = {row["key"]: row for row in map(json.loads, log.read_text().splitlines())}
    asked = [row for row in rows() if given.target in (None, row.recipe.target)]
    todo = [row for row in asked if row.key not in known]
    for row in islice(todo, given.rows):
        found = known[row.key] = bench.measure(row)
        with log.open("a") as file:
            file.write(json.dumps(found) + "\n")
        print(line_of(row, found), flush=True)  # noqa: T201  a command's output
    page = Path(__file__).with_name("recipes.md")
    text = page.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n{table(known, text)}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
