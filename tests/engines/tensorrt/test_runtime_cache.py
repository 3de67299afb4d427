"""Kernels that TensorRT for RTX compiles at run time: shared by contexts, kept for the next run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from facenet_validate.cache import Cache
from facenet_validate.engines.device.interface import GpuIdentity
from facenet_validate.engines.tensorrt.engine import TensorRtEngine
from facenet_validate.engines.tensorrt.runtime_cache import KernelStore
from tests.engines.device.fake_device import GPU, FakeDevice
from tests.engines.device.fake_runtime import Plan, expected, fake_library
from tests.engines.tensorrt.test_engine import INFO, batch_of


def store_of(
    cache: Cache,
    plan: str = "p" * 64,
    gpu: GpuIdentity = GPU,
    driver: str | None = "580.65",
    version: str = "1.2.3",
) -> KernelStore:
    library = replace(fake_library(Plan(FakeDevice(), [(1, 4, 4)])), version=version)
    return KernelStore.of(cache, library, plan, gpu, driver)


def compiled(
    store: KernelStore | None, *sizes: int, environment: str = "driver 580", rtx: bool = True
) -> tuple[list[int], tuple[str, ...]]:
    """Run batches of an engine; return what was compiled for them, and the engine's notes."""
    plan = Plan(FakeDevice(), [(1, 4, 20)], environment=environment, rtx=rtx)
    with (
        plan.device as device,
        TensorRtEngine(b"plan", fake_library(plan), device, info=INFO, kernels=store) as engine,
    ):
        for size in sizes:
            np.testing.assert_array_equal(engine.run(batch_of(size)), expected(batch_of(size)))
        return plan.compiled, engine.notes


def kept(cache: Cache) -> Path:
    (path,) = (one for one in cache.root.glob("**/runtime.cache") if ".replaced" not in str(one))
    return path


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path)


def test_a_graph_that_was_let_go_compiles_nothing_when_it_is_captured_again() -> None:
    sizes = range(1, 12)  # three more than graphs are kept
    assert compiled(None, *sizes, *sizes) == (list(sizes), ())


def test_the_next_run_compiles_only_what_is_new(cache: Cache) -> None:
    assert compiled(store_of(cache), 4, 1) == ([4, 1], ())
    assert kept(cache).read_bytes() == b"driver 580: 1 4"
    assert compiled(store_of(cache), 1, 4) == ([], ())
    assert compiled(store_of(cache), 4, 3) == ([3], ())
    assert kept(cache).read_bytes() == b"driver 580: 1 3 4"


@pytest.mark.parametrize(
    "other",
    [
        {"plan": "q" * 64},
        {"gpu": replace(GPU, compute_capability="12.0")},
        {"driver": None},
        {"version": "1.2.4"},
    ],
)
def test_kernels_of_another_plan_gpu_driver_or_version_are_not_read(
    cache: Cache, other: dict[str, Any]
) -> None:
    compiled(store_of(cache), 4)
    assert compiled(store_of(cache, **other), 4) == ([4], ())
    assert len(list(cache.root.glob("**/runtime.cache"))) == 2


def test_a_damaged_cache_is_ignored_with_a_note_and_replaced(cache: Cache) -> None:
    compiled(store_of(cache), 4)
    kept(cache).write_bytes(b"driver 580: 5 4")
    found, (note,) = compiled(store_of(cache), 4)
    assert found == [4]
    assert note.startswith("kept kernels were ignored and are compiled anew: runtime.cache ")
    assert compiled(store_of(cache), 4) == ([], ())


def test_kernels_that_the_library_refuses_are_replaced_by_fewer(cache: Cache) -> None:
    compiled(store_of(cache), 1, 2, 3, 4, environment="driver of a longer name")
    assert compiled(store_of(cache), 4) == (
        [4],
        ("kept kernels were ignored and are compiled anew: kernels of driver of a longer name",),
    )
    assert kept(cache).read_bytes() == b"driver 580: 4"


def test_less_is_never_written_over_more(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process kept more while this engine was loaded."""
    store = store_of(cache)
    plan = Plan(FakeDevice(), [(1, 4, 20)])
    with (
        plan.device as device,
        TensorRtEngine(b"plan", fake_library(plan), device, info=INFO, kernels=store) as engine,
    ):
        engine.run(batch_of(4))
        compiled(store, 1, 2, 3)
    assert kept(cache).read_bytes() == b"driver 580: 1 2 3"
    # Where nothing is new, the entry is not even locked.
    monkeypatch.delattr(Cache, "replace")
    assert compiled(store, 2) == ([], ())


def test_a_cache_that_cannot_be_written_fails_no_run(tmp_path: Path) -> None:
    (tmp_path / "v2").mkdir()
    (tmp_path / "v2" / "kernels").write_text("a file where the kind's folder should be")
    assert compiled(store_of(Cache(tmp_path)), 4) == ([4], ())


def test_a_rebuild_compiles_anew(cache: Cache) -> None:
    compiled(store_of(cache), 1, 4)
    assert compiled(store_of(Cache(cache.root, rebuild=True)), 4)[0] == [4]


def test_tensorrt_itself_has_no_kernels_to_keep(cache: Cache) -> None:
    assert compiled(store_of(cache), 4, rtx=False) == ([], ())
    assert not list(cache.root.glob("**/runtime.cache"))


def test_an_engine_that_ran_nothing_keeps_nothing(cache: Cache) -> None:
    compiled(store_of(cache))
    assert not list(cache.root.glob("**/runtime.cache"))
