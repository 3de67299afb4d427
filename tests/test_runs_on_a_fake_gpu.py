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
from facenet_validate.engines.device.interface import GpuAddress
from facenet_validate.engines.device.opening import Bindings
from facenet_validate.engines.protocol import EngineInfo
from facenet_validate.engines.tensorrt.artefacts import read_plan
from facenet_validate.engines.tensorrt.engine import TensorRtEngine
from facenet_validate.engines.tensorrt.library import Library, describe_library
from facenet_validate.engines.tensorrt.runtime_cache import KernelStore
from tests.engines.device.fake_device import GPU, FakeDevice
from tests.engines.device.fake_runtime import Plan, Tensor, TensorIOMode, fake_library
from tests.engines.tensorrt.fake_tensorrt import FakeTensorRT, inspected
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
    launches_left : int or None
        Launches until the device faults, and every later call of it fails.
    listed : callable
        A plan's bytes → what the engine inspector gives of it.
    """

    def __init__(self) -> None:
        self.device = FakeDevice()
        self.size = EMBEDDING
        self.launches_left: int | None = None
        self.ranges = [(1, 4, 4)]
        self.changed: Callable[[NDArray[np.float32]], NDArray[np.float32]] = lambda given: given
        self.listed: Callable[[bytes], str] = lambda plan: '{"Layers": []}'
        self._graphs: dict[bytes, Path] = {}

    def open(self, _ordinal: int = 0) -> FakeDevice:
        self.device = FakeDevice()
        self.device.launches_left = self.launches_left
        return self.device

    def read_plan(self, artefact: Artefact) -> bytes:
        content = read_plan(artefact)
        self._graphs[content] = artefact.graph
        return content

    def engine(
        self,
        plan: bytes,
        library: Library,
        device: Any,
        *,
        info: EngineInfo,
        kernels: KernelStore,
    ) -> TensorRtEngine:
        """An engine that computes with ONNX Runtime what the plan's graph says."""
        graph = str(self._graphs[plan])
        options = onnxruntime.SessionOptions()
        options.add_session_config_entry("session.disable_quant_qdq", "1")  # as it is written
        session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        fake = Plan(
            self.device,
            self.ranges,
            tensors={
                "input": Tensor(TensorIOMode.INPUT, (-1, 3, SIZE, SIZE)),
                "embeddings": Tensor(TensorIOMode.OUTPUT, (-1, self.size)),
            },
            layers={"JSON": self.listed(plan)},
            compute=lambda images: self.changed(session.run(None, {"input": images})[0]),
        )
        return TensorRtEngine(plan, fake_library(fake), device, info=info, kernels=kernels)


@pytest.fixture
def gpu(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Gpu:
    """A GPU that this process finds, and the gates that ship; nothing disturbs its times."""
    # What a plan holds beside the weights is much, beside those of the small network.
    shipped = re.sub(r"build\.size = 0\.\d ", "build.size = 100 ", SHIPPED.read_text())
    (project.path / "baselines" / "gates.toml").write_text(shipped)
    found = Gpu()
    for name, value in {
        "benchmarking.latency.LATENCY_SECONDS": 0.0,
        "benchmarking.surroundings.Surroundings.disturbance": lambda *_: "",
        "engines.blocks.BLOCK_SECONDS": 0.002,
        "engines.device.driver.cuda_version": lambda: "13.0",
        "engines.device.driver.gpu_address": lambda: GpuAddress("0000:00:00.0", ""),
        "engines.device.driver.gpu_identity": lambda: GPU,
        "engines.device.opening.find_bindings": lambda: Bindings("a fake", "1.0", found.open),
        "engines.device.opening.open_device": found.open,
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
            "facenet: backend tensorrt-rtx *; a fake 1.0",
            "facenet: device Fake GPU; target tensorrt: *",
            "*parity*cosine_min*fp16*0.9995*pass*",
            "speed fp16, batch 4, device: * images/s*× FP32*",
            "latency fp16, batch 4, device clock: p50 2.00* ms, p90 2.00* ms over 10 batches, *; "
            "latency with copies, host clock: p50 * ms, p90 * ms*",
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


def test_int8_is_timed_beside_fp32_and_beside_fp16(project: pytest.Pytester, gpu: Gpu) -> None:
    """By the limits that ship; what a fake takes is no time to judge."""
    result = project.runpytest_inprocess(
        "suites/test_performance.py",
        ARGUMENTS[0],
        "--precision=int8",
        ARGUMENTS[2],
        "--facenet-report=report",
    )
    result.stdout.fnmatch_lines(["speed int8, batch 4, device: * images/s*× FP32's (*"])
    result.stdout.fnmatch_lines(["speed int8, batch 4, device: * images/s*× FP16's (*"])
    gates = {gate["gate"]: gate["limit"] for gate in _document(project)["gates"]}
    assert gates["performance.fp16_ratio"] == 0.97


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


def test_kernels_are_kept_for_the_next_run_which_tells_of_damaged_ones(
    project: pytest.Pytester, gpu: Gpu
) -> None:
    arguments = ("suites/test_contract.py", "-k", "signature or unit_norm", *ARGUMENTS)
    cache = project.path / "kernels"
    first = project.runpytest_inprocess(*arguments, f"--facenet-cache={cache}")
    first.stdout.no_fnmatch_line("*kept kernels*")
    (kept,) = cache.glob("v2/kernels/*/runtime.cache")
    assert kept.read_bytes().startswith(b"driver 580: ")
    kept.write_bytes(b"driver 580: 7")
    second = project.runpytest_inprocess(*arguments, f"--facenet-cache={cache}")
    second.stdout.fnmatch_lines(
        ["*kept kernels were ignored and are compiled anew: runtime.cache*"]
    )
    assert second.ret == first.ret == 0


def test_a_broken_engine_fails(project: pytest.Pytester, gpu: Gpu) -> None:
    gpu.changed = lambda given: given * np.float32(1.01)
    result = project.runpytest_inprocess("suites/test_contract.py", *ARGUMENTS)
    result.stdout.fnmatch_lines(["*contract*norm_error_max*fp16*0.01*fail*"])
    assert result.ret == 1


def test_a_fault_of_the_gpu_half_way_leaves_a_report(project: pytest.Pytester, gpu: Gpu) -> None:
    gpu.launches_left = 1
    result = project.runpytest_inprocess(
        "suites/test_build.py", "suites/test_contract.py", *ARGUMENTS, "--facenet-report=report"
    )
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    told = result.stdout.str()
    assert "Traceback" not in told
    assert "ERROR" not in told.replace("CUDA_ERROR", "")  # nothing fails while all is closed
    document = _document(project)
    assert (document["verdict"], document["exit_status"]) == ("fail", 1)
    gates = {gate["gate"]: gate for gate in document["gates"]}
    assert gates["build.half_share"]["verdict"] == gates["contract.signature"]["verdict"] == "pass"
    contract = [gate for name, gate in gates.items() if name.startswith("contract.")]
    unjudged = {gate["gate"]: gate["detail"] for gate in contract if gate["verdict"] == "not run"}
    assert set(unjudged) >= {"contract.norm_error_max", "contract.order_invariance"}
    # All of them for the first error, not for what it led to; gates of other suites have no reason.
    (detail,) = {detail for detail in unjudged.values() if detail}
    assert re.search(
        r"batch \d+ of a run, of size \d+: CUDA: launch gave CUDA_ERROR_ILLEGAL_ADDRESS", detail
    )
    assert "(the same error as above)" in told
    reasons = [line for line in result.outlines if line.startswith("not run: ")]
    assert [detail in line for line in reasons].count(True) == 1


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
    result.stdout.fnmatch_lines(["*contract*signature*pass*", "*build*half_share*pass*"])


def test_fp32_on_a_gpu_is_compared_with_fp32_on_the_cpu(project: pytest.Pytester, gpu: Gpu) -> None:
    gpu.changed = lambda given: given[:, ::-1]
    result = project.runpytest_inprocess(
        "suites/test_parity.py", ARGUMENTS[0], "--precision=fp32", ARGUMENTS[2]
    )
    result.stdout.fnmatch_lines(["*parity*cosine_min*fp32*fail*"])


# --- TensorRT proper, which logs and lists the layers of its plans --------------------------------


@pytest.fixture
def tensorrt(gpu: Gpu, monkeypatch: pytest.MonkeyPatch) -> Callable[[FakeTensorRT], None]:
    """Install a fake TensorRT, whose engine inspector gives what its builder listed."""
    gpu.listed = inspected

    def install(module: FakeTensorRT) -> None:
        library = describe_library(module, "tensorrt")
        for name, value in {
            "backend.TensorRt.installed_version": lambda: library.version,
            "library.find_library": lambda _: library,
        }.items():
            monkeypatch.setattr(f"facenet_validate.engines.tensorrt.{name}", value)

    return install


PLANS = ("suites/test_build.py", "suites/test_contract.py", "--facenet-backend=tensorrt")


def test_correct_engines_of_tensorrt_10_pass(
    project: pytest.Pytester, tensorrt: Callable[[FakeTensorRT], None]
) -> None:
    tensorrt(FakeTensorRT("10.13.3.9"))
    result = project.runpytest_inprocess(
        *PLANS, "--precision=fp16,int8", "--facenet-batch-size=4", "--facenet-report=report"
    )
    assert result.ret == 0, result.outlines
    gates = [gate for gate in _document(project)["gates"] if "_share" in gate["gate"]]
    assert {(gate["gate"], gate["precision"]): gate["verdict"] for gate in gates} == {
        ("build.half_share", "fp16"): "pass",
        ("build.int8_share", "int8"): "pass",
        ("contract.precision_share", "fp16"): "pass",
        ("contract.precision_share", "int8"): "pass",
    }
    assert {round(gate["observed"], 4) for gate in gates} == {0.9961}
    result.stdout.fnmatch_lines(["*build*half_share*fp16*0.996145*pass*of the multiply-adds*"])


def test_an_engine_of_tensorrt_11_that_fell_back_to_fp32_fails_by_name(
    project: pytest.Pytester, tensorrt: Callable[[FakeTensorRT], None]
) -> None:
    tensorrt(FakeTensorRT("11.4.0.106", compiled_in="FLOAT"))
    result = project.runpytest_inprocess(
        *PLANS, "--precision=fp16", "--facenet-batch-size=4", "--facenet-report=report"
    )
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    gates = {gate["gate"]: gate for gate in _document(project)["gates"]}
    failed = {name for name, gate in gates.items() if gate["verdict"] == "fail"}
    assert failed == {"build.half_share", "contract.precision_share"}
    assert "0 by the list of compiled layers; 100.0% in fp32" in gates["build.half_share"]["detail"]
    assert gates["contract.precision_share"]["detail"] == (
        "by the engine inspector; 100.0% in fp32"
    )
