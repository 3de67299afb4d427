"""Engines and models named on the command line: what cannot work ends before collection, exit 4."""

from __future__ import annotations

import bz2
import lzma
import os
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from facenet_validate.base.errors import FacenetValidateError
from facenet_validate.base.vocabulary import Target
from facenet_validate.cli import main
from facenet_validate.models.prepared import PreparedModel
from facenet_validate.models.quantization.int8 import calibrate, to_int8
from facenet_validate.models.quantization.recipes import Around, int8_recipe
from facenet_validate.run.run import Run
from facenet_validate.run.supplied import read_supplied
from tests.models.exported.exporter_styles import fixed_batch
from tests.models.small_engines import (
    constant,
    copied,
    half_engine,
    int8_engine,
    named,
    stored_in,
    weights_in_constants,
    with_node_first,
    with_nodes,
    with_sides,
)
from tests.models.small_facenet import EMBEDDING, SIZE, small_facenet

GATES = """
schema = 1
[gates.any.any.any]
build.problems = 0
[gates.any.int8.any]
build.int8_share = 0.9
"""

Change = Callable[[onnx.ModelProto], onnx.ModelProto]


@pytest.fixture
def project(
    pytester: pytest.Pytester, small_set: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> pytest.Pytester:
    """A user's project with our suites, and a small source model beside them."""
    assert main(["init", str(pytester.path)]) == 0
    (pytester.path / "baselines" / "gates.toml").write_text(GATES)
    monkeypatch.setenv("FACENET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("FACENET_LFW", str(small_set))
    monkeypatch.setenv("FACENET_BACKEND", "onnxruntime")
    onnx.save(small_facenet(), pytester.path / "small.onnx")
    return pytester


def _refused(project: pytest.Pytester, *arguments: str) -> str:
    """Return the one line that ends a run before collection."""
    result = project.runpytest_inprocess("suites", *arguments)
    said = result.stderr.str()
    assert result.ret == pytest.ExitCode.USAGE_ERROR, result.stdout.str() + said
    assert "Traceback" not in said + result.stdout.str()
    assert "collected" not in result.stdout.str()
    (line,) = [line for line in said.splitlines() if line.strip()]
    return line


# --- engines that cannot run ----------------------------------------------------------------------


def _custom_domain(model: onnx.ModelProto) -> onnx.ModelProto:
    node = helper.make_node("Secret", ["input"], ["unread"], "secret", domain="com.example")
    model = with_node_first(model, node)
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    return model


def _future_opset(model: onnx.ModelProto) -> onnx.ModelProto:
    model = copied(model)
    model.opset_import[0].version = 99
    return model


def _future_ir(model: onnx.ModelProto) -> onnx.ModelProto:
    model = copied(model)
    model.ir_version = 99
    return model


def _type_without_kernel(model: onnx.ModelProto) -> onnx.ModelProto:
    """A product of 16-bit integers is no ONNX operator's."""
    model = copied(model)
    integers = constant(model, "short", np.ones((2, 2), np.int16))
    node = helper.make_node("MatMulInteger", [integers, integers], ["unread"], "shorts")
    return with_nodes(model, [node, *model.graph.node])


def _kernelless(model: onnx.ModelProto) -> onnx.ModelProto:
    """Valid ONNX for which the CPU provider has no kernel."""
    model = copied(model)
    wide = constant(model, "wide", np.ones((1, 1, 4, 4), np.float64))
    node = helper.make_node("GlobalLpPool", [wide], ["unread"], "wide pool")
    return with_nodes(model, [node, *model.graph.node])


def _another_size(model: onnx.ModelProto) -> onnx.ModelProto:
    return with_sides(model, ["N", 3, 48, 48], ["N", 16])


def _another_dimension(model: onnx.ModelProto) -> onnx.ModelProto:
    model = copied(model)
    model.graph.node[-1].output[0] = "rows"
    first = constant(model, "first", np.array([0], np.int64))
    last = constant(model, "last", np.array([8], np.int64))
    axis = constant(model, "axis", np.array([1], np.int64))
    node = helper.make_node("Slice", ["rows", first, last, axis], ["embeddings"], "fewer")
    return with_sides(with_nodes(model, [*model.graph.node, node]), ["N", 3, 32, 32], ["N", 8])


def _stated_dimension(model: onnx.ModelProto) -> onnx.ModelProto:
    """States what the source gives; gives fewer."""
    return with_sides(_another_dimension(model), ["N", 3, 32, 32], ["N", 16])


def _fixed_inside(model: onnx.ModelProto) -> onnx.ModelProto:
    return with_sides(fixed_batch(3)(model), ["N", 3, 32, 32], ["N", 16])


CANNOT_RUN: dict[str, tuple[Change, str]] = {
    "custom domain": (_custom_domain, "com.example:Secret"),
    "future opset": (_future_opset, "Install a newer onnxruntime"),
    "types": (_type_without_kernel, "MatMulInteger"),
    "no kernel": (_kernelless, "GlobalLpPool"),
    "another image size": (_another_size, "reads faces of 48 pixels"),
    "another dimension": (_another_dimension, "embeddings of 8 values"),
    "another dimension than stated": (_stated_dimension, "expected [2, 16], as its output says"),
    "future IR": (_future_ir, "Install a newer onnxruntime"),
    "a batch fixed inside": (_fixed_inside, "cannot run it"),
}


@pytest.mark.parametrize(
    ("name", "option"),
    [
        (name, option)
        for name in CANNOT_RUN
        for option in ("--facenet-engine", "--facenet-against")
        # An engine in production may have templates of another size.
        if (name, option) != ("another dimension", "--facenet-against")
    ],
)
def test_an_engine_that_cannot_run_ends_before_collection(
    name: str, option: str, project: pytest.Pytester
) -> None:
    change, says = CANNOT_RUN[name]
    path = project.path / "mine.onnx"
    onnx.save(change(small_facenet()), path)
    asked = ["--precision=fp32"] if option == "--facenet-against" else []
    line = _refused(project, f"{option}={path}", "--facenet-model=small.onnx", *asked)
    assert says in line
    assert "mine.onnx" in line


@pytest.mark.parametrize("option", ["--facenet-engine", "--facenet-against"])
def test_an_engine_of_another_model_than_the_packaged_one(
    option: str, project: pytest.Pytester
) -> None:
    line = _refused(project, f"{option}=small.onnx", "--precision=fp32")
    assert "small.onnx: reads faces of 32 pixels, but 20180408-102900" in line
    assert "Name its own FP32 model with --facenet-model." in line


@pytest.mark.parametrize("kept", [False, True], ids=["first run", "prepared before"])
def test_sizes_are_those_of_the_model_that_is_named(kept: bool, project: pytest.Pytester) -> None:
    onnx.save(_another_size(small_facenet()), project.path / "mine.onnx")
    if kept:
        assert main(["prepare", "small.onnx", "-o", str(project.path / "ready.onnx")]) == 0
    line = _refused(
        project, "--facenet-engine=mine.onnx", "--facenet-model=small.onnx", "--precision=fp32"
    )
    assert "but small.onnx, which it is compared with, reads 32" in line


# --- engines that may never end -------------------------------------------------------------------


def _values(name: str, kind: int, shape: list[int]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def _loop() -> onnx.NodeProto:
    """Once; how often is for the graph to say."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["on"]),
            helper.make_node("Identity", ["held"], ["kept"]),
        ],
        "body",
        [
            _values("i", TensorProto.INT64, []),
            _values("go", TensorProto.BOOL, []),
            _values("held", TensorProto.FLOAT, [1]),
        ],
        [_values("on", TensorProto.BOOL, []), _values("kept", TensorProto.FLOAT, [1])],
    )
    return helper.make_node("Loop", ["times", "yes", "one"], ["looped"], "endless", body=body)


def _scan() -> onnx.NodeProto:
    body = helper.make_graph(
        [helper.make_node("Identity", ["part"], ["same"])],
        "body",
        [_values("part", TensorProto.FLOAT, [])],
        [_values("same", TensorProto.FLOAT, [])],
    )
    return helper.make_node("Scan", ["one"], ["scanned"], "endless", body=body, num_scan_inputs=1)


def _branch(node: onnx.NodeProto | None) -> onnx.NodeProto:
    inner = helper.make_node("Identity", ["one"], ["chosen"])
    body = helper.make_graph(
        [*([node] if node else []), inner], "b", [], [_values("chosen", TensorProto.FLOAT, [1])]
    )
    return helper.make_node("If", ["yes"], ["branched"], "if", then_branch=body, else_branch=body)


def _equal_in_branches(outer: str, *inner: str) -> onnx.ModelProto:
    """An ``If`` whose two branches have nodes of the same names."""
    model = int8_engine()
    constant(model, "yes", np.bool_(True))
    constant(model, "one", np.ones(1, np.float32))
    bodies = [
        helper.make_graph(
            [
                helper.make_node("Identity", ["one"], [f"{side}/a"], inner[0]),
                helper.make_node("Identity", [f"{side}/a"], [f"{side}/b"], inner[1]),
            ],
            side,
            [],
            [_values(f"{side}/b", TensorProto.FLOAT, [1])],
        )
        for side in ("then", "else")
    ]
    node = helper.make_node(
        "If", ["yes"], ["chosen"], outer, then_branch=bodies[0], else_branch=bodies[1]
    )
    return with_node_first(model, node)


def _with(node: onnx.NodeProto) -> onnx.ModelProto:
    model = int8_engine()
    constant(model, "times", np.int64(1))
    constant(model, "yes", np.bool_(True))
    constant(model, "one", np.ones(1, np.float32))
    return with_node_first(model, node)


def _sequence_map() -> onnx.ModelProto:
    body = helper.make_graph(
        [helper.make_node("Identity", ["part"], ["same"])],
        "body",
        [_values("part", TensorProto.FLOAT, [1])],
        [_values("same", TensorProto.FLOAT, [1])],
    )
    node = helper.make_node("SequenceMap", ["parts"], ["mapped"], "endless", body=body)
    model = _with(node)
    listed = helper.make_node("SequenceConstruct", ["one"], ["parts"])
    return with_nodes(model, [listed, *model.graph.node])


def _in_a_function(node: onnx.NodeProto) -> onnx.ModelProto:
    model = _with(helper.make_node("Mine", ["times", "yes", "one"], ["called"], domain="mine"))
    opsets = [helper.make_opsetid("", 17)]
    read, made = ["times", "yes", "one"], list(node.output)
    model.functions.append(helper.make_function("mine", "Mine", read, made, [node], opsets))
    model.opset_import.append(helper.make_opsetid("mine", 1))
    return model


REPEATING: dict[str, Callable[[], onnx.ModelProto]] = {
    "Loop": lambda: _with(_loop()),
    "Scan": lambda: _with(_scan()),
    "SequenceMap": _sequence_map,
    "Loop in a branch": lambda: _with(_branch(_loop())),
    "Loop in a function": lambda: _in_a_function(_loop()),
    "Scan in a function": lambda: _in_a_function(_scan()),
    "Loop in a branch in a function": lambda: _in_a_function(_branch(_loop())),
}


@pytest.mark.parametrize("name", REPEATING)
def test_an_engine_that_repeats_is_refused_and_the_node_named(name: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.onnx"
    onnx.save(REPEATING[name](), path)
    with pytest.raises(FacenetValidateError, match=r"'.*endless.*'.*repeats") as refusal:
        read_supplied(path, "--facenet-engine")
    assert name.split(maxsplit=1)[0] in str(refusal.value)


@pytest.mark.parametrize(("around", "target"), [("fp16", "tensorrt"), ("fp32", None)])
def test_scales_in_half_show_that_a_graph_is_for_tensorrt(
    around: Around, target: Target | None, tmp_path: Path
) -> None:
    """Also where it says nothing of its recipe, as one of the cache: a CPU has to emulate it."""
    from facenet_validate.engines.onnxruntime.backend import OnnxRuntime

    images = np.random.default_rng(0).uniform(-1, 1, (2, 3, SIZE, SIZE)).astype(np.float32)
    calibrated = calibrate(small_facenet(), images, equalized=True)
    path = tmp_path / "mine.onnx"
    onnx.save(to_int8(calibrated, int8_recipe("tensorrt", around)), path)
    found = read_supplied(path, "--facenet-engine")
    assert (found.precision, found.target) == ("int8", target)
    OnnxRuntime("1", "a test").check_runs(path, SIZE, EMBEDDING)


def test_an_engine_may_choose(tmp_path: Path) -> None:
    onnx.save(_with(_branch(None)), tmp_path / "mine.onnx")
    assert read_supplied(tmp_path / "mine.onnx", "--facenet-engine").precision == "int8"


@pytest.mark.parametrize(
    ("names", "equal"),
    [(("i", "p", "p"), True), (("i", "i", "q"), False), (("i", "p", "q"), False)],
)
def test_equal_names_in_branches_are_no_reason_to_refuse(
    names: tuple[str, str, str], equal: bool, tmp_path: Path
) -> None:
    """As outside: the runtime is given the same graph with names of their own.

    Two branches may use the same names, which runtimes load.
    """
    from facenet_validate.engines.onnxruntime.backend import OnnxRuntime
    from facenet_validate.models.passes import has_equal_names

    onnx.save(_equal_in_branches(*names), tmp_path / "mine.onnx")
    assert has_equal_names(_equal_in_branches(*names)) == equal
    assert read_supplied(tmp_path / "mine.onnx", "--facenet-engine").precision == "int8"
    OnnxRuntime("1", "a test").check_runs(tmp_path / "mine.onnx", 32, 16)


@pytest.mark.parametrize("option", ["--facenet-engine", "--facenet-against"])
def test_a_run_with_an_engine_that_repeats_ends_before_collection(
    option: str, project: pytest.Pytester
) -> None:
    onnx.save(REPEATING["Loop"](), project.path / "mine.onnx")
    line = _refused(
        project, f"{option}=mine.onnx", "--facenet-model=small.onnx", "--precision=int8"
    )
    assert "node 'endless' (Loop) repeats" in line


def test_a_source_model_that_repeats_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its proof would run it."""
    model = small_facenet()
    constant(model, "times", np.int64(1))
    constant(model, "yes", np.bool_(True))
    constant(model, "one", np.ones(1, np.float32))
    onnx.save(with_node_first(model, _loop()), tmp_path / "mine.onnx")
    arguments = ["--cache", str(tmp_path / "cache"), "-o", str(tmp_path / "out.onnx")]
    assert main(["prepare", str(tmp_path / "mine.onnx"), *arguments]) == 2
    assert "node 'endless' (Loop) repeats" in capsys.readouterr().err


# --- whole runs -----------------------------------------------------------------------------------


def _build(project: pytest.Pytester, engine: onnx.ModelProto) -> pytest.RunResult:
    onnx.save(engine, project.path / "mine.onnx")
    arguments = ("--facenet-engine=mine.onnx", "--facenet-model=small.onnx")
    return project.runpytest_inprocess("suites/test_build.py", *arguments)


@pytest.mark.parametrize(
    "make",
    [
        lambda: named(int8_engine(), ""),
        lambda: named(int8_engine(), "same"),
        lambda: _equal_in_branches("choice", "p", "p"),
        lambda: weights_in_constants(int8_engine()),
    ],
    ids=["no names", "equal names", "equal names in a branch", "weights in Constant nodes"],
)
def test_a_correct_engine_passes_however_it_is_written(
    make: Callable[[], onnx.ModelProto], project: pytest.Pytester
) -> None:
    result = _build(project, make())
    result.stdout.fnmatch_lines(["*build*int8_share*int8*0.9*pass*"])
    assert result.ret == pytest.ExitCode.OK


def test_an_engine_in_16_bits_is_no_int8_engine(project: pytest.Pytester) -> None:
    result = _build(project, stored_in(TensorProto.UINT16, TensorProto.INT8))
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*build*int8_share*int8*0.9*fail*"])


def test_a_branch_without_layers_does_not_switch_the_gate_off(project: pytest.Pytester) -> None:
    engine = stored_in(TensorProto.UINT16, TensorProto.INT8)
    constant(engine, "yes", np.bool_(True))
    constant(engine, "one", np.ones(1, np.float32))
    result = _build(project, with_node_first(engine, _branch(None)))
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*build*int8_share*int8*0.9*fail*"])


def test_the_report_says_why_shares_cannot_be_told(project: pytest.Pytester) -> None:
    engine = int8_engine()
    constant(engine, "yes", np.bool_(True))
    constant(engine, "mixing", np.ones((3, 3, 1, 1), np.float32))
    body = helper.make_graph(
        [helper.make_node("Conv", ["input", "mixing"], ["mixed"], "within")],
        "b",
        [],
        [_values("mixed", TensorProto.FLOAT, [])],
    )
    body.output[0].type.tensor_type.ClearField("shape")
    for node in engine.graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = "chosen" if name == "input" else name
    branch = helper.make_node("If", ["yes"], ["chosen"], then_branch=body, else_branch=body)
    result = _build(project, with_node_first(engine, branch))
    result.stdout.fnmatch_lines(["*not evaluated*what node 'within' (Conv) in a branch*"])


@pytest.mark.parametrize(
    "make", [lambda: fixed_batch(8)(int8_engine()), half_engine], ids=["fixed batch", "FP16 edges"]
)
def test_what_prepare_makes_of_an_engine_is_judged_and_keeps_the_contract(
    make: Callable[[], onnx.ModelProto], project: pytest.Pytester
) -> None:
    """The command that the refusal names, and then the run it was meant for."""
    gates = (
        "contract.signature = 0\ncontract.batch_sizes = 0\ncontract.batch_invariance = 0.1\n"
        "contract.order_invariance = 0.1"
    )
    (project.path / "baselines" / "gates.toml").write_text(
        f"schema = 1\n[gates.any.any.any]\n{gates}\nbuild.problems = 0\n"
    )
    onnx.save(make(), project.path / "mine.onnx")
    line = _refused(project, "--facenet-engine=mine.onnx", "--facenet-model=small.onnx")
    assert "facenet-validate prepare" in line
    assert main(["prepare", "mine.onnx", "-o", "new.onnx"]) == 0
    result = project.runpytest_inprocess(
        "suites/test_contract.py",
        "suites/test_build.py",
        "--facenet-engine=new.onnx",
        "--facenet-model=small.onnx",
        "-k",
        "signature or invariance or build",
    )
    assert result.parseoutcomes()["passed"] == 4
    assert result.ret == pytest.ExitCode.OK


def test_the_size_of_an_engine_counts_each_file_of_its_weights_once(
    prepared: PreparedModel, prepared_onnx: onnx.ModelProto, tmp_path: Path
) -> None:
    from facenet_validate.engines.build_facts import graph_facts
    from facenet_validate.engines.supplied import supplied_artefact

    path = tmp_path / "mine.onnx"
    onnx.save(copied(prepared_onnx), path, save_as_external_data=True, location="mine.weights")
    weights = (tmp_path / "mine.weights").stat().st_size
    assert weights > 90e6
    facts = graph_facts(supplied_artefact(path, "fp32", prepared), prepared)
    assert facts.size == path.stat().st_size + weights


def test_inspect_counts_the_files_of_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, model = tmp_path / "mine.onnx", small_facenet()
    constant(model, "padding", np.zeros(1_000_000, np.float32))
    onnx.save(model, path, save_as_external_data=True, location="mine.weights", size_threshold=0)
    assert main(["inspect", str(path)]) == 0
    assert "(4.0 MB" in capsys.readouterr().out


# --- what a file is -------------------------------------------------------------------------------


def _zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}q\x00.")


def _bytes(content: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(content)

    return write


def _tar(path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        archive.addfile(tarfile.TarInfo("mine.onnx"))


def _safetensors(path: Path) -> None:
    header = b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))


FILES: dict[str, tuple[str, Callable[[Path], Any], str]] = {
    "TFLite": ("mine.tflite", _bytes(b"\x1c\0\0\0TFL3" + b"\0" * 64), "TensorFlow Lite"),
    "TFLite called ONNX": ("mine.onnx", _bytes(b"\x1c\0\0\0TFL3" + b"\0" * 64), "TensorFlow Lite"),
    "Keras": ("mine.h5", _bytes(b"\x89HDF\r\n\x1a\n" + b"\0" * 64), "Keras"),
    "Keras archive": ("mine.keras", _zip, "Keras"),
    "OpenVINO": ("mine.xml", _bytes(b'<?xml version="1.0"?><net/>'), "OpenVINO"),
    "Core ML": ("mine.mlmodel", _bytes(b"\x08\x04\x12\x02\x0a\x00"), "Core ML"),
    "ZIP": ("mine.zip", _zip, "ZIP archive"),
    "NumPy": ("mine.npz", _zip, "NumPy"),
    "NumPy array": ("mine.npy", lambda path: np.save(path, np.zeros(3)), "NumPy"),
    "pickle": ("mine.pkl", _bytes(pickle.dumps({"weights": [1.0] * 50})), "pickle"),
    "text": ("mine.txt", _bytes(b"the model is on the other disk\n"), "text file"),
    "text called ONNX": ("mine.onnx", _bytes(b"<html>404</html>\n" * 9), "text file"),
    "Git LFS": ("mine.onnx", _bytes(b"version https://git-lfs.github.com/spec/v1\n"), "Git LFS"),
    "ONNX Runtime's": ("mine.ort", _bytes(b"\x1c\0\0\0ORTM" + b"\0" * 64), "ONNX Runtime's own"),
    "picture": ("mine.png", _bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 64), "picture"),
    "gzip": ("mine.onnx.gz", _bytes(b"\x1f\x8b\x08" + b"\0" * 64), "compressed"),
    "graph as text": ("mine.pbtxt", _bytes(b"node { name: 'x' op: 'Const' }"), "as_text=False"),
    "text called a frozen graph": ("mine.pb", _bytes(b"node { name: 'x' }"), "text file"),
    "bzip2 called ONNX": ("mine.onnx", _bytes(bz2.compress(bytes(99))), "compressed"),
    "xz called ONNX": ("mine.onnx", _bytes(lzma.compress(bytes(99))), "compressed"),
    "zstd called ONNX": ("mine.onnx", _bytes(b"\x28\xb5\x2f\xfd" + bytes(99)), "compressed"),
    "7z called ONNX": ("mine.onnx", _bytes(b"7z\xbc\xaf\x27\x1c" + bytes(99)), "compressed"),
    "RAR called ONNX": ("mine.onnx", _bytes(b"Rar!\x1a\x07\0" + bytes(99)), "compressed"),
    "tar called ONNX": ("mine.onnx", _tar, "compressed"),
    "pickle 0": ("mine.onnx", _bytes(pickle.dumps({"weights": [1.0] * 50}, 0)), "pickle"),
    "pickle 1": ("mine.onnx", _bytes(pickle.dumps({"weights": [1.0] * 50}, 1)), "pickle"),
    "safetensors": ("mine.safetensors", _safetensors, "weights alone"),
    "safetensors called ONNX": ("mine.onnx", _safetensors, "weights alone"),
    "PDF": ("mine.onnx", _bytes(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"), "PDF"),
    "ELF": ("mine.onnx", _bytes(b"\x7fELF\x02\x01" + bytes(60)), "program"),
    "GIF": ("mine.onnx", _bytes(b"GIF89a" + bytes(60)), "picture"),
    "WebP": ("mine.onnx", _bytes(b"RIFF\x10\0\0\0WEBP" + bytes(60)), "picture"),
    "UTF-16": ("mine.onnx", _bytes("<html>404</html>".encode("utf-16")), "text file"),
}
ENGINES_ONLY = {
    "frozen graph": (
        "mine.pb",
        _bytes(b"\x0a\x10\x0a\x05image\x12\x07Unknown"),
        "TensorFlow graph",
    ),
    "checkpoint": ("mine.pt", _zip, "PyTorch checkpoint"),
    "old checkpoint": ("mine.pth", _bytes(pickle.dumps([1] * 50)), "PyTorch checkpoint"),
}
MODELS_ONLY = {
    "plan": ("mine.plan", _bytes(b"ftrt" + b"\0" * 64), "TensorRT plan"),
    "plan of RTX": ("mine.engine", _bytes(b"vtrt" + b"\0" * 64), "TensorRT plan"),
    "plan called ONNX": ("mine.onnx", _bytes(b"ftrt" + b"\0" * 64), "TensorRT plan"),
}
NOT_FILES: dict[str, tuple[str, Callable[[Path], Any], str]] = {
    "folder": ("mine.onnx", Path.mkdir, "it is a folder"),
    "pipe": ("mine.onnx", os.mkfifo, "it is a named pipe"),
    "device": ("mine.onnx", lambda path: path.symlink_to("/dev/null"), "it is a device"),
    "missing": ("mine.onnx", lambda path: None, "no such file"),
    "below a file": ("file/mine.onnx", lambda p: p.parent.write_bytes(b""), "no such file"),
}


@pytest.mark.parametrize("name", [*FILES, *ENGINES_ONLY, *NOT_FILES])
@pytest.mark.parametrize("option", ["--facenet-engine", "--facenet-against"])
def test_an_engine_that_is_something_else(name: str, option: str, tmp_path: Path) -> None:
    file, make, says = (FILES | ENGINES_ONLY | NOT_FILES)[name]
    make(tmp_path / file)
    with pytest.raises(FacenetValidateError) as refusal:
        read_supplied(tmp_path / file, option)
    said = str(refusal.value)
    assert says in said
    assert f"{option}: {tmp_path / file}" in said
    assert "Expected an ONNX engine (.onnx) or a TensorRT plan" in said
    assert "copied whole" not in said
    if name in ENGINES_ONLY:
        assert "--facenet-model" in said
        assert "facenet-validate quantize" in said


@pytest.mark.parametrize("name", [*FILES, *MODELS_ONLY, *NOT_FILES])
@pytest.mark.parametrize("command", ["prepare", "inspect", "quantize"])
def test_a_model_that_is_something_else(
    name: str, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, make, says = (FILES | MODELS_ONLY | NOT_FILES)[name]
    make(tmp_path / file)
    assert main([command, str(tmp_path / file)]) == 2
    captured = capsys.readouterr()
    assert says in captured.err
    assert f"{tmp_path / file}" in captured.err
    assert "Expected a TensorFlow frozen graph (.pb), an ONNX model (.onnx)" in captured.err
    assert captured.err.count("\n") == 1
    assert not captured.out
    if name in MODELS_ONLY:
        assert "--facenet-engine" in captured.err


@pytest.mark.parametrize("name", ["TFLite", "plan", "plan called ONNX", *NOT_FILES])
def test_a_run_of_a_model_that_is_something_else(name: str, project: pytest.Pytester) -> None:
    file, make, says = (FILES | MODELS_ONLY | NOT_FILES)[name]
    make(project.path / file)
    line = _refused(project, f"--facenet-model={file}", "--precision=fp32")
    assert line.startswith(f"ERROR: --facenet-model: {project.path / file}: ")
    assert says in line


@pytest.mark.parametrize("option", ["--facenet-engine", "--facenet-against"])
@pytest.mark.parametrize("name", ["checkpoint", "pipe"])
def test_a_run_of_an_engine_that_is_something_else(
    name: str, option: str, project: pytest.Pytester
) -> None:
    file, make, says = (ENGINES_ONLY | NOT_FILES)[name]
    make(project.path / file)
    assert says in _refused(project, f"{option}={file}", "--precision=fp32")


@pytest.mark.parametrize("suffix", [".ONNX", ".Onnx"])
def test_endings_may_be_in_capitals(
    suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An engine's and a model's; weights in other files are a part of both."""
    from facenet_validate.models.sources import model_digest

    path, model = tmp_path / f"mine{suffix}", small_facenet()
    onnx.save(model, path, "protobuf", save_as_external_data=True, location="w", size_threshold=64)
    assert main(["inspect", str(path)]) == 0
    assert "would take it" in capsys.readouterr().out
    arguments = ["--cache", str(tmp_path / "cache"), "-o", str(tmp_path / "out.onnx")]
    assert main(["prepare", str(path), *arguments]) == 0
    assert read_supplied(path, "--facenet-engine").precision == "fp32"
    before = model_digest(path)
    (tmp_path / "w").write_bytes(bytes((tmp_path / "w").stat().st_size))
    assert model_digest(path) != before


def test_endings_of_other_kinds_may_be_in_capitals(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from facenet_validate.engines.tensorrt.validity import is_plan
    from facenet_validate.models.pretrained import PRETRAINED, locate

    (tmp_path / "mine.PB").symlink_to(locate(PRETRAINED))
    assert main(["inspect", str(tmp_path / "mine.PB")]) == 0
    assert "TensorFlow frozen graph" in capsys.readouterr().out
    (tmp_path / "mine.PT").write_bytes(b"no checkpoint")
    assert main(["inspect", str(tmp_path / "mine.PT")]) in (0, 2)
    assert "unknown kind" not in capsys.readouterr().err
    for suffix in (".PLAN", ".Engine", ".TRT"):
        (tmp_path / f"mine{suffix}").touch()
        assert is_plan(tmp_path / f"mine{suffix}")


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("mine.plan", b"ftrt", "it has 4 bytes, and the header of a plan of TensorRT"),
        ("mine.plan", b"vtrt" + b"\0" * 20, "it has 24 bytes, and the header of a plan of"),
        ("mine.plan", b"\x1c\0\0\0TFL3" + b"\0" * 64, "looks like a TensorFlow Lite model"),
        ("mine.engine", b"\x89HDF\r\n\x1a\n" + b"\0" * 64, "looks like a Keras model"),
        ("mine.engine", b"the engine is elsewhere\n", "looks like a text file"),
        ("mine.trt", b"<html>404</html>", "looks like a text file"),
        ("mine.plan", b"ftr", "it has 3 bytes, and the header of a plan of TensorRT"),
    ],
)
def test_a_plan_that_is_none_says_what_it_is(
    name: str, content: bytes, says: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FacenetValidateError) as refusal:
        read_supplied(tmp_path / name, "--facenet-engine")
    assert says in str(refusal.value)
    assert "begins with b'ftrt', not with b'ftrt'" not in str(refusal.value)
    assert "looks like a TensorRT plan" not in str(refusal.value)


@pytest.mark.parametrize("name", ["mine.plan", "mine.engine", "mine.trt", "mine", "mine.onnx.bak"])
@pytest.mark.parametrize("command", ["prepare", "inspect", "quantize"])
def test_an_onnx_graph_of_another_ending_is_to_be_called_onnx(
    name: str, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also by the option for engines, which a message about plans would send it to."""
    onnx.save(int8_engine(), tmp_path / name, "protobuf")
    assert main([command, str(tmp_path / name)]) == 2
    said = capsys.readouterr().err
    assert "It looks like an ONNX graph" in said
    assert "Call it .onnx" in said
    assert "TensorRT plan" not in said
    assert "--facenet-engine" not in said
    if Path(name).suffix in (".plan", ".engine", ".trt"):
        with pytest.raises(FacenetValidateError, match=r"which must be called \.onnx"):
            read_supplied(tmp_path / name, "--facenet-engine")


def test_a_graph_as_text_goes_round_in_no_circle(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.pbtxt"
    path.write_text("node { name: 'x' op: 'Const' }")
    with pytest.raises(FacenetValidateError, match="as_text=False") as refusal:
        read_supplied(path, "--facenet-engine")
    assert main(["prepare", str(path)]) == 2
    said = capsys.readouterr().err
    assert "--facenet-model" not in str(refusal.value) + said


def test_an_empty_file_is_called_empty(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.onnx"
    path.touch()
    with pytest.raises(FacenetValidateError, match="it is empty"):
        read_supplied(path, "--facenet-engine")
    assert main(["prepare", str(path)]) == 2
    assert "it is empty" in capsys.readouterr().err


def test_half_precision_inside_is_no_reason(tmp_path: Path) -> None:
    onnx.save(half_engine(float_edges=True), tmp_path / "mine.onnx")
    assert read_supplied(tmp_path / "mine.onnx", "--facenet-engine").precision == "fp16"


def test_weights_beside_an_engine_are_its_digest_whatever_it_is_called(
    prepared: PreparedModel, prepared_onnx: onnx.ModelProto, tmp_path: Path
) -> None:
    """Another engine's embeddings would be taken from the cache."""
    from facenet_validate.engines.supplied import supplied_artefact

    path = tmp_path / "mine.engine-graph"
    onnx.save(copied(prepared_onnx), path, "protobuf", save_as_external_data=True, location="w")
    before = supplied_artefact(path, "fp32", prepared).digest
    with (tmp_path / "w").open("r+b") as file:
        file.write(bytes(64))
    assert supplied_artefact(path, "fp32", prepared).digest != before


def test_a_weight_shared_by_two_names_is_one_file(
    prepared: PreparedModel, prepared_onnx: onnx.ModelProto, tmp_path: Path
) -> None:
    from facenet_validate.engines.build_facts import graph_facts
    from facenet_validate.engines.supplied import supplied_artefact

    path, model = tmp_path / "mine.onnx", copied(prepared_onnx)
    onnx.save(model, path, save_as_external_data=True, location="w")
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer[::2]:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = "./w"
    path.write_bytes(model.SerializeToString())
    facts = graph_facts(supplied_artefact(path, "fp32", prepared), prepared)
    assert facts.size == path.stat().st_size + (tmp_path / "w").stat().st_size
    assert numpy_helper.to_array(prepared_onnx.graph.initializer[0]).nbytes


# --- calibration photos ---------------------------------------------------------------------------


@pytest.mark.parametrize(("found", "offered"), [(0, False), (1, True), (104, True)])
def test_fewer_photos_are_offered_where_there_is_one(found: int, offered: bool) -> None:
    settings = SimpleNamespace(origins={}, calibration_images=512, lfw=Path("/photos"))
    run: Any = SimpleNamespace(settings=settings)
    with pytest.raises(FacenetValidateError) as refusal:
        Run.check_calibration(run, found)
    said = str(refusal.value)
    assert said.startswith(f"the data set has {found} photos of people outside")
    assert (f"--facenet-calibration-images {found}, or" in said) == offered
    assert "--facenet-calibration-images 1, or" not in said or found == 1
    assert "--facenet-calibration faces:DIR or packaged" in said
    assert "Put photos of other people beside those of /photos" in said
