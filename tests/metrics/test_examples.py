"""Every public function of metrics/ shows a small use of itself, and the examples are true."""

from __future__ import annotations

import doctest
import inspect
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType

import pytest

from facenet_validate import metrics
from facenet_validate.base import wording

METRICS = [
    import_module(f"{metrics.__name__}.{found.name}") for found in iter_modules(metrics.__path__)
]


def _name(module: ModuleType) -> str:
    return module.__name__.removeprefix("facenet_validate.")


@pytest.mark.parametrize("module", [*METRICS, wording], ids=_name)
def test_the_examples_are_true(module: ModuleType) -> None:
    found = doctest.testmod(module, optionflags=doctest.ELLIPSIS)  # says on stdout what differs
    assert found.failed == 0
    assert found.attempted > 0


def _is_used_directly(thing: object) -> bool:
    """Return whether a thing is a function, or a class with methods: others are only read."""
    return inspect.isfunction(thing) or (
        inspect.isclass(thing)
        and any(
            inspect.isroutine(member) and not name.startswith("_")
            for name, member in vars(thing).items()
        )
    )


def test_everything_public_that_is_called_has_an_example() -> None:
    bare = [
        f"{_name(module)}.{name}"
        for module in METRICS
        for name, thing in vars(module).items()
        if getattr(thing, "__module__", None) == module.__name__
        and not name.startswith("_")
        and _is_used_directly(thing)
        and ">>>" not in (inspect.getdoc(thing) or "")
    ]
    assert bare == []
