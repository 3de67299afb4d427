"""A build's progress, and its cancellation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from facenet_validate.base.progress import Report

if TYPE_CHECKING:
    import tensorrt as trt

TOTAL = 1000


@dataclass
class _Phase:
    """A phase that runs: how far it is, and how far the phases within its present step are."""

    steps: int
    done: int = 0
    within: float = 0.0

    @property
    def fraction(self) -> float:
        return min((self.done + self.within) / max(self.steps, 1), 1.0)


class Monitor:
    """Turns TensorRT's nested phases into one count, and asks it to stop.

    A phase has a known number of steps, but any number of phases within a step. Each of these is
    given half of what is left of its parent's step, so the count never goes back and is complete
    only when the outermost phase is.

    Parameters
    ----------
    report : callable or None
        Called with (thousandths done, 1000).
    """

    def __init__(self, report: Report | None) -> None:
        self._report = report
        self._phases: dict[str, _Phase] = {}
        self._parents: dict[str, str | None] = {}
        self._shown = 0
        self._cause: BaseException | None = None

    def cancel(self, cause: BaseException) -> None:
        """Stop the build at the next step, for a reason."""
        self._cause = self._cause or cause

    def raise_what_cancelled(self) -> None:
        """Raise the reason, if there is one."""
        if self._cause is not None:
            raise self._cause

    def start(self, name: str, parent: str | None, steps: int) -> None:
        """Begin a phase."""
        self._phases[name] = _Phase(steps)
        self._parents[name] = parent if parent in self._phases else None

    def step(self, name: str) -> bool:
        """Complete a step; false asks the library to stop."""
        phase = self._phases.get(name)
        if phase is not None:
            phase.done += 1
            phase.within = 0.0
            self._show()
        return self._cause is None

    def finish(self, name: str) -> None:
        """End a phase, whether or not it made all its steps."""
        self._phases.pop(name, None)
        parent = self._phases.get(self._parents.pop(name, None) or "")
        if parent is not None:
            parent.within += (1.0 - parent.within) / 2
        self._show()

    def _show(self) -> None:
        roots = [name for name, parent in self._parents.items() if parent is None]
        now = TOTAL if not roots else int(TOTAL * self._position(roots[0]))
        if self._report is None or self._cause is not None or now <= self._shown:
            return
        self._shown = now
        try:
            self._report(now, TOTAL)
        except BaseException as error:  # nothing may be raised through the library's own frames
            self.cancel(error)

    def _position(self, name: str) -> float:
        phase = self._phases[name]
        inner = [self._position(child) for child, p in self._parents.items() if p == name]
        room = (1.0 - phase.within) / 2
        part = sum(inner) / len(inner) * room if inner else 0.0
        return min(phase.fraction + part / max(phase.steps, 1), 1.0)


def progress_monitor(module: Any, monitor: Monitor) -> trt.IProgressMonitor:
    """Return what TensorRT calls, of the module's own base class."""

    class ProgressMonitor(module.IProgressMonitor):  # type: ignore[misc]  # comes with the module
        def __init__(self) -> None:
            module.IProgressMonitor.__init__(self)

        def phase_start(self, name: str, parent: str | None, steps: int) -> None:
            monitor.start(name, parent, steps)

        def step_complete(self, name: str, _step: int) -> bool:
            return monitor.step(name)

        def phase_finish(self, name: str) -> None:
            monitor.finish(name)

    return cast("trt.IProgressMonitor", ProgressMonitor())
