"""What tests measure, as JSON holds it: numbers, text, lists and tables of these."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import PurePath
from typing import Any

from facenet_validate.base.errors import MeasurementError
from facenet_validate.base.wording import quoted

EXPECTED = (
    "expected numbers, text, True, False, None, paths, numpy values, or lists and mappings of these"
)


def plain(values: Mapping[Any, Any], where: str) -> dict[str, Any]:
    """Return what was measured as JSON holds it, with numpy values and paths made plain.

    Infinity and NaN, which JSON has not, become text.

    Parameters
    ----------
    values : mapping
        What was measured, by name.
    where : str
        What it is called, for messages.

    Raises
    ------
    MeasurementError
        If a value cannot be told without loss: its key and type are named.
    """
    return _table(values, where, _bounded)


def _bounded(value: Any, where: str) -> Any:
    try:
        return _plain(value, where)
    except RecursionError:
        raise MeasurementError(f"{where} holds itself, or is too deep; {EXPECTED}.") from None


def _plain(value: Any, where: str) -> Any:
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int | float):
        return _number(value, where)
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, Mapping):
        return _table(value, where, _plain)
    if isinstance(value, list | tuple):
        return [_plain(item, f"{where}[{place}]") for place, item in enumerate(value)]
    return _of_numpy(value, where)


def _number(value: float, where: str) -> float | str:
    """Return a number as itself, also where it is of a subclass such as numpy's float64."""
    if isinstance(value, int):
        try:
            str(value)
        except ValueError:
            raise MeasurementError(f"{where} is an int of too many digits; {EXPECTED}.") from None
        return int(value)
    return float(value) if math.isfinite(value) else str(float(value))


def _table(
    values: Mapping[Any, Any], where: str, of_value: Callable[[Any, str], Any]
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = _key(key, where)
        if name in found:
            raise MeasurementError(f"{where} has the key {name!r} twice, once it is text.")
        found[name] = of_value(value, f"{where}[{name!r}]")
    return found


def _key(key: Any, where: str) -> str:
    name = _plain(key, f"the key {quoted(key)} of {where}")
    if isinstance(name, list | dict):
        raise _refused(key, f"the key {quoted(key)} of {where}")
    return name if isinstance(name, str) else json.dumps(name)


def _of_numpy(value: Any, where: str) -> Any:
    import numpy as np

    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, np.timedelta64) or np.ma.is_masked(value):
        raise _refused(value, where)  # as numbers they would lose their unit, or their absence
    if isinstance(value, np.integer):
        return int(value)
    if isinstance(value, np.floating):
        return _plain(float(value), where)
    if isinstance(value, np.ndarray):
        if value.ndim == 0:
            return _plain(value[()], where)
        return [_plain(item, f"{where}[{place}]") for place, item in enumerate(value)]
    raise _refused(value, where)


def _refused(value: Any, where: str) -> MeasurementError:
    kind = type(value)
    name = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
    return MeasurementError(f"{where} is of type {name}; {EXPECTED}.")
