"""List a cache folder: entries, the data sets' folders, and what killed processes left.

Names tell which files are ours. Other files in the folder belong to somebody else and are not
listed. A file where one of our folders should be, or a folder that cannot be read, is reported and
passed by.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from facenet_validate.base.wording import reason
from facenet_validate.cache.kinds import KINDS
from facenet_validate.cache.manifest import MANIFEST, Manifest, brief, flat, read
from facenet_validate.cache.store import LAYOUT

State = Literal["entry", "folder", "other version", "set aside", "left over"]
"""In this order: an entry of `Cache`; a folder or file of a data set; an entry of another layout; a
damaged entry that was replaced; what a killed process left."""

_KEY = re.compile(r"[0-9a-f]{64}")
_LAYOUT = re.compile(r"v[0-9]+")
_HIDDEN = re.compile(r"\.(building|removing|replaced|drawing|writing)-(.+-)?[0-9a-f]{32}")
_FOLDERS = ("faces", "orl", "synthetic", "tuning")  # these lie beside the layouts' folders


@dataclass(frozen=True)
class Item:
    """Something in the cache.

    Attributes
    ----------
    kind : str
        What it is, as in `KINDS`.
    name : str
        The key of an entry; the name of any other file or folder.
    path : Path
        Where it is.
    state : str
        What it is to the cache.
    size : int
        Bytes of all files in it.
    made : float
        When its manifest or newest file was written, in seconds since 1970.
    used : float
        When it was last used; as `made` where no use is noted.
    manifest : Manifest or None
        The manifest of an entry whose manifest can be read.
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


PassBy = Callable[[Path, str], None]
"""Called with a path that is passed by and the reason."""


def _untold(_path: Path, _why: str) -> None:
    """Report nothing."""


def contents(root: Path, passed_by: PassBy = _untold) -> tuple[Item, ...]:
    """Return what is in a cache folder, by kind, the last used first.

    Parameters
    ----------
    root : Path
        The cache folder.
    passed_by : callable
        Called with a path that should be a folder of ours and is a file, or cannot be read, and
        with the reason.
    """
    items = [*_left_at_the_top(root)]
    for folder in _folders(root, passed_by):
        if folder.name == LAYOUT:
            state: State = "entry"
        elif _LAYOUT.fullmatch(folder.name):
            state = "other version"
        else:
            # The first layout had no folder.
            items += _of_kind(folder, "other version", passed_by)
            continue
        kinds = _folders(folder, passed_by)
        items += [item for kind in kinds for item in _of_kind(kind, state, passed_by)]
    return tuple(sorted(items, key=lambda item: (item.state, item.kind, -item.used)))


def _folders(folder: Path, passed_by: PassBy) -> list[Path]:
    found = []
    for path in _inside(folder, passed_by):
        # Path.is_dir raises where a folder may not be searched.
        if os.path.isdir(path):  # noqa: PTH112
            found += [path] if path.name[0] != "." else []
        elif path.name == LAYOUT or path.name in KINDS:
            passed_by(path, "it is no folder")
    return found


def _inside(folder: Path, passed_by: PassBy) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except FileNotFoundError:  # removed meanwhile
        return []
    except OSError as error:
        passed_by(folder, reason(error))
        return []


def _left_at_the_top(root: Path) -> Iterator[Item]:
    for kind, pattern in (("", ".writable-*"), ("faces", "faces/*/*/.writing-*")):
        with suppress(OSError):  # `_folders` reports it
            yield from [_item(kind, path, "left over") for path in root.glob(pattern)]


def _of_kind(folder: Path, state: State, passed_by: PassBy) -> Iterator[Item]:
    own = folder.name in _FOLDERS and state == "other version"
    for path in _inside(folder, passed_by):
        hidden = _HIDDEN.fullmatch(path.name)
        if hidden:
            aside = hidden[1] == "replaced"
            yield _item(folder.name, path, "set aside" if aside else "left over")
        elif own and path.name[0] != ".":
            yield _item(folder.name, path, "folder")
        elif _KEY.fullmatch(path.name) and (state == "entry" or _has_manifest(path)):
            yield _item(folder.name, path, state)


def _has_manifest(folder: Path) -> bool:
    """Return whether a folder is an entry; other programs name folders by digests too."""
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
    try:
        itself = path.lstat()
    except OSError:  # removed meanwhile
        return 0, 0.0
    if stat.S_ISREG(itself.st_mode):
        return itself.st_size, itself.st_mtime
    size, newest = 0, itself.st_mtime
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
