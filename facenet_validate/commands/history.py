"""``facenet-validate history``: the sessions that were measured, over time."""

from __future__ import annotations

import argparse
import io
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from itertools import chain
from pathlib import Path
from typing import IO

from facenet_validate.errors import BaselineError, SettingsError
from facenet_validate.history.changes import available, change_points
from facenet_validate.history.comparison import compare
from facenet_validate.history.export import check_free, write_csv, write_whole
from facenet_validate.history.plot import MAXIMUM_PANELS, can_draw, draw, picture_format
from facenet_validate.history.selectors import Selection, select
from facenet_validate.history.series import Filter, Series, group
from facenet_validate.history.sources import Problem, Reading, default_sources, read
from facenet_validate.history.text import (
    change_lines,
    epoch_lines,
    printable,
    report_lines,
    series_table,
    session_rows,
    table_legend,
)
from facenet_validate.verdicts import Verdict

INSTALL = "pip install 'facenet-validate[history]'"

NO_CHANGE_POINTS = f"change points are not looked for: ruptures is not installed ({INSTALL})"

REGRESSION, UNREADABLE, INCONCLUSIVE = 1, 2, 3


def run(arguments: argparse.Namespace) -> None:
    """Run one of the actions.

    Exits with 1 for a regression, 2 if a source that was named could not be read whole, 3 if a
    comparison is inconclusive.
    """
    actions: dict[str, Callable[[argparse.Namespace, Filter], int]] = {
        "list": _list,
        "show": _show,
        "compare": _compare,
        "plot": _plot,
        "export": _export,
    }
    try:
        code = actions[arguments.action](arguments, _filter(arguments))
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read us has seen enough, as `| head` does; Python would complain at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return
    if code:
        sys.exit(code)


def _list(arguments: argparse.Namespace, wanted: Filter) -> int:
    reading, every = _read(arguments, wanted)
    points = change_points(every) if available() else ()
    width = shutil.get_terminal_size((100, 24)).columns if sys.stdout.isatty() else 200
    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    for series in every:
        ids = {entry.id for entry in series.entries}
        own = [point for point in points if point.after.id in ids]
        _say([series.title])
        sys.stdout.write(series_table(series, width=max(width, 100), colour=colour) + "\n")
        _say([*epoch_lines(series), *chain.from_iterable(map(change_lines, own)), ""])
    _say(table_legend(every))
    if not available():
        _say([NO_CHANGE_POINTS])
    return _told(reading.problems, arguments)


def _show(arguments: argparse.Namespace, wanted: Filter) -> int:
    # The session before it is found among all of its series.
    reading, every = _read(arguments, replace(wanted, since=None, epoch=None, limit=None))
    selection = select(arguments.id, wanted.narrow(every), wanted)
    chosen = [entry for entries in selection.entries.values() for entry in entries]
    known = {entry.id: series for series in every for entry in series.entries}
    if len(chosen) != 1 or chosen[0].id not in known:
        names = ", ".join(entry.short_id for entry in chosen[:5]) or "none that was read"
        raise SettingsError(
            f"{arguments.id}: expected one session, not {len(chosen)} ({names}). Name one by its "
            "id, or narrow the series with --precision, --batch, --backend or --device."
        )
    rows = session_rows(known[chosen[0].id], chosen[0])
    width = max(len(subject) for subject, _ in rows)
    _say(f"{subject:{width}}  {text}".rstrip() for subject, text in rows)
    return _told(reading.problems, arguments)


def _compare(arguments: argparse.Namespace, wanted: Filter) -> int:
    reading = Reading()
    # Two files need no other source.
    if arguments.source or not all(map(os.path.lexists, (arguments.a, arguments.b))):
        reading = read(_sources(arguments))
    every = wanted.narrow(group(reading.found.values()))
    sides = [select(side, every, wanted) for side in (arguments.a, arguments.b)]
    a, b = (side.newest_epochs() for side in sides)
    for name, before, after in zip("AB", sides, (a, b), strict=True):
        left_out = _count(before) - _count(after)
        earlier = f"; {left_out} of earlier epochs left out" if left_out else ""
        _say([f"{name} {before.selector}: {_sessions(_count(after))}{earlier}"])
    report = compare(a, b, 1.0 + arguments.allow / 100.0)
    _say(report_lines(report))
    named = [problem for side in sides for problem in side.problems]
    problems = list(dict.fromkeys([*reading.problems, *named]))
    code = _told(problems, arguments, explicit=bool(named))
    if code:
        return code
    if report.verdict is Verdict.FAIL:
        return REGRESSION
    # What could not be read might have failed.
    whole = not reading.problems
    return 0 if report.verdict is Verdict.PASS and whole else INCONCLUSIVE


def _plot(arguments: argparse.Namespace, wanted: Filter) -> int:
    if not can_draw():
        raise SettingsError(f"plot needs matplotlib: {INSTALL}")
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
    write_whole(
        out,
        lambda file: draw(file, shown, points, ratio=arguments.ratio, kind=kind, title=title),
    )
    count = sum(len(series.entries) for series in shown)
    _say([f"wrote {out}: {_sessions(count)} of {len(shown)} series"])
    if title:
        _say([f"it shows {title}; narrow them with --precision, --batch, --backend or --device"])
    _say(f"without a ratio to FP32, not shown: {name}" for name in left_out)
    for series in shown:
        ids = {entry.id for entry in series.entries}
        own = [point for point in points if point.after.id in ids]
        _say([series.title, *chain.from_iterable(map(change_lines, own))] if own else [])
    if not available():
        _say([NO_CHANGE_POINTS])
    return _told(reading.problems, arguments)


def _has_ratio(series: Series) -> Iterable[bool]:
    return (entry.session.paired_ratio is not None for entry in series.entries)


def _export(arguments: argparse.Namespace, wanted: Filter) -> int:
    out: Path | None = arguments.out
    if out is not None:
        check_free(out, force=arguments.force)
    reading, every = _read(arguments, wanted)
    text = io.StringIO()
    count = write_csv(text, every)
    if out is None:
        sys.stdout.write(text.getvalue())
    else:
        content = text.getvalue().encode("utf-8", "backslashreplace")
        write_whole(out, partial(_write, content=content))
        _say([f"wrote {out}: {_sessions(count)}"])
    return _told(reading.problems, arguments)


def _write(file: IO[bytes], content: bytes) -> None:
    file.write(content)


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


def _read(arguments: argparse.Namespace, wanted: Filter) -> tuple[Reading, tuple[Series, ...]]:
    """Return what the sources hold, and the series asked for.

    Raises
    ------
    BaselineError
        If there is no source, no session in it or none that is asked for; what could not be read
        is told first.
    """
    sources = _sources(arguments)
    reading = read(sources)
    every = group(reading.found.values())
    narrowed = wanted.narrow(every)
    if narrowed:
        if reading.without_session:
            sys.stderr.write(
                f"{reading.without_session} measurements without a session are left out: other "
                "tests, or an earlier facenet-validate\n"
            )
        return reading, narrowed
    _told(reading.problems, arguments)
    names = ", ".join(map(str, sources))
    if not every:
        other = reading.without_session
        also = f", {other} measurements without one" if other else ""
        raise BaselineError(
            f"{names}: no session in {reading.files} files{also}. Record some: pytest suites/ "
            "--facenet-update-baselines missing, or --benchmark-autosave, or --facenet-report DIR"
        )
    known = "; ".join(series.title for series in every[:5]) + ("; …" if every[5:] else "")
    raise BaselineError(f"{names}: none of the sessions is asked for. There are: {known}")


def _sources(arguments: argparse.Namespace) -> tuple[Path, ...]:
    sources = tuple(arguments.source) or default_sources(Path())
    if not sources:
        raise BaselineError(
            "there is no ./baselines and no ./.benchmarks here; name files or folders with --source"
        )
    return sources


def _told(
    problems: Sequence[Problem], arguments: argparse.Namespace, *, explicit: bool = False
) -> int:
    """Tell what could not be read; return the exit code that it asks for."""
    sys.stdout.flush()
    for problem in problems:
        sys.stderr.write(f"facenet-validate: {printable(str(problem))}\n")
    return UNREADABLE if problems and (explicit or arguments.source) else 0


def _say(lines: Iterable[str]) -> None:
    sys.stdout.writelines(f"{printable(line)}\n" for line in lines)


def _count(selection: Selection) -> int:
    return sum(map(len, selection.entries.values()))


def _sessions(count: int) -> str:
    return "1 session" if count == 1 else f"{count} sessions"
