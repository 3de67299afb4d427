"""The JSON Schema of ``results.json``: it takes what runs write, and nothing that is not so."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from facenet_validate.reporting.merging import merge_reports
from facenet_validate.reporting.schema import results_schema
from tests.reporting.page.documents import document


@pytest.fixture(scope="module")
def validator() -> Any:
    schema = results_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def _faults(validator: Any, values: dict[str, Any]) -> list[str]:
    return [
        f"{'/'.join(map(str, one.path))}: {one.message}" for one in validator.iter_errors(values)
    ]


def test_a_whole_report_is_valid(validator: Any) -> None:
    assert _faults(validator, document()) == []


def test_a_joined_report_is_valid(validator: Any) -> None:
    assert _faults(validator, merge_reports([("a", document()), ("b", document())])) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("/schema", 2),
        ("/verdict", "passed"),
        ("/gates/0/verdict", "ok"),
        ("/gates/0/observed", "high"),
        ("/gates/0/interval", [1.0]),
        ("/measurements/0/auc", "much"),
        ("/measurements/0/distances/genuine", ["1"]),
        ("/measurements/3/worth_seeing/changed", [{}]),
        ("/environment/threads", "2"),
        ("/environment/device", None),
        ("/counts", {"passed": 1}),
        ("/photos", {"lfw": 1}),
    ],
)
def test_what_is_not_so_is_found(validator: Any, path: str, value: object) -> None:
    values = document()
    below: Any = values
    *keys, last = path.split("/")[1:]
    for key in keys:
        below = below[int(key)] if isinstance(below, list) else below[key]
    below[last] = value
    assert _faults(validator, values)
