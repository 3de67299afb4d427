"""What users are told of the public fixtures: fifteen, each with lines of use that pass."""

from __future__ import annotations

import json
import re
from pathlib import Path

import onnx
import pytest

from docs.reference.generate import example, fixtures
from facenet_validate.cache import Cache
from tests.models.small_facenet import small_facenet

FIFTEEN = {
    "facenet_batch_size", "facenet_build", "facenet_comparison", "facenet_embeddings",
    "facenet_engine", "facenet_faces", "facenet_gates", "facenet_precision", "facenet_reference",
    "facenet_reference_engine", "facenet_robustness", "facenet_run", "facenet_set",
    "facenet_timing", "facenet_verification",
}  # fmt: skip

GATES = """
schema = 1
[gates.any.any.any]
parity.cosine_min = 0.99
build.size = 0.9
accuracy.auc = 0.1
accuracy.paired_drop = 0.5
robustness.blur = 0.5
performance.stored = 1.03
"""


def test_pytest_shows_the_fifteen_and_no_other(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_inprocess("--fixtures")
    shown = {line.split()[0] for line in result.outlines if re.match(r"_?facenet_\w+", line)}
    assert shown == FIFTEEN == set(fixtures())
    assert "no docstring available" not in "".join(
        result.outlines[place + 1]
        for place, line in enumerate(result.outlines)
        if line.startswith("facenet_")
    )


@pytest.mark.parametrize("name", sorted(FIFTEEN))
def test_a_fixture_shows_three_lines_of_use(name: str) -> None:
    lines = [line for line in example(fixtures()[name]).splitlines() if not line.startswith("@")]
    assert len(lines) in (2, 3)
    assert re.match(rf"def test_\w+\(.*\b{name}\b.*\):", lines[0])


def test_every_example_passes(
    pytester: pytest.Pytester,
    tmp_path: Path,
    small_set: Path,
    shared_cache: Cache,
    all_imported: None,
) -> None:
    onnx.save(small_facenet(160), tmp_path / "small.onnx")
    (pytester.path / "baselines").mkdir()
    (pytester.path / "baselines" / "gates.toml").write_text(GATES)
    examples = {
        f"test_{name}": f"import pytest\n\n\n{example(text)}" for name, text in fixtures().items()
    }
    pytester.makepyfile(**examples)
    result = pytester.runpytest_inprocess(
        "--precision=fp16",
        "--facenet-batch-size=8",
        f"--facenet-model={tmp_path / 'small.onnx'}",
        f"--facenet-lfw={small_set}",
        f"--facenet-cache={shared_cache.root}",
    )
    result.stdout.fnmatch_lines(["*= 13 passed, 2 not evaluated in *"])
    # The AUC of so few pairs says nothing, and no stored session is there to compare with.
    (of_auc,) = [line for line in result.outlines if line.startswith("test_facenet_verification")]
    (of_time,) = [line for line in result.outlines if line.startswith("test_facenet_timing")]
    assert [line.split()[1] for line in (of_auc, of_time)] == ["n", "n"]


REFERENCE_OF_THEIRS = """
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest


@pytest.fixture(scope="session")
def facenet_reference_engine(facenet_reference_engine):
    def run_many(batches):
        return (np.roll(rows, 3, axis=1) for rows in facenet_reference_engine.run_many(batches))

    theirs = facenet_reference_engine
    info = replace(theirs.info, digest="0" * 64)
    return SimpleNamespace(info=info, input=theirs.input, run=theirs.run, run_many=run_many)
"""


def test_a_reference_of_their_own_is_what_engines_are_compared_with(
    project: pytest.Pytester,
) -> None:
    project.makeconftest(REFERENCE_OF_THEIRS)
    result = project.runpytest_inprocess("suites/test_parity.py", "--precision=fp32")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([" parity.cosine_mean *fp32 *0.995 *fail*"])


FACES_OF_THEIRS = """
from dataclasses import replace

import pytest


@pytest.fixture(scope="session")
def facenet_faces(facenet_faces):
    return replace(facenet_faces, digest="0" * 64, aligner="of theirs")
"""


def test_faces_of_their_own_are_what_engines_are_evaluated_on(project: pytest.Pytester) -> None:
    project.makeconftest(FACES_OF_THEIRS)
    result = project.runpytest_inprocess(
        "suites/test_accuracy.py", "--precision=fp32", "-k=verification", "--facenet-report=report"
    )
    assert result.ret == pytest.ExitCode.OK
    document = json.loads((project.path / "report" / "results.json").read_text())
    (measured,) = (one for one in document["measurements"] if one["name"] == "verification")
    assert measured["aligner"] == "of theirs"
