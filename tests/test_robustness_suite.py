"""The robustness suite in runs."""

from __future__ import annotations

import json

import pytest

from tests.conftest import FEW_PAIRS_GATES


def test_it_runs(project: pytest.Pytester) -> None:
    gates = (
        FEW_PAIRS_GATES
        + "robustness.invariants = 0\nrobustness.odd_pictures = 0\nrobustness.noise_accepted = 0.01\nrobustness.blur = 0.05\nrobustness.jpeg = 0.05\nrobustness.noise = 0.05\nrobustness.brightness=0.05\n"
    )
    (project.path / "baselines" / "gates.toml").write_text(gates)
    result = project.runpytest_inprocess(
        "suites/test_robustness.py", "--precision=fp32", "--facenet-report=report", "--durations=0"
    )
    document = json.loads((project.path / "report" / "results.json").read_text())
    print(document["measurements"])
    assert 0
