"""Progress of anything that takes more than two seconds, seen through pytest's capture."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

Report = Callable[[int, int], None]
"""Called with (done, total)."""

_PATIENCE = 2.0
_LINE_EVERY = 15.0


def silent(_done: int, _total: int) -> None:
    """Show nothing."""


class Progress:
    """Shows stages on the terminal: a bar where there is one, now and then a line elsewhere.

    Parameters
    ----------
    write : callable or None
        Writes a line to the terminal; None shows nothing (workers of a parallel run).
    uncaptured : callable
        Returns a context in which the terminal can be written to.
    interactive : bool
        Whether the terminal can redraw a line.
    """

    def __init__(
        self,
        write: Callable[[str], None] | None,
        uncaptured: Callable[[], AbstractContextManager[None]] = nullcontext,
        *,
        interactive: bool = False,
    ) -> None:
        self._write = write
        self._uncaptured = uncaptured
        self._interactive = interactive

    @contextmanager
    def stage(self, title: str) -> Iterator[Report]:
        """Run a stage; the report it yields is called with (done, total)."""
        if self._write is None:
            yield silent
        elif self._interactive:
            with self._bar(title) as report:
                yield report
        else:
            yield self._lines(title)

    @contextmanager
    def _bar(self, title: str) -> Iterator[Report]:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with self._uncaptured(), Bar(*columns, console=Console(), transient=True) as bar:
            task = bar.add_task(title, total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)

    def _lines(self, title: str) -> Report:
        started = time.monotonic()
        next_line = started + _PATIENCE

        def report(done: int, total: int) -> None:
            nonlocal next_line
            now = time.monotonic()
            spoke = next_line > started + _PATIENCE
            if now < next_line and not (done == total and spoke):
                return
            next_line = now + _LINE_EVERY
            assert self._write is not None
            with self._uncaptured():
                self._write(f"{title}: {done} of {total}, {now - started:.0f} s")

        return report
