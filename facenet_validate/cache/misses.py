"""Why an artefact is not in the cache: what changed since the last build of the same subject.

Only an entry of the same subject can have changed: the first INT8 embeddings are a first build,
whatever FP32 embeddings there are. `KINDS` names the inputs that tell the subject. Often one of
them is the digest of a graph or an engine, which changes with every version of the recipe. The
manifest of that graph or engine leads back to the user's model, which stays the same.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from facenet_validate.cache import manifest
from facenet_validate.cache.kinds import KINDS

_MOST = 64  # newest entries of a kind that are compared: reading thousands would take seconds


def why_missed(entries: Path, kind: str, inputs: Mapping[str, Any]) -> str:
    """Return how inputs differ from those of the nearest entry of the same subject.

    Parameters
    ----------
    entries : Path
        The folder with a folder of entries for each kind.
    kind : str
        The kind of the artefact that is missing.
    inputs : mapping
        What it is made from.

    Returns
    -------
    str
        ``first build`` if there is no entry of the same subject among the newest of its kind.
    """
    subjects = _Subjects(entries)
    subject = subjects.of(kind, inputs)
    known = (found.inputs for found in _newest(entries / kind))
    same = [old for old in known if subjects.of(kind, old) == subject]
    if not same:
        return "first build"
    nearest = min((manifest.differences(old, inputs) for old in same), key=len)
    return "; ".join(str(difference) for difference in nearest)


@dataclass
class _Subjects:
    """Finds the subjects of entries.

    Attributes
    ----------
    entries : Path
        The folder with a folder of entries for each kind.
    """

    entries: Path

    @cached_property
    def made(self) -> Mapping[str, manifest.Manifest]:
        """The manifests of the newest entries, by their artefacts' digests."""
        found = [entry for kind in KINDS for entry in _newest(self.entries / kind)]
        return {
            entry.files[entry.main].sha256: entry for entry in found if entry.main in entry.files
        }

    def of(self, kind: str, inputs: Mapping[str, Any], below: frozenset[str] = frozenset()) -> Any:
        """Return the subject of an entry; ``below`` are the digests that led to it."""
        values = manifest.flat(inputs)
        names = KINDS[kind].subject if kind in KINDS else ()
        return [self._of_value(values.get(name), below) for name in names]

    def _of_value(self, value: Any, below: frozenset[str]) -> Any:
        if not isinstance(value, str):
            return value
        # A conversion may change nothing: then an artefact's digest is among its own inputs.
        if len(value) == 64 and value not in below and value in self.made:
            maker = self.made[value]
            return self.of(maker.kind, maker.inputs, below | {value})
        return value.split(" ", 1)[0]


def _newest(folder: Path) -> Iterator[manifest.Manifest]:
    """Yield the manifests of a kind's entries, the last used first."""
    try:
        with os.scandir(folder) as found:
            paths = [Path(entry.path) for entry in found if not entry.name.startswith(".")]
    except OSError:  # there is none, or it cannot be read: no reason for a build to fail
        return
    for path in sorted(paths, key=_used, reverse=True)[:_MOST]:
        known = manifest.read(path)
        if known is not None:
            yield known


def _used(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except OSError:  # removed meanwhile
        return 0.0
