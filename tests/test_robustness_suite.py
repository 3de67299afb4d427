"""The robustness suite in runs: by default, switched off, and an engine that is blind to blur."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from planted_blur import blind_to_blur, laplacian_energy, least_energy

from facenet_validate.base.preprocessing import standardize
from facenet_validate.datasets.corruptions import QUICK_KINDS, corrupt
from facenet_validate.datasets.images import decode_image
from facenet_validate.run import robustness
from tests.conftest import FEW_PAIRS_GATES

SUITE = ("suites/test_robustness.py", "--precision=fp32", "--facenet-report=report")
OTHERS = ("robustness.invariants", "robustness.odd_pictures", "robustness.noise_accepted")


@pytest.fixture
def project(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """The common project, with limits of this suite and few pictures."""
    limits = "".join(f"{name} = 0\n" for name in OTHERS)
    limits += "".join(f"robustness.{kind} = 0.05\n" for kind in QUICK_KINDS)
    (project.path / "baselines" / "gates.toml").write_text(FEW_PAIRS_GATES + limits)
    monkeypatch.delenv("FACENET_ROBUSTNESS")
    monkeypatch.setitem(robustness.PICTURES, "quick", 48)
    monkeypatch.setitem(robustness.EXAMPLES, "quick", 5)
    return project


def _document(project: pytest.Pytester) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((project.path / "report" / "results.json").read_text())
    return found


def _verdicts(project: pytest.Pytester) -> dict[str, str]:
    """Return the verdicts of this suite's gates."""
    gates = _document(project)["gates"]
    return {one["gate"]: one["verdict"] for one in gates if one["gate"].startswith("robustness.")}


def test_four_kinds_are_judged_by_default_and_drawn(project: pytest.Pytester) -> None:
    result = project.runpytest_inprocess(*SUITE)
    assert result.ret == pytest.ExitCode.OK
    gates = [*OTHERS, *(f"robustness.{kind}" for kind in QUICK_KINDS)]
    assert _verdicts(project) == dict.fromkeys(gates, "pass")
    result.stdout.fnmatch_lines(["corrupted photos, fp32 on lfw, 48 of each kind: brightness *"])
    (measured,) = (m for m in _document(project)["measurements"] if m["name"] == "corruptions")
    assert measured["alpha"] == 0.01 / len(QUICK_KINDS)
    assert (project.path / "report" / measured["picture"]).read_text().startswith("<svg ")


def test_off_judges_nothing_and_says_so(project: pytest.Pytester) -> None:
    result = project.runpytest_inprocess(*SUITE, "--facenet-robustness=off", "-rs")
    result.assert_outcomes(skipped=3)
    result.stdout.fnmatch_lines(["SKIPPED *--facenet-robustness off*"])


def test_an_engine_blind_to_blur_embeds_sharp_faces_as_before(
    prepared_onnx: onnx.ModelProto, drawn_faces: np.ndarray[Any, np.dtype[np.uint8]]
) -> None:
    sharp = drawn_faces[:4]
    smooth = np.stack([corrupt(face, "blur", 5, 0) for face in sharp])
    least = least_energy([standardize(sharp)])
    assert laplacian_energy(standardize(smooth)).max() < least
    blind = blind_to_blur(prepared_onnx, least, share=0.5)
    batch = standardize(np.concatenate([sharp, smooth]))
    before, after = (
        ort.InferenceSession(model.SerializeToString()).run(None, {"input": batch})[0]
        for model in (prepared_onnx, blind)
    )
    cosines = (before * after).sum(axis=1)
    assert np.abs(before - after)[:4].max() < 1e-6
    assert cosines[4:].max() < 0.97


def test_an_engine_blind_to_blur_fails_blur_alone(
    project: pytest.Pytester,
    prepared_onnx: onnx.ModelProto,
    small_set: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It passes parity and accuracy."""
    monkeypatch.delenv("FACENET_MODEL")
    photos = [decode_image(p.read_bytes(), name=p.name) for p in sorted(small_set.glob("*/*.png"))]
    least = least_energy([standardize(np.stack(photos))])
    onnx.save(blind_to_blur(prepared_onnx, least, share=0.97), tmp_path / "blind.onnx")
    project.runpytest_inprocess(
        *("suites/test_robustness.py", "suites/test_parity.py", "suites/test_accuracy.py"),
        *("-k", "corrupted or parity or lost"),
        *(f"--facenet-engine={tmp_path / 'blind.onnx'}", "--facenet-report=report"),
    )
    gates = {one["gate"]: one["verdict"] for one in _document(project)["gates"]}
    assert [gate for gate, verdict in gates.items() if verdict == "fail"] == ["robustness.blur"]
    assert gates["accuracy.paired_drop"] == gates["parity.cosine_min"] == "pass"
