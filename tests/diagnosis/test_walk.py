"""The walk: every node is compared; the first wrong one is the jump; sound engines have none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from planted_graphs import changed_layers, collapsed, random_values, renamed

from facenet_validate.base.vocabulary import Target
from facenet_validate.diagnosis.walk import walk_nodes
from facenet_validate.engines.artefacts import fp16_graph
from facenet_validate.engines.host_engine import HostEngine
from facenet_validate.engines.onnxruntime.engine import OnnxRuntimeEngine
from facenet_validate.models.prepared import PreparedModel
from tests.diagnosis.graph_cases import case_of, graph_of, int8_of

FACES = 8


@pytest.mark.parametrize("target", ["cpu", "tensorrt"])
def test_a_sound_int8_engine_loses_gradually(
    tmp_path: Path, prepared_small: PreparedModel, target: Target
) -> None:
    graph = int8_of(graph_of(prepared_small), target)
    walk = walk_nodes(case_of(tmp_path, prepared_small, graph, "int8", target=target))
    assert walk.source == "ONNX Runtime, by added outputs"
    assert all(note.startswith("with outputs added") for note in walk.notes)
    assert walk.jump is None
    assert walk.nodes[0].node == "stem/a"
    assert (walk.nodes[-1].node, walk.nodes[-1].block) == ("bottleneck", "bottleneck")
    assert all(node.local_sqnr is not None and node.local_sqnr > 20 for node in walk.nodes)
    assert all(node.cosine > 0.99 for node in walk.nodes)


@pytest.mark.parametrize("layer", ["stem/b", "block35/1b", "block8/up"])
def test_the_jump_is_the_layer_that_is_wrong(
    tmp_path: Path, prepared_small: PreparedModel, layer: str
) -> None:
    model = graph_of(prepared_small)
    wrong = changed_layers(model, [layer], random_values, np.random.default_rng(0))
    walk = walk_nodes(case_of(tmp_path, prepared_small, int8_of(wrong), "int8"))
    assert walk.jump is not None
    assert walk.jump.node == layer
    before = walk.nodes[: walk.nodes.index(walk.jump)]
    assert all(node.local_sqnr is not None and node.local_sqnr > 10 for node in before)


def test_a_range_that_does_not_fit_is_the_jump(
    tmp_path: Path, prepared_small: PreparedModel
) -> None:
    graph = collapsed(int8_of(graph_of(prepared_small)), "block17/0/relu", 0.02)
    walk = walk_nodes(case_of(tmp_path, prepared_small, graph, "int8"))
    assert walk.jump is not None
    assert (walk.jump.node, walk.jump.block) == ("block17/0", "residual 2")


def test_an_engine_of_other_names_is_walked(tmp_path: Path, prepared_small: PreparedModel) -> None:
    rng = np.random.default_rng(0)
    wrong = changed_layers(graph_of(prepared_small), ["block17/1a"], random_values, rng)
    walk = walk_nodes(case_of(tmp_path, prepared_small, renamed(wrong, rng), "fp32"))
    assert walk.jump is not None
    assert walk.jump.node == "block17/1a"
    assert walk.nodes[0].sqnr > 100


def test_fp16_loses_little_at_every_node(tmp_path: Path, prepared_small: PreparedModel) -> None:
    graph = fp16_graph(graph_of(prepared_small))
    walk = walk_nodes(case_of(tmp_path, prepared_small, graph, "fp16"))
    assert walk.jump is None
    assert all(node.local_sqnr is not None and node.local_sqnr > 50 for node in walk.nodes)


def test_without_a_graph_it_is_said_what_to_do(
    tmp_path: Path, prepared_small: PreparedModel
) -> None:
    case = case_of(tmp_path, prepared_small, graph_of(prepared_small), "fp32")
    assert "on the backend onnxruntime" in walk_nodes(replace(case, graph=None)).untold


def test_an_engine_that_gives_no_tensors_is_walked_by_its_graph(
    tmp_path: Path, prepared_small: PreparedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what it does beside the graph is not lost: the walk says that it is not shown."""
    model = graph_of(prepared_small)
    other = changed_layers(model, ["stem/a"], random_values, np.random.default_rng(0))
    monkeypatch.setattr(OnnxRuntimeEngine, "inner_tensors", HostEngine.inner_tensors)
    walk = walk_nodes(case_of(tmp_path, prepared_small, model, "fp32", computes=other))
    assert walk.source.startswith("the ONNX graph")
    assert "gives no tensors inside an engine" in walk.notes[0]
    assert "differ from those of its graph" in walk.notes[1]
    assert walk.jump is None


def test_memory_holds_a_few_faces_at_a_time(tmp_path: Path, prepared_small: PreparedModel) -> None:
    seen: list[tuple[int, int]] = []
    case = case_of(tmp_path, prepared_small, graph_of(prepared_small), "fp32")
    walk_nodes(case, faces=6, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(4, 6), (6, 6)]


def test_a_graph_with_other_operators_is_not_told(
    tmp_path: Path, prepared_small: PreparedModel
) -> None:
    graph = graph_of(prepared_small)
    for node in graph.graph.node:
        if node.name == "reduction":
            first, second = node.input
            node.input[0], node.input[1] = second, first
    onnx.checker.check_model(graph)
    walk = walk_nodes(case_of(tmp_path, prepared_small, graph, "fp32"))
    assert not walk.nodes
    assert "reduction" in walk.untold
