"""``facenet-validate gates propose``: limits from measurements, as a diff of ``gates.toml``."""

from __future__ import annotations

import argparse
import difflib
import os
from pathlib import Path
from typing import IO

from facenet_validate.base.errors import BaselineError, SettingsError
from facenet_validate.base.files import write_whole
from facenet_validate.base.paths import named_path
from facenet_validate.base.wording import path_text, reason
from facenet_validate.commands.output import as_utf8, say, tell
from facenet_validate.gates.document import may_be_there, parse_document, read_content
from facenet_validate.gates.editing import with_limits
from facenet_validate.gates.limits import gates_in
from facenet_validate.history.text import printable
from facenet_validate.reporting.proposing import proposals
from facenet_validate.reporting.saved import read_report
from facenet_validate.run.start import GATES_FILE


def run(arguments: argparse.Namespace) -> None:
    """Show the limits that reports speak for as a diff, and write them if that was asked for.

    Raises
    ------
    SettingsError
        If there is no gates file, or a report is no ground for limits.
    BaselineError
        If the gates file is wrong, or changed meanwhile.
    """
    named = [named_path(one, "DIR") for one in arguments.reports]
    path: Path = arguments.gates or _nearest(Path.cwd())
    content = read_content(path)
    gates = gates_in(path, parse_document(path, content))
    names = [path_text(one) for one in named]
    documents = [read_report(one)[1] for one in named]
    for place, document in enumerate(documents):
        if document in documents[:place]:
            raise SettingsError(f"{names[place]}: its run is named twice; name it once.")
    try:
        found = proposals(list(zip(names, documents, strict=True)), gates)
    except SettingsError as error:
        # The message may quote a report's text.
        raise SettingsError(printable(str(error))) from None
    after = with_limits(path, content, found.changes)
    as_utf8()
    say(unified_diff(path, content, after))
    for line in (*found.left, *found.told):
        tell(f"{printable(line)}\n")
    if not found.changes:
        tell(f"no limit of {path_text(path)} changes\n")
    elif arguments.write:
        _replace(path, content, after)
        tell(f"wrote {path_text(path)}\n")
    else:
        here = not os.path.relpath(path).startswith(os.pardir)
        patch = "git apply or patch -p1" if here else f"patch {path_text(path)}"
        tell(f"nothing was written: to accept it give it to {patch}, or add --write\n")


def unified_diff(path: Path, before: bytes, after: bytes) -> str:
    """Return what `git apply` and `patch -p1` take, from the current folder."""
    name = path_text(os.path.relpath(path))
    name += "\t" if " " in name else ""
    lines = difflib.unified_diff(_lines(before), _lines(after), f"a/{name}", f"b/{name}")
    return "".join(
        line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines
    )


def _lines(content: bytes) -> list[str]:
    """Return lines with their ends; unlike `str.splitlines`, at line feeds alone."""
    lines = [f"{line}\n" for line in content.decode("utf-8").split("\n")]
    return [*lines[:-1], *([lines[-1][:-1]] if lines[-1] != "\n" else [])]


def _nearest(folder: Path) -> Path:
    for one in (folder, *folder.parents):
        if may_be_there(one / GATES_FILE):
            return Path(os.path.relpath(one / GATES_FILE, folder))
    raise SettingsError(
        f"no {GATES_FILE} in {path_text(folder)} or above it. Name one with --gates FILE, or copy "
        "the one that comes with this package: facenet-validate init ."
    )


def _replace(path: Path, before: bytes, after: bytes) -> None:
    """Write the new content in one step, where the old one still stands."""
    if read_content(path) != before:
        raise BaselineError(
            f"gates file {path_text(path)}: it was changed meanwhile, and was not written; propose "
            "again."
        )
    file = path.resolve()  # a link stays a link
    mode = file.stat().st_mode

    def write(new: IO[bytes]) -> None:
        os.fchmod(new.fileno(), mode)
        new.write(after)

    try:
        write_whole(file, write)
    except OSError as error:
        raise BaselineError(
            f"gates file {path_text(path)}: cannot be written ({reason(error)})."
        ) from None
