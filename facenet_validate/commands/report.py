"""``facenet-validate report``: a page written again, two reports side by side, several as one."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from facenet_validate.base.errors import SettingsError
from facenet_validate.base.files import write_whole
from facenet_validate.base.paths import named_path
from facenet_validate.commands.output import say
from facenet_validate.gates.verdicts import format_number
from facenet_validate.history.text import printable
from facenet_validate.reporting.comparing import GateChange, ReportComparison, compare_reports
from facenet_validate.reporting.folder import FILENAME, PREVIOUS
from facenet_validate.reporting.merging import merge_reports, merged_lines
from facenet_validate.reporting.page.writing import write_page
from facenet_validate.reporting.picture_files import FOLDER
from facenet_validate.reporting.saved import read_report
from facenet_validate.reporting.step_summary import VARIABLE, append_step_summary, merged_summary

WORSE = 1
"""Exit code of a comparison where a gate became worse."""

FAILED = 1
"""Exit code of a merge whose verdict is a fail, or whose reports contradict each other."""


def run(arguments: argparse.Namespace) -> None:
    """Run one of the actions.

    Raises
    ------
    SettingsError
        If a report cannot be read, a file not be written, or arguments do not go together.
    """
    action, *rest = arguments.what
    if arguments.expect and action != "merge":
        raise SettingsError("report --expect: expected with merge alone.")
    if action == "compare":
        _compare(rest, arguments.out)
    elif action == "merge":
        _merge(rest, arguments.out, arguments.expect)
    elif rest or arguments.out:
        found = " ".join(arguments.what)
        raise SettingsError(
            f"report {found}: expected DIR alone, compare A B [--out FILE.html], or merge A B … "
            "--out DIR."
        )
    else:
        folder, document = read_report(named_path(action, "DIR"))
        say(f"wrote {_page(folder, document)}\n")


def _compare(reports: Sequence[str], out: Path | None) -> None:
    if len(reports) != 2:
        raise SettingsError(f"report compare: {len(reports)} reports; expected two, A and B.")
    (_, a), (_, b) = (read_report(named_path(one, "DIR")) for one in reports)
    found = compare_reports(a, b)
    say("".join(f"{printable(line)}\n" for line in comparison_lines(found, a, b)))
    if out is not None:
        from facenet_validate.reporting.page.comparison import render_comparison

        page = render_comparison(found, a, b, names=(reports[0], reports[1]))
        _write(out, page.encode())
        say(f"wrote {out}\n")
    if found.of_kind("worse"):
        sys.exit(WORSE)


def _merge(reports: Sequence[str], out: Path | None, expected: Sequence[str]) -> None:
    if len(reports) < (1 if expected else 2) or out is None:
        raise SettingsError("report merge: expected two or more reports, and --out DIR.")
    read = [read_report(named_path(one, "DIR")) for one in reports]
    names = [folder.resolve().name for folder, _ in read]
    if expected and (other := [name for name in names if name not in expected]):
        raise SettingsError(
            f"report merge: {', '.join(other)}: not expected. Add it to --expect, or leave it out."
        )
    told = names if len(set(names)) == len(names) else reports
    merged = merge_reports(
        [(name, one) for name, (_, one) in zip(told, read, strict=True)],
        [name for name in expected if name not in names],
    )
    if (out / FILENAME).exists():
        raise SettingsError(f"{out / FILENAME} exists; name a new folder with --out.")
    try:
        out.mkdir(parents=True, exist_ok=True)
        for folder, _ in read:
            _copy_pictures(folder, out)
    except OSError as error:
        raise SettingsError(f"{out}: cannot be written ({error.strerror}).") from None
    _write(out / FILENAME, (json.dumps(merged, indent=1, allow_nan=False) + "\n").encode())
    say(f"wrote {out / FILENAME}\nwrote {_page(out, merged)}\n")
    verdict = f"verdict: {merged['verdict'].upper()}: {merged['sentence']}"
    lines = [*merged_lines(merged), verdict]
    say("".join(f"{printable(line)}\n" for line in lines))
    if summary := os.environ.get(VARIABLE):
        try:
            append_step_summary(Path(summary), merged_summary(merged))
        except OSError as error:
            say(f"{VARIABLE}: {summary} was not written: {error.strerror}\n")
    if merged["exit_status"]:
        sys.exit(FAILED)


def comparison_lines(
    found: ReportComparison, a: Mapping[str, Any], b: Mapping[str, Any]
) -> list[str]:
    """Return two reports side by side as lines: verdicts, gates that changed, what else differs."""
    lines = [
        f"A: {str(a.get('verdict')).upper()}: {a.get('sentence', '')}",
        f"B: {str(b.get('verdict')).upper()}: {b.get('sentence', '')}",
        "",
    ]
    rows = [_row(one, a, b) for one in found.changes]
    head = ("", "gate", "A", "B", "B − A", "verdict")
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(5)]
    for row in [head, *rows]:
        cells = [cell.ljust(width) for cell, width in zip(row[:5], widths, strict=True)]
        lines.append("  ".join([*cells, row[5]]).rstrip())
    if found.differences:
        lines += ["", "what else differs:"]
        lines += [
            f"  {one.name}: {one.a or 'none'} → {one.b or 'none'}" for one in found.differences
        ]
    worse = len(found.of_kind("worse"))
    told = {0: "no gate is worse in B", 1: "a gate is worse in B"}
    return [*lines, "", told.get(worse, f"{worse} gates are worse in B")]


def _row(one: GateChange, a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[str, ...]:
    before = None if one.a is None else a["gates"][one.a]
    after = None if one.b is None else b["gates"][one.b]
    verdicts = [gate["verdict"] for gate in (before, after) if gate is not None]
    observed = [None if gate is None else _number(gate["observed"]) for gate in (before, after)]
    change = ""
    if observed[0] is not None and observed[1] is not None:
        change = f"{observed[1] - observed[0]:+.3g}"
    kind = "" if one.kind == "same" else one.kind
    return (
        kind,
        one.subject.text,
        format_number(observed[0]),
        format_number(observed[1]),
        change,
        " → ".join(dict.fromkeys(verdicts)),
    )


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _page(folder: Path, document: Mapping[str, Any]) -> Path:
    try:
        return write_page(folder, document)
    except OSError as error:
        raise SettingsError(f"{folder}: cannot be written ({error.strerror}).") from None


def _write(path: Path, content: bytes) -> None:
    try:
        write_whole(path, content)
    except OSError as error:
        raise SettingsError(f"{path}: cannot be written ({error.strerror}).") from None


def _copy_pictures(source: Path, out: Path) -> None:
    """Copy the pictures of a report; their names have digests, so none replaces another."""
    pictures = source / FOLDER
    if pictures.is_dir():
        shutil.copytree(
            pictures, out / FOLDER, dirs_exist_ok=True, ignore=shutil.ignore_patterns(PREVIOUS)
        )
