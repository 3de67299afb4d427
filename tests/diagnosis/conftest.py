"""A small network whose embeddings are spread out, and cases of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from facenet_validate.base.preprocessing import standardize
from facenet_validate.cache import Cache
from facenet_validate.datasets.synthetic import proof_faces, render_photo
from facenet_validate.diagnosis.case import Case
from facenet_validate.engines.onnxruntime.engine import OnnxRuntimeEngine
from facenet_validate.engines.protocol import Engine
from facenet_validate.models.onnx_session import cpu_session
from facenet_validate.models.prepared import PreparedModel, prepare, source_model
from tests.models.small_engines import copied
from tests.models.small_facenet import SIZE, small_facenet

FACES = 24

Change = Callable[[str, NDArray[np.float32]], NDArray[np.float32]]


def with_weights(model: onnx.ModelProto, change: Change) -> onnx.ModelProto:
    """Return a model whose constants were changed by name."""
    model = copied(model)
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype == np.float32:
            changed = change(tensor.name, values).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(changed, tensor.name))
    return model


@pytest.fixture(scope="session")
def faces() -> NDArray[np.uint8]:
    """Drawn faces (24, 160, 160, 3) of as many people."""
    return np.stack([render_photo(person, 0) for person in range(FACES)])


@pytest.fixture(scope="session")
def spread_onnx(faces: NDArray[np.uint8]) -> onnx.ModelProto:
    """The small network with a bias that puts the mean of the faces at zero.

    With random weights all faces lie close together, and every fault moves them alike.
    """
    model = small_facenet()
    open_ = copied(model)
    open_.graph.output.append(helper.make_tensor_value_info("bottleneck", 1, ["N", None]))
    session = cpu_session(open_)
    (rows,) = session.run(["bottleneck"], {"input": standardize(faces, SIZE)})
    mean = rows.mean(axis=0)
    return with_weights(
        model, lambda name, values: values - mean if name == "bottleneck/bias" else values
    )


@pytest.fixture(scope="session")
def spread_model(
    spread_onnx: onnx.ModelProto, tmp_path_factory: pytest.TempPathFactory
) -> PreparedModel:
    folder = tmp_path_factory.mktemp("spread")
    onnx.save(spread_onnx, folder / "spread.onnx")
    return prepare(source_model(folder / "spread.onnx"), Cache(folder), faces=proof_faces())


def opened(path: Path) -> Engine:
    """Return an engine of a graph."""
    return OnnxRuntimeEngine(
        path, digest="", precision="fp32", artefact=path.name, device="", threads=1
    )


@pytest.fixture(scope="session")
def reference(spread_model: PreparedModel) -> Engine:
    return opened(spread_model.entry.path)


@pytest.fixture
def case(reference: Engine, spread_model: PreparedModel, faces: NDArray[np.uint8]) -> Case:
    """The reference against itself."""
    names = tuple(f"face {row}" for row in range(FACES))
    return Case(reference, reference, spread_model, faces, names)
