from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from facenet_validate.base.errors import ModelError
from facenet_validate.metrics.parity import row_cosines
from facenet_validate.models.network import int8_share
from facenet_validate.models.passes import embedding_tail, name_nodes
from facenet_validate.models.quantization.precision import infer_precision, to_fp16
from tests.models.small_engines import stored_in


def _run(model: onnx.ModelProto, batch: NDArray[np.float32]) -> NDArray[np.float32]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (values,) = session.run(None, {model.graph.input[0].name: batch})
    return np.asarray(values)


def test_fp16_is_close_and_its_tail_is_float32(
    prepared_onnx: onnx.ModelProto, drawn_batch: NDArray[np.float32]
) -> None:
    model = to_fp16(prepared_onnx)
    cosines = row_cosines(_run(prepared_onnx, drawn_batch), _run(model, drawn_batch))
    assert cosines.min() >= 0.999
    norms = np.linalg.norm(_run(model, drawn_batch).astype(np.float64), axis=1)
    assert np.abs(norms - 1.0).max() <= 1e-6
    assert "Cast" not in [node.op_type for node in embedding_tail(model)]
    onnx.checker.check_model(model, full_check=True)
    types = {w.name: w.data_type for w in model.graph.initializer}
    for node in embedding_tail(prepared_onnx):
        for name in node.input:
            assert types.get(name, TensorProto.FLOAT) in (TensorProto.FLOAT, TensorProto.INT64)
    convolution = next(node for node in model.graph.node if node.op_type == "Conv")
    assert types[convolution.input[1]] == TensorProto.FLOAT16


def test_precision_is_inferred_from_the_graph(prepared_onnx: onnx.ModelProto) -> None:
    assert infer_precision(prepared_onnx) == "fp32"
    assert infer_precision(to_fp16(prepared_onnx)) == "fp16"


def test_unnamed_nodes_are_named_and_converted(prepared_onnx: onnx.ModelProto) -> None:
    unnamed = onnx.ModelProto()
    unnamed.CopyFrom(prepared_onnx)
    for node in unnamed.graph.node:
        node.name = ""
    with pytest.raises(ModelError, match=r"left the graph in fp32|a cycle or a gap|gives too"):
        to_fp16(unnamed)
    name_nodes(unnamed)
    assert infer_precision(to_fp16(unnamed)) == "fp16"


def test_names_that_are_given_are_no_others() -> None:
    """A node's new name may be what another is called already."""
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], "Relu_1"),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Relu", ["b"], ["c"], "Relu_1"),
    ]
    model = helper.make_model(helper.make_graph(nodes, "g", [], []))
    name_nodes(model)
    assert len({node.name for node in model.graph.node}) == 3


@pytest.mark.parametrize(
    ("operator", "precision"),
    [
        ("QLinearConv", "int8"),
        ("ConvInteger", "int8"),
        ("DynamicQuantizeLinear", "int8"),
        ("QGemm", "int8"),
        ("MatMulIntegerToFloat", "int8"),
        ("MatMulNBits", "int8"),
    ],
)
def test_integer_operators_are_int8(operator: str, precision: str) -> None:
    graph = helper.make_graph([helper.make_node(operator, ["x"], ["y"])], "g", [], [])
    assert infer_precision(helper.make_model(graph)) == precision


def test_half_precision_constants_are_fp16() -> None:
    value = numpy_helper.from_array(np.zeros(2, np.float16), "v")
    node = helper.make_node("Constant", [], ["c"], value=value)
    assert infer_precision(helper.make_model(helper.make_graph([node], "g", [], []))) == "fp16"


@pytest.mark.parametrize("kind", [TensorProto.UINT16, TensorProto.FLOAT8E4M3FN, TensorProto.INT4])
def test_what_is_quantised_to_other_types_goes_by_int8_s_limits(kind: int) -> None:
    """Where ``build.int8_share`` fails it: as FP32 it would have no such gate."""
    model = stored_in(kind, kind)
    assert infer_precision(model) == "int8"
    assert int8_share(model) == 0.0
