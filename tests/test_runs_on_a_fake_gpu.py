"""Whole runs on a TensorRT backend whose GPU and runtime are the checking fakes.

The plan is built by the real TensorRT for RTX; the fake runtime computes with ONNX Runtime what the
plan's graph says, in the fake device's memory, and the fake device objects to any misuse.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from facenet_validate.engines.artefacts import Artefact
from facenet_validate.engines.device import probe
from facenet_validate.engines.protocol import EngineInfo
from facenet_validate.engines.tensorrt.artefacts import read_plan
from facenet_validate.engines.tensorrt.engine import TensorRtEngine
from facenet_validate.engines.tensorrt.library import Library
from tests.engines.device.fake_device import FakeDevice
from tests.engines.device.fake_runtime import Plan, Tensor, TensorIOMode, fake_library
from tests.models.small_facenet import EMBEDDING, SIZE

pytestmark = pytest.mark.skipif(
    find_spec("tensorrt_rtx_bindings") is None and find_spec("tensorrt_rtx") is None,
    reason="TensorRT for RTX is not installed: pip install 'facenet-validate[tensorrt-rtx]'",
)
SHIPPED = Path(__file__).parents[1] / "baselines" / "gates.toml"


class Gpu:
    """The fake GPU of a run, and what its engines give.

    Attributes
    ----------
    device : FakeDevice
        As the last run opened it; knows what is still held of it.
    size : int
        Embedding size that the plan tells.
    ranges : list of (int, int, int)
        Minimum, optimum and maximum batch of each profile.
    changed : callable
        Changes the embeddings (N, 16) that a correct engine would give.
    """

    def __init__(self) -> None:
        self.device = FakeDevice()
        self.size = EMBEDDING
        self.ranges = [(1, 4, 4)]
        self.changed: Callable[[NDArray[np.float32]], NDArray[np.float32]] = lambda given: given
        self._graphs: dict[bytes, Path] = {}

    def open(self) -> FakeDevice:
        self.device = FakeDevice()
        return self.device

    def read_plan(self, artefact: Artefact) -> bytes:
        content = read_plan(artefact)
        self._graphs[content] = artefact.graph
        return content

    def engine(
        self, plan: bytes, library: Library, device: Any, *, info: EngineInfo
    ) -> TensorRtEngine:
        """An engine that computes with ONNX Runtime what the plan's graph says."""
        graph = str(self._graphs[plan])
        session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
        fake = Plan(
            self.device,
            self.ranges,
            tensors={
                "input": Tensor(TensorIOMode.INPUT, (-1, 3, SIZE, SIZE)),
                "embeddings": Tensor(TensorIOMode.OUTPUT, (-1, self.size)),
            },
            compute=lambda images: self.changed(session.run(None, {"input": images})[0]),
        )
        return TensorRtEngine(plan, fake_library(fake), device, info=info)


@pytest.fixture
def gpu(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Gpu:
    """A GPU that this process finds, and the gates that ship; nothing disturbs its times."""
    # What a plan holds beside the weights is much, beside those of the small network.
    shipped = SHIPPED.read_text().replace("build.size = 0.6 ", "build.size = 100 ")
    (project.path / "baselines" / "gates.toml").write_text(shipped)
    found = Gpu()
    for name, value in {
        "benchmarking.latency.LATENCY_SECONDS": 0.0,
        "benchmarking.surroundings.Surroundings.disturbance": lambda *_: "",
        "engines.blocks.BLOCK_SECONDS": 0.002,
        "engines.device.cuda.open_device": found.open,
        "engines.device.driver.cuda_version": lambda: "13.0",
        "engines.device.driver.device_name": lambda: "Fake GPU",
        "engines.device.driver.pci_bus_id": lambda: "0000:00:00.0",
        "engines.device.probe.gpu": lambda: probe.Gpu(lambda: "", lambda: "9.0", lambda: ""),
        "engines.tensorrt.artefacts.read_plan": found.read_plan,
        "engines.tensorrt.engine.TensorRtEngine": found.engine,
        "run.timing.cuda_version": lambda: "13.0",
    }.items():
        monkeypatch.setattr(f"facenet_validate.{name}", value)
    return found


ARGUMENTS = ("--facenet-backend=tensorrt-rtx", "--precision=fp16", "--facenet-batch-size=4")


def _document(project: pytest.Pytester) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((project.path / "report" / "results.json").read_text())
    return found


def test_an_engine_that_runs_is_judged_by_every_suite(project: pytest.Pytester, gpu: Gpu) -> None:
    result = project.runpytest_inprocess("suites", *ARGUMENTS, "--facenet-report=report")
    assert result.ret == 0, result.outlines
    result.stdout.fnmatch_lines(
        [
            "facenet: backend tensorrt-rtx *",
            "facenet: device Fake GPU; target tensorrt: *",
            "*parity*cosine_min*fp16*0.9995*pass*",
            "speed fp16, batch 4, device: * images/s*× FP32*",
            "latency fp16, batch 4, device clock: p50 2.00* ms, p90 2.00* ms over 10 batches, *",
        ]
    )
    assert not +gpu.device.live
    document = _document(project)
    gates = {gate["gate"]: gate for gate in document["gates"]}
    assert gates["parity.cosine_min"]["observed"] > 0.9999
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


def test_a_run_of_a_static_profile_says_what_its_batches_show(
    project: pytest.Pytester, gpu: Gpu
) -> None:
    gpu.ranges = [(4, 4, 4)]
    result = project.runpytest_inprocess(
        "suites/test_contract.py",
        "suites/test_performance.py",
        *ARGUMENTS,
        "--facenet-profile=static",
        "--facenet-report=report",
        "--facenet-update-baselines=missing",
    )
    assert result.ret == 0, result.outlines
    document = _document(project)
    assert document["settings"]["profile"] == "static"
    gates = {gate["gate"]: gate for gate in document["gates"]}
    for gate in ("contract.signature", "contract.batch_invariance"):
        assert gates[gate]["verdict"] == "pass"
        assert "its plan runs batches of 4 alone" in gates[gate]["detail"]
    (kept,) = Path(document["engines"]["fp16"]["path"]).parent.glob("build.json")
    assert json.loads(kept.read_text())["inputs"]["options"]["profiles"] == [[4, 4, 4]]
    (stored,) = (project.path / "baselines").glob("*/*.jsonl")
    provenance = json.loads(stored.read_text())["provenance"]
    assert provenance["options"] == "execution=CUDA graph, profile=static"


def test_the_other_scope_is_timed_on_request_and_stored_apart(
    project: pytest.Pytester, gpu: Gpu
) -> None:
    result = project.runpytest_inprocess(
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
    project: pytest.Pytester, gpu: Gpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "true")
    suite = ("suites/test_performance.py", *ARGUMENTS)
    failed = project.runpytest_inprocess(*suite, "--junitxml=junit.xml")
    assert failed.ret == 1
    text = (project.path / "junit.xml").read_text()
    assert 'failures="1"' in text
    assert "0 of 5 sessions recorded" in text
    told = re.search(r"CI is set, so it fails: record five sessions here with (.*)", text)
    assert told is not None
    for part in ("suites/test_performance.py", *ARGUMENTS, "--facenet-update-baselines missing"):
        assert part in told[1]
    recorded = project.runpytest_inprocess(*suite, "--facenet-update-baselines=missing")
    assert recorded.ret == 0
    recorded.stdout.fnmatch_lines(["*stored b4*not evaluated*"])


def test_a_broken_engine_fails(project: pytest.Pytester, gpu: Gpu) -> None:
    gpu.changed = lambda given: given * np.float32(1.01)
    result = project.runpytest_inprocess("suites/test_contract.py", *ARGUMENTS)
    result.stdout.fnmatch_lines(["*contract*norm_error_max*fp16*0.01*fail*"])
    assert result.ret == 1


def test_an_engine_of_another_embedding_size_is_named(project: pytest.Pytester, gpu: Gpu) -> None:
    gpu.size = 8
    gpu.changed = lambda given: given[:, :8]
    result = project.runpytest_inprocess("suites/test_parity.py", *ARGUMENTS)
    result.stdout.fnmatch_lines(["*embeddings of 8 values, but *gives 16*"])
    assert "Traceback" not in result.stdout.str()


def test_a_rebuild_judges_the_plan_it_runs(project: pytest.Pytester, gpu: Gpu) -> None:
    result = project.runpytest_inprocess(
        "suites/test_build.py", "suites/test_contract.py", *ARGUMENTS, "--facenet-rebuild"
    )
    assert result.ret == 0, result.outlines
    result.stdout.fnmatch_lines(["*build*half_share*pass*", "*contract*signature*pass*"])


def test_fp32_on_a_gpu_is_compared_with_fp32_on_the_cpu(project: pytest.Pytester, gpu: Gpu) -> None:
    gpu.changed = lambda given: given[:, ::-1]
    result = project.runpytest_inprocess(
        "suites/test_parity.py", ARGUMENTS[0], "--precision=fp32", ARGUMENTS[2]
    )
    result.stdout.fnmatch_lines(["*parity*cosine_min*fp32*fail*"])
