"""No test judges this machine: none asserts a time, a ratio of times or a process's memory.

On a busy machine such a test fails though nothing is wrong. A bound is tested by what is read, made
or called; how fast something is belongs to ``tests/benchmarks``, and what a GPU does to
``tests/gpu``. A clock may be faked, and read for a date. What another process does is waited for
with `tests.waiting`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

TESTS = Path(__file__).parent
EXEMPT = {TESTS / "benchmarks", TESTS / "gpu"}
WAITING = TESTS / "waiting.py"

MEASURES = {
    "clock_gettime", "getrusage", "memory_info", "monotonic", "monotonic_ns", "perf_counter",
    "perf_counter_ns", "process_time", "process_time_ns", "psutil", "ru_maxrss", "sleep",
    "thread_time", "thread_time_ns", "timeit", "tracemalloc",
}  # fmt: skip
"""What tells how long something took, how much memory a process has, or hopes that time does it."""

DATES = {"time", "time_ns", "now", "utcnow"}
"""Clocks that may be read for a date; the difference of two readings is a duration."""

SHORTEST = 300.0
"""Seconds a time-out has at least: it ends a hang, and no busy machine needs so long."""

_CALLED = re.compile(rf"\b(?:{'|'.join(sorted(MEASURES))})\(")


def _files() -> list[Path]:
    found = sorted(path for path in TESTS.rglob("*.py") if not EXEMPT & set(path.parents))
    return [path for path in found if path not in (WAITING, Path(__file__))]


def clocks_read(source: str) -> list[str]:
    """Return where a test's source measures this machine: line and what it does."""
    tree = ast.parse(source)
    found = [
        (node.lineno, what)
        for node in ast.walk(tree)
        if isinstance(node, ast.expr | ast.alias | ast.keyword)
        for what in _found(node)
    ]
    for scope in _scopes(tree):
        found += _durations(scope)
    return [f"{line}: {what}" for line, what in sorted(set(found))]


def _found(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Attribute(attr=name) | ast.Name(id=name) | ast.alias(name=name):
            if name in MEASURES:
                yield name
        case ast.Constant(value=str(text)):  # a script that a test runs
            yield from (f"{called} in a text" for called in _CALLED.findall(text))
        case ast.keyword(arg="deadline", value=value):
            if not (isinstance(value, ast.Constant) and value.value is None):
                yield "a deadline"
        case ast.keyword(arg="suppress_health_check", value=value):
            if HealthCheck.too_slow.name not in ast.unparse(value):
                yield "examples that may come too slowly"
        case ast.Call(func=function, args=arguments, keywords=keywords):
            given = [keyword.value for keyword in keywords if keyword.arg == "timeout"]
            if isinstance(function, ast.Attribute) and function.attr in ("join", "wait", "result"):
                given += arguments
            numbers = [value.value for value in given if isinstance(value, ast.Constant)]
            for number in numbers:
                if isinstance(number, int | float) and number < SHORTEST:
                    yield f"a time-out of {number:g} s"


def _scopes(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield each function, with those inside it, and what is in none."""
    outside: list[ast.stmt] = []
    waiting = list(tree.body)
    while waiting:
        statement = waiting.pop()
        if isinstance(statement, ast.FunctionDef):
            yield statement
        elif isinstance(statement, ast.ClassDef):
            waiting += statement.body
        else:
            outside.append(statement)
    yield ast.Module(outside, [])


def _durations(scope: ast.AST) -> Iterator[tuple[int, str]]:
    """Find differences and comparisons of two readings of a clock, or of names bound to one."""
    named = {
        target.id
        for node in ast.walk(scope)
        if isinstance(node, ast.Assign) and _reads(node.value, set())
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(scope):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub):
            sides = [node.left, node.right]
        elif isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
        else:
            continue
        if sum(_reads(side, named) for side in sides) > 1:
            yield node.lineno, "a duration"


def _reads(node: ast.AST, named: set[str]) -> bool:
    """Return whether an expression is a clock's reading, shifted or not."""
    match node:
        case ast.Call(func=ast.Attribute(attr=name)):
            return name in DATES
        case ast.Name(id=name):
            return name in named
        case ast.BinOp(left=left, right=right):
            return _reads(left, named) or _reads(right, named)
    return False


@pytest.mark.parametrize("path", _files(), ids=lambda path: str(path.relative_to(TESTS)))
def test_no_test_measures_this_machine(path: Path) -> None:
    assert clocks_read(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import time\nassert time.perf_counter() < 3", ["2: perf_counter"]),
        ("from time import process_time as clock", ["1: process_time"]),
        ("import tracemalloc", ["1: tracemalloc"]),
        ("usage = resource.getrusage(0).ru_maxrss", ["1: getrusage", "1: ru_maxrss"]),
        ("time.sleep(0.1)", ["1: sleep"]),
        ("begin = time.time()\nassert time.time() - begin < 1", ["2: a duration"]),
        (
            "def f():\n  begin = datetime.now(UTC)\n  assert datetime.now(UTC) - begin",
            ["3: a duration"],
        ),
        ("def f():\n  a = time.time()\ndef g(a):\n  assert a < time.time()", []),
        ("until = time.time() + 3\nwhile time.time() < until:\n  work()", ["2: a duration"]),
        ("process.communicate(timeout=60)", ["1: a time-out of 60 s"]),
        ("assert event.wait(10.0)", ["1: a time-out of 10 s"]),
        ('SCRIPT = "print(resource.getrusage(0))"', ["1: getrusage( in a text"]),
        ("@settings(deadline=500)\ndef f(): ...", ["1: a deadline"]),
        (
            "FUZZ = settings(suppress_health_check=[HealthCheck.data_too_large])",
            ["1: examples that may come too slowly"],
        ),
        ("made = time.time() - 2 * DAY", []),
        ('monkeypatch.setattr("time.sleep", no_wait)', []),
        ('monkeypatch.setattr("time.process_time", lambda: 2.25)', []),
        ("BaselineStore(path, lock_timeout=0.1)", []),
        ("process.communicate(timeout=HANG)", []),
        ('", ".join(names)', []),
    ],
)
def test_what_measures_is_told_from_what_does_not(source: str, found: list[str]) -> None:
    assert clocks_read(source) == found


def test_hypothesis_limits_no_times() -> None:
    """By default it fails an example that takes 200 ms, and a test whose examples come slowly."""
    assert settings().deadline is None
    assert HealthCheck.too_slow in settings().suppress_health_check
