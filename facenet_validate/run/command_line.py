"""The run's options on pytest's command line and in its ini file."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Any

import pytest

from facenet_validate.run.options import OPTIONS, Option


def add_options(parser: pytest.Parser) -> None:
    """Add every option by its long name, and its ini key."""
    for option in OPTIONS:
        _add(parser, option, option.flag)
        parser.addini(option.name, option.help, type="string", default=None)


def add_alias(parser: Any, asked: AbstractSet[str]) -> None:
    """Add the short names that are asked for and that nobody else has.

    Someone's own project may have a --precision: then ours goes by its long name alone. A conftest
    that is read later may add one too, so ours is there only where it is asked for.

    Parameters
    ----------
    parser : pytest.Parser
        After the conftests of the project were read.
    asked : set of str
        The options that pytest was started with.
    """
    groups = [parser._anonymous, *parser._groups]
    taken = {name for group in groups for option in group.options for name in option.names()}
    for option in OPTIONS:
        if option.alias is not None and option.alias in asked - taken:
            _add(parser, option, option.alias)


def _add(parser: pytest.Parser, option: Option, flag: str) -> None:
    keywords: dict[str, Any] = {"dest": option.name, "default": None, "help": option.help}
    if option.metavar is None:
        keywords |= {"action": "store_const", "const": "true"}
    else:
        action = "append" if option.repeated else "store"
        keywords |= {"action": action, "metavar": option.metavar}
    parser.getgroup("facenet", "validation of FaceNet engines").addoption(flag, **keywords)
