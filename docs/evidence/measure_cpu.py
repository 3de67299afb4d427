"""Measure what makes INT8 fast on this CPU, and write the table of docs/evidence/recipes.md.

    python docs/evidence/measure_cpu.py --work FOLDER

Every way is timed beside the recipe as it is, in twelve ABBA quads at batch 64. About ten minutes
on 2 cores.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import numpy_helper

from facenet_validate.base.machine import cpu_identity
from facenet_validate.base.preprocessing import standardize
from facenet_validate.benchmarking.paired_ratio import LOOKS, paired_ratio
from facenet_validate.benchmarking.timing import QuadTimer, warm_up
from facenet_validate.cache import Cache
from facenet_validate.datasets.synthetic import proof_faces, render_photo
from facenet_validate.models.prepared import load_onnx, prepare, source_model
from facenet_validate.models.quantization.int8 import calibrate, to_int8
from facenet_validate.models.quantization.recipes import Int8Recipe, choose_target, int8_recipe

BATCH = 64
BEGIN, END = "<!-- cpu: begin -->", "<!-- cpu: end -->"
Graph = Callable[[Int8Recipe], onnx.ModelProto]


@dataclass(frozen=True)
class Way:
    """A graph and the session options it runs with."""

    what: str
    model: onnx.ModelProto
    threads: int
    entries: dict[str, str] = field(default_factory=lambda: {"session.force_spinning_stop": "1"})
    arena: bool = True
    pattern: bool = True

    def session(self, folder: Path) -> Any:
        """Load it."""
        options = ort.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.enable_cpu_mem_arena = self.arena
        options.enable_mem_pattern = self.pattern
        for entry, value in self.entries.items():
            options.add_session_config_entry(entry, value)
        path = folder / "way.onnx"
        path.write_bytes(self.model.SerializeToString())
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def ways(graph: Graph, fp32: onnx.ModelProto, threads: int) -> Iterator[Way]:
    """Yield the recipe first, then what was tried instead."""
    recipe = int8_recipe(choose_target(cpu_identity().flags)[0])
    own = graph(recipe)
    additions = tuple(node.name for node in fp32.graph.node if node.op_type == "Add")
    concats = tuple(node.name for node in fp32.graph.node if node.op_type == "Concat")
    other = int8_recipe("cpu" if recipe.target == "cpu-vnni" else "cpu-vnni")
    yield Way(f"the recipe, `{recipe.target}`, beside itself", own, threads)
    yield Way("FP32", fp32, threads)
    yield Way(
        f"the `{other.target}` recipe: {other.weight_bits}-bit weights", graph(other), threads
    )
    yield Way("S8 activations (S8S8)", graph(replace(recipe, activations="int8")), threads)
    yield Way("one scale a weight tensor, not one a channel", per_tensor(own), threads)
    yield Way(
        "residual additions in floating point", graph(replace(recipe, keep=additions)), threads
    )
    yield Way("concatenations in floating point", graph(replace(recipe, keep=concats)), threads)
    yield Way(
        "only operands quantised (the `tensorrt` placement, U8)",
        graph(replace(recipe, placement="operands")),
        threads,
    )
    yield Way("Q/DQ pairs not fused", own, threads, {"session.disable_quant_qdq": "1"})
    yield Way("threads may spin between runs", own, threads, {})
    yield Way("threads never spin", own, threads, {"session.intra_op.allow_spinning": "0"})
    yield Way("no memory arena", own, threads, arena=False)
    yield Way("no memory pattern", own, threads, pattern=False)
    yield Way("one thread", own, 1)


def per_tensor(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a graph whose weights have one scale each."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    tensors = {tensor.name: tensor for tensor in made.graph.initializer}

    def store(name: str, value: NDArray[Any]) -> None:
        tensors[name].CopyFrom(numpy_helper.from_array(value, name))

    for node in made.graph.node:
        if node.op_type != "DequantizeLinear" or not node.attribute:
            continue
        integers, scales, zeros = node.input
        values = numpy_helper.to_array(tensors[integers])
        scale = numpy_helper.to_array(tensors[scales])
        shape = (-1, *[1] * (values.ndim - 1))
        largest = scale.max()
        rounded = np.round(values * scale.reshape(shape) / largest).astype(values.dtype)
        store(integers, rounded)
        store(scales, np.array(largest, np.float32))
        store(zeros, np.array(0, values.dtype))
        del node.attribute[:]
    return made


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    work = parser.parse_args().work
    work.mkdir(parents=True, exist_ok=True)
    fp32 = load_onnx(prepare(source_model(None), Cache(work), faces=proof_faces()).entry.path)
    # Speed does not depend on the values; a few drawn faces calibrate it.
    batch = standardize(np.stack([render_photo(person, 0) for person in range(BATCH)]))
    calibrated = calibrate(fp32, batch[:16], equalized=True)
    lines = ["| what | speed beside the recipe (99.75 % interval) |", "|---|---|"]
    reference: Callable[[], None] | None = None
    for way in ways(lambda recipe: to_int8(calibrated, recipe), fp32, cpu_identity().cores):
        session = way.session(work)

        def run(session: Any = session) -> None:
            session.run(None, {"input": batch})

        reference = reference or run
        warm_up(run)
        warm_up(reference)
        timer = QuadTimer(run, reference)
        timer.complete(LOOKS[0])
        found = paired_ratio(timer.quads())
        low, high = found.interval
        lines.append(f"| {way.what} | {found.ratio:.2f} ({low:.2f} to {high:.2f}) |")
        print(lines[-1], flush=True)  # noqa: T201  a command's output
    page = Path(__file__).with_name("recipes.md")
    text = page.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    table = "\n".join(lines)
    page.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
