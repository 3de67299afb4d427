"""``facenet-validate cache``: what is kept, why it missed, whether it is sound, and less of it."""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from facenet_validate.base.digests import short
from facenet_validate.base.errors import CacheError, SettingsError
from facenet_validate.base.wording import path_text
from facenet_validate.cache.contents import Item, contents
from facenet_validate.cache.kinds import title
from facenet_validate.cache.manifest import Difference, differences
from facenet_validate.cache.upkeep import Removal, prunable, remove, remove_free_locks, verify
from facenet_validate.commands import cache_root, table
from facenet_validate.commands.output import say, tell
from facenet_validate.datasets.sums import SUMS, changed_file

_SECONDS = {"m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
_ABOUT = 100
_MOST = 1e18
"""Seconds or bytes: more than any disk has seen."""


def run(arguments: argparse.Namespace) -> None:
    """Run one of the actions; `verify` exits with 1 where something is damaged."""
    root = cache_root(arguments.cache)
    if not root.is_dir():
        raise CacheError(f"{root}: no cache folder. Name one with --cache or FACENET_CACHE.")

    def passed_by(path: Path, why: str) -> None:
        tell(f"facenet-validate: {path_text(path)}: passed by, {why}\n")

    found = contents(root, passed_by)
    actions = {
        "list": lambda: _list(root, found),
        "explain": lambda: _explain(found, arguments.entry),
        "verify": lambda: _verify(root, found),
        "prune": lambda: _prune(root, found, arguments),
        "clear": lambda: _clear(root, found, arguments),
    }
    actions[arguments.action]()


def _list(root: Path, found: Sequence[Item]) -> None:
    now = time.time()
    lines = []
    for (state, kind), items in groupby(found, key=lambda item: (item.state, item.kind)):
        group = list(items)
        what = title(kind)
        # What is the same in all of them tells none from the others.
        alike = set.intersection(*(set(i.inputs.items()) for i in group)) if group[1:] else set()
        note = "" if state in ("entry", "folder") else f" ({state})"
        lines.append(f"{kind}: {what}{note}; {len(group)}, {_size(group)}")
        lines += [
            f"  {_name(item)}  {_size([item]):>9}  made {_ago(now - item.made)}, "
            f"used {_ago(now - item.used)}  {_about(item, alike)}".rstrip()
            for item in group
        ]
    say("\n".join([*lines, f"{root}: {_total(found)}"]) + "\n")


def _explain(found: Sequence[Item], wanted: str | None) -> None:
    kind, _, prefix = (wanted or "").partition("/")
    known = [item for item in found if item.manifest is not None and kind in ("", item.kind)]
    named = [item for item in known if item.name.startswith(prefix)]
    if not named:
        kinds = ", ".join(sorted({item.kind for item in found if item.manifest is not None}))
        raise CacheError(
            f"{wanted or 'nothing'}: no such entry. Expected KIND or KIND/KEY, the key's first "
            f"digits as `cache list` shows them; there are entries of: {kinds or 'no kind'}."
        )
    if prefix and len(named) > 1:
        raise CacheError(f"{wanted}: {len(named)} entries. Give more digits of the key.")
    lines: list[str] = []
    for name in sorted({item.kind for item in named}):
        of_kind = sorted((item for item in known if item.kind == name), key=lambda i: -i.made)
        chosen = named[0] if prefix else of_kind[0]
        others = [item for item in of_kind if item is not chosen]
        if prefix:
            others.sort(key=lambda other: len(_changes(other, chosen)))
        lines += _explained(chosen, others[0] if others else None)
    say("\n".join(lines) + "\n")


def _explained(item: Item, other: Item | None) -> list[str]:
    """Return what an entry was made from, and in what another one differs."""
    name = f"{item.kind}/{short(item.name)}"
    made_from = ", ".join(f"{field} {value}" for field, value in item.inputs.items())
    lines = [
        f"{name}: {title(item.kind)}",
        f"  in {item.path}",
        f"  made from {made_from}",
    ]
    if other is None:
        return [*lines, "  nothing of its kind to compare it with"]
    changes = _changes(other, item)
    age = "older" if other.made <= item.made else "newer"
    rows = [(f"    {change.name}", f"{change.before} → {change.now}") for change in changes]
    return [
        *lines,
        f"  the {age} {short(other.name)} was made from other values, left of the arrows:",
        *table(rows).splitlines(),
        f"  a run that asks with all the values on the right hits {name}, and only it",
    ]


def _changes(other: Item, item: Item) -> list[Difference]:
    if other.manifest is None or item.manifest is None:
        return []
    return differences(other.manifest.inputs, item.manifest.inputs)


def _verify(root: Path, found: Sequence[Item]) -> None:
    from facenet_validate.datasets.face_store import FaceStore

    def faces(folder: Path) -> str:
        store = FaceStore(folder)
        try:
            found = sorted(folder.glob("*/*.face"), key=lambda path: path.stem)
        except OSError as error:
            return f"cannot be read ({error.strerror})"
        damaged = [path for path in found if not path.is_file() or store.get(path.stem) is None]
        if not damaged:
            return ""
        return f"{len(damaged)} of {len(found)} faces, {short(damaged[0].stem)} first"

    checked = list(verify(found, {"faces": faces, "orl": _listed_sums, "synthetic": _listed_sums}))
    damaged = [check for check in checked if check.damage]
    for check in damaged:
        say(f"DAMAGED  {check.item.path}: {check.damage}\n")
    passed_by = len(found) - len(checked)
    say(
        f"{root}: checked {_total([check.item for check in checked])}; {len(damaged)} damaged"
        + (f"; {passed_by} not checked: without digests, or never loaded" if passed_by else "")
        + "\n"
    )
    if damaged:
        say("What is damaged is not loaded: the next run that asks makes it anew.\n")
        sys.exit(1)


def _listed_sums(folder: Path) -> str:
    """Return the first file that is not what ``SHA256SUMS`` says."""
    try:
        changed = changed_file(folder)
    except OSError as error:
        return f"{error.filename} cannot be read ({error.strerror})"
    except ValueError:
        return f"{SUMS} is no list of digests"
    return f"{changed} is not what {SUMS} says" if changed else ""


def _prune(root: Path, found: Sequence[Item], arguments: argparse.Namespace) -> None:
    older_than = _number(arguments.older_than, "--older-than", _SECONDS, "30d, 12h or 0m")
    most = _number(arguments.keep_bytes, "--keep-bytes", _BYTES, "20G or 500M")
    removals = prunable(found, now=time.time(), older_than=older_than, keep_bytes=most)
    _remove(root, removals, dry_run=arguments.dry_run)
    going = {removal.item.path for removal in removals}
    staying = [item for item in found if item.path not in going]
    if most is not None and sum(item.size for item in staying) > most:
        say(f"{_total(staying)} not removed: used within the hour. --older-than 0m does it.\n")


def _clear(root: Path, found: Sequence[Item], arguments: argparse.Namespace) -> None:
    kinds = {item.kind for item in found}
    if arguments.kind is not None and arguments.kind not in kinds:
        known = ", ".join(sorted(kinds)) or "nothing"
        raise CacheError(f"{root}: nothing of kind {arguments.kind}; there is: {known}.")
    chosen = [item for item in found if arguments.kind in (None, item.kind)]
    if not arguments.yes:
        raise SettingsError(
            f"{root}: {_total(chosen)} would be removed; nothing was. Add --yes, "
            "or use `cache prune`."
        )
    _remove(root, [Removal(item, "asked for") for item in chosen], dry_run=False)


def _remove(root: Path, removals: Sequence[Removal], *, dry_run: bool) -> None:
    """Remove what can be removed and say what became of each.

    It is said at the end: the full disk that takes no more of a log may be the one to make room on.

    Raises
    ------
    CacheError
        If something could not be removed, after the rest was.
    """
    gone: list[Item] = []
    kept: list[CacheError] = []
    lines = []
    for removal in removals:
        item = removal.item
        try:
            said = "would remove" if dry_run else "removed" if remove(removal) else "in use, kept"
        except CacheError as error:
            said = "not removed"
            kept.append(error)
        if said in ("would remove", "removed"):
            gone.append(item)
        kind = f"{item.kind}/" if item.kind else ""
        lines.append(f"{said}  {kind}{_name(item)}  {_size([item])}  {removal.why}\n")
    locks = 0 if dry_run else remove_free_locks(root)
    say(
        "".join(lines)
        + f"{root}: {'would free' if dry_run else 'freed'} {_total(gone)}"
        + (f", and {locks} unused locks" if locks else "")
        + "\n"
    )
    if kept:
        more = f" And {len(kept) - 1} more." if kept[1:] else ""
        raise CacheError(f"{kept[0]}{more}")


def _number(text: str | None, option: str, units: dict[str, float], such_as: str) -> float | None:
    if text is None:
        return None
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([A-Za-z]?)", text)
    if found is None or found[2] not in units:
        raise SettingsError(
            f"{option} {path_text(text)}: expected a number with a unit, such as {such_as}."
        )
    number = float(found[1]) * units[found[2]]
    if number > _MOST:
        raise SettingsError(
            f"{option} {path_text(text)}: expected a number that a cache can reach, such as "
            f"{such_as}."
        )
    return number


def _name(item: Item) -> str:
    return re.sub("[0-9a-f]{32,}", lambda digits: short(digits[0]), item.name)


def _size(items: Sequence[Item]) -> str:
    size = float(sum(item.size for item in items))
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def _total(items: Sequence[Item]) -> str:
    return f"{_size(items)} in {len(items)} {'item' if len(items) == 1 else 'items'}"


def _ago(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit} ago"
    return "now"


def _about(item: Item, left_out: set[tuple[str, str]]) -> str:
    told = [
        f"{name} {value}" for name, value in item.inputs.items() if (name, value) not in left_out
    ]
    text = ", ".join(told)
    return text if len(text) <= _ABOUT else f"{text[: _ABOUT - 1]}…"
