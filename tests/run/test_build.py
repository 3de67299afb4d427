"""Gates on what an engine computes in, over what TensorRT 10.13 and 11.4 log and answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import onnx
import pytest

from facenet_validate.base.digests import file_digest
from facenet_validate.base.vocabulary import Precision
from facenet_validate.cache import Cache
from facenet_validate.engines.artefacts import Artefact
from facenet_validate.engines.build_facts import BuildFacts
from facenet_validate.engines.device.interface import GpuIdentity
from facenet_validate.engines.protocol import ComputedPrecision
from facenet_validate.engines.tensorrt.artefacts import loaded_shares, plan_facts
from facenet_validate.engines.tensorrt.layer_lists import layers_from_inspector
from facenet_validate.engines.tensorrt.library import describe_library
from facenet_validate.engines.tensorrt.options import BuildOptions
from facenet_validate.engines.tensorrt.plans import cached_plan
from facenet_validate.gates.limits import read_gates
from facenet_validate.gates.verdicts import GateResult, Observed, Verdict, hold
from facenet_validate.models.quantization.int8 import calibrate, to_int8
from facenet_validate.models.quantization.precision import to_fp16
from facenet_validate.models.quantization.recipes import int8_recipe
from facenet_validate.run.build import MOST_UNKNOWN, Build, told_share
from tests.engines.tensorrt.fake_tensorrt import FakeTensorRT, inspected
from tests.models.small_facenet import SIZE, small_facenet

SHIPPED = Path(__file__).parents[2] / "baselines" / "gates.toml"
GPU = GpuIdentity("NVIDIA H200", "9.0", 132, 150_000_000_000)
BUILD_GATES: Mapping[Precision, str] = {"fp16": "build.half_share", "int8": "build.int8_share"}


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """The small network in each precision."""
    model = small_facenet()
    images = np.random.default_rng(0).uniform(-1, 1, size=(8, 3, SIZE, SIZE)).astype(np.float32)
    quantized = to_int8(calibrate(model, images, equalized=True), int8_recipe("tensorrt"))
    folder = tmp_path_factory.mktemp("graphs")
    for name, graph in {"fp32": model, "fp16": to_fp16(model), "int8": quantized}.items():
        onnx.save(graph, folder / f"{name}.onnx")
    return {name: folder / f"{name}.onnx" for name in ("fp32", "fp16", "int8")}


@dataclass
class Judge:
    """Builds an engine of a fake TensorRT and holds it against the limits that ship."""

    graphs: Mapping[str, Path]
    cache: Cache

    def judge(
        self, module: FakeTensorRT, precision: Precision, batch: int
    ) -> tuple[GateResult, GateResult]:
        """Return the verdicts on the build and on the loaded engine.

        Parameters
        ----------
        batch : int
            Profiles are from 1 to this: a static one where it is 1.
        """
        graph = self.graphs[precision]
        library = describe_library(module, "tensorrt")
        plan = cached_plan(
            library,
            graph,
            file_digest(graph),
            BuildOptions((batch,)),
            self.cache,
            precision=precision,
            gpu=GPU,
        ).entry
        model: Any = SimpleNamespace(entry=SimpleNamespace(path=self.graphs["fp32"]))
        given = Artefact(plan.path, plan.digest, plan.path, plan.digest, precision, "", "")
        layers = layers_from_inspector(inspected(plan.path.read_bytes()))
        loaded = ComputedPrecision("the engine inspector", loaded_shares(layers, model))
        build = _build(plan_facts(given, model, library), precision, model)
        share = build.half_share() if precision == "fp16" else build.int8_share()
        return _held(share, precision), _held(_loaded(build, precision, loaded), precision)


@pytest.fixture
def judge(graphs: Mapping[str, Path], tmp_path: Path) -> Judge:
    return Judge(graphs, Cache(tmp_path))


def _build(facts: BuildFacts, precision: Precision, model: Any = None) -> Build:
    return Build(cast("Any", SimpleNamespace(facts=lambda _: facts, model=model)), precision)


def _loaded(build: Build, precision: Precision, computed: ComputedPrecision) -> Observed:
    engine: Any = SimpleNamespace(
        computed_precision=lambda _: computed, info=SimpleNamespace(precision=precision)
    )
    observed, shares = build.loaded_precision(engine)
    assert shares == computed.shares
    return observed


def _held(observed: Observed, precision: Precision) -> GateResult:
    limits = read_gates(SHIPPED).limits("lfw", precision, "tensorrt")
    return hold(observed, limits[observed.gate], "floor")


VERSIONS = ("8.6.1.6", "10.13.3.9", "11.4.0.106")
every_build = pytest.mark.parametrize(
    ("version", "precision", "batch"),
    [(v, p, batch) for v in VERSIONS for p in ("fp16", "int8") for batch in (1, 8)],
)


@every_build
def test_a_correct_engine_passes(
    judge: Judge, version: str, precision: Precision, batch: int
) -> None:
    built, loaded = judge.judge(FakeTensorRT(version), precision, batch)
    assert (built.gate, built.verdict) == (BUILD_GATES[precision], Verdict.PASS)
    assert (loaded.gate, loaded.verdict) == ("contract.precision_share", Verdict.PASS)
    assert built.observed == loaded.observed == pytest.approx(0.996145, abs=1e-6)


@every_build
@pytest.mark.parametrize("kernels", [True, False], ids=["named kernels", "silent kernels"])
def test_an_engine_that_fell_back_to_fp32_fails(
    judge: Judge, version: str, precision: Precision, batch: int, kernels: bool
) -> None:
    module = FakeTensorRT(version, compiled_in="FLOAT", kernels=kernels)
    for result in judge.judge(module, precision, batch):
        assert (result.verdict, result.observed) == (Verdict.FAIL, 0.0)
        assert "in fp32" in result.detail


@pytest.mark.parametrize("version", VERSIONS)
def test_an_int8_engine_that_became_fp16_fails(judge: Judge, version: str) -> None:
    for result in judge.judge(FakeTensorRT(version, compiled_in="HALF"), "int8", 8):
        assert (result.verdict, result.observed) == (Verdict.FAIL, 0.0)
        assert "100.0% in fp16" in result.detail


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_what_a_library_does_not_tell_is_not_judged(judge: Judge, precision: Precision) -> None:
    """10.x gives no formats of a dynamic profile; without kernels' names weights alone are left."""
    built, loaded = judge.judge(FakeTensorRT("10.13.3.9", kernels=False), precision, 8)
    assert built.verdict is Verdict.PASS
    assert built.detail == (
        "of the multiply-adds, by the parsed network; the list of compiled layers does not tell "
        "100.0% of the multiply-adds, so the parsed network is judged alone"
    )
    assert loaded.verdict is Verdict.NOT_EVALUATED
    assert loaded.detail == "the engine inspector does not tell 100.0% of the multiply-adds"


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_a_static_profile_tells_without_kernels_names(judge: Judge, precision: Precision) -> None:
    for result in judge.judge(FakeTensorRT("10.13.3.9", kernels=False), precision, 1):
        assert result.verdict is Verdict.PASS
        assert "0.4% is not told and left out" in result.detail


@pytest.mark.parametrize(
    ("shares", "share", "detail"),
    [
        ({"int8": 0.9, "fp32": 0.1}, 0.9, "by the list; 10.0% in fp32"),
        ({"int8": 1.0}, 1.0, "by the list"),
        ({}, 0.0, "by the list"),
        ({"mixed": 1.0}, 0.0, "by the list; 100.0% in mixed"),
        (
            {"int8": 0.72, "fp32": 0.24, "unknown": 0.04},
            0.75,
            "by the list; 24.0% in fp32; 4.0% is not told and left out",
        ),
        (
            {"int8": 0.95, "unknown": 0.05},
            None,
            "the list does not tell 5.0% of the multiply-adds",
        ),
        ({"unknown": 1.0}, None, "the list does not tell 100.0% of the multiply-adds"),
    ],
)
def test_unknown_is_not_zero(shares: Mapping[str, float], share: float | None, detail: str) -> None:
    told, says = told_share(shares, "int8", "the list")
    assert told == (None if share is None else pytest.approx(share))
    assert says == detail


@pytest.mark.parametrize("unknown", [MOST_UNKNOWN, MOST_UNKNOWN + 0.001])
def test_build_and_contract_go_by_the_same_rule(unknown: float) -> None:
    """A correct FP16 engine: 4 % that is not told counted as zero would fail its limit of 0.99."""
    shares = {"fp16": 1 - unknown, "unknown": unknown}
    facts = BuildFacts("the parsed network", (), {"fp16": 0.9994}, {}, 1, compiled=shares)
    build = _build(facts, "fp16")
    told = unknown <= MOST_UNKNOWN
    loaded = _loaded(build, "fp16", ComputedPrecision("the engine inspector", shares))
    assert _held(build.half_share(), "fp16").observed == 0.9994
    assert _held(build.half_share(), "fp16").verdict is Verdict.PASS
    assert _held(loaded, "fp16").verdict is (Verdict.PASS if told else Verdict.NOT_EVALUATED)


def test_the_smaller_of_parsed_and_compiled_share_is_judged() -> None:
    compiled = {"int8": 0.5, "fp16": 0.5}
    facts = BuildFacts("the parsed network", (), {"int8": 0.999}, {}, 1, compiled=compiled)
    assert _build(facts, "int8").int8_share() == Observed(
        "build.int8_share",
        0.5,
        "of the multiply-adds, by the parsed network; 0.5 by the list of compiled layers; "
        "50.0% in fp16",
    )
