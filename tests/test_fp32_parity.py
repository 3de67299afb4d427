"""FP32's own limits of parity: correct engines hold them, a slightly wrong one does not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from facenet_validate.gates.limits import read_gates
from facenet_validate.metrics.parity import compare_embeddings

SHIPPED = Path(__file__).parents[1] / "baselines" / "gates.toml"
Images = NDArray[np.float32]
LEVELS = ort.GraphOptimizationLevel


def _embedded(
    model: onnx.ModelProto,
    images: Images,
    *,
    level: object = LEVELS.ORT_ENABLE_ALL,
    threads: int = 1,
) -> Images:
    options = ort.SessionOptions()
    options.graph_optimization_level = level
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"input": images})[0])


def _noisy(model: onnx.ModelProto, relative: float) -> onnx.ModelProto:
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    weights = next(w for w in copied.graph.initializer if w.name == "bottleneck/weight")
    values = numpy_helper.to_array(weights)
    noise = 1 + relative * np.random.default_rng(0).standard_normal(values.shape)
    changed = (values * noise).astype(np.float32)
    weights.CopyFrom(numpy_helper.from_array(changed, weights.name))
    return copied


def _held(reference: Images, engine: Images, target: str) -> dict[str, bool]:
    limits = read_gates(SHIPPED).limits("lfw", "fp32", target)
    parity = compare_embeddings(reference, engine)
    return {
        name: getattr(parity, name) >= limits[f"parity.{name}"]
        for name in ("cosine_min", "cosine_p1", "cosine_mean")
    }


@pytest.fixture(scope="module")
def reference(prepared_onnx: onnx.ModelProto, drawn_batch: Images) -> Images:
    """The drawn faces' embeddings by the reference."""
    return _embedded(prepared_onnx, drawn_batch)


@pytest.fixture(scope="module")
def noisy(
    request: pytest.FixtureRequest, prepared_onnx: onnx.ModelProto, drawn_batch: Images
) -> Images:
    """The same by an engine with noise on its bottleneck, of the parameter's relative size."""
    return _embedded(_noisy(prepared_onnx, request.param), drawn_batch)


@pytest.mark.parametrize("target", ["cpu", "cpu-vnni"])
@pytest.mark.parametrize("noisy", [1e-2, 1e-3], indirect=True)
def test_noise_on_the_bottleneck_fails(reference: Images, noisy: Images, target: str) -> None:
    assert not any(_held(reference, noisy, target).values())


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    "level", [LEVELS.ORT_DISABLE_ALL, LEVELS.ORT_ENABLE_BASIC, LEVELS.ORT_ENABLE_EXTENDED]
)
def test_another_optimisation_or_number_of_threads_passes(
    prepared_onnx: onnx.ModelProto,
    drawn_batch: Images,
    reference: Images,
    level: object,
    threads: int,
) -> None:
    engine = _embedded(prepared_onnx, drawn_batch, level=level, threads=threads)
    assert all(_held(reference, engine, "cpu").values())


def test_a_value_near_one_is_told_by_its_distance() -> None:
    from facenet_validate.gates.verdicts import format_number

    assert format_number(1 - 2.4e-12) == "1-2.4e-12"
    assert format_number(0.9999999999) == "1-1e-10"
    assert (format_number(1.0), format_number(0.99999)) == ("1", "0.99999")
