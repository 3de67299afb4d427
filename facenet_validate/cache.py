"""The content-addressed cache of everything that is expensive to make.

An entry is a folder ``<root>/<kind>/<key>/`` with the artefact and ``manifest.json``. The key is
the digest of the inputs the artefact was made from, so an entry can be absent or present, never
out of date. A folder appears by one rename, after its files are on disk, under a lock: a killed
build leaves nothing that loads, and two processes build once.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from filelock import FileLock

from facenet_validate.digests import file_digest, inputs_digest, short
from facenet_validate.errors import CacheError

_MANIFEST = "manifest.json"
_SCHEMA = 1


@dataclass(frozen=True)
class Entry:
    """An artefact in the cache, verified when it was handed out.

    Attributes
    ----------
    path : Path
        The artefact.
    digest : str
        SHA-256 of its bytes.
    key : str
        Digest of the inputs it was made from.
    hit : bool
        Whether it was there already.
    reason : str
        Why it was a hit or a miss, for people.
    """

    path: Path
    digest: str
    key: str
    hit: bool
    reason: str


def check_writable(root: Path) -> None:
    """Create the cache folder and prove that it takes a file.

    Raises
    ------
    CacheError
        If the folder cannot be created or written.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=root, prefix=".writable-"):
            pass
    except OSError as error:
        raise CacheError(
            f"cache folder {root} cannot be written ({error.strerror}). Expected a folder this "
            "user may write to; name another with --facenet-cache or FACENET_CACHE."
        ) from None


@dataclass(frozen=True)
class Cache:
    """A cache folder.

    Attributes
    ----------
    root : Path
        The folder; shared freely between processes of one machine.
    rebuild : bool
        Whether to make everything anew. Old entries stay until the new one is whole.
    """

    root: Path
    rebuild: bool = False

    def get_or_build(
        self, kind: str, inputs: Mapping[str, Any], filename: str, build: Callable[[Path], None]
    ) -> Entry:
        """Return the artefact made from ``inputs``, building it if it is not there.

        Parameters
        ----------
        kind : str
            What it is: ``prepared``, ``recipe``, ``embeddings``; the name of a sub-folder.
        inputs : mapping
            Everything the artefact depends on, as JSON values.
        filename : str
            The artefact's name inside the entry.
        build : callable
            Writes the artefact to the path it is given.

        Raises
        ------
        CacheError
            If the disk is full or the cache cannot be written.
        """
        key = inputs_digest(inputs)
        folder = self.root / kind / key
        if not self.rebuild:
            # Reading needs no lock: a folder appears whole or not at all.
            digest, _ = _verified(folder, filename)
            if digest is not None:
                return Entry(folder / filename, digest, key, True, _same_inputs(inputs))
        with _readable_errors(self.root), self._lock(kind, key):
            digest, damage = _verified(folder, filename)
            if digest is not None and not self.rebuild:
                return Entry(folder / filename, digest, key, True, "hit: another process built it")
            reason = self._miss_reason(kind, inputs, damage)
            staging = folder.with_name(f".building-{uuid4().hex}")
            staging.mkdir()
            try:
                build(staging / filename)
                digest = file_digest(staging / filename)
                if digest == _verified(folder, filename)[0]:
                    # A rebuild gave the same bytes: whoever reads the old ones is not disturbed.
                    return Entry(folder / filename, digest, key, False, reason)
                _write_manifest(staging, inputs, filename, digest)
                _sync(staging / filename)
                _replace_folder(staging, folder, keep=damage)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
        return Entry(folder / filename, digest, key, False, reason)

    @contextmanager
    def _lock(self, kind: str, key: str) -> Iterator[None]:
        (self.root / kind).mkdir(parents=True, exist_ok=True)
        with FileLock(self.root / kind / f".{key}.lock"):
            yield

    def _miss_reason(self, kind: str, inputs: Mapping[str, Any], damage: str) -> str:
        if self.rebuild:
            return "miss: a rebuild was asked for"
        if damage:
            return f"miss: {damage}"
        nearest = self._nearest(kind, inputs)
        if nearest is None:
            return "miss: first build"
        before, now = _flat(nearest), _flat(inputs)
        changes = [
            f"{name} changed ({_brief(before.get(name))} → {_brief(now.get(name))})"
            for name in sorted(before.keys() | now.keys())
            if before.get(name) != now.get(name)
        ]
        return f"miss: {'; '.join(changes)}"

    def _nearest(self, kind: str, inputs: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Return the inputs of the entry that differs in the fewest fields, newest first."""
        candidates = []
        for manifest in (self.root / kind).glob(f"*/{_MANIFEST}"):
            known = _read_manifest(manifest.parent)
            if known is not None:
                differing = sum(
                    known["inputs"].get(name) != inputs.get(name)
                    for name in set(known["inputs"]) | set(inputs)
                )
                candidates.append((differing, -manifest.stat().st_mtime, known["inputs"]))
        return min(candidates, key=lambda c: c[:2])[2] if candidates else None


def _same_inputs(inputs: Mapping[str, Any]) -> str:
    return f"hit: same {', '.join(sorted(inputs))}"


def _flat(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested inputs one level deep: ``recipe.weight_bits``."""
    flat: dict[str, Any] = {}
    for name, value in inputs.items():
        if isinstance(value, Mapping):
            flat |= {f"{name}.{inner}": inner_value for inner, inner_value in value.items()}
        else:
            flat[name] = value
    return flat


def _brief(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return short(text) if len(text) == 64 else text[:60]


def _read_manifest(folder: Path) -> dict[str, Any] | None:
    try:
        manifest = json.loads((folder / _MANIFEST).read_text())
    except (OSError, ValueError):
        return None
    well_formed = (
        isinstance(manifest, dict)
        and manifest.get("schema") == _SCHEMA
        and isinstance(manifest.get("inputs"), dict)
        and isinstance(manifest.get("sha256"), str)
    )
    return manifest if well_formed else None


def _verified(folder: Path, filename: str) -> tuple[str | None, str]:
    """Return the digest of a sound entry, or None and what is wrong with a damaged one."""
    if not folder.is_dir():
        return None, ""
    manifest = _read_manifest(folder)
    if manifest is None:
        return None, f"the manifest in {folder.name[:12]} cannot be read"
    if inputs_digest(manifest["inputs"]) != folder.name:
        return None, f"the manifest in {folder.name[:12]} belongs to other inputs"
    try:
        digest = file_digest(folder / filename)
    except OSError:
        return None, f"{filename} is missing from {folder.name[:12]}"
    if digest != manifest["sha256"]:
        return None, (f"{filename} was damaged (sha {short(manifest['sha256'])} → {short(digest)})")
    return digest, ""


def _write_manifest(folder: Path, inputs: Mapping[str, Any], filename: str, digest: str) -> None:
    manifest = {"schema": _SCHEMA, "file": filename, "sha256": digest, "inputs": dict(inputs)}
    path = folder / _MANIFEST
    path.write_text(json.dumps(manifest, indent=1, sort_keys=True))
    _sync(path)


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _replace_folder(new: Path, final: Path, *, keep: str) -> None:
    """Move ``new`` to ``final``; a damaged folder that was there moves aside, a good one goes."""
    if not final.exists():
        new.rename(final)
        return
    aside = final.with_name(f".replaced-{final.name[:12]}-{new.name.removeprefix('.building-')}")
    final.rename(aside)
    new.rename(final)
    if not keep:
        shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def _readable_errors(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            what = f"the disk of cache folder {root} is full"
        elif error.errno == errno.EDQUOT:
            what = f"the quota of cache folder {root} is used up"
        elif error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
            what = f"cache folder {root} cannot be written ({error.strerror})"
        else:
            raise
        raise CacheError(
            f"{what}. Nothing in it was changed. Free space or name another folder with "
            "--facenet-cache."
        ) from error
