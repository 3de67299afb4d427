"""Whole runs on a TensorRT backend whose GPU and runtime are the checking fakes.

The plan is built by the real TensorRT for RTX; the fake runtime computes with ONNX Runtime what the
plan's graph says, in the fake device's memory, and the fake device objects to any misuse.
"""

from __future__ import annotations

import json
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from facenet_validate.cache import Cache
from facenet_validate.cli import main

pytestmark = pytest.mark.skipif(
    find_spec("tensorrt_rtx_bindings") is None and find_spec("tensorrt_rtx") is None,
    reason="TensorRT for RTX is not installed: pip install 'facenet-validate[tensorrt-rtx]'",
)

CONFTEST = """
import numpy as np
import onnxruntime as ort

import facenet_validate.engines.device.cuda
import facenet_validate.engines.device.driver
import facenet_validate.engines.device.probe as probe
import facenet_validate.engines.tensorrt.engine as room
import facenet_validate.engines.tensorrt.artefacts as artefacts
import facenet_validate.benchmarking.latency
from facenet_validate.benchmarking.surroundings import Surroundings
from tests.engines.device.fake_device import FakeDevice
from tests.engines.device.fake_runtime import Plan, Tensor, TensorIOMode, fake_library

GRAPHS = {}
DEVICE = FakeDevice()
facenet_validate.benchmarking.latency.LATENCY_SECONDS = 0.0
Surroundings.disturbance = lambda surroundings, begin, end: ""
probe.gpu = lambda: probe.Gpu(lambda: "", lambda: "9.0", lambda: "")
facenet_validate.engines.device.driver.cuda_version = lambda: "13.0"
facenet_validate.engines.device.cuda.open_device = lambda: DEVICE
facenet_validate.engines.device.driver.pci_bus_id = lambda: "0000:00:00.0"
facenet_validate.engines.device.driver.device_name = lambda: "Fake GPU"
read_plan = artefacts.read_plan


def remembered(artefact):
    content = read_plan(artefact)
    GRAPHS[content] = artefact.graph
    return content


artefacts.read_plan = remembered


class Engine(room.TensorRtEngine):
    def __init__(self, plan, library, device, *, info):
        session = ort.InferenceSession(str(GRAPHS[plan]), providers=["CPUExecutionProvider"])
        fake = Plan(
            device,
            [(1, 4, 4)],
            tensors={
                "input": Tensor(TensorIOMode.INPUT, (-1, 3, 160, 160)),
                "embeddings": Tensor(TensorIOMode.OUTPUT, (-1, 512)),
            },
            compute=lambda images: session.run(None, {"input": images})[0] * FACTOR,
        )
        super().__init__(plan, fake_library(fake), device, info=info)


FACTOR = np.float32(1)
room.TensorRtEngine = Engine


def pytest_sessionfinish():
    held = {kind: count for kind, count in DEVICE.live.items() if count}
    print(f"left on the device: {held}")
"""


@pytest.fixture
def project(
    pytester: pytest.Pytester, shared_cache: Cache, small_set: Path, monkeypatch: pytest.MonkeyPatch
) -> pytest.Pytester:
    assert main(["init", str(pytester.path)]) == 0
    (pytester.path / "conftest.py").write_text(CONFTEST)
    monkeypatch.setenv("FACENET_CACHE", str(shared_cache.root))
    monkeypatch.setenv("FACENET_LFW", str(small_set))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    # In CI too few stored sessions fail on a GPU: the test of that sets it.
    monkeypatch.delenv("CI", raising=False)
    return pytester


ARGUMENTS = ("--facenet-backend=tensorrt-rtx", "--precision=fp16", "--facenet-batch-size=4")


def _document(project: pytest.Pytester) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((project.path / "report" / "results.json").read_text())
    return found


def test_an_engine_that_runs_is_judged_by_every_suite(project: pytest.Pytester) -> None:
    result = project.runpytest_subprocess("suites", "-s", *ARGUMENTS, "--facenet-report=report")
    assert result.ret == 0, result.outlines
    result.stdout.fnmatch_lines(
        [
            "facenet: backend tensorrt-rtx *",
            "facenet: device Fake GPU; target tensorrt: *",
            "*left on the device: {}",
            "*parity*cosine_min*fp16*0.9999*pass*",
            "speed fp16, batch 4, device: * images/s*× FP32*",
            "latency fp16, batch 4, device clock: p50 2.00* ms, p90 2.00* ms over 10 batches, *",
        ]
    )
    document = _document(project)
    gates = {gate["gate"]: gate for gate in document["gates"]}
    assert not any(gate["recipe_only"] for gate in document["gates"])
    assert gates["accuracy.paired_drop"]["verdict"] in ("pass", "inconclusive")
    assert gates["contract.precision_share"]["verdict"] == "not evaluated"
    assert "does not tell 100.0%" in gates["contract.precision_share"]["detail"]
    others = [g for g in gates if g.startswith(("build.", "contract.", "parity."))]
    verdicts = {g: gates[g]["verdict"] for g in others if g != "contract.precision_share"}
    assert set(verdicts.values()) == {"pass"}, verdicts
    speed = next(m for m in document["measurements"] if m["name"] == "speed")
    assert speed["scope"] == "device"
    assert speed["surroundings"]["gpu"].startswith("NVML")
    assert set(document["reference"]["options"]) >= {"provider", "intra_op_num_threads"}


def test_the_other_scope_is_timed_on_request_and_stored_apart(project: pytest.Pytester) -> None:
    result = project.runpytest_subprocess(
        "suites/test_performance.py",
        *ARGUMENTS,
        "--facenet-scope=end-to-end",
        "--facenet-update-baselines=missing",
    )
    result.stdout.fnmatch_lines(["speed fp16, batch 4, end-to-end: *"])
    (stored,) = (project.path / "baselines").glob("*/*.jsonl")
    assert stored.name == "tensorrt-rtx-fp16-b4.jsonl"
    assert stored.parent.name.startswith("fake-gpu")
    identity = json.loads(stored.read_text())["identity"]
    assert identity["scope"] == "end-to-end"
    assert identity["device_details"] == "compute capability 9.0, 132 SMs, 1.0 GiB"


def test_in_ci_too_few_sessions_are_a_failure_that_tells_the_command(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "true")
    suite = ("suites/test_performance.py", *ARGUMENTS)
    failed = project.runpytest_subprocess(*suite, "--junitxml=junit.xml")
    assert failed.ret == 1
    text = (project.path / "junit.xml").read_text()
    assert 'failures="1"' in text
    assert "0 of 5 sessions recorded" in text
    told = re.search(r"CI is set, so it fails: record five sessions here with (.*)", text)
    assert told is not None
    for part in ("suites/test_performance.py", *ARGUMENTS, "--facenet-update-baselines missing"):
        assert part in told[1]
    recorded = project.runpytest_subprocess(*suite, "--facenet-update-baselines=missing")
    assert recorded.ret == 0
    recorded.stdout.fnmatch_lines(["*stored b4*not evaluated*"])


def test_a_broken_engine_fails(project: pytest.Pytester) -> None:
    conftest = project.path / "conftest.py"
    conftest.write_text(conftest.read_text().replace("np.float32(1)", "np.float32(1.01)"))
    result = project.runpytest_subprocess("suites/test_contract.py", *ARGUMENTS)
    result.stdout.fnmatch_lines(["*contract*norm_error_max*fp16*0.01*fail*"])
    assert result.ret == 1


def test_an_engine_of_another_embedding_size_is_named(project: pytest.Pytester) -> None:
    conftest = project.path / "conftest.py"
    narrower = conftest.read_text().replace("(-1, 512)", "(-1, 128)")
    conftest.write_text(narrower.replace("[0] * FACTOR", "[0][:, :128] * FACTOR"))
    result = project.runpytest_subprocess("suites/test_parity.py", *ARGUMENTS)
    result.stdout.fnmatch_lines(["*embeddings of 128 values, but *gives 512*"])
    assert "Traceback" not in result.stdout.str()


def test_a_rebuild_judges_the_plan_it_runs(project: pytest.Pytester) -> None:
    result = project.runpytest_subprocess(
        "suites/test_build.py", "suites/test_contract.py", *ARGUMENTS, "--facenet-rebuild"
    )
    assert result.ret == 0, result.outlines
    result.stdout.fnmatch_lines(["*build*half_share*pass*", "*contract*signature*pass*"])


def test_fp32_on_a_gpu_is_compared_with_fp32_on_the_cpu(project: pytest.Pytester) -> None:
    conftest = project.path / "conftest.py"
    turned = conftest.read_text().replace("[0] * FACTOR", "[0][:, ::-1] * FACTOR")
    conftest.write_text(turned)
    result = project.runpytest_subprocess(
        "suites/test_parity.py", ARGUMENTS[0], "--precision=fp32", ARGUMENTS[2]
    )
    result.stdout.fnmatch_lines(["*parity*cosine_min*fp32*fail*"])
