"""The content-addressed cache of everything that is expensive to make.

An entry is a folder ``<root>/v2/<kind>/<key>/`` with the artefact, the files that were made beside
it, and ``manifest.json``. The key is the digest of the inputs the artefact was made from, so an
entry is never out of date. The folder appears by one rename, under a lock, after its files are on
the disk: a killed build leaves nothing that loads, and of two processes one builds. Each layout of
the cache has its own ``v<number>`` folder, so one version of this library never reads the entries
of another layout.

The folder's modification time says when the entry was last used, the manifest's when it was made.
A reader takes no lock: it verifies every byte, then notes the use. `upkeep` keeps what was used
within the hour, so a run has time to load what it was given. If an entry is removed or rebuilt
nevertheless, `Entry.read` raises an error that says so.
"""

from __future__ import annotations

import errno
import hashlib
import math
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from typing import Any

from facenet_validate.base.digests import inputs_digest, short
from facenet_validate.base.errors import CacheError
from facenet_validate.cache import manifest
from facenet_validate.cache.locks import BUILDING, beside, locked, mark_used, publish, sync_folder
from facenet_validate.cache.misses import why_missed

LAYOUT = "v2"
"""The folder of entries of this layout."""

_REBUILD = "a rebuild was asked for"


@dataclass(frozen=True)
class Entry:
    """An artefact in the cache, verified when it was handed out.

    Attributes
    ----------
    path : Path
        The artefact. Other files of its build lie beside it and were verified too.
    digest : str
        SHA-256 of its bytes.
    key : str
        Digest of the inputs it was made from.
    hit : bool
        Whether the cache had it already.
    reason : str
        Why it was a hit or a miss, for people.
    """

    path: Path
    digest: str
    key: str
    hit: bool
    reason: str

    def read(self) -> bytes:
        """Return the artefact's bytes, which are those that were verified.

        Raises
        ------
        CacheError
            If it was removed or replaced since.
        """
        try:
            content = self.path.read_bytes()
        except OSError as error:
            raise CacheError(
                f"{self.path} cannot be read any more ({error.strerror}). Run again."
            ) from None
        found = hashlib.sha256(content).hexdigest()
        if found != self.digest:
            raise CacheError(
                f"{self.path} changed since it was verified (sha {short(self.digest)} → "
                f"{short(found)}). Run again."
            )
        return content


def check_writable(root: Path) -> None:
    """Create the cache folder and prove that it takes a file.

    A folder that has entries and cannot be written is accepted: its entries can be read.

    Raises
    ------
    CacheError
        If the folder cannot be created or written, and has no entries.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=root, prefix=".writable-"):
            pass
    except OSError as error:
        if _is_folder(root / LAYOUT):
            return
        raise CacheError(
            f"cache folder {root} cannot be written ({error.strerror}). Expected a folder this "
            "user may write to; name another with --facenet-cache or FACENET_CACHE."
        ) from None


def _is_folder(path: Path) -> bool:
    # Path.is_dir raises where the folder may not be searched.
    return os.path.isdir(path)  # noqa: PTH112


@dataclass(frozen=True)
class Cache:
    """A cache folder.

    Attributes
    ----------
    root : Path
        The folder; shared freely between processes of one machine.
    rebuild : bool
        Whether to make everything anew. An old entry stays until the new one is finished.
    made_since : float
        Entries made since then, in seconds since 1970, are not made anew: the processes of one run
        share what one of them has rebuilt.
    """

    root: Path
    rebuild: bool = False
    made_since: float = math.inf

    def find(self, kind: str, inputs: Mapping[str, Any], filename: str) -> Entry | None:
        """Return the artefact made from ``inputs``; None if it is absent or damaged.

        Nothing is locked or built, so a read-only cache serves too. Where a rebuild was asked for,
        only artefacts made since ``made_since`` are returned.
        """
        if self.rebuild and not self._is_new(kind, inputs):
            return None
        return self._hit(kind, inputs, filename)

    def damage(self, kind: str, inputs: Mapping[str, Any], filename: str) -> str:
        """Return what is wrong with an artefact that `find` passes by; empty if none is there."""
        return manifest.verified(self._folder(kind, inputs), kind, filename)[1]

    def get_or_build(
        self, kind: str, inputs: Mapping[str, Any], filename: str, build: Callable[[Path], None]
    ) -> Entry:
        """Return the artefact made from ``inputs``, building it if it is not there.

        Parameters
        ----------
        kind : str
            Its kind, as ``prepared``, ``plan`` or ``embeddings``: the name of a sub-folder. See
            `KINDS`.
        inputs : mapping
            Everything the artefact depends on, as JSON values.
        filename : str
            The artefact's name inside the entry.
        build : callable
            Writes the artefact to the path that it is called with; may write more files beside it.

        Raises
        ------
        CacheError
            If the disk is full, the cache cannot be written, or the build left no such file.
        """
        found = self.find(kind, inputs, filename)
        anew = _REBUILD if self.rebuild else ""
        return found or self._make(kind, inputs, filename, build, anew=anew)

    def replace(
        self, kind: str, inputs: Mapping[str, Any], filename: str, build: Callable[[Path], None]
    ) -> Entry:
        """Make an artefact anew, also if there is one; the parameters are those of `get_or_build`.

        For a timing cache that grew, and for embeddings that a sample showed to be wrong.
        """
        return self._make(kind, inputs, filename, build, anew="it was to be replaced")

    def _folder(self, kind: str, inputs: Mapping[str, Any]) -> Path:
        return self.root / LAYOUT / kind / inputs_digest(inputs)

    def _is_new(self, kind: str, inputs: Mapping[str, Any]) -> bool:
        try:
            made = (self._folder(kind, inputs) / manifest.MANIFEST).stat().st_mtime
        except OSError:
            return False
        return made >= self.made_since

    def _hit(
        self, kind: str, inputs: Mapping[str, Any], filename: str, reason: str = ""
    ) -> Entry | None:
        folder = self._folder(kind, inputs)
        found, _ = manifest.verified(folder, kind, filename)
        if found is None or not mark_used(folder):
            return None
        why = f"hit: {reason or 'same ' + ', '.join(sorted(inputs))}"
        return Entry(folder / filename, found.files[filename].sha256, folder.name, True, why)

    def _make(
        self,
        kind: str,
        inputs: Mapping[str, Any],
        filename: str,
        build: Callable[[Path], None],
        *,
        anew: str = "",
    ) -> Entry:
        folder = self._folder(kind, inputs)
        with _readable_errors(self.root), locked(folder):
            if not anew or (anew == _REBUILD and self._is_new(kind, inputs)):
                found = self._hit(kind, inputs, filename, "another process built it")
                if found is not None:
                    return found
            before, damage = manifest.verified(folder, kind, filename)
            reason = anew or damage or why_missed(self.root / LAYOUT, kind, inputs)
            staging = beside(folder, BUILDING)
            staging.mkdir()
            try:
                build(staging / filename)
                made = manifest.describe(staging, kind, inputs, filename)
                if before is not None and before.files == made.files:
                    # The old entry stays, and other processes go on reading it.
                    mark_used(folder)
                    os.utime(folder / manifest.MANIFEST)  # made just now
                else:
                    manifest.write(staging, made)
                    sync_folder(staging)
                    publish(staging, folder, keep=bool(damage))
            finally:
                rmtree(staging, ignore_errors=True)
        digest = made.files[filename].sha256
        return Entry(folder / filename, digest, folder.name, False, f"miss: {reason}")


@contextmanager
def _readable_errors(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        what = _trouble(error, root)
        if not what:
            raise
        raise CacheError(
            f"{what}. Nothing in it was changed. Free space or name another folder with "
            "--facenet-cache."
        ) from error


def _trouble(error: OSError, root: Path) -> str:
    if error.errno == errno.EDQUOT:
        return f"the quota of cache folder {root} is used up"
    if error.errno == errno.ENOSPC or (error.errno is None and _is_full(root)):
        return f"the disk of cache folder {root} is full"
    if error.errno == errno.EFBIG:
        return f"cache folder {root} takes no file this large ({error.strerror})"
    return _trouble_inside(error, root)


def _trouble_inside(error: OSError, root: Path) -> str:
    # A build reads files outside the cache too; their errors are not the cache's.
    if not isinstance(error.filename, str | bytes):
        return ""
    path = Path(os.fsdecode(error.filename))
    if not path.is_relative_to(root):
        return ""
    if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
        return f"cache folder {root} cannot be written ({error.strerror})"
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        return f"cache folder {root}: {_in_the_way(path, root)} is no folder; move it away"
    return f"cache folder {root} cannot be used: {path} ({error.strerror})"


def _in_the_way(path: Path, root: Path) -> Path:
    """Return the first part of a path in the cache that should be a folder and is a file."""
    inside = [path, *path.parents]
    folders = reversed(inside[: inside.index(root) + 1])
    found = (one for one in folders if os.path.lexists(one) and not _is_folder(one))
    return next(found, path)


def _is_full(root: Path) -> bool:
    """Return whether the disk is full: numpy reports a short write without its reason."""
    free = os.statvfs(root)
    return free.f_bavail * free.f_frsize < 1 << 20
