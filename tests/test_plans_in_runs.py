"""TensorRT engines in a run on a machine without a GPU, as a user meets them."""

from __future__ import annotations

import json
import shutil
import xml.etree.ElementTree as ET
from importlib.util import find_spec
from pathlib import Path

import pytest

from facenet_validate.engines.device.driver import why_no_device

pytestmark = [
    pytest.mark.skipif(
        find_spec("tensorrt_rtx_bindings") is None and find_spec("tensorrt_rtx") is None,
        reason="TensorRT for RTX is not installed: pip install 'facenet-validate[tensorrt-rtx]'",
    ),
    pytest.mark.skipif(not why_no_device(), reason="there is a GPU: engines run here"),
]
SHIPPED = Path(__file__).parents[1] / "baselines" / "gates.toml"
RTX = ("--facenet-backend=tensorrt-rtx", "--precision=fp16")


@pytest.fixture
def project(project: pytest.Pytester) -> pytest.Pytester:
    """The common project, with the limits that ship but for a plan's size.

    What a plan holds beside the weights is much, beside those of the small network.
    """
    limits = SHIPPED.read_text().replace("build.size = 0.6 ", "build.size = 100 ")
    (project.path / "baselines" / "gates.toml").write_text(limits)
    return project


def _gates(report: Path) -> dict[str, dict[str, object]]:
    document = json.loads((report / "results.json").read_text())
    return {gate["gate"]: gate for gate in document["gates"]}


def test_without_a_gpu_the_engine_is_built_and_judged_by_its_build(
    project: pytest.Pytester,
) -> None:
    result = project.runpytest_inprocess(
        "suites", *RTX, "--facenet-report=report", "--junitxml=junit.xml"
    )
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [
            "facenet: backend tensorrt-rtx *: asked for by --facenet-backend",
            "facenet: device *; target tensorrt: the backend is tensorrt-rtx",
            "facenet: engines are built and not run here: *",
            "FP16 may replace FP32 on what was judged: build. Not judged: contract, parity, *.",
            "*contract.signature*fp16*not evaluated*see below",
            "*build.half_share*fp16*0.996145*pass*of the multiply-adds*",
            "not evaluated: *contract.signature, *: tensorrt-rtx cannot run here: *",
            "the engine is judged by its build alone",
            "engine fp16: typed FP16*; plan of TensorRT for RTX *",
            "plan fp16: */engine.plan",
            "verdict: PARTIAL*",
            "*1 passed, 6 skipped, * not evaluated*",
        ]
    )
    gates = _gates(project.path / "report")
    judged = {name for name, gate in gates.items() if gate["verdict"] == "pass"}
    assert judged == {"build.problems", "build.inputs", "build.half_share", "build.size"}
    others = {name: gate for name, gate in gates.items() if name not in judged}
    assert {gate["verdict"] for gate in others.values()} == {"not evaluated"}
    assert all("tensorrt-rtx cannot run here" in str(gate["detail"]) for gate in others.values())
    assert {"parity.cosine_min", "accuracy.acc", "performance.stored"} <= set(others)
    suite = ET.parse(project.path / "junit.xml").getroot().find("testsuite")
    assert suite is not None
    told = {p.get("name"): p.get("value", "") for p in suite.findall("properties/property")}
    assert told["facenet.verdict"] == "partial"
    assert "tensorrt-rtx cannot run here" in told["facenet.cannot_run"]
    assert "accuracy.acc" in told["facenet.partial"]
    assert "plan of TensorRT for RTX" in told["facenet.engine.fp16"]
    assert "embeddings" not in json.loads((project.path / "report/results.json").read_text())

    again = project.runpytest_inprocess("suites", *RTX)
    again.stdout.fnmatch_lines(["engine fp16: *(hit: same *"])


def test_required_lfw_fails_where_the_engine_cannot_run(project: pytest.Pytester) -> None:
    result = project.runpytest_inprocess("suites", *RTX, "--facenet-require=lfw")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["required and not judged: *accuracy.acc*", "verdict: FAIL*"])


def test_a_recipe_for_cpus_is_refused_on_a_gpu_backend(project: pytest.Pytester) -> None:
    result = project.runpytest_inprocess("suites", *RTX, "--facenet-target=cpu")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "--facenet-target: cpu, but tensorrt-rtx engines are for a GPU" in result.stderr.str()


@pytest.fixture
def plan(project: pytest.Pytester) -> Path:
    """The FP16 plan that a run built and kept in the cache."""
    project.runpytest_inprocess("suites/test_build.py", *RTX, "--facenet-report=build")
    document = json.loads((project.path / "build" / "results.json").read_text())
    return Path(document["engines"]["fp16"]["path"])


def test_a_plan_of_the_cache_is_known_again(project: pytest.Pytester, plan: Path) -> None:
    result = project.runpytest_inprocess("suites", f"--facenet-engine={plan}")
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [
            "facenet: backend tensorrt-rtx *: asked for by the plan engine.plan",
            "facenet: precisions fp16; *",
            "facenet: engines are looked at and not run here: *",
            " build.inputs *not evaluated*see below",
            " build.problems *fp16 *0 *0 *pass*",
            " build.half_share *fp16 *0.996145 *pass*",
            "not evaluated: build.inputs: it was built elsewhere*",
            "engine fp16: plan of tensorrt-rtx *, built here and given by its path *",
        ]
    )
    wrong = project.runpytest_inprocess("suites", f"--facenet-engine={plan}", "--precision=int8")
    assert wrong.ret == pytest.ExitCode.USAGE_ERROR
    assert "--precision: int8, but engine.plan is fp16" in wrong.stderr.str()


def test_a_plan_from_elsewhere_needs_its_precision(
    project: pytest.Pytester, plan: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "their.engine"
    elsewhere.write_bytes(plan.read_bytes())
    result = project.runpytest_inprocess("suites", f"--facenet-engine={elsewhere}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "does not tell its precision" in result.stderr.str()
    named = project.runpytest_inprocess(
        "suites", f"--facenet-engine={elsewhere}", "--precision=fp16"
    )
    assert named.ret == 0
    named.stdout.fnmatch_lines(
        [
            " build.problems *fp16 *not evaluated*see below",
            "not evaluated: build.problems: a plan built elsewhere *",
            "not evaluated: build.half_share: a plan built elsewhere *",
            "not evaluated: build.size: *",
        ]
    )


def test_a_damaged_plan_of_the_cache_is_refused(
    project: pytest.Pytester, plan: Path, tmp_path: Path
) -> None:
    kept = tmp_path / plan.parent.name
    shutil.copytree(plan.parent, kept)
    content = bytearray(plan.read_bytes())
    content[len(content) // 2] ^= 1
    (kept / plan.name).write_bytes(content)
    result = project.runpytest_inprocess("suites", f"--facenet-engine={kept / plan.name}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "is not what the cache wrote: engine.plan was damaged" in result.stderr.str()


def test_several_profiles_are_no_size_to_judge(project: pytest.Pytester) -> None:
    result = project.runpytest_inprocess("suites/test_build.py", *RTX, "--facenet-batch-size=1,4")
    result.stdout.fnmatch_lines(["not evaluated: build.size: *a plan of 2*"])


@pytest.mark.parametrize(
    "option",
    ["--facenet-workspace=512", "--facenet-optimization-level=3", "--facenet-scope=device"],
)
def test_what_means_nothing_to_the_backend_is_refused(
    project: pytest.Pytester, option: str
) -> None:
    result = project.runpytest_inprocess("suites", "--facenet-backend=onnxruntime", option)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert f"{option.partition('=')[0]} means nothing to onnxruntime" in result.stderr.str()


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda plan: plan[: len(plan) // 2], "copied in part"),
        (lambda plan: plan[:24] + bytes([9, 9, 9, 9]) + plan[28:], "built by * 9.9.9.9, but"),
        (lambda plan: b"ftrt" + plan[4:], "is not installed"),
        (lambda plan: b"", "it is empty"),
    ],
    ids=["truncated", "another version", "another library", "empty"],
)
def test_a_plan_that_cannot_run_is_refused_before_anything_loads_it(
    project: pytest.Pytester, plan: Path, tmp_path: Path, damage: object, says: str
) -> None:
    assert callable(damage)
    path = tmp_path / "damaged.plan"
    path.write_bytes(damage(plan.read_bytes()))
    result = project.runpytest_inprocess("suites", f"--facenet-engine={path}", "--precision=fp16")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: *{says}*"])
    assert "Traceback" not in result.stderr.str()
