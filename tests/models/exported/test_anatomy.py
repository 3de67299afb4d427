from __future__ import annotations

import onnx
import pytest

from facenet_validate.base.errors import ModelError
from facenet_validate.models.exported.anatomy import Anatomy
from facenet_validate.models.exported.canonical import canonical
from tests.models.exported import exporter_styles as styles
from tests.models.small_facenet import small_facenet


@pytest.fixture(scope="module")
def small() -> onnx.ModelProto:
    return small_facenet()


def _anatomy(model: onnx.ModelProto) -> Anatomy:
    return canonical(model, source="given.onnx")[1]


def test_everything_is_said_of_a_model(small: onnx.ModelProto) -> None:
    lines = dict(_anatomy(small).lines())
    parameters = sum(len(t.raw_data) // 4 for t in small.graph.initializer if "norm" not in t.name)
    assert lines["input"] == "input: float32 [N, 3, 32, 32], the only input"
    assert lines["layout"] == "planes (NCHW): 3 channels at axis 1"
    assert lines["batch"] == "dynamic"
    assert lines["image size"] == "32×32"
    assert lines["embedding"] == "embeddings: 16 values, the only output"
    assert lines["embedding is"] == "the bottleneck"
    assert lines["normalisation"].startswith("L2, spelled Mul, ReduceSum, Max, Sqrt, Reciprocal")
    assert lines["batch norms"] == "folded already"
    assert abs(int(lines["parameters"].replace(",", "")) - parameters) < 5
    assert lines["multiply-adds"].endswith("an image")


@pytest.mark.parametrize(
    ("style", "subject", "says"),
    [
        (styles.nhwc_input, "layout", "interleaved pixels (NHWC)"),
        (styles.fixed_batch(64), "batch", "fixed at 64; made dynamic"),
        (styles.without_norm, "normalisation", "none found; the L2 norm is added"),
        (styles.ending_at_the_pool, "embedding is", "the pooled features: no bottleneck"),
        (styles.extra_outputs, "embedding", "the only output with one row a face"),
        (styles.features_and_norm, "embedding", "the normalised one of features and their norm"),
        (styles.last_batch_norm, "batch norms", "1 as nodes of their own; folded"),
        (
            styles.norm_spelled("ReduceSumSquare, Sqrt, Div"),
            "normalisation",
            "L2, spelled ReduceSumSquare, Sqrt, Div",
        ),
    ],
)
def test_what_differs_is_said(
    style: styles.Style, subject: str, says: str, small: onnx.ModelProto
) -> None:
    assert says in dict(_anatomy(style(small)).lines())[subject]


def test_an_open_image_size_is_that_of_facenet(small: onnx.ModelProto) -> None:
    model = styles.global_pool(small)
    for axis, name in ((2, "height"), (3, "width")):
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = name
    anatomy = _anatomy(model)
    assert anatomy.image.size == 160
    assert "its size is open, 160 is FaceNet's" in anatomy.image.why


def test_a_batch_that_only_a_reshape_fixes_is_found(small: onnx.ModelProto) -> None:
    model = styles.fixed_batch(64)(small)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "N"
    anatomy = _anatomy(model)
    assert anatomy.image.batch == 64
    assert "a reshape inside fixes the batch" in anatomy.image.why


def test_a_scaled_norm_is_replaced(small: onnx.ModelProto) -> None:
    model = styles.norm_spelled("ReduceSumSquare, Sqrt, Div")(small)
    for node in model.graph.node:
        if node.op_type == "ReduceSumSquare":
            node.op_type = "ReduceL1"
    said = dict(_anatomy(model).lines())["normalisation"]
    assert said.startswith("to another length than 1, spelled ReduceL1, Sqrt, Div")


def test_a_division_by_something_else_is_no_norm(small: onnx.ModelProto) -> None:
    model = styles.norm_spelled("ReduceSumSquare, Sqrt, Div")(small)
    for node in model.graph.node:
        if node.op_type == "Sqrt":
            node.op_type = "Log"  # negative where features are small
    with pytest.raises(ModelError, match=r"node 'n/y' \(Div\) is not a map of 16 features"):
        _anatomy(model)
