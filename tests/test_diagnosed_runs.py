"""Why an engine fails, told in the run that fails it."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from facenet_validate.models.prepared import PreparedModel, load_onnx

PARITY = ("suites/test_parity.py", "--facenet-report=report")
CAUSE = "cause: red and blue are exchanged."


@pytest.fixture
def project(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """The common project, whose runs find out why a gate fails."""
    monkeypatch.delenv("FACENET_DIAGNOSE")
    # A busy machine must not leave out experiments.
    for bound in ("SECONDS", "FULL_SECONDS"):
        monkeypatch.setattr(f"facenet_validate.diagnosis.diagnosing.{bound}", math.inf)
    gates = project.path / "baselines" / "gates.toml"
    # The small network's embeddings all lie close together.
    limits = gates.read_text().replace("cosine_mean = 0.995", "cosine_mean = 0.9999")
    gates.write_text(f"{limits}contract.colour = 0.9999\n")
    return project


@pytest.fixture
def exchanged(prepared_small: PreparedModel, tmp_path: Path) -> Path:
    """The small network, which takes blue for red."""
    model = load_onnx(prepared_small.entry.path)
    first = next(node for node in model.graph.node if "input" in node.input)
    weights = next(w for w in model.graph.initializer if w.name == first.input[1])
    values = numpy_helper.to_array(weights)
    weights.CopyFrom(numpy_helper.from_array(values[:, ::-1].copy(), weights.name))
    onnx.save(model, tmp_path / "bgr.onnx")
    return tmp_path / "bgr.onnx"


def _document(project: pytest.Pytester) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((project.path / "report" / "results.json").read_text())
    return found


def _told(project: pytest.Pytester) -> list[dict[str, Any]]:
    return [one for one in _document(project)["measurements"] if one["name"] == "diagnosis"]


def _verdicts(project: pytest.Pytester) -> dict[str, str]:
    return {gate["gate"]: gate["verdict"] for gate in _document(project)["gates"]}


def _begin(result: pytest.RunResult, test: str) -> str:
    """Return the first line of a failing test's text."""
    heading = next(
        place for place, line in enumerate(result.outlines) if re.match(f"_+ {test}.* _+$", line)
    )
    return str(result.outlines[heading + 1])


def test_the_text_of_every_failing_test_begins_with_the_cause(
    project: pytest.Pytester, exchanged: Path
) -> None:
    result = project.runpytest_inprocess(
        *PARITY,
        "suites/test_contract.py",
        "-k=parity or signature",
        f"--facenet-engine={exchanged}",
    )
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    failed = ("test_parity", "test_signature")
    assert [_begin(result, test) for test in failed] == [CAUSE, CAUSE]
    result.stdout.fnmatch_lines(["diagnosis, fp32: red and blue are exchanged (explains *"])
    # Found out once; the verdicts are those of a run that does not look for a cause.
    (told,) = _told(project)
    assert (told["cause"], told["precision"]) == ("colour order", "fp32")
    assert {"parity.cosine_mean", "contract.colour"} <= {
        gate for gate, verdict in _verdicts(project).items() if verdict == "fail"
    }
    (picture,) = told["pictures"]
    assert (project.path / "report" / picture).is_file()


@pytest.fixture
def halved(prepared_small: PreparedModel, tmp_path: Path) -> Path:
    """The small network, whose embeddings are half as long as they should be."""
    model = load_onnx(prepared_small.entry.path)
    last = model.graph.node[-1]
    last.output[0] = "whole"
    model.graph.initializer.append(numpy_helper.from_array(np.array(0.5, np.float32), "half"))
    model.graph.node.append(helper.make_node("Mul", ["whole", "half"], ["embeddings"]))
    onnx.save(model, tmp_path / "halved.onnx")
    return tmp_path / "halved.onnx"


def test_embeddings_that_no_gate_can_judge_are_explained_too(
    project: pytest.Pytester, halved: Path
) -> None:
    result = project.runpytest_inprocess(*PARITY, f"--facenet-engine={halved}")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert _begin(result, "test_parity") == "cause: the embeddings are multiplied by a constant."
    result.stdout.fnmatch_lines(["*embeddings are not L2-normalised: norm 0.5*", "tried on *"])
    (told,) = _told(project)
    assert told["cause"] == "output scaled"
    assert _verdicts(project)["parity.cosine_min"] == "not run"


def test_off_tells_no_cause(project: pytest.Pytester, exchanged: Path) -> None:
    result = project.runpytest_inprocess(
        *PARITY, f"--facenet-engine={exchanged}", "--facenet-diagnose=off"
    )
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert re.fullmatch(r"fp32 \(cpu.*\) on lfw: fail", _begin(result, "test_parity"))
    assert _told(project) == []
    assert _verdicts(project)["parity.cosine_mean"] == "fail"


def test_a_diagnosis_that_breaks_is_a_note_and_the_verdict_stands(
    project: pytest.Pytester, exchanged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(case: object, **how: object) -> None:
        raise MemoryError("no room for a graph")

    monkeypatch.setattr("facenet_validate.diagnosis.diagnosing.diagnose", broken)
    result = project.runpytest_inprocess(*PARITY, f"--facenet-engine={exchanged}")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert re.fullmatch(r"fp32 \(cpu.*\) on lfw: fail", _begin(result, "test_parity"))
    result.stdout.fnmatch_lines(["why it differs could not be found out: no room for a graph"])
    assert _verdicts(project)["parity.cosine_mean"] == "fail"
    assert _document(project)["errors"] == []


def test_full_names_no_cause_of_an_engine_that_passes(project: pytest.Pytester) -> None:
    result = project.runpytest_inprocess(*PARITY, "--precision=fp32", "--facenet-diagnose=full")
    assert result.ret == pytest.ExitCode.OK
    (told,) = _told(project)
    assert told["cause"] is None
    assert told["tried"]
    result.stdout.fnmatch_lines(["diagnosis, fp32: no cause is named"])
