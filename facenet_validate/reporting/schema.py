"""The JSON Schema of ``results.json``: from the types of the report, and what tests measure.

Objects may have more keys than are named here: suites of users and later versions add some.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from facenet_validate.gates.verdicts import Verdict
from facenet_validate.reporting.folder import UNFINISHED
from facenet_validate.reporting.report import RunReport
from facenet_validate.reporting.results import SCHEMA

_TEXT = {"type": "string"}
_WHOLE = {"type": "integer"}
_FLAG = {"type": "boolean"}
_NUMBER = {"$ref": "#/$defs/number"}
_MAYBE = {"$ref": "#/$defs/number or null"}
_NUMBERS = {"type": "array", "items": _NUMBER}
_PAIR = {"type": "array", "items": _NUMBER, "minItems": 2, "maxItems": 2}

_SCALARS: Mapping[Any, dict[str, Any]] = {
    str: _TEXT,
    int: _WHOLE,
    float: _NUMBER,
    bool: _FLAG,
    Any: {},
}


def results_schema() -> dict[str, Any]:
    """Return the schema, of JSON Schema 2020-12."""
    properties = {
        "schema": {"const": SCHEMA},
        "started_at": {"type": ["string", "null"]},
        "finished_at": {"type": ["string", "null"]},
        "run": _TEXT,
        "verdict": {"enum": ["pass", "partial", "inconclusive", "fail", UNFINISHED]},
        "sentence": _TEXT,
        "partial": _TEXT,
        "exit_status": {"type": ["integer", "null"]},
        "counts": {
            "type": "object",
            "propertyNames": {"enum": [str(one) for one in Verdict]},
            "additionalProperties": _WHOLE,
        },
        "gate_titles": {"type": "object", "additionalProperties": _TEXT},
        "protocol": {"type": ["string", "null"]},
        "gates": {"type": "array", "items": {"$ref": "#/$defs/gate"}},
        "measurements": {"type": "array", "items": {"$ref": "#/$defs/measurement"}},
        "errors": {"type": "array", "items": {"$ref": "#/$defs/error"}},
        "required_and_not_judged": {"type": "array", "items": _TEXT},
        "runs": {"type": "array", "items": {"type": "object", "required": ["run"]}},
        "missing_runs": {"type": "array", "items": _TEXT},
        "conflicts": {
            "type": "array",
            "items": _object(
                kind={"enum": ["model", "set", "limit", "verdict"]},
                text=_TEXT,
                runs={"type": "array", "items": _WHOLE},
            ),
        },
        **_of_type(RunReport)["properties"],
    }
    required = ["schema", "verdict", "exit_status", "gates", "measurements", "errors"]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "results.json of facenet-validate",
        "type": "object",
        "properties": properties,
        "required": required,
        "$defs": {
            "number": {
                "anyOf": [{"type": "number"}, {"enum": ["nan", "inf", "-inf"]}],
                "description": "NaN and infinity, which JSON has not, are text",
            },
            "number or null": {"anyOf": [_NUMBER, {"type": "null"}]},
            "gate": _gate(),
            "error": _object(
                test=_TEXT, phase=_TEXT, message=_TEXT, reason=_TEXT, judges={"type": "array"}
            ),
            "measurement": {
                "type": "object",
                "properties": {"name": _TEXT, "test": _TEXT},
                "required": ["name", "test"],
                "allOf": [
                    {
                        "if": {"properties": {"name": {"const": name}}},
                        "then": shape,
                    }
                    for name, shape in _measurements().items()
                ],
            },
        },
    }


def _object(optional: tuple[str, ...] = (), **properties: dict[str, Any]) -> dict[str, Any]:
    return _shape(properties, optional)


def _loose(**properties: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of an object that may lack any of its properties."""
    return {"type": "object", "properties": properties}


def _shape(properties: Mapping[str, Any], optional: Sequence[str] = ()) -> dict[str, Any]:
    required = [name for name in properties if name not in optional]
    found: dict[str, Any] = {"type": "object", "properties": dict(properties)}
    return {**found, "required": required} if required else found


def _gate() -> dict[str, Any]:
    return _object(
        optional=("try", "run"),
        gate=_TEXT,
        precision=_TEXT,
        target=_TEXT,
        dataset=_TEXT,
        batch={"type": ["integer", "null"]},
        recipe_only=_FLAG,
        verdict={"enum": [str(one) for one in Verdict]},
        fails=_FLAG,
        observed=_MAYBE,
        limit=_MAYBE,
        interval={"anyOf": [_PAIR, {"type": "null"}]},
        detail=_TEXT,
        test=_TEXT,
        run=_WHOLE,
        **{"try": _WHOLE},
    )


def _measurements() -> dict[str, dict[str, Any]]:
    """Return what each measurement of our suites holds."""
    curve = _object(far=_NUMBERS, tar=_NUMBERS)
    band = _object(far=_NUMBERS, tar=_NUMBERS, low=_NUMBERS, high=_NUMBERS)
    points = {
        "type": "array",
        "items": _object(
            far=_NUMBER, achieved_far=_NUMBER, tar=_NUMBER, interval_95=_PAIR, threshold=_NUMBER
        ),
    }
    figures: dict[str, dict[str, Any]] = {
        "accuracy": _NUMBER,
        "accuracy_std_over_folds": _NUMBER,
        "auc": _NUMBER,
        "eer": _NUMBER,
        "tar_at_far": points,
        "thresholds": _NUMBERS,
        "fold_accuracies": _NUMBERS,
        "roc": curve,
        "roc_interval_95": band,
    }
    counts = {"type": "array", "items": _WHOLE}
    paired: dict[str, dict[str, Any]] = {
        "lost": _WHOLE,
        "won": _WHOLE,
        "pairs": _WHOLE,
        "drop": _NUMBER,
        "upper_95": _NUMBER,
        "mcnemar_p_value": _NUMBER,
    }
    pair = _object(
        optional=("left_picture", "right_picture"),
        pair=_WHOLE,
        fold=_WHOLE,
        left=_TEXT,
        right=_TEXT,
        same=_FLAG,
        distance=_NUMBER,
        reference_distance=_NUMBER,
        threshold=_NUMBER,
        correct=_FLAG,
        reference_correct=_FLAG,
        known_as_mislabelled=_FLAG,
        left_picture=_TEXT,
        right_picture=_TEXT,
    )
    seen = {"type": "array", "items": pair}
    kind = _shape({"kind": _TEXT, "severities": {"type": "array"}, **paired})
    # Users may record measurements of these names: what is required is what the page draws.
    return {
        "verification": _loose(
            **figures,
            protocol=_TEXT,
            reference=_shape(figures),
            distances=_object(
                first=_NUMBER,
                last=_NUMBER,
                genuine=counts,
                impostor=counts,
                reference_genuine=counts,
                reference_impostor=counts,
            ),
            classic={"type": ["object", "null"]},
        ),
        "paired comparison": _loose(
            **paired,
            gate=_TEXT,
            compared_with=_TEXT,
            worth_seeing=_object(changed=seen, hardest_genuine=seen, hardest_impostor=seen),
        ),
        "stored templates": _loose(
            directions=_object(stored_left=_shape(paired), stored_right=_shape(paired)),
            text=_TEXT,
        ),
        "row cosines": _loose(rows=_WHOLE, shares=_NUMBERS, cosines=_NUMBERS),
        "groups": _loose(groups={"type": "array", "items": _shape({"group": _TEXT, **paired})}),
        "corruptions": _loose(pictures=_WHOLE, kinds={"type": "array", "items": kind}),
        "speed": _loose(
            batch=_WHOLE,
            block_seconds=_NUMBERS,
            ratio=_NUMBER,
            ratio_interval=_PAIR,
            log_ratios=_NUMBERS,
            stored={
                "type": "array",
                "items": _object(
                    recorded_at=_TEXT,
                    epoch=_WHOLE,
                    reason=_TEXT,
                    latency_seconds=_NUMBER,
                    paired_ratio=_MAYBE,
                ),
            },
        ),
    }


def _of_type(kind: Any) -> dict[str, Any]:
    """Return the schema of a type of the report."""
    if kind in _SCALARS:
        return dict(_SCALARS[kind])
    if is_dataclass(kind) and isinstance(kind, type):
        hints = get_type_hints(kind)
        properties = {part.name: _of_type(hints[part.name]) for part in fields(kind)}
        required = [
            part.name
            for part in fields(kind)
            if part.default is MISSING and part.default_factory is MISSING
        ]
        found: dict[str, Any] = {"type": "object", "properties": properties}
        return {**found, "required": required} if required else found
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        # What is not known is left out.
        (known,) = (one for one in arguments if one is not NoneType)
        return _of_type(known)
    if origin is dict:
        return {"type": "object", "additionalProperties": _of_type(arguments[1])}
    assert origin is list, kind
    return {"type": "array", "items": _of_type(arguments[0])}
