from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray

from facenet_validate.base.errors import ModelError
from facenet_validate.models.frozen.constants import _ELEMENTWISE, _SIZES
from facenet_validate.models.frozen.conversion import convert_frozen_graph, frozen_graph_runner
from facenet_validate.models.frozen.graphdef import BOOL, attributes, graph_message, parse_graph
from facenet_validate.models.frozen.inference import inference_graph
from facenet_validate.models.pretrained import PRETRAINED, locate
from tests.models.frozen.published_graph import (
    FLOAT,
    INT,
    Sizes,
    SmallNetwork,
    Type,
    Writer,
    publish,
)

Edit = Callable[[SmallNetwork], Any]


def _run(model: onnx.ModelProto, batch: NDArray[np.float32]) -> NDArray[np.float32]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"input": batch})[0])


def _faces(height: int = 23, width: int = 19, count: int = 3) -> NDArray[np.float32]:
    return np.random.default_rng(5).normal(size=(count, 3, height, width)).astype(np.float32)


def _convert(data: bytes, output: str | None = None) -> onnx.ModelProto:
    return convert_frozen_graph(data, source="given.pb", output=output)


def _error(data: bytes, output: str | None = None) -> str:
    with pytest.raises(ModelError) as error:
        _convert(data, output)
    assert str(error.value).startswith("given.pb")
    return str(error.value)


def _replace(writer: Writer, name: str, op: str, *inputs: str, **attrs: Any) -> None:
    """Give a node another operator; what reads it reads the new one."""
    (old,) = [node for node in writer.graph.node if node.name == name]
    writer.graph.node.remove(old)
    writer.node(name, op, *inputs, **attrs)


def _without_norm(network: SmallNetwork) -> bytes:
    """Leave out the norm, for networks that go on from the bottleneck in another way."""
    graph = graph_message()
    graph.node.extend(n for n in network.graph.node if not n.name.startswith("embeddings"))
    return bytes(graph.SerializeToString())


# --- as published ---------------------------------------------------------------------------------


@pytest.mark.parametrize("shuffle", [None, 0, 1])
@pytest.mark.parametrize("sliced", [False, True])
@pytest.mark.parametrize("fused", [False, True])
def test_published_graph_is_the_function_of_the_stripped_one(
    fused: bool, sliced: bool, shuffle: int | None
) -> None:
    stripped = SmallNetwork()
    published = publish(stripped.graph, fused=fused, sliced=sliced).serialized(shuffle=shuffle)
    faces = _faces()
    expected = _run(_convert(stripped.serialized()), faces)
    np.testing.assert_allclose(_run(_convert(published), faces), expected, atol=1e-5)


@pytest.mark.parametrize("fused", [False, True])
def test_conversion_agrees_with_opencv_on_a_published_graph(fused: bool) -> None:
    data = publish(SmallNetwork().graph, fused=fused).serialized(shuffle=2)
    faces = _faces()
    theirs = frozen_graph_runner(data, source="given.pb")[0](faces)
    np.testing.assert_allclose(_run(_convert(data), faces), theirs, atol=1e-5)


@pytest.mark.parametrize("fused", [False, True])
def test_pretrained_network_as_published_is_the_prepared_model(
    fused: bool, prepared_onnx: onnx.ModelProto, drawn_batch: NDArray[np.float32]
) -> None:
    stripped = parse_graph(locate(PRETRAINED).read_bytes(), source="graph_final.pb")
    data = publish(stripped, fused=fused, sliced=not fused).serialized(shuffle=3)
    faces = drawn_batch[:4]
    ours = _run(_convert(data), faces)
    assert np.abs(ours - _run(prepared_onnx, faces)).max() <= 1e-5
    theirs = frozen_graph_runner(data, source="given.pb")[0](faces)
    assert np.abs(ours - theirs).max() <= 1e-5


def test_only_inference_remains() -> None:
    graph = publish(SmallNetwork().graph).graph
    cut = inference_graph(graph, source="given.pb")
    operators = {node.op for node in cut.graph.node}
    assert operators <= {
        *("Placeholder", "Const", "Conv2D", "BiasAdd", "Relu", "FusedBatchNorm", "MaxPool"),
        *("AvgPool", "ConcatV2", "Mul", "Add", "Reshape", "MatMul"),
        *("Square", "Sum", "Maximum", "Rsqrt"),
    }
    seen: set[str] = set()
    for node in cut.graph.node:
        assert set(node.input) <= seen
        seen.add(node.name)
    (image,) = [node for node in cut.graph.node if node.op == "Placeholder"]
    assert cut.shapes[image.name] == (None, 23, 19, 3)
    assert (cut.output, cut.embedding_size) == ("embeddings", 8)


def test_moments_and_dropout_are_not_evaluated() -> None:
    names = {node.name for node in publish(SmallNetwork().graph, fused=False).graph.node}
    assert any("moments/SquaredDifference" in name for name in names)
    assert any("RandomUniform" in name for name in names)
    cut = inference_graph(publish(SmallNetwork().graph, fused=False).graph, source="given.pb")
    left = {node.name for node in cut.graph.node}
    assert not any(part in name for name in left for part in ("moments", "dropout", "moving"))


@pytest.mark.parametrize(("height", "width", "features"), [(96, 96, 128), (182, 160, 512)])
def test_other_sizes_pass_through(height: int, width: int, features: int) -> None:
    network = SmallNetwork(height=height, width=width, features=features)
    model = _convert(publish(network.graph).serialized())
    shape = model.graph.input[0].type.tensor_type.shape.dim
    assert [shape[2].dim_value, shape[3].dim_value] == [height, width]
    assert _run(model, _faces(height, width)).shape == (3, features)


# --- inputs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "says"),
    [
        (Sizes(None), "shape [?]"),
        (Sizes((-1, -1, -1, 3)), "shape [N, ?, ?, 3]"),
        (Sizes((1, 160)), "shape [N, 160]"),
        (Sizes((1, 23, 19, 4)), "shape [N, 23, 19, 4]"),
        (Sizes((1, 100_000, 100_000, 3)), "at most 1024 pixels"),
    ],
)
def test_image_of_unusable_size_is_named(shape: Sizes, says: str) -> None:
    network = SmallNetwork()
    _replace(network, "image", "Placeholder", dtype=Type(FLOAT), shape=shape)
    error = _error(network.serialized())
    assert "'image'" in error
    assert says in error


def test_queue_without_shapes_is_named() -> None:
    writer = publish(SmallNetwork().graph)
    types = [Type(FLOAT), Type(INT)]
    _replace(writer, "batch_join/fifo_queue", "FIFOQueueV2", component_types=types)
    assert "the input 'batch_join' of shape [?]" in _error(writer.serialized())


def test_channels_of_an_open_placeholder_come_from_the_kernel() -> None:
    network = SmallNetwork()
    shape = Sizes((-1, 23, 19, -1))
    _replace(network, "image", "PlaceholderWithDefault", "elsewhere", shape=shape)
    expected = _run(_convert(SmallNetwork().serialized()), _faces())
    np.testing.assert_array_equal(_run(_convert(network.serialized()), _faces()), expected)


def test_preprocessing_inside_the_graph_is_refused() -> None:
    network = SmallNetwork()
    network.node("raw", "Placeholder", dtype=Type(FLOAT), shape=Sizes((1, 23, 19, 3)))
    network.const("middle", 127.5)
    _replace(network, "image", "Sub", "raw", "middle")
    error = _error(network.serialized())
    assert "node 'image' (Sub)" in error
    assert "(x - 127.5) / 128" in error


def test_two_images_in_one_network_are_named() -> None:
    network = SmallNetwork()
    network.node("second", "Placeholder", dtype=Type(FLOAT), shape=Sizes((1, 23, 19, 3)))
    other = network.relu("Net/B", network.convolution("Net/B", "second", (3, 3, 3, 6), 2))
    (pool,) = [node for node in network.graph.node if node.name == "Net/MaxPool_2a"]
    pool.input[0] = network.node("both", "Add", "Net/Conv2d_1a/Relu", other)
    assert "node 'both' (Add): reads two inputs, 'image' and 'second'" in _error(
        network.serialized()
    )


# --- conditionals ---------------------------------------------------------------------------------


def test_phase_with_a_default_and_switches_of_references_are_resolved() -> None:
    writer = publish(SmallNetwork().graph)
    writer.const("phase_train/input", True)
    _replace(
        writer, "phase_train", "PlaceholderWithDefault", "phase_train/input",
        dtype=Type(BOOL), shape=Sizes(()),
    )  # fmt: skip
    for node in writer.graph.node:
        if node.op == "Switch" and "AssignMovingAvg" in node.name:
            node.op = "RefSwitch"
    expected = _run(_convert(SmallNetwork().serialized()), _faces())
    found = _run(_convert(writer.serialized()), _faces())
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_negated_decision_takes_the_other_branch() -> None:
    network = SmallNetwork()
    network.node("phase", "Placeholder", dtype=Type(BOOL), shape=Sizes(()))
    network.node("inference", "LogicalNot", "phase")
    network.node("cond/Switch", "Switch", network.prelogits, "inference")
    network.node("cond/training", "LeakyRelu", "cond/Switch")
    network.node("cond/Merge", "Merge", "cond/training", "cond/Switch:1")
    embeddings = network.unit("unit", "cond/Merge")
    expected = _run(_convert(SmallNetwork().serialized()), _faces())
    found = _run(_convert(network.serialized(), embeddings), _faces())
    np.testing.assert_array_equal(found, expected)


def test_branch_is_dead_where_only_a_control_input_says_so() -> None:
    network = SmallNetwork()
    network.node("phase", "Placeholder", dtype=Type(BOOL), shape=Sizes(()))
    network.node("cond/Switch", "Switch", "phase", "phase")
    network.node("cond/switch_t", "Identity", "cond/Switch:1")
    network.node("cond/switch_f", "Identity", "cond/Switch")
    network.const("cond/Const", 3.0, "^cond/switch_t")
    network.const("cond/Const_1", 0.17, "^cond/switch_f")
    _replace(network, "Net/A/mul/x", "Merge", "cond/Const_1", "cond/Const")
    expected = _run(_convert(SmallNetwork().serialized()), _faces())
    np.testing.assert_array_equal(_run(_convert(network.serialized()), _faces()), expected)


def test_decision_that_is_not_known_is_named() -> None:
    network = SmallNetwork()
    network.node("switch", "Switch", network.prelogits, "image")
    network.node("merge", "Merge", "switch", "switch:1")
    unit = network.unit("unit", "merge")
    error = _error(network.serialized(), unit)
    assert "node 'switch' (Switch): the decision 'image' is not known at inference" in error


def test_operator_matters_in_the_network_only() -> None:
    writer = publish(SmallNetwork().graph)
    writer.node("summary", "HistogramSummary", "label_batch")
    writer.node("save", "SaveV2", "^embeddings")
    _convert(writer.serialized())
    (relu,) = [node for node in writer.graph.node if node.name == "Net/A/1/Relu"]
    relu.op = "LeakyRelu"
    assert "node 'Net/A/1/Relu' (LeakyRelu): operator not supported" in _error(writer.serialized())


def test_variable_that_was_not_frozen_is_named() -> None:
    network = SmallNetwork()
    _replace(network, "Net/A/1/weights", "VariableV2", dtype=Type(FLOAT))
    error = _error(network.serialized())
    assert "node 'Net/A/1/weights' (VariableV2)" in error
    assert "Freeze the graph first" in error


def test_batch_norm_in_training_is_named() -> None:
    network = SmallNetwork()
    for node in network.graph.node:
        if node.op == "FusedBatchNorm":
            attributes(node)["is_training"].b = True
    assert "in training mode" in _error(network.serialized())


def test_an_embedding_of_four_axes_may_have_the_name_of_the_output() -> None:
    graph = parse_graph(_without_norm(SmallNetwork()), source="given.pb")
    expected = _run(_convert(graph.SerializeToString(), "Net/AvgPool"), _faces())
    for node in graph.node:
        if node.name == "Net/AvgPool":
            node.name = "embeddings"
        for place, name in enumerate(node.input):
            if name == "Net/AvgPool":
                node.input[place] = "embeddings"
    found = _run(_convert(graph.SerializeToString(), "embeddings"), _faces())
    np.testing.assert_array_equal(found, expected)


# --- other forms of a layer -----------------------------------------------------------------------


def _mean_pool(keep: bool) -> Edit:
    def edit(network: SmallNetwork) -> None:
        axes = network.const("Net/axes", [1, 2])
        _replace(network, "Net/AvgPool", "Mean", "Net/A/Relu", axes, keep_dims=keep)
        if not keep:
            _replace(network, "Net/Flatten/Reshape", "Identity", "Net/AvgPool")

    return edit


def _squeeze(network: SmallNetwork) -> None:
    _replace(network, "Net/Flatten/Reshape", "Squeeze", "Net/AvgPool", squeeze_dims=[1, 2])


def _padded(network: SmallNetwork) -> None:
    """``SAME`` of a 1×3 kernel, written out."""
    network.const("Net/pads", [[0, 0], [0, 0], [1, 1], [0, 0]])
    padded = network.node("Net/Pad", "Pad", "Net/A/1/Relu", "Net/pads")
    _replace(
        network, "Net/A/2/Conv2D", "Conv2D", padded, "Net/A/2/weights",
        strides=[1, 1, 1, 1], padding=b"VALID",
    )  # fmt: skip


def _transposed(network: SmallNetwork) -> None:
    (node,) = [node for node in network.graph.node if node.name == "Net/Bottleneck/weights"]
    tensor = attributes(node)["value"].tensor
    weights = np.frombuffer(tensor.tensor_content, np.float32).reshape(6, 8)
    _replace(network, "Net/Bottleneck/weights", "Const", value=weights.T.copy())
    _replace(
        network, "Net/Bottleneck/MatMul", "MatMul", "Net/Flatten/Reshape",
        "Net/Bottleneck/weights", transpose_a=False, transpose_b=True,
    )  # fmt: skip


@pytest.mark.parametrize(
    "edit", [_mean_pool(keep=True), _mean_pool(keep=False), _squeeze, _padded, _transposed]
)
def test_other_forms_of_a_layer_are_the_same_function(edit: Edit) -> None:
    network, faces = SmallNetwork(), _faces()
    expected = _run(_convert(network.serialized()), faces)
    edit(network)
    found = _run(_convert(network.serialized()), faces)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    theirs = frozen_graph_runner(network.serialized(), source="given.pb")[0](faces)
    np.testing.assert_allclose(theirs, expected, atol=1e-5)


def test_wrappers_carry_their_value() -> None:
    network = SmallNetwork()
    network.node("nothing", "NoOp")
    net = "image"
    for op in ("Identity", "StopGradient", "CheckNumerics", "Snapshot", "PreventGradient"):
        net = network.node(f"wrapped/{op}", op, net, "^nothing")
    (conv,) = [node for node in network.graph.node if node.name == "Net/Conv2d_1a/Conv2D"]
    conv.input[0] = net
    expected = _run(_convert(SmallNetwork().serialized()), _faces())
    np.testing.assert_array_equal(_run(_convert(network.serialized()), _faces()), expected)


def test_identities_deeper_than_pythons_stack_are_followed() -> None:
    network = SmallNetwork()
    net = "image"
    for index in range(100_000):
        net = network.node(f"i{index}", "Identity", net)
    (conv,) = [node for node in network.graph.node if node.name == "Net/Conv2d_1a/Conv2D"]
    conv.input[0] = net
    assert inference_graph(network.graph, source="given.pb").output == "embeddings"


@pytest.mark.parametrize("target", [[2, 3], [4, 6], [-1, -1], [1, 7], [-1, 3], [1, 0]])
def test_reshape_across_the_batch_is_named(target: list[int]) -> None:
    network = SmallNetwork()
    _replace(network, "Net/Flatten/shape", "Const", value=np.array(target, np.int32))
    error = _error(network.serialized())
    assert f"(Reshape): of [N, 1, 1, 6] to {target}; expected one that keeps the batch" in error


def test_constant_image_keeps_height_and_width() -> None:
    network, faces = SmallNetwork(), _faces()
    kernel = network.const("kernel", np.eye(3, dtype=np.float32).reshape(1, 1, 3, 3))
    image = network.node(
        "pixels", "Conv2D", "image", kernel, strides=[1, 1, 1, 1], padding=b"VALID"
    )
    mask = network.weights("mask", 23, 19, 1)
    axes = network.const("axes", [1, 2])
    mean = network.node("mean", "Mean", network.node("product", "Mul", image, mask), axes)
    expected = (faces * network.value("mask").transpose(2, 0, 1)).mean((2, 3))
    found = _run(_convert(network.serialized(), mean), faces)
    np.testing.assert_allclose(found, expected, atol=1e-6)


CONV, POOL, NORM = "Net/A/2/Conv2D", "Net/MaxPool_2a", "Net/Bottleneck/BatchNorm/FusedBatchNorm"


@pytest.mark.parametrize(
    ("name", "attrs", "says"),
    [
        (CONV, {"data_format": b"NCHW"}, "data format b'NCHW'; expected NHWC"),
        (CONV, {"dilations": [1, 2, 2, 1]}, "dilations [1, 2, 2, 1]; expected 1"),
        (CONV, {"strides": [2, 1, 1, 1]}, "strides [2, 1, 1, 1]; expected [1, height, width, 1]"),
        (CONV, {"strides": [1, 0, 0, 1]}, "strides [1, 0, 0, 1]; expected [1, height, width, 1]"),
        (CONV, {"padding": b"EXPLICIT"}, "padding b'EXPLICIT'; expected SAME or VALID"),
        (POOL, {"ksize": [1, 3, 3, 2]}, "window [1, 3, 3, 2]; expected [1, height, width, 1]"),
        (POOL, {"ksize": [1, 50, 3, 1]}, "a window of 50 does not fit an input of 11 pixels"),
        (NORM, {"data_format": b"NCHW"}, "data format b'NCHW'; expected NHWC"),
        ("Net/A/2/weights", {"value": np.ones((1, 3, 4, 5), "f4")}, "a kernel for 4 channels"),
        ("Net/A/2/weights", {"value": np.ones((1, 3, 5, 5))}, "type float64; expected float32"),
        ("Net/A/2/biases", {"value": np.ones(4, "f4")}, "has not one value for each of 5 channels"),
        ("Net/A/concat/axis", {"value": np.array(1)}, "on axis [1]; expected 3"),
        ("Net/A/mul/x", {"value": np.ones((6, 1), "f4")}, "a constant of shape [6, 1] with"),
        ("Net/Bottleneck/weights", {"value": np.ones((5, 8), "f4")}, "weights for 5 features"),
        ("embeddings/Sum", {"keep_dims": False}, "dropping them; expected the sum"),
    ],
)
def test_layer_that_cannot_be_is_named(name: str, attrs: dict[str, Any], says: str) -> None:
    network = SmallNetwork()
    network.set(name, **attrs)
    error = _error(network.serialized())
    assert says in error
    assert error.startswith(f"given.pb: node '{name.rpartition('/')[0]}")


def test_bias_of_a_dense_layer_is_added() -> None:
    network = SmallNetwork()
    biased = network.node("biased", "BiasAdd", network.prelogits, network.weights("bias", 8))
    unit, faces = network.unit("unit", biased), _faces()
    data = network.serialized()
    rows = _run(_convert(data, network.prelogits), faces) + network.value("bias")
    expected = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    np.testing.assert_allclose(_run(_convert(data, unit), faces), expected, atol=1e-6)
    theirs = frozen_graph_runner(data, source="given.pb", output=unit)[0](faces)
    np.testing.assert_allclose(theirs, expected, atol=1e-5)


def test_vector_on_either_side_of_a_difference_keeps_its_side() -> None:
    network = SmallNetwork()
    vector = network.weights("vector", 8)
    left = network.node("left", "Sub", vector, network.prelogits)
    right = network.node("right", "Sub", network.prelogits, vector)
    data, faces = network.serialized(), _faces()
    rows = _run(_convert(data, network.prelogits), faces)
    value = network.value("vector")
    np.testing.assert_allclose(_run(_convert(data, left), faces), value - rows, atol=1e-6)
    np.testing.assert_allclose(_run(_convert(data, right), faces), rows - value, atol=1e-6)


# --- outputs --------------------------------------------------------------------------------------


def test_normalised_output_is_preferred_to_a_classifier_head() -> None:
    network = SmallNetwork()
    network.dense("Logits", network.prelogits, (8, 100))
    cut = inference_graph(publish(network.graph).graph, source="given.pb")
    assert (cut.output, cut.embedding_size) == ("embeddings", 8)


def test_output_option_cuts_the_graph() -> None:
    network = SmallNetwork()
    data, faces = publish(network.graph).serialized(), _faces()
    prelogits = _run(_convert(data, "Net/Bottleneck/BatchNorm/Reshape_1:0"), faces)
    unit = prelogits / np.linalg.norm(prelogits, axis=1, keepdims=True)
    np.testing.assert_allclose(_run(_convert(data), faces), unit, atol=1e-6)
    runner, _ = frozen_graph_runner(
        data, source="given.pb", output="Net/Bottleneck/BatchNorm/Reshape_1"
    )
    np.testing.assert_allclose(runner(faces), prelogits, atol=1e-5)


def test_output_of_one_pixel_becomes_a_row() -> None:
    name = "Net/Bottleneck/BatchNorm/FusedBatchNorm"
    data, faces = SmallNetwork().serialized(), _faces()
    rows = _run(_convert(data, name), faces)
    np.testing.assert_array_equal(rows, _run(_convert(data, f"{name[:-14]}Reshape_1"), faces))
    assert _run(_convert(data, "Net/AvgPool"), faces).shape == (3, 6)


def test_several_candidates_are_shown_with_the_option() -> None:
    network = SmallNetwork()
    network.unit("other", network.dense("Net/Other", "Net/Flatten/Reshape", (6, 5)))
    error = _error(network.serialized())
    assert "'embeddings' [N, 8], 'other' [N, 5]" in error
    assert "--output NAME" in error
    assert _run(_convert(network.serialized(), "other"), _faces()).shape == (3, 5)


def test_no_candidate_shows_what_there_is() -> None:
    network = SmallNetwork()
    cut = inference_graph(network.graph, source="given.pb", output="Net/AvgPool").graph
    kept = [node for node in cut.node if node.name != "Net/AvgPool"]
    del cut.node[:]
    cut.node.extend(kept)
    error = _error(cut.SerializeToString())
    assert "no output has one row a face" in error
    assert "'Net/A/Relu' [N, 5, 4, 6]" in error


def test_classifier_is_refused_and_its_embedding_named() -> None:
    network = SmallNetwork()
    network.dense("Logits", network.prelogits, (8, 100))
    data = inference_graph(network.graph, source="given.pb", output="Logits/MatMul").graph
    error = _error(data.SerializeToString())
    assert "'Logits/MatMul' [N, 100]" in error
    assert "as a classifier's scores do" in error
    assert "'Net/Bottleneck/BatchNorm/Reshape_1' [N, 8]" in error
    assert "--output NAME" in error


@pytest.mark.parametrize(
    ("output", "says"),
    [
        ("embedding", "'embedding' is not in the graph. Found 'embeddings' [N, 8]"),
        ("Net/A/Relu", "has shape [N, 5, 4, 6]"),
        ("label_batch", "reads no image"),
        ("Net/Flatten/Dropout/cond/dropout/mul", "is not computed at inference"),
        ("batch_join/fifo_queue", "(FIFOQueueV2): operator not supported"),
    ],
)
def test_output_that_is_no_embedding_is_refused(output: str, says: str) -> None:
    assert says in _error(publish(SmallNetwork().graph).serialized(), output)


# --- hostile files --------------------------------------------------------------------------------


def _cycle() -> bytes:
    writer = Writer()
    writer.node("a", "Relu", "b")
    writer.node("b", "Relu", "a")
    return writer.serialized()


def _loop() -> bytes:
    network = SmallNetwork()
    network.node("while/Enter", "Enter", network.prelogits)
    network.node("while/Merge", "Merge", "while/Enter", "while/NextIteration")
    network.node("while/NextIteration", "NextIteration", "while/Merge")
    network.unit("unit", network.node("while/Exit", "Exit", "while/Merge"))
    return _without_norm(network)


def _cycle_in_the_network() -> bytes:
    network = SmallNetwork()
    (add,) = [node for node in network.graph.node if node.name == "Net/A/add"]
    add.input[0] = "Net/A/Relu"
    return network.serialized()


def _enormous_constant() -> bytes:
    network = SmallNetwork()
    (old,) = [node for node in network.graph.node if node.name == "Net/Conv2d_1a/weights"]
    network.graph.node.remove(old)
    network.filled("Net/Conv2d_1a/weights", 1.0, (3, 3, 3, 2**38))
    return network.serialized()


def _repeated_value() -> bytes:
    """A constant of two values, of which TensorFlow repeats the last."""
    network = SmallNetwork()
    (old,) = [node for node in network.graph.node if node.name == "Net/Conv2d_1a/weights"]
    network.graph.node.remove(old)
    network.filled("Net/Conv2d_1a/weights", 1.0, (3, 3, 3, 2**38))
    attributes(network.graph.node[-1])["value"].tensor.float_val.append(2.0)
    return network.serialized()


def _many_large_constants() -> bytes:
    network = SmallNetwork()
    total = network.filled("c", 1.0, (1_000_000,))
    for index in range(1000):
        constant = network.filled(f"c{index}", 1.0, (1_000_000,))
        total = network.node(f"add{index}", "Add", total, constant)
    network.unit("unit", network.node("shifted", "Add", network.prelogits, total))
    return _without_norm(network)


def _doubling_sizes() -> bytes:
    network = SmallNetwork()
    sizes = network.const("sizes", [1, 2, 3])
    for index in range(100):
        axis = network.const(f"axis{index}", 0)
        sizes = network.node(f"twice{index}", "ConcatV2", sizes, sizes, axis)
    _replace(network, "Net/Flatten/shape", "Identity", sizes)
    return network.serialized()


def _outer_product() -> bytes:
    network = SmallNetwork()
    network.const("column", np.ones((100_000, 1), np.float32))
    network.const("row", np.ones((1, 100_000), np.float32))
    network.node("table", "Mul", "column", "row")
    network.node("sum", "Add", network.prelogits, "table")
    network.unit("unit", "sum")
    return _without_norm(network)


def _truncated() -> bytes:
    return SmallNetwork().serialized()[:2000]


def _listed(count: int, *, inside: bool) -> bytes:
    """Return so many empty nodes, or parts of one node, and a byte after them that begins none."""
    if not inside:
        return b"\x0a\x00" * count + b"\xff"
    size, length = 2 * count + 1, b""
    while size > 127:
        length, size = length + bytes([size & 127 | 128]), size >> 7
    return b"\x0a" + length + bytes([size]) + b"\x1a\x00" * count + b"\xff"


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (_truncated, "copied whole"),
        (lambda: b"\x0a\xff\xff\xff\xff\x0f" + b"\x00" * 100, "claims a field of 4,294,967,295"),
        (lambda: b"\x0a\x05\x0a\xff\xff\xff\x7f", "claims a field of 268,435,455"),
        (lambda: _listed(3, inside=False), "byte 6 begins no number"),
        (lambda: _listed(3, inside=True), "byte 8 begins no number"),
        (_cycle, "node 'a' (Relu): the graph has a cycle"),
        (_cycle_in_the_network, "the graph has a cycle"),
        (_loop, "node 'while/Enter' (Enter): operator not supported"),
    ],
)
def test_hostile_file_is_refused(make: Callable[[], bytes], says: str) -> None:
    assert says in _error(make())


@pytest.mark.parametrize("inside", [False, True], ids=["nodes", "parts of a node"])
def test_files_that_list_too_much_are_not_read_to_their_end(
    inside: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Much less parsed: the list's last byte is damaged, and nobody meets it."""

    def parsed(*_: object) -> None:
        raise AssertionError("the file was parsed")

    monkeypatch.setattr(type(graph_message()), "ParseFromString", parsed)
    error = _error(_listed(5_000_000, inside=inside))
    assert "more than 500,000 nodes" in error
    counted = re.search(r"counted at byte ([\d,]+) of 10,000,", error)
    assert counted is not None
    assert int(counted[1].replace(",", "")) <= 2 * 500_000 + 10


@pytest.mark.parametrize(
    ("make", "says", "folded"),
    [
        (
            _enormous_constant,
            "node 'Net/Conv2d_1a/weights' (Const): makes 7,421,703,487,487",
            [],
        ),
        (_repeated_value, "node 'Net/Conv2d_1a/weights' (Const): makes 7,421,703,487,486", []),
        (
            _many_large_constants,
            "constant values that are not in the file",
            # 16,777,216 values have room for eight constants, a sum after each from the second.
            ["Add"] * 7,
        ),
        (_doubling_sizes, "more than 64 values where sizes are computed", ["ConcatV2"] * 4),
        (_outer_product, "node 'table' (Mul): the result would have shape [100000, 100000]", []),
    ],
)
def test_claimed_sizes_are_refused_before_anything_of_that_size_is_made(
    make: Callable[[], bytes], says: str, folded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def counted(op: str, rule: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any) -> Any:
            calls.append(op)
            return rule(*given)

        return call

    for rules in (_ELEMENTWISE, _SIZES):
        for op, rule in rules.items():
            monkeypatch.setitem(rules, op, counted(op, rule))
    assert says in _error(make())
    assert calls == folded


@pytest.mark.parametrize("seed", range(60))
def test_damaged_bytes_never_end_in_anything_but_a_model_error(seed: int) -> None:
    random = np.random.default_rng(seed)
    data = bytearray(publish(SmallNetwork().graph, fused=bool(seed % 2)).serialized())
    for place in random.integers(len(data), size=1 + seed % 5):
        data[place] = random.integers(256)
    with contextlib.suppress(ModelError):
        _convert(bytes(data))


@pytest.mark.parametrize("seed", range(120))
def test_rewired_nodes_never_end_in_anything_but_a_model_error(seed: int) -> None:
    random = np.random.default_rng(seed)
    network = SmallNetwork() if seed % 2 else publish(SmallNetwork().graph)
    nodes = network.graph.node
    for _ in range(1 + seed % 3):
        node, other = (nodes[int(place)] for place in random.integers(len(nodes), size=2))
        match seed % 4:
            case 0:
                node.op = other.op
            case 1 if node.input:
                node.input[0] = other.name
            case 2 if node.attr:
                del node.attr[int(random.integers(len(node.attr)))]
            case _:
                del node.input[:1]
    with contextlib.suppress(ModelError):
        _convert(network.serialized())
