from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from facenet_validate.base.errors import ModelError
from facenet_validate.models.exported.canonical import canonical
from facenet_validate.models.exported.simplification import optimised
from facenet_validate.models.passes import sort_nodes
from tests.models.exported import exporter_styles as styles
from tests.models.small_facenet import EMBEDDING, SIZE, small_facenet

IMAGES = np.random.default_rng(0).normal(size=(5, 3, SIZE, SIZE)).astype(np.float32)

STYLES: dict[str, styles.Style] = {
    "canonical already": lambda model: model,
    "numeric names": styles.numeric_names,
    "batch fixed at 64": styles.fixed_batch(64),
    "batch fixed at 1": styles.fixed_batch(1),
    "TorchScript": styles.chained(
        styles.last_batch_norm,
        styles.residual_scales,
        styles.norm_spelled("ReduceL2, Clip, Expand, Div"),
        styles.global_pool,
        styles.torchscript_view,
        styles.numeric_names,
    ),
    "TorchScript, opset 9, not folded": styles.chained(
        styles.batch_norms,
        styles.last_batch_norm,
        styles.residual_scales,
        styles.norm_spelled("ReduceL2, Clip, Expand, Div"),
        styles.torchscript_view,
        styles.opset(9),
        styles.ir_three,
    ),
    "opset 11, fixed, numeric": styles.chained(
        styles.residual_scales, styles.fixed_batch(64), styles.opset(11), styles.numeric_names
    ),
    "dynamo": styles.chained(
        styles.residual_scales,
        styles.norm_spelled("ReduceL2, Clip, Expand, Div"),
        styles.mean_pool,
        styles.torchscript_view,
        styles.newer_opset(20),
    ),
    "flattened by strides": styles.strided_flatten,
    "local functions": styles.local_functions,
    "NHWC input": styles.nhwc_input,
    "NHWC input, fixed at 64": styles.chained(styles.fixed_batch(64), styles.nhwc_input),
    "NHWC throughout": styles.tensorflow_layout,
    "NHWC throughout, not folded": styles.chained(
        styles.batch_norms, styles.last_batch_norm, styles.residual_scales, styles.tensorflow_layout
    ),
    "batch norms": styles.batch_norms,
    "last batch norm": styles.last_batch_norm,
    "last batch norm behind a Gemm": styles.linear_and_batch_norm,
    "bottleneck as a convolution": styles.convolution_as_bottleneck,
    "bottleneck with scales": styles.scales_and_biases,
    "residual scales": styles.residual_scales,
    "flattened by strides into rows": styles.strided_rows,
    "normalised twice": styles.normalised_twice,
    "phase_train": styles.phase_train,
    "before the norm": styles.without_norm,
    "ending at last_bn": styles.chained(styles.last_batch_norm, styles.without_norm),
    "weights are inputs": styles.ir_three,
    "extra outputs": styles.extra_outputs,
    "features and their norm": styles.features_and_norm,
    **{f"norm as {spelling}": styles.norm_spelled(spelling) for spelling in styles.NORMS},
}


@pytest.fixture(scope="module")
def small() -> onnx.ModelProto:
    return small_facenet()


@pytest.fixture(scope="module")
def expected(small: onnx.ModelProto) -> NDArray[np.float32]:
    return _run(small, IMAGES)


def _run(model: onnx.ModelProto, images: NDArray[np.float32]) -> NDArray[np.float32]:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return np.asarray(session.run(None, {session.get_inputs()[0].name: images})[0])


def _structure(model: onnx.ModelProto) -> list[tuple[str, str, list[str]]]:
    return [(node.op_type, node.name, list(node.input)) for node in model.graph.node]


@pytest.mark.parametrize("name", STYLES)
def test_every_style_becomes_the_same_prepared_model(
    name: str, small: onnx.ModelProto, expected: NDArray[np.float32]
) -> None:
    styled = STYLES[name](small)
    sort_nodes(styled.graph, source="test")
    if styled.functions:
        from onnx import inliner

        styled = inliner.inline_local_functions(styled)
    model, anatomy = canonical(styled, source="given.onnx")
    onnx.checker.check_model(model, full_check=True)
    value = model.graph.input[0]
    assert [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim] == [
        "N", 3, SIZE, SIZE,
    ]  # fmt: skip
    assert [o.domain for o in model.opset_import] == [""]
    operators = Counter(node.op_type for node in model.graph.node)
    wanted = Counter(node.op_type for node in small.graph.node)
    assert operators == wanted
    assert all(len(node.input) == 3 for node in model.graph.node if node.op_type == "Conv")
    np.testing.assert_allclose(_run(model, IMAGES), expected, atol=1e-5)
    # The batch is dynamic, and rows do not depend on each other.
    np.testing.assert_allclose(_run(model, IMAGES[:1]), expected[:1], atol=1e-6)
    np.testing.assert_allclose(_run(model, IMAGES[2:]), expected[2:], atol=1e-6)
    assert anatomy.embedding.size == EMBEDDING
    assert anatomy.image.size == SIZE


@pytest.mark.parametrize("name", ["TorchScript", "NHWC throughout, not folded", "dynamo"])
def test_preparing_is_deterministic_and_stable(name: str, small: onnx.ModelProto) -> None:
    styled = STYLES[name](small)
    once, _ = canonical(styled, source="a.onnx")
    again, _ = canonical(styled, source="b.onnx")
    assert once.SerializeToString(deterministic=True) == again.SerializeToString(deterministic=True)
    twice, anatomy = canonical(once, source="c.onnx")
    assert _structure(twice) == _structure(once)
    assert anatomy.batch_norms == 0


def test_weights_and_tensors_are_named_after_their_nodes(small: onnx.ModelProto) -> None:
    model, _ = canonical(styles.numeric_names(small), source="given.onnx")
    names = [node.name for node in model.graph.node]
    assert len(set(names)) == len(names)
    assert [node.output[0] for node in model.graph.node] == names
    for node in model.graph.node:
        if node.op_type == "Conv":
            assert list(node.input[1:]) == [f"{node.name}/weight", f"{node.name}/bias"]


def test_nodes_called_as_ours_are_renamed(small: onnx.ModelProto) -> None:
    clashing = onnx.ModelProto()
    clashing.CopyFrom(small)
    clashing.graph.node[0].name = "embeddings/mine"
    clashing.graph.node[1].name = "bottleneck"
    next(node for node in clashing.graph.node if node.op_type == "Gemm").name = "dense"
    model, _ = canonical(clashing, source="given.onnx")
    assert [node.name for node in model.graph.node].count("bottleneck") == 1


def test_the_packaged_model_is_folded(prepared_onnx: onnx.ModelProto) -> None:
    operators = Counter(node.op_type for node in prepared_onnx.graph.node)
    assert operators["Conv"] == 132
    assert operators["Mul"] == 2  # the norm's
    assert operators["Gemm"] == 1
    assert not operators.keys() & {"BatchNormalization", "Reshape", "MatMul", "Identity"}
    assert all(len(n.input) == 3 for n in prepared_onnx.graph.node if n.op_type == "Conv")


REAL = {
    "TorchScript, not folded": styles.chained(
        styles.batch_norms,
        styles.last_batch_norm,
        styles.residual_scales,
        styles.norm_spelled("ReduceL2, Clip, Expand, Div"),
        styles.torchscript_view,
        styles.numeric_names,
    ),
    "NHWC throughout": styles.chained(styles.residual_scales, styles.tensorflow_layout),
    "opset 9, batch 64, no norm": styles.chained(
        styles.without_norm, styles.fixed_batch(64), styles.opset(9), styles.ir_three
    ),
}


@pytest.mark.parametrize("name", REAL)
def test_the_real_network_in_any_style_is_itself(
    name: str, prepared_onnx: onnx.ModelProto, drawn_batch: NDArray[np.float32]
) -> None:
    model, anatomy = canonical(REAL[name](prepared_onnx), source="given.onnx")
    assert Counter(n.op_type for n in model.graph.node) == Counter(
        n.op_type for n in prepared_onnx.graph.node
    )
    difference = _run(model, drawn_batch[:3]) - _run(prepared_onnx, drawn_batch[:3])
    assert np.abs(difference).max() <= 1e-6
    assert anatomy.multiply_adds == 1_417_662_304


# -- where the choice is the user's, or there is none --------------------------------------------


def test_the_pooled_features_are_the_embedding_where_there_is_no_bottleneck(
    small: onnx.ModelProto,
) -> None:
    model, anatomy = canonical(styles.ending_at_the_pool(small), source="given.onnx")
    assert (anatomy.embedding.size, anatomy.bottleneck) == (20, False)
    pooled = _run(styles.ending_at_the_pool(small), IMAGES).reshape(5, -1).astype(np.float64)
    unit = pooled / np.linalg.norm(pooled, axis=1, keepdims=True)
    np.testing.assert_allclose(_run(model, IMAGES), unit, atol=1e-6)


def test_two_candidates_are_listed_and_one_is_taken_by_name(
    small: onnx.ModelProto, expected: NDArray[np.float32]
) -> None:
    given = styles.two_candidates(small)
    with pytest.raises(ModelError) as error:
        canonical(given, source="given.onnx")
    assert "embeddings [N, 16]; flatten [N, 20]" in str(error.value)
    assert "--output NAME" in str(error.value)
    model, anatomy = canonical(given, source="given.onnx", output_name="embeddings")
    np.testing.assert_allclose(_run(model, IMAGES), expected, atol=1e-5)
    assert anatomy.embedding.why == "named with --output"


@pytest.mark.parametrize("operators", [(), ("Softmax",), ("LogSoftmax",), ("ArgMax",)])
def test_a_classifier_is_refused_and_its_bottleneck_can_be_taken(
    operators: tuple[str, ...], small: onnx.ModelProto, expected: NDArray[np.float32]
) -> None:
    given = styles.classifier(*operators)(small)
    with pytest.raises(ModelError) as error:
        canonical(given, source="given.onnx")
    said = str(error.value)
    assert "given.onnx: a classifier" in said
    assert "logits" in said
    assert "16 values with --output 'bottleneck'" in said
    model, _ = canonical(given, source="given.onnx", output_name="bottleneck")
    np.testing.assert_allclose(_run(model, IMAGES), expected, atol=1e-5)


def _plain_resnet() -> onnx.ModelProto:
    """Convolutions that are added, but nothing concatenated: not an Inception-ResNet."""
    from tests.models.small_facenet import Builder

    b = Builder()
    x = b.conv("x", "a", (3, 8), (3, 3), stride=2)
    y = b.conv(x, "b", (8, 8), (3, 3), pads=(1, 1))
    x = b.add("Add", [b.conv(y, "c", (8, 8), relu=False), x], "sum")
    x = b.add("GlobalAveragePool", [x], "pool")
    x = b.add("Flatten", [x], "flat")
    x = b.add("MatMul", [x, b.random("dense", (8, 10))], "y")
    graph = helper.make_graph(
        b.nodes,
        "resnet",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 10])],
        b.weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_a_network_without_inception_blocks_is_refused() -> None:
    with pytest.raises(ModelError, match=r"not an Inception-ResNet: 3 Conv, .*, then 10 values"):
        canonical(_plain_resnet(), source="given.onnx")


def _add_zeros(graph: onnx.GraphProto, size: int, *names: str) -> None:
    graph.initializer.append(numpy_helper.from_array(np.array([size], np.int64), "large"))
    for name in names:
        graph.node.append(helper.make_node("ConstantOfShape", ["large"], [name], name))


def _changed(model: onnx.ModelProto, what: str) -> onnx.ModelProto:
    model = styles.chained()(model)
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    graph = copied.graph
    shape = graph.input[0].type.tensor_type.shape
    match what:
        case "preprocessing":
            graph.node[0].input[0] = "scaled"
            graph.initializer.append(
                onnx.numpy_helper.from_array(np.array(127.5, np.float32), "half")
            )
            graph.node.insert(0, helper.make_node("Sub", ["input", "half"], ["scaled"], "centre"))
        case "two images":
            graph.input.append(
                helper.make_tensor_value_info("other", TensorProto.FLOAT, [1, 3, SIZE, SIZE])
            )
            graph.node.insert(0, helper.make_node("Conv", ["other", "stem/a/weight"], ["o"], "o"))
        case "no image":
            shape.dim[1].dim_value = 4
        case "bytes":
            graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
        case "not square":
            shape.dim[2].dim_value = 48
        case "another domain":
            graph.node[1].domain = "com.microsoft"
        case "half":
            weight = graph.initializer[0]
            values = onnx.numpy_helper.to_array(weight).astype(np.float16)
            weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
        case "future opset":
            copied.opset_import[0].version = 99
        case "second input":
            graph.input.append(helper.make_tensor_value_info("gain", TensorProto.FLOAT, [1]))
            graph.node[1].op_type = "PRelu"
            graph.node[1].input.append("gain")
        case "huge":
            shape.dim[2].dim_value = shape.dim[3].dim_value = 4096
            _add_zeros(graph, 10**12, "bomb")
        case "nonlinear head":
            tail = next(n for n in graph.node if n.op_type == "Gemm")
            tail.output[0] = "dense"
            at = list(graph.node).index(tail)
            graph.node.insert(at + 1, helper.make_node("Tanh", ["dense"], ["bottleneck"], "tanh"))
    return copied


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("preprocessing", "node 'centre' (Sub) works on the image before the first convolution"),
        ("two images", "input ['N', 3, 32, 32]; other [1, 3, 32, 32]"),
        ("no image", "no image input; its inputs are: input [N, 4, 32, 32]"),
        ("bytes", "input 'input' is UINT8; expected FLOAT"),
        ("not square", "images of 48×32; expected square"),
        ("another domain", "of domain 'com.microsoft'"),
        ("half", "is fp16 already"),
        ("future opset", "cannot run it (opset 99)"),
        ("second input", "depends on input 'gain' too, by node 'stem/a/relu' (PRelu)"),
        ("huge", "node 'bomb' (ConstantOfShape) gives a tensor of shape [1000000000000]"),
        ("nonlinear head", "node 'tanh' (Tanh) stands between the pool and the embedding"),
    ],
)
def test_what_is_no_facenet_is_said(what: str, says: str, small: onnx.ModelProto) -> None:
    with pytest.raises(ModelError) as error:
        canonical(_changed(small, what), source="given.onnx")
    assert says.replace("'N'", "N") in str(error.value)
    assert "given.onnx" in str(error.value)


def _hostile(model: onnx.ModelProto, what: str) -> onnx.ModelProto:
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    graph = copied.graph
    kind = graph.input[0].type.tensor_type
    match what:
        case "many large":
            _add_zeros(graph, 2**27, "bomb/0", "bomb/1", "bomb/2")
        case "large batch":
            kind.shape.dim[0].dim_value = 1_000_000
        case "large inner batch":
            copied = styles.fixed_batch(100_000)(copied)
            copied.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "N"
        case "unknown type":
            kind.elem_type = 99
        case "scalar target" | "text target":
            value = np.array(7, np.int64) if what == "scalar target" else np.array(["a", "b"])
            graph.initializer.append(numpy_helper.from_array(value, "target"))
            graph.node.append(helper.make_node("Reshape", ["stem/a", "target"], ["r"], "r"))
    return copied


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("many large", "nodes that do not depend on the image make 402,653,184 values"),
        ("large batch", "its batch is fixed at 1,000,000; expected at most 1,024"),
        ("large inner batch", "its batch is fixed at 100,000; expected at most 1,024"),
        ("unknown type", "input 'input' is data type 99; expected FLOAT"),
        ("text target", "The graph is damaged"),
    ],
)
def test_what_would_end_in_a_traceback_is_said(
    what: str, says: str, small: onnx.ModelProto
) -> None:
    with pytest.raises(ModelError) as error:
        canonical(_hostile(small, what), source="given.onnx")
    assert says in str(error.value)
    assert "given.onnx" in str(error.value)


def test_a_reshape_to_a_scalar_that_nobody_reads_is_passed_over(small: onnx.ModelProto) -> None:
    model, _ = canonical(_hostile(small, "scalar target"), source="given.onnx")
    assert len(model.graph.node) == len(small.graph.node)


def test_the_image_is_taken_by_name(small: onnx.ModelProto) -> None:
    given = _changed(small, "two images")
    _, anatomy = canonical(given, source="given.onnx", input_name="input")
    assert anatomy.image.name == "input"
    with pytest.raises(ModelError, match="no input 'elsewhere'"):
        canonical(given, source="given.onnx", input_name="elsewhere")


def test_an_output_that_is_not_there_is_named(small: onnx.ModelProto) -> None:
    with pytest.raises(ModelError, match=r"no tensor 'x'. Its outputs are: embeddings \[N, 16\]"):
        canonical(small, source="given.onnx", output_name="x")


def test_a_flattening_that_reorders_is_no_flattening(small: onnx.ModelProto) -> None:
    styled = styles.strided_flatten(small)
    places = next(w for w in styled.graph.initializer if w.name == "s/places")
    reversed_ = numpy_helper.to_array(places)[::-1].copy()
    places.CopyFrom(numpy_helper.from_array(reversed_, places.name))
    with pytest.raises(ModelError, match=r"'s/strided' \(Gather\) stands between"):
        canonical(styled, source="given.onnx")


def test_a_norm_around_a_norm_is_spelled_out(small: onnx.ModelProto) -> None:
    _, anatomy = canonical(styles.normalised_twice(small), source="given.onnx")
    assert anatomy.embedding.features == "bottleneck"
    assert "ReduceSum" in anatomy.lines()[6][1]
    assert "LpNormalization" in anatomy.lines()[6][1]


def test_phase_train_is_off_and_it_is_said(small: onnx.ModelProto) -> None:
    _, anatomy = canonical(styles.phase_train(small), source="given.onnx")
    assert "phase_train (BOOL) is taken as False" in dict(anatomy.lines())["input"]


def test_a_batch_norm_that_gives_its_statistics_trains(small: onnx.ModelProto) -> None:
    styled = styles.batch_norms(small)
    node = next(node for node in styled.graph.node if node.op_type == "BatchNormalization")
    node.output.extend(f"{node.name}/{part}" for part in ("mean", "var", "saved_mean", "saved_var"))
    styled.opset_import[0].version = 9
    with pytest.raises(ModelError, match="was exported in training mode"):
        canonical(styled, source="given.onnx")


@pytest.mark.skipif(
    tuple(map(int, ort.__version__.split(".")[:2])) < (1, 28),
    reason="onnxruntime before 1.28 folds constants of any size",
)
def test_constants_that_are_too_large_are_not_folded(small: onnx.ModelProto) -> None:
    given = onnx.ModelProto()
    given.CopyFrom(small)
    size = numpy_helper.from_array(np.array([2**25], np.int64), "size")
    given.graph.initializer.append(size)
    given.graph.node.append(helper.make_node("ConstantOfShape", ["size"], ["zeros"], "zeros"))
    given.graph.output.append(helper.make_tensor_value_info("zeros", TensorProto.FLOAT, [2**25]))
    body = optimised(given, "given.onnx")
    assert "ConstantOfShape" in {node.op_type for node in body.graph.node}
    assert body.ByteSize() < 2**20


@pytest.mark.parametrize(
    ("opset", "says"), [(99, "Install a newer onnxruntime"), (17, "The graph is damaged")]
)
def test_the_runtimes_age_is_blamed_for_versions_alone(
    opset: int, says: str, small: onnx.ModelProto
) -> None:
    given = onnx.ModelProto()
    given.CopyFrom(small)
    given.opset_import[0].version = opset
    given.graph.node[0].op_type = "Convolution"
    with pytest.raises(ModelError, match=rf"cannot run it \(opset {opset}\).*{says}"):
        canonical(given, source="given.onnx")


@pytest.mark.parametrize("operator", ["BatchNormalization", "Dropout"])
def test_an_export_in_training_mode_says_how_to_export(
    operator: str, small: onnx.ModelProto
) -> None:
    styled = styles.batch_norms(small)
    if operator == "BatchNormalization":
        node = next(node for node in styled.graph.node if node.op_type == operator)
        node.attribute.append(helper.make_attribute("training_mode", 1))
    else:
        pool = next(node for node in styled.graph.node if node.op_type == "AveragePool")
        given, pool.output[0] = pool.output[0], "pooled"
        ratio = numpy_helper.from_array(np.array(0.6, np.float32), "ratio")
        training = numpy_helper.from_array(np.array([False, True]), "training")
        styled.graph.initializer.extend([ratio, training])
        inputs = ["pooled", "ratio", "training"]
        styled.graph.node.append(helper.make_node("Dropout", inputs, [given], name="dropout"))
        sort_nodes(styled.graph, source="test")
    with pytest.raises(ModelError, match=rf"\({operator}\) was exported in training mode.*eval"):
        canonical(styled, source="given.onnx")
