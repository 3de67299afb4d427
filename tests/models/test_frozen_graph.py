from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray

from facenet_validate.errors import ModelError
from facenet_validate.models.frozen_graph import convert_frozen_graph
from facenet_validate.models.graphdef import _graph_class, parse_graph, tensor_value
from facenet_validate.models.prepared import PreparedModel
from facenet_validate.models.pretrained import PRETRAINED, locate


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
    from facenet_validate.datasets.images import decode_image, standardize
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


def _graph(*nodes: dict[str, Any]) -> bytes:
    graph = _graph_class()()
    for given in nodes:
        node = graph.node.add(name=given["name"], op=given["op"])
        node.input.extend(given.get("input", []))
        for key, value in given.get("attr", {}).items():
            entry = node.attr.add(key=key)
            if isinstance(value, np.ndarray):
                tensor = entry.value.tensor
                tensor.dtype = {"float32": 1, "int32": 3}[value.dtype.name]
                for size in value.shape:
                    tensor.tensor_shape.dim.add(size=size)
                tensor.tensor_content = value.tobytes()
            elif key == "shape":
                for size in value:
                    entry.value.shape.dim.add(size=size)
            elif isinstance(value, bool):
                entry.value.b = value
            elif isinstance(value, list):
                entry.value.list.i.extend(value)
            else:
                entry.value.s = value
    return bytes(graph.SerializeToString())


def _constant(name: str, value: NDArray[Any]) -> dict[str, Any]:
    return {"name": name, "op": "Const", "attr": {"value": value}}


IMAGE = {"name": "image", "op": "Placeholder", "attr": {"shape": [1, 9, 8, 3]}}


def _small(padding: bytes, stride: int, kernel: tuple[int, int], seed: int) -> bytes:
    random = np.random.default_rng(seed)
    window = {"strides": [1, stride, stride, 1], "padding": padding, "data_format": b"NHWC"}
    # Deliberately not in topological order, as frozen graphs may be.
    return _graph(
        {"name": "out", "op": "MatMul", "input": ["flat", "w"],
         "attr": {"transpose_a": False, "transpose_b": False}},
        {"name": "flat", "op": "Reshape", "input": ["pool", "shape"]},
        _constant("shape", np.array([1, -1], np.int32)),
        {"name": "pool", "op": "AvgPool", "input": ["conv"],
         "attr": {"ksize": [1, *_after(padding, stride, kernel), 1], "strides": [1, 1, 1, 1],
                  "padding": b"VALID", "data_format": b"NHWC"}},
        {"name": "conv", "op": "Conv2D", "input": ["image:0", "k"], "attr": window},
        IMAGE,
        _constant("k", random.normal(size=(*kernel, 3, 5)).astype(np.float32)),
        _constant("w", random.normal(size=(5, 4)).astype(np.float32)),
    )  # fmt: skip


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
    data = _small(padding, stride, kernel, seed=stride)
    model = convert_frozen_graph(data, source="small")
    image = np.random.default_rng(9).normal(size=(9, 8, 3)).astype(np.float32)
    found = _onnx_embeddings(model.SerializeToString(), image.transpose(2, 0, 1)[None])
    constants = {
        n.name: tensor_value(n.attr[0].value.tensor, node=n.name)
        for n in parse_graph(data, source="small").node
        if n.op == "Const"
    }
    expected = _convolve(image, constants["k"], padding, stride).mean((0, 1)) @ constants["w"]
    np.testing.assert_allclose(found[0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"\x0a\xff\xff\xff\xff\x0f", "not a TensorFlow frozen graph"),
        (b"", "without nodes"),
        (_graph(IMAGE, {"name": "s", "op": "Softmax", "input": ["image"]}), "'s' (Softmax)"),
        (_graph({"name": "a", "op": "Relu", "input": ["b"]}), "'b', which is not in the graph"),
        (
            _graph(
                {"name": "a", "op": "Relu", "input": ["b"]},
                {"name": "b", "op": "Relu", "input": ["a"]},
            ),
            "cycle",
        ),
        (_graph({"name": "a", "op": "Placeholder", "attr": {"shape": [1, 4]}}), "shape [1, 4]"),
        (_graph(IMAGE, {**IMAGE, "name": "other"}), "second placeholder"),
        (_graph(IMAGE, {"name": "r", "op": "Relu", "input": ["image"]}), "expected [N, D]"),
        (_graph(IMAGE, IMAGE), "not unique"),
    ],
)
def test_what_cannot_be_converted_is_named(data: bytes, says: str) -> None:
    with pytest.raises(ModelError) as error:
        convert_frozen_graph(data, source="given.pb")
    assert says in str(error.value)
    assert "given.pb" in str(error.value)


def test_truncated_file_is_refused() -> None:
    data = locate(PRETRAINED).read_bytes()[:1_000_000]
    with pytest.raises(ModelError, match="copied whole"):
        convert_frozen_graph(data, source="graph_final.pb")
