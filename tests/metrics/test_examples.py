"""Every public function of metrics/ shows a small use, and the examples are true."""

from __future__ import annotations

import doctest
import inspect
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType

import pytest

from facenet_validate import metrics, wording

METRICS = [
    import_module(f"{metrics.__name__}.{found.name}") for found in iter_modules(metrics.__path__)
]

WITHOUT_EXAMPLE: dict[str, str] = {}
"""Public function of metrics/ → why an example would show nothing."""


def _name(module: ModuleType) -> str:
    return module.__name__.removeprefix("facenet_validate.")


@pytest.mark.parametrize("module", [*METRICS, wording], ids=_name)
def test_the_examples_are_true(module: ModuleType) -> None:
    found = doctest.testmod(module)  # says on stdout what differs
    assert found.failed == 0
    assert found.attempted > 0 or module.__name__ == "facenet_validate.metrics.arrays"


def _functions(module: ModuleType) -> list[str]:
    return [
        f"{_name(module)}.{name}"
        for name, thing in vars(module).items()
        if inspect.isfunction(thing)
        and thing.__module__ == module.__name__
        and not name.startswith("_")
    ]


def test_every_public_function_has_an_example() -> None:
    bare = {
        name
        for module in METRICS
        for name in _functions(module)
        if ">>>" not in (inspect.getdoc(getattr(module, name.rpartition(".")[2])) or "")
    }
    assert bare == WITHOUT_EXAMPLE.keys()
