"""``facenet-validate diagnose``, on a small network."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import numpy_helper

from facenet_validate.cli import main
from facenet_validate.datasets.images import encode_png
from facenet_validate.datasets.synthetic import render_photo
from facenet_validate.models.prepared import PreparedModel, load_onnx


@pytest.fixture
def diagnose(
    prepared_small: PreparedModel,
    small_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    shared_cache: Any,
) -> list[str]:
    """The command, beside the small model and on twelve faces; the engines lie where it starts."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FACENET_LFW", raising=False)
    (tmp_path / "faces").mkdir()
    for person in range(12):
        png = encode_png(render_photo(person, 0))
        (tmp_path / "faces" / f"{person:02d}.png").write_bytes(png)
    engine = load_onnx(prepared_small.entry.path)
    onnx.save(engine, "same.onnx")
    first = next(node for node in engine.graph.node if "input" in node.input)
    weights = next(w for w in engine.graph.initializer if w.name == first.input[1])
    values = numpy_helper.to_array(weights)
    weights.CopyFrom(numpy_helper.from_array(values[:, ::-1].copy(), weights.name))
    onnx.save(engine, "bgr.onnx")
    monkeypatch.setenv("FACENET_CACHE", str(shared_cache.root))
    # A busy machine must not leave out experiments.
    for bound in ("SECONDS", "FULL_SECONDS"):
        monkeypatch.setattr(f"facenet_validate.diagnosis.diagnosing.{bound}", math.inf)
    return ["diagnose", "--against", str(small_model), "--faces", "faces"]


def test_an_engine_that_differs_is_told_its_cause_and_exits_with_1(
    diagnose: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*diagnose, "bgr.onnx"])
    assert ended.value.code == 1
    said = capsys.readouterr().out
    assert said.startswith("cause: red and blue are exchanged.\nevidence: imitated on the FP32")
    parts = said.split("\n\n")
    assert parts[1].startswith("tried on 12 faces")
    facts = dict(line.split(maxsplit=1) for line in parts[2].splitlines())
    assert facts["engine"].startswith("bgr.onnx: fp32 on onnxruntime")
    assert facts["model"] == "small.onnx"
    assert facts["differs"].startswith("parity.cosine_min 0.99")
    assert max(len(line) for line in "\n".join(parts[:2]).splitlines()) <= 80


def test_json_has_every_experiment(diagnose: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([*diagnose, "bgr.onnx", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert (found["agrees"], found["diagnosis"]["cause"]) == (False, "colour order")
    assert found["diagnosis"]["faces"] == 12
    assert {one["gate"]: one["verdict"] for one in found["compared"]}["parity.cosine_min"] == "fail"


def test_an_engine_that_agrees_exits_with_0_and_is_looked_at_in_full_only(
    diagnose: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*diagnose, "same.onnx", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["diagnosis"] is None
    assert main([*diagnose, "same.onnx"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("the engine agrees with its model: there is nothing to explain\n")
    assert main([*diagnose, "same.onnx", "--full"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("the engine agrees with its model: no cause is named\n\ntried on 12")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["gone.onnx"], "ENGINE: "),
        (["same.onnx", "--faces", "gone"], "--faces gone: no such folder"),
        (["same.onnx", "--lfw", "gone"], "gone"),
        (["same.onnx", "--precision", "int8"], "--precision: int8, but same.onnx is fp32"),
    ],
)
def test_wrong_use_exits_with_2_and_one_line(
    arguments: list[str], told: str, diagnose: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*diagnose, *arguments]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert told in said.err
    assert len(said.err.splitlines()) == 1
