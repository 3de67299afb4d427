"""Series, sessions and comparisons as text for a terminal or a pipe."""

from __future__ import annotations

import io
import math
import statistics
from collections.abc import Sequence
from dataclasses import replace

from facenet_validate.benchmarking.paired_ratio import ALPHA
from facenet_validate.benchmarking.provenance import provenance_changes
from facenet_validate.benchmarking.shift import LEAST_SPREAD, Shift, percent
from facenet_validate.benchmarking.stored_gate import MINIMUM_SESSIONS
from facenet_validate.gates.verdicts import Verdict
from facenet_validate.history.changes import ChangePoint
from facenet_validate.history.comparison import VERDICTS, Compared, Report
from facenet_validate.history.series import INTERVAL_ALPHA, Series, SeriesEntry, epoch_begins

NOTABLE = 0.03
"""Change from the epoch's median, relative, from which a table colours it."""


def printable(text: str) -> str:
    """Return a text that cannot steer the terminal: its files may come from anywhere."""
    return "".join(char if char.isprintable() else "�" for char in text)


def moment(entry: SeriesEntry) -> str:
    """Return when a session was recorded, UTC, to the minute."""
    return f"{entry.when:%Y-%m-%d %H:%M}"


def number(value: float) -> str:
    """Return a value with four digits or more, without powers of ten up to a million."""
    return f"{value:.0f}" if 1000.0 <= value < 1e6 else f"{value:#.4g}"


def series_table(series: Series, *, width: int, colour: bool) -> str:
    """Return the sessions of a series as a table, a row a session."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for name in ("when (UTC)", "FPS", "latency ms", "× FP32's speed", "Δ epoch", "epoch"):
        table.add_column(name, justify="left" if name.startswith("when") else "right", no_wrap=True)
    for name in ("commit", "id"):
        table.add_column(name, no_wrap=True)
    for entry in series.entries:
        change = series.change(entry)
        slower, faster = change > 1.0 + NOTABLE, change < 1.0 - NOTABLE
        table.add_row(
            moment(entry),
            number(entry.fps),
            _latency(entry),
            _ratio(entry),
            Text(percent(math.log(change)), style="red" if slower else "green" if faster else ""),
            str(entry.epoch) if entry.accepted else f"({entry.epoch})",
            Text(printable(entry.commit or "-")),
            entry.short_id,
        )
    stream = io.StringIO()
    console = Console(file=stream, width=width, force_terminal=colour, no_color=not colour)
    console.print(table)
    return "\n".join(line.rstrip() for line in stream.getvalue().strip("\n").splitlines())


def table_legend(every: Sequence[Series]) -> list[str]:
    """Return what the columns of `series_table` hold, in lines."""
    share = f"{100 * (1 - INTERVAL_ALPHA):.0f} %"
    lines = [
        f"latency: median block and its {share} interval over the session's blocks",
        "Δ epoch: latency beside the median of its epoch's accepted sessions",
    ]
    if any(not entry.accepted for series in every for entry in series.entries):
        lines.append("(epoch): a run that was not accepted, by its time")
    return lines


def epoch_lines(series: Series) -> list[str]:
    """Return a line for each epoch that begins within a series, with its reason."""
    return [
        f"epoch {entry.epoch} begins {moment(entry)}: {entry.session.reason or 'no reason given'}"
        for entry in epoch_begins(series.entries)
    ]


def change_lines(point: ChangePoint) -> list[str]:
    """Return what is known of a change point: where and how much, then what changed there."""
    before, after = point.before, point.after
    changed = ", ".join(text for text in point.changed if not text.startswith("commit "))
    return [
        f"change point {moment(after)}: {percent(point.change)} from {before.short_id} to "
        f"{after.short_id} ({point.sessions[0]} sessions before, {point.sessions[1]} after)",
        f"  commit {before.commit or 'unknown'} → {after.commit or 'unknown'}; "
        f"changed: {changed or 'nothing else that is recorded'}",
    ]


def session_rows(series: Series, entry: SeriesEntry) -> list[tuple[str, str]]:
    """Return one session whole, as (subject, text) rows."""
    session, identity = entry.session, entry.session.identity
    epoch = f"{entry.epoch}" + (f": {session.reason}" if session.reason else "")
    if not entry.accepted:
        epoch += " (by its time; the run was not accepted)"
    beside = percent(math.log(series.change(entry)))
    place = next(i for i, other in enumerate(series.entries) if other.id == entry.id)
    rows = [
        ("session", entry.id),
        ("recorded", session.recorded_at),
        ("file", str(entry.origin)),
        ("epoch", epoch),
        *((name, str(getattr(identity, name))) for name in type(identity).__dataclass_fields__),
        ("FPS", number(entry.fps)),
        ("latency", f"{_latency(entry)} ms, {beside} beside its epoch's median"),
        ("× FP32's speed", _ratio(entry)),
        ("blocks", _blocks(session.block_seconds)),
        *((f"  {name}", value) for name, value in sorted(session.provenance.items())),
    ]
    if place == 0:
        rows.append(("changed", "the first session of its series"))
    else:
        former = series.entries[place - 1]
        changes = provenance_changes([former.session], [session])
        since = f"since {former.short_id} of {moment(former)}"
        rows.append(("changed", f"{', '.join(changes) or 'nothing that is recorded'} ({since})"))
    return rows


def report_lines(report: Report) -> list[str]:
    """Return a comparison without its verdict: by identity, then what was not compared."""
    lines = []
    for pair in report.pairs:
        lines.append(pair.title)
        lines += [f"  {_compared(one, report.limit)}" for one in pair.compared]
        lines.append(f"  changed: {', '.join(pair.changed) or 'nothing that is recorded'}")
    if any(one.shift for pair in report.pairs for one in pair.compared):
        lower, upper = (f"{100.0 * (1.0 - error):.5g} %" for error in (report.alpha, ALPHA))
        lines.append(
            f"intervals: of one new session, lower bounds at {lower}, upper ones at {upper}; "
            f"allowed: {percent(math.log(report.limit))}"
        )
    lines += [*report.only_b, *report.only_a]
    if report.more_in_a:
        lines.append(f"and {report.more_in_a} more identities only in A")
    if report.shared:
        lines.append(f"sessions on both sides, taken as B's: {report.shared}")
    return lines


def _compared(one: Compared, limit: float) -> str:
    text = one.quantity.text
    a, b = one.sessions
    change = percent(one.change)
    if one.shift is not None:
        change += f" ({one.shift.bounds()})"
        end = VERDICTS[one.verdict]
        if one.verdict is Verdict.INCONCLUSIVE:
            end += f": {_why_open(one.shift, limit, a)}"
    else:
        end = f"inconclusive: A has {a} of the {MINIMUM_SESSIONS} sessions that an interval needs"
    return (
        f"{one.quantity.name}: {text(one.before)} ({_count(a)}) → {text(one.after)} ({_count(b)}), "
        f"{change}: {end}"
    )


def _why_open(shift: Shift, limit: float, sessions: int) -> str:
    """Say why a shift is inconclusive: for A's spread, or because nothing would decide it."""
    sharper = min(LEAST_SPREAD / max(shift.spread, LEAST_SPREAD), 1.0)
    quiet = replace(shift, below=shift.below * sharper, above=shift.above * sharper)
    if quiet.verdict(limit) is Verdict.INCONCLUSIVE:
        return f"too near {percent(math.log(limit))} to tell by {sessions} sessions"
    return f"A's sessions spread by {percent(shift.spread)[1:]}"


def _count(sessions: int) -> str:
    return "1 session" if sessions == 1 else f"{sessions} sessions"


def _latency(entry: SeriesEntry) -> str:
    low, high = (1e3 * bound for bound in entry.interval)
    return f"{number(1e3 * entry.session.latency_seconds)} ({number(low)}–{number(high)})"


def _ratio(entry: SeriesEntry) -> str:
    ratio, interval = entry.session.paired_ratio, entry.session.paired_interval
    if ratio is None:
        return "-"
    return f"{ratio:.3f}" + (f" ({interval[0]:.3f}–{interval[1]:.3f})" if interval else "")


def _blocks(seconds: Sequence[float]) -> str:
    times = ", ".join(number(1e3 * value) for value in seconds)
    spread = statistics.stdev(seconds) / statistics.mean(seconds)
    return f"{len(seconds)}, sd {100.0 * spread:.2g} %; in ms: {times}"
