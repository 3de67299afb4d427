from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import onnx
import pytest

from facenet_validate.base.digests import file_digest, inputs_digest
from facenet_validate.base.errors import EngineError
from facenet_validate.cache import Cache, Entry
from facenet_validate.engines.backend import BuildRequest
from facenet_validate.engines.device.interface import GpuIdentity
from facenet_validate.engines.tensorrt.library import Library, describe_library
from facenet_validate.engines.tensorrt.options import BuildOptions
from facenet_validate.engines.tensorrt.plans import (
    Plan,
    cached_plan,
    kept_plan,
    plan_inputs,
    precision_of,
)
from facenet_validate.models.quantization.precision import to_fp16
from tests.engines.tensorrt.fake_tensorrt import FakeTensorRT
from tests.models.small_facenet import small_facenet

OPTIONS = BuildOptions((8,))
H200 = GpuIdentity("NVIDIA H200", "9.0", 132, 150_000_000_000)
L4 = GpuIdentity("NVIDIA L4", "8.9", 58, 24_000_000_000)


@pytest.fixture
def graph(tmp_path: Path, graphs: Mapping[str, onnx.ModelProto]) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(graphs["int8"].SerializeToString())
    return path


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def _plan(
    library: Library,
    graph: Path,
    cache: Cache,
    options: BuildOptions = OPTIONS,
    gpu: GpuIdentity | None = None,
) -> Plan:
    return cached_plan(
        library, graph, file_digest(graph), options, cache, precision="int8", gpu=gpu
    )


class _NeverBuilds:
    """A module whose builder must not be reached."""

    def __init__(self, module: object) -> None:
        self._module = module

    def __getattr__(self, name: str) -> object:
        if name == "Builder":
            raise AssertionError("built again")
        return getattr(self._module, name)


class _NeverReplaces(Cache):
    def replace(self, *_: object) -> Entry:
        raise AssertionError("replaced")


def test_the_second_request_is_a_hit_with_all_that_is_known(
    rtx: Library, graph: Path, cache: Cache
) -> None:
    first = _plan(rtx, graph, cache)
    again = _plan(replace(rtx, module=_NeverBuilds(rtx.module)), graph, cache)
    assert (first.entry.hit, again.entry.hit) == (False, True)
    assert again.entry.reason.startswith(
        "hit: same builder, gpu, library, model, options, platform, precision"
    )
    assert again.entry.path.read_bytes() == first.entry.path.read_bytes()
    assert replace(again, entry=first.entry) == first
    assert again.report.int8_share > 0.99
    assert again.compiled is not None
    assert again.compiled.int8_share == again.report.int8_share
    assert "Engine generation completed" in again.log_path.read_text()
    facts = json.loads(again.entry.path.with_name("build.json").read_text())
    assert facts["inputs"]["library"]["version"] == rtx.version
    assert facts["seconds"] > 0


def test_the_precision_of_a_plan_from_the_cache_is_known(
    rtx: Library, tmp_path: Path, graphs: Mapping[str, onnx.ModelProto], cache: Cache
) -> None:
    for precision, model in graphs.items():
        path = tmp_path / f"{precision}.onnx"
        path.write_bytes(model.SerializeToString())
        made = _plan(rtx, path, cache)
        kept = kept_plan(made.entry.path)
        assert kept is not None
        assert kept == replace(made, entry=kept.entry)
        assert precision_of(kept.report) == precision
    elsewhere = tmp_path / "engine.plan"
    elsewhere.write_bytes(made.entry.path.read_bytes())
    assert kept_plan(elsewhere) is None
    content = bytearray(elsewhere.read_bytes())
    content[len(content) // 2] ^= 1
    made.entry.path.write_bytes(content)
    with pytest.raises(EngineError, match=r"not what the cache wrote: engine.plan was damaged"):
        kept_plan(made.entry.path)


def test_a_damaged_plan_is_built_again(rtx: Library, graph: Path, cache: Cache) -> None:
    plan = _plan(rtx, graph, cache).entry.path
    content = bytearray(plan.read_bytes())
    content[len(content) // 2] ^= 1
    plan.write_bytes(content)
    again = _plan(rtx, graph, cache)
    assert not again.entry.hit
    assert file_digest(again.entry.path) == again.entry.digest


def test_a_miss_names_what_changed(rtx: Library, graph: Path, cache: Cache) -> None:
    _plan(rtx, graph, cache)
    larger = _plan(rtx, graph, cache, BuildOptions((16,)))
    assert larger.entry.reason == "miss: options.profiles changed ([[1, 8, 8]] → [[1, 16, 16]])"
    newer = replace(rtx, version="1.8.0.1")
    assert "library.version changed" in _plan(newer, graph, cache).entry.reason
    # Two versions in turn do not take each other's plans, nor lose their own.
    assert _plan(rtx, graph, cache).entry.hit


def test_two_conversions_of_one_model_have_one_key(rtx: Library) -> None:
    """Plans differ from build to build; what they are keyed by must not."""
    digests = [
        hashlib.sha256(to_fp16(small_facenet()).SerializeToString(deterministic=True)).hexdigest()
        for _ in range(2)
    ]
    first, second = (inputs_digest(plan_inputs(rtx, d, OPTIONS, None)) for d in digests)
    assert first == second
    assert inputs_digest(plan_inputs(rtx, "other", OPTIONS, None)) != first


def test_another_parser_is_another_plan() -> None:
    keys = set()
    for version in ((10, 13, 0), (10, 13, 1)):
        module = FakeTensorRT("10.13.3.9", parser=version)
        library = describe_library(module, "tensorrt")
        keys.add(inputs_digest(plan_inputs(library, "a", OPTIONS, H200)))
    assert len(keys) == 2


def test_a_plan_of_rtx_is_not_bound_to_a_gpu(rtx: Library) -> None:
    assert plan_inputs(rtx, "a", OPTIONS, H200)["gpu"] is None


def test_the_options_of_a_key_are_those_of_earlier_versions() -> None:
    """Two were options once: without them no plan of an earlier version would be found."""
    options = BuildOptions.of(BuildRequest((1, 64), workspace_mib=2, optimization_level=4))
    assert options.inputs() == {
        "profiles": [[1, 1, 1], [1, 64, 64]],
        "workspace_bytes": 2097152,
        "optimization_level": 4,
        "tf32": False,
        "compute_capabilities": [],
    }


def test_a_static_profile_is_another_plan() -> None:
    request = BuildRequest((1, 64), profile="static")
    assert BuildOptions.of(request).inputs()["profiles"] == [[1, 1, 1], [64, 64, 64]]
    usual = BuildOptions.of(replace(request, profile="dynamic"))
    assert usual.inputs() == BuildOptions((1, 64)).inputs()


def test_a_plan_of_tensorrt_is_bound_to_its_gpu(graph: Path, cache: Cache) -> None:
    library = describe_library(FakeTensorRT("10.13.3.9"), "tensorrt")
    with pytest.raises(EngineError, match="--facenet-backend tensorrt-rtx"):
        _plan(library, graph, cache)
    _plan(library, graph, cache, gpu=H200)
    other = _plan(library, graph, cache, gpu=L4)
    assert "gpu.name changed (NVIDIA H200 → NVIDIA L4)" in other.entry.reason
    assert _plan(library, graph, cache, gpu=H200).entry.hit


def test_timings_are_kept_for_the_next_build_on_the_same_gpu(graph: Path, cache: Cache) -> None:
    module = FakeTensorRT("10.13.3.9")
    library = describe_library(module, "tensorrt")
    _plan(library, graph, cache, gpu=H200)
    (stored,) = (cache.root).glob("**/timing.cache")
    assert stored.read_bytes() == b"timings A conv"
    # Nothing new is timed: what is stored stays.
    keeping = _NeverReplaces(cache.root)
    again = _plan(library, graph, keeping, BuildOptions((4,)), gpu=H200)
    assert module.configs[-1].given_timings == b"timings A conv"
    assert again.messages == ("warning: a warning of the builder",)
    _plan(library, graph, cache, gpu=L4)
    assert module.configs[-1].given_timings == b""
    assert len(list(cache.root.glob("**/timing.cache"))) == 2


def test_timings_of_another_version_are_not_read(graph: Path, cache: Cache) -> None:
    for version in ("10.13.3.9", "11.4.0.12"):
        module = FakeTensorRT(version)
        plan = _plan(describe_library(module, "tensorrt"), graph, cache, gpu=H200)
        assert plan.messages == ("warning: a warning of the builder",)
    assert len(list(cache.root.glob("**/timing.cache"))) == 2


def test_a_damaged_timing_cache_is_as_good_as_none(graph: Path, cache: Cache) -> None:
    library = describe_library(FakeTensorRT("10.13.3.9"), "tensorrt")
    _plan(library, graph, cache, gpu=H200)
    (stored,) = cache.root.glob("**/timing.cache")
    stored.write_bytes(b"timings A conw")
    again = _plan(library, graph, cache, BuildOptions((4,)), gpu=H200)
    assert not again.entry.hit
    (stored,) = (p for p in cache.root.glob("**/timing.cache") if ".replaced" not in str(p))
    assert stored.read_bytes() == b"timings A conv"
