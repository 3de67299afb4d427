"""A set of photos, embedded into a folder of shards by Ray Data, here or on a cluster.

Tasks read, align and decode a batch each; actors hold an engine each and embed it. The batches are
those of one process, so the bytes are too. Whoever started it writes the shards: workers need no
place of their own. A worker that dies is replaced, and its batch is done again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facenet_validate.base.errors import (
    DatasetError,
    EngineError,
    FacenetValidateError,
    ShardError,
)
from facenet_validate.base.preprocessing import standardize
from facenet_validate.base.progress import Progress, Report, silent
from facenet_validate.cache import Cache
from facenet_validate.datasets.faces import faces_in_photos
from facenet_validate.datasets.photos import Photos, look_at
from facenet_validate.datasets.synthetic import proof_faces
from facenet_validate.run.data import Data
from facenet_validate.run.engines import prepared_model
from facenet_validate.run.one_engine import engines_of, precision_of, run_of
from facenet_validate.run.ray_session import gave_up, ray_session
from facenet_validate.run.settings import Given
from facenet_validate.run.sharded import checked_batch
from facenet_validate.shards import Manifest, ShardWriter

_MOST_BLOCKS = 10_000
"""Into which the list of batches is cut: a task a block."""


@dataclass(frozen=True)
class Actors:
    """What embeds on Ray.

    Attributes
    ----------
    given : mapping
        The options of the run that every actor begins, to load its engine.
    cache : Path
        Where tasks keep aligned faces.
    count : int or None
        Actors; by default one a GPU, or one a host where engines run on the CPU.
    on_device : bool
        Whether the engine takes a GPU of its own.
    """

    given: Mapping[str, Given]
    cache: Path
    count: int | None
    on_device: bool


def embed_on_ray(
    photos: Photos, writer: ShardWriter, actors: Actors, progress: Report = silent
) -> None:
    """Embed the shards that are missing on Ray, and write each as soon as it is whole.

    Parameters
    ----------
    photos : Photos
        Those of the writer's manifest; every worker reads them by the same paths.
    progress : callable
        Told the rows that are embedded, of all.

    Raises
    ------
    ShardError
        If a photo cannot be read or a batch not be embedded: shard and photo are named. Or Ray
        gives up. What is whole stays.
    """
    with ray_session() as ray:
        try:
            _collect(_embedded(ray, photos, writer, actors), writer, progress)
        except ray.exceptions.RayError as error:
            shards = writer.manifest.shards
            raise ShardError(
                f"{gave_up(error)}. What is whole of {shards} shards stays; run again."
            ) from error


def _embedded(
    ray: Any, photos: Photos, writer: ShardWriter, actors: Actors
) -> Iterator[dict[str, Any]]:
    """Yield a row a batch, in any order: its shard, its first row, and its embeddings' bytes."""
    items = list(_items(photos, writer))
    resources = ray.cluster_resources()
    count = actors.count or _every_host(ray, resources, on_device=actors.on_device)
    cpus = resources.get("CPU", 1.0)
    # Half of the processors are left to the tasks that decode.
    taken = {"num_gpus": 1, "num_cpus": 1} if actors.on_device else {"num_cpus": cpus / count / 2}
    return iter(
        ray.data.from_items(items, override_num_blocks=min(len(items), _MOST_BLOCKS))
        .map(_decoded, fn_args=(actors.cache,))
        .map(
            _Embedder,
            fn_constructor_args=(dict(actors.given), writer.manifest, max(1, int(cpus / count))),
            compute=ray.data.ActorPoolStrategy(size=count),
            **taken,
        )
        .iter_rows()
    )


def _every_host(ray: Any, resources: Mapping[str, float], *, on_device: bool) -> int:
    if on_device:
        return max(1, int(resources.get("GPU", 0)))
    hosts = [node for node in ray.nodes() if node["Alive"]]
    return max(1, len(hosts))


def _items(photos: Photos, writer: ShardWriter) -> Iterator[dict[str, Any]]:
    for shard in writer.missing:
        for rows in writer.manifest.batches(shard):
            part = slice(int(rows[0]), int(rows[-1]) + 1)
            yield {
                "shard": shard,
                "row": part.start,
                "names": list(photos.names[part]),
                "paths": [str(path.absolute()) for path in photos.paths[part]],
                "digests": list(photos.digests[part]),
            }


def _decoded(item: dict[str, Any], cache: Path) -> dict[str, Any]:
    """Return the aligned faces of a batch as bytes, in a task; or what is wrong with a photo."""
    found = {"shard": item["shard"], "row": item["row"], "names": item["names"]}
    try:
        faces = _faces(item, cache)
    except FacenetValidateError as error:
        return {**found, "faces": b"", "side": 0, "wrong": f"shard {item['shard']:06d}: {error}"}
    return {**found, "faces": faces.tobytes(), "side": faces.shape[1], "wrong": ""}


def _faces(item: dict[str, Any], cache: Path) -> NDArray[np.uint8]:
    paths = [Path(path) for path in item["paths"]]
    photos = look_at(item["names"], paths)
    for path, before, now in zip(paths, item["digests"], photos.digests, strict=True):
        if before != now:
            raise DatasetError(
                f"photo {path}: not the file that was there when the command began, or another one "
                "on this host. Put the same photos in the same place on every host."
            )
    return faces_in_photos(photos, Cache(cache), workers=1).load(np.arange(len(paths)))


class _Embedder:
    """An actor that holds an engine."""

    def __init__(self, given: dict[str, Given], manifest: Manifest, threads: int) -> None:
        self._stack = ExitStack()
        self._manifest = manifest
        self._wrong = ""
        try:
            self._load(given, threads)
        except FacenetValidateError as error:
            self._wrong = f"a worker cannot load the engine: {error}"

    def __call__(self, item: dict[str, Any]) -> dict[str, Any]:
        """Return the embeddings of a batch as bytes, or what is wrong."""
        found = {"shard": item["shard"], "row": item["row"], "values": b""}
        names, side = list(item["names"]), item["side"]
        if item["wrong"] or self._wrong:
            return {**found, "wrong": item["wrong"] or self._wrong}
        faces = np.frombuffer(item["faces"], np.uint8).reshape(len(names), side, side, 3)
        try:
            values = self._engine.run(standardize(faces, self._side))
            values = checked_batch(values, names, item["shard"])
        except EngineError as error:
            text = str(error)
            if not text.startswith("shard "):
                text = f"shard {item['shard']:06d}, photos from {names[0]} to {names[-1]}: {error}"
            return {**found, "wrong": text}
        return {**found, "values": values.tobytes(), "wrong": ""}

    def _load(self, given: dict[str, Given], threads: int) -> None:
        run = run_of(given, lambda: Progress(None))
        cache = Cache(run.settings.cache)
        model = prepared_model(run, proof_faces(), cache)
        engines = engines_of(run, Data(run, cache), model, cache, self._stack, threads)
        self._engine, self._side = engines.engine(precision_of(run)), model.image_size
        info, manifest = self._engine.info, self._manifest
        here = (info.digest, info.runtime, info.device, run.cpu_text)
        there = (manifest.engine, manifest.runtime, manifest.device, manifest.cpu)
        for found, expected in zip(here, there, strict=True):
            if found != expected:
                raise EngineError(
                    f"it has {found}, and the command began with {expected}. Embeddings may then "
                    "differ in their last bits: use hosts of one kind."
                )


def _collect(rows: Iterator[dict[str, Any]], writer: ShardWriter, progress: Report) -> None:
    """Put batches into their shards, in whatever order they come, and write each whole shard."""
    manifest = writer.manifest
    begun: dict[int, tuple[NDArray[np.float32], set[int]]] = {}
    spans = {shard: manifest.span(shard) for shard in writer.missing}
    done = manifest.rows - sum(stop - start for start, stop in spans.values())
    for row in rows:
        if row["wrong"]:
            raise ShardError(row["wrong"])
        shard, (start, stop) = row["shard"], spans[row["shard"]]
        if shard not in begun:
            values = np.empty((stop - start, manifest.dimension), np.float32)
            begun[shard] = values, {int(rows[0]) for rows in manifest.batches(shard)}
        values, missing = begun[shard]
        part = np.frombuffer(row["values"], np.float32).reshape(-1, manifest.dimension)
        values[row["row"] - start : row["row"] - start + len(part)] = part
        missing.remove(row["row"])
        done += len(part)
        progress(done, manifest.rows)
        if not missing:
            writer.write(shard, begun.pop(shard)[0])
