"""Speed, as ratios in one run: `tox -e perf`. These are measurements, not timed tests."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from facenet_validate.base.machine import cpu_identity
from facenet_validate.base.preprocessing import standardize
from facenet_validate.datasets.faces import AlignedFaces, already_aligned
from facenet_validate.datasets.layout import find_layout
from facenet_validate.datasets.lfw import load_set
from facenet_validate.engines.embedding import embed
from facenet_validate.engines.onnxruntime.engine import OnnxRuntimeEngine
from facenet_validate.engines.protocol import Engine
from facenet_validate.models.prepared import PreparedModel

BATCH = 64
REPEATS = 8
ROUNDS = 7


@pytest.fixture(scope="module")
def faces(small_set: Path) -> AlignedFaces:
    found = load_set(find_layout(small_set), name="lfw", title="")
    return already_aligned(found.names, found.paths)


@pytest.fixture(scope="module")
def engine(prepared: PreparedModel) -> Any:
    with OnnxRuntimeEngine(
        prepared.entry.path,
        digest=prepared.entry.digest,
        precision="fp32",
        artefact="prepared",
        device="here",
        threads=cpu_identity().cores,
    ) as made:
        yield made


def _seconds(work: Callable[[], object]) -> float:
    start = perf_counter()
    work()
    return perf_counter() - start


def test_embedding_beside_a_bare_loop(benchmark: Any, engine: Engine, faces: AlignedFaces) -> None:
    """Images from files, decoded and standardized beside the engine, against ready batches."""
    rows = np.tile(np.arange(len(faces.names)), REPEATS)
    batches = [
        standardize(faces.load(rows[start : start + BATCH])) for start in range(0, len(rows), BATCH)
    ]

    def bare() -> None:
        for batch in batches:
            engine.run(batch)

    def ours() -> NDArray[np.float32]:
        return embed(engine, faces, BATCH, rows=rows)

    ours()
    bare()
    log_ratios: list[float] = []

    def pair() -> None:
        first, second = (bare, ours) if len(log_ratios) % 2 else (ours, bare)
        times = {first: _seconds(first), second: _seconds(second)}
        log_ratios.append(math.log(times[bare] / times[ours]))

    benchmark.pedantic(pair, rounds=ROUNDS)
    ratio = math.exp(float(np.median(log_ratios)))
    benchmark.extra_info["throughput_of_a_bare_loop"] = ratio
    print(f"\nthroughput: {ratio:.3f} of a bare session.run loop over {len(rows)} faces")
    assert ratio >= 0.95
