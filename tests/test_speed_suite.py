"""The performance suite as a user meets it, on a machine whose clock the tests move."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest

from facenet_validate.engines.onnxruntime import engine as onnxruntime_engine
from facenet_validate.engines.onnxruntime.engine import OnnxRuntimeEngine
from facenet_validate.engines.protocol import LayerTime, LayerTimes
from facenet_validate.models.prepared import PreparedModel
from facenet_validate.models.quantization.recipes import RECIPE_KEY
from tests.moved_clock import CONFTEST

GATES = """
schema = 1
[gates.any.any.any]
performance.stored = 1.03
performance.stored_ratio = 1.03
performance.against = 1.03
performance.self_check = 1.03
"""

BESIDE_FP16 = """
[gates.any.int8.any]
performance.fp16_ratio = 0.97
"""

Run = Callable[..., pytest.RunResult]


@pytest.fixture
def project(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """The common project, with limits of speed alone, on a machine whose clock is moved."""
    (project.path / "baselines" / "gates.toml").write_text(GATES)
    project.makeconftest(CONFTEST)
    monkeypatch.setenv("COLUMNS", "300")
    return project


@pytest.fixture
def run(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    def runs(*options: str, precision: str = "int8", **environment: str) -> pytest.RunResult:
        with monkeypatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            return project.runpytest_inprocess(
                "suites/test_performance.py", f"--precision={precision}", *options
            )

    return runs


def _file(project: pytest.Pytester, batch: int) -> Path:
    (found,) = (project.path / "baselines").glob(f"*/onnxruntime-int8-b{batch}.jsonl")
    return found


def _copies(path: Path, count: int, **changes: Any) -> str:
    """The file's one session as so many, a day apart, with 0.1 % between them."""
    session = json.loads(path.read_text().splitlines()[0])
    lines = []
    for number in range(count):
        factor = 1.0 + 0.001 * (number % 3 - 1)
        lines.append(
            session
            | {
                "recorded_at": f"2026-01-{number + 1:02d}T00:00:00+00:00",
                "latency_seconds": session["latency_seconds"] * factor,
                "paired_ratio": session["paired_ratio"] * factor,
            }
            | changes
        )
    return "".join(json.dumps(line, sort_keys=True) + "\n" for line in lines)


def test_baselines_in_every_state(project: pytest.Pytester, run: Run) -> None:
    """Batch 1 fewer than five, 2 a corrupt line, 3 a conflict, 4 an old schema, 5 all is well,
    6 another machine's, 7 an older epoch."""
    recorded = run("--facenet-batch-size=1,2,3,4,5,6,7", "--facenet-update-baselines=missing", "-q")
    assert recorded.ret == 0
    recorded.stdout.fnmatch_lines(["not evaluated: performance.stored*: 0 of 5 sessions recorded*"])
    paths = {batch: _file(project, batch) for batch in range(1, 8)}
    texts = {batch: _copies(path, 5) for batch, path in paths.items()}
    details = json.loads(texts[6].splitlines()[0])["identity"]["device_details"]
    foreign = details.replace("stepping ", "stepping 1")
    paths[1].write_text(_copies(paths[1], 3))
    paths[2].write_text(texts[2].replace('"batch": 2', '"batch": ', 1))
    conflict = texts[3].splitlines(keepends=True)
    conflict[2:2] = ["<<<<<<< HEAD\n", *conflict[1:2], "=======\n", ">>>>>>> other\n"]
    paths[3].write_text("".join(conflict))
    paths[4].write_text(texts[4].replace('"schema": 1', '"schema": 0'))
    paths[5].write_text(texts[5])
    paths[6].write_text(texts[6].replace(details, foreign))
    paths[7].write_text(texts[7] + _copies(paths[7], 2, epoch=2, reason="a new driver"))
    before = {batch: path.read_bytes() for batch, path in paths.items()}

    result = run("--facenet-batch-size=1,2,3,4,5,6,7", "--facenet-report=report")
    assert result.ret == 1
    assert {batch: path.read_bytes() for batch, path in paths.items()} == before
    said = result.stdout.str()
    assert "Traceback" not in said
    for name, message in {
        paths[2]: "1: this is not a line of JSON",
        paths[3]: "3: this is a merge conflict; keep the lines of both sides",
        paths[4]: "1: its schema is 0, this version writes and reads 1; record its sessions again",
    }.items():
        assert f"{name.name}:{message}" in said, message
    document = json.loads((project.path / "report" / "results.json").read_text())
    stored = {g["batch"]: g for g in document["gates"] if g["gate"] == "performance.stored"}
    verdicts = {batch: gate["verdict"] for batch, gate in stored.items()}
    assert verdicts == {
        1: "not evaluated", 2: "not run", 3: "not run", 4: "not run",
        5: "pass", 6: "not evaluated", 7: "not evaluated",
    }  # fmt: skip
    assert stored[1]["detail"].startswith("3 of 5 sessions recorded")
    assert "device_details: stepping 1" in stored[6]["detail"]
    assert stored[7]["detail"].startswith("2 of 5 sessions recorded")
    ratios = {g["batch"]: g for g in document["gates"] if g["gate"] == "performance.stored_ratio"}
    assert ratios[5]["verdict"] == "pass"
    speeds = {m["batch"]: m for m in document["measurements"] if m["name"] == "speed"}
    assert speeds[5]["session"]["identity"] == json.loads(texts[5].splitlines()[0])["identity"]
    assert speeds[5]["ratio"] == pytest.approx(2.0, rel=0.01)


def test_a_regression_is_a_failure_in_junit_that_names_what_changed(
    project: pytest.Pytester, run: Run
) -> None:
    run("--facenet-batch-size=8", "--facenet-update-baselines=missing")
    path = _file(project, 8)
    provenance = json.loads(path.read_text())["provenance"] | {"runtime": "onnxruntime 1.20.0"}
    path.write_text(_copies(path, 5, provenance=provenance))
    before = path.read_bytes()
    result = run(
        "--facenet-batch-size=8", "--junitxml=j.xml", "--facenet-update-baselines=all",
        SLOWER="b8=1.06", SEED="2",
    )  # fmt: skip
    assert result.ret == 1
    suite = ET.parse(project.path / "j.xml").getroot().find("testsuite")
    assert suite is not None
    assert suite.get("failures") == "1"
    failure = next(suite.iter("failure"))
    told = f"{failure.get('message')}\n{failure.text}"
    for part in (
        "performance.stored ",
        " ms (5 sessions, epoch 1)  8.4",
        "+6.0 % (",
        "latency / FP32's  0.",
        "changed since the baseline: runtime onnxruntime 1.20.0 → onnxruntime 1.",
    ):
        assert part in told, (part, told)
    result.stdout.fnmatch_lines(
        ["baseline int8, batch 8: not recorded: this engine fails performance.stored, *_ratio"]
    )
    # Measured twice before it fails: 24 quads.
    result.stdout.fnmatch_lines(["speed int8, batch 8*over 48 blocks*"])
    assert path.read_bytes() == before

    accepted = run(
        "--facenet-batch-size=8", "--facenet-update-baselines=accept", "--facenet-reason=a filter",
        SLOWER="b8=1.06",
    )  # fmt: skip
    assert accepted.ret == 0
    accepted.stdout.fnmatch_lines(
        [
            "not evaluated: performance.stored*: a new epoch begins*",
            "baseline int8*: epoch 2 begins; recorded*",
        ]
    )
    last = json.loads(path.read_text().splitlines()[-1])
    assert (last["epoch"], last["reason"]) == (2, "a filter")
    assert path.read_bytes().startswith(before)


def test_a_disturbed_run_is_inconclusive_and_not_recorded(
    project: pytest.Pytester, run: Run
) -> None:
    result = run(
        "--facenet-batch-size=8", "--facenet-update-baselines=all", DISTURBED="thermal slowdown"
    )
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        ["baseline int8, batch 8: not recorded: disturbed: thermal slowdown"]
    )
    assert not list((project.path / "baselines").glob("*/*.jsonl"))
    run("--facenet-batch-size=8", "--facenet-update-baselines=missing")
    path = _file(project, 8)
    path.write_text(_copies(path, 5))
    result = run("--facenet-batch-size=8", DISTURBED="thermal slowdown")
    result.stdout.fnmatch_lines(
        ["*stored b8*inconclusive*disturbed 3 times in a row: thermal*", "*1 inconclusive*"]
    )
    assert run("--facenet-batch-size=8", "--facenet-inconclusive=fail", DISTURBED="x").ret == 1


def test_another_engine_and_the_engine_itself(
    project: pytest.Pytester, run: Run, prepared_small: PreparedModel
) -> None:
    arguments = ("--facenet-batch-size=8", f"--facenet-against={prepared_small.entry.path}")
    result = run(*arguments, "--facenet-self-check=3", "--facenet-report=report")
    result.stdout.fnmatch_lines(
        [
            "*performance*against b8*int8*pass*",
            "*performance*self_check b8*int8*pass*3 comparisons with itself: 0 false failures*",
            "speed int8, batch 8*the engine compared with's*",
            "self-check int8: 0 false failures in 3 comparisons*",
        ]
    )
    slower = run(*arguments, SLOWER=f"{_digest(project)}=2.12")
    assert slower.ret == 1
    slower.stdout.fnmatch_lines(["*performance*against b8*int8*fail*+*latency over 12 quads*"])


def test_a_gate_that_fails_names_the_layers_that_are_slower(
    project: pytest.Pytester,
    run: Run,
    prepared_small: PreparedModel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def layer_times(self: OnnxRuntimeEngine, batch: object, count: int) -> LayerTimes:
        slow = 4e-3 if self.info.precision == "int8" else 1e-3
        layers = {"stem/a": slow, "stem/b": 2e-3}
        told = (LayerTime(name, "Conv", (name,), (time,)) for name, time in layers.items())
        return LayerTimes("a fake", tuple(told))

    monkeypatch.setattr(OnnxRuntimeEngine, "layer_times", layer_times)
    arguments = ("--facenet-batch-size=8", f"--facenet-against={prepared_small.entry.path}")
    digest = _digest_of(project, run)
    result = run(*arguments, "--facenet-report=report", SLOWER=f"{digest}=2.12")
    assert result.ret == 1
    words = "Conv stem/a +3 ms (1 → 4); it explains all of the added 3 ms a batch"
    result.stdout.fnmatch_lines([f"performance.against *fail*; slower layers: {words}"])
    document = json.loads((project.path / "report" / "results.json").read_text())
    (slower,) = (one for one in document["measurements"] if one["name"] == "slower layers")
    assert (slower["precision"], slower["batch"], slower["beside"]) == ("int8", 8, "against")
    (layer,) = slower["gates"]["performance.against"]["layers"]
    assert layer == {"name": "stem/a", "kind": "Conv", "ms": 4.0, "expected_ms": 1.0}

    assert run(*arguments, "--facenet-report=report").ret == 0
    document = json.loads((project.path / "report" / "results.json").read_text())
    assert "slower layers" not in {one["name"] for one in document["measurements"]}


def test_a_test_of_ones_own_may_compare_and_time_at_once(
    project: pytest.Pytester, prepared_small: PreparedModel
) -> None:
    """What it compares with says nothing of what it is timed beside."""
    project.makepyfile(
        test_own="""
        def test_both(facenet_comparison, facenet_timing, facenet_gates):
            facenet_gates.check(*facenet_timing.speed(facenet_gates).results)
        """
    )
    result = project.runpytest_inprocess(
        "test_own.py", "--precision=int8", "--facenet-batch-size=8",
        f"--facenet-against={prepared_small.entry.path}", "--facenet-report=report",
    )  # fmt: skip
    assert result.ret == 0
    document = json.loads((project.path / "report" / "results.json").read_text())
    judged: dict[str, set[str]] = {}
    for gate in (one for one in document["gates"] if one["test"]):
        judged.setdefault(gate["test"].rpartition("::")[2], set()).add(gate["gate"])
    fp32 = {"performance.stored", "performance.stored_ratio"}
    assert judged == {
        "test_both[int8-b8-lfw-reference-fp32]": fp32,
        "test_both[int8-b8-lfw-reference-against]": {"performance.against"},
        "test_both[int8-b8-lfw-against-fp32]": fp32,
        "test_both[int8-b8-lfw-against-against]": {"performance.against"},
    }


def test_int8_is_timed_beside_fp16_too_where_a_limit_judges_it(
    project: pytest.Pytester, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnxruntime_engine, "recipe_only", lambda *_: False)
    (project.path / "baselines" / "gates.toml").write_text(f"{GATES}{BESIDE_FP16}")
    arguments = ("--facenet-batch-size=8", "--facenet-report=report", "-v")
    result = run(*arguments, "--facenet-update-baselines=missing", precision="fp16,int8")
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        ["*fp16_ratio b8*int8*pass*× FP16's speed*", "speed int8, batch 8*× FP16's (*"]
    )
    document = json.loads((project.path / "report" / "results.json").read_text())
    judged = {(g["gate"].partition(".")[2], g["precision"]): g["test"] for g in document["gates"]}
    tests = {name: test.rpartition("::")[2] for name, test in judged.items()}
    assert tests == {
        ("stored", "fp16"): "test_speed[fp16-b8-fp32]",
        ("stored_ratio", "fp16"): "test_speed[fp16-b8-fp32]",
        ("stored", "int8"): "test_speed[int8-b8-fp32]",
        ("stored_ratio", "int8"): "test_speed[int8-b8-fp32]",
        ("fp16_ratio", "int8"): "test_speed[int8-b8-fp16]",
    }
    # One session of an engine is stored, that beside FP32, and its single batches are timed once.
    assert len(_file(project, 8).read_text().splitlines()) == 1
    assert "fp16_engine" not in _file(project, 8).read_text()
    latencies = [m["precision"] for m in document["measurements"] if m["name"] == "latency"]
    assert sorted(latencies) == ["fp16", "int8"]
    slower = run(*arguments, SLOWER=f"{_digest(project)}=1.06")
    assert slower.ret == 1
    slower.stdout.fnmatch_lines(["*fp16_ratio b8*int8*0.9*0.97*fail*× FP16's speed over 12 quads*"])


def test_fp16_that_is_no_fp16_is_nothing_to_be_timed_beside(
    project: pytest.Pytester, run: Run
) -> None:
    (project.path / "baselines" / "gates.toml").write_text(f"{GATES}{BESIDE_FP16}")
    result = run("--facenet-batch-size=8")
    result.stdout.fnmatch_lines(
        ["not evaluated: *fp16_ratio*: FP16: onnxruntime computes fp16 in a higher precision*"]
    )


def test_nothing_is_recorded_of_an_engine_that_fails_any_gate_of_the_run(
    project: pytest.Pytester, run: Run, prepared_small: PreparedModel
) -> None:
    """Batch 8 is timed beside FP32 before it fails beside the other engine, as batch 1 does."""
    arguments = (f"--facenet-against={prepared_small.entry.path}", "--facenet-batch-size=8,1")
    digest = _digest_of(project, run)
    result = run(*arguments, "--facenet-update-baselines=missing", SLOWER=f"{digest}=2.12")
    assert result.ret == 1
    for batch in (8, 1):
        result.stdout.fnmatch_lines(
            [f"baseline int8, batch {batch}: not recorded: this engine fails performance.against"]
        )
    assert not list((project.path / "baselines").glob("*/*.jsonl"))


def test_a_baseline_that_cannot_be_written_fails_the_run_and_nothing_else(
    project: pytest.Pytester, run: Run
) -> None:
    gates = (project.path / "baselines" / "gates.toml").read_text()
    elsewhere = project.path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "gates.toml").write_text(gates)
    run("--facenet-batch-size=8", "--facenet-update-baselines=missing")
    device = _file(project, 8).parent.name
    (elsewhere / device).write_text("a file where the device's folder should be")
    result = run(
        "--facenet-batch-size=8", "--facenet-update-baselines=all", "--facenet-baselines=elsewhere"
    )
    assert result.ret == 1
    said = result.stdout.str() + result.stderr.str()
    assert "Traceback" not in said
    assert "Not a directory" in said


def test_a_spell_in_the_first_measurement_is_no_fail(project: pytest.Pytester, run: Run) -> None:
    run("--facenet-batch-size=8", "--facenet-update-baselines=missing")
    path = _file(project, 8)
    path.write_text(_copies(path, 5))
    # 16 blocks fit the blocks' length and warm up; the next 24 take 10 % longer too, so half of
    # all, and the median 5 %.
    result = run("--facenet-batch-size=8", SPELL="40", SEED="2")
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        ["*stored b8*int8*inconclusive*measured again it is [+-]0.[0-4] %: no fail*"]
    )


def test_an_engine_that_is_emulated_is_nothing_to_be_timed_beside(
    project: pytest.Pytester, run: Run
) -> None:
    run("--facenet-batch-size=8", "--facenet-report=report")
    document = json.loads((project.path / "report" / "results.json").read_text())
    model = onnx.load(document["engines"]["int8"]["path"])
    onnx.helper.set_model_props(model, {RECIPE_KEY: json.dumps({"target": "tensorrt"})})
    graph = project.path / "for-tensorrt.onnx"
    onnx.save(model, graph)
    result = run("--facenet-batch-size=8", f"--facenet-against={graph}")
    result.stdout.fnmatch_lines(
        ["not evaluated: *performance.against*: *is for TensorRT and is emulated here*"]
    )


def test_without_a_limit_a_comparison_is_not_evaluated_by_name(
    project: pytest.Pytester, run: Run, prepared_small: PreparedModel
) -> None:
    gates = project.path / "baselines" / "gates.toml"
    gates.write_text("schema = 1\n[gates.any.any.any]\nperformance.stored = 1.03\n")
    result = run("--facenet-batch-size=8", f"--facenet-against={prepared_small.entry.path}")
    result.stdout.fnmatch_lines(
        ["not evaluated: performance.against: no limit in gates.toml for*images/s*"]
    )


def _digest_of(project: pytest.Pytester, run: Run) -> str:
    run("--facenet-batch-size=8", "--facenet-report=report")
    return _digest(project)


def _digest(project: pytest.Pytester) -> str:
    document = json.loads((project.path / "report" / "results.json").read_text())
    digest: str = document["engines"]["int8"]["sha256"]
    return digest[:8]


def test_pytest_benchmark_takes_the_host_for_the_same_one(
    project: pytest.Pytester, run: Run
) -> None:
    """Saved twice, compared, and plotted from, with no warning about the machine."""
    run("--facenet-batch-size=8", "--benchmark-autosave")
    result = run("--facenet-batch-size=8", "--benchmark-autosave", "--benchmark-compare")
    result.stderr.fnmatch_lines(["Comparing against benchmarks from: *0001_*"])
    assert "machine_info is different" not in result.stdout.str() + result.stderr.str()
    saved = sorted((project.path / ".benchmarks").glob("*/*.json"))
    assert len(saved) == 2
    document = json.loads(saved[1].read_text())
    assert document["machine_info"]["facenet"]["backend"] == "onnxruntime"
    assert "hz_actual_friendly" not in document["machine_info"]["cpu"]
    (benchmark,) = document["benchmarks"]
    extra = benchmark["extra_info"]
    assert extra["session"]["identity"]["batch"] == 8
    assert extra["key"].startswith(f"device {extra['session']['identity']['device']}, ")
    assert extra["fps"] == pytest.approx(1000, rel=0.01)
    assert benchmark["stats"]["median"] == extra["session"]["latency_seconds"]
