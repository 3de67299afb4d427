"""ONNX Runtime's profile → times of layers."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from facenet_validate.base.errors import EngineError
from facenet_validate.base.vocabulary import Precision
from facenet_validate.engines.onnxruntime.engine import OnnxRuntimeEngine
from facenet_validate.engines.onnxruntime.profiling import layers_of_profile
from facenet_validate.engines.protocol import LayerTimes
from facenet_validate.models.quantization.int8 import calibrate, to_int8
from facenet_validate.models.quantization.recipes import int8_recipe
from tests.models.small_facenet import SIZE, small_facenet

RECORDED = Path(__file__).parents[1] / "benchmarking" / "profiles"
"""Profiles of ONNX Runtime 1.32: a batch of 128, five runs, one thread; of ``args`` the operation
alone. ``fp32-four-times`` is the small network whose ``reduction/0`` has a kernel of 6 x 6."""

BATCH = np.random.default_rng(0).normal(size=(2, 3, SIZE, SIZE)).astype(np.float32)


def int8_graph() -> onnx.ModelProto:
    images = np.random.default_rng(0).uniform(-1, 1, size=(8, 3, SIZE, SIZE)).astype(np.float32)
    return to_int8(calibrate(small_facenet(), images, equalized=True), int8_recipe("cpu"))


def recorded(name: str, graph: onnx.GraphProto) -> LayerTimes:
    return layers_of_profile(json.loads((RECORDED / f"{name}.json").read_text()), graph)


def multiplying(graph: onnx.GraphProto) -> list[str]:
    return [node.name for node in graph.node if node.op_type in ("Conv", "Gemm")]


@pytest.mark.parametrize(("name", "graph"), [("fp32", small_facenet), ("int8", int8_graph)])
def test_layers_have_the_names_of_nodes_in_every_precision(
    name: str, graph: Callable[[], onnx.ModelProto]
) -> None:
    """With activations: in FP32 a kernel has the name of the activation, in INT8 it has not."""
    of = graph().graph
    found = recorded(name, of)
    nodes = {node.name: node.op_type for node in of.node}
    told = {layer.name: layer for layer in found.layers}
    assert set(multiplying(small_facenet().graph)) <= set(told)
    for layer in found.layers:
        assert len(layer.seconds) == 4  # five runs, and the first warms up
        if layer.nodes:
            assert layer.nodes[0] == layer.name
            assert layer.kind == nodes[layer.name]
            assert set(layer.nodes) <= set(nodes)
    added = {layer.name for layer in found.layers if not layer.nodes}
    assert added == ({"ReorderInput", "ReorderOutput"} if name == "fp32" else {"Transpose"})


def test_a_convolution_is_known_by_its_activation() -> None:
    layers = {layer.name: layer for layer in recorded("fp32", small_facenet().graph).layers}
    assert layers["stem/a"].nodes == ("stem/a", "stem/a/relu")
    assert layers["block17/relu"].nodes == ("block17/relu",)  # a kernel of its own


def test_times_are_those_of_the_kernels() -> None:
    events = json.loads((RECORDED / "fp32.json").read_text())
    kernels = [event["dur"] for event in events if event["name"].endswith("_kernel_time")]
    per_run = len(kernels) // 5
    found = recorded("fp32", small_facenet().graph)
    runs = np.sum([layer.seconds for layer in found.layers], axis=0)
    expected = 1e-6 * np.reshape(kernels, (5, per_run))[1:].sum(axis=1)
    np.testing.assert_allclose(runs, expected)


def kernel(name: str, kind: str, micros: int) -> dict[str, Any]:
    args = {"op_name": kind}
    return {"cat": "Node", "name": f"{name}_kernel_time", "dur": micros, "args": args}


def test_other_events_and_names_of_other_versions() -> None:
    """Fences of ONNX Runtime 1.20 and before are no kernels; ``fused`` is from an older kernel."""
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["a"], name="a"),
            helper.make_node("Relu", ["a"], ["b"], name="b"),
            helper.make_node("Relu", ["b"], ["c"], name="c_token_1"),
        ],
        "graph",
        [],
        [],
    )
    run = [
        {"cat": "Node", "name": "a_fence_before", "dur": 9, "args": {"op_name": "Conv"}},
        kernel("fused a", "FusedConv", 5),
        kernel("c_token_1", "Relu", 3),
        kernel("Reorder_token_7", "Reorder", 1),
        kernel("Reorder_token_8", "Reorder", 1),
        {"cat": "Session", "name": "SequentialExecutor::Execute", "dur": 20, "args": {}},
        {"cat": "Session", "name": "model_run", "dur": 21, "args": {}},
    ]
    found = layers_of_profile([*run, *run], graph)
    assert [(layer.name, layer.kind, layer.nodes) for layer in found.layers] == [
        ("a", "Conv", ("a",)),
        ("c_token_1", "Relu", ("c_token_1",)),
        ("Reorder", "Reorder", ()),
    ]
    assert [layer.seconds for layer in found.layers] == [
        pytest.approx((5e-6,)), pytest.approx((3e-6,)), pytest.approx((2e-6,)),
    ]  # fmt: skip


def test_a_profile_without_layers_says_so() -> None:
    assert layers_of_profile([], small_facenet().graph).untold == (
        "ONNX Runtime's profile has no layers"
    )


def engine_of(path: Path, precision: Precision = "fp32") -> OnnxRuntimeEngine:
    return OnnxRuntimeEngine(
        path, digest="d", precision=precision, artefact=path.name, device="here", threads=1
    )


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of temporary files, empty."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_an_engine_times_its_layers_and_leaves_no_file(
    tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    onnx.save(small_facenet(), tmp_path / "small.onnx")
    before = set(tmp_path.rglob("*"))
    with engine_of(tmp_path / "small.onnx") as engine:
        found = engine.layer_times(BATCH, 3)
        np.testing.assert_array_equal(engine.run(BATCH), engine.run(BATCH))
    assert found.source == "ONNX Runtime's profile"
    assert set(multiplying(small_facenet().graph)) <= {layer.name for layer in found.layers}
    assert {len(layer.seconds) for layer in found.layers} == {3}
    assert set(tmp_path.rglob("*")) == before


def test_nodes_with_equal_names_are_told_apart(tmp_path: Path) -> None:
    """ONNX allows them; the session is made of a graph with names of their own."""
    model = small_facenet()
    for node in model.graph.node:
        node.name = "same"
    onnx.save(model, tmp_path / "same.onnx")
    with engine_of(tmp_path / "same.onnx") as engine:
        found = engine.layer_times(BATCH, 1)
    kinds = [layer.kind for layer in found.layers if layer.nodes]
    assert kinds.count("Conv") + kinds.count("Gemm") == len(multiplying(model.graph))


def test_a_run_that_fails_is_an_engine_error_and_leaves_no_file(
    tmp_path: Path, temporary: Path
) -> None:
    onnx.save(small_facenet(), tmp_path / "small.onnx")
    with engine_of(tmp_path / "small.onnx") as engine:
        with pytest.raises(EngineError, match=r"small.onnx: its layers cannot be timed: .*input"):
            engine.layer_times(BATCH[:, :, :5], 3)
        assert not list(temporary.iterdir())
        (tmp_path / "small.onnx").unlink()
        with pytest.raises(EngineError, match="cannot be timed"):
            engine.layer_times(BATCH, 3)
    with pytest.raises(EngineError, match="was closed"):
        engine.layer_times(BATCH, 3)
    assert not list(temporary.iterdir())


def test_another_host_engine_says_that_it_does_not_time_layers(tmp_path: Path) -> None:
    from facenet_validate.engines.host_engine import HostEngine

    onnx.save(small_facenet(), tmp_path / "small.onnx")
    with engine_of(tmp_path / "small.onnx") as engine:
        found = HostEngine.layer_times(engine, BATCH, 3)
    assert found == LayerTimes(untold="layers are not timed on onnxruntime")
