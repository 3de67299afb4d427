"""What healthy engines give of the contract, and where a collapse begins.

    python docs/evidence/measure_contract.py --work DIR

The pretrained model on ONNX Runtime, and on OpenVINO where it is installed, in every precision that
runs on this CPU. The tables between the markers in docs/evidence/contract.md are written by this
script.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from measure_gates import say, write_table  # beside this script
from measure_orl import Bench
from numpy.typing import NDArray

from facenet_validate.base.vocabulary import PRECISIONS
from facenet_validate.datasets.calibration import drawn_faces
from facenet_validate.engines.artefacts import Artefact, build_artefact
from facenet_validate.engines.backend import Backend, BuildRequest, Cpu, EngineContext
from facenet_validate.engines.backends import choose_backend
from facenet_validate.engines.embedding import embed
from facenet_validate.engines.onnxruntime.backend import OnnxRuntime
from facenet_validate.engines.openvino.backend import OpenVino
from facenet_validate.engines.protocol import Engine
from facenet_validate.metrics.parity import distance_kept, largest_distance, row_cosines

TABLE = Path(__file__).with_name("contract.md")
THREADS = (2, 1, 4)
FACES, OF, DRAWS = 16, 60, 2000


class Loader:
    """Loads engines of the pretrained model with so many threads."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    def each(self) -> Iterator[tuple[str, Backend, Artefact]]:
        """Yield a title, the backend and the artefact, calibrated as a run calibrates it."""
        bench = self._bench
        calibration = drawn_faces(bench.cache).faces
        for kind in (OnnxRuntime, OpenVino):
            if not kind.installed_version():
                continue
            backend = choose_backend(kind.name, "this script", _no_gpu())
            for precision in PRECISIONS:
                graph = build_artefact(
                    precision, bench.model, bench.target, lambda: calibration, bench.cache
                )
                yield f"{kind.name}, {precision.upper()}", backend, graph

    def load(self, backend: Backend, graph: Artefact, threads: int) -> Engine:
        """Return an engine; the caller closes it."""
        bench = self._bench
        cpu = Cpu(bench.cpu.name, bench.cpu.details(), threads)
        request = BuildRequest((FACES,))
        context = EngineContext(bench.model, bench.target, bench.cache, request, cpu, _no_device)
        return backend.load(graph, context)


def _no_gpu() -> Any:
    from facenet_validate.engines.device.probe import Gpu

    return Gpu(lambda: "not asked", lambda: "", lambda: "")


def _no_device() -> NoReturn:
    raise AssertionError("a CPU is measured")


def repeats(loader: Loader, batch: NDArray[np.float32]) -> Iterator[list[str]]:
    """Yield a row an engine: L2 distances between runs, loads, threads, places and sizes."""
    for title, backend, graph in loader.each():
        first, moved = None, []
        for threads in THREADS:
            with loader.load(backend, graph, threads) as engine:
                found = engine.run(batch)
                again = [largest_distance(found, engine.run(batch)) for _ in range(3)]
                turned = largest_distance(found, engine.run(batch[::-1].copy())[::-1])
                single = np.concatenate([engine.run(face[np.newaxis]) for face in batch])
            with loader.load(backend, graph, threads) as engine:
                anew = largest_distance(found, engine.run(batch))
            first = found if first is None else first
            moved.append(
                (max(again), anew, turned, largest_distance(found, single),
                 largest_distance(found, first))
            )  # fmt: skip
        row = [title, *(f"{worst:.2g}" for worst in np.max(moved, axis=0))]
        say(" | ".join(row))
        yield row


def least_kept(reference: NDArray[Any], engine: NDArray[Any]) -> NDArray[np.float64]:
    """Return what an engine keeps of distances in draws of sixteen faces."""
    random = np.random.default_rng(18)
    draws = [random.choice(len(reference), FACES, replace=False) for _ in range(DRAWS)]
    return np.array([distance_kept(reference[rows], engine[rows]) for rows in draws])


def kept_row(title: str, reference: NDArray[Any], engine: NDArray[Any]) -> list[str]:
    """Return the row of an engine: its mean row cosine, and what it keeps of distances."""
    kept = least_kept(reference, engine)
    cosine = row_cosines(reference, engine).mean()
    row = [
        title,
        f"{cosine:.4f}",
        f"{kept.min():.3f}",
        f"{np.median(kept):.3f}",
        f"{kept.max():.3f}",
    ]
    say(" | ".join(row))
    return row


def collapses(loader: Loader, bench: Bench) -> Iterator[list[str]]:
    """Yield a row an engine and a row a planted collapse, on the ORL photos and drawn faces."""
    for name in ("orl", "synthetic"):
        every = bench.faces(bench.load(name))
        faces = every.part(np.linspace(0, len(every.names) - 1, OF).astype(int).tolist())
        called = {"orl": "ORL", "synthetic": "drawn"}[name]
        reference = None
        for title, backend, graph in loader.each():
            with loader.load(backend, graph, bench.cpu.cores) as engine:
                rows = embed(engine, faces, 64).astype(np.float64)
            if reference is None:
                reference = rows
                continue
            yield kept_row(f"{called}: {title}", reference, rows)
        assert reference is not None
        middle = reference.mean(axis=0)
        for part in (0.7, 0.5, 0.3, 0.1):
            near = middle + part * (reference - middle)
            yield kept_row(
                f"{called}: {part:g} of the way from the mean embedding", reference, near
            )
        merged = reference.copy()
        merged[::2] = reference[0]
        yield kept_row(f"{called}: every second face the same", reference, merged)


def main() -> None:
    """Measure, print, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, metavar="DIR", help="cache folder")
    bench = Bench(parser.parse_args().work)
    loader = Loader(bench)
    batch = bench.faces(bench.load("orl")).spread(FACES // 2)
    head = ["engine", "again", "another load", "other places", "alone", "other threads"]
    write_table(TABLE, "repeats", head, [*repeats(loader, batch)])
    head = ["faces and engine", "mean row cosine", "least kept", "median", "most"]
    write_table(TABLE, "collapse", head, [*collapses(loader, bench)])


if __name__ == "__main__":
    main()
