"""The plugin as a user meets it: options, header, verdicts, reports, errors."""

from __future__ import annotations

import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from facenet_validate.benchmarking.surroundings import Surroundings
from facenet_validate.models.prepared import PreparedModel
from facenet_validate.models.quantization.int8 import calibrate, to_int8
from facenet_validate.models.quantization.precision import to_fp16
from facenet_validate.models.quantization.recipes import RECIPE_KEY, int8_recipe
from tests.conftest import FEW_PAIRS_GATES
from tests.models.small_facenet import SIZE
from tests.moved_clock import CONFTEST

NO_TIMING = ("suites", "--deselect", "suites/test_performance.py")


def _results(folder: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((folder / "results.json").read_text())
    return found


def test_int8_passes_every_gate_but_timing(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the pretrained network, in a process of its own, as a user starts it."""
    monkeypatch.delenv("FACENET_MODEL")
    monkeypatch.setenv("FACENET_CALIBRATION_IMAGES", "16")
    result = project.runpytest_subprocess(
        *NO_TIMING, "--precision", "int8", "--facenet-report", "report"
    )
    # All pairs are compared where that is asked for.
    result.assert_outcomes(passed=14, skipped=7, deselected=2)
    result.stdout.fnmatch_lines(
        [
            "facenet: device *; target cpu*",
            "facenet: INT8 recipe cpu*",
            "facenet: data set LFW in *, 72 pairs",
            "*performance.stored b64*int8*not run*",
            "*accuracy.acc*int8*not evaluated*see below",
            "*accuracy.paired_drop*int8*pass*",
            "not evaluated: accuracy.acc: View 2 has 6000*",
            "not run: contract.timed_outputs, performance.stored: *",
            "verdict: PARTIAL*",
        ]
    )
    document = _results(project.path / "report")
    assert document["verdict"] == "partial"
    assert document["exit_status"] == 0
    assert document["protocol"] == "squared L2, no flip, 2 folds by position"


def test_summary_results_and_junit_agree(project: pytest.Pytester) -> None:
    result = project.runpytest_inprocess(
        *NO_TIMING, "--precision=int8", "--facenet-report=report", "--junitxml=junit.xml"
    )
    gates = _results(project.path / "report")["gates"]
    assert isinstance(gates, list)
    judged = {g["gate"]: g for g in gates if g["verdict"] != "not run"}
    properties = {
        item.get("name", "").removeprefix("facenet.gate:"): json.loads(item.get("value", ""))
        for item in ET.parse(project.path / "junit.xml").getroot().iter("property")
        if item.get("name", "").startswith("facenet.gate:")
    }
    assert set(properties) == set(judged)
    for gate, values in properties.items():
        assert {**values, "test": judged[gate]["test"]} == judged[gate]
        row = next(line.split() for line in result.outlines if line.split()[:2] == [gate, "int8"])
        if values["observed"] is not None:
            assert row[2] == f"{values['observed']:.6g}"
        assert values["verdict"] in " ".join(row[4:6])


def test_previous_report_is_kept(project: pytest.Pytester) -> None:
    for _ in range(2):
        project.runpytest_inprocess(
            "suites/test_contract.py", "--precision=fp32", "--facenet-report=report"
        )
    assert (project.path / "report" / "previous" / "results.json").is_file()


def test_lower_gate_fails_the_test_with_a_table(project: pytest.Pytester) -> None:
    strict = FEW_PAIRS_GATES.replace("parity.cosine_mean = 0.995", "parity.cosine_mean = 0.99999")
    (project.path / "baselines" / "gates.toml").write_text(strict)
    result = project.runpytest_inprocess(
        "suites/test_parity.py", "--precision=int8", "--junitxml=j.xml"
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*parity.cosine_mean*0.99*0.99999*fail*", "verdict: FAIL*"])
    suite = ET.parse(project.path / "j.xml").getroot().find("testsuite")
    assert suite is not None
    assert suite.get("failures") == "1"
    assert "Traceback" not in result.stdout.str()


def test_inconclusive_is_a_status_of_its_own_and_fails_on_request(
    project: pytest.Pytester,
) -> None:
    # 36 pairs without a discordant one bound the loss at 7 %, far above a δ of 1 %.
    strict = FEW_PAIRS_GATES.replace("paired_drop = 0.05", "paired_drop = 0.01")
    (project.path / "baselines" / "gates.toml").write_text(strict)
    arguments = ("suites/test_accuracy.py", "-k", "lost", "--precision=fp16")
    result = project.runpytest_inprocess(*arguments)
    result.stdout.fnmatch_lines(["verdict: INCONCLUSIVE*", "*1 inconclusive*"])
    assert result.ret == 0
    result = project.runpytest_inprocess(*arguments, "--facenet-inconclusive=fail")
    result.assert_outcomes(failed=1)


def test_fp16_on_a_cpu_is_labelled_recipe_only(project: pytest.Pytester) -> None:
    result = project.runpytest_inprocess("suites/test_parity.py", "--precision=fp16")
    result.stdout.fnmatch_lines(["*cosine_mean*fp16*pass (recipe only)*", "verdict: PARTIAL*"])


def test_speed_is_measured_recorded_and_never_passed_without_five_sessions(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the machine's own clock; a busy machine would refuse the record."""
    monkeypatch.setattr(Surroundings, "disturbance", lambda *_: "")
    monkeypatch.setattr("facenet_validate.benchmarking.latency.LATENCY_SECONDS", 0.0)
    arguments = ("suites/test_performance.py", "--precision=int8", "--facenet-batch-size=2")
    result = project.runpytest_inprocess(*arguments, "--facenet-update-baselines=missing")
    result.stdout.fnmatch_lines(["speed int8, batch 2*images/s*× FP32*", "*1 not evaluated*"])
    result.stdout.fnmatch_lines(
        [
            "*performance.stored b2*not evaluated*see below",
            "not evaluated: performance.stored: 0 of 5 sessions*",
        ]
    )
    (stored,) = (project.path / "baselines").glob("*/onnxruntime-int8-b2.jsonl")
    assert len(stored.read_text().splitlines()) == 1


@pytest.mark.filterwarnings("ignore:Benchmarks are automatically disabled")
@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("--benchmark-disable", "benchmarks are disabled"),
        ("--dist=loadfile", "pytest-benchmark takes this for a parallel run"),
    ],
)
def test_speed_is_not_evaluated_where_benchmarks_are_disabled(
    project: pytest.Pytester, option: str, says: str
) -> None:
    arguments = (
        "suites/test_performance.py",
        "--precision=int8",
        option,
        "--facenet-report=report",
    )
    result = project.runpytest_inprocess(*arguments)
    result.stdout.fnmatch_lines(["*stored*not evaluated*"])
    assert result.ret == 0
    gates = _results(project.path / "report")["gates"]
    assert isinstance(gates, list)
    (stored,) = (gate for gate in gates if gate["gate"] == "performance.stored")
    assert stored["detail"].startswith(says)


def test_workers_report_through_the_controller(project: pytest.Pytester) -> None:
    result = project.runpytest_subprocess(
        "suites", "--precision=int8", "-n", "2", "--facenet-report=report"
    )
    assert result.ret == 0
    document = _results(project.path / "report")
    gates = document["gates"]
    assert isinstance(gates, list)
    verdicts = {gate["gate"]: gate["verdict"] for gate in gates}
    assert verdicts["parity.cosine_min"] == "pass"
    stored = next(gate for gate in gates if gate["gate"] == "performance.stored")
    assert stored["verdict"] == "not evaluated"
    assert stored["detail"].startswith("workers run beside each other (xdist); run without -n")
    assert "engines" in document


# --- bad input: one clear message, no traceback, never a pass -------------------------------------


def _refused(
    project: pytest.Pytester, *arguments: str, says: str, status: int = pytest.ExitCode.USAGE_ERROR
) -> None:
    result = project.runpytest_inprocess("suites", "--precision=int8", *arguments)
    text = result.stdout.str() + result.stderr.str()
    assert result.ret == status, text
    # Of a test it stands above and in the verdict, as the reason of gates that were not run. pytest
    # repeats it in its own short summary, in full where CI is set.
    times = 2 if status == pytest.ExitCode.TESTS_FAILED else 1
    assert text.split("short test summary")[0].count(says) == times, text
    assert "Traceback" not in text
    assert "INTERNALERROR" not in text
    assert "passed" not in text


def test_unknown_precision(project: pytest.Pytester) -> None:
    result = project.runpytest_inprocess("suites", "--precision", "int4")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --precision: 'int4'; expected one of fp32, fp16, int8."])


def test_missing_lfw_folder(project: pytest.Pytester) -> None:
    _refused(project, "--facenet-lfw=/no/such/folder", says="/no/such/folder: no such folder")


def test_wrong_pair_count(project: pytest.Pytester, small_set: Path, tmp_path: Path) -> None:
    folder = _linked(small_set, tmp_path / "set")
    lines = (small_set / "pairs.txt").read_text().splitlines(keepends=True)
    (folder / "pairs.txt").write_text("".join(lines[:-1]))
    _refused(project, f"--facenet-lfw={folder}", says="71 pairs, but its first line promises 72")


def test_missing_photo(project: pytest.Pytester, small_set: Path, tmp_path: Path) -> None:
    folder = _linked(small_set, tmp_path / "set")
    (folder / "Person_03" / "Person_03_0002.png").unlink()
    _refused(
        project,
        f"--facenet-lfw={folder}",
        says="the first Person_03_0002",
        status=pytest.ExitCode.TESTS_FAILED,
    )


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"\xff\xd8\xff\xe0" + b"\0" * 500, "truncated"),
        (b"GIF89a, which we do not read", "Person_03_0002"),
        (b"", "Person_03_0002"),
    ],
    ids=["truncated JPEG", "not an image", "empty"],
)
def test_unreadable_photo_is_named(
    project: pytest.Pytester, small_set: Path, tmp_path: Path, content: bytes, says: str
) -> None:
    folder = _linked(small_set, tmp_path / "set")
    photo = folder / "Person_03" / "Person_03_0002.png"
    photo.unlink()
    photo.with_suffix(".jpg").write_bytes(content)
    result = project.runpytest_inprocess("suites", "--precision=int8", f"--facenet-lfw={folder}")
    text = result.stdout.str()
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert says in text
    # Once as the test's error, once in the verdict as the reason why no gate was run.
    assert text.split("short test summary")[0].count("Person_03_0002") == 2
    result.stdout.fnmatch_lines(["not run: *: *Person_03_0002*"])
    assert "Traceback" not in text
    result.stdout.fnmatch_lines(["verdict: FAIL*"])
    result.stdout.no_fnmatch_line("*passed*")


def test_cache_that_cannot_be_written(project: pytest.Pytester) -> None:
    (project.path / "file").touch()
    _refused(project, "--facenet-cache=file/cache", says="cannot be written")


def test_too_few_calibration_photos_are_an_error_that_names_the_way_out(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FACENET_CALIBRATION_IMAGES")
    result = project.runpytest_inprocess("suites/test_contract.py", "--precision=int8")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        ["*104 photos of people outside*at least 500*--facenet-calibration-images 104*"]
    )


def test_wrong_number_of_calibration_photos(project: pytest.Pytester) -> None:
    _refused(project, "--facenet-calibration-images=none", says="a whole number from 1")


def test_a_tensorrt_recipe_is_emulated_and_says_so(project: pytest.Pytester) -> None:
    result = project.runpytest_inprocess(
        "suites",
        "--precision=int8",
        "--facenet-target=tensorrt",
        "--facenet-report=report",
    )
    result.stdout.fnmatch_lines(
        [
            "facenet: INT8 recipe tensorrt: symmetric S8*",
            "*performance.stored b64*not evaluated*see below",
            "not evaluated: contract.timed_outputs, performance.stored: the recipe is for*",
            "verdict: PARTIAL*",
        ]
    )
    gates = _results(project.path / "report")["gates"]
    assert isinstance(gates, list)
    judged = [gate for gate in gates if gate["verdict"] == "pass"]
    assert len(judged) >= 21
    assert all(gate["recipe_only"] for gate in judged)


@pytest.mark.parametrize("around", ["fp16", "fp32"])
def test_what_is_around_int8_is_chosen_for_tensorrt_alone(
    around: str, project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    option = f"--facenet-int8-around={around}"
    refused = project.runpytest_inprocess("suites", option, "--facenet-target=cpu")
    assert refused.ret == 4
    refused.stderr.fnmatch_lines(["*--facenet-int8-around means nothing to the target cpu: *"])
    build = ("suites/test_build.py", "--precision=int8", "--facenet-report=report")
    judged = project.runpytest_inprocess(*build, option, "--facenet-target=tensorrt")
    judged.stdout.fnmatch_lines([f"facenet: INT8 recipe tensorrt: * {around.upper()} around"])
    engines = _results(project.path / "report")["engines"]
    assert f"{around.upper()} around" in str(engines)
    # In a variable it may be meant for other machines.
    monkeypatch.setenv("FACENET_INT8_AROUND", around)
    assert project.runpytest_inprocess(*build, "--facenet-target=cpu").ret == 0


def _int8_engine(small_onnx: onnx.ModelProto, path: Path, kept: int) -> None:
    """Write a TensorRT recipe's graph that leaves all but the last convolutions as they are."""
    images = np.random.default_rng(0).uniform(-1, 1, (2, 3, SIZE, SIZE)).astype(np.float32)
    names = [node.name for node in small_onnx.graph.node if node.op_type == "Conv"]
    recipe = replace(int8_recipe("tensorrt"), keep=tuple(names[:kept]))
    made = to_int8(calibrate(small_onnx, images, equalized=False), recipe)
    made.metadata_props.add(key=RECIPE_KEY, value=json.dumps(recipe.inputs()))
    onnx.save(made, path)


def test_an_int8_engine_that_is_mostly_fp32_fails(
    project: pytest.Pytester, small_onnx: onnx.ModelProto, tmp_path: Path
) -> None:
    gates = project.path / "baselines" / "gates.toml"
    gates.write_text(gates.read_text() + "build.int8_share = 0.95\n")
    _int8_engine(small_onnx, tmp_path / "engine.onnx", kept=12)
    result = project.runpytest_inprocess(
        "suites/test_build.py", f"--facenet-engine={tmp_path / 'engine.onnx'}"
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "facenet: device *; target tensorrt: asked for by the engine's own recipe",
            "*build*int8_share*int8*0.95*fail (recipe only)*of the multiply-adds*",
        ]
    )


def test_an_engine_s_own_recipe_is_not_overruled(
    project: pytest.Pytester, small_onnx: onnx.ModelProto, tmp_path: Path
) -> None:
    _int8_engine(small_onnx, tmp_path / "engine.onnx", kept=16)
    result = project.runpytest_inprocess(
        "suites", f"--facenet-engine={tmp_path / 'engine.onnx'}", "--facenet-target=cpu"
    )
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "the engine says that its recipe is for tensorrt" in result.stderr.str()


def test_activations_that_fp16_cannot_hold_fail(
    project: pytest.Pytester, small_onnx: onnx.ModelProto, tmp_path: Path
) -> None:
    """The first layer gives 100,000 times as much, the second takes it back: FP32 is the same."""
    gates = project.path / "baselines" / "gates.toml"
    gates.write_text(gates.read_text() + "contract.half_headroom = 8\n")
    first, second = [node for node in small_onnx.graph.node if node.op_type == "Conv"][:2]
    factors = dict.fromkeys(first.input[1:], 100000.0) | {second.input[1]: 1e-5}
    for tensor in small_onnx.graph.initializer:
        if tensor.name in factors:
            value = numpy_helper.to_array(tensor) * np.float32(factors[tensor.name])
            tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    onnx.save(small_onnx, tmp_path / "loud.onnx")
    result = project.runpytest_inprocess(
        "suites/test_contract.py",
        "--precision=fp16",
        f"--facenet-model={tmp_path / 'loud.onnx'}",
    )
    result.stdout.fnmatch_lines(["*contract*half_headroom*fp16*8*fail (recipe only)*"])
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_engine_with_another_input_shape(
    project: pytest.Pytester, small_onnx: onnx.ModelProto, tmp_path: Path
) -> None:
    for axis, side in ((1, 32), (3, 3)):
        small_onnx.graph.input[0].type.tensor_type.shape.dim[axis].dim_value = side
    onnx.save(small_onnx, tmp_path / "engine.onnx")
    _refused_engine(project, tmp_path / "engine.onnx", "[N, 32, 32, 3]; expected [N, 3, H, H]")


def test_engine_of_another_image_size_than_its_model(
    project: pytest.Pytester, small_onnx: onnx.ModelProto, tmp_path: Path
) -> None:
    for axis in (2, 3):
        small_onnx.graph.input[0].type.tensor_type.shape.dim[axis].dim_value = 224
    onnx.save(small_onnx, tmp_path / "engine.onnx")
    result = project.runpytest_inprocess(
        "suites/test_contract.py", f"--facenet-engine={tmp_path / 'engine.onnx'}"
    )
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*faces of 224 pixels, but small.onnx*reads 32*"])


def _refused_engine(project: pytest.Pytester, engine: Path, says: str) -> None:
    result = project.runpytest_inprocess("suites", f"--facenet-engine={engine}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert says in result.stderr.str()


def test_engine_contradicting_the_precision(
    project: pytest.Pytester, prepared_small: PreparedModel
) -> None:
    _refused(
        project,
        f"--facenet-engine={prepared_small.entry.path}",
        says="--precision: int8, but model.onnx is fp32",
    )


def test_engine_that_gives_nan_fails(
    project: pytest.Pytester, small_onnx: onnx.ModelProto, tmp_path: Path
) -> None:
    weights = next(w for w in small_onnx.graph.initializer if w.name == "bottleneck/weight")
    poisoned = numpy_helper.to_array(weights).copy()
    poisoned[0, 0] = np.nan
    weights.CopyFrom(numpy_helper.from_array(poisoned, weights.name))
    onnx.save(small_onnx, tmp_path / "nan.onnx")
    result = project.runpytest_inprocess(*NO_TIMING, f"--facenet-engine={tmp_path / 'nan.onnx'}")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    text = result.stdout.str()
    assert "Traceback" not in text
    result.stdout.fnmatch_lines(
        ["*contract.non_finite*fp32*32*0*fail*of 32 rows", "verdict: FAIL*"]
    )
    result.stdout.no_fnmatch_line("*parity*pass*")
    result.stdout.no_fnmatch_line("*accuracy*pass*")


def test_engine_without_normalisation_fails(
    project: pytest.Pytester, small_onnx: onnx.ModelProto, tmp_path: Path
) -> None:
    norm = next(n for n in small_onnx.graph.node if n.name == "bottleneck").output[0]
    del small_onnx.graph.output[:]
    small_onnx.graph.output.append(
        helper.make_tensor_value_info(norm, onnx.TensorProto.FLOAT, ["N", 16])
    )
    onnx.save(small_onnx, tmp_path / "raw.onnx")
    result = project.runpytest_inprocess(*NO_TIMING, f"--facenet-engine={tmp_path / 'raw.onnx'}")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert "Traceback" not in result.stdout.str()
    result.stdout.fnmatch_lines(["*contract*norm_error_max*fail*", "verdict: FAIL*"])
    result.stdout.no_fnmatch_line("*accuracy*pass*")


def test_required_data_set_that_is_not_there(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FACENET_LFW")
    _refused(project, "--facenet-require=lfw", says="data set lfw is required")


def test_malformed_gates(project: pytest.Pytester) -> None:
    (project.path / "baselines" / "gates.toml").write_text("schema = 1\n[gates.lfw.int4.any]\n")
    _refused(project, says="'int4' is unknown; expected one of any, fp32, fp16, int8")


# --- nothing is lost, nothing looks better than it is ---------------------------------------------


def test_an_engine_without_finite_values_passes_no_invariance(
    project: pytest.Pytester, small_onnx: onnx.ModelProto, tmp_path: Path
) -> None:
    weights = next(w for w in small_onnx.graph.initializer if w.name == "bottleneck/weight")
    poisoned = np.full(numpy_helper.to_array(weights).shape, np.nan, np.float32)
    weights.CopyFrom(numpy_helper.from_array(poisoned, weights.name))
    onnx.save(small_onnx, tmp_path / "nan.onnx")
    result = project.runpytest_inprocess(
        "suites/test_contract.py", f"--facenet-engine={tmp_path / 'nan.onnx'}"
    )
    result.assert_outcomes(passed=2, failed=5)


def test_an_assertion_after_a_passed_gate_fails_the_run(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_mine="""
        def test_mine(facenet_gates):
            facenet_gates.check(facenet_gates.hold("parity.cosine_min", 1.0))
            assert False, "later"
        """
    )
    arguments = ("test_mine.py", "--precision=fp32", "--facenet-report=report")
    result = project.runpytest_inprocess(*arguments)
    result.stdout.fnmatch_lines(["verdict: FAIL*"])
    document = _results(project.path / "report")
    assert document["verdict"] == "fail"


def test_every_batch_size_has_gates_of_its_own(project: pytest.Pytester) -> None:
    project.makeconftest(CONFTEST)
    result = project.runpytest_inprocess(
        "suites/test_performance.py",
        "--precision=int8",
        "--facenet-batch-size=1,2",
        "-k",
        "b1",
    )
    result.stdout.fnmatch_lines(["*stored b2*not run*", "*stored b1*not evaluated*"])


def test_inconclusive_that_fails_is_a_failed_run(project: pytest.Pytester) -> None:
    strict = FEW_PAIRS_GATES.replace("paired_drop = 0.05", "paired_drop = 0.01")
    (project.path / "baselines" / "gates.toml").write_text(strict)
    result = project.runpytest_inprocess(
        "suites/test_accuracy.py", "-k", "lost", "--precision=fp16", "--facenet-inconclusive=fail"
    )
    result.stdout.fnmatch_lines(["verdict: FAIL*"])


def test_a_required_data_set_that_is_not_judged_fails(project: pytest.Pytester) -> None:
    gates = project.path / "baselines" / "gates.toml"
    gates.write_text(gates.read_text() + "[gates.lfw.any.any]\naccuracy.acc = 0.9\n")
    result = project.runpytest_inprocess(
        "suites/test_contract.py", "-k", "signature", "--precision=fp32", "--facenet-require=lfw"
    )
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["required and not judged: accuracy.acc (fp32)", "verdict: FAIL*"])


def test_a_gate_without_a_limit_is_not_evaluated_alone(project: pytest.Pytester) -> None:
    without = FEW_PAIRS_GATES.replace("parity.cosine_p1 = 0.99\n", "")
    (project.path / "baselines" / "gates.toml").write_text(without)
    result = project.runpytest_inprocess("suites/test_parity.py", "--precision=fp16")
    result.stdout.fnmatch_lines(
        [
            "*parity.cosine_p1*not evaluated*see below",
            "*parity.cosine_min*pass*",
            "*parity.cosine_mean*pass*",
            "not evaluated: parity.cosine_p1: no limit*",
        ]
    )


def test_listing_tests_leaves_the_report_alone(project: pytest.Pytester) -> None:
    (project.path / "report").mkdir()
    (project.path / "report" / "results.json").write_text("good")
    project.runpytest_inprocess("suites", "--collect-only", "--facenet-report=report")
    assert (project.path / "report" / "results.json").read_text() == "good"


def test_a_report_folder_that_cannot_be_written(project: pytest.Pytester) -> None:
    (project.path / "file").touch()
    _refused(project, "--facenet-report=file", says="report folder")


def test_a_quantised_source_model_is_refused(
    project: pytest.Pytester, small_onnx: onnx.ModelProto, tmp_path: Path
) -> None:
    onnx.save(to_fp16(small_onnx), tmp_path / "fp16.onnx")
    _refused(
        project,
        f"--facenet-model={tmp_path / 'fp16.onnx'}",
        says="validate this one with --facenet-engine",
        status=pytest.ExitCode.TESTS_FAILED,
    )


def test_gates_are_those_of_the_tests_not_of_an_option_value(
    project: pytest.Pytester, small_set: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FACENET_LFW")
    arguments = ("suites/test_contract.py", "--precision=fp32", "--facenet-lfw", str(small_set))
    result = project.runpytest_inprocess(*arguments)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines([f"facenet: gates {project.path}/baselines/gates.toml*"])


def test_timing_without_pytest_benchmark_is_not_evaluated(project: pytest.Pytester) -> None:
    result = project.runpytest_inprocess(
        "suites/test_performance.py", "--precision=int8", "-p", "no:benchmark"
    )
    result.stdout.fnmatch_lines(
        [
            "*stored b64*not evaluated*see below",
            "not evaluated: contract.timed_outputs, performance.stored: pytest-benchmark is*",
        ]
    )
    assert result.ret == pytest.ExitCode.OK


def test_benchmark_only_times(project: pytest.Pytester) -> None:
    project.makeconftest(CONFTEST)
    result = project.runpytest_inprocess(
        "suites", "--precision=fp32", "--facenet-batch-size=1", "--benchmark-only"
    )
    result.stdout.fnmatch_lines(["speed fp32, batch 1*"])


# --- in other people's projects ----------------------------------------------------------------


def test_a_project_without_facenet_sees_nothing(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_theirs(): pass")
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(passed=1)
    assert "facenet:" not in result.stdout.str()
    assert "facenet verdict" not in result.stdout.str()


def test_a_project_with_a_precision_of_its_own_keeps_it(pytester: pytest.Pytester) -> None:
    pytester.makeconftest("def pytest_addoption(parser): parser.addoption('--precision')")
    pytester.makepyfile("def test_theirs(request): assert request.config.option.precision == 'x'")
    pytester.runpytest_inprocess("--precision", "x").assert_outcomes(passed=1)


def test_our_errors_in_their_tests_are_theirs(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        from facenet_validate.base.errors import ModelError

        def test_raises(): raise ModelError("theirs")
        def test_goes_on(): pass
        """
    )
    result = pytester.runpytest_inprocess()
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*def test_raises*"])


def test_import_of_the_plugin_is_light() -> None:
    heavy = "{'numpy', 'onnx', 'onnxruntime', 'cv2', 'scipy', 'rich', 'google'}"
    script = f"import sys, facenet_validate.plugin; print(sorted({heavy} & set(sys.modules)))"
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "[]"


def _linked(folder: Path, target: Path) -> Path:
    for photo in folder.glob("*/*.png"):
        link = target / photo.relative_to(folder)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(photo)
    (target / "pairs.txt").write_text((folder / "pairs.txt").read_text())
    return target
