"""Faults of recipes, runtimes and single layers: each is named, and nothing else is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from planted_graphs import (
    CHANGES,
    Change,
    beyond_half,
    calibrated_on,
    changed_layers,
    collapsed,
    noisy,
    outputs_exchanged,
    pruned,
    random_values,
    raw,
    renamed,
)

from facenet_validate.base.vocabulary import Target
from facenet_validate.cache import Cache
from facenet_validate.datasets.synthetic import proof_faces
from facenet_validate.diagnosis.case import Case
from facenet_validate.diagnosis.diagnosis import Finding, NotTried
from facenet_validate.diagnosis.half_in_float import as_half
from facenet_validate.diagnosis.recipe_causes import recipe_findings
from facenet_validate.engines.artefacts import fp16_graph
from facenet_validate.models.prepared import PreparedModel, prepare, source_model
from facenet_validate.models.quantization.recipes import int8_recipe
from tests.diagnosis.graph_cases import calibration, case_of, graph_of, int8_of


def _named(case: Case) -> list[str]:
    found = recipe_findings(case)
    return [one.cause.name for one in found if isinstance(one, Finding) and one.named]


def _finding(case: Case, name: str) -> Finding:
    found = [one for one in recipe_findings(case) if isinstance(one, Finding)]
    return next(one for one in found if one.cause.name == name)


def _untried(case: Case) -> dict[str, str]:
    return {one.name: one.reason for one in recipe_findings(case) if isinstance(one, NotTried)}


@pytest.fixture(scope="module")
def sound_int8(prepared_small: PreparedModel) -> onnx.ModelProto:
    return int8_of(graph_of(prepared_small))


@pytest.mark.parametrize("change", CHANGES)
def test_one_wrong_layer_is_named(
    tmp_path: Path, prepared_small: PreparedModel, change: Change
) -> None:
    wrong = changed_layers(
        graph_of(prepared_small), ["block35/up"], change, np.random.default_rng(0)
    )
    case = case_of(tmp_path, prepared_small, wrong, "fp32")
    assert _named(case) == ["single layer"]
    found = _finding(case, "single layer")
    assert found.detail == "Conv block35/up of residual 1"
    assert found.removed > 0.999


@pytest.mark.parametrize("layer", ["stem/b", "block17/1b", "bottleneck"])
def test_one_wrong_layer_is_named_in_int8_too(
    tmp_path: Path, prepared_small: PreparedModel, layer: str
) -> None:
    """Its ranges were calibrated with the wrong layer, so they are undone with it."""
    wrong = changed_layers(
        graph_of(prepared_small), [layer], outputs_exchanged, np.random.default_rng(0)
    )
    assert _named(case_of(tmp_path, prepared_small, int8_of(wrong), "int8")) == ["single layer"]


def test_a_wrong_bias_is_a_wrong_layer(tmp_path: Path, prepared_small: PreparedModel) -> None:
    wrong = graph_of(prepared_small)
    for tensor in wrong.graph.initializer:
        if tensor.name == "block17/up/bias":
            value = onnx.numpy_helper.to_array(tensor) + np.float32(3)
            tensor.CopyFrom(onnx.numpy_helper.from_array(value, tensor.name))
    assert _named(case_of(tmp_path, prepared_small, wrong, "fp32")) == ["single layer"]


@pytest.mark.parametrize(
    ("tensor", "factor"),
    [("block35/0/relu", 1 / 30), ("block35/relu", 0.05), ("block17/0/relu", 100.0)],
)
def test_a_collapsed_range_is_named(
    tmp_path: Path,
    prepared_small: PreparedModel,
    sound_int8: onnx.ModelProto,
    tensor: str,
    factor: float,
) -> None:
    case = case_of(tmp_path, prepared_small, collapsed(sound_int8, tensor, factor), "int8")
    assert _named(case) == ["collapsed range"]
    assert _finding(case, "collapsed range").detail.startswith(f"{tensor} is rounded in 0 to")


def test_calibration_on_raw_photos_is_named(tmp_path: Path, prepared_small: PreparedModel) -> None:
    graph = calibrated_on(graph_of(prepared_small), raw(calibration()), int8_recipe("cpu"))
    case = case_of(tmp_path, prepared_small, graph, "int8")
    assert _named(case) == ["calibration on raw photos"]
    assert "rounded in 0 to 2" in _finding(case, "calibration on raw photos").detail


@pytest.mark.parametrize("tensor", ["stem/b/relu", "block35/relu", "block17/1b/relu"])
def test_overflow_in_fp16_is_named(
    tmp_path: Path, prepared_small: PreparedModel, tensor: str
) -> None:
    graph = fp16_graph(beyond_half(graph_of(prepared_small), tensor, 6e4))
    runs = as_half(onnx.load_from_string(graph))
    case = case_of(tmp_path, prepared_small, graph, "fp16", computes=runs)
    assert not np.isfinite(case.found).all()
    assert _named(case) == ["FP16 range"]


def test_a_stale_engine_is_named(
    tmp_path: Path, prepared_small: PreparedModel, shared_cache: Cache
) -> None:
    other = changed_layers(
        graph_of(prepared_small), ["bottleneck", "block8/up"], random_values,
        np.random.default_rng(0),
    )  # fmt: skip
    onnx.save(other, tmp_path / "other.onnx")
    cache = Cache(tmp_path / "cache")
    for path in (prepared_small.source.path, tmp_path / "other.onnx"):
        prepare(source_model(path), cache, faces=proof_faces())
    case = case_of(tmp_path, prepared_small, int8_of(other), "int8", cache=cache)
    assert _named(replace(case, graph=None)) == ["stale engine"]
    assert "stale engine" in _named(case)


@pytest.mark.parametrize("target", ["cpu", "tensorrt"])
def test_nothing_is_named_of_sound_int8(
    tmp_path: Path, prepared_small: PreparedModel, target: Target
) -> None:
    graph = int8_of(graph_of(prepared_small), target)
    case = case_of(tmp_path, prepared_small, graph, "int8", target=target)
    assert _named(case) == []
    assert "as near to FP32's" in _untried(case)["recipe"]


def _noisy(model: onnx.ModelProto) -> onnx.ModelProto:
    return noisy(model, 0.2, np.random.default_rng(0))


def _pruned(model: onnx.ModelProto) -> onnx.ModelProto:
    return pruned(model, 0.5)


def _two_random(model: onnx.ModelProto) -> onnx.ModelProto:
    layers = ["stem/b", "block17/1b"]
    return changed_layers(model, layers, random_values, np.random.default_rng(0))


@pytest.mark.parametrize("damage", [_noisy, _pruned, _two_random])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_nothing_is_named_of_what_no_cause_explains(
    tmp_path: Path,
    prepared_small: PreparedModel,
    damage: Callable[[onnx.ModelProto], onnx.ModelProto],
    precision: str,
) -> None:
    graph = damage(graph_of(prepared_small))
    if precision == "int8":
        case = case_of(tmp_path, prepared_small, int8_of(graph), "int8")
    else:
        case = case_of(tmp_path, prepared_small, graph, "fp32")
    assert _named(case) == []
    assert "layers differ" in _untried(case)["single layer"]


def test_a_fault_around_the_graph_is_the_runtime_s_and_no_cause(
    tmp_path: Path, prepared_small: PreparedModel, sound_int8: onnx.ModelProto
) -> None:
    other = changed_layers(
        graph_of(prepared_small), ["stem/a"], random_values, np.random.default_rng(0)
    )
    case = case_of(tmp_path, prepared_small, sound_int8, "int8", computes=other)
    assert _named(case) == []
    found = _finding(case, "runtime")
    assert found.removed > 0.99
    assert found.detail.startswith("row cosine of the graph to FP32 0.99")
    assert "can saturate" in _untried(case)["saturating kernels"]


def test_without_a_graph_every_cause_says_why(
    tmp_path: Path, prepared_small: PreparedModel
) -> None:
    case = case_of(tmp_path, prepared_small, graph_of(prepared_small), "fp32")
    assert "not at hand" in _untried(replace(case, graph=None))["single layer"]


def test_graphs_of_other_names_are_undone_too(
    tmp_path: Path, prepared_small: PreparedModel, sound_int8: onnx.ModelProto
) -> None:
    graph = renamed(collapsed(sound_int8, "block35/relu", 0.05), np.random.default_rng(0))
    assert _named(case_of(tmp_path, prepared_small, graph, "int8")) == ["collapsed range"]
