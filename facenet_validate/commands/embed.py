"""``facenet-validate embed``: any number of photos → a folder of embeddings in shards."""

from __future__ import annotations

import argparse
from collections import Counter
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from facenet_validate.base.digests import short
from facenet_validate.base.errors import SettingsError
from facenet_validate.cache import Cache, check_writable
from facenet_validate.commands import progress, table
from facenet_validate.commands.one_engine import given_to
from facenet_validate.commands.output import say
from facenet_validate.datasets.faces import AlignedFaces, faces_in_photos
from facenet_validate.datasets.photo_set import PhotoSet, photo_set
from facenet_validate.datasets.photos import Photos, look_at
from facenet_validate.datasets.synthetic import proof_faces
from facenet_validate.run.data import Data
from facenet_validate.run.engines import prepared_model
from facenet_validate.run.on_ray import Actors, embed_on_ray
from facenet_validate.run.one_engine import engines_of, precision_of, run_of
from facenet_validate.run.ray_session import check_ray
from facenet_validate.run.run import Run
from facenet_validate.run.sharded import embed_shards, manifest_of
from facenet_validate.shards import ListedPhotos, Manifest, ShardWriter, writing

_ARGUMENTS = {
    "facenet_engine": ("engine", "--engine"),
    "facenet_model": ("model", "--model"),
    "facenet_backend": ("backend", "--backend"),
    "facenet_precision": ("precision", "--precision"),
    "facenet_cache": ("cache", "--cache"),
}
_VARIABLES = ("facenet_model", "facenet_backend", "facenet_target", "facenet_cache")


def run(arguments: argparse.Namespace) -> None:
    """Embed what is not embedded yet; say what was there and what was made."""
    if arguments.workers is not None and not arguments.ray:
        raise SettingsError("--workers goes with --ray: it says how many engines Ray holds.")
    if arguments.ray:
        check_ray()
    given = given_to(arguments, _ARGUMENTS, _VARIABLES)
    running = run_of(given, progress)
    cache = Cache(running.settings.cache)
    check_writable(cache.root)
    found = photo_set(arguments.set)
    out = arguments.out or Path(f"{arguments.set.resolve().name or 'photos'}.embeddings")
    with ExitStack() as stack:
        model = prepared_model(running, proof_faces(), cache)
        held = stack.enter_context(ExitStack())
        engines = engines_of(running, Data(running, cache), model, cache, held)
        engine = engines.engine(precision_of(running))
        with running.progress.stage("reading the photos") as report:
            photos = look_at(found.names, found.paths, report)
        listed = ListedPhotos(found.names, found.people, photos.digests).encoded()
        manifest = manifest_of(
            engine.info,
            model,
            photos,
            listed,
            cpu=running.cpu_text,
            shard_rows=arguments.shard_rows,
            batch=arguments.batch,
        )
        writer = stack.enter_context(writing(out, manifest, listed))
        if arguments.ray and writer.missing:
            actors = Actors(given, cache.root, arguments.workers, "device" in engine.scopes)
            held.close()  # the actors hold engines of their own
            with running.progress.stage("embedding on Ray") as report:
                embed_on_ray(photos, writer, actors, report)
        elif writer.missing:
            faces = _aligned(running, cache, photos)
            with running.progress.stage("embedding") as report:
                embed_shards(engine, faces, writer, report)
    told = f"{engine.info.artefact}: {manifest.precision} on {manifest.runtime}"
    say(table([*_told(found), ("engine", told), *_wrote(out, manifest, writer)]))


def _aligned(running: Run, cache: Cache, photos: Photos) -> AlignedFaces:
    stage = partial(running.progress.stage, "aligning the photos")
    return faces_in_photos(photos, cache, workers=running.threads, stage=stage)


def _told(found: PhotoSet) -> list[tuple[str, str]]:
    people = set(found.people) - {None}
    unknown = found.people.count(None)
    who = f"{len(people):,} people"
    if unknown:
        who += f"; who is on {unknown:,} is not known: they lie in no folder of a person"
    rows = [("photos", f"{len(found.names):,} of {who}")]
    return [*rows, *(("note", note) for note in found.notes)]


def _wrote(out: Path, manifest: Manifest, writer: ShardWriter) -> list[tuple[str, str]]:
    counts = Counter(writer.states.values())
    told = [f"{counts['whole']:,} were there"] if counts["whole"] else []
    told += [f"{counts['absent']:,} made"] if counts["absent"] else []
    told += [f"{counts['damaged']:,} damaged, made anew"] if counts["damaged"] else []
    return [
        ("shards", f"{manifest.shards:,} of {manifest.shard_rows:,} rows: {', '.join(told)}"),
        ("wrote", f"{out}: {manifest.rows:,} × {manifest.dimension} (set {short(manifest.set)})"),
    ]
