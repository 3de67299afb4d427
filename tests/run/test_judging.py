"""What `facenet_gates` refuses: gates that nobody knows, or that the test's mark does not name."""

from __future__ import annotations

import pytest

from facenet_validate.base.errors import SettingsError
from facenet_validate.gates.records import Subject
from facenet_validate.gates.verdicts import Observed
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
