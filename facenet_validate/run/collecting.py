"""How often a test runs: its parameters are ours, and the gates it judges say which it needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from facenet_validate.base.errors import SettingsError
from facenet_validate.base.wording import nearest, quoted
from facenet_validate.gates import catalogue

if TYPE_CHECKING:
    from facenet_validate.run.run import Run

COMPARED = {
    "facenet_comparison": ("paired", "operating", "identification"),
    "facenet_timing": ("speed",),
}
"""Fixture that compares the engine with another one, its parameter → its families of gates."""

PARAMETERS = ("facenet_precision", "facenet_batch_size", "facenet_set", *COMPARED)
"""Fixtures whose test runs once for each of their values, in the order of test ids."""


def judged_gates(item: pytest.Item) -> tuple[str, ...]:
    """Return the gates that a test is marked to judge."""
    marker = item.get_closest_marker("facenet_judges")
    return () if marker is None else marker.args


def parameters_of(item: pytest.Item) -> Mapping[str, Any]:
    """Return the parameters of a test by name."""
    return item.callspec.params if hasattr(item, "callspec") else {}


def judged_by(item: pytest.Item, run: Run) -> list[dict[str, Any]]:
    """Return the gates a test is marked to judge, as records name them."""
    parameters = parameters_of(item)
    if "facenet_precision" not in parameters:
        return []
    judged = {
        "dataset": parameters.get("facenet_set", run.dataset_name),
        "precision": parameters["facenet_precision"],
        "batch": parameters.get("facenet_batch_size"),
    }
    return [{"gate": gate, **judged} for gate in judged_gates(item)]


def parametrize(metafunc: pytest.Metafunc, run: Run) -> None:
    """Run a test once for each precision, and for what its gates are judged for.

    A test that is marked with the gates it judges runs on further sets, at batch sizes and beside
    other engines only where one of its gates does, by the catalogue. Without the mark it runs for
    all of them, and for all sets or sizes where it, or a fixture of its project, names them.
    """
    marker = metafunc.definition.get_closest_marker("facenet_judges")
    rows = None if marker is None else _rows(metafunc.definition.nodeid, marker.args)
    settings = run.settings
    values: dict[str, Sequence[Any]] = {"facenet_precision": settings.precisions}
    named = _named(metafunc)
    if rows is None or "facenet_batch_size" in named or any(row.per == "batch" for row in rows):
        values["facenet_batch_size"] = settings.batch_sizes
    if rows is None or "facenet_set" in named or any(row.per == "set" for row in rows):
        values["facenet_set"] = run.set_names
    if rows is None or any(row.beside for row in rows):
        against = () if settings.against is None else ("against",)
        compared = {
            row.beside for row in rows or () if row.family in COMPARED["facenet_comparison"]
        }
        every = ("reference", *against)
        fp16 = any(_is_timed_beside_fp16(one, rows, run) for one in settings.precisions)
        values |= {
            "facenet_comparison": tuple(one for one in every if one in compared) or every,
            "facenet_timing": ("fp32", *(("fp16",) if fp16 else ()), *against),
        }
    for name in PARAMETERS:
        if name in values and is_ours_in(metafunc.definition, name):
            metafunc.parametrize(
                name,
                values[name],
                indirect=True,
                # Tests of one precision, size and set follow each other.
                scope=None if name in COMPARED else "session",
                ids=[
                    f"b{one}" if name == "facenet_batch_size" else str(one) for one in values[name]
                ],
            )


def _is_timed_beside_fp16(precision: str, rows: Sequence[catalogue.Gate] | None, run: Run) -> bool:
    """Say whether an engine is timed beside FP16: where a limit judges it by that.

    Parameters
    ----------
    rows : sequence of Gate or None
        The gates that the test is marked to judge; None without a mark.
    """
    limited = map(catalogue.row, run.limits(run.dataset_name, precision))
    return any(gate.beside == "fp16" and (rows is None or gate in rows) for gate in limited)


def is_superfluous(item: pytest.Function, run: Callable[[], Run]) -> bool:
    """Say whether an engine would be timed beside FP16 that no gate judges by it, as FP16 itself.

    Parameters of a test are combined with each other, so one of them cannot leave a combination
    out: it is left out once its test is made.
    """
    parameters = parameters_of(item)
    if parameters.get("facenet_timing") != "fp16" or not is_ours_in(item, "facenet_timing"):
        return False
    # Without ours, a precision is the project's own matter.
    precision = parameters.get("facenet_precision")
    return precision is not None and not _is_timed_beside_fp16(precision, None, run())


def _named(metafunc: pytest.Metafunc) -> set[str]:
    """Return the arguments of a test and of the fixtures of its project."""
    info = metafunc.definition._fixtureinfo
    fixtures = [one for several in info.name2fixturedefs.values() for one in several]
    theirs = [one.argnames for one in fixtures if not _is_ours(one)]
    return {*info.argnames, *chain.from_iterable(theirs)}


def _is_ours(fixture: pytest.FixtureDef[Any]) -> bool:
    return fixture.func.__module__.startswith("facenet_validate.")


def _rows(test: str, names: Sequence[str]) -> list[catalogue.Gate]:
    for name in names:
        check_gate(name, f"{test}: facenet_judges")
    return [catalogue.row(name) for name in names]


def check_gate(name: str, where: str) -> None:
    """Check that there is a gate of a name.

    Raises
    ------
    SettingsError
        Naming the nearest one.
    """
    known = catalogue.names()
    if name not in known:
        raise SettingsError(
            f"{where} names {quoted(name)}, which is no gate.{nearest(name, known)} Expected one "
            f"of {', '.join(known)}."
        )


def runs_ours(metafunc: pytest.Metafunc) -> bool:
    """Say whether a test takes a fixture of ours that stands on the run."""
    return any(is_ours_in(metafunc.definition, name) for name in (*PARAMETERS, "facenet_run"))


def is_ours_in(test: pytest.Function, name: str) -> bool:
    """Say whether an argument of a test is ours, not a fixture or parameter of its project."""
    if name not in test.fixturenames:
        return False
    for mark in test.iter_markers("parametrize"):
        names = mark.args[0] if mark.args else mark.kwargs.get("argnames", ())
        if name in ([one.strip() for one in names.split(",")] if isinstance(names, str) else names):
            return False
    defined = test._fixtureinfo.name2fixturedefs.get(name, ())
    # The last one is the nearest, which the test gets.
    return not defined or _is_ours(defined[-1])


def with_files(arguments: Iterable[str]) -> Iterator[str]:
    """Yield arguments, and those in the files that pytest reads for ``@FILE``."""
    for argument in arguments:
        yield argument
        if argument.startswith("@"):
            try:
                yield from Path(argument[1:]).read_text(encoding="utf-8").splitlines()
            except (OSError, ValueError):  # pytest says what is wrong with it
                continue
