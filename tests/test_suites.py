"""The suites are example code that users copy: short, and made of public names alone."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import facenet_validate
from tests.conftest import REPOSITORY

SUITES = sorted((REPOSITORY / "suites").glob("test_*.py"))
LINES = 400
LINES_OF_A_TEST = 15
FIXTURES_OF_A_TEST = 4
LIBRARIES = {"numpy", "pytest", "hypothesis", "dataclasses", "typing", "collections"}


def _functions(source: str) -> Iterator[ast.FunctionDef]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            yield node


def body_lines(function: ast.FunctionDef) -> int:
    """Return a function's lines, decorators, signature and docstring apart."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return int(body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def strange_imports(source: str) -> list[str]:
    """Return what a suite imports that its reader cannot: other modules, and private names."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [one.name for one in node.names if one.name.split(".")[0] not in LIBRARIES]
        if isinstance(node, ast.ImportFrom):
            module = node.module or "."
            if module == "facenet_validate":
                names = {one.name for one in node.names} - set(facenet_validate.__all__)
                found += [f"facenet_validate.{name}" for name in sorted(names)]
            elif module.split(".")[0] not in LIBRARIES:
                found.append(module)
    return found


def wrong_with(function: ast.FunctionDef) -> list[str]:
    """Return what makes a test a hard read: too long, too many fixtures, no docstring of a line."""
    docstring = ast.get_docstring(function) or ""
    return [
        what
        for what, is_so in (
            (f"{body_lines(function)} lines", body_lines(function) > LINES_OF_A_TEST),
            (f"{len(function.args.args)} fixtures", len(function.args.args) > FIXTURES_OF_A_TEST),
            ("a docstring of one line", len(docstring.splitlines()) != 1),
        )
        if is_so
    ]


def test_there_are_nine_suites_and_they_are_short() -> None:
    assert [path.stem for path in SUITES] == [
        "test_accuracy", "test_build", "test_contract", "test_identification", "test_operating",
        "test_parity", "test_performance", "test_robustness", "test_sharing",
    ]  # fmt: skip
    assert sum(len(path.read_text().splitlines()) for path in SUITES) <= LINES


@pytest.mark.parametrize("suite", SUITES, ids=lambda path: path.stem)
def test_a_suite_imports_public_names_alone(suite: Path) -> None:
    assert strange_imports(suite.read_text()) == []


@pytest.mark.parametrize("suite", SUITES, ids=lambda path: path.stem)
def test_every_test_is_read_at_a_glance(suite: Path) -> None:
    found = {function.name: wrong_with(function) for function in _functions(suite.read_text())}
    assert {name: wrong for name, wrong in found.items() if wrong} == {}
    assert any(name.startswith("test_") for name in found)


def test_what_is_hard_to_read_is_found() -> None:
    long = "def test_a(a, b, c, d, e):\n" + "    x = 1\n" * 16
    (function,) = _functions(long)
    assert wrong_with(function) == ["16 lines", "5 fixtures", "a docstring of one line"]
    (function,) = _functions('def test_a(a):\n    """It is so."""\n' + "    x = 1\n" * 15)
    assert wrong_with(function) == []


@pytest.mark.parametrize(
    "source",
    [
        "from facenet_validate.run.run import Run",
        "from facenet_validate import Run, no_such_name",
        "import onnx",
        "from scipy import stats",
        "from . import helpers",
    ],
)
def test_a_strange_import_is_found(source: str) -> None:
    assert strange_imports(source)
