"""The manifest of an entry, and the check that the entry is as its manifest says.

``manifest.json`` names the inputs an entry was made from, and every file in it with its size and
SHA-256. It carries a digest of itself, so a flipped bit is found. The digest of its inputs must be
the folder's name, so a folder that was copied to another place is found.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any

from facenet_validate.base.digests import inputs_digest, short
from facenet_validate.base.errors import CacheError

MANIFEST = "manifest.json"

_SCHEMA = 2
_LARGEST = 4 << 20  # bytes of a manifest; ours have a few thousand


@dataclass(frozen=True)
class File:
    """A file of an entry: the SHA-256 of its bytes and their number."""

    sha256: str
    size: int


@dataclass(frozen=True)
class Manifest:
    """The files of an entry and the inputs it was made from.

    Attributes
    ----------
    kind : str
        Its kind.
    inputs : mapping
        Everything that the entry depends on.
    main : str
        The name of the artefact.
    files : mapping of str to File
        All files by name, the main one included.
    """

    kind: str
    inputs: Mapping[str, Any]
    main: str
    files: Mapping[str, File]


def describe(folder: Path, kind: str, inputs: Mapping[str, Any], main: str) -> Manifest:
    """Return the manifest of files that were just written, once they are on the disk.

    Raises
    ------
    CacheError
        If the main file is missing, or a file is a link, a folder or a device.
    """
    files = {}
    for path in sorted(folder.iterdir()):
        try:
            with _open_plain(path) as file:
                os.fsync(file.fileno())
                files[path.name] = _digest(file)
        except _NotPlainError as error:
            raise CacheError(
                f"a build of {kind} left {path.name}, which {error}. Expected plain files."
            ) from None
    if main not in files or MANIFEST in files:
        raise CacheError(f"a build of {kind} wrote {', '.join(files) or 'nothing'}, not {main}.")
    return Manifest(kind, dict(inputs), main, files)


def write(folder: Path, manifest: Manifest) -> None:
    """Write a manifest beside its files and wait until it is on the disk."""
    content = {"schema": _SCHEMA, **asdict(manifest)}
    text = json.dumps({**content, "digest": inputs_digest(content)}, indent=1, sort_keys=True)
    with (folder / MANIFEST).open("x", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def read(folder: Path) -> Manifest | None:
    """Return the manifest in a folder; None if it is absent or damaged."""
    try:
        with _open_plain(folder / MANIFEST) as file:
            content = json.loads(file.read(_LARGEST))
        if content.pop("digest") != inputs_digest(content) or content["schema"] != _SCHEMA:
            return None
        files = {name: File(**values) for name, values in content["files"].items()}
        return Manifest(content["kind"], dict(content["inputs"]), content["main"], files)
    except (OSError, _NotPlainError, ValueError, LookupError, TypeError, AttributeError):
        return None


def verified(folder: Path, kind: str, main: str | None = None) -> tuple[Manifest | None, str]:
    """Check an entry: its manifest, its place, and every byte of its files.

    Parameters
    ----------
    folder : Path
        The entry's folder, whose name is its key.
    kind : str
        The kind that the entry should have.
    main : str, optional
        The artefact that is asked for; by default the one that the manifest names.

    Returns
    -------
    tuple of (Manifest or None, str)
        The manifest and an empty text for a sound entry. Otherwise None and what is wrong; the text
        is empty if there is no entry.
    """
    if not os.path.lexists(folder):
        return None, ""
    found = None if folder.is_symlink() else read(folder)
    if found is None:
        return None, f"the manifest in {short(folder.name)} cannot be read"
    damage = _misplaced(folder, kind, main or found.main, found)
    for name, expected in found.files.items():
        damage = damage or _damage(folder / name, expected)
    return (None, damage) if damage else (found, "")


def _misplaced(folder: Path, kind: str, main: str, found: Manifest) -> str:
    where = short(folder.name)
    if inputs_digest(found.inputs) != folder.name:
        return f"the manifest in {where} belongs to other inputs"
    if found.kind != kind:
        return f"the manifest in {where} is of kind {found.kind}, not {kind}"
    if found.main != main or main not in found.files:
        return f"{main} is missing from {where}, which holds {found.main}"
    return ""


def _damage(path: Path, expected: File) -> str:
    try:
        with _open_plain(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size != expected.size:
                return f"{path.name} was damaged ({expected.size} → {size} bytes)"
            found = _digest(file)
    except FileNotFoundError:
        return f"{path.name} is missing from {short(path.parent.name)}"
    except _NotPlainError as error:
        return f"{path.name} {error}"
    except OSError as error:
        return f"{path.name} cannot be read ({error.strerror})"
    if found != expected:
        shas = f"sha {short(expected.sha256)} → {short(found.sha256)}"
        return f"{path.name} was damaged ({shas})"
    return ""


class _NotPlainError(Exception):
    """A link, a folder or a device is where a plain file is expected."""


def _open_plain(path: Path) -> BufferedReader:
    """Open a plain file. A link is refused: it could lead anywhere. So is a pipe: it would wait."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _NotPlainError("is a link") from None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _NotPlainError("is no plain file")
    return os.fdopen(descriptor, "rb")


def _digest(file: BufferedReader) -> File:
    sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return File(sha256, os.fstat(file.fileno()).st_size)


@dataclass(frozen=True)
class Difference:
    """An input in which two entries differ, as ``recipe.bits``, which was 8 and is 7 now."""

    name: str
    before: str
    now: str

    def __str__(self) -> str:
        return f"{self.name} changed ({self.before} → {self.now})"


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[Difference]:
    """Return the inputs that differ, nested ones by their full names."""
    old, new = flat(before), flat(now)
    return [
        Difference(name, brief(old, name), brief(new, name))
        for name in sorted(old.keys() | new.keys())
        # Compared as JSON, as in the key: a tuple is a list there.
        if name not in old or name not in new or _text(old[name]) != _text(new[name])
    ]


def flat(inputs: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested inputs one level deep: ``recipe.weight_bits``."""
    values: dict[str, Any] = {}
    for name, value in inputs.items():
        if isinstance(value, Mapping) and value:
            values |= flat(value, f"{prefix}{name}.")
        else:
            values[f"{prefix}{name}"] = value
    return values


def brief(values: Mapping[str, Any], name: str) -> str:
    """Return an input for people: a digest by its first digits, a long text by its beginning."""
    if name not in values:
        return "absent"
    value = values[name]
    text = value if isinstance(value, str) else _text(value)
    if len(text) == 64:
        return short(text)
    return text if len(text) <= 60 else f"{text[:59]}…"


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
