"""A test's gates: what is held to a limit, and what is left out."""

from __future__ import annotations

import json
from typing import Any

import pytest

from facenet_validate.gates.records import Subject
from facenet_validate.gates.verdicts import Observed
from facenet_validate.run.judging import Gates


def _judged(*observed: Observed) -> dict[str, str]:
    properties: list[tuple[str, Any]] = []
    subject = Subject("int8", "cpu", "lfw", recipe_only=False)
    gates = Gates({"parity.cosine_min": 0.98}, subject, properties, "warn")
    with pytest.raises(pytest.skip.Exception):
        gates.check(*observed)
    found = (json.loads(text) for _, text in properties)
    return {gate["gate"]: f"{gate['verdict']}: {gate['detail']}" for gate in found}


def test_a_name_that_is_no_gate_is_not_evaluated() -> None:
    assert _judged(Observed("parity.cosine_min", 0.99), Observed("parity.cosine_mni", 0.5)) == {
        "parity.cosine_min": "pass: ",
        "parity.cosine_mni": "not evaluated: no limit in gates.toml for lfw, int8, cpu; "
        "measured 0.5 ",
    }


def test_an_optional_gate_without_a_limit_is_left_out_where_another_is_judged() -> None:
    optional, other = Observed("build.size", 0.3), Observed("build.problems", 0)
    assert set(_judged(optional, other)) == {"build.problems"}
    assert set(_judged(optional)) == {"build.size"}
