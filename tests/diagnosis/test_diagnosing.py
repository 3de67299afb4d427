"""A diagnosis of the small network's engines: what is planted is named, and nothing else is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from planted_causes import Plant, planted_inputs, planted_outputs

from facenet_validate.diagnosis.case import Case
from facenet_validate.diagnosis.diagnosing import diagnose
from tests.diagnosis.conftest import opened, with_weights


@pytest.mark.parametrize(
    "plant",
    [*planted_outputs(), *planted_inputs()],
    ids=lambda plant: f"{plant.cause}, {plant.strength}",
)
def test_a_planted_fault_is_named(case: Case, plant: Plant) -> None:
    engine = plant.make(case.reference, np.random.default_rng(1))
    diagnosis = diagnose(replace(case, engine=engine))
    for f in diagnosis.tried[:6]:
        print(
            "FF",
            f.cause.name,
            f"{f.removed:.4f} {f.cosine_before:.5f}->{f.cosine_after:.5f}",
            f.named,
            f.detail,
        )
    print(diagnosis.not_tried)
    assert diagnosis.cause is not None
    assert plant.cause in diagnosis.cause.cause.name


def test_a_sound_engine_has_no_cause(case: Case) -> None:
    assert diagnose(case, full=True).cause is None


@pytest.mark.parametrize("size", [0.01, 0.03, 0.1, 0.3])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_noise_in_the_weights_has_no_cause(
    case: Case, spread_onnx: onnx.ModelProto, tmp_path: Path, size: float, seed
) -> None:
    random = np.random.default_rng(seed)
    noisy = with_weights(
        spread_onnx,
        lambda _, values: values + size * values.std() * random.standard_normal(values.shape),
    )
    onnx.save(noisy, tmp_path / "noisy.onnx")
    d = diagnose(replace(case, engine=opened(tmp_path / "noisy.onnx")), full=True)
    for f in d.tried[:6]:
        print(
            "FF",
            f.cause.name,
            f"{f.removed:.4f} {f.cosine_before:.5f}->{f.cosine_after:.5f}",
            f.named,
            f.detail,
        )
    assert d.cause is None


@pytest.mark.parametrize("layer", ["stem/a", "stem/b", "block35/up", "block17/1b", "bottleneck"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_random(case: Case, spread_onnx: onnx.ModelProto, tmp_path: Path, layer, seed) -> None:
    random = np.random.default_rng(seed)
    noisy = with_weights(
        spread_onnx,
        lambda name, values: (
            values.std() * random.standard_normal(values.shape)
            if name == f"{layer}/weight"
            else values
        ),
    )
    onnx.save(noisy, tmp_path / "noisy.onnx")
    d = diagnose(replace(case, engine=opened(tmp_path / "noisy.onnx")), full=True)
    for f in d.tried[:6]:
        print(
            "FF",
            f.cause.name,
            f"{f.removed:.4f} {f.cosine_before:.5f}->{f.cosine_after:.5f}",
            f.named,
            f.detail,
        )
    assert d.cause is None
