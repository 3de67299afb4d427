"""What is told when the device fails in the middle of a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from facenet_validate.base.errors import EngineError
from facenet_validate.engines.device.interface import Stream

_LOST = (
    " The GPU answers no call of this process any more, so nothing else runs on it. CUDA tells a "
    "fault at a later call: an earlier batch may have caused it."
)


class Faults:
    """Names what was under way when the device failed, and remembers the first fault.

    After a fault of CUDA, such as an illegal address, every later call of the process fails. The
    error of such a call says nothing, so the first one is told again in its place.

    Parameters
    ----------
    artefact : str
        The engine, for people.
    streams : sequence of Stream
        Those the engine queues its work in.
    """

    def __init__(self, artefact: str, streams: Sequence[Stream]) -> None:
        self._name = f"engine {artefact}: "
        self._streams = streams
        self._first = ""

    def raise_first(self) -> None:
        """Raise the fault after which the device did not answer any more, if there was one."""
        if self._first:
            raise EngineError(self._first)

    @contextmanager
    def named(self, doing: str) -> Iterator[None]:
        """Say in an error of the device what was under way, and whether the device is lost."""
        try:
            yield
        except EngineError as error:
            told = f"{self._name}{doing}: {str(error).removeprefix(self._name)}"
            if self._unanswered():
                told = self._first = told + _LOST
            raise EngineError(told) from None

    def settle(self) -> None:
        """Wait until the device is done with the engine's buffers. Raises nothing."""
        found = self._unanswered()
        if found and not self._first:
            self._first = f"{self._name}{found}{_LOST}"

    def _unanswered(self) -> str:
        """Return the error of waiting for the device; empty string if it answers."""
        try:
            for stream in self._streams:
                stream.synchronize()
        except EngineError as error:
            return str(error)
        return ""
