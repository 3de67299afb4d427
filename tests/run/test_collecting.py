"""How often a test of a project's own runs."""

from __future__ import annotations

import pytest

TESTS = """
import pytest


@pytest.fixture
def size(facenet_batch_size):
    return facenet_batch_size


def test_bare(facenet_gates): ...


@pytest.mark.facenet_judges("contract.batch_invariance")
def test_named(facenet_gates, facenet_batch_size): ...


@pytest.mark.facenet_judges("contract.batch_invariance")
def test_of_theirs(facenet_gates, size): ...


@pytest.mark.facenet_judges("contract.batch_invariance")
def test_of_ours(facenet_gates, facenet_timing, facenet_comparison): ...
"""


def test_a_mark_takes_away_no_batch_size_that_a_test_names(light_project: pytest.Pytester) -> None:
    light_project.makepyfile(TESTS)
    result = light_project.runpytest_inprocess(
        "--collect-only", "-q", "--precision=int8", "--facenet-batch-size=1,8"
    )
    assert {line.partition("::")[2] for line in result.outlines if "::" in line} == {
        "test_bare[int8]",
        "test_named[int8-b1]",
        "test_named[int8-b8]",
        "test_of_theirs[int8-b1]",
        "test_of_theirs[int8-b8]",
        "test_of_ours[int8]",
    }
