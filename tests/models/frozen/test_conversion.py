from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray

from facenet_validate.base.errors import ModelError
from facenet_validate.models.frozen.conversion import convert_frozen_graph, frozen_graph_runner
from facenet_validate.models.frozen.graphdef import graph_message, tensor_value
from facenet_validate.models.prepared import PreparedModel
from facenet_validate.models.pretrained import PRETRAINED, locate
from tests.models.frozen.published_graph import FLOAT, Sizes, SmallNetwork, Type, Writer, publish


@pytest.fixture(scope="module")
def converted() -> onnx.ModelProto:
    return convert_frozen_graph(locate(PRETRAINED).read_bytes(), source="graph_final.pb")


def _opencv_embeddings(batch: NDArray[np.float32]) -> NDArray[np.float32]:
    try:
        network = cv2.dnn.readNetFromTensorflow(str(locate(PRETRAINED)))
    except cv2.error as error:
        pytest.skip(f"OpenCV {cv2.__version__} cannot read the frozen graph: {error.err}")
    rows = []
    for face in batch:  # the graph's Reshape to [1, -1] breaks batches in OpenCV
        network.setInput(face[None])
        rows.append(network.forward().copy())
    return np.concatenate(rows)


def _onnx_embeddings(model: bytes, batch: NDArray[np.float32]) -> NDArray[np.float32]:
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    (embeddings,) = session.run(None, {"input": batch})
    return np.asarray(embeddings)


def test_agrees_with_opencv_on_drawn_faces(
    prepared: PreparedModel, drawn_batch: NDArray[np.float32]
) -> None:
    ours = _onnx_embeddings(prepared.entry.path.read_bytes(), drawn_batch)
    assert np.abs(ours - _opencv_embeddings(drawn_batch)).max() <= 1e-5


def test_agrees_with_opencv_on_real_faces(prepared: PreparedModel, lfw_folder: Any) -> None:
    from facenet_validate.base.preprocessing import standardize
    from facenet_validate.datasets.images import decode_image
    from facenet_validate.datasets.layout import find_layout

    photos = find_layout(lfw_folder).photos
    people = sorted(photos.iterdir())[::700]
    faces = np.stack(
        [
            decode_image((p / f"{p.name}_0001.jpg").read_bytes(), name=p.name)[45:205, 45:205]
            for p in people
        ]
    )
    batch = standardize(faces)
    ours = _onnx_embeddings(prepared.entry.path.read_bytes(), batch)
    assert np.abs(ours - _opencv_embeddings(batch)).max() <= 1e-5


def _read_by_opencv(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Return a list that gets the bytes OpenCV is given."""
    given: list[bytes] = []
    read = cv2.dnn.readNetFromTensorflow

    def watched(data: NDArray[np.uint8]) -> cv2.dnn.Net:
        given.append(data.tobytes())
        return read(data)

    monkeypatch.setattr(cv2.dnn, "readNetFromTensorflow", watched)
    return given


def test_runner_is_opencvs_run_of_the_untouched_file(
    drawn_batch: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    faces, data = drawn_batch[:3], locate(PRETRAINED).read_bytes()
    expected = _opencv_embeddings(faces)
    given = _read_by_opencv(monkeypatch)
    runner, what = frozen_graph_runner(data, source="graph_final.pb")
    np.testing.assert_array_equal(runner(faces), expected)
    assert given == [data]
    assert what == "the frozen graph"


@pytest.mark.parametrize("trained", [False, True])
def test_a_graph_that_had_to_be_cut_is_said_to_be(
    trained: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = SmallNetwork()
    if not trained:
        network.node("more", "Relu", network.prelogits)  # another end than the embedding
    data = (publish(network.graph) if trained else network).serialized()
    given = _read_by_opencv(monkeypatch)
    _, what = frozen_graph_runner(data, source="given.pb", output="embeddings")
    assert given != [data]
    assert what == "the frozen graph's inference part, cut out here"


def test_a_file_opencv_cannot_read_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    data = SmallNetwork().serialized()
    read = cv2.dnn.readNetFromTensorflow

    def in_order_only(given: NDArray[np.uint8]) -> cv2.dnn.Net:  # as OpenCV 4 does
        if given.tobytes() == data:
            raise cv2.error("graph_simplifier.cpp:267: nodes are not in order")
        return read(given)

    monkeypatch.setattr(cv2.dnn, "readNetFromTensorflow", in_order_only)
    run, what = frozen_graph_runner(data, source="given.pb")
    assert what == "the frozen graph's inference part, cut out here"
    faces = np.random.default_rng(1).normal(size=(2, 3, 23, 19)).astype(np.float32)
    monkeypatch.undo()
    np.testing.assert_array_equal(
        run(faces), frozen_graph_runner(data, source="given.pb")[0](faces)
    )


@pytest.mark.parametrize(
    ("stored", "expected"), [([1, 2], [1, 2, 2, 2, 2, 2]), ([3], [3] * 6), ([], [0] * 6)]
)
def test_the_last_value_of_a_short_constant_is_repeated(
    stored: list[float], expected: list[float]
) -> None:
    tensor = graph_message().node.add().attr.add().value.tensor
    tensor.dtype = FLOAT
    for size in (2, 3):
        tensor.tensor_shape.dim.add(size=size)
    tensor.float_val.extend(stored)
    found = tensor_value(tensor, node="short")
    np.testing.assert_array_equal(found, np.reshape(np.array(expected, np.float32), (2, 3)))


def test_a_constant_of_too_many_values_is_refused() -> None:
    tensor = graph_message().node.add().attr.add().value.tensor
    tensor.dtype = FLOAT
    tensor.tensor_shape.dim.add(size=2)
    tensor.float_val.extend([1, 2, 3])
    with pytest.raises(ModelError, match="needs 2 values, found 3"):
        tensor_value(tensor, node="long")


def test_graph_is_canonical(converted: onnx.ModelProto) -> None:
    graph = converted.graph
    assert [v.name for v in graph.input] == ["input"]
    assert [v.name for v in graph.output] == ["embeddings"]
    assert graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"
    operators = [node.op_type for node in graph.node]
    assert operators.count("Conv") == 132
    assert all(len(node.input) == 3 for node in graph.node if node.op_type == "Conv")
    assert "Reshape" not in operators
    assert converted.opset_import[0].version >= 17
    onnx.checker.check_model(converted, full_check=True)


# --- small graphs ---------------------------------------------------------------------------------


def _small(padding: bytes, stride: int, kernel: tuple[int, int], seed: int) -> Writer:
    random = np.random.default_rng(seed)
    writer = Writer()
    writer.node("image", "Placeholder", dtype=Type(FLOAT), shape=Sizes((1, 9, 8, 3)))
    writer.const("k", random.normal(size=(*kernel, 3, 5)))
    writer.node(
        "conv", "Conv2D", "image:0", "k", strides=[1, stride, stride, 1], padding=padding,
        data_format=b"NHWC",
    )  # fmt: skip
    writer.node(
        "pool", "AvgPool", "conv", ksize=[1, *_after(padding, stride, kernel), 1],
        strides=[1, 1, 1, 1], padding=b"VALID", data_format=b"NHWC",
    )  # fmt: skip
    writer.const("shape", [1, -1])
    writer.node("flat", "Reshape", "pool", "shape")
    writer.const("w", random.normal(size=(5, 4)))
    writer.node("out", "MatMul", "flat", "w", transpose_a=False, transpose_b=False)
    return writer


def _after(padding: bytes, stride: int, kernel: tuple[int, int]) -> tuple[int, int]:
    if padding == b"SAME":
        return -(-9 // stride), -(-8 // stride)
    return (9 - kernel[0]) // stride + 1, (8 - kernel[1]) // stride + 1


def _convolve(
    image: NDArray[Any], kernel: NDArray[Any], padding: bytes, stride: int
) -> NDArray[Any]:
    """TensorFlow's convolution, written out: NHWC image of one, HWIO kernel."""
    kh, kw = kernel.shape[:2]
    oh, ow = _after(padding, stride, (kh, kw))
    ph = max((oh - 1) * stride + kh - image.shape[0], 0) if padding == b"SAME" else 0
    pw = max((ow - 1) * stride + kw - image.shape[1], 0) if padding == b"SAME" else 0
    padded = np.pad(image, ((ph // 2, ph - ph // 2), (pw // 2, pw - pw // 2), (0, 0)))
    out = np.zeros((oh, ow, kernel.shape[3]))
    for i in range(oh):
        for j in range(ow):
            patch = padded[i * stride : i * stride + kh, j * stride : j * stride + kw]
            out[i, j] = np.tensordot(patch, kernel, 3)
    return out


@pytest.mark.parametrize("padding", [b"SAME", b"VALID"])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (1, 7), (2, 4)])
def test_windows_follow_tensorflow(padding: bytes, stride: int, kernel: tuple[int, int]) -> None:
    small = _small(padding, stride, kernel, seed=stride)
    # Deliberately not in topological order, as frozen graphs may be.
    model = convert_frozen_graph(small.serialized(shuffle=stride), source="small")
    image = np.random.default_rng(9).normal(size=(9, 8, 3)).astype(np.float32)
    found = _onnx_embeddings(model.SerializeToString(), image.transpose(2, 0, 1)[None])
    kernels, weights = (small.value(name) for name in ("k", "w"))
    expected = _convolve(image, kernels, padding, stride).mean((0, 1)) @ weights
    np.testing.assert_allclose(found[0], expected, rtol=1e-4, atol=1e-5)


def _images(*sizes: tuple[int, ...]) -> Writer:
    writer = Writer()
    for index, size in enumerate(sizes):
        writer.node(f"image{index}", "Placeholder", dtype=Type(FLOAT), shape=Sizes(size))
    return writer


def _one(op: str, *inputs: str) -> bytes:
    writer = _images((1, 9, 8, 3))
    writer.node("last", op, *inputs)
    return writer.serialized()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"\x0a\xff\xff\xff\xff\x0f", "not a TensorFlow frozen graph"),
        (b"", "without nodes"),
        (_one("Softmax", "image0"), "'last' (Softmax)"),
        (_one("Relu", "absent"), "'absent', which is not in the graph"),
        (_one("Relu", "image0"), "'last' (Relu): works on the input 'image0' before"),
        (_one("Conv2D", "image0"), "inputs of a number or kind that do not go with"),
        (_images((1, 4)).serialized(), "no convolution reads an image"),
        (_images((1, 9, 8, 3), (1, 9, 8, 3)).serialized(), "no convolution reads an image"),
        (_images((1, 9, 8, 3)).serialized() * 2, "not unique: ['image0']"),
    ],
)
def test_what_cannot_be_converted_is_named(data: bytes, says: str) -> None:
    with pytest.raises(ModelError) as error:
        convert_frozen_graph(data, source="given.pb")
    assert says in str(error.value)
    assert "given.pb" in str(error.value)


def test_graph_that_opencv_cannot_run_is_named_by_the_runner() -> None:
    network = SmallNetwork()
    network.node("floor", "Maximum", network.prelogits, network.weights("least", 8))
    network.unit("unit", "floor")
    data = network.serialized()
    convert_frozen_graph(data, source="given.pb", output="unit")
    faces = np.zeros((1, 3, 23, 19), "f4")
    with pytest.raises(ModelError, match=r"given\.pb: OpenCV .* cannot run the graph"):
        frozen_graph_runner(data, source="given.pb", output="unit")[0](faces)


def test_absent_epsilon_is_tensorflows_default() -> None:
    network = SmallNetwork()
    (norm,) = [node for node in network.graph.node if node.op == "FusedBatchNorm"]
    (epsilon,) = [attribute for attribute in norm.attr if attribute.key == "epsilon"]
    epsilon.value.f = 1e-4
    faces = np.random.default_rng(1).normal(size=(2, 3, 23, 19)).astype(np.float32)
    given = convert_frozen_graph(network.serialized(), source="given.pb").SerializeToString()
    norm.attr.remove(epsilon)
    absent = convert_frozen_graph(network.serialized(), source="given.pb").SerializeToString()
    np.testing.assert_array_equal(_onnx_embeddings(absent, faces), _onnx_embeddings(given, faces))
    theirs = frozen_graph_runner(network.serialized(), source="given.pb")[0](faces)
    np.testing.assert_allclose(theirs, _onnx_embeddings(given, faces), atol=1e-6)


def test_truncated_file_is_refused() -> None:
    data = locate(PRETRAINED).read_bytes()[:1_000_000]
    with pytest.raises(ModelError, match="copied whole"):
        convert_frozen_graph(data, source="graph_final.pb")
