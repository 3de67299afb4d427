"""The execution code on a real device: tox -e gpu."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import cast

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray

from facenet_validate.base.errors import EngineError
from facenet_validate.benchmarking.gpu import GpuWatch
from facenet_validate.cache import Cache
from facenet_validate.engines.device.driver import gpu_address, why_no_device
from facenet_validate.engines.device.interface import Device
from facenet_validate.engines.onnxruntime.cuda_engine import OnnxRuntimeCudaEngine
from facenet_validate.engines.protocol import EngineInfo, Scope
from facenet_validate.engines.tensorrt.build import build_plan
from facenet_validate.engines.tensorrt.contract import INPUT, OUTPUT, read_contract
from facenet_validate.engines.tensorrt.engine import TensorRtEngine
from facenet_validate.engines.tensorrt.graphs import LoadedPlan, Slot, kept
from facenet_validate.engines.tensorrt.library import Library, find_library
from facenet_validate.engines.tensorrt.options import BuildOptions
from facenet_validate.engines.tensorrt.packages import PlanBackend
from facenet_validate.engines.tensorrt.runtime_cache import KernelStore
from facenet_validate.metrics.parity import row_cosines
from facenet_validate.models.prepared import PreparedModel
from facenet_validate.models.quantization.precision import to_fp16
from tests.models.small_facenet import SIZE, small_facenet

WHY = why_no_device()
pytestmark = [pytest.mark.requires_gpu, pytest.mark.skipif(bool(WHY), reason=f"no GPU: {WHY}")]

LARGEST = 8

Images = NDArray[np.float32]


@pytest.fixture(scope="module", params=["tensorrt", "tensorrt-rtx"])
def library(request: pytest.FixtureRequest) -> Library:
    """Each TensorRT that is installed."""
    try:
        return find_library(cast("PlanBackend", request.param))
    except EngineError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def model() -> onnx.ModelProto:
    """A small FaceNet in FP32."""
    return small_facenet()


@pytest.fixture(scope="module")
def plan(library: Library, model: onnx.ModelProto) -> bytes:
    """Its plan, for up to eight images."""
    return plan_of(library, model)


@pytest.fixture
def engine(plan: bytes, library: Library, device: Device) -> Iterator[TensorRtEngine]:
    """The plan, loaded."""
    with loaded(plan, library, device) as opened:
        yield opened


@pytest.fixture(scope="module")
def reference(model: onnx.ModelProto) -> Callable[[Images], Images]:
    """The model on ONNX Runtime's CPU provider."""
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])

    def embed(images: Images) -> Images:
        return np.asarray(session.run(None, {INPUT: images})[0])

    return embed


def plan_of(library: Library, model: onnx.ModelProto) -> bytes:
    options = BuildOptions((LARGEST,))
    return build_plan(library, model.SerializeToString(), options).plan


def loaded(plan: bytes, library: Library, device: Device) -> TensorRtEngine:
    return TensorRtEngine(plan, library, device, info=info("tensorrt"))


def info(backend: str) -> EngineInfo:
    return EngineInfo(
        precision="fp32",
        backend=backend,
        runtime=backend,
        device="",
        device_details="",
        options=(),
        digest="0" * 64,
        artefact="small FaceNet",
        recipe_only=False,
    )


def images_of(count: int, seed: int = 0) -> Images:
    generator = np.random.default_rng(seed)
    return generator.uniform(-1, 1, size=(count, 3, SIZE, SIZE)).astype(np.float32)


@pytest.mark.parametrize("count", range(LARGEST + 4))
def test_every_batch_size_agrees_with_the_cpu(
    engine: TensorRtEngine, reference: Callable[[Images], Images], count: int
) -> None:
    images = images_of(count, count)
    found = engine.run(images)
    assert found.shape == (count, engine.output.shape[1])
    if count:
        # FP32 with TF32 off: only the order of sums differs.
        np.testing.assert_allclose(found, reference(images), atol=1e-5)


def test_the_real_model_in_fp16_keeps_to_its_gate(
    library: Library,
    device: Device,
    prepared: PreparedModel,
    prepared_onnx: onnx.ModelProto,
    drawn_batch: Images,
) -> None:
    session = ort.InferenceSession(str(prepared.entry.path), providers=["CPUExecutionProvider"])
    expected = np.asarray(session.run(None, {INPUT: drawn_batch})[0])
    with loaded(plan_of(library, to_fp16(prepared_onnx)), library, device) as engine:
        cosines = row_cosines(engine.run(drawn_batch), expected)
    assert cosines.min() >= 0.999
    assert cosines.mean() >= 0.9999


def test_batches_in_turn_give_what_each_gives_alone(engine: TensorRtEngine) -> None:
    batches = [images_of(count, count) for count in (8, 8, 3, 8, 19, 1, 8)]
    alone = [engine.run(batch) for batch in batches]
    for found, expected in zip(engine.run_many(iter(batches)), alone, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_replayed_graph_gives_what_a_plain_enqueue_gives(
    plan: bytes, library: Library, device: Device, engine: TensorRtEngine
) -> None:
    images = images_of(LARGEST)
    with ExitStack() as stack:
        held = kept(stack, LoadedPlan(plan, library, "small FaceNet"))
        contract = read_contract(held.engine, library.module, "small FaceNet")
        activations = kept(stack, device.allocate(held.activation_bytes))
        stream = kept(stack, device.stream())
        slot = Slot(device, contract, stack)
        context = held.context(activations)
        assert context.set_optimization_profile_async(0, stream.handle)
        assert context.set_input_shape(INPUT, images.shape)
        assert context.set_tensor_address(INPUT, slot.images.address)
        assert context.set_tensor_address(OUTPUT, slot.embeddings.address)
        slot.staged.array[:] = images
        stream.copy_in(slot.images, slot.staged, LARGEST)
        assert context.execute_async_v3(stream.handle)
        stream.copy_out(slot.found, slot.embeddings, LARGEST)
        stream.synchronize()
        plain = slot.found.array.copy()
        del context
    np.testing.assert_array_equal(engine.run(images), plain)


def test_opening_and_closing_leaks_no_memory(plan: bytes, library: Library, device: Device) -> None:
    used: list[int] = []
    size = 0
    for _ in range(20):
        with loaded(plan, library, device) as engine:
            engine.run(images_of(LARGEST + 1))
            size = engine.memory_bytes
        del engine
        used.append(device.memory_used())
    # The library keeps something of its first engine; every leaked engine would add its size.
    assert used[-1] - used[2] < size


def test_a_block_takes_no_less_than_the_devices_time(engine: TensorRtEngine) -> None:
    times = engine.batch_times(images_of(LARGEST), 200)
    assert (times.seconds > 0).all()
    # Events resolve half a microsecond.
    assert times.seconds.sum() <= times.wall_seconds + 200 * 1e-6
    work = engine.work(images_of(LARGEST), "device")
    assert work.images % LARGEST == 0


def test_copies_take_time_and_hide_behind_computing(engine: TensorRtEngine) -> None:
    def seconds_an_image(scope: Scope) -> float:
        work = engine.work(images_of(LARGEST), scope)
        blocks = []
        for _ in range(7):
            begin = time.perf_counter()
            work.run()
            blocks.append((time.perf_counter() - begin) / work.images)
        return statistics.median(blocks)

    times = engine.batch_times(images_of(LARGEST), 200)
    assert times.latency_seconds is not None
    serial = statistics.median(times.latency_seconds)
    assert serial > statistics.median(times.seconds)
    # Two at a time take less than one after another, and no less than computing them.
    assert seconds_an_image("end-to-end") < serial / LARGEST
    assert seconds_an_image("device") < 1.05 * seconds_an_image("end-to-end")


def test_what_rtx_compiles_is_kept(
    plan: bytes, library: Library, device: Device, tmp_path: Path
) -> None:
    store = KernelStore.of(Cache(tmp_path), library, "p" * 64, device.identity, None)
    images = images_of(3)

    def run() -> tuple[Images, tuple[str, ...]]:
        told = info(library.backend)
        with TensorRtEngine(plan, library, device, info=told, kernels=store) as engine:
            return engine.run(images), engine.notes

    found, _ = run()
    kernels, damage = store.read()
    assert (bool(kernels), damage) == (library.backend == "tensorrt-rtx", "")
    again, notes = run()
    assert notes == ()
    np.testing.assert_array_equal(again, found)


def test_onnxruntimes_cuda_provider_agrees_with_the_cpu(
    model: onnx.ModelProto, reference: Callable[[Images], Images], tmp_path: Path
) -> None:
    if "CUDAExecutionProvider" not in ort.get_available_providers():
        pytest.skip("this ONNX Runtime has no CUDA provider: pip install onnxruntime-gpu")
    onnx.save(model, tmp_path / "small.onnx")
    images = images_of(5)
    with OnnxRuntimeCudaEngine(tmp_path / "small.onnx", info=info("onnxruntime-cuda")) as engine:
        # The provider computes convolutions in TF32 unless it is told not to.
        assert row_cosines(engine.run(images), reference(images)).min() >= 0.999
        for scope in engine.scopes:
            engine.work(images, scope).run()


def test_nvml_finds_the_gpu_that_cuda_uses() -> None:
    with GpuWatch(gpu_address()) as watch:
        if watch.unavailable:
            pytest.skip(watch.unavailable)
        assert watch.facts.driver
        sample = watch.sample()
        assert sample.sm_clock
        assert sample.temperature
