"""What ``facenet_gates.measure`` takes: numpy's values and paths too, nothing else unsaid."""

from __future__ import annotations

import datetime
import decimal
import json
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from facenet_validate.base.errors import FacenetValidateError
from facenet_validate.gates.records import Subject, gates_of, measurements_of
from facenet_validate.run.judging import Gates

Properties = list[tuple[str, Any]]


class Level(IntEnum):
    HIGH = 3


def _measured(value: Any) -> Any:
    """Return what is recorded of a value, or the error that comes of it."""
    properties: Properties = []
    gates = Gates({}, Subject("int8", "cpu", "lfw", False), properties, "warn")
    try:
        gates.measure("mine", {"value": value})
    except Exception as error:
        return error
    ((name, values),) = measurements_of(properties)
    assert name == "mine"
    assert values["precision"] == "int8"
    return values["value"]


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, None),
        (True, True),
        (3, 3),
        (2.5, 2.5),
        ("text", "text"),
        ("\ud800", "\ud800"),
        ([1, (2, 3)], [1, [2, 3]]),
        ({"a": {"b": 1}}, {"a": {"b": 1}}),
        ({1: "one", None: "none", 0.5: "half"}, {"1": "one", "null": "none", "0.5": "half"}),
        ({False: "no"}, {"false": "no"}),
        (float("nan"), "nan"),
        (float("inf"), "inf"),
        ([-float("inf")], ["-inf"]),
        (np.float32(0.5), 0.5),
        (np.float64(0.5), 0.5),
        (np.float16(0.5), 0.5),
        (np.longdouble(0.5), 0.5),
        (np.float32("nan"), "nan"),
        (np.float64("-inf"), "-inf"),
        (np.int8(-3), -3),
        (np.uint64(2**64 - 1), 2**64 - 1),
        (np.bool_(True), True),
        (np.str_("text"), "text"),
        (np.array(2.0, np.float32), 2.0),
        (np.array([[1, 2], [3, 4]], np.int32), [[1, 2], [3, 4]]),
        (np.array([0.5, np.nan, np.inf], np.float32), [0.5, "nan", "inf"]),
        (np.array([True, False]), [True, False]),
        (np.array(["a", "b"]), ["a", "b"]),
        (np.array([], np.float32), []),
        (np.array([1, "a", Path("x")], object), [1, "a", "x"]),
        ({np.int64(3): np.float32(1.0)}, {"3": 1.0}),
        (Path("a/b"), "a/b"),
        ({Path("a/b"): [Path("c")]}, {"a/b": ["c"]}),
        (Level.HIGH, 3),
    ],
    ids=repr,
)
def test_what_a_report_can_hold_is_told(value: Any, told: Any) -> None:
    found = _measured(value)
    assert not isinstance(found, Exception), found
    assert found == told
    assert json.dumps(found) == json.dumps(told)


def _in_itself() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    ("value", "where", "kind"),
    [
        (datetime.datetime(2026, 1, 1), "['value']", "datetime.datetime"),
        ({"when": datetime.date(2026, 1, 1)}, "['value']['when']", "datetime.date"),
        ([1, {2}], "['value'][1]", "set"),
        (frozenset(), "['value']", "frozenset"),
        (b"bytes", "['value']", "bytes"),
        (2j, "['value']", "complex"),
        (decimal.Decimal(1), "['value']", "decimal.Decimal"),
        (object(), "['value']", "object"),
        (range(3), "['value']", "range"),
        (np.complex64(1), "['value']", "numpy.complex64"),
        (np.datetime64("2026-01-01"), "['value']", "numpy.datetime64"),
        (np.timedelta64(3, "s"), "['value']", "numpy.timedelta64"),
        (np.array([1, object()], object), "['value'][1]", "object"),
        (np.ma.array([1, 2], mask=[True, False]), "['value']", "MaskedArray"),
        ({(1, 2): 3}, "the key (1, 2)", "tuple"),
        (10**5000, "['value']", "int"),
        (_in_itself(), "['value']", "holds itself"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_it_cannot_hold_is_named_with_key_and_type(value: Any, where: str, kind: str) -> None:
    found = _measured(value)
    assert isinstance(found, FacenetValidateError)
    assert where in str(found)
    assert kind in str(found)
    assert "measurement mine" in str(found)
    assert "\n" not in str(found)


def test_a_key_that_would_be_there_twice_is_refused() -> None:
    assert isinstance(_measured({1: "a", "1": "b"}), FacenetValidateError)


@pytest.mark.parametrize("number", [np.float32, np.float16, np.int64, np.longdouble, np.float64])
def test_a_gate_takes_numpy_s_numbers(number: Any) -> None:
    properties: Properties = []
    subject = Subject("int8", "cpu", "lfw", False)
    gates = Gates({"parity.cosine_min": 0.5}, subject, properties, "warn")
    try:
        gates.check(gates.hold("parity.cosine_min", number(1)))
    except Exception as error:
        pytest.fail(f"{type(error).__name__}: {error}")
    (record,) = gates_of(properties)
    assert record["observed"] == 1
    assert record["verdict"] == "pass"
