"""Standard output and error of a command whose exit code is its answer: neither may spoil it."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import TextIO

from facenet_validate.errors import SettingsError


def prepare() -> None:
    """Let both streams take any text: what their encoding lacks is written as an escape.

    Raises
    ------
    SettingsError
        If standard output is closed.
    """
    if sys.stdout is None:
        raise SettingsError("standard output is closed; send it to /dev/null if it is not wanted.")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def say(text: str) -> None:
    """Write to standard output; whoever left early, as `| head` does, has seen enough.

    Raises
    ------
    SettingsError
        If it cannot be written.
    """
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        _discard(sys.stdout)
    except OSError as error:
        _discard(sys.stdout)
        raise SettingsError(
            f"standard output cannot be written ({error.strerror or error}); make room, or send it "
            "elsewhere."
        ) from None


def tell(text: str) -> None:
    """Write to standard error, if there is one."""
    if sys.stderr is not None:
        with contextlib.suppress(OSError):
            sys.stderr.write(text)


def _discard(stream: TextIO) -> None:
    """Send what a stream still holds nowhere; Python would complain about it at its exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
