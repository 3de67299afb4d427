"""A test's gates: what is held to a limit, what is left out, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from facenet_validate.base.errors import SettingsError
from facenet_validate.gates.records import Subject
from facenet_validate.gates.verdicts import Observed, Verdict
from facenet_validate.run.judging import Gates

LIMITS = {"parity.cosine_min": 0.9, "parity.cosine_mean": 0.9}


def _gates(*marked: str) -> Gates:
    return Gates(LIMITS, Subject("int8", "cpu", "lfw", False), [], "warn", marked=marked)


@pytest.mark.parametrize("name", ["parity.cosine_mim", "nothing"])
def test_an_unknown_gate_is_refused_by_name(name: str) -> None:
    gates = _gates()
    for judge in (lambda: gates.check(Observed(name, 1.0)), lambda: gates.hold(name, 1.0)):
        with pytest.raises(SettingsError, match=rf"names '{name}', which is no gate") as refused:
            judge()
        assert ("Did you mean 'parity.cosine_min'?" in str(refused.value)) == ("." in name)


def test_a_gate_that_the_mark_does_not_name_is_refused() -> None:
    told = "judges parity.cosine_mean, which its mark facenet_judges does not name"
    with pytest.raises(SettingsError, match=told):
        _gates("parity.cosine_min").check(
            Observed("parity.cosine_min", 1.0), Observed("parity.cosine_mean", 1.0)
        )


def test_without_a_mark_any_gate_is_judged() -> None:
    _gates().check(Observed("parity.cosine_min", 1.0), Observed("parity.cosine_mean", 1.0))


def _judged(*observed: Observed) -> dict[str, str]:
    properties: list[tuple[str, Any]] = []
    subject = Subject("int8", "cpu", "lfw", recipe_only=False)
    gates = Gates({"parity.cosine_min": 0.98}, subject, properties, "warn")
    with pytest.raises(pytest.skip.Exception):
        gates.check(*observed)
    found = (json.loads(text) for _, text in properties)
    return {gate["gate"]: f"{gate['verdict']}: {gate['detail']}" for gate in found}


def test_an_optional_gate_without_a_limit_is_left_out_where_another_is_judged() -> None:
    optional, other = Observed("build.size", 0.3), Observed("build.problems", 0)
    assert set(_judged(optional, other)) == {"build.problems"}
    assert set(_judged(optional)) == {"build.size"}


def test_a_gate_without_a_limit_tells_its_value() -> None:
    found = _gates().hold("parity.cosine_p1", 0.75)
    assert (found.verdict, found.observed, found.limit) == (Verdict.NOT_EVALUATED, 0.75, None)
