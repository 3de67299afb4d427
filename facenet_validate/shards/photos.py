"""``names.jsonl``: the photos behind the rows, in order, a line each."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facenet_validate.base.errors import ShardError
from facenet_validate.base.files import check_regular
from facenet_validate.base.wording import path_text, quoted, reason

NAME = "names.jsonl"


@dataclass(frozen=True)
class ListedPhotos:
    """The photos behind the rows.

    Attributes
    ----------
    names : tuple of str
        A photo's name: its path in the set.
    people : tuple of str or None
        Who is on each; None where that is not known.
    digests : tuple of str
        SHA-256 of each photo's file.
    """

    names: tuple[str, ...]
    people: tuple[str | None, ...]
    digests: tuple[str, ...]

    def encoded(self) -> bytes:
        """Return the content of ``names.jsonl``."""
        rows = zip(self.names, self.people, self.digests, strict=True)
        lines = (json.dumps({"name": n, "person": p, "sha256": d}) + "\n" for n, p, d in rows)
        return "".join(lines).encode()


def read_photos(folder: Path, digest: str, rows: int) -> ListedPhotos:
    """Return the photos behind the rows of a folder of shards.

    Parameters
    ----------
    digest : str
        SHA-256 that the file should have, as the manifest says.
    rows : int
        How many lines.

    Raises
    ------
    ShardError
        If the file is not the one that was written with the manifest.
    """
    path = folder / NAME
    try:
        check_regular(path)
        content = path.read_bytes()
    except OSError as error:
        raise ShardError(
            f"{path_text(path)}: cannot be read ({reason(error)}). Run facenet-validate embed "
            "again: it writes the file anew."
        ) from None
    if hashlib.sha256(content).hexdigest() != digest:
        raise ShardError(
            f"{path_text(path)}: not the file that belongs to the manifest, by its digest. Run "
            "facenet-validate embed again: it writes the file anew."
        )
    found = list(_lines(content, path))
    if len(found) != rows:
        raise ShardError(f"{path_text(path)}: {len(found)} photos; the manifest has {rows} rows.")
    names, people, digests = zip(*found, strict=True)
    return ListedPhotos(names, people, digests)


def _lines(content: bytes, path: Path) -> Iterator[tuple[str, str | None, str]]:
    for number, line in enumerate(content.splitlines(), start=1):
        try:
            entry: Any = json.loads(line)
            name, person, digest = entry["name"], entry["person"], entry["sha256"]
        except (ValueError, RecursionError, TypeError, KeyError):
            name = None
        texts = isinstance(name, str) and isinstance(digest, str)
        if not texts or not isinstance(person, str | None):
            raise ShardError(
                f"{path_text(path)}: line {number} is {quoted(line)}; expected name, person and "
                "sha256."
            )
        yield name, person, digest
