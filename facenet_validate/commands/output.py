"""Standard output and error of the commands: neither may spoil what a command did or answers."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import TextIO

from facenet_validate.base.errors import SettingsError

_STANDARD = (0, 1, 2)


def prepare() -> None:
    """Let both streams take any text: what their encoding lacks is written as an escape.

    Raises
    ------
    SettingsError
        If standard output is closed.
    """
    _reserve_numbers()
    if sys.stdout is None:
        raise SettingsError("standard output is closed; send it to /dev/null if it is not wanted.")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def as_utf8() -> None:
    """Let standard output write UTF-8 on any terminal: what follows is of a file, byte for byte."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="strict")


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
    """Write to standard error, if there is one that takes it."""
    if sys.stderr is None:
        return
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except OSError:
        _discard(sys.stderr)


def _discard(stream: TextIO) -> None:
    """Send what a stream still holds nowhere; Python would complain about it at its exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _reserve_numbers() -> None:
    """Open the null device in place of what is closed of input, output and error.

    Else the next file that is opened gets the number, and what a library writes to standard error
    goes into it.
    """
    for number in _STANDARD:
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number is taken, which is this one.
            with contextlib.suppress(OSError):
                os.open(os.devnull, os.O_RDWR)
