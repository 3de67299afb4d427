"""The command line's parser and what its arguments may be; no command is imported for it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from facenet_validate.base.errors import SettingsError
from facenet_validate.base.paths import named_path
from facenet_validate.base.wording import quoted
from facenet_validate.commands.output import say, tell
from facenet_validate.run.settings import whole_number

_MOST = 10**9


class Parser(argparse.ArgumentParser):
    """A parser that speaks as the commands do, also where an output cannot be written."""

    def print_help(self, file: Any = None) -> None:
        del file
        say(self.format_help())

    def print_usage(self, file: Any = None) -> None:
        del file
        tell(self.format_usage())

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        if message:
            tell(message)
        sys.exit(status)


class NamesPath(argparse.Action):
    """An argument that is a path: what is wrong with it as one is told before the command runs."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Path | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        del parser
        # A positional's default passes here too, and is a path already.
        if isinstance(values, str):
            origin = option_string or str(self.metavar or self.dest)
            setattr(namespace, self.dest, named_path(values, origin))


class NamesPaths(NamesPath):
    """A path that may be given several times."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Path | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        before = getattr(namespace, self.dest)
        super().__call__(parser, namespace, values, option_string)
        setattr(namespace, self.dest, [*before, getattr(namespace, self.dest)])


def refuse_empty(arguments: Sequence[str]) -> None:
    """Check that no argument is empty, as a shell variable that is not set gives.

    Raises
    ------
    SettingsError
        Naming the option, or the place of an argument that belongs to none.
    """
    for place, argument in enumerate(arguments, start=1):
        name, equals, value = argument.partition("=")
        if name.startswith("-") and equals and not value.strip():
            origin = name
        elif not argument.strip():
            before = arguments[place - 2] if place > 1 else ""
            origin = before if before.startswith("-") else f"argument {place}"
        else:
            continue
        raise SettingsError(f"{origin} is empty: leave it out, or give a value.")


def positive(text: str) -> int:
    """Return a whole number above zero, for an argument."""
    number = whole_number(text, 1, _MOST)
    if number is None:
        raise argparse.ArgumentTypeError(
            f"{quoted(text)}: expected a whole number above zero, up to {_MOST:,}"
        )
    return number


def epoch(text: str) -> int:
    """Return the number of an epoch, for an argument."""
    number = whole_number(text, 0, _MOST)
    if number is None:
        raise argparse.ArgumentTypeError(f"{quoted(text)}: expected the number of an epoch")
    return number


def percentage(text: str) -> float:
    """Return a percentage above 0 up to 1000, for an argument."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0.0 < number <= 1000.0:
        raise argparse.ArgumentTypeError(
            f"{quoted(text)}: expected a percentage above 0, up to 1000, such as 3"
        )
    return number


def decimal(text: str) -> float:
    """Return a number, for an argument."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{quoted(text)}: expected a number") from None
