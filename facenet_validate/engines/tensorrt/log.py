"""What TensorRT says: one logger a process, and messages collected from it for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    import tensorrt as trt

_SHOWN = ("INTERNAL_ERROR", "ERROR", "WARNING")
LAYERS = "Layers:"
"""How the message begins in which a builder lists the layers it compiled."""


@dataclass(eq=False)  # listeners within listeners are told apart
class Messages:
    """Messages in the order they came.

    Attributes
    ----------
    entries : list of (str, str)
        Severity and text. Of verbose ones only the list of compiled layers is kept: a build writes
        20,000 others.
    """

    entries: list[tuple[str, str]] = field(default_factory=list)

    def add(self, severity: str, text: str) -> None:
        """Keep a message."""
        if severity != "VERBOSE" or text.startswith(LAYERS):
            self.entries.append((severity, text))

    @property
    def shown(self) -> tuple[str, ...]:
        """Warnings and errors, each once, without the decoration parsers print around them."""
        texts = (
            f"{severity.lower().replace('_', ' ')}: {text.strip()}"
            for severity, text in self.entries
            if severity in _SHOWN
        )
        return tuple(dict.fromkeys(texts))

    @property
    def errors(self) -> str:
        """Errors, one a line."""
        return self._lines(_SHOWN[:2])

    @property
    def complaints(self) -> str:
        """Errors and warnings, one a line, without their severity."""
        return self._lines(_SHOWN)

    def _lines(self, severities: tuple[str, ...]) -> str:
        texts = (text.strip() for severity, text in self.entries if severity in severities)
        return "\n".join(dict.fromkeys(texts))

    @property
    def layers(self) -> str:
        """The last list of compiled layers; empty where the library wrote none."""
        lists = [text for _, text in self.entries if text.startswith(LAYERS)]
        return lists[-1] if lists else ""

    def text(self) -> str:
        """Return the log as a file holds it."""
        return "".join(f"{severity}: {text}\n" for severity, text in self.entries)


def forwarding_logger(module: Any) -> trt.ILogger:
    """Return a logger whose messages go to whoever listens.

    TensorRT keeps the first logger as long as any builder or runtime lives and ignores others, so a
    logger for each build would hear nothing while an engine is loaded.
    """

    class ForwardingLogger(module.ILogger):  # type: ignore[misc]  # the base comes with the module
        def __init__(self) -> None:
            module.ILogger.__init__(self)
            self.listeners: list[Messages] = []

        def log(self, severity: trt.ILogger.Severity, msg: str) -> None:
            for listener in self.listeners:
                listener.add(severity.name, msg)

    return cast("trt.ILogger", ForwardingLogger())


@contextmanager
def listening(logger: trt.ILogger) -> Iterator[Messages]:
    """Collect what is logged inside the block."""
    messages = Messages()
    listeners: list[Messages] = cast("Any", logger).listeners
    listeners.append(messages)
    try:
        yield messages
    finally:
        listeners.remove(messages)
