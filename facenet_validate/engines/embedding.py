"""Faces → embeddings, any number of them, and the cache of embeddings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from facenet_validate.base.machine import usable_processors
from facenet_validate.base.preprocessing import PREPROCESSING, standardize
from facenet_validate.base.progress import Report
from facenet_validate.cache import Cache
from facenet_validate.engines.protocol import Engine

SAMPLE = 256
"""How many images a cache hit embeds again."""

AGREEMENT = 1e-4
"""Largest cosine distance between a cached embedding and its repetition.

Another batch composition changes the order of sums: 1e-7 in FP32, which can turn one INT8 rounding.
"""


class Faces(Protocol):
    """Aligned faces, read when asked for."""

    @property
    def names(self) -> Sequence[str]: ...

    @property
    def digest(self) -> str: ...

    def load(self, rows: NDArray[np.intp]) -> NDArray[np.uint8]:
        """Return faces ``(len(rows), H, H, 3)`` RGB."""
        ...


@dataclass(frozen=True)
class Embeddings:
    """Embeddings of a set of faces by one engine.

    Attributes
    ----------
    values : ndarray of shape (N, D)
        float32, one row a face, in the order of the faces' names.
    origin : str
        Whether they were computed now or come from the cache, for the report.
    """

    values: NDArray[np.float32]
    origin: str


@dataclass(frozen=True)
class Flipped:
    """Faces mirrored left to right."""

    faces: Faces

    @property
    def names(self) -> Sequence[str]:
        """The names of the faces."""
        return self.faces.names

    @property
    def digest(self) -> str:
        """Of the faces, and that they are mirrored."""
        return sha256(f"{self.faces.digest} mirrored".encode()).hexdigest()

    def load(self, rows: NDArray[np.intp]) -> NDArray[np.uint8]:
        """Return mirrored faces ``(len(rows), H, H, 3)`` RGB."""
        return self.faces.load(rows)[:, :, ::-1]


def embed(
    engine: Engine,
    faces: Faces,
    batch_size: int,
    *,
    rows: NDArray[np.intp] | None = None,
    progress: Report | None = None,
) -> NDArray[np.float32]:
    """Embed faces in batches, the last partial one included.

    Parameters
    ----------
    rows : ndarray of int, optional
        Which faces, in which order; all by default.

    Returns
    -------
    ndarray of shape (len(rows), D)
        float32.
    """
    if rows is None:
        rows = np.arange(len(faces.names))
    chunks = [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]
    parts: list[NDArray[np.float32]] = []
    done = 0
    for part in embed_batches(engine, faces, chunks):
        parts.append(part)
        done += len(part)
        if progress is not None:
            progress(done, len(rows))
    return np.concatenate(parts)


def embed_batches(
    engine: Engine, faces: Faces, chunks: Iterable[NDArray[np.intp]]
) -> Iterator[NDArray[np.float32]]:
    """Yield the embeddings ``(len(chunk), D)`` of each chunk of rows, a batch each."""
    side = engine.input.shape[-1]
    return engine.run_many(_batches(faces, chunks, side if isinstance(side, int) else 160))


def _batches(
    faces: Faces, chunks: Iterable[NDArray[np.intp]], size: int
) -> Iterator[NDArray[np.float32]]:
    """Yield chunks of faces as the model reads them, decoded by all processors at once.

    Decoding ahead beside the engine would take a processor from it: one thread late holds up every
    layer. On two processors that costs 9 % of FP32's throughput, decoding between batches 1 %.
    More threads than processors and smaller tasks hinder each other: on two processors, 64 faces
    took 23 ms in eight tasks on six threads, 16 on two threads, and 14 in two tasks.
    """
    threads = len(usable_processors())
    with ThreadPoolExecutor(threads, "decode") as pool:
        for chunk in chunks:
            batch = np.empty((len(chunk), 3, size, size), np.float32)
            size_of_task = max(1, -(-len(chunk) // threads))
            starts = range(0, len(chunk), size_of_task)
            parts = [slice(start, start + size_of_task) for start in starts]
            list(pool.map(partial(_load, faces, chunk, batch), parts))
            yield batch


def _load(faces: Faces, chunk: NDArray[np.intp], batch: NDArray[np.float32], part: slice) -> None:
    """Put a part of a chunk of faces into its batch."""
    standardize(faces.load(chunk[part]), batch.shape[-1], out=batch[part])


def cached_embeddings(
    engine: Engine,
    faces: Faces,
    batch_size: int,
    cache: Cache,
    *,
    cpu: str,
    progress: Report | None = None,
) -> Embeddings:
    """Return embeddings from the cache, proven on a sample, or compute them.

    Parameters
    ----------
    cpu : str
        CPU model and flags: other instructions round differently.
    """
    inputs = {
        "faces": faces.digest,
        "preprocessing": PREPROCESSING,
        "engine": engine.info.digest,
        "precision": engine.info.precision,
        "runtime": engine.info.runtime,
        "options": dict(engine.info.options),
        "cpu": cpu,
        "device": f"{engine.info.device}, {engine.info.device_details}",
        "batch size": batch_size,
    }

    def build(path: Path) -> None:
        values = embed(engine, faces, batch_size, progress=progress)
        np.save(path, values, allow_pickle=False)

    entry = cache.get_or_build("embeddings", inputs, "embeddings.npy", build)
    values: NDArray[np.float32] = np.load(entry.path, allow_pickle=False)
    if not entry.hit:
        return Embeddings(values, f"embedded now ({entry.reason})")
    rows = sample_rows(len(values), faces.digest)
    disagreement = largest_cosine_distance(
        values[rows], embed(engine, faces, batch_size, rows=rows)
    )
    if disagreement <= AGREEMENT:
        return Embeddings(
            values,
            f"from the cache; {len(rows)} sampled images embedded again agree "
            f"(largest cosine distance {disagreement:.1e})",
        )
    entry = cache.replace("embeddings", inputs, "embeddings.npy", build)
    return Embeddings(
        np.load(entry.path, allow_pickle=False),
        f"embedded now: cached ones disagreed on a sample of {len(rows)} (largest cosine distance "
        f"{disagreement:.1e}, expected at most {AGREEMENT:.0e})",
    )


def sample_rows(count: int, seed: str) -> NDArray[np.intp]:
    """Return at most 256 sorted row numbers, the same for the same seed."""
    digest = sha256(seed.encode()).digest()
    generator = np.random.default_rng(int.from_bytes(digest[:8], "little"))
    return np.sort(generator.choice(count, size=min(SAMPLE, count), replace=False))


def largest_cosine_distance(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Return the largest of 1 − cosine over rows; infinity where a value is not finite."""
    left, right = a.astype(np.float64), b.astype(np.float64)
    norms = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        distances = 1.0 - np.einsum("nd,nd->n", left, right) / norms
    # NaN twice is agreement on a broken engine: the checks before any metric name it.
    broken = ~np.isfinite(left).all(1) & ~np.isfinite(right).all(1)
    distances[broken] = 0.0
    return float(np.nan_to_num(distances, nan=np.inf).max())
