"""CUDA graphs: the calls of the driver that make them, and a captured one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from facenet_validate.base.errors import EngineError
from facenet_validate.engines.device.interface import Stream


class GraphCalls(Protocol):
    """Stream capture, graphs and the stack of contexts, for the context that is current.

    Handles are the driver's own, as integers. Each call raises an EngineError, with the name of the
    driver's function and its status, where the driver refuses.
    """

    def begin_capture(self, stream: int) -> None:
        """Let a stream collect what is queued in it. Other threads cannot spoil the capture."""
        ...

    def end_capture(self, stream: int) -> int:
        """Return the graph of what was queued."""
        ...

    def instantiate(self, graph: int) -> int:
        """Return an executable graph."""
        ...

    def launch(self, executable: int, stream: int) -> None:
        """Queue an executable graph in a stream."""
        ...

    def destroy_graph(self, graph: int) -> None:
        """Release a graph; executables made of it stay."""
        ...

    def destroy_executable(self, executable: int) -> None:
        """Release an executable graph."""
        ...

    def pop_context(self) -> None:
        """Take the current context off this thread."""
        ...


class CapturedGraph:
    """Implements ``Graph``: what a call queues in a stream, made executable.

    Parameters
    ----------
    stream : int
        The driver's ``CUstream``.
    enqueue : callable
        Queues the work; nothing of it runs.

    Raises
    ------
    EngineError
        If the driver refuses, or the call did what cannot be captured.
    """

    def __init__(self, calls: GraphCalls, stream: int, enqueue: Callable[[], None]) -> None:
        self._calls = calls
        self._executable: int | None = None
        calls.begin_capture(stream)
        try:
            enqueue()
        except BaseException:
            # The stream stays in capture, and useless, until it is ended.
            with suppress(EngineError):
                calls.destroy_graph(calls.end_capture(stream))
            raise
        graph = calls.end_capture(stream)
        try:
            self._executable = calls.instantiate(graph)
        finally:
            calls.destroy_graph(graph)

    def launch(self, stream: Stream) -> None:
        if self._executable is None:
            raise EngineError("the CUDA graph was released.")
        self._calls.launch(self._executable, stream.handle)

    def release(self) -> None:
        executable, self._executable = self._executable, None
        if executable is not None:
            # After a failed run every call of the driver fails. The run's error is the one to show.
            with suppress(EngineError):
                self._calls.destroy_executable(executable)
