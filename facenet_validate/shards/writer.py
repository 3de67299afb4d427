"""Shards are written one by one, each in one step; a process that is killed leaves whole ones."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from facenet_validate.base.errors import ShardError
from facenet_validate.base.files import write_whole
from facenet_validate.base.wording import path_text, reason
from facenet_validate.shards import manifest as manifests
from facenet_validate.shards import photos
from facenet_validate.shards.files import (
    FOLDER,
    State,
    digest_content,
    digest_path,
    state,
    values_path,
)
from facenet_validate.shards.manifest import Manifest, read_manifest

_LOCK = ".lock"
_PARTIAL = ".partial"
_NAMED = 3


class ShardWriter:
    """Writes the shards of a folder. `writing` makes it.

    Attributes
    ----------
    manifest : Manifest
        What the folder will hold.
    states : dict of int to str
        Each shard as it was found: ``whole``, ``absent`` or ``damaged``.
    """

    def __init__(self, folder: Path, manifest: Manifest, states: dict[int, State]) -> None:
        self.manifest = manifest
        self.states = states
        self._folder = folder

    @property
    def missing(self) -> list[int]:
        """Shards to make, in order: those that were absent or damaged."""
        return [shard for shard, found in self.states.items() if found != "whole"]

    def write(self, shard: int, values: NDArray[np.float32]) -> None:
        """Write a shard: first its embeddings, then their digest.

        Parameters
        ----------
        values : ndarray of shape (rows of the shard, D)
            float32.

        Raises
        ------
        ShardError
            If it cannot be written.
        ValueError
            If the array has another shape or dtype.
        """
        start, stop = self.manifest.span(shard)
        expected = stop - start, self.manifest.dimension
        if values.shape != expected or values.dtype != np.float32:
            raise ValueError(f"shard {shard}: {values.dtype} {values.shape}; expected {expected}")
        file = io.BytesIO()
        np.save(file, np.ascontiguousarray(values), allow_pickle=False)
        content = file.getvalue()
        digest = digest_content(hashlib.sha256(content).hexdigest(), stop - start)
        _write(values_path(self._folder, shard), content)
        _write(digest_path(self._folder, shard), digest)


@contextmanager
def writing(folder: Path, manifest: Manifest, listed: bytes) -> Iterator[ShardWriter]:
    """Begin a folder of shards, or go on with one, and hold its lock.

    Parameters
    ----------
    folder : Path
        Not there yet, empty, or begun with the same manifest.
    manifest : Manifest
        What it will hold.
    listed : bytes
        Content of ``names.jsonl``.

    Yields
    ------
    ShardWriter

    Raises
    ------
    ShardError
        If the folder holds something else, which is named and stays as it is; another process
        writes to it; or it cannot be written.
    """
    _check_free(folder, manifest)
    lock = FileLock(folder / _LOCK)
    try:
        (folder / FOLDER).mkdir(parents=True, exist_ok=True)
        lock.acquire(blocking=False)
    except Timeout:
        raise ShardError(
            f"{path_text(folder)}: another process writes to it. Wait for it, or name another "
            "folder with --out."
        ) from None
    except OSError as error:
        raise _unwritable(folder, error) from None
    try:
        _begin(folder, manifest, listed)
        yield ShardWriter(folder, manifest, _states(folder, manifest))
    finally:
        lock.release()


def _check_free(folder: Path, manifest: Manifest) -> None:
    """Check that a folder is not there, is empty, or was begun with the same manifest."""
    try:
        if not folder.exists():
            return
        if not folder.is_dir():
            raise ShardError(f"{path_text(folder)}: it is a file; expected a folder, or a new one.")
        # What begins with a dot, and an empty folder, is left where a run was killed early.
        found = sorted(one.name for one in folder.iterdir() if not one.name.startswith("."))
        begun = found == [FOLDER] and not any((folder / FOLDER).iterdir())
    except OSError as error:
        raise _unwritable(folder, error) from None
    if manifests.NAME in found:
        _check_same(folder, manifest)
    elif found and not begun:
        raise ShardError(
            f"{path_text(folder)}: it holds {path_text(found[0])} and no {manifests.NAME}. Nothing "
            "was written. Name an empty folder, or a new one, with --out."
        )


def _check_same(folder: Path, manifest: Manifest) -> None:
    different = manifest.differences(read_manifest(folder))
    if different:
        more = f", and {len(different) - _NAMED} more" if len(different) > _NAMED else ""
        raise ShardError(
            f"{path_text(folder)}: holds other embeddings: {', '.join(different[:_NAMED])}{more}. "
            "Nothing was written. Name another folder with --out."
        )


def _begin(folder: Path, manifest: Manifest, listed: bytes) -> None:
    """Write what stands beside the shards, as far as it is not there; the lock is held."""
    if (folder / manifests.NAME).exists():
        _check_same(folder, manifest)
    else:
        _write(folder / manifests.NAME, manifest.encoded())
    names = folder / photos.NAME
    try:
        whole = names.exists() and names.read_bytes() == listed
    except OSError as error:
        raise _unwritable(names, error) from None
    if not whole:
        _write(names, listed)


def _states(folder: Path, manifest: Manifest) -> dict[int, State]:
    try:
        return {shard: state(folder, manifest, shard) for shard in range(manifest.shards)}
    except OSError as error:
        raise ShardError(
            f"{path_text(folder)}: a shard cannot be read ({reason(error)}). Move the folder away, "
            "or name another with --out."
        ) from None


def _write(path: Path, content: bytes) -> None:
    try:
        # The name of the partial file is always the same: the folder's lock is held.
        write_whole(path, content, name=_PARTIAL)
    except OSError as error:
        raise _unwritable(path, error) from None


def _unwritable(path: Path, error: OSError) -> ShardError:
    return ShardError(
        f"{path_text(path)}: cannot be written ({reason(error)}). What is whole stays; run again "
        "when there is room, or name another folder with --out."
    )
