from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

import numpy as np
import onnx
import onnx.inliner
import pytest
from google.protobuf.message import DecodeError
from onnx import TensorProto, helper, numpy_helper

from facenet_validate.base.errors import ModelError
from facenet_validate.models.exported.onnx_extent import PART_LIMIT
from facenet_validate.models.exported.onnx_file import external_files, load_onnx
from facenet_validate.models.sources import model_digest
from tests.models.exported.exporter_styles import local_functions
from tests.models.small_facenet import small_facenet


@pytest.fixture(scope="module")
def small() -> onnx.ModelProto:
    return small_facenet()


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[list[str]]:
    """Paths in the test's folder that this process opens from now on, by whatever call."""
    names: list[str] = []

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and watching and str(arguments[0]).startswith(str(tmp_path)):
            names.append(str(arguments[0]))

    watching = True
    sys.addaudithook(hook)
    yield names
    watching = False


def _written(model: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "given.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def _copy(model: onnx.ModelProto) -> onnx.ModelProto:
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    return copied


def _external(model: onnx.ModelProto, folder: Path, location: str = "weights.bin") -> Path:
    """Save a model whose first weight is in another file."""
    model = _copy(model)
    weight = model.graph.initializer[0]
    data = weight.raw_data
    (folder / "weights.bin").write_bytes(b"\0" * 64 + data)
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, "offset": "64", "length": str(len(data))}.items():
        weight.external_data.add(key=key, value=value)
    return _written(model, folder)


def _entry(model: onnx.ModelProto, key: str, value: str) -> None:
    (entry,) = (e for e in model.graph.initializer[0].external_data if e.key == key)
    entry.value = value


def test_external_weights_beside_the_model_are_loaded(
    small: onnx.ModelProto, tmp_path: Path
) -> None:
    path = _external(small, tmp_path)
    assert external_files(path) == {"weights.bin": tmp_path / "weights.bin"}
    loaded = load_onnx(path)
    assert loaded.graph.initializer[0].raw_data == small.graph.initializer[0].raw_data
    assert not loaded.graph.initializer[0].external_data


def test_changed_weights_are_another_model(small: onnx.ModelProto, tmp_path: Path) -> None:
    path = _external(small, tmp_path)
    before = model_digest(path)
    (tmp_path / "weights.bin").write_bytes((tmp_path / "weights.bin").read_bytes()[::-1])
    assert model_digest(path) != before


@pytest.mark.parametrize(
    "location", ["/etc/hostname", "../weights.bin", "a/../../weights.bin", "C:\\w.bin", "..\\w", ""]
)
def test_external_weights_elsewhere_are_refused(
    location: str, small: onnx.ModelProto, tmp_path: Path
) -> None:
    (tmp_path / "model").mkdir()
    path = _external(small, tmp_path / "model", location)
    (tmp_path / "weights.bin").write_bytes(b"\0" * 10_000)
    for read in (load_onnx, external_files):
        with pytest.raises(ModelError) as error:
            read(path)
        assert "stem/a/weight" in str(error.value)
        assert repr(location) in str(error.value) or not location


def test_a_link_out_of_the_folder_is_refused(small: onnx.ModelProto, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    path = _external(small, tmp_path / "model")
    (tmp_path / "model" / "weights.bin").rename(tmp_path / "weights.bin")
    (tmp_path / "model" / "weights.bin").symlink_to(tmp_path / "weights.bin")
    with pytest.raises(ModelError, match=r"'weights.bin', which is a link to .*Copy the file"):
        load_onnx(path)


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("offset", "65", "of a file of"),
        ("offset", "-1", "of a file of"),
        ("length", "99999999999", "of a file of"),
        ("length", "many", "is no number"),
        ("location", "absent.bin", "there is no such file"),
    ],
)
def test_external_weights_must_be_where_the_model_says(
    key: str, value: str, says: str, small: onnx.ModelProto, tmp_path: Path
) -> None:
    path = _external(small, tmp_path)
    model = onnx.load(path, load_external_data=False)
    _entry(model, key, value)
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match=says):
        load_onnx(path)


def _cyclic(model: onnx.ModelProto) -> None:
    first, last = model.graph.node[0], model.graph.node[9]
    first.input[0] = last.output[0]


def _twice_the_same_output(model: onnx.ModelProto) -> None:
    model.graph.node[3].output[0] = model.graph.node[2].output[0]


def _claims(dims: list[int]) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        model.graph.initializer[0].dims[:] = dims

    return change


def _empty_claim(model: onnx.ModelProto) -> None:
    weight = model.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.dims[:] = [10**6, 10**6]


def _constant_claim(model: onnx.ModelProto) -> None:
    tensor = TensorProto(data_type=TensorProto.FLOAT, dims=[10**12], name="constant")
    model.graph.node.append(helper.make_node("Constant", [], ["c"], value=tensor))


def _unknown_type(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].data_type = 99


def _sparse(model: onnx.ModelProto) -> None:
    values = numpy_helper.from_array(np.ones(1, np.float32), "few")
    indices = numpy_helper.from_array(np.zeros(1, np.int64), "few/indices")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [4]))


def _without_inputs(operator: str, kept: int = 1) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        node = next(node for node in model.graph.node if node.op_type == operator)
        del node.input[kept:]

    return change


def _without_outputs(model: onnx.ModelProto) -> None:
    del model.graph.node[0].output[:]


def _empty_constant(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("Constant", [], ["c"]))


def _functions(depth: int, calls: int, *, cyclic: bool = False) -> Callable[..., None]:
    def change(model: onnx.ModelProto) -> None:
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("f", 1)]
        for level in range(depth):
            below = ("Relu", "") if not level else (f"f{level - 1}", "f")
            if cyclic and not level:
                below = (f"f{depth - 1}", "f")
            names = ["x", *(f"t{i}" for i in range(calls - 1)), "y"]
            nodes = [
                helper.make_node(below[0], [a], [b], domain=below[1]) for a, b in pairwise(names)
            ]
            model.functions.append(
                helper.make_function("f", f"f{level}", ["x"], ["y"], nodes, opsets)
            )
        model.opset_import.append(helper.make_opsetid("f", 1))
        model.graph.node[1].op_type, model.graph.node[1].domain = f"f{depth - 1}", "f"

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_cyclic, "the graph has a cycle"),
        (_twice_the_same_output, "'stem/pool', which node 'stem/pool' (MaxPool) gives too"),
        (
            _claims([10**6, 10**6]),
            "'stem/a/weight' of shape [1000000, 1000000] needs 4000000000000",
        ),
        (_claims([8, 3, 3, -3]), "a negative size"),
        (_empty_claim, "needs 1000000000000 values, but the file holds 0"),
        (_constant_claim, "'constant' of shape [1000000000000] needs"),
        (_unknown_type, "data type 99"),
        (_sparse, "weights 'few' are sparse"),
        (
            _functions(40, 10),
            "more than 100,000 nodes once local functions are inlined, most of them in node",
        ),
        (_functions(2000, 2), "more than 100,000 nodes once local functions are inlined"),
        (_functions(2000, 1), "local function 'f1999' is 2,000 functions deep"),
        (_functions(3, 2, cyclic=True), "calls itself: a cycle"),
        (_without_inputs("Conv"), "'stem/a' (Conv) has 1 inputs; expected at least 2"),
        (_without_inputs("Gemm"), "'bottleneck' (Gemm) has 1 inputs; expected at least 2"),
        (_without_inputs("Mul", 0), "'embeddings/square' (Mul) has 0 inputs; expected at least 2"),
        (_without_outputs, "'stem/a' (Conv) has 0 outputs; expected at least 1"),
        (_empty_constant, "'c' (Constant) has 0 values; expected one"),
    ],
)
def test_hostile_models_are_refused_before_functions_are_inlined(
    change: Callable[[onnx.ModelProto], None],
    says: str,
    small: onnx.ModelProto,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(onnx.inliner, "inline_local_functions", _not_to_be_called)
    model = _copy(small)
    change(model)
    path = _written(model, tmp_path)
    _refused(path, says)


def _not_to_be_called(*_: object) -> None:
    raise AssertionError("the refusal came too late")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"\x3a\xff\xff\xff\xff\x0f" + b"\0" * 1000, "not an ONNX model"),  # a graph of 4 GB
        (b"\x0a\xff\xff\xff\xff\x0f", "not an ONNX model"),
        (b"\x3a" * 100_000, "not an ONNX model"),
        (b"", "without nodes"),
        (b"\x08\x08", "without nodes"),
    ],
)
def test_files_that_are_no_model_are_refused(content: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / "given.onnx"
    path.write_bytes(content)
    _refused(path, says)


def _field(number: int, content: bytes) -> bytes:
    """Return a field of a message on the wire."""

    def varint(value: int) -> bytes:
        return bytes([value & 127 | 128]) + varint(value >> 7) if value > 127 else bytes([value])

    return varint(number << 3 | 2) + varint(len(content)) + content


def _listed(number: int, count: int) -> bytes:
    """Return so many empty fields, and one byte after them that begins no field."""
    return _field(number, b"") * count + b"\xff"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (_field(7, _listed(1, 2_000_000)), "more than 100,000 nodes"),
        (_field(7, _field(1, _field(5, _field(6, _listed(1, 200_000))))), "100,000 nodes"),
        (_field(7, _listed(5, 2_000_000)), "more than 250,000 parts"),
        (_field(7, _listed(13, 2_000_000)), "more than 250,000 parts"),
        (_field(25, _listed(7, 2_000_000)), "more than 100,000 nodes"),
    ],
    ids=["nodes", "nodes of a branch", "weights", "value infos", "nodes of a function"],
)
def test_files_that_list_too_much_are_not_parsed(
    content: bytes, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is their list read to its end: its last byte is damaged, and nobody meets it."""
    path = tmp_path / "given.onnx"
    path.write_bytes(content + _field(6, b"location"))
    with pytest.raises(DecodeError):
        onnx.ModelProto.FromString(_field(7, _listed(1, 3)))
    with monkeypatch.context() as patch:
        patch.setattr(onnx.ModelProto, "ParseFromString", _not_to_be_called)
        _refused(path, says)
        with pytest.raises(ModelError, match=says) as error:
            external_files(path)
    counted = re.search(r"counted at byte ([\d,]+) of", str(error.value))
    assert counted is not None
    # Two bytes list one entry, and none before the limit was passed over.
    assert int(counted[1].replace(",", "")) <= 2 * PART_LIMIT + 100


def test_weights_that_cannot_be_read_are_one_line(
    small: onnx.ModelProto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _external(small, tmp_path)
    opened = Path.open

    def refused(self: Path, mode: str = "r", *args: Any, **kwargs: Any) -> IO[Any]:
        if self.name == "weights.bin":
            raise PermissionError(13, "Permission denied", str(self))
        return opened(self, mode, *args, **kwargs)

    monkeypatch.setattr(Path, "open", refused)
    for read in (load_onnx, model_digest):
        with pytest.raises(ModelError, match=r"weights.bin: cannot be read \(Permission denied\)"):
            read(path)


def test_a_truncated_model_is_refused(small: onnx.ModelProto, tmp_path: Path) -> None:
    path = _written(small, tmp_path)
    path.write_bytes(path.read_bytes()[:-1000])
    _refused(path, "copied whole")


def test_a_file_larger_than_an_onnx_can_be_is_not_read(tmp_path: Path, opened: list[str]) -> None:
    path = tmp_path / "given.onnx"
    with path.open("wb") as file:
        file.truncate(4 * 2**30)  # takes no room on the disk
    assert opened == [str(path)]
    opened.clear()
    _refused(path, "4.3 GB; a model file has at most 2.1")
    assert opened == []


def _refused(path: Path, says: str) -> None:
    with pytest.raises(ModelError) as error:
        load_onnx(path)
    assert says in str(error.value)
    assert str(path) in str(error.value)


def test_unsorted_nodes_are_put_in_order(small: onnx.ModelProto, tmp_path: Path) -> None:
    model = _copy(small)
    nodes = list(model.graph.node)[::-1]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    loaded = load_onnx(_written(model, tmp_path))
    onnx.checker.check_model(loaded)


def test_local_functions_are_inlined(small: onnx.ModelProto, tmp_path: Path) -> None:
    loaded = load_onnx(_written(local_functions(small), tmp_path))
    assert not loaded.functions
    assert {node.domain for node in loaded.graph.node} == {""}
    assert len(loaded.graph.node) == len(small.graph.node)
