"""Which names of a test are ours, and which arguments pytest was started with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

PARAMETERS = (
    "facenet_precision",
    "facenet_batch_size",
    "facenet_set",
    "facenet_compared_with",
    "facenet_timed_beside",
)
"""Arguments of tests that run once for each of their values."""


def is_ours_in(metafunc: pytest.Metafunc, name: str) -> bool:
    """Say whether an argument of a test is ours, not a fixture or parameter of its project."""
    if name not in metafunc.fixturenames:
        return False
    for mark in metafunc.definition.iter_markers("parametrize"):
        names = mark.args[0] if mark.args else mark.kwargs.get("argnames", ())
        if name in ([one.strip() for one in names.split(",")] if isinstance(names, str) else names):
            return False
    defined = metafunc.definition._fixtureinfo.name2fixturedefs.get(name, ())
    # The last one is the nearest, which the test gets.
    return not defined or defined[-1].func.__module__.startswith("facenet_validate.")


def with_files(arguments: Iterable[str]) -> Iterator[str]:
    """Yield arguments, and those in the files that pytest reads for ``@FILE``."""
    for argument in arguments:
        yield argument
        if argument.startswith("@"):
            try:
                yield from Path(argument[1:]).read_text(encoding="utf-8").splitlines()
            except (OSError, ValueError):  # pytest says what is wrong with it
                continue
