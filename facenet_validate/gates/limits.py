"""``gates.toml``: the limits of every gate, by data set, precision and target."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facenet_validate.base.errors import BaselineError
from facenet_validate.base.vocabulary import PRECISIONS, TARGETS
from facenet_validate.base.wording import nearest, path_text, quoted
from facenet_validate.gates import catalogue
from facenet_validate.gates.document import read_document

SCHEMA = 1
KEYS = ("schema", "require", "sets", "gates")
"""What the file has at its top level."""

ANY = "any"
DATASETS = ("lfw", "orl", "synthetic")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")


@dataclass(frozen=True)
class GatesFile:
    """Limits as written.

    Attributes
    ----------
    path : Path
        The file.
    require : tuple of str
        Data sets whose gates must be evaluated.
    tables : mapping
        ``(data set, precision, target)`` → gate → limit.
    datasets : tuple of str
        Names that a data set with limits may have: ours, and those in ``sets``.
    """

    path: Path
    require: tuple[str, ...]
    tables: Mapping[tuple[str, str, str], Mapping[str, float]]
    datasets: tuple[str, ...] = DATASETS

    def limits(self, dataset: str, precision: str, target: str) -> dict[str, float]:
        """Return the limits in force; a named table goes before ``any``, from left to right."""
        found: dict[str, float] = {}
        keys = [(d, p, t) for d in (ANY, dataset) for p in (ANY, precision) for t in (ANY, target)]
        for key in keys:
            found |= self.tables.get(key, {})
        return {gate: found[gate] for gate in catalogue.names() if gate in found}

    def named_for(self, dataset: str, precision: str, target: str) -> set[str]:
        """Return the gates with a limit under this data set's name."""
        return {
            gate
            for p in (ANY, precision)
            for t in (ANY, target)
            for gate in self.tables.get((dataset, p, t), {})
        }


def read_gates(path: Path) -> GatesFile:
    """Read ``gates.toml``.

    Raises
    ------
    BaselineError
        If it is missing or malformed, or has a key, data set, precision, target or gate we do not
        know: a gate that nobody evaluates must not look like one that passes.
    """
    return gates_in(path, read_document(path))


def gates_in(path: Path, document: Mapping[str, Any]) -> GatesFile:
    """Return the limits that a document holds; ``path`` is what messages call it.

    Raises
    ------
    BaselineError
        If it is malformed, or has what we do not know.
    """
    # Another schema may have other keys: it is named first.
    schema = document.get("schema")
    if isinstance(schema, bool) or not isinstance(schema, int) or schema != SCHEMA:
        found = "no schema" if schema is None else f"schema {quoted(schema)}"
        raise _wrong(path, f"{found}; expected {SCHEMA}, a line `schema = {SCHEMA}`.")
    for key in document:
        if key not in KEYS:
            raise _unknown(path, "at the top level", key, KEYS)
    datasets = (*DATASETS, *_own_sets(path, document.get("sets", [])))
    tables: dict[tuple[str, str, str], dict[str, float]] = {}
    for dataset, by_precision in _tables(path, "gates", document.get("gates", {}), datasets):
        for precision, by_target in _tables(path, dataset, by_precision, PRECISIONS):
            for target, suites in _tables(path, f"{dataset}.{precision}", by_target, TARGETS):
                where = f"{dataset}.{precision}.{target}"
                tables[dataset, precision, target] = _limits(path, where, suites)
                if dataset not in (ANY, *DATASETS):
                    _check_of_accuracy(path, where, tables[dataset, precision, target])
    return GatesFile(path, _required(path, document.get("require", []), datasets), tables, datasets)


def _required(path: Path, names: Any, datasets: tuple[str, ...]) -> tuple[str, ...]:
    """Return the data sets that must be judged, each once."""
    if not isinstance(names, list):
        raise _wrong(path, f"require is {quoted(names)}; expected a list, such as ['lfw'].")
    for name in names:
        if name not in datasets:
            raise _unknown(path, "require", name, datasets)
    return tuple(dict.fromkeys(names))


def _own_sets(path: Path, names: Any) -> list[str]:
    """Return the names of the user's own verification sets: a typing error must not become one."""
    is_list = isinstance(names, list)
    for name in names if is_list else [names]:
        taken = name in (*DATASETS, ANY)
        if taken or not is_list or not isinstance(name, str) or not _NAME.fullmatch(name):
            raise _wrong(
                path,
                f"sets: {quoted(name)}; expected a list of names of --facenet-pairs sets, such as "
                "['staff'], in lower-case letters, digits, - and _.",
            )
    return list(names)


def _tables(
    path: Path, where: str, table: Any, allowed: tuple[str, ...]
) -> list[tuple[str, dict[str, Any]]]:
    if not isinstance(table, dict):
        raise _wrong(path, f"{where} is {quoted(table)}; expected a table.")
    for name in table:
        if name not in (ANY, *allowed):
            raise _unknown(path, where, name, (ANY, *allowed))
    return list(table.items())


def _check_of_accuracy(path: Path, where: str, limits: Iterable[str]) -> None:
    """Check that a further set has limits only of gates that are judged on every set."""
    other = next((gate for gate in limits if catalogue.row(gate).per != "set"), None)
    if other is not None:
        raise _wrong(
            path,
            f"{where}: {other} is not judged on a --facenet-pairs set; expected limits of accuracy "
            f"alone. Write {other} under {ANY}, lfw, orl or synthetic.",
        )


def _limits(path: Path, where: str, suites: Any) -> dict[str, float]:
    if not isinstance(suites, dict):
        raise _wrong(path, f"{where} is {quoted(suites)}; expected a table.")
    limits: dict[str, float] = {}
    for suite, gates in suites.items():
        if not isinstance(gates, dict):
            raise _wrong(
                path,
                f"{where}.{path_text(suite)} is {quoted(gates)}, which is not a table of limits. "
                "Write a limit as parity.cosine_min = 0.99, without quotation marks.",
            )
        for gate, limit in gates.items():
            name = f"{suite}.{gate}"
            if name not in catalogue.names():
                raise _unknown(path, where, name, catalogue.names())
            limits[name] = _limit(path, f"{where}: {name}", catalogue.row(name), limit)
    return limits


def _limit(path: Path, where: str, gate: catalogue.Gate, limit: Any) -> float:
    if isinstance(limit, bool) or not isinstance(limit, int | float):
        raise _wrong(path, f"{where} = {quoted(limit)}, no number.")
    try:
        number = float(limit)
    except OverflowError:
        number = math.inf
    lowest = -math.inf if gate.above is None else gate.above
    if not lowest < number < math.inf:
        above = "" if gate.above is None else f" above {gate.above:g}"
        raise _wrong(path, f"{where} = {quoted(limit)}; expected a finite number{above}.")
    return number


def _unknown(path: Path, where: str, found: Any, allowed: tuple[str, ...]) -> BaselineError:
    return _wrong(
        path,
        f"{where}: {quoted(found)} is unknown; expected one of {', '.join(allowed)}."
        f"{nearest(found, allowed)}",
    )


def _wrong(path: Path, what: str) -> BaselineError:
    return BaselineError(f"gates file {path_text(path)}: {what}")
