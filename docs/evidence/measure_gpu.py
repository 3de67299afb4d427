"""Measure every backend, precision, batch size and scope; write the table of docs/evidence/gpu.md.

    python docs/evidence/measure_gpu.py --work FOLDER [--backend tensorrt ...]

On a GPU host. Every engine is built through the cache in FOLDER and runs drawn faces; a figure is
the median of 24 blocks after warming up, 20 ms to a second each. INT8 is calibrated on drawn faces:
the speed is the engine's own, the accuracy is for the suites to tell.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from facenet_validate.base.machine import cpu_identity
from facenet_validate.base.preprocessing import standardize
from facenet_validate.base.vocabulary import PRECISIONS
from facenet_validate.benchmarking.latency import latencies
from facenet_validate.benchmarking.timing import QuadTimer, warm_up
from facenet_validate.cache import Cache
from facenet_validate.datasets.faces import AlignedFaces, already_aligned
from facenet_validate.datasets.layout import find_layout
from facenet_validate.datasets.lfw import load_set
from facenet_validate.datasets.synthetic import proof_faces
from facenet_validate.datasets.synthetic_cache import synthetic_folder
from facenet_validate.engines.artefacts import Artefact
from facenet_validate.engines.backend import BuildRequest, Cpu, EngineContext
from facenet_validate.engines.backends import BACKEND_NAMES, choose_backend
from facenet_validate.engines.blocks import calibrated
from facenet_validate.engines.device.interface import Device
from facenet_validate.engines.device.opening import open_device
from facenet_validate.engines.device.probe import gpu
from facenet_validate.engines.factory import EngineFactory
from facenet_validate.models.prepared import load_onnx, prepare, source_model
from facenet_validate.models.quantization.half_outside import half_outside_int8

BLOCKS = 24
BEGIN, END = "<!-- fps: begin -->", "<!-- fps: end -->"


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    backend: str
    precision: str
    batch: int
    scope: str
    fps: float
    p50_ms: float
    p90_ms: float

    def text(self) -> str:
        """Return it in Markdown."""
        return (
            f"| {self.backend} | {self.precision} | {self.batch} | {self.scope} | {self.fps:,.0f} "
            f"| {self.p50_ms:.2f} | {self.p90_ms:.2f} |"
        )


class Faces:
    """Drawn faces, for calibration and as batches."""

    def __init__(self, store: Cache) -> None:
        folder = synthetic_folder(store, lambda _done, _total: None)
        self._set = load_set(
            find_layout(folder), name="synthetic", title="", calibration_images=512
        )

    def calibration(self) -> AlignedFaces:
        """Return those that INT8 is calibrated on."""
        return already_aligned(self._set.calibration_names, self._set.calibration_paths)

    def batch(self, size: int, side: int) -> NDArray[np.float32]:
        """Return a batch of others."""
        faces = already_aligned(self._set.names, self._set.paths)
        return standardize(faces.load(np.arange(size) % len(faces.names)), side)


def artefacts(factory: EngineFactory, folder: Path) -> Iterator[tuple[str, Artefact]]:
    """Yield a backend's artefacts; of TensorRT also INT8 with FP16 instead of FP32 around it."""
    for precision in PRECISIONS:
        artefact = factory.from_recipe(precision)
        yield precision, artefact
    if artefact.path != artefact.graph:  # a plan was built of it
        graph = folder / "int8-half-outside.onnx"
        made = half_outside_int8(load_onnx(factory.from_recipe("int8").graph))
        graph.write_bytes(made.SerializeToString(deterministic=True))
        yield "int8, FP16 outside", replace(factory, supplied=graph).artefact("int8")


def rows(
    factory: EngineFactory, faces: Faces, batches: tuple[int, ...], folder: Path
) -> Iterator[Row]:
    """Build and time a backend's engines."""
    for what, artefact in artefacts(factory, folder):
        with factory.engine(artefact) as engine:
            for size in batches:
                batch = faces.batch(size, factory.context.model.image_size)
                for scope in engine.scopes:
                    work = engine.work(batch, scope)
                    warm_up(work.run)
                    work = calibrated(work, perf_counter)
                    timer = QuadTimer(work.run, None)
                    timer.complete(BLOCKS // 4)
                    found = latencies(np.array(timer.a_blocks()) * work.batch / work.images)
                    yield Row(
                        factory.backend.name,
                        what,
                        size,
                        scope,
                        1e3 * size / found.p50_ms,
                        found.p50_ms,
                        found.p90_ms,
                    )


def main() -> None:
    """Measure, print, and write the table into docs/evidence/gpu.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder of the cache")
    parser.add_argument("--backend", action="append", choices=BACKEND_NAMES, default=[])
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 8, 64, 256])
    parser.add_argument("--print", action="store_true", help="leave docs/evidence/gpu.md as it is")
    asked = parser.parse_args()
    backends = [
        choose_backend(name, "--backend", gpu()) for name in asked.backend or ["tensorrt-rtx"]
    ]
    for backend in backends:
        if backend.unavailable:
            raise SystemExit(backend.cannot_run)
    store, batches = Cache(asked.work), tuple(asked.batch_sizes)
    model, faces, cpu = (
        prepare(source_model(None), store, faces=proof_faces()),
        Faces(store),
        cpu_identity(),
    )
    lines = [
        "| backend | precision | batch | scope | images/s | p50 ms | p90 ms |",
        "|---|---|---|---|---|---|---|",
    ]
    with ExitStack() as stack:

        @cache
        def device() -> Device:
            return stack.enter_context(open_device())

        for backend in backends:
            context = EngineContext(
                model=model,
                target=backend.choose_target("auto", "default", cpu.flags)[0],
                cache=store,
                request=BuildRequest(batches),
                cpu=Cpu(cpu.name, cpu.details(), cpu.cores),
                device=device,
            )
            factory = EngineFactory(backend, context, faces.calibration)
            where = backend.device_name(cpu.name)
            lines.insert(0, f"{backend.name} {backend.version} on {where}.\n")
            for row in rows(factory, faces, batches, asked.work):
                lines.append(row.text())
                sys.stdout.write(f"{row.text()}\n")
    if asked.print:
        return
    page = Path(__file__).with_name("gpu.md")
    text = page.read_text()
    before, rest = text.split(BEGIN)
    page.write_text(f"{before}{BEGIN}\n" + "\n".join(lines) + f"\n{END}{rest.split(END)[1]}")


if __name__ == "__main__":
    main()
