from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import onnx
import pytest

from facenet_validate.base.errors import EngineError
from facenet_validate.engines.backend import PROFILES
from facenet_validate.engines.tensorrt.build import build_plan, parsed_report
from facenet_validate.engines.tensorrt.library import Library, describe_library
from facenet_validate.engines.tensorrt.log import listening
from facenet_validate.engines.tensorrt.options import BuildOptions
from facenet_validate.models.network import multiply_adds
from facenet_validate.models.quantization.precision import to_fp16
from tests.engines.tensorrt.fake_tensorrt import FakeTensorRT
from tests.models.small_facenet import SIZE, small_facenet
from tests.waiting import HANG

OPTIONS = BuildOptions((8,))


def _odd(messages: tuple[str, ...]) -> list[str]:
    """Return warnings but for two of RTX: it multiplies by FP16 scales in FP32."""
    return [text for text in messages if not re.search("Converting conv .* scales to fp32", text)]


@pytest.mark.parametrize(
    ("precision", "word"), [("fp32", "FLOAT"), ("fp16", "HALF"), ("int8", "INT8")]
)
def test_a_plan_is_built_and_compiled_in_the_graphs_types(
    rtx: Library, graphs: Mapping[str, onnx.ModelProto], precision: str, word: str
) -> None:
    built = build_plan(rtx, graphs[precision].SerializeToString(), OPTIONS)
    assert built.plan[:4] == b"vtrt"
    assert built.timing_cache is None
    assert _odd(built.messages) == []
    assert built.seconds > 0
    assert "Total Weights Memory" in built.log
    assert "VERBOSE: Layers:" in built.log
    assert "VERBOSE: Parsing node" not in built.log
    # The compiler keeps what the parsed network says.
    assert built.compiled is not None
    assert built.compiled.multiply_adds_by_type == built.report.multiply_adds_by_type
    assert max(built.report.multiply_adds_by_type, key=lambda t: t != "FLOAT") == word


def test_the_whole_model_has_the_graphs_multiply_adds(
    rtx: Library, prepared_onnx: onnx.ModelProto
) -> None:
    half = to_fp16(prepared_onnx)
    built = build_plan(rtx, half.SerializeToString(), BuildOptions((64,)))
    counted = sum(multiply_adds(prepared_onnx).values())
    assert counted == 1_417_662_304
    assert sum(built.report.multiply_adds_by_type.values()) == counted
    assert built.report.half_share == pytest.approx(1 - 1792 * 512 / counted, abs=1e-12)
    assert built.compiled is not None
    assert built.compiled.multiply_adds_by_type == built.report.multiply_adds_by_type
    assert len(built.plan) < prepared_onnx.ByteSize() * 0.6


def test_a_graph_can_be_described_without_building_it(
    rtx: Library, graphs: Mapping[str, onnx.ModelProto]
) -> None:
    content = graphs["int8"].SerializeToString()
    assert parsed_report(rtx, content) == build_plan(rtx, content, OPTIONS).report


def test_the_log_is_heard_while_an_engine_is_loaded(
    rtx: Library, graphs: Mapping[str, onnx.ModelProto]
) -> None:
    runtime = rtx.module.Runtime(rtx.logger)
    built = build_plan(rtx, graphs["fp32"].SerializeToString(), OPTIONS)
    assert "Engine generation completed" in built.log
    assert "logger" not in " ".join(built.messages)
    del runtime


def test_progress_never_goes_back_and_ends_complete(
    rtx: Library, graphs: Mapping[str, onnx.ModelProto]
) -> None:
    seen: list[tuple[int, int]] = []
    build_plan(
        rtx,
        graphs["int8"].SerializeToString(),
        OPTIONS,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert len(seen) > 10
    assert seen == sorted(set(seen))
    assert seen[-1] == (1000, 1000)


class _StopError(Exception):
    pass


def test_a_report_that_raises_cancels_the_build_and_is_heard(
    rtx: Library, graphs: Mapping[str, onnx.ModelProto]
) -> None:
    calls = []

    def report(done: int, total: int) -> None:
        calls.append(done)
        if done > 100:
            raise _StopError

    content = graphs["int8"].SerializeToString()
    with listening(rtx.logger) as messages, pytest.raises(_StopError):
        build_plan(rtx, content, OPTIONS, progress=report)
    assert "Engine generation completed" not in messages.text()
    assert max(calls) < 1000
    assert build_plan(rtx, content, OPTIONS).plan


INTERRUPTED = """
import os
import signal
import sys
from pathlib import Path

from facenet_validate.engines.tensorrt.build import build_plan
from facenet_validate.engines.tensorrt.library import find_library
from facenet_validate.engines.tensorrt.log import listening
from facenet_validate.engines.tensorrt.options import BuildOptions

before = signal.getsignal(signal.SIGINT)
rtx = find_library("tensorrt-rtx")
calls = []


def report(done, total):
    calls.append(done)
    if len(calls) == 3:
        os.kill(os.getpid(), signal.SIGINT)


with listening(rtx.logger) as messages:
    try:
        build_plan(rtx, Path(sys.argv[1]).read_bytes(), BuildOptions((8,)), progress=report)
    except KeyboardInterrupt:
        assert "Engine generation completed" not in messages.text()
        assert max(calls) < 1000
        assert signal.getsignal(signal.SIGINT) is before
        print("interrupted")
"""

INTERRUPTED_WHILE_PARSING = """
import os
import signal
import sys
from pathlib import Path

from facenet_validate.engines.tensorrt.build import build_plan
from facenet_validate.engines.tensorrt.library import find_library
from facenet_validate.engines.tensorrt.log import Messages
from facenet_validate.engines.tensorrt.options import BuildOptions

add = Messages.add
heard = []


def interrupted(messages, severity, text):
    heard.append(text)
    if text.startswith("Parsing node") and "Parsing node" not in "".join(heard[:-1]):
        os.kill(os.getpid(), signal.SIGINT)
    add(messages, severity, text)


Messages.add = interrupted
try:
    build_plan(find_library("tensorrt-rtx"), Path(sys.argv[1]).read_bytes(), BuildOptions((8,)))
except KeyboardInterrupt:
    assert any(text.startswith("Parsing node") for text in heard)
    assert not any("Engine generation completed" in text for text in heard)
    print("interrupted")
"""


@pytest.mark.usefixtures("rtx")
@pytest.mark.parametrize(
    "script",
    [
        pytest.param(INTERRUPTED, id="while the engine is built"),
        pytest.param(INTERRUPTED_WHILE_PARSING, id="while the graph is parsed"),
    ],
)
def test_an_interrupt_cancels_the_build(
    script: str, graphs: Mapping[str, onnx.ModelProto], tmp_path: Path
) -> None:
    """In a process of its own: after OpenVINO's tests in one process this ended in a segfault."""
    graph = tmp_path / "int8.onnx"
    graph.write_bytes(graphs["int8"].SerializeToString())
    done = subprocess.run(
        [sys.executable, "-c", script, graph],
        capture_output=True,
        text=True,
        timeout=HANG,
        check=False,
    )
    assert (done.returncode, done.stdout.split()[-1:]) == (0, ["interrupted"]), done.stderr


def test_a_network_that_cannot_be_built_says_why(
    rtx: Library, graphs: Mapping[str, onnx.ModelProto]
) -> None:
    narrow = BuildOptions((8,), workspace_bytes=1)
    with pytest.raises(EngineError, match=r"cannot build the network:\n") as error:
        build_plan(rtx, graphs["fp32"].SerializeToString(), narrow)
    assert "it gave no reason" not in str(error.value)
    assert "'workspace_bytes': 1" in str(error.value)
    assert "limited to 9.53674e-07 MiB" in str(error.value)


def test_several_profiles_are_built(rtx: Library, graphs: Mapping[str, onnx.ModelProto]) -> None:
    options = BuildOptions((1, 16), workspace_bytes=1 << 28, optimization_level=2)
    assert build_plan(rtx, graphs["fp16"].SerializeToString(), options).plan


def test_a_static_profile_is_built_for_its_batch_alone(
    rtx: Library, graphs: Mapping[str, onnx.ModelProto]
) -> None:
    """Its compiled layers have the batch in their shapes, where others have none."""
    content = graphs["int8"].SerializeToString()
    batches = {}
    for profile in PROFILES:
        built = build_plan(rtx, content, BuildOptions((4,), profile=profile))
        assert _odd(built.messages) == []
        assert built.report.int8_share > 0.9
        assert built.compiled is not None
        assert built.compiled.multiply_adds_by_type == built.report.multiply_adds_by_type
        batches[profile] = {*re.findall(r"Dimensions: \[(-?\d+),3,", built.log)}
    assert batches == {"dynamic": {"-1"}, "static": {"4"}}


def _fixed(batch: int) -> bytes:
    model = small_facenet()
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = batch
    return bytes(model.SerializeToString())


def test_a_fixed_batch_is_built_for_itself_only(rtx: Library) -> None:
    assert build_plan(rtx, _fixed(1), BuildOptions((1,))).report.inputs[0].shape == (
        1, 3, SIZE, SIZE,
    )  # fmt: skip
    for size in (4, 8):
        with pytest.raises(EngineError, match="takes batches of 4 only"):
            build_plan(rtx, _fixed(4), BuildOptions((size,)))


@pytest.mark.parametrize(("version", "flags"), [("10.13.3.9", 2), ("11.4.0.12", 1)])
def test_both_generations_build_strongly_typed_without_precision_flags(
    version: str, flags: int
) -> None:
    module = FakeTensorRT(version)
    library = describe_library(module, "tensorrt")
    options = BuildOptions((8,), workspace_bytes=1 << 20, optimization_level=4)
    built = build_plan(library, b"graph", options)
    assert module.calls == [
        ("network", flags),
        ("workspace", "workspace", 1 << 20),
        ("clear", "TF32"),
        ("built",),
    ]
    (config,) = module.configs
    assert config.profiles == [[("input", (1, 3, 8, 8), (8, 3, 8, 8), (8, 3, 8, 8))]]
    assert config.profiling_verbosity == "detailed"
    assert config.builder_optimization_level == 4
    assert built.timing_cache == b"timings A conv"
    assert built.messages == ("warning: a warning of the builder",)
    assert "verbose" not in built.log
    assert built.compiled is None


def test_what_the_parser_warns_of_is_told_apart() -> None:
    library = describe_library(FakeTensorRT("11.4.0.12"), "tensorrt")
    built = build_plan(library, b"an odd graph", OPTIONS)
    assert built.parse_messages == ("warning: a warning of the parser",)
    assert built.messages == (*built.parse_messages, "warning: a warning of the builder")
    assert build_plan(library, b"graph", OPTIONS).parse_messages == ()


def test_a_module_without_the_flag_is_not_asked_to_be_strongly_typed() -> None:
    module = FakeTensorRT("12.0.0.1")
    del module.NetworkDefinitionCreationFlag.STRONGLY_TYPED
    build_plan(describe_library(module, "tensorrt"), b"graph", OPTIONS)
    assert module.calls[0] == ("network", 0)


@pytest.mark.parametrize("timings", [b"damaged", b"timings B conv"])
def test_timings_that_are_damaged_or_of_another_gpu_are_left_with_a_note(timings: bytes) -> None:
    library = describe_library(FakeTensorRT("10.13.3.9"), "tensorrt")
    built = build_plan(library, b"graph", OPTIONS, timing_cache=timings)
    assert built.timing_cache == b"timings A conv"
    assert f"warning: a timing cache of {len(timings)} bytes was not taken" in built.messages


def test_options_out_of_range_are_refused() -> None:
    for batch_sizes in ((), (4, 0)):
        with pytest.raises(EngineError, match="expected at least one, from 1 up"):
            BuildOptions(batch_sizes)
    with pytest.raises(EngineError, match="0 to 5"):
        BuildOptions((1,), optimization_level=6)
    with pytest.raises(EngineError, match="workspace of 0 bytes"):
        BuildOptions((1,), workspace_bytes=0)
