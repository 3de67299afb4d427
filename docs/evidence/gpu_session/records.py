"""Build logs and inspector JSON as future test data: whole, and trimmed to a few of a form."""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from facenet_validate.base.files import write_whole

OF_A_FORM = 2
"""Layers of a form that are kept: names and numbers differ, the form does not."""

_T = TypeVar("_T")
_LAYER = re.compile(r"^Name: ")
_TYPES = re.compile(r"(LayerType|Data[tT]ype|\"?Type\"?): ?([^,}\]]*)")
_KEYS = re.compile(r"(\w[\w/ ]*): ")


def record(folder: Path, name: str, log: str, inspected: str) -> None:
    """Write a build's log and an inspector's JSON, whole as ``.gz`` and trimmed.

    Parameters
    ----------
    name : str
        Of the files: library, version, GPU, engine and batch.
    log, inspected : str
        Empty where there is none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for text, suffix, trim in ((log, "log", trimmed_log), (inspected, "json", trimmed_json)):
        if text:
            write_whole(folder / f"{name}.{suffix}.gz", gzip.compress(text.encode()))
            write_whole(folder / f"{name}.trimmed.{suffix}", trim(text).encode())


def file_name(*parts: str) -> str:
    """Return parts as the name of a file: letters, digits, dots and dashes."""
    return "-".join(re.sub(r"[^A-Za-z0-9.]+", "-", part).strip("-").lower() for part in parts)


def trimmed_log(text: str) -> str:
    """Return a log with the first layers of each form; other lines stay."""
    return "".join(
        f"{line}\n"
        for line in _first_of_each(
            text.splitlines(), lambda line: _line_form(line) if _LAYER.match(line) else None
        )
    )


def trimmed_json(text: str) -> str:
    """Return an inspector's JSON with the first layers of each form; other keys stay."""
    document: dict[str, Any] = json.loads(text)
    layers = list(_first_of_each(document.get("Layers", []), _layer_form))
    return json.dumps(document | {"Layers": layers}, indent=1) + "\n"


def _first_of_each(values: Iterable[_T], form: Callable[[_T], str | None]) -> Iterable[_T]:
    seen: Counter[str] = Counter()
    for value in values:
        of = form(value)
        if of is not None:
            seen[of] += 1
        if of is None or seen[of] <= OF_A_FORM:
            yield value


def _line_form(line: str) -> str:
    """Return a layer's keys and types: what a reader of such lines depends on."""
    return repr((_TYPES.findall(line), sorted(set(_KEYS.findall(line)))))


def _layer_form(layer: Any) -> str:
    if not isinstance(layer, Mapping):
        return "a name"
    types = [
        (key, str(tensor.get("Format/Datatype", tensor.get("Datatype", ""))))
        for key in ("Inputs", "Outputs", "Constants")
        for tensor in layer.get(key, [])
    ]
    weights = layer.get("Weights")
    held = weights.get("Type") if isinstance(weights, Mapping) else None
    return repr((layer.get("LayerType"), types, sorted(layer), held))
