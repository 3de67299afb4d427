"""What is no batch of an engine's faces is refused by name, by every backend alike."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from facenet_validate.base.errors import EngineError
from facenet_validate.engines.artefacts import Artefact
from facenet_validate.engines.backend import Cpu
from facenet_validate.engines.batches import wrong_inputs
from facenet_validate.engines.inputs import check_batch
from facenet_validate.engines.onnxruntime.cuda_engine import OnnxRuntimeCudaEngine
from facenet_validate.engines.onnxruntime.engine import OnnxRuntimeEngine
from facenet_validate.engines.protocol import Engine, EngineInfo, TensorInfo
from tests.models.small_facenet import SIZE, small_facenet

EXPECTED = TensorInfo("input", "float32", ("N", 3, 160, 160))
INFO = EngineInfo("fp32", "b", "b 1", "the CPU", "", (), "e" * 64, "small.onnx", False)


def _onnxruntime(path: Path) -> Engine:
    return OnnxRuntimeEngine(
        path, digest="", precision="fp32", artefact="small.onnx", device="here", threads=1
    )


def _cuda(path: Path) -> Engine:
    return OnnxRuntimeCudaEngine(
        path, info=INFO, provider="CPUExecutionProvider", device_type="cpu"
    )


def _openvino(path: Path) -> Engine:
    from facenet_validate.engines.openvino.engine import OpenVinoEngine

    artefact = Artefact(path, "d" * 64, path, "d" * 64, "fp32", "a recipe", "built")
    return OpenVinoEngine(artefact, Cpu("the CPU", "its details", 1))


BACKENDS = [
    pytest.param(_onnxruntime, id="onnxruntime"),
    pytest.param(_cuda, id="onnxruntime-cuda"),
    pytest.param(
        _openvino,
        id="openvino",
        marks=pytest.mark.skipif(find_spec("openvino") is None, reason="OpenVINO is not installed"),
    ),
]


@pytest.mark.parametrize("load", BACKENDS)
def test_no_wrong_input_is_taken(load: Callable[[Path], Engine], tmp_path: Path) -> None:
    """TensorRT's engines are held by whole runs on a fake GPU."""
    onnx.save(small_facenet(), tmp_path / "small.onnx")
    faces = np.random.default_rng(3).uniform(-1, 1, (2, 3, SIZE, SIZE)).astype(np.float32)
    with load(tmp_path / "small.onnx") as engine:
        before = engine.run(faces)
        assert wrong_inputs(engine, faces).value == 0
        np.testing.assert_array_equal(engine.run(faces), before)


@pytest.mark.parametrize(
    ("shape", "dtype", "said"),
    [
        (
            (2, 3, 160, 160), np.uint8,
            "a batch is uint8 (2, 3, 160, 160); expected float32 (N, 3, 160, 160). Standardize the "
            "faces: (x - 127.5) / 128, as float32.",
        ),
        (
            (2, 160, 160, 3), np.uint8,
            "a batch is uint8 (2, 160, 160, 3); expected float32 (N, 3, 160, 160). Move the "
            "colours first: batch.transpose(0, 3, 1, 2). Standardize the faces: (x - 127.5) / "
            "128, as float32.",
        ),
        (
            (2, 3, 160, 160), np.float16,
            "a batch is float16 (2, 3, 160, 160); expected float32 (N, 3, 160, 160). Convert it: "
            "batch.astype(np.float32).",
        ),
        (
            (2, 160, 160, 3), np.float32,
            "a batch is float32 (2, 160, 160, 3); expected float32 (N, 3, 160, 160). Move the "
            "colours first: batch.transpose(0, 3, 1, 2).",
        ),
        (
            (3, 160, 160), np.float32,
            "a batch is float32 (3, 160, 160); expected float32 (N, 3, 160, 160). Make it a batch "
            "of one: face[np.newaxis].",
        ),
        (
            (2, 3, 112, 112), np.float32,
            "a batch is float32 (2, 3, 112, 112); expected float32 (N, 3, 160, 160).",
        ),
        ((2,), np.float32, "a batch is float32 (2); expected float32 (N, 3, 160, 160)."),
    ],
)  # fmt: skip
def test_a_refusal_says_what_was_found_and_what_to_do(
    shape: tuple[int, ...], dtype: Any, said: str
) -> None:
    with pytest.raises(EngineError) as error:
        check_batch(np.zeros(shape, dtype), EXPECTED, "new.onnx")
    assert str(error.value) == f"engine new.onnx: {said}"


def test_a_list_is_no_batch() -> None:
    batch: Any = [[0.0]]
    with pytest.raises(EngineError, match=r"a batch is a list; expected float32 .* NumPy array"):
        check_batch(batch, EXPECTED, "new.onnx")


@pytest.mark.parametrize("count", [0, 1, 9])
def test_a_batch_of_any_size_is_one(count: int) -> None:
    check_batch(np.zeros((count, 3, 160, 160), np.float32), EXPECTED, "new.onnx")
