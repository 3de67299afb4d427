"""Runs whose tests pytest-randomly has shuffled."""

from __future__ import annotations

import pytest

pytest.importorskip("pytest_randomly")

TESTS = """
import pytest

def test_a(): pass
def test_b(): pass
def test_c(): pass

@pytest.mark.facenet_fps
def test_speed(): pass

def test_d(): pass
def test_e(): pass
def test_f(): pass
"""


@pytest.mark.parametrize("seed", range(4))
def test_speed_is_measured_last_in_any_order(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Only then is it known whether an engine fails a gate, and may be recorded."""
    monkeypatch.delenv("PYTEST_ADDOPTS")
    pytester.makepyfile(TESTS)
    result = pytester.runpytest_inprocess("-v", f"--randomly-seed={seed}")
    ran = [line.split("::")[1].split()[0] for line in result.outlines if "PASSED" in line]
    assert len(ran) == 7
    assert ran[-1] == "test_speed"
    assert ran[:-1] != sorted(ran[:-1]), "nothing was shuffled"
