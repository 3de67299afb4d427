"""The page of the command line has every command, action, argument and exit code, and no other."""

from __future__ import annotations

import argparse
import ast
import re
from collections.abc import Iterator
from importlib import import_module

import pytest

from docs.reference.generate import EXIT_CODES
from facenet_validate.cli import _parser
from facenet_validate.commands import history
from tests.test_docs import REPOSITORY

PACKAGE = REPOSITORY / "facenet_validate"
USES, ARGUMENTS = (
    (REPOSITORY / "docs" / "reference" / "cli.md").read_text("utf-8").split("## Arguments")
)
HISTORY = (REPOSITORY / "docs" / "guide" / "history.md").read_text("utf-8")

_FLAG = re.compile(r"(?<![\w-])--?[a-z][\w-]*")


def _commands(
    parser: argparse.ArgumentParser, path: tuple[str, ...] = ()
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Yield the parser of every command by its name; of an action, such as *cache list*, too."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                yield " ".join((*path, name)), below
                yield from _commands(below, (*path, name))


COMMANDS = dict(_commands(_parser()))
TOP = sorted({name.split()[0] for name in COMMANDS})


def flags(command: str) -> set[str]:
    """Return the options of a command and of its actions, but ``--help``."""
    parsers = [parser for name, parser in COMMANDS.items() if name.split()[0] == command]
    named = {flag for parser in parsers for one in parser._actions for flag in one.option_strings}
    return named - {"-h", "--help"}


def uses(command: str) -> list[str]:
    """Return the rows of the first table that show a command: their first cells."""
    cells = re.findall(r"^\| (`.*?) \| ", USES, re.MULTILINE)
    return [cell for cell in cells if cell.split("`")[1].split()[0] == command]


def arguments() -> Iterator[tuple[list[str], str]]:
    """Yield the rows of the second table: the commands, and the cell of arguments.

    An empty first cell stands for the commands above it.
    """
    named: list[str] = []
    for first, cell in re.findall(r"^\| (.*?) ?\| (`.*?) \| ", ARGUMENTS, re.MULTILINE):
        named = re.findall(r"`(.*?)`", first) or named
        yield named, cell


def told_flags(command: str) -> set[str]:
    """Return the options that the pages name for a command; *history* has a page of its own."""
    if command == "history":
        found = _FLAG.findall(" ".join(re.findall(r"`(-.*?)`", HISTORY)))
        return {flag for flag in found if not flag.startswith(("--benchmark-", "--facenet-"))}
    own = [cell for named, cell in arguments() if command in {one.split()[0] for one in named}]
    return set(_FLAG.findall(" ".join([*uses(command), *own])))


def test_every_command_is_a_row_and_the_reverse() -> None:
    rows = re.findall(r"^\| `([\w-]+)", USES, re.MULTILINE)
    assert set(rows) == set(TOP)


@pytest.mark.parametrize("command", TOP)
def test_the_options_of_a_command_are_those_of_its_page(command: str) -> None:
    assert told_flags(command) == flags(command)


@pytest.mark.parametrize("command", ["cache", "history"])
def test_the_actions_of_a_command_are_those_of_its_row(command: str) -> None:
    words = " ".join(re.findall(r"`(.*?)`", " ".join(uses(command)))).split()
    actions = {name.split()[1] for name in COMMANDS if name.startswith(f"{command} ")}
    assert set(words) - {command} == actions


def test_choices_are_those_of_the_code() -> None:
    told = [
        (COMMANDS[command]._option_string_actions[flag].choices, set(listed.split(",")))
        for named, cell in arguments()
        for flag, listed in re.findall(r"`(--[\w-]+) \{(.*?)\}`", cell)
        for command in named
    ]
    assert told
    assert [(choices, listed) for choices, listed in told if set(choices or ()) != listed] == []


def exit_codes() -> Iterator[int]:
    """Yield the codes that ``facenet-validate`` ends with."""
    for path in [PACKAGE / "cli.py", *(PACKAGE / "commands").glob("*.py")]:
        module = import_module(".".join(path.relative_to(REPOSITORY).with_suffix("").parts))
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "sys.exit":
                yield from _codes(node.args[0], module)
            elif isinstance(node, ast.Return) and node.value and path.name == "cli.py":
                yield from _codes(node.value, module)
    yield from [*history._CODES.values(), history.INCONCLUSIVE]


def _codes(node: ast.expr, module: object) -> Iterator[int]:
    if isinstance(node, ast.Constant) and isinstance(node.value, int):
        yield node.value
    elif isinstance(node, ast.Name) and node.id.isupper():
        yield getattr(module, node.id)


def test_exit_codes_are_those_of_the_table() -> None:
    told = {code for code, (_, meaning) in EXIT_CODES.items() if meaning}
    assert "(130: interrupted)" in EXIT_CODES[2][1]
    assert told | {130} == set(exit_codes())
