"""A set of photos, embedded into a folder of shards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from facenet_validate.base.errors import DatasetError, EngineError
from facenet_validate.base.preprocessing import PREPROCESSING
from facenet_validate.base.progress import Report, silent
from facenet_validate.datasets.faces import identity_of
from facenet_validate.datasets.photos import Photos
from facenet_validate.engines.embedding import Faces, embed_batches
from facenet_validate.engines.protocol import Engine, EngineInfo
from facenet_validate.models.prepared import PreparedModel
from facenet_validate.shards import Manifest, ShardWriter


def manifest_of(
    info: EngineInfo,
    model: PreparedModel,
    photos: Photos,
    listed: bytes,
    *,
    cpu: str,
    shard_rows: int,
    batch: int,
) -> Manifest:
    """Return what a folder of the embeddings of photos will hold.

    Parameters
    ----------
    listed : bytes
        Content of ``names.jsonl``.
    cpu : str
        CPU model and flags.
    """
    aligner, digest = identity_of(photos)
    return Manifest(
        rows=len(photos.names),
        dimension=model.embedding_size,
        shard_rows=shard_rows,
        batch=batch,
        model=model.entry.digest,
        engine=info.digest,
        precision=info.precision,
        runtime=info.runtime,
        device=info.device,
        cpu=cpu,
        preprocessing=PREPROCESSING,
        aligner=aligner,
        set=digest,
        photos=sha256(listed).hexdigest(),
    )


def embed_shards(
    engine: Engine, faces: Faces, writer: ShardWriter, progress: Report = silent
) -> None:
    """Embed the shards that are missing, in order, and write each as soon as it is whole.

    Memory holds one shard and the batches under way, however many photos there are.

    Parameters
    ----------
    engine, faces : Engine, Faces
        Those of the writer's manifest.
    progress : callable
        Told the rows that are whole, of all.

    Raises
    ------
    DatasetError, EngineError
        If a photo cannot be read, or a batch not be embedded: shard and photo are named. What is
        whole stays.
    """
    manifest, todo = writer.manifest, writer.missing
    done = manifest.rows - sum(_length(manifest.span(shard)) for shard in todo)
    batches = (rows for shard in todo for rows in manifest.batches(shard))
    found = embed_batches(engine, _InShards(faces, manifest.shard_rows), batches)
    for shard in todo:
        start, stop = manifest.span(shard)
        values = np.empty((stop - start, manifest.dimension), np.float32)
        for rows in manifest.batches(shard):
            values[rows - start] = _batch(found, shard, [faces.names[row] for row in rows])
            done += len(rows)
            progress(done, manifest.rows)
        writer.write(shard, values)


def checked_batch(
    values: NDArray[np.float32], names: Sequence[str], shard: int
) -> NDArray[np.float32]:
    """Return the embeddings of a batch, one a photo, all finite.

    Raises
    ------
    EngineError
        If they are not: shard and photo are named.
    """
    if len(values) != len(names):
        raise EngineError(
            f"shard {shard:06d}: {len(values)} embeddings for the {len(names)} photos from "
            f"{names[0]} to {names[-1]}; expected one each."
        )
    broken = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if broken.size:
        raise EngineError(
            f"shard {shard:06d}: the embedding of {names[broken[0]]} holds NaN or infinity. Look "
            "for overflow in FP16 or a zero quantization scale."
        )
    return values


@dataclass(frozen=True)
class _InShards:
    """Faces whose errors name the shard too."""

    faces: Faces
    shard_rows: int

    @property
    def names(self) -> Sequence[str]:
        return self.faces.names

    @property
    def digest(self) -> str:
        return self.faces.digest

    def load(self, rows: NDArray[np.intp]) -> NDArray[np.uint8]:
        try:
            return self.faces.load(rows)
        except DatasetError as error:
            raise DatasetError(f"shard {rows[0] // self.shard_rows:06d}: {error}") from None


def _batch(
    found: Iterator[NDArray[np.float32]], shard: int, names: Sequence[str]
) -> NDArray[np.float32]:
    try:
        values = next(found)
    except EngineError as error:
        raise EngineError(
            f"shard {shard:06d}, photos from {names[0]} to {names[-1]}: {error}"
        ) from None
    return checked_batch(values, names, shard)


def _length(span: tuple[int, int]) -> int:
    start, stop = span
    return stop - start
