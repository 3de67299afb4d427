"""``facenet-validate history``: the sessions that were measured, over time."""

from __future__ import annotations

import argparse
import gc
import io
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from itertools import chain
from pathlib import Path
from typing import IO

from facenet_validate.base.errors import BaselineError, FacenetValidateError, SettingsError
from facenet_validate.commands.output import say, tell
from facenet_validate.gates.verdicts import Verdict
from facenet_validate.history.changes import ChangePoint, available, change_points
from facenet_validate.history.comparison import compare
from facenet_validate.history.export import check_free, write_csv, write_file
from facenet_validate.history.plot import MAXIMUM_PANELS, draw, picture_format
from facenet_validate.history.selectors import Selection, names_file, select
from facenet_validate.history.series import Filter, Series, group
from facenet_validate.history.sources import Problem, Reading, default_sources, read
from facenet_validate.history.text import (
    change_lines,
    epoch_lines,
    printable,
    report_lines,
    series_table,
    session_rows,
    sessions_text,
    table_legend,
)

INSTALL = "pip install 'facenet-validate[history]'"

NO_CHANGE_POINTS = f"change points are not looked for: ruptures is not installed ({INSTALL})"

UNREADABLE, INCONCLUSIVE = 2, 3

_CODES = {Verdict.PASS: 0, Verdict.FAIL: 1, Verdict.INCONCLUSIVE: INCONCLUSIVE}


@dataclass(frozen=True)
class _Answer:
    """What an action says, and how the command ends unless a source cannot be read."""

    text: str
    problems: Sequence[Problem] = ()
    code: int = 0
    named: bool = False  # whether problems are in a file that an argument other than --source names


def run(arguments: argparse.Namespace) -> None:
    """Run one of the actions.

    Exits with 1 for a regression, 2 if a source that was named could not be read whole, 3 if a
    comparison is inconclusive.
    """
    actions: dict[str, Callable[[argparse.Namespace, Filter], _Answer]] = {
        "list": _list,
        "show": _show,
        "compare": _compare,
        "plot": _plot,
        "export": _export,
    }
    collecting = gc.isenabled()
    # All that is read is in use to the end: to look for garbage in it costs a tenth of the time.
    gc.disable()
    try:
        answer = actions[arguments.action](arguments, _filter(arguments))
    except FacenetValidateError as error:
        # The message may quote a file's text.
        raise SettingsError(printable(str(error))) from None
    finally:
        if collecting:
            gc.enable()
    say(answer.text)
    _tell_problems(answer.problems)
    if answer.problems and (answer.named or arguments.source):
        sys.exit(UNREADABLE)
    if answer.code:
        sys.exit(answer.code)


def _list(arguments: argparse.Namespace, wanted: Filter) -> _Answer:
    reading, every = _read(arguments, wanted)
    points = change_points(every) if available() else ()
    width = shutil.get_terminal_size((100, 24)).columns if sys.stdout.isatty() else 200
    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    text = ""
    for series in every:
        text += _lines([series.title])
        text += series_table(series, width=max(width, 100), colour=colour) + "\n"
        changes = chain.from_iterable(map(change_lines, _of(series, points)))
        text += _lines([*epoch_lines(series), *changes, ""])
    text += _lines(table_legend(every))
    return _Answer(text + _without_ruptures(), reading.problems)


def _show(arguments: argparse.Namespace, wanted: Filter) -> _Answer:
    also = [Path(arguments.id)] if names_file(arguments.id) else []
    # The session before it is found among all of its series.
    whole = replace(wanted, since=None, epoch=None, limit=None)
    reading, every = _read(arguments, whole, also=also)
    selection = select(arguments.id, wanted.narrow(every), wanted)
    chosen = [entry for entries in selection.entries.values() for entry in entries]
    if len(chosen) != 1:
        names = ", ".join(entry.short_id for entry in chosen[:5]) or "none that was read"
        raise SettingsError(
            f"{arguments.id}: expected one session, not {len(chosen)} ({names}). Name one by its "
            "id, or narrow the series with --precision, --batch, --backend or --device."
        )
    known = {entry.id: (series, entry) for series in every for entry in series.entries}
    rows = session_rows(*known[chosen[0].id])
    width = max(len(subject) for subject, _ in rows)
    text = _lines(f"{subject:{width}}  {text}".rstrip() for subject, text in rows)
    return _Answer(text, reading.problems, named=bool(selection.problems))


def _compare(arguments: argparse.Namespace, wanted: Filter) -> _Answer:
    if wanted.epoch is not None:
        raise SettingsError(
            f"--epoch {wanted.epoch}: compare takes an epoch as a side: epoch:{wanted.epoch}. "
            "A file alone says nothing of the epoch that its sessions belong to."
        )
    reading = Reading()
    # Two files need no other source.
    if arguments.source or not all(map(names_file, (arguments.a, arguments.b))):
        reading = read(_sources(arguments))
    every = wanted.narrow(group(reading.found.values()))
    sides = [select(side, every, wanted) for side in (arguments.a, arguments.b)]
    a, b = (side.newest_epochs() for side in sides)
    lines = []
    for name, before, after in zip("AB", sides, (a, b), strict=True):
        left_out = _count(before) - _count(after)
        earlier = f"; {left_out} of earlier epochs left out" if left_out else ""
        lines.append(f"{name} {before.selector}: {sessions_text(_count(after))}{earlier}")
    report = compare(a, b, 1.0 + arguments.allow / 100.0)
    named = [problem for side in sides for problem in side.problems]
    problems = list(dict.fromkeys([*reading.problems, *named]))
    verdict, code = report.text, _CODES[report.verdict]
    if problems and (named or arguments.source):
        verdict = f"none: a source that was named could not be read whole; of the rest: {verdict}"
    elif problems and report.verdict is Verdict.PASS:
        # What could not be read might have failed.
        verdict = f"inconclusive: a source could not be read whole; of the rest: {verdict}"
        code = INCONCLUSIVE
    text = _lines([*lines, *report_lines(report), f"verdict: {verdict}"])
    return _Answer(text, problems, code, named=bool(named))


def _plot(arguments: argparse.Namespace, wanted: Filter) -> _Answer:
    out: Path = arguments.out
    kind = picture_format(out)
    check_free(out, force=arguments.force)
    reading, every = _read(arguments, wanted)
    left_out: list[str] = []
    if arguments.ratio:
        left_out = [s.title for s in every if not any(_has_ratio(s))]
        every = tuple(series for series in every if any(_has_ratio(series)))
        if not every:
            raise SettingsError("--ratio: no session has a ratio to FP32. Leave it out.")
    newest = sorted(every, key=lambda series: series.entries[-1].when)[-MAXIMUM_PANELS:]
    shown = [series for series in every if series in newest]
    title = ""
    if len(shown) < len(every):
        title = f"the {len(shown)} series measured last, of {len(every)}"
    points = change_points(shown, ratio=arguments.ratio) if available() else ()
    write_file(
        out,
        lambda file: draw(file, shown, points, ratio=arguments.ratio, kind=kind, title=title),
    )
    count = sum(len(series.entries) for series in shown)
    lines = [f"wrote {out}: {sessions_text(count)} of {len(shown)} series"]
    if title:
        lines.append(
            f"it shows {title}; narrow them with --precision, --batch, --backend or --device"
        )
    lines += [f"without a ratio to FP32, not shown: {name}" for name in left_out]
    for series in shown:
        changes = chain.from_iterable(map(change_lines, _of(series, points)))
        lines += [series.title, *changes] if _of(series, points) else []
    return _Answer(_lines(lines) + _without_ruptures(), reading.problems)


def _has_ratio(series: Series) -> Iterable[bool]:
    return (entry.session.paired_ratio is not None for entry in series.entries)


def _export(arguments: argparse.Namespace, wanted: Filter) -> _Answer:
    out: Path | None = arguments.out
    if out is not None:
        check_free(out, force=arguments.force)
    reading, every = _read(arguments, wanted)
    text = io.StringIO()
    count = write_csv(text, every)
    if out is None:
        return _Answer(text.getvalue(), reading.problems)
    content = text.getvalue().encode("utf-8", "backslashreplace")
    write_file(out, partial(_write, content=content))
    return _Answer(_lines([f"wrote {out}: {sessions_text(count)}"]), reading.problems)


def _write(file: IO[bytes], content: bytes) -> None:
    file.write(content)


def _of(series: Series, points: Iterable[ChangePoint]) -> list[ChangePoint]:
    ids = {entry.id for entry in series.entries}
    return [point for point in points if point.after.id in ids]


def _without_ruptures() -> str:
    return "" if available() else f"{NO_CHANGE_POINTS}\n"


def _filter(arguments: argparse.Namespace) -> Filter:
    since = None
    if arguments.since is not None:
        try:
            since = datetime.fromisoformat(arguments.since)
        except ValueError:
            raise SettingsError(
                f"--since {arguments.since}: expected a date such as 2026-01-31, or a time such as "
                "2026-01-31T12:00:00+00:00."
            ) from None
        since = since if since.tzinfo else since.replace(tzinfo=UTC)
    return Filter(
        precision=arguments.precision,
        backend=arguments.backend,
        batch=arguments.batch,
        device=arguments.device,
        since=since,
        epoch=arguments.epoch,
        limit=arguments.limit,
    )


def _read(
    arguments: argparse.Namespace, wanted: Filter, also: Sequence[Path] = ()
) -> tuple[Reading, tuple[Series, ...]]:
    """Return what the sources and some more files hold, and the series asked for.

    Raises
    ------
    BaselineError
        If there is no source, no session in it or none that is asked for; what could not be read
        is told first.
    """
    sources = _sources(arguments, also)
    reading = read(sources)
    every = group(reading.found.values())
    narrowed = wanted.narrow(every)
    if narrowed:
        if reading.without_session:
            tell(
                f"{reading.without_session} measurements without a session are left out: other "
                "tests, or an earlier facenet-validate\n"
            )
        return reading, narrowed
    _tell_problems(reading.problems)
    names = ", ".join(map(str, sources))
    if not every:
        other = reading.without_session
        rest = f", {other} measurements without one" if other else ""
        raise BaselineError(
            f"{names}: no session in {reading.files} files{rest}. Record some: pytest suites/ "
            "--facenet-update-baselines missing, or --benchmark-autosave, or --facenet-report DIR"
        )
    known = "; ".join(series.title for series in every[:5]) + ("; …" if every[5:] else "")
    raise BaselineError(f"{names}: none of the sessions is asked for. There are: {known}")


def _sources(arguments: argparse.Namespace, also: Sequence[Path] = ()) -> tuple[Path, ...]:
    sources = (*(arguments.source or default_sources(Path())), *also)
    if not sources:
        raise BaselineError(
            "there is no ./baselines and no ./.benchmarks here; name files or folders with --source"
        )
    return sources


def _tell_problems(problems: Iterable[Problem]) -> None:
    for problem in problems:
        tell(f"facenet-validate: {printable(str(problem))}\n")


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{printable(line)}\n" for line in lines)


def _count(selection: Selection) -> int:
    return sum(map(len, selection.entries.values()))
