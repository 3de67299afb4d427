from __future__ import annotations

import gc
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from facenet_validate.base.errors import EngineError
from facenet_validate.engines.contract import batch_notes, signature_differences
from facenet_validate.engines.protocol import EngineInfo, Scope, TensorInfo
from facenet_validate.engines.sharing import two_engines, two_threads
from facenet_validate.engines.tensorrt.engine import TensorRtEngine
from facenet_validate.engines.tensorrt.library import Library, find_library
from facenet_validate.engines.tensorrt.packages import PlanBackend
from facenet_validate.engines.tensorrt.profiling import _profiler
from tests.engines.device.fake_device import FakeDevice, FakeGraph, Misuse
from tests.engines.device.fake_runtime import (
    IMAGE,
    DataType,
    Plan,
    Tensor,
    TensorFormat,
    TensorIOMode,
    TensorLocation,
    expected,
    fake_library,
)

INFO = EngineInfo(
    precision="fp16",
    backend="tensorrt",
    runtime="FakeRT 1.2.3",
    device="Fake GPU",
    device_details="",
    options=(),
    digest="e" * 64,
    artefact="fake.plan",
    recipe_only=False,
)


FAKES_OWN = {"logger", "settings", "profile", "shape", "addresses", "activations", "runs"}
FAKES_OWN |= {"strategy", "device_memory_size", "kernels", "runtime_cache", "sizes"}


def batch_of(count: int, seed: int = 0) -> NDArray[np.float32]:
    generator = np.random.default_rng(seed)
    return generator.standard_normal((count, *IMAGE)).astype(np.float32)


def open_engine(plan: Plan) -> TensorRtEngine:
    return TensorRtEngine(
        b"plan", fake_library(plan), plan.device, info=INFO, clock=plan.device.clock
    )


def one_profile(minimum: int = 1, optimum: int = 4, maximum: int = 4, **other: Any) -> Plan:
    return Plan(FakeDevice(), [(minimum, optimum, maximum)], **other)


PROFILES = st.sampled_from(
    [
        [(1, 4, 4)],
        [(1, 1, 1), (2, 4, 5)],
        [(3, 4, 6)],  # fewer than three are padded
        [(4, 4, 4)],  # a fixed batch
        [(1, 1, 1), (4, 4, 4)],  # a gap
    ]
)


@given(PROFILES, st.integers(0, 15), st.booleans())
def test_a_batch_of_any_size_gives_what_numpy_gives(
    ranges: list[tuple[int, int, int]], count: int, rtx: bool
) -> None:
    plan = Plan(FakeDevice(), ranges, rtx=rtx)
    batch = batch_of(count)
    with plan.device as device, open_engine(plan) as engine:
        np.testing.assert_array_equal(engine.run(batch), expected(batch))
        np.testing.assert_array_equal(engine.run(batch[::-1]), expected(batch[::-1]))
        assert not device.closed


@pytest.mark.parametrize(
    ("ranges", "fixed"),
    [
        ([(4, 4, 4)], (4,)),
        ([(8, 8, 8), (1, 1, 1)], (1, 8)),
        ([(1, 1, 1), (1, 8, 8)], ()),
        ([(1, 4, 4)], ()),
        ([(1, 1, 1)], (1,)),
    ],
)
def test_an_engine_of_static_profiles_says_which_batches_run(
    ranges: list[tuple[int, int, int]], fixed: tuple[int, ...]
) -> None:
    """Batches of every size come out right all the same: they are padded or cut."""
    plan = Plan(FakeDevice(), ranges)
    with plan.device, open_engine(plan) as engine:
        assert engine.info.fixed_batches == fixed
        assert signature_differences(engine, engine) == []
        told = batch_notes(engine)
    sizes = " or ".join(map(str, fixed))
    note = f"its plan runs batches of {sizes} alone: others are padded or cut, and run the same "
    assert told == ([f"{note}kernels"] if fixed else [])


@given(st.lists(st.integers(0, 9), max_size=12))
def test_batches_in_turn_give_what_numpy_gives(counts: list[int]) -> None:
    plan = one_profile()
    batches = [batch_of(count, seed) for seed, count in enumerate(counts)]
    with plan.device, open_engine(plan) as engine:
        found = list(engine.run_many(iter(batches)))
    assert len(found) == len(batches)
    for one, batch in zip(found, batches, strict=True):
        np.testing.assert_array_equal(one, expected(batch))


def test_a_batch_is_copied_in_while_another_is_computed() -> None:
    plan = Plan(FakeDevice(copy_seconds=1.9e-3), [(1, 4, 4)], seconds=2e-3)
    with plan.device as device, open_engine(plan) as engine:
        list(engine.run_many([batch_of(4)] * 2))  # captures both slots' graphs
        begin = device.now
        list(engine.run_many([batch_of(4)] * 20))
        elapsed = device.now - begin
    # One after another they would take 20 × (1.9 + 2.0) ms.
    assert elapsed < 20 * 2.0e-3 * 1.1 + 1.9e-3


def test_the_next_batch_is_asked_for_while_one_is_computed() -> None:
    plan = one_profile()
    with plan.device as device, open_engine(plan) as engine:
        unfinished: list[bool] = []

        def batches() -> Iterator[NDArray[np.float32]]:
            for seed in range(4):
                yield batch_of(4, seed)
                unfinished.append(bool(device.pending))

        list(engine.run_many(batches()))
    assert all(unfinished)


@pytest.mark.parametrize("how", ["run_many", "end-to-end"])
@pytest.mark.parametrize(
    ("missing", "says"),
    [
        ("compute.wait", "launch is not ordered after copy_in"),
        ("_copy_out.wait", "copy_out is not ordered after launch"),
        ("done.synchronize", "copy_in is not ordered after|pinned memory touched by the host"),
        ("slots", "copy_in is not ordered after|pinned memory touched by the host"),
        ("_copy_in.record", "an event that was not recorded"),
        ("compute.record", "an event that was not recorded"),
    ],
)
def test_an_order_that_is_missing_is_caught_by_the_fake(how: str, missing: str, says: str) -> None:
    """The fake's own test: without any one of what orders streams, slots and the host."""
    plan = one_profile()
    engine = open_engine(plan)
    work = engine.work(batch_of(4), "end-to-end")
    list(engine.run_many([batch_of(4)] * 4))
    pipeline: Any = engine._pipeline
    if missing == "slots":
        pipeline.slots = (pipeline.slots[0], pipeline.slots[0])
    elif missing == "done.synchronize":
        for slot in pipeline.slots:
            slot.done.synchronize = lambda: None
    else:
        stream, _, call = missing.partition(".")
        for slot in pipeline.slots:
            slot.copied.task = slot.computed.task = None
        setattr(getattr(pipeline, stream), call, lambda event: None)
    batches = [batch_of(4, seed) for seed in range(4)]
    runs = {"run_many": lambda: list(engine.run_many(batches)), "end-to-end": work.run}
    with pytest.raises(Misuse, match=says):
        runs[how]()


def test_each_batch_size_is_captured_once_after_two_enqueues() -> None:
    plan = one_profile()
    with plan.device as device, open_engine(plan) as engine:
        for count in (4, 4, 3, 4, 3):
            engine.run(batch_of(count))
        assert device.log.count("capture") == 2
        assert device.log.count("enqueue") == 2 * 3
        assert device.log.count("launch") == 5
        first = device.log.index("capture")
        assert device.log[:first].count("enqueue") == 2
        assert device.log[first - 1] == "synchronize"


def test_rtx_compiles_for_the_shape_before_the_capture() -> None:
    plan = one_profile()
    with plan.device, open_engine(plan) as engine:
        engine.run(batch_of(4))
    assert [context["eager"] for context in plan.contexts] == [True]


def test_kept_graphs_are_few() -> None:
    plan = one_profile(1, 4, 20)
    with plan.device as device, open_engine(plan) as engine:
        for count in range(1, 21):
            engine.run(batch_of(count))
        assert device.live["graph"] == 8
        assert plan.live["context"] == 8
        before = device.log.count("capture")
        engine.run(batch_of(20))
        engine.run(batch_of(13))
        assert device.log.count("capture") == before
        engine.run(batch_of(1))
        assert device.log.count("capture") == before + 1
        found = list(engine.run_many(batch_of(count) for count in range(1, 21)))
        assert [len(one) for one in found] == list(range(1, 21))


@pytest.mark.parametrize(
    ("ranges", "count", "runs"),
    [
        ([(1, 8, 8)], 5, [(5, 0)]),
        ([(1, 8, 8)], 19, [(8, 0), (8, 0), (3, 0)]),
        ([(1, 1, 8), (8, 8, 8)], 8, [(8, 1)]),  # the profile optimised for it
        ([(1, 1, 1), (1, 64, 64)], 1, [(1, 0)]),
        ([(4, 8, 8)], 2, [(4, 0)]),
        ([(4, 8, 8)], 9, [(8, 0), (4, 0)]),
        ([(1, 1, 1), (4, 4, 4), (8, 8, 8)], 3, [(4, 1)]),
        ([(4, 8, 8), (4, 4, 4)], 3, [(4, 1)]),
    ],
)
def test_a_batch_runs_in_the_profile_made_for_it(
    ranges: list[tuple[int, int, int]], count: int, runs: list[tuple[int, int]]
) -> None:
    plan = Plan(FakeDevice(), ranges)
    with plan.device, open_engine(plan) as engine:
        engine.run(batch_of(count))
    # Two slots take turns, so a size may have been captured for both.
    found = [(context["size"], context["profile"]) for context in plan.contexts]
    assert sorted(set(found)) == sorted(set(runs))


def test_everything_is_given_back() -> None:
    plan = one_profile()
    with plan.device as device:
        engine = open_engine(plan)
        engine.run(batch_of(11))
        engine.work(batch_of(4), "device").run()
        engine.batch_times(batch_of(4), 3)
        engine.close()
        engine.close()
        assert not +device.live
        assert not +plan.live
        assert device.memory_used() == 0
        released = [one for one in device.log if one.startswith("release ")]
        kinds = list(dict.fromkeys(one for one in released if one != "release event"))
        assert kinds == ["release graph", "release buffer", "release pinned", "release stream"]


def test_open_and_close_twenty_times_leaks_nothing() -> None:
    device = FakeDevice()
    for _ in range(20):
        plan = Plan(device, [(1, 4, 4)])
        with open_engine(plan) as engine:
            engine.run(batch_of(5))
        del engine
    assert device.memory_used() == 0
    device.close()


def test_an_engine_that_is_not_closed_is_seen() -> None:
    plan = one_profile()
    engine = open_engine(plan)
    with pytest.raises(Misuse, match="not released"):
        plan.device.close()
    engine.close()


@pytest.mark.parametrize("room", range(0, 12000, 700))
def test_memory_that_runs_out_half_way_is_given_back(room: int) -> None:
    plan = one_profile()
    plan.device.memory = plan.weight_bytes + room
    try:
        open_engine(plan).close()
    except EngineError as error:
        assert "out of memory" in str(error)  # noqa: PT017  # where there is room, none is raised
    gc.collect()
    assert not +plan.device.live
    assert not +plan.live
    assert plan.device.memory_used() == 0


def test_memory_is_counted() -> None:
    plan = one_profile()
    with plan.device as device, open_engine(plan) as engine:
        slot = 4 * (3 * 4 * 4 + 8) * 4
        assert engine.memory_bytes == plan.weight_bytes + plan.activation_bytes + 2 * slot
        assert engine.memory_bytes == device.memory_used()


@pytest.mark.parametrize("rtx", [True, False])
def test_a_plan_that_needs_no_activations_is_given_some(rtx: bool) -> None:
    plan = one_profile(activation_bytes=0, rtx=rtx)
    with plan.device as device, open_engine(plan) as engine:
        assert engine.run(batch_of(4)).shape == (4, 8)
        assert engine.memory_bytes == device.memory_used()


def test_a_closed_engine_says_so() -> None:
    plan = one_profile()
    engine = open_engine(plan)
    work = engine.work(batch_of(4), "device")
    left = engine.run_many([batch_of(4)] * 3)
    next(left)
    engine.close()
    with pytest.raises(EngineError, match=r"fake\.plan was closed"):
        engine.run(batch_of(1))
    with pytest.raises(EngineError, match="was closed"):
        work.run()
    with pytest.raises(EngineError, match="was closed"):
        engine.batch_times(batch_of(4), 1)
    with pytest.raises(EngineError, match="was closed"):
        next(left)
    plan.device.close()


def test_two_streams_of_batches_at_once_are_refused() -> None:
    plan = one_profile()
    with plan.device, open_engine(plan) as engine:
        left = engine.run_many([batch_of(4)] * 3)
        next(left)
        with pytest.raises(EngineError, match="in the middle of run_many"):
            engine.run(batch_of(1))
        with pytest.raises(EngineError, match="in the middle of run_many"):
            engine.batch_times(batch_of(4), 1)
        assert len(list(left)) == 2
        engine.run(batch_of(1))


def test_batches_that_end_in_an_error_leave_the_engine_usable() -> None:
    plan = one_profile()

    def batches() -> Iterator[NDArray[np.float32]]:
        yield batch_of(4)
        yield batch_of(4)
        raise ValueError("face_0005 is broken")

    with plan.device as device, open_engine(plan) as engine:
        with pytest.raises(ValueError, match="face_0005"):
            list(engine.run_many(batches()))
        assert not device.pending
        batch = batch_of(7, 3)
        np.testing.assert_array_equal(engine.run(batch), expected(batch))


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (np.zeros((2, 3, 8, 8), np.float32), r"expected float32 \(N, 3, 4, 4\)"),
        (np.zeros((2, *IMAGE), np.float64), "a batch is float64"),
    ],
)
def test_a_batch_of_another_kind_is_refused(batch: NDArray[Any], message: str) -> None:
    plan = one_profile()
    with plan.device, open_engine(plan) as engine, pytest.raises(EngineError, match=message):
        engine.run(batch)


def test_tensors_are_told() -> None:
    plan = one_profile()
    with plan.device, open_engine(plan) as engine:
        assert engine.input == TensorInfo("input", "float32", ("N", *IMAGE))
        assert engine.output == TensorInfo("embeddings", "float32", ("N", 8))
        assert engine.info == replace(INFO, largest_batch=4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"input": Tensor(TensorIOMode.INPUT, (-1, *IMAGE), DataType.HALF)},
            r"fake\.plan: tensor input is DataType\.HALF; expected float32",
        ),
        (
            {"embeddings": Tensor(TensorIOMode.OUTPUT, (-1, 8), location=TensorLocation.HOST)},
            "tensor embeddings is in host memory",
        ),
        (
            {"input": Tensor(TensorIOMode.INPUT, (-1, *IMAGE), layout=TensorFormat.CHW32)},
            "format TensorFormat.CHW32; expected LINEAR",
        ),
        (
            {"input": Tensor(TensorIOMode.INPUT, (-1, 4, 4, 3))},
            r"input has shape \[N,4,4,3\]; expected \[N,3,H,W\]",
        ),
        ({"input": Tensor(TensorIOMode.INPUT, (-1, 3, -1, -1))}, r"shape \[N,3,N,N\]"),
        (
            {"embeddings": Tensor(TensorIOMode.OUTPUT, (-1, 8, 1, 1))},
            r"embeddings has shape \[N,8,1,1\]; expected \[N,D\]",
        ),
        (
            {"mask": Tensor(TensorIOMode.INPUT, (-1, 8))},
            "has input input, output embeddings, input mask; expected input input and output",
        ),
    ],
)
def test_an_engine_that_breaks_the_contract_is_named(
    change: dict[str, Tensor], message: str
) -> None:
    plan = one_profile()
    plan.tensors.update(change)
    with pytest.raises(EngineError, match=message):
        open_engine(plan)
    assert not +plan.device.live
    gc.collect()
    assert not +plan.live


# As TensorRT words them.
NOT_LOADED = {
    "another version": (
        "IRuntime::deserializeCudaEngine: Error Code 1: Serialization (Version tag does not match. "
        "Note: Current Version: 240, Serialized Engine Version: 239)",
    ),
    "another GPU": (
        "The engine plan file is generated on an incompatible device, expecting compute 9.0 got "
        "compute 8.6, please rebuild.",
        "Engine deserialization failed.",
    ),
}


@pytest.mark.parametrize("errors", NOT_LOADED.values(), ids=NOT_LOADED)
def test_a_plan_that_does_not_load_says_what_tensorrt_said(errors: tuple[str, ...]) -> None:
    plan = one_profile(loads=False, load_errors=errors)
    said = re.escape("\n".join(errors).rstrip("."))
    with pytest.raises(
        EngineError,
        match=rf"fake\.plan: FakeRT 1\.2\.3 cannot load this plan: {said}\. A plan runs on the ",
    ):
        open_engine(plan)
    assert not +plan.device.live


@pytest.fixture(scope="module")
def rtx() -> Library:
    """TensorRT for RTX, which refuses a plan without a device too."""
    try:
        return find_library("tensorrt-rtx")
    except EngineError as error:
        pytest.skip(f"needs TensorRT for RTX: {error}")


def test_the_real_library_says_what_is_wrong_with_a_plan(rtx: Library) -> None:
    with (
        FakeDevice() as device,
        pytest.raises(
            EngineError, match=r"fake\.plan: TensorRT for RTX .* cannot load this plan: I"
        ),
    ):
        TensorRtEngine(b"no plan" * 1000, rtx, device, info=INFO)


def test_the_real_library_has_what_is_called(rtx: Library) -> None:
    """The fake offers nothing that TensorRT does not."""
    module = fake_library(one_profile()).module
    for name in vars(module):
        assert hasattr(rtx.module, name), name
    plan = one_profile()
    with plan.device, open_engine(plan) as engine:
        loaded: Any = engine._plan.engine
        context: Any = engine._plan.context(cast("Any", SimpleNamespace(address=1, nbytes=4096)))
        for fake, real in (
            (loaded, rtx.module.ICudaEngine),
            (context, rtx.module.IExecutionContext),
            (loaded.create_runtime_config(), rtx.module.IRuntimeConfig),
            (loaded.create_runtime_config().create_runtime_cache(), rtx.module.IRuntimeCache),
        ):
            called = {one for one in dir(fake) if not one.startswith("_")}
            assert called - FAKES_OWN <= set(dir(real))
        del loaded, context, fake


def test_a_run_that_fails_says_what_tensorrt_said() -> None:
    plan = one_profile(fails_to_run=True)
    with plan.device, open_engine(plan) as engine:
        with pytest.raises(EngineError, match="refused to run a batch of 4: no kernel image"):
            engine.run(batch_of(4))
        with pytest.raises(EngineError, match="no kernel image"):
            engine.work(batch_of(4), "device")


def test_a_profile_that_is_refused_says_what_tensorrt_said() -> None:
    plan = one_profile(refuses_profiles=True)
    with (
        plan.device,
        open_engine(plan) as engine,
        pytest.raises(
            EngineError,
            match=r"refused to set a batch of 4 in profile 0: the profile is in use\.$",
        ),
    ):
        engine.run(batch_of(4))


def test_a_runtime_that_cannot_start_says_why() -> None:
    plan = one_profile(starts=False)
    with pytest.raises(
        EngineError, match=r"FakeRT 1\.2\.3 cannot start a runtime: CUDA init.* error 35\. "
    ):
        open_engine(plan)
    assert not +plan.device.live


# Launches before the fault: of a first batch, of a batch that is copied in meanwhile, of a timing.
FAULTS = {
    "in the first batch": (0, "batch 1 of a run, of size 4"),
    "in a later one": (2, "batch 3 of a run, of size 3"),
    "in a block": (3, r"a block of \d+ batches of size 4"),
}


@pytest.mark.parametrize(("before", "named"), FAULTS.values(), ids=FAULTS)
def test_a_fault_of_the_device_names_the_call_and_the_batch(before: int, named: str) -> None:
    plan = one_profile()
    plan.device.launches_left = before + 1
    engine = open_engine(plan)

    def runs() -> None:
        list(engine.run_many([batch_of(4), batch_of(4), batch_of(3)]))
        engine.work(batch_of(4), "device")

    with pytest.raises(EngineError) as first:
        runs()
    told = str(first.value)
    assert re.match(rf"engine fake\.plan: {named}: CUDA: launch gave .*ADDRESS \(700\)\. ", told)
    assert "The GPU answers no call of this process any more" in told
    # Whoever comes later reads of the first error, and not of what it led to.
    for later in (
        lambda: engine.run(batch_of(1)),
        lambda: engine.work(batch_of(4), "device"),
        lambda: engine.batch_times(batch_of(4), 2),
    ):
        with pytest.raises(EngineError, match=re.escape(told)):
            later()
    engine.close()
    assert not +plan.device.live
    assert not +plan.live


def test_a_fault_while_replays_are_timed_is_the_one_that_is_told() -> None:
    plan = one_profile()
    plan.device.launches_left = 3
    engine = open_engine(plan)
    with pytest.raises(EngineError, match=r"plan: timing a batch of size 4: CUDA: launch gave"):
        engine.batch_times(batch_of(4), 8)
    engine.close()
    assert not +plan.device.live


def test_a_fault_after_batches_were_left_half_way_is_told_by_the_next_run() -> None:
    plan = one_profile()
    engine = open_engine(plan)
    left: Any = engine.run_many([batch_of(4)] * 4)
    next(left)
    plan.device.launches_left = 0
    left.close()
    with pytest.raises(EngineError, match="synchronize gave CUDA_ERROR_ILLEGAL_ADDRESS"):
        engine.run(batch_of(4))
    engine.close()


def test_a_capture_that_fails_is_loud() -> None:
    plan = one_profile(allocates=True)
    with (
        plan.device,
        open_engine(plan) as engine,
        pytest.raises(
            EngineError, match=r"batch of 2 cannot be captured into a CUDA graph: .*UNSUPPORTED"
        ),
    ):
        engine.run(batch_of(2))


def test_a_plan_that_rtx_cannot_capture_says_how_to_build_it() -> None:
    plan = one_profile(capturable=False)
    with (
        plan.device,
        open_engine(plan) as engine,
        pytest.raises(EngineError, match=r"BuilderFlag\.REQUIRE_USER_ALLOCATION"),
    ):
        engine.run(batch_of(2))


def test_a_device_block_lasts_long_and_synchronises_once() -> None:
    plan = one_profile(seconds=2e-3)
    with plan.device as device, open_engine(plan) as engine:
        work = engine.work(batch_of(4), "device")
        assert (work.images, work.batch, work.scope) == (32 * 4, 4, "device")
        device.log.clear()
        begin = device.now
        work.run()
        assert device.now - begin >= 0.05
        assert device.log.count("launch") == 32
        assert device.log.count("synchronize") == 1
        assert "copy_in" not in device.log


@pytest.mark.parametrize(("scope", "slots"), [("device", 1), ("end-to-end", 2)])
def test_a_block_hands_out_what_it_computed(scope: Scope, slots: int) -> None:
    plan, faces = one_profile(seconds=2e-3), batch_of(4)
    with plan.device, open_engine(plan) as engine:
        work = engine.work(faces, scope)
        np.testing.assert_array_equal(work.outputs.untimed(), expected(faces))
        work.outputs.spoil()
        for left in work.outputs.left():
            assert np.isnan(left).all()
        work.run()
        found = work.outputs.left()
        assert len(found) == slots
        for left in found:
            np.testing.assert_array_equal(left, expected(faces))
        work.block(1)
        assert len(work.outputs.left()) == 1  # the other buffer holds no result of this block


@pytest.mark.parametrize("scope", ["device", "end-to-end"])
def test_a_block_whose_graphs_compute_nothing_leaves_what_was_spoilt(
    scope: Scope, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, faces = one_profile(seconds=2e-3), batch_of(4)
    with plan.device, open_engine(plan) as engine:
        work = engine.work(faces, scope)
        work.run()
        monkeypatch.setattr(FakeGraph, "launch", lambda *_: None)
        work.outputs.spoil()
        work.run()
        for left in work.outputs.left():
            assert np.isnan(left).all()


def test_looking_at_embeddings_between_blocks_changes_nothing_in_them() -> None:
    plan, faces = one_profile(seconds=2e-3), batch_of(4)
    with plan.device as device, open_engine(plan) as engine:
        work = engine.work(faces, "device")
        work.run()
        work.outputs.left()
        work.outputs.spoil()
        device.log.clear()
        work.run()
        assert "copy_in" not in device.log  # the faces are still on the device
        assert device.log.count("synchronize") == 1


def test_another_thread_is_refused_and_this_one_goes_on() -> None:
    plan, faces = one_profile(), batch_of(4)
    with plan.device as device, open_engine(plan) as engine, ThreadPoolExecutor(1) as pool:
        device.log.clear()
        for call in (
            lambda: engine.run(faces),
            lambda: list(engine.run_many([faces])),
            lambda: engine.work(faces, "device"),
        ):
            with pytest.raises(EngineError, match=r"fake\.plan runs in the thread that loaded it"):
                pool.submit(call).result()
        assert device.log == []
        found = two_threads(engine, faces)
        assert (found.value, found.gate) == (0.0, "contract.two_threads")
        assert "the other thread was refused" in found.detail
        np.testing.assert_array_equal(engine.run(faces), expected(faces))


def test_two_engines_of_one_device_are_under_way_at_once() -> None:
    plan, faces = one_profile(), batch_of(4)
    with plan.device, open_engine(plan) as engine, open_engine(plan) as reference:
        found = two_engines(engine, lambda: open_engine(plan), reference, faces)
    assert found.value == 0.0


def test_an_end_to_end_block_copies_each_batch() -> None:
    plan = one_profile(seconds=2e-3)
    with plan.device as device, open_engine(plan) as engine:
        work = engine.work(batch_of(4), "end-to-end")
        device.log.clear()
        work.run()
        used = [one for one in device.log if one in {"copy_in", "launch", "copy_out"}]
        assert used == ["copy_in", "launch", "copy_out"] * work.count
        assert not device.pending
        for slot in engine._pipeline.slots:
            np.testing.assert_array_equal(
                slot.found.array[:4],  # the block computes what run gives
                expected(batch_of(4)),
            )


@pytest.mark.parametrize(
    ("copying", "computing", "longest"), [(1.9e-3, 2e-3, 2e-3), (3e-3, 2e-3, 3e-3)]
)
def test_an_end_to_end_block_takes_what_its_longest_part_takes(
    copying: float, computing: float, longest: float
) -> None:
    plan = Plan(FakeDevice(copy_seconds=copying), [(1, 4, 4)], seconds=computing)
    with plan.device as device, open_engine(plan) as engine:
        work = engine.work(batch_of(4), "end-to-end")
        begin = device.now
        work.run()
        elapsed = device.now - begin
        # One after another they would take copying + computing; the first and the last wait alone.
        assert work.count * longest < elapsed < work.count * longest * 1.02 + copying + computing
        device.log.clear()
        work.run()
        # The oldest alone is waited for, each once.
        assert device.log.count("event.synchronize") == work.count
        assert "synchronize" not in device.log
        waits = [one for one in device.log if one in ("copy_in", "event.synchronize")]
        assert waits[:4] == ["copy_in", "copy_in", "event.synchronize", "copy_in"]


def test_a_block_has_its_own_faces_after_other_work() -> None:
    plan = one_profile()
    faces = batch_of(4, 1)
    with plan.device as device, open_engine(plan) as engine:
        work = engine.work(faces, "device")
        engine.run(batch_of(4, 2))
        device.log.clear()
        work.run()
        assert device.log.count("copy_in") == 1
        work.run()
        assert device.log.count("copy_in") == 1
        resident = engine._pipeline.slots[0].embeddings
        found: Any = resident
        np.testing.assert_array_equal(found.values[: 4 * 8].reshape(4, 8), expected(faces))


@pytest.mark.parametrize("count", [5, 9])
def test_a_batch_that_no_profile_takes_whole_is_not_timed(count: int) -> None:
    plan = one_profile()
    with plan.device, open_engine(plan) as engine:
        with pytest.raises(EngineError, match=rf"batch of {count} cannot be timed.*1 to 4"):
            engine.work(batch_of(count), "device")
        with pytest.raises(EngineError, match="cannot be timed"):
            engine.batch_times(batch_of(count), 3)


def test_a_padded_batch_is_not_timed() -> None:
    plan = one_profile(4, 4, 4)
    with (
        plan.device,
        open_engine(plan) as engine,
        pytest.raises(EngineError, match="batch of 2 cannot be timed"),
    ):
        engine.work(batch_of(2), "device")


def test_a_scope_that_is_none_is_refused() -> None:
    plan = one_profile()
    scope: Any = "host"
    with plan.device, open_engine(plan) as engine, pytest.raises(EngineError, match="scope host"):
        engine.work(batch_of(4), scope)


def test_replays_are_timed_on_the_device_and_on_the_host() -> None:
    plan = one_profile(seconds=2e-3)
    with plan.device, open_engine(plan) as engine:
        times = engine.batch_times(batch_of(4), 10)
    np.testing.assert_allclose(times.seconds, 2e-3, rtol=0.01)
    assert times.enqueue_seconds is not None
    np.testing.assert_allclose(times.enqueue_seconds, 5e-6)
    assert times.seconds.sum() <= times.wall_seconds < 0.021
    assert times.host_bound == ""
    # Copied in, computed, copied out, one after another.
    assert times.latency_seconds is not None
    np.testing.assert_allclose(times.latency_seconds, 1e-3 + 2e-3 + 1e-5, rtol=0.01)


def test_times_of_the_host_are_called_that() -> None:
    plan = Plan(FakeDevice(launch_seconds=1e-3), [(1, 4, 4)], seconds=1e-6)
    with plan.device, open_engine(plan) as engine:
        times = engine.batch_times(batch_of(4), 10)
    assert re.match(
        r"host-bound: launching took 10\.05 ms of 10\.1\d ms device time", times.host_bound
    )


INSPECTED = """
{"Layers": [
  {"Name": "stem/a + stem/a/relu", "LayerType": "CaskConvolution", "Inputs": [], "Outputs": [],
   "Metadata": "[ONNX Layer: stem/a]\\u001e[ONNX Layer: stem/a/relu]"},
  {"Name": "flatten", "LayerType": "Shuffle", "Inputs": [], "Outputs": [], "Metadata": ""}
]}
"""


@pytest.mark.parametrize("rtx", [True, False])
def test_layers_are_timed_by_the_profiler(rtx: bool) -> None:
    times = {"stem/a + stem/a/relu": 0.5, "flatten": 0.25, "reformat": 0.125}
    plan = one_profile(layer_ms=times, layers={"JSON": INSPECTED}, rtx=rtx)
    with plan.device as device, open_engine(plan) as engine:
        found = engine.layer_times(batch_of(4), 3)
        assert (found.source, found.untold) == ("FakeRT's profiler", "")
        assert [(layer.name, layer.kind, layer.nodes) for layer in found.layers] == [
            ("stem/a + stem/a/relu", "CaskConvolution", ("stem/a", "stem/a/relu")),
            ("flatten", "Shuffle", ()),
            ("reformat", "layer", ()),
        ]
        assert [layer.seconds for layer in found.layers] == [
            pytest.approx((ms * 1e-3,) * 3) for ms in times.values()
        ]
        # What is run and timed afterwards has a context without a profiler.
        engine.work(batch_of(4), "device").run()
        np.testing.assert_array_equal(engine.run(batch_of(4, 1)), expected(batch_of(4, 1)))
        gc.collect()
        assert plan.live["context"] == 1  # of the one graph
        assert not device.pending
    assert not plan.live["context"]


def test_a_profiler_that_reports_nothing_is_told() -> None:
    plan = one_profile()
    with plan.device, open_engine(plan) as engine:
        assert engine.layer_times(batch_of(4), 2).untold == "FakeRT's profiler reported no layers"


def test_a_plan_says_that_it_gives_no_inner_tensors() -> None:
    plan = one_profile()
    with plan.device, open_engine(plan) as engine:
        found = engine.inner_tensors(["a"])
    assert found.run is None
    assert "not marked when it was built" in found.untold


def test_a_batch_whose_layers_cannot_be_timed_is_an_error() -> None:
    plan = one_profile(layer_ms={"a": 1.0})
    with plan.device, open_engine(plan) as engine:
        with pytest.raises(EngineError, match="batch of 9 cannot be timed"):
            engine.layer_times(batch_of(9), 2)
        engine.layer_times(batch_of(4), 2)
        plan.fails_to_run = True
        with pytest.raises(EngineError, match="refused to run a batch of 4: no kernel image"):
            engine.layer_times(batch_of(4), 2)
    with pytest.raises(EngineError, match="closed"):
        engine.layer_times(batch_of(4), 2)


@pytest.mark.parametrize("backend", ["tensorrt-rtx", "tensorrt"])
def test_the_profiler_is_called_as_the_real_binding_calls_it(backend: PlanBackend) -> None:
    try:
        module = find_library(backend).module
    except EngineError as error:
        pytest.skip(str(error))
    profiler = _profiler(module)
    assert isinstance(profiler, module.IProfiler)
    profiler.report_layer_time("a", 0.5)
    profiler.report_layer_time("a", 0.25)
    assert profiler.seconds == {"a": pytest.approx(0.75e-3)}
    assert {"profiler", "enqueue_emits_profile"} <= set(dir(module.IExecutionContext))
    assert "layer_name: str, ms" in module.IProfiler.report_layer_time.__doc__
