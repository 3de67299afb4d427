"""What an engine holds on the device: the loaded plan, buffers, and a CUDA graph a batch size."""

from __future__ import annotations

from collections import OrderedDict
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, TypeVar

from facenet_validate.base.errors import EngineError
from facenet_validate.engines.device.interface import (
    Device,
    DeviceBuffer,
    Event,
    Graph,
    PinnedBuffer,
    Resource,
    Stream,
)
from facenet_validate.engines.tensorrt.contract import INPUT, OUTPUT, Contract, Piece
from facenet_validate.engines.tensorrt.layer_lists import CompiledLayer, layers_from_inspector
from facenet_validate.engines.tensorrt.log import listening
from facenet_validate.engines.tensorrt.runtime_cache import KernelStore, open_runtime_cache
from facenet_validate.engines.tensorrt.start import start_runtime

if TYPE_CHECKING:
    import tensorrt as trt

    from facenet_validate.engines.tensorrt.library import Library

_R = TypeVar("_R", bound=Resource)

GRAPHS = 8
"""How many graphs are kept: two slots of the full batch, its remainder, and two more sizes."""

_LEAST_ACTIVATIONS = 256
"""Bytes: a context without memory of its own must be given some, also if it needs none."""

_WARM = 2
"""Enqueues before a capture: what TensorRT sets up in the first cannot be captured."""


class LoadedPlan:
    """A deserialized plan, held until it is released.

    Parameters
    ----------
    plan : bytes
        The serialized engine, whose digest the caller has verified: plans are trusted input.
    library : Library
        Which TensorRT.
    artefact : str
        For people.
    kernels : KernelStore or None
        Where kernels that are compiled at run time are kept.

    Raises
    ------
    EngineError
        If no runtime can be started, or TensorRT does not take the plan.
    """

    def __init__(
        self, plan: bytes, library: Library, artefact: str, kernels: KernelStore | None = None
    ) -> None:
        self.library = library
        self.artefact = artefact
        with listening(library.logger) as messages:
            # The runtime loads what the engine needs later, so it must live as long.
            self._runtime: trt.Runtime | None = start_runtime(library)
            self._engine: trt.ICudaEngine | None = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise EngineError(
                f"{artefact}: {library.name} {library.version} cannot load this plan: "
                f"{(messages.errors or 'it gave no reason').rstrip('.')}. A plan runs on the "
                "version and kind of GPU it was built for; build it again here."
            )
        self._kernels = open_runtime_cache(self._engine, library, kernels)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was odd when it was loaded, for people."""
        return () if self._kernels is None else self._kernels.notes

    @property
    def engine(self) -> trt.ICudaEngine:
        """The engine."""
        if self._engine is None:
            raise EngineError(f"engine {self.artefact} was closed; load it again to run it.")
        return self._engine

    @property
    def activation_bytes(self) -> int:
        """Memory to give a run beside weights and tensors, for its largest profile."""
        engine: Any = self.engine
        # TensorRT 10.0 has only the older, which 11 has not.
        if hasattr(engine, "device_memory_size_v2"):
            return max(int(engine.device_memory_size_v2), _LEAST_ACTIVATIONS)
        return max(int(engine.device_memory_size), _LEAST_ACTIVATIONS)

    def layers(self) -> list[CompiledLayer]:
        """Return the layers the engine inspector lists, with the types of their operands."""
        inspector = self.engine.create_engine_inspector()
        form = self.library.module.LayerInformationFormat.JSON
        return layers_from_inspector(inspector.get_engine_information(form))

    def context(self, activations: DeviceBuffer) -> trt.IExecutionContext:
        """Return an execution context that works in memory of ours.

        Every context then uses the same memory: they never run at once.

        Raises
        ------
        EngineError
            If TensorRT makes none.
        """
        # Any: create_runtime_config came with 10.12, the specialization strategy is RTX's alone.
        engine: Any = self.engine
        module = self.library.module
        strategy = module.ExecutionContextAllocationStrategy.USER_MANAGED
        with listening(self.library.logger) as messages:
            if hasattr(engine, "create_runtime_config"):
                config = engine.create_runtime_config()
                config.set_execution_context_allocation_strategy(strategy)
                if hasattr(module, "DynamicShapesKernelSpecializationStrategy"):
                    # RTX otherwise compiles for a shape in the background, and a graph captured
                    # meanwhile replays the slower stand-in for ever.
                    eager = module.DynamicShapesKernelSpecializationStrategy.EAGER
                    config.dynamic_shapes_kernel_specialization_strategy = eager
                if self._kernels is not None:
                    self._kernels.attach(config)
                context: Any = engine.create_execution_context(config)
            else:
                context = engine.create_execution_context(strategy)
        if context is None:
            raise self.refusal("create an execution context", messages.errors)
        if hasattr(context, "set_device_memory"):
            context.set_device_memory(activations.address, activations.nbytes)
        else:  # before TensorRT 10.1
            context.device_memory = activations.address
        found: trt.IExecutionContext = context
        return found

    def refusal(self, action: str, errors: str) -> EngineError:
        """Return an error for a call that TensorRT answered with no."""
        return EngineError(
            f"engine {self.artefact}: {self.library.name} {self.library.version} refused to "
            f"{action}: {errors or 'it gave no reason'}."
        )

    def release(self) -> None:
        """Keep what was compiled, and let the engine go, then the runtime."""
        kernels, self._kernels = self._kernels, None
        if kernels is not None:
            kernels.keep()
        self._engine = None
        self._runtime = None


class Slot:
    """Buffers of one batch under way, on both sides.

    Attributes
    ----------
    staged, found : PinnedBuffer
        Images ``(max, 3, H, W)`` and embeddings ``(max, D)``, float32, on the host.
    images, embeddings : DeviceBuffer
        The same on the device.
    copied, computed, done : Event
        Images are on the device; embeddings are computed; embeddings are on the host.
    """

    def __init__(self, device: Device, contract: Contract, stack: ExitStack) -> None:
        shape_in = (contract.maximum, *contract.image)
        shape_out = (contract.maximum, contract.width)
        self.staged: PinnedBuffer = kept(stack, device.pinned(shape_in))
        self.found: PinnedBuffer = kept(stack, device.pinned(shape_out))
        self.images: DeviceBuffer = kept(stack, device.allocate(self.staged.array.nbytes))
        self.embeddings: DeviceBuffer = kept(stack, device.allocate(self.found.array.nbytes))
        self.copied: Event = kept(stack, device.event())
        self.computed: Event = kept(stack, device.event())
        self.done: Event = kept(stack, device.event())

    @property
    def device_bytes(self) -> int:
        """Memory of the device it holds."""
        return self.images.nbytes + self.embeddings.nbytes


class Graphs:
    """CUDA graphs of a plan, captured when first asked for.

    A graph keeps the addresses and shapes it was captured with, so there is one for each slot and
    batch size, with an execution context of its own: a change of shape in a shared context could
    reach into an older graph. The least recently used go first.
    """

    def __init__(
        self,
        plan: LoadedPlan,
        contract: Contract,
        stream: Stream,
        activations: DeviceBuffer,
    ) -> None:
        self._plan = plan
        self._contract = contract
        self._stream = stream
        self._activations = activations
        self._kept: OrderedDict[tuple[int, int], tuple[Graph, trt.IExecutionContext]]
        self._kept = OrderedDict()

    def get(self, slot: Slot, piece: Piece) -> Graph:
        """Return the graph that runs so many images of a slot.

        Raises
        ------
        EngineError
            If TensorRT refuses the shape, or the work cannot be captured.
        """
        key = (slot.images.address, piece.size)
        if key not in self._kept:
            while len(self._kept) >= GRAPHS:
                # Its work was done long ago: each slot has at most one graph under way.
                _, (oldest, _context) = self._kept.popitem(last=False)
                oldest.release()
            context = self._plan.context(self._activations)
            self._kept[key] = self._capture(context, slot, piece), context
        self._kept.move_to_end(key)
        return self._kept[key][0]

    def take_context(self, slot: Slot, piece: Piece) -> trt.IExecutionContext:
        """Return the context that runs so many images of a slot, without its graph.

        Its shape and addresses are set. The next `get` makes another.

        Raises
        ------
        EngineError
            As `get`.
        """
        self.get(slot, piece)
        graph, context = self._kept.pop((slot.images.address, piece.size))
        graph.release()
        return context

    def release(self) -> None:
        """Release the graphs, then the contexts they were captured from."""
        while self._kept:
            _, (graph, _context) = self._kept.popitem()
            graph.release()

    def _capture(self, context: trt.IExecutionContext, slot: Slot, piece: Piece) -> Graph:
        stream, refusal = self._stream, self._plan.refusal

        with listening(self._plan.library.logger) as messages:

            def enqueue() -> None:
                if not context.execute_async_v3(stream.handle):
                    raise refusal(f"run a batch of {piece.size}", messages.errors)

            shape = (piece.size, *self._contract.image)
            action = f"set a batch of {piece.size} in profile {piece.profile}"
            try:
                taken = (
                    context.set_optimization_profile_async(piece.profile, stream.handle)
                    and context.set_input_shape(INPUT, shape)
                    and context.set_tensor_address(INPUT, slot.images.address)
                    and context.set_tensor_address(OUTPUT, slot.embeddings.address)
                )
            except RuntimeError as error:
                # The first of these raises where the others return False.
                raise refusal(action, messages.errors or str(error).rstrip(".")) from None
            if not taken:
                raise refusal(action, messages.errors)
            for _ in range(_WARM):
                enqueue()
            stream.synchronize()
            self._check_capturable(context, piece)
            try:
                return stream.capture(enqueue)
            except EngineError as error:
                raise EngineError(
                    f"engine {self._plan.artefact}: a batch of {piece.size} cannot be captured "
                    f"into a CUDA graph: {error} Timings without a graph would not be comparable, "
                    "so nothing is run."
                ) from None

    def _check_capturable(self, context: Any, piece: Piece) -> None:
        # RTX alone tells; Any, for the stubs do not know the call.
        if not hasattr(context, "is_stream_capturable"):
            return
        if not context.is_stream_capturable(self._stream.handle):
            raise EngineError(
                f"engine {self._plan.artefact}: {self._plan.library.name} says that a batch of "
                f"{piece.size} cannot be captured into a CUDA graph. Build the plan with "
                "BuilderFlag.REQUIRE_USER_ALLOCATION, without which it allocates while it runs."
            )


def kept(stack: ExitStack, resource: _R) -> _R:
    """Return a resource that a stack releases."""
    stack.callback(resource.release)
    return resource
