"""Measure what is around INT8 for TensorRT; write the tables of tensorrt.md and recipes.md.

    python docs/evidence/measure_around.py --lfw LFW --work FOLDER

Plans are built by TensorRT for RTX, which needs no GPU. Row cosines are of every 16th face of LFW,
emulated. About ten minutes on 2 cores.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from math import prod
from pathlib import Path

import numpy as np
import onnx
from measure_recipes import Bench  # beside this script
from onnx import TensorProto, helper, numpy_helper

from facenet_validate.base.preprocessing import standardize
from facenet_validate.engines.backend import PROFILES, Profile
from facenet_validate.engines.tensorrt.build import build_plan
from facenet_validate.engines.tensorrt.library import Library, find_library
from facenet_validate.engines.tensorrt.options import BuildOptions
from facenet_validate.metrics.parity import compare_embeddings
from facenet_validate.models.passes import embedding_tail, makers_of, set_nodes
from facenet_validate.models.quantization.calibration import activation_range
from facenet_validate.models.quantization.int8 import Calibrated, to_int8
from facenet_validate.models.quantization.recipes import Around, Int8Recipe, int8_recipe
from facenet_validate.models.quantization.tuning import emulated_embeddings

BATCH, EVERY = 64, 16
_BYTES = {"Int8": 1, "Half": 2, "Float": 4}
_TENSOR = re.compile(r"Dimensions: \[(-?\d+(?:,\d+)*)\][^{}]*?Datatype: (\w+)")
PLACED = {"operands": "behind", "operands and concatenated": "ahead and behind"}


def recipes() -> Iterator[Int8Recipe]:
    """Yield both of what may be around, with concatenations rounded behind, and ahead too."""
    arounds: tuple[Around, ...] = ("fp32", "fp16")
    for around in arounds:
        for placement in ("operands", "operands and concatenated"):
            yield replace(int8_recipe("tensorrt"), around=around, placement=placement)


def megabytes(log: str) -> tuple[float, float]:
    """Return what the layers in a build's log read and write of activations, for one image."""
    sums = [0.0, 0.0]
    for line in log.splitlines():
        parts = re.match(
            r"Name: .*?Inputs: \[(.*?)\], (?:Constants|Outputs).*Outputs: \[(.*)", line
        )
        for side, text in enumerate(parts.groups() if parts else ()):
            for shape, dtype in _TENSOR.findall(text):
                batch, *rest = map(int, shape.split(","))
                if rest and batch in (-1, BATCH):  # others are constants
                    sums[side] += prod(rest) * _BYTES.get(dtype, 0) / 1e6
    return sums[0], sums[1]


def build_row(
    library: Library, calibrated: Calibrated, recipe: Int8Recipe, profile: Profile
) -> str:
    """Build a plan and return its row."""
    content = to_int8(calibrated, recipe).SerializeToString(deterministic=True)
    built = build_plan(library, content, BuildOptions((BATCH,), profile=profile))
    assert built.compiled is not None
    read, written = megabytes(built.log)
    return (
        f"| {recipe.around.upper()} | {PLACED[recipe.placement]} | {profile} | "
        f"{built.compiled.layers} | {built.compiled.int8_share:.2%} | "
        f"{read:.1f} + {written:.1f} = {read + written:.1f} MB | {len(built.plan) / 1e6:.1f} MB |"
    )


def with_own_scales(calibrated: Calibrated) -> onnx.ModelProto:
    """Return FP32 around INT8, each input of a concatenation rounded with a scale of its own."""
    recipe = replace(int8_recipe("tensorrt"), around="fp32")
    made = to_int8(calibrated, recipe)
    makers = makers_of(made.graph)
    for node in made.graph.node:
        for read in node.input if node.op_type == "Concat" else ():
            dequantize = makers[read]
            quantize = makers[dequantize.input[0]]
            name = quantize.input[0]
            found = activation_range(
                calibrated.activations[name],
                recipe.method,
                percentile=recipe.percentile,
                symmetric=True,
            )
            scale = numpy_helper.from_array(np.array(np.float32(found.high / 127)), f"{read}/own")
            made.graph.initializer.append(scale)
            dequantize.input[1] = quantize.input[1] = scale.name
    return made


def rounded_everywhere(calibrated: Calibrated) -> onnx.ModelProto:
    """Return a graph that rounds every activation to FP16, as kernels that fuse nothing would."""
    made = to_int8(calibrated, int8_recipe("tensorrt", "fp32"))
    tail = {node.name for node in embedding_tail(made)}
    nodes = []
    for node in list(made.graph.node):
        nodes.append(node)
        if node.name in tail or node.op_type == "QuantizeLinear":
            continue
        name = node.output[0]
        node.output[0] = f"{name}/exact"
        for read, written, to in (
            (f"{name}/exact", f"{name}/half", TensorProto.FLOAT16),
            (f"{name}/half", name, TensorProto.FLOAT),
        ):
            nodes.append(helper.make_node("Cast", [read], [written], name=f"{written}/Cast", to=to))
    set_nodes(made.graph, nodes)
    del made.graph.value_info[:]
    return made


GRAPHS: dict[str, Callable[[Calibrated], onnx.ModelProto]] = {
    "the recipe: FP16 around": lambda it: to_int8(it, int8_recipe("tensorrt")),
    "FP32 around": lambda it: to_int8(it, int8_recipe("tensorrt", "fp32")),
    "FP16 after every node": rounded_everywhere,
    "FP32 around, concatenated inputs with scales of their own": with_own_scales,
}


def parity_rows(bench: Bench, calibrated: Calibrated) -> Iterator[str]:
    """Emulate each graph and yield its row."""
    rows = np.arange(0, len(bench.faces.names), EVERY)
    images = standardize(bench.faces.load(rows))
    reference = bench.reference[rows]
    for what, make in GRAPHS.items():
        found = compare_embeddings(reference, emulated_embeddings(make(calibrated), images))
        yield (
            f"| {what} | {found.cosine_min:.5f} / {found.cosine_p1:.5f} / {found.cosine_mean:.5f} |"
        )


def write(page: str, name: str, lines: list[str]) -> None:
    """Write a table between its marks on a page."""
    path = Path(__file__).with_name(page)
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, _, rest = path.read_text(encoding="utf-8").partition(begin)
    table = "\n".join(lines)
    after = rest.partition(end)[2]
    path.write_text(f"{before}{begin}\n{table}\n{end}{after}", encoding="utf-8")
    print(table, flush=True)  # noqa: T201  a command's output


def main() -> None:
    """Measure, and write both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lfw", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    given = parser.parse_args()
    bench = Bench(given.lfw, given.work)
    calibrated = bench.calibrated("LFW", 512, True)
    tail = {name for node in embedding_tail(calibrated.model) for name in node.output}
    peak = max(
        max(-values.low, values.high)
        for name, values in calibrated.activations.items()
        if name not in tail
    )
    print(f"largest activation {peak:.2f}", flush=True)  # noqa: T201
    library = find_library("tensorrt-rtx")
    head = ["| around | concatenations rounded | profile | layers | INT8 | read, written | plan |"]
    builds = [
        build_row(library, calibrated, recipe, profile)
        for recipe in recipes()
        for profile in PROFILES
    ]
    write("tensorrt.md", "around", [*head, "|---|---|---|---|---|---|---|", *builds])
    head = ["| graph | row cosine min / p1 / mean |", "|---|---|"]
    write("recipes.md", "around", [*head, *parity_rows(bench, calibrated)])


if __name__ == "__main__":
    main()
