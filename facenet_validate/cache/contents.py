"""What lies in a cache folder: entries, the data sets' folders, leftovers.

Only what is known by its form is listed: other files in the folder are somebody else's.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from facenet_validate.cache.manifest import MANIFEST, Manifest, brief, flat, read
from facenet_validate.cache.store import LAYOUT

State = Literal["entry", "folder", "other version", "set aside", "left over"]
"""An entry of `Cache`; a data set's own folder or file; an entry of another layout; a damaged entry
that was replaced; what a killed process left."""

KINDS: Mapping[str, str] = {
    "prepared": "model, FP32 ONNX",
    "proof": "proof of a prepared model",
    "fp16": "FP16 graph",
    "int8": "INT8 graph",
    "plan": "TensorRT engine",
    "timing": "TensorRT timing cache",
    "embeddings": "embeddings",
    "faces": "aligned faces",
    "synthetic": "drawn faces",
    "tuning": "losses that quantize --tune measured",
}
"""The kinds, for people."""

_KEY = re.compile(r"[0-9a-f]{64}")
_LAYOUT = re.compile(r"v[0-9]+")
_HIDDEN = re.compile(r"\.(building|removing|replaced|drawing|writing)-(.+-)?[0-9a-f]{32}")
_FOLDERS = ("faces", "synthetic", "tuning")  # of datasets and quantization, in no layout's folder


@dataclass(frozen=True)
class Item:
    """Something in the cache.

    Attributes
    ----------
    kind : str
        What it is, as in `KINDS`.
    name : str
        An entry's key; else the file's or folder's name.
    path : Path
        Where it is.
    state : str
        What the cache holds it for.
    size : int
        Bytes, everything in it.
    made : float
        When its manifest or newest file was written, in seconds since 1970.
    used : float
        When it was last used, as far as that is noted; else as `made`.
    manifest : Manifest or None
        An entry's own.
    """

    kind: str
    name: str
    path: Path
    state: State
    size: int
    made: float
    used: float
    manifest: Manifest | None = None

    @property
    def inputs(self) -> dict[str, str]:
        """What an entry was made from, for people: short values first, digests last."""
        if self.manifest is None:
            return {}
        values = flat(self.manifest.inputs)
        texts = {name: brief(values, name) for name in values}
        order = sorted(texts, key=lambda name: (len(str(values[name])) == 64, len(texts[name])))
        return {name: texts[name] for name in order}


def contents(root: Path) -> tuple[Item, ...]:
    """Return what is in a cache folder, by kind, the last used first."""
    items = [*_left_at_the_top(root)]
    for folder in _folders(root):
        if folder.name == LAYOUT:
            items += [item for kind in _folders(folder) for item in _of_kind(kind, "entry")]
        elif _LAYOUT.fullmatch(folder.name):
            items += [item for kind in _folders(folder) for item in _of_kind(kind, "other version")]
        else:
            items += _of_kind(folder, "other version")  # the first layout had no folder
    return tuple(sorted(items, key=lambda item: (item.state, item.kind, -item.used)))


def _folders(folder: Path) -> list[Path]:
    return [path for path in _inside(folder) if path.name[0] != "." and path.is_dir()]


def _inside(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:  # somebody else's, or removed meanwhile
        return []


def _left_at_the_top(root: Path) -> Iterator[Item]:
    yield from (_item("", path, "left over") for path in root.glob(".writable-*"))
    yield from (_item("faces", path, "left over") for path in root.glob("faces/*/*/.writing-*"))


def _of_kind(folder: Path, state: State) -> Iterator[Item]:
    own = folder.name in _FOLDERS and state == "other version"
    for path in _inside(folder):
        hidden = _HIDDEN.fullmatch(path.name)
        if hidden:
            aside = hidden[1] == "replaced"
            yield _item(folder.name, path, "set aside" if aside else "left over")
        elif own and path.name[0] != ".":
            yield _item(folder.name, path, "folder")
        elif _KEY.fullmatch(path.name) and (state == "entry" or _has_manifest(path)):
            yield _item(folder.name, path, state)


def _has_manifest(folder: Path) -> bool:
    """Return whether a folder is an entry of some layout: others name folders by digests too."""
    try:
        content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and {"schema", "inputs"} <= content.keys()


def _item(kind: str, path: Path, state: State) -> Item:
    size, newest = _tree(path)
    if state != "entry":
        return Item(kind, path.name, path, state, size, newest, newest)
    made = _changed(path / MANIFEST)
    return Item(kind, path.name, path, state, size, made, _changed(path), read(path))


def _tree(path: Path) -> tuple[int, float]:
    """Return the bytes in a file or folder and its newest time of change."""
    size, newest = 0, _changed(path)
    if not path.is_symlink() and path.is_file():
        return path.stat().st_size, newest
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                found = os.lstat(f"{folder}/{name}")
            except OSError:  # removed meanwhile
                continue
            size, newest = size + found.st_size, max(newest, found.st_mtime)
    return size, newest


def _changed(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except OSError:
        return 0.0
