"""Engines with other edges than the contract's: the advice they get can be followed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from facenet_validate.base.errors import FacenetValidateError
from facenet_validate.cli import main
from facenet_validate.models.exported.simplification import optimised
from facenet_validate.models.network import precision_shares
from facenet_validate.models.prepared import load_onnx
from facenet_validate.run.supplied import read_supplied
from tests.models.exported.exporter_styles import chained, fixed_batch, nhwc_input
from tests.models.small_engines import (
    copied,
    half_engine,
    int8_engine,
    named,
    with_nodes,
    with_sides,
)
from tests.models.small_facenet import CHANNELS, EMBEDDING, small_facenet

Engine = Callable[[], onnx.ModelProto]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FACENET_CACHE", str(tmp_path / "cache"))


def _called(model: onnx.ModelProto) -> onnx.ModelProto:
    """Call input and output as other exporters do."""
    for node in model.graph.node:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                names[place] = {"input": "x", "embeddings": "y"}.get(name, name)
    model.graph.input[0].name, model.graph.output[0].name = "x", "y"
    return model


def _four_sides() -> onnx.ModelProto:
    """Embeddings as [N, D, 1, 1]."""
    model = int8_engine()
    model.graph.initializer.append(numpy_helper.from_array(np.array([-1, 16, 1, 1]), "sides"))
    model.graph.node[-1].output[0] = "rows"
    reshape = helper.make_node("Reshape", ["rows", "sides"], ["embeddings"])
    with_nodes(model, [*model.graph.node, reshape])
    return with_sides(model, ["N", 3, 32, 32], ["N", 16, 1, 1])


ENGINES: dict[str, tuple[Engine, str]] = {
    "INT8, batch fixed at 8": (lambda: fixed_batch(8)(int8_engine()), "batch fixed at 8 → dynamic"),
    "INT8, batch fixed at 1": (lambda: fixed_batch(1)(int8_engine()), "batch fixed at 1 → dynamic"),
    "INT8, interleaved": (lambda: nhwc_input(int8_engine()), "interleaved pixels"),
    "INT8, interleaved, fixed": (
        lambda: chained(fixed_batch(2), nhwc_input)(int8_engine()),
        "batch fixed at 2",
    ),
    "INT8, open colours": (
        lambda: with_sides(int8_engine(), ["b", "c", 32, 32], ["b", "d"]),
        "its sides stated",
    ),
    "INT8, open output": (
        lambda: with_sides(int8_engine(), ["N", 3, 32, 32], ["N", "d"]),
        "its sides stated",
    ),
    "INT8, rows of four sides": (_four_sides, "output → rows"),
    "FP16 edges": (half_engine, "input FLOAT16 → FLOAT"),
    "FP16 edges, batch fixed at 4": (lambda: fixed_batch(4)(half_engine()), "output FLOAT16"),
}


@pytest.mark.parametrize("name", ENGINES)
def test_the_advice_an_engine_gets_can_be_followed(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """``--facenet-engine`` refuses it and names a command; what that writes is taken."""
    make, changed = ENGINES[name]
    onnx.save(make(), "mine.onnx")
    with pytest.raises(FacenetValidateError) as refusal:
        read_supplied(Path("mine.onnx"), "--facenet-engine")
    advice = str(refusal.value)
    assert "facenet-validate prepare mine.onnx -o NEW.onnx" in advice
    assert main(["prepare", "mine.onnx", "-o", "NEW.onnx"]) == 0, capsys.readouterr().err
    assert changed in capsys.readouterr().out
    given = read_supplied(Path("NEW.onnx"), "--facenet-engine")
    assert given.precision == ("fp16" if "FP16" in name else "int8")
    before, after = load_onnx(Path("mine.onnx")), load_onnx(Path("NEW.onnx"))
    onnx.checker.check_model(after, full_check=True)
    assert precision_shares(after) == precision_shares(before)
    assert [after.graph.input[0].name, after.graph.output[0].name] == ["input", "embeddings"]


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("command", ["inspect", "quantize"])
def test_other_commands_send_nobody_in_a_circle(
    name: str, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """`inspect` says what `prepare` would change; `quantize` names the option for engines."""
    onnx.save(ENGINES[name][0](), "mine.onnx")
    status = main([command, "mine.onnx"])
    said = capsys.readouterr()
    if command == "inspect":
        assert status == 0
        assert "would write it as an engine that keeps the contract" in said.out
    else:
        assert status == 2
        assert "--facenet-engine" in said.err


@pytest.mark.parametrize("make", [int8_engine, small_facenet], ids=["INT8", "FP32"])
def test_the_advice_of_two_outputs_can_be_followed(
    make: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    model = copied(make())
    pool = next(node for node in model.graph.node if node.op_type == "AveragePool")
    sides: list[int | str] = ["N", CHANNELS, 1, 1]
    extra = helper.make_tensor_value_info(pool.output[0], TensorProto.FLOAT, sides)
    model.graph.output.append(extra)
    onnx.save(model, "mine.onnx")
    with pytest.raises(FacenetValidateError, match=r"2 outputs .*; expected one") as refusal:
        read_supplied(Path("mine.onnx"), "--facenet-engine")
    advice = str(refusal.value).rstrip(".").partition("facenet-validate ")[2]
    assert advice == "prepare mine.onnx -o NEW.onnx --output embeddings"
    assert main(advice.split()) == 0, capsys.readouterr().err
    assert read_supplied(Path("NEW.onnx"), "--facenet-engine").embedding_size == EMBEDDING


def test_two_inputs_are_refused_with_what_helps() -> None:
    model = copied(int8_engine())
    model.graph.input.append(helper.make_tensor_value_info("scale", TensorProto.FLOAT, [1]))
    onnx.save(model, "mine.onnx")
    with pytest.raises(FacenetValidateError, match=r"2 inputs .*; expected one. Export it for inf"):
        read_supplied(Path("mine.onnx"), "--facenet-engine")


@pytest.mark.parametrize("make", [int8_engine, small_facenet], ids=["INT8", "FP32"])
@pytest.mark.parametrize("sides", [["b", "c", "h", "w"], ["N", 3, "h", "w"]])
def test_an_open_size_that_is_not_160_pixels_is_named(
    make: Engine, sides: list[int | str], capsys: pytest.CaptureFixture[str]
) -> None:
    """The small network reads 32; stating them is what helps."""
    onnx.save(with_sides(make(), sides, None), "mine.onnx")
    assert main(["prepare", "mine.onnx", "-o", "NEW.onnx"]) == 2
    said = capsys.readouterr().err
    assert "160 pixels were assumed. State H and W in the input's shape" in said
    assert said.count("\n") == 1
    onnx.save(with_sides(make(), ["b", 3, 32, 32], None), "mine.onnx")
    assert main(["prepare", "mine.onnx", "-o", "NEW.onnx"]) == 0, capsys.readouterr().err


def test_an_engine_s_recipe_and_names_survive(capsys: pytest.CaptureFixture[str]) -> None:
    model = _called(fixed_batch(8)(int8_engine()))
    model.metadata_props.add(key="facenet_validate.recipe", value='{"target": "cpu"}')
    onnx.save(model, "mine.onnx")
    assert main(["prepare", "mine.onnx"]) == 0, capsys.readouterr().err
    assert read_supplied(Path("mine.engine.onnx"), "--facenet-engine").target == "cpu"


def test_equal_names_and_a_fixed_batch(capsys: pytest.CaptureFixture[str]) -> None:
    """No runtime loads equal names; they are no reason to refuse an engine."""
    onnx.save(named(fixed_batch(8)(int8_engine()), "same"), "mine.onnx")
    assert main(["prepare", "mine.onnx"]) == 0, capsys.readouterr().err
    assert read_supplied(Path("mine.engine.onnx"), "--facenet-engine").precision == "int8"


def test_a_batch_that_cannot_be_opened_is_refused_with_what_helps(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The batch is a constant of a node that is no reshape."""
    model = fixed_batch(4)(int8_engine())
    model.graph.initializer.append(
        numpy_helper.from_array(np.zeros((4, 16), np.float32), "per face")
    )
    model.graph.node[-1].output[0] = "rows"
    add = helper.make_node("Add", ["rows", "per face"], ["embeddings"])
    onnx.save(with_nodes(model, [*model.graph.node, add]), "mine.onnx")
    assert main(["prepare", "mine.onnx"]) == 2
    said = capsys.readouterr().err
    assert "fixed inside the graph" in said
    assert "dynamic_axes" in said
    assert not Path("mine.engine.onnx").exists()


def test_rows_that_depend_on_each_other_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """A mean over the batch: the graph runs at any size, and gives something else."""
    model = fixed_batch(4)(int8_engine())
    model.graph.node[-1].output[0] = "rows"
    nodes = [
        helper.make_node("ReduceMean", ["rows"], ["mean"], axes=[0], keepdims=1),
        helper.make_node("Sub", ["rows", "mean"], ["embeddings"]),
    ]
    onnx.save(with_nodes(model, [*model.graph.node, *nodes]), "mine.onnx")
    assert main(["prepare", "mine.onnx"]) == 2
    assert "fixed inside the graph" in capsys.readouterr().err


def test_an_engine_that_keeps_the_contract_is_sent_to_its_option(
    capsys: pytest.CaptureFixture[str],
) -> None:
    onnx.save(int8_engine(), "mine.onnx")
    assert main(["prepare", "mine.onnx"]) == 2
    assert "validate this one with --facenet-engine" in capsys.readouterr().err


def test_bytes_as_faces_are_refused_with_what_helps(capsys: pytest.CaptureFixture[str]) -> None:
    model = int8_engine()
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    model.graph.node[0].input[0] = "faces"
    cast = helper.make_node("Cast", ["input"], ["faces"], to=TensorProto.FLOAT)
    onnx.save(with_nodes(model, [cast, *model.graph.node]), "mine.onnx")
    with pytest.raises(FacenetValidateError, match=r"UINT8; expected FLOAT.*\(x − 127\.5\) / 128"):
        read_supplied(Path("mine.onnx"), "--facenet-engine")


# --- source models whose sides are open -----------------------------------------------------------


@pytest.mark.parametrize(
    ("sides", "interleaved"),
    [
        (["b", "c", "h", "w"], False),
        (["b", "h", "w", "c"], True),
        ([1, "c", "h", "w"], False),
        ([None, None, None, None], False),
        (None, False),
    ],
)
def test_the_first_convolution_tells_the_colours(
    sides: list[int | str] | None,
    interleaved: bool,
    prepared_onnx: onnx.ModelProto,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Without ``--input``, which such a model was told to give and refused for."""
    model = nhwc_input(prepared_onnx) if interleaved else prepared_onnx
    onnx.save(with_sides(model, sides, None), "mine.onnx")
    assert main(["inspect", "mine.onnx"]) == 0
    said = capsys.readouterr().out
    assert "would take it" in said
    assert "its first convolution reads 3 channels; its size is open, 160 is FaceNet's" in said
    assert ("interleaved pixels (NHWC)" in said) == interleaved
    if sides and sides[0] == "b" and not interleaved:
        assert main(["prepare", "mine.onnx"]) == 0
        read_supplied(Path("mine.prepared.onnx"), "--facenet-engine")


@pytest.mark.parametrize("sides", [["b", 1, 32, 32], ["b", 4, "h", "w"], ["b", "n"]])
def test_sides_that_contradict_the_convolution_are_no_image(
    sides: list[int | str], capsys: pytest.CaptureFixture[str]
) -> None:
    onnx.save(with_sides(small_facenet(), sides, ["b", 16]), "mine.onnx")
    assert main(["prepare", "mine.onnx"]) == 2
    assert "no image input" in capsys.readouterr().err


def test_what_a_runtime_optimised_keeps_its_operators() -> None:
    """ONNX Runtime's optimiser at its basic level leaves standard operators: a usual engine."""
    onnx.save(optimised(fixed_batch(8)(int8_engine()), "mine"), "mine.onnx")
    assert main(["prepare", "mine.onnx", "-o", "NEW.onnx"]) == 0
    assert read_supplied(Path("NEW.onnx"), "--facenet-engine").precision == "int8"
