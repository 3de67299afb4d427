"""How far apart two correct FP32 engines are, and how far a slightly wrong one is.

    python docs/evidence/measure_fp32.py [--lfw DIR] [--faces 512] [--work DIR]

The limits of parity for FP32 on a CPU in `baselines/gates.toml` rest on this. Correct engines are
the prepared model and the source's own graph on ONNX Runtime's CPU provider, at every optimisation
level, with one thread and with all, in batches of 1, 7 and 64, OpenCV's run of the frozen graph,
and OpenVINO in FP32 where it is installed. Wrong ones are the prepared model with noise on the
weights of its bottleneck, or with its weights rounded. The table between the markers in
docs/evidence/measured.md is written by this script. It gives 1 − cosine, row by row, to the
reference: the prepared model on ONNX Runtime as the suites run it.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import numpy_helper

from facenet_validate.base.machine import cpu_identity
from facenet_validate.base.preprocessing import standardize
from facenet_validate.cache import Cache
from facenet_validate.datasets.faces import already_aligned, faces_of
from facenet_validate.datasets.layout import find_layout
from facenet_validate.datasets.lfw import load_set
from facenet_validate.datasets.synthetic import proof_faces
from facenet_validate.datasets.synthetic_cache import synthetic_folder
from facenet_validate.engines.onnxruntime.sessions import session_options
from facenet_validate.metrics.parity import compare_embeddings
from facenet_validate.models.frozen.conversion import frozen_graph_runner
from facenet_validate.models.prepared import load_onnx, prepare, source_model
from facenet_validate.models.sources import raw_model

Images = NDArray[np.float32]
Floats = NDArray[np.floating[Any]]
Run = Callable[[Images], Floats]
Damage = Callable[[Floats], Floats]

TABLE = Path(__file__).with_name("measured.md")
MARKERS = "<!-- fp32: begin -->", "<!-- fp32: end -->"
LEVELS = {
    "none": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}


def onnx_run(model: onnx.ModelProto, level: str, threads: int) -> Run:
    """Return a graph's run on the CPU provider."""
    options, _ = session_options(threads, emulated=False)
    options.graph_optimization_level = LEVELS[level]
    session = ort.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    (name,) = (value.name for value in session.get_inputs())
    return lambda images: np.asarray(session.run(None, {name: images})[0])


def embedded(run: Run, images: Images, batch: int) -> NDArray[np.float64]:
    """Return the embeddings of all images in batches, of length one."""
    rows = [run(images[start : start + batch]) for start in range(0, len(images), batch)]
    found = np.concatenate(rows).astype(np.float64)
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True))


def damaged(model: onnx.ModelProto, name: str, damage: Damage) -> onnx.ModelProto:
    """Return a model with other values in the weights whose name begins so."""
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    for tensor in copied.graph.initializer:
        if tensor.name.startswith(name) and tensor.data_type == onnx.TensorProto.FLOAT:
            values = damage(numpy_helper.to_array(tensor)).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return copied


def noise(relative: float) -> Damage:
    """Return what multiplies every weight by 1 + noise of a standard deviation."""
    random = np.random.default_rng(0)
    return lambda values: values * (1 + relative * random.standard_normal(values.shape))


def truncated(bits: int) -> Damage:
    """Return what keeps so many bits of a weight's mantissa, rounded to nearest."""

    def keep(values: Floats) -> Floats:
        mantissa, exponent = np.frexp(values.astype(np.float64))
        return np.asarray(np.ldexp(np.rint(mantissa * 2 ** (bits + 1)) / 2 ** (bits + 1), exponent))

    return keep


def openvino_run(model: onnx.ModelProto) -> Run | None:
    """Return OpenVINO's run in FP32; None where it is not installed."""
    try:
        import openvino  # type: ignore[import-untyped,import-not-found,unused-ignore]
    except ImportError:
        return None
    core = openvino.Core()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        onnx.save(model, path)
        compiled = core.compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda images: np.asarray(compiled(images)[0])


def engines(
    model: onnx.ModelProto, source: onnx.ModelProto, frozen: bytes, name: str, threads: int
) -> Iterator[tuple[str, Run, tuple[int, ...]]]:
    """Yield each engine: what it is, its run, and the batch sizes to run it in."""
    for level in LEVELS:
        for count in sorted({1, threads}):
            sizes = (1, 7, 64) if level == "all" else (64,)
            yield f"optimised {level}, threads {count}", onnx_run(model, level, count), sizes
    yield "the source's graph, not optimised", onnx_run(source, "none", threads), (64,)
    yield "the source's graph, optimised all", onnx_run(source, "all", threads), (64,)
    opencv, what = frozen_graph_runner(frozen, source=name, output=None)
    yield f"OpenCV, {what}", opencv, (1,)
    if (openvino := openvino_run(model)) is not None:
        yield f"OpenVINO {metadata.version('openvino').split('-')[0]}, FP32", openvino, (64,)
    for relative in (1e-6, 1e-5, 1e-4, 1e-3, 1e-2):
        noisy = damaged(model, "bottleneck/weight", noise(relative))
        yield f"WRONG: noise {relative:g} on the bottleneck", onnx_run(noisy, "all", threads), (64,)
    for bits, kind in ((10, "FP16, TF32"), (7, "BF16")):
        rounded = damaged(model, "", truncated(bits))
        yield f"WRONG: weights of {bits} bits ({kind})", onnx_run(rounded, "all", threads), (64,)


def main() -> None:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--lfw", type=Path, default=os.environ.get("FACENET_LFW") or None)
    parser.add_argument("--faces", type=int, default=512)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "fp32")
    asked = parser.parse_args()
    cache, threads = Cache(asked.work), cpu_identity().cores
    if asked.lfw:
        found = load_set(find_layout(Path(asked.lfw)), name="lfw", title="LFW")
    else:
        found = load_set(find_layout(synthetic_folder(cache)), name="synthetic", title="drawn")
    rows = np.linspace(0, len(found.names) - 1, asked.faces).astype(int)
    names, paths = [found.names[row] for row in rows], [found.paths[row] for row in rows]
    if asked.lfw:
        faces = faces_of(names, paths, cache, workers=threads)
    else:
        faces = already_aligned(names, paths)
    source = source_model(None)
    prepared = prepare(source, cache, faces=proof_faces())
    images = standardize(faces.load(np.arange(len(names))), prepared.image_size)
    model = load_onnx(prepared.entry.path)
    raw = raw_model(source.path, input_name=None, output_name=None).model
    reference = embedded(onnx_run(model, "all", threads), images, 64)
    lines = [
        f"{len(names)} faces of {found.name}; {cpu_identity().name}, {threads} threads; ONNX "
        f"Runtime {ort.__version__}.",
        "",
        "| engine | batch | 1 − cosine: worst | 99th percentile | mean |",
        "|---|---|---|---|---|",
    ]
    for what, run, sizes in engines(model, raw, source.path.read_bytes(), source.name, threads):
        for batch in sizes:
            parity = compare_embeddings(reference, embedded(run, images, batch))
            values = (parity.cosine_min, parity.cosine_p1, parity.cosine_mean)
            told = " | ".join(f"{1 - value:.1e}" for value in values)
            lines.append(f"| {what} | {batch} | {told} |")
            sys.stdout.write(f"{lines[-1]}\n")
            sys.stdout.flush()
    text = TABLE.read_text(encoding="utf-8")
    before, rest = text.split(MARKERS[0])
    _, after = rest.split(MARKERS[1])
    body = "\n".join(lines)
    TABLE.write_text(f"{before}{MARKERS[0]}\n{body}\n{MARKERS[1]}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
