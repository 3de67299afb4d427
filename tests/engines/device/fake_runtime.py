"""A TensorRT whose engines are one fixed linear map and an L2 norm, over the fake device.

It keeps TensorRT's rules: a profile, a shape within it, addresses and memory are set before a run,
and a run is captured only after two others of the same context.
"""

from __future__ import annotations

import enum
import weakref
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facenet_validate.engines.tensorrt.library import Features, Library
from tests.engines.device.fake_device import FakeBuffer, FakeDevice, Misuse, Task

WIDTH = 8
IMAGE = (3, 4, 4)


def weights() -> NDArray[np.float32]:
    shape = (int(np.prod(IMAGE)), WIDTH)
    drawn: NDArray[np.float64] = np.random.default_rng(7).standard_normal(shape)
    return drawn.astype(np.float32)


def expected(batch: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what the fake engine computes, row by row, so that batches do not matter."""
    found = np.stack([row.ravel() @ weights() for row in batch]) if len(batch) else np.empty((0, 8))
    norms = np.linalg.norm(found, axis=1, keepdims=True)
    return np.asarray(found / norms, np.float32)


class TensorIOMode(enum.Enum):
    INPUT = 0
    OUTPUT = 1


class DataType(enum.Enum):
    FLOAT = 0
    HALF = 1


class TensorLocation(enum.Enum):
    DEVICE = 0
    HOST = 1


class TensorFormat(enum.Enum):
    LINEAR = 0
    CHW32 = 1


class Strategy(enum.Enum):
    STATIC = 0
    USER_MANAGED = 1


class Specialization(enum.Enum):
    LAZY = 0
    EAGER = 1


@dataclass
class Tensor:
    mode: TensorIOMode
    shape: tuple[int, ...]
    dtype: DataType = DataType.FLOAT
    location: TensorLocation = TensorLocation.DEVICE
    layout: TensorFormat = TensorFormat.LINEAR


def tensors() -> dict[str, Tensor]:
    return {
        "input": Tensor(TensorIOMode.INPUT, (-1, *IMAGE)),
        "embeddings": Tensor(TensorIOMode.OUTPUT, (-1, WIDTH)),
    }


@dataclass
class Plan:
    """What the fake's plans hold; a test changes it to break a rule.

    Attributes
    ----------
    ranges : list of (int, int, int)
        Minimum, optimum and maximum batch of each profile.
    seconds : float
        Device time of a run.
    rtx : bool
        Has what only TensorRT for RTX has.
    capturable : bool
        RTX says that runs can be captured.
    starts, loads : bool
        A runtime can be made; it takes the plan.
    load_errors : tuple of str
        What it logs of a plan that it does not take.
    fails_to_run, allocates, refuses_profiles : bool
        Runs are refused; runs allocate, which spoils a capture; profiles are refused.
    compiled : list of int
        Batch sizes that contexts of RTX compiled kernels for, in order.
    environment : str
        What kept kernels must be of to be taken: driver, GPU.
    layers : dict
        What the inspector gives, by form.
    layer_ms : dict
        What a profiler is told of each layer.
    compute : callable
        Images (N, 3, H, W) → embeddings (N, D).
    """

    device: FakeDevice
    ranges: list[tuple[int, int, int]]
    seconds: float = 2e-3
    tensors: dict[str, Tensor] = field(default_factory=tensors)
    activation_bytes: int = 4096
    weight_bytes: int = 10000
    rtx: bool = True
    starts: bool = True
    loads: bool = True
    load_errors: tuple[str, ...] = ("serialized with another version",)
    capturable: bool = True
    fails_to_run: bool = False
    allocates: bool = False
    refuses_profiles: bool = False
    compiled: list[int] = field(default_factory=list)
    environment: str = "driver 580"
    layer_ms: dict[str, float] = field(default_factory=dict)
    layers: dict[str, str] = field(default_factory=lambda: {"JSON": '{"Layers": []}'})
    compute: Callable[[NDArray[np.float32]], NDArray[np.float32]] = expected
    live: Counter[str] = field(default_factory=Counter)
    contexts: list[dict[str, Any]] = field(default_factory=list)

    @property
    def image(self) -> tuple[int, ...]:
        return self.tensors["input"].shape[1:]

    @property
    def width(self) -> int:
        return self.tensors["embeddings"].shape[1]


def fake_library(plan: Plan) -> Library:
    """Return a library whose runtime loads that plan, whatever the bytes."""

    def counted(thing: object, kind: str) -> None:
        plan.live[kind] += 1
        weakref.finalize(thing, plan.live.subtract, [kind])

    class ILogger:
        pass

    class IProfiler:
        pass

    class Runtime:
        def __init__(self, logger: Any) -> None:
            self.logger = logger
            if not plan.starts:
                logger.log(SimpleNamespace(name="ERROR"), "CUDA initialization failure: error 35")
                raise TypeError("pybind11::init(): factory function returned nullptr")
            counted(self, "runtime")

        def deserialize_cuda_engine(self, data: bytes) -> Engine | None:
            if not plan.loads:
                for text in plan.load_errors:
                    self.logger.log(SimpleNamespace(name="ERROR"), text)
                return None
            return Engine(self.logger)

    class Engine:
        def __init__(self, logger: Any) -> None:
            self.logger = logger
            counted(self, "engine")
            plan.device.used += plan.weight_bytes
            weakref.finalize(self, _give_back, plan.device, plan.weight_bytes)
            if plan.rtx:
                self.device_memory_size_v2 = plan.activation_bytes
                self.create_runtime_config = partial(RuntimeConfig, logger)
            else:
                self.device_memory_size = plan.activation_bytes
            self.num_io_tensors = len(plan.tensors)
            self.num_optimization_profiles = len(plan.ranges)

        def get_tensor_name(self, index: int) -> str:
            return list(plan.tensors)[index]

        def get_tensor_mode(self, name: str) -> TensorIOMode:
            return plan.tensors[name].mode

        def get_tensor_dtype(self, name: str) -> DataType:
            return plan.tensors[name].dtype

        def get_tensor_location(self, name: str) -> TensorLocation:
            return plan.tensors[name].location

        def get_tensor_format(self, name: str) -> TensorFormat:
            return plan.tensors[name].layout

        def get_tensor_shape(self, name: str) -> tuple[int, ...]:
            return plan.tensors[name].shape

        def get_tensor_profile_shape(self, name: str, profile: int) -> list[tuple[int, ...]]:
            return [(size, *plan.tensors[name].shape[1:]) for size in plan.ranges[profile]]

        def create_engine_inspector(self) -> Any:
            return SimpleNamespace(get_engine_information=lambda form: plan.layers[form])

        def create_execution_context(self, how: Any) -> Context:
            return (RtxContext if plan.rtx else Context)(self.logger, how)

    class RuntimeConfig:
        def __init__(self, logger: Any) -> None:
            self.logger = logger
            self.strategy = Strategy.STATIC
            self.runtime_cache: RuntimeCache | None = None
            self.dynamic_shapes_kernel_specialization_strategy = Specialization.LAZY

        def set_execution_context_allocation_strategy(self, strategy: Strategy) -> None:
            self.strategy = strategy

        def create_runtime_cache(self) -> RuntimeCache:
            return RuntimeCache(self.logger)

        def set_runtime_cache(self, cache: RuntimeCache) -> bool:
            self.runtime_cache = cache
            return True

    class RuntimeCache:
        """The batch sizes that kernels were compiled for, as ``driver 580: 1 4``."""

        def __init__(self, logger: Any) -> None:
            counted(self, "runtime cache")
            self.logger = logger
            self.sizes: set[int] = set()

        def serialize(self) -> bytes:
            return f"{plan.environment}: {' '.join(map(str, sorted(self.sizes)))}".encode()

        def deserialize(self, blob: bytes) -> bool:
            environment, _, sizes = blob.decode().partition(": ")
            if environment != plan.environment:
                self.logger.log(SimpleNamespace(name="ERROR"), f"kernels of {environment}")
                return False
            self.sizes |= {int(size) for size in sizes.split()}
            return True

    class Context:
        def __init__(self, logger: Any, how: Any) -> None:
            counted(self, "context")
            self.logger = logger
            strategy = how if isinstance(how, Strategy) else how.strategy
            if strategy is not Strategy.USER_MANAGED:
                raise Misuse("a context that allocates memory of its own")
            self.settings: dict[str, Any] = {
                "eager": not isinstance(how, Strategy)
                and how.dynamic_shapes_kernel_specialization_strategy is Specialization.EAGER
            }
            plan.contexts.append(self.settings)
            self.profile: int | None = None
            self.shape: tuple[int, ...] | None = None
            self.addresses: dict[str, int] = {}
            self.activations: int | None = None
            self.profiler: Any = None
            self.runs = 0
            self.kernels = None if isinstance(how, Strategy) else how.runtime_cache

        def __setattr__(self, name: str, value: Any) -> None:
            if name == "device_memory":  # how TensorRT before 10.1 is given memory
                name = "activations"
            object.__setattr__(self, name, value)

        def set_optimization_profile_async(self, profile: int, stream: int) -> bool:
            plan.device.call("set_optimization_profile", capturable=False)
            assert stream in plan.device.streams
            self.profile = profile
            self.settings["profile"] = profile
            if profile >= len(plan.ranges) or plan.refuses_profiles:
                # The binding never returns False.
                self.logger.log(SimpleNamespace(name="ERROR"), "the profile is in use")
                raise RuntimeError("Error in set optimization profile async.")
            return True

        def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
            if self.profile is None:
                return False
            minimum, _, maximum = plan.ranges[self.profile]
            self.shape = shape
            self.settings["size"] = shape[0]
            return minimum <= shape[0] <= maximum and shape[1:] == plan.image

        def set_tensor_address(self, name: str, address: int) -> bool:
            self.addresses[name] = address
            return name in plan.tensors

        def execute_async_v3(self, stream: int) -> bool:
            device = plan.device
            device.call("enqueue")
            if plan.fails_to_run:
                self.logger.log(SimpleNamespace(name="ERROR"), "no kernel image")
                return False
            if plan.allocates:
                device.call("allocate", capturable=False)
            if device.capturing is not None and self.runs < 2:
                raise Misuse("captured before two enqueues had set the context up")
            self.runs += 1
            assert self.shape is not None
            size = self.shape[0]
            if plan.rtx and self.runs == 1 and (not self.kernels or size not in self.kernels.sizes):
                plan.compiled.append(size)
                if self.kernels:
                    self.kernels.sizes.add(size)
            images = self._buffer("input", size * int(np.prod(plan.image)) * 4)
            embeddings = self._buffer("embeddings", size * plan.width * 4)
            if self.activations is None:
                raise Misuse("a run without memory for activations, be it none that is needed")
            scratch = {device.buffers[self.activations]}

            def run() -> None:
                flat = images.values[: size * int(np.prod(plan.image))]
                with np.errstate(invalid="ignore"):
                    found = plan.compute(flat.reshape(size, *plan.image))
                embeddings.values[: found.size] = found.ravel()

            writes: set[object] = {embeddings, *scratch}
            task = Task("enqueue", run, {images}, writes, plan.seconds)
            device.queue(device.streams[stream], task)
            if self.profiler is not None:
                if device.capturing is not None:
                    raise Misuse("a graph of a context with a profiler")
                for name, ms in plan.layer_ms.items():
                    self.profiler.report_layer_time(name, ms)
            return True

        def _buffer(self, name: str, nbytes: int) -> FakeBuffer:
            buffer = plan.device.buffers.get(self.addresses[name])
            if buffer is None:
                raise Misuse(f"{name} is at an address that is not allocated")
            if buffer.nbytes < nbytes:
                raise Misuse(f"{name} needs {nbytes} bytes, its buffer has {buffer.nbytes}")
            return buffer

    class RtxContext(Context):
        def set_device_memory(self, address: int, nbytes: int) -> None:
            if nbytes < plan.activation_bytes:
                raise Misuse("too little memory for activations")
            self.activations = address

        def is_stream_capturable(self, stream: int) -> bool:
            assert stream in plan.device.streams
            return plan.capturable

    module = SimpleNamespace(
        ILogger=ILogger,
        IProfiler=IProfiler,
        Runtime=Runtime,
        TensorIOMode=TensorIOMode,
        DataType=DataType,
        TensorLocation=TensorLocation,
        TensorFormat=TensorFormat,
        ExecutionContextAllocationStrategy=Strategy,
        LayerInformationFormat=SimpleNamespace(JSON="JSON"),
    )
    if plan.rtx:
        module.DynamicShapesKernelSpecializationStrategy = Specialization
    return Library(module, "tensorrt-rtx", "FakeRT", "1.2.3", _FEATURES)


# Which features a builder has does not matter to a runtime.
_FEATURES = Features(**dict.fromkeys((one.name for one in fields(Features)), False))


def _give_back(device: FakeDevice, nbytes: int) -> None:
    device.used -= nbytes
