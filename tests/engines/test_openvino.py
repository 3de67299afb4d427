"""The engine on OpenVINO's CPU plugin: what it computes in, and what it does with odd input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from facenet_validate.base.errors import EngineError
from facenet_validate.base.vocabulary import PRECISIONS, Precision
from facenet_validate.engines.artefacts import Artefact
from facenet_validate.engines.backend import Cpu
from facenet_validate.engines.backends import BACKEND_NAMES
from facenet_validate.engines.openvino import engine as module
from facenet_validate.engines.openvino.backend import OpenVino
from facenet_validate.engines.openvino.engine import OpenVinoEngine, float_type
from facenet_validate.metrics.parity import compare_embeddings
from facenet_validate.models.quantization.precision import to_fp16
from facenet_validate.run.options import OPTIONS
from tests.models.small_engines import half_engine, int8_engine, stored_in, with_sides
from tests.models.small_facenet import EMBEDDING, SIZE, small_facenet

needs_openvino = pytest.mark.skipif(
    find_spec("openvino") is None, reason=f"OpenVINO is not installed: {OpenVino.install}"
)
GRAPHS = {
    "fp32": small_facenet,
    "fp16": lambda: to_fp16(small_facenet()),
    "int8": int8_engine,
}
BACKEND = OpenVino("1.0", "a test")


def artefact(path: Path, precision: Precision, model: onnx.ModelProto) -> Artefact:
    onnx.save(model, path)
    return Artefact(path, "d" * 64, path, "d" * 64, precision, "a recipe", "built")


@pytest.fixture(scope="module")
def artefacts(tmp_path_factory: pytest.TempPathFactory) -> dict[Precision, Artefact]:
    """The small network in every precision."""
    folder = tmp_path_factory.mktemp("graphs")
    return {kind: artefact(folder / f"{kind}.onnx", kind, GRAPHS[kind]()) for kind in PRECISIONS}


@pytest.fixture(scope="module")
def batch() -> NDArray[np.float32]:
    """Seven random images."""
    drawn = np.random.default_rng(3).uniform(-1, 1, (7, 3, SIZE, SIZE))
    return drawn.astype(np.float32)


def loaded(found: Artefact, threads: int = 1) -> OpenVinoEngine:
    return OpenVinoEngine(found, Cpu("the CPU", "its details", threads))


def prepared(found: Artefact) -> Any:
    """Return as much of a prepared model as an engine asks for."""
    return SimpleNamespace(entry=SimpleNamespace(path=found.path))


def capable_of(monkeypatch: pytest.MonkeyPatch, *kinds: str) -> None:
    core = SimpleNamespace(get_property=lambda *_: [*kinds, "FP32", "INT8"])
    monkeypatch.setattr(module, "_library", lambda: SimpleNamespace(Core=lambda: core))


@needs_openvino
@pytest.mark.parametrize(
    ("precision", "nearest"), [("fp32", 1 - 1e-10), ("fp16", 0.999), ("int8", 0.95)]
)
def test_it_embeds_as_onnx_runtime_does(
    artefacts: dict[Precision, Artefact],
    batch: NDArray[np.float32],
    precision: Precision,
    nearest: float,
) -> None:
    session = ort.InferenceSession(artefacts["fp32"].path, providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {"input": batch})
    with loaded(artefacts[precision]) as engine:
        found = engine.run(batch)
    assert (str(found.dtype), found.shape) == ("float32", (7, EMBEDDING))
    assert compare_embeddings(np.asarray(expected), found).cosine_min > nearest


@needs_openvino
@pytest.mark.parametrize("precision", PRECISIONS)
def test_it_says_what_it_computes_in(
    artefacts: dict[Precision, Artefact], precision: Precision
) -> None:
    """BF16 counts as the half precision it is, where the CPU has no FP16."""
    if BACKEND.recipe_only(precision, "cpu"):
        pytest.skip("this CPU has neither FP16 nor BF16")
    with loaded(artefacts[precision]) as engine:
        computed = engine.computed_precision(prepared(artefacts["fp32"]))
        assert engine.info.recipe_only is False
        types = dict(engine.info.options)["compiled layers"]
    assert computed.untold == ""
    assert types in computed.source
    mostly = {"fp32": ["f32"], "fp16": [float_type("fp16")], "int8": ["u8", "i8"]}[precision]
    assert types.split(", ")[0].split()[1] in mostly
    assert computed.shares[precision] > 0.95
    assert sum(computed.shares.values()) == pytest.approx(1)


@needs_openvino
def test_layers_of_other_names_are_unknown(
    artefacts: dict[Precision, Artefact], tmp_path: Path
) -> None:
    model = small_facenet()
    for node in model.graph.node:
        node.name = f"mine/{node.name}"
    with loaded(artefact(tmp_path / "mine.onnx", "fp32", model)) as engine:
        shares = engine.computed_precision(prepared(artefacts["fp32"])).shares
    assert shares == {"unknown": 1}


@pytest.mark.parametrize(
    ("capabilities", "half"),
    [((), "f32"), (("BF16",), "bf16"), (("FP16",), "f16"), (("BF16", "FP16"), "f16")],
)
def test_fp16_is_real_where_the_cpu_has_a_half_precision(
    monkeypatch: pytest.MonkeyPatch, capabilities: tuple[str, ...], half: str
) -> None:
    capable_of(monkeypatch, *capabilities)
    assert [float_type(precision) for precision in PRECISIONS] == ["f32", half, "f32"]
    assert BACKEND.recipe_only("fp16", "cpu") is (half == "f32")
    assert not BACKEND.recipe_only("fp32", "cpu")
    assert not BACKEND.recipe_only("int8", "tensorrt")


@needs_openvino
def test_fp16_on_a_cpu_without_is_the_recipe_alone(
    artefacts: dict[Precision, Artefact], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "float_type", lambda _: "f32")
    with loaded(artefacts["fp16"]) as engine:
        assert engine.info.recipe_only is True
        shares = engine.computed_precision(prepared(artefacts["fp32"])).shares
    assert shares == {"fp32": 1}


@needs_openvino
@pytest.mark.parametrize(
    ("precision", "types", "refused"),
    [
        ("fp32", ["f32", "bf16"], True),
        ("fp32", ["f32", "f32"], False),
        ("int8", ["f32", "f32"], True),
        ("int8", ["u8", "f32", "f32"], True),
        ("int8", ["i8", "u8", "f32"], False),
        ("fp16", ["f32", "f32"], True),
        ("fp16", ["bf16", "f16", "f32"], False),
        ("fp32", ["f64"], True),
    ],
)
def test_an_engine_compiled_in_another_precision_is_refused(
    artefacts: dict[Precision, Artefact],
    monkeypatch: pytest.MonkeyPatch,
    precision: Precision,
    types: list[str],
    refused: bool,
) -> None:
    monkeypatch.setattr(module, "_multiplying_layers", lambda _: [(kind, []) for kind in types])
    if not refused:
        loaded(artefacts[precision]).close()
        return
    if BACKEND.recipe_only(precision, "cpu"):
        pytest.skip("this CPU has neither FP16 nor BF16")
    with pytest.raises(EngineError, match=f"layers in .*{types[-1]}") as error:
        loaded(artefacts[precision])
    assert f"expected {precision}" in str(error.value)


@needs_openvino
def test_integers_that_openvino_does_not_fuse_are_no_int8_engine(tmp_path: Path) -> None:
    wide = artefact(tmp_path / "wide.onnx", "int8", stored_in(TensorProto.UINT16, TensorProto.INT8))
    with pytest.raises(EngineError, match=r"compiled its layers in \d+ f32.*; expected int8"):
        loaded(wide)


@needs_openvino
def test_what_decides_result_and_speed_is_pinned_and_stored(
    artefacts: dict[Precision, Artefact],
) -> None:
    """What is stored is what is in force in the compiled model."""
    with loaded(artefacts["fp32"], threads=1) as engine:
        options, model = dict(engine.info.options), engine._model
        assert options == {
            "device": "CPU",
            "INFERENCE_PRECISION_HINT": "f32",
            "EXECUTION_MODE_HINT": "ACCURACY",
            "INFERENCE_NUM_THREADS": "1",
            "NUM_STREAMS": "1",
            "ENABLE_HYPER_THREADING": "YES",
            "ENABLE_CPU_PINNING": "NO",
            "compiled layers": options["compiled layers"],
        }
        assert model.get_property("INFERENCE_PRECISION_HINT").get_type_name() == "f32"
        assert str(model.get_property("EXECUTION_MODE_HINT")).endswith("ACCURACY")
        assert model.get_property("INFERENCE_NUM_THREADS") == 1
        assert str(model.get_property("NUM_STREAMS")) == "1"
        assert model.get_property("ENABLE_CPU_PINNING") is False
        info = engine.info
    assert (info.device, info.device_details) == ("the CPU", "its details")
    assert info.runtime.startswith("openvino 20")
    assert info.artefact == "a recipe"


@needs_openvino
@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_contracts_names_are_found(
    artefacts: dict[Precision, Artefact], precision: Precision
) -> None:
    """An FP16 graph's input and output are one tensor with the casts beside them."""
    with loaded(artefacts[precision]) as engine:
        found = [(t.name, t.dtype, t.shape) for t in (engine.input, engine.output)]
    assert found == [
        ("input", "float32", ("?", 3, SIZE, SIZE)),
        ("embeddings", "float32", ("?", EMBEDDING)),
    ]


@needs_openvino
@pytest.mark.parametrize("precision", PRECISIONS)
def test_one_compiled_model_runs_every_batch_size(
    artefacts: dict[Precision, Artefact], batch: NDArray[np.float32], precision: Precision
) -> None:
    with loaded(artefacts[precision]) as engine:
        together = engine.run(batch)
        parts = [*engine.run_many([batch[:1], batch[1:3], batch[3:]])]
    np.testing.assert_allclose(np.concatenate(parts), together, atol=1e-6)


@needs_openvino
@pytest.mark.parametrize("shape", [(0, 3, SIZE, SIZE), (2, 1, SIZE, SIZE), (3, SIZE, SIZE)])
def test_an_engine_runs_on_after_a_batch_it_refused(
    artefacts: dict[Precision, Artefact], batch: NDArray[np.float32], shape: tuple[int, ...]
) -> None:
    """After an empty first batch, OpenVINO itself refuses every later one."""
    with loaded(artefacts["fp32"]) as engine:
        with pytest.raises(EngineError, match=r"a batch is float32|an empty batch"):
            engine.run(np.zeros(shape, np.float32))
        before = engine.run(batch)
        with pytest.raises(EngineError):
            engine.run(np.zeros(shape, np.float32))
        np.testing.assert_array_equal(engine.run(batch), before)


@needs_openvino
def test_a_run_that_fails_is_named_in_one_line(
    artefacts: dict[Precision, Artefact], batch: NDArray[np.float32]
) -> None:
    def fails(_: NDArray[np.float32]) -> None:
        raise RuntimeError(
            "Exception from src/a.cpp:7:\nCheck 'b' failed at src/b.cpp:8:\nno room\n"
        )

    with loaded(artefacts["fp32"]) as engine:
        engine._model = fails
        with pytest.raises(EngineError, match=r"a run failed: no room\.$"):
            engine.run(batch)


@needs_openvino
def test_threads_may_run_wherever_the_process_may(
    artefacts: dict[Precision, Artefact], batch: NDArray[np.float32]
) -> None:
    tasks, allowed = Path("/proc/self/task"), os.sched_getaffinity(0)
    before = {*tasks.iterdir()}
    with loaded(artefacts["fp32"], threads=2) as engine:
        engine.run(batch)
        for thread in {*tasks.iterdir()} - before:
            assert os.sched_getaffinity(int(thread.name)) == allowed
    assert os.sched_getaffinity(0) == allowed


def foreign() -> onnx.ModelProto:
    model = small_facenet()
    model.graph.node.insert(0, helper.make_node("Swirl", ["input"], ["swirled"], domain="mine"))
    model.graph.node[1].input[0] = "swirled"
    model.opset_import.append(helper.make_opsetid("mine", 1))
    return model


@needs_openvino
def test_a_graph_that_it_does_not_take_is_refused_with_the_reason(tmp_path: Path) -> None:
    graph = artefact(tmp_path / "foreign.onnx", "fp32", foreign())
    with pytest.raises(EngineError) as error:
        loaded(graph)
    text = str(error.value)
    assert text.startswith(f"engine {graph.path}: OpenVINO does not take it: ")
    assert text.endswith(" operations: mine.Swirl.")  # each version says it in words of its own
    assert "\n" not in text


@needs_openvino
def test_a_supplied_engine_is_tried_before_collection(tmp_path: Path) -> None:
    for name, model in (("int8", int8_engine()), ("half", half_engine(float_edges=True))):
        path = tmp_path / f"{name}.onnx"
        onnx.save(model, path)
        BACKEND.check_runs(path, SIZE, EMBEDDING)
    onnx.save(with_sides(small_facenet(), ["N", 3, SIZE, SIZE], ["N", 9]), tmp_path / "nine.onnx")
    with pytest.raises(EngineError, match=r"gives \[2, 16\] for 2 faces; expected \[2, 9\]"):
        BACKEND.check_runs(tmp_path / "nine.onnx", SIZE, 9)
    onnx.save(foreign(), tmp_path / "foreign.onnx")
    with pytest.raises(EngineError, match=r"OpenVINO does not take it: .* mine\.Swirl"):
        BACKEND.check_runs(tmp_path / "foreign.onnx", SIZE, EMBEDDING)


def test_a_library_that_cannot_be_imported_is_told_how_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(EngineError, match="OpenVINO cannot be imported: ") as error:
        float_type("fp16")
    assert str(error.value).endswith("Expected: pip install 'facenet-validate[openvino]'.")


@needs_openvino
def test_loading_openvino_tells_nobody(tmp_path: Path) -> None:
    """Its import alone would start a process that sends, and leave an identity at home."""
    script = """
import json, sys
events = []
sys.addaudithook(lambda name, _: events.append(name))
from facenet_validate.engines.openvino.engine import float_type
float_type("fp16")
watched = {"os.fork", "os.posix_spawn", "subprocess.Popen", "socket.connect"}
print(json.dumps([sorted({*events} & watched), "openvino_telemetry" in sys.modules]))
"""
    variables = {k: v for k, v in os.environ.items() if k not in ("CI", "TF_BUILD", "JENKINS_URL")}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=variables | {"HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    assert json.loads(done.stdout) == [[], False]
    assert not (tmp_path / "intel").exists()


def test_auto_never_chooses_it() -> None:
    assert not OpenVino.automatic


def test_the_options_help_names_every_backend() -> None:
    (option,) = (option for option in OPTIONS if option.name == "facenet_backend")
    assert option.metavar == f"{{auto,{','.join(BACKEND_NAMES)}}}"
