"""A miss says what changed of the same thing; what was never there is a first build."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from facenet_validate.base.vocabulary import Precision, Target
from facenet_validate.cache import Cache, Entry
from facenet_validate.engines.artefacts import Artefact, build_artefact
from facenet_validate.engines.embedding import Flipped, cached_embeddings
from facenet_validate.engines.onnxruntime.engine import OnnxRuntimeEngine
from facenet_validate.models.prepared import PreparedModel, prepare, source_model
from facenet_validate.models.quantization.precision import FP16_VERSION
from tests.models.small_facenet import small_facenet

FIRST = "miss: first build"


@dataclass(frozen=True)
class Faces:
    """Grey faces."""

    digest: str = "f" * 64
    names: tuple[str, ...] = tuple("abcdefgh")

    def load(self, rows: NDArray[np.intp]) -> NDArray[np.uint8]:
        faces = np.zeros((len(rows), 160, 160, 3), np.uint8)
        faces[:] = (20 * rows)[:, None, None, None]
        return faces


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


@pytest.fixture
def model(tmp_path: Path, cache: Cache) -> PreparedModel:
    return _prepared(tmp_path, cache)


def _prepared(folder: Path, cache: Cache, scale: float = 1.0) -> PreparedModel:
    model = small_facenet()
    weight = model.graph.initializer[0]
    scaled = numpy_helper.to_array(weight) * np.float32(scale)
    weight.CopyFrom(numpy_helper.from_array(scaled, weight.name))
    onnx.save(model, folder / f"{scale}.onnx")
    faces = np.zeros((4, 160, 160, 3), np.uint8)
    return prepare(source_model(folder / f"{scale}.onnx"), cache, faces=faces)


def _graph(
    precision: Precision,
    model: PreparedModel,
    cache: Cache,
    target: Target = "cpu",
    digest: str = "f",
) -> Artefact:
    return build_artefact(precision, model, target, lambda: Faces(digest * 64), cache)


def _embedded(graph: Artefact, cache: Cache, faces: Any = None) -> str:
    engine = OnnxRuntimeEngine(
        graph.path,
        digest=graph.digest,
        precision=graph.precision,
        artefact=graph.recipe,
        device="a CPU",
        threads=1,
        target="tensorrt",  # every recipe's graph is emulated so
    )
    with engine:
        return cached_embeddings(engine, faces or Faces(), 4, cache, cpu="a CPU").origin


def test_a_first_run_is_of_first_builds(model: PreparedModel, cache: Cache, tmp_path: Path) -> None:
    """Of several precisions, targets, data sets and models in one cache."""
    graphs = [
        _graph("fp32", model, cache),
        _graph("fp16", model, cache),
        _graph("int8", model, cache, "cpu"),
        _graph("int8", model, cache, "tensorrt"),
    ]
    other = _prepared(tmp_path, cache, 1.001)
    graphs += [_graph("fp16", other, cache), _graph("int8", other, cache)]
    assert {graph.reason for graph in graphs} == {FIRST}
    assert other.entry.reason == FIRST
    told = {
        _embedded(graph, cache, faces)
        for graph in graphs
        for faces in (Faces(), Flipped(Faces()), Faces("e" * 64))
    }
    assert told == {f"embedded now ({FIRST})"}


def test_a_changed_recipe_is_named_in_all_that_is_made_by_it(
    model: PreparedModel, cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _graph("fp32", _prepared(tmp_path, cache, 1.001), cache)  # another model, used last
    before = _graph("int8", model, cache)
    _embedded(before, cache)
    after = _graph("int8", model, cache, digest="e")
    assert after.reason == f"miss: calibration changed ({'f' * 12} → {'e' * 12})"
    _graph("fp16", model, cache)
    version = "facenet_validate.models.quantization.precision.FP16_VERSION"
    monkeypatch.setattr(version, FP16_VERSION + 1)
    changed = f"recipe.version changed ({FP16_VERSION} → {FP16_VERSION + 1})"
    assert _graph("fp16", model, cache).reason == f"miss: {changed}"
    monkeypatch.setattr("facenet_validate.base.versions.onnxruntime_version", lambda: "9.9.9")
    assert _graph("int8", model, cache).reason.startswith("miss: quantizer changed (onnx ")


def test_a_graph_of_the_recipe_that_was_is_named_with_what_changed(
    model: PreparedModel, cache: Cache
) -> None:
    """FP16 around INT8 is the default for TensorRT since."""
    build_artefact("int8", model, "tensorrt", Faces, cache, around="fp32")
    after = build_artefact("int8", model, "tensorrt", Faces, cache)
    assert after.reason.startswith("miss: recipe.around ")
    assert "recipe.placement changed (operands → operands and concatenated)" in after.reason
    again = build_artefact("int8", model, "tensorrt", Faces, cache, around="fp32")
    assert again.reason.startswith("hit")


def _made(cache: Cache, kind: str, content: str = "", **inputs: Any) -> Entry:
    def write(path: Path) -> None:
        path.write_text(content)

    return cache.get_or_build(kind, inputs, "m", write)


@pytest.fixture
def engines(cache: Cache) -> Mapping[str, str]:
    """Digests of INT8 engines: a model's by two versions of the converter, and another model's."""
    digests = {}
    for name, source, converter in (("old", "a", "1"), ("new", "a", "2"), ("other", "b", "2")):
        prepared = _made(
            cache, "prepared", name, **{"source model": source * 64, "converter": converter}
        )
        graph = _made(
            cache, "int8", f"{name} INT8", model=prepared.digest, recipe={"target": "cpu"}
        )
        digests[name] = graph.digest
    return digests


def _embeddings(cache: Cache, **inputs: str) -> str:
    values = {"precision": "int8", "faces": "f" * 64, "runtime": "onnxruntime 1.0"}
    return _made(cache, "embeddings", **values | inputs).reason


def test_an_engine_made_anew_of_the_same_model_has_changed(
    cache: Cache, engines: Mapping[str, str]
) -> None:
    assert _embeddings(cache, engine=engines["old"]) == FIRST
    assert _embeddings(cache, engine=engines["other"]) == FIRST
    old, new = engines["old"][:12], engines["new"][:12]
    assert _embeddings(cache, engine=engines["new"]) == f"miss: engine changed ({old} → {new})"


def test_kinds_that_cannot_be_read_are_passed_by(cache: Cache, engines: Mapping[str, str]) -> None:
    folder = cache.root / "v2" / "prepared"
    folder.rename(folder.with_name("elsewhere"))
    folder.touch()
    assert _embeddings(cache, engine=engines["old"]) == FIRST
    assert _embeddings(cache, engine=engines["new"]) == FIRST


def test_a_newer_library_has_changed_and_another_one_has_not(cache: Cache) -> None:
    supplied = "e" * 64
    assert _embeddings(cache, engine=supplied) == FIRST
    newer = _embeddings(cache, engine=supplied, runtime="onnxruntime 1.1")
    assert newer == "miss: runtime changed (onnxruntime 1.0 → onnxruntime 1.1)"
    assert _embeddings(cache, engine=supplied, runtime="tensorrt 11.4") == FIRST
    assert _embeddings(cache, engine="d" * 64) == FIRST, "another engine that was built elsewhere"


def test_a_plan_for_another_gpu_is_the_same_engine(
    cache: Cache, engines: Mapping[str, str]
) -> None:
    def plan(model: str, backend: str, gpu: str) -> str:
        library = {"backend": backend}
        return _made(
            cache, "plan", model=engines[model], precision="int8", library=library, gpu=gpu
        ).reason

    assert plan("old", "tensorrt", "A10") == FIRST
    assert plan("old", "tensorrt", "L4") == "miss: gpu changed (A10 → L4)"
    assert plan("new", "tensorrt", "L4").startswith("miss: model changed (")
    assert plan("new", "tensorrt-rtx", "L4") == FIRST
    assert plan("other", "tensorrt", "L4") == FIRST


def test_a_graph_that_is_its_own_source_is_no_endless_search(cache: Cache) -> None:
    """As a conversion to FP16 of what is FP16 already."""
    same = _made(cache, "prepared", "same", **{"source model": "a" * 64})
    assert _made(cache, "fp16", "same", model=same.digest).reason == FIRST
    again = _made(cache, "fp16", "same", model=same.digest, converter="2")
    assert again.reason == "miss: converter changed (absent → 2)"
