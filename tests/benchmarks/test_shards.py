"""Embedding into shards beside a bare loop, in turns with it: `tox -e perf`.

``FACENET_BENCH_PHOTOS=20000`` measures the size that the guide tells of; 640 is the default.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from facenet_validate.base.machine import cpu_identity
from facenet_validate.base.preprocessing import PREPROCESSING, standardize
from facenet_validate.datasets.faces import AlignedFaces, already_aligned
from facenet_validate.datasets.images import encode_png
from facenet_validate.datasets.layout import find_layout
from facenet_validate.datasets.lfw import load_set
from facenet_validate.engines.onnxruntime.engine import OnnxRuntimeEngine
from facenet_validate.engines.protocol import Engine
from facenet_validate.models.prepared import PreparedModel, load_onnx
from facenet_validate.models.quantization.int8 import calibrate, to_int8
from facenet_validate.models.quantization.recipes import choose_target, int8_recipe
from facenet_validate.run.sharded import embed_shards
from facenet_validate.shards import Manifest, Shards, writing

BATCH = 64
PHOTOS = int(os.environ.get("FACENET_BENCH_PHOTOS", "640"))
SHARD_ROWS = 4096
PEAK_AFTER = 20
"""Batches after which the most memory is asked for."""


@dataclass(frozen=True)
class Repeated:
    """Faces again and again, each time with another pixel inverted."""

    faces: AlignedFaces
    count: int
    digest: str = "0" * 64

    @cached_property
    def names(self) -> Sequence[str]:
        return [f"{row}" for row in range(self.count)]

    def load(self, rows: NDArray[np.intp]) -> NDArray[np.uint8]:
        again, row = np.divmod(rows, len(self.faces.names))
        found = self.faces.load(row)
        found[np.arange(len(rows)), 80, again % found.shape[2]] ^= 255
        return found


@pytest.fixture(scope="module")
def faces(small_set: Path, tmp_path_factory: pytest.TempPathFactory) -> AlignedFaces:
    """Return drawn faces, encoded as the cache keeps aligned ones."""
    found = load_set(find_layout(small_set), name="lfw", title="")
    drawn = already_aligned(found.names, found.paths)
    folder = tmp_path_factory.mktemp("faces")
    paths = [folder / f"{row}.png" for row in range(len(found.names))]
    for path, face in zip(paths, drawn.load(np.arange(len(paths))), strict=True):
        path.write_bytes(encode_png(face, filtered=False))
    return already_aligned(found.names, paths)


@pytest.fixture(scope="module")
def engine(
    prepared: PreparedModel, faces: AlignedFaces, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    images = standardize(faces.load(np.arange(32)))
    target = choose_target(cpu_identity().flags)[0]
    calibrated = calibrate(load_onnx(prepared.entry.path), images, equalized=True)
    path = tmp_path_factory.mktemp("engine") / "int8.onnx"
    onnx.save(to_int8(calibrated, int8_recipe(target)), path)
    with OnnxRuntimeEngine(
        path,
        digest="e" * 64,
        precision="int8",
        artefact="int8",
        device="here",
        threads=cpu_identity().cores,
    ) as made:
        yield made


def _peak() -> float:
    """Return the most memory that this process held since it was asked before, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    peak = next(line for line in lines if line.startswith("VmHWM:"))
    Path("/proc/self/clear_refs").write_text("5")
    return int(peak.split()[1]) / 1024


def test_shards_beside_a_bare_loop(
    benchmark: Any, engine: Engine, faces: AlignedFaces, tmp_path: Path
) -> None:
    """After every batch the bare loop runs one, of an array that is ready."""
    ready = standardize(faces.load(np.arange(BATCH) % len(faces.names)))
    manifest = Manifest(
        rows=PHOTOS,
        dimension=512,
        shard_rows=SHARD_ROWS,
        batch=BATCH,
        model="a" * 64,
        engine="e" * 64,
        precision="int8",
        runtime=engine.info.runtime,
        device="here",
        cpu="here",
        preprocessing=PREPROCESSING,
        aligner="none",
        set="0" * 64,
        photos="0" * 64,
    )
    engine.run(ready)
    _peak()
    ours: list[float] = []
    bare: list[float] = []
    peaks: list[float] = []
    began = perf_counter()

    def after(done: int, total: int) -> None:
        nonlocal began
        ours.append(perf_counter() - began)
        if len(ours) % PEAK_AFTER == 0 or done == total:
            peaks.append(_peak())
        began = perf_counter()
        engine.run(ready[: (done - 1) % BATCH + 1])
        bare.append(perf_counter() - began)
        began = perf_counter()

    def embed() -> None:
        nonlocal began
        with writing(tmp_path / "made", manifest, b"") as writer:
            began = perf_counter()
            embed_shards(engine, Repeated(faces, PHOTOS), writer, after)
        ours[-1] += perf_counter() - began  # the last shard is written after it is told of

    benchmark.pedantic(embed, rounds=1)
    assert Shards(tmp_path / "made").block(PHOTOS - 1, PHOTOS).shape == (1, 512)
    ratio = sum(bare) / sum(ours)
    benchmark.extra_info["throughput_of_a_bare_loop"] = ratio
    benchmark.extra_info["peaks_mb"] = peaks
    ratios = np.sort(np.array(bare) / np.array(ours))
    low, middle, high = np.quantile(ratios, [0.25, 0.5, 0.75])
    each = [1000 * sum(spent) / PHOTOS for spent in (ours, bare)]
    print(f"\nshards: {ratio:.3f} of a bare loop over {PHOTOS} photos")
    print(f"a photo takes {each[0]:.2f} ms, in the bare loop {each[1]:.2f} ms")
    print(f"by batch: median {middle:.3f}, quartiles {low:.3f} and {high:.3f}")
    print(f"most memory in every {PEAK_AFTER} batches, MB: {', '.join(f'{p:.0f}' for p in peaks)}")
    assert ratio >= 0.95
