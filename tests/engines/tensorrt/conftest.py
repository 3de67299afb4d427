"""TensorRT for RTX where it is installed, and small graphs for it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import pytest

from facenet_validate.base.errors import EngineError
from facenet_validate.engines.tensorrt.library import Library, find_library
from facenet_validate.models.quantization.int8 import calibrate, to_int8
from facenet_validate.models.quantization.precision import to_fp16
from facenet_validate.models.quantization.recipes import int8_recipe
from tests.models.small_facenet import SIZE, small_facenet


@pytest.fixture(scope="session")
def rtx() -> Library:
    """TensorRT for RTX, which parses and builds without a GPU."""
    try:
        return find_library("tensorrt-rtx")
    except EngineError as error:
        pytest.skip(f"needs TensorRT for RTX: {error}")


@pytest.fixture(scope="session")
def graphs() -> Mapping[str, onnx.ModelProto]:
    """A small FaceNet in each precision."""
    model = small_facenet()
    images = np.random.default_rng(0).uniform(-1, 1, size=(8, 3, SIZE, SIZE)).astype(np.float32)
    quantized = to_int8(calibrate(model, images, equalized=True), int8_recipe("tensorrt"))
    return {"fp32": model, "fp16": to_fp16(model), "int8": quantized}
