"""Engines on TensorRT: a plan run by CUDA graphs over a device."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from facenet_validate.base.closing import Closing
from facenet_validate.base.errors import EngineError
from facenet_validate.engines.blocks import calibrated, check_scope
from facenet_validate.engines.device.interface import Device, Graph
from facenet_validate.engines.protocol import (
    DEVICE_SCOPES,
    BatchTimes,
    ComputedPrecision,
    EngineInfo,
    InnerTensors,
    LayerTimes,
    Scope,
    Work,
)
from facenet_validate.engines.tensorrt.artefacts import loaded_shares
from facenet_validate.engines.tensorrt.contract import Piece, read_contract
from facenet_validate.engines.tensorrt.faults import Faults
from facenet_validate.engines.tensorrt.graphs import Graphs, LoadedPlan, Slot, kept
from facenet_validate.engines.tensorrt.layer_lists import CompiledLayer
from facenet_validate.engines.tensorrt.pipeline import Pipeline
from facenet_validate.engines.tensorrt.profiling import profiled_layers
from facenet_validate.engines.tensorrt.runtime_cache import KernelStore
from facenet_validate.engines.tensorrt.single_batches import single_batches

if TYPE_CHECKING:
    from facenet_validate.engines.tensorrt.library import Library
    from facenet_validate.models.prepared import PreparedModel


@dataclass
class _Batch:
    """A batch under way: its name in errors, where its embeddings go, and the pieces to come."""

    called: str
    images: NDArray[np.float32]
    target: NDArray[np.float32]
    missing: int


class TensorRtEngine(Closing):
    """A serialized plan on a GPU.

    Batches of any size run: within a profile by shape, larger ones in pieces, those below every
    profile padded. While one batch is computed, the next is copied in and the last copied out.

    Parameters
    ----------
    plan : bytes
        The serialized engine, its digest verified by the caller.
    library : Library
        Which TensorRT.
    device : Device
        An open device; it stays open when the engine is closed.
    info : EngineInfo
        What it is.
    clock : callable
        Seconds of the host.
    kernels : KernelStore or None
        Where kernels that are compiled at run time are kept.

    Raises
    ------
    EngineError
        If TensorRT does not take the plan, it breaks the contract or memory does not suffice.
    """

    scopes: tuple[Scope, ...] = DEVICE_SCOPES
    notes: tuple[str, ...] = ()

    def __init__(
        self,
        plan: bytes,
        library: Library,
        device: Device,
        *,
        info: EngineInfo,
        clock: Callable[[], float] = time.perf_counter,
        kernels: KernelStore | None = None,
    ) -> None:
        self._device = device
        self._clock = clock
        self._busy = False
        self._resident: NDArray[np.float32] | None = None
        with ExitStack() as stack:
            before = device.memory_used()
            self._plan = kept(stack, LoadedPlan(plan, library, info.artefact, kernels))
            self.notes = self._plan.notes
            weights = max(0, device.memory_used() - before)
            self._contract = read_contract(self._plan.engine, library.module, info.artefact)
            self.input, self.output = self._contract.input, self._contract.output
            self.info = replace(info, fixed_batches=self._contract.fixed_batches)
            activation_bytes = self._plan.activation_bytes
            activations = kept(stack, device.allocate(activation_bytes))
            self._pipeline = Pipeline(device, self._contract, stack)
            self._faults = Faults(info.artefact, self._pipeline.streams)
            compute, slots = self._pipeline.compute, self._pipeline.slots
            self._graphs = kept(stack, Graphs(self._plan, self._contract, compute, activations))
            self.memory_bytes = (
                weights + activation_bytes + sum(slot.device_bytes for slot in slots)
            )
            """Memory of the GPU: what loading took, activations and buffers, in bytes."""
            self._held: ExitStack | None = stack.pop_all()

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return embeddings ``(N, D)`` of standardized faces ``(N, 3, H, W)``.

        Raises
        ------
        EngineError
            If the engine was closed, the batch has another shape or the run fails: then it names
            the call that failed and the batch.
        """
        (embeddings,) = self.run_many([batch])
        return embeddings

    def run_many(self, batches: Iterable[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
        """Yield the embeddings of each batch in turn.

        The next batch is read and copied to the device while one is computed, so a batch's
        embeddings come after the next one was asked for.

        Raises
        ------
        EngineError
            As ``run``; and if another ``run_many`` of this engine is not finished.
        """
        self._claim()
        self._busy = True
        self._resident = None
        # Read and not given back yet, the oldest first.
        under_way: deque[_Batch] = deque()
        finished = False
        try:
            for slot, (batch, piece) in self._pipeline.through(
                self._pieces(batches, under_way),
                self._fill,
                lambda turn: self._faults.named(turn[0].called),
            ):
                rows = slice(piece.start, piece.start + piece.rows)
                batch.target[rows] = slot.found.array[: piece.rows]
                batch.missing -= 1
                while under_way and not under_way[0].missing:
                    yield under_way.popleft().target
                    self._check_open()
            for empty in under_way:
                yield empty.target
            finished = True
        finally:
            self._busy = False
            if self._held is not None and not finished:
                # Left half way: the device must be done with the buffers before they are reused.
                self._faults.settle()

    def work(self, batch: NDArray[np.float32], scope: Scope) -> Work:
        """Return a block of replays of a batch that lasts about 50 ms or longer.

        ``device`` has the batch resident and synchronises once a block. ``end-to-end`` copies it
        from pinned memory and its embeddings to pinned memory, two batches at a time: one is
        copied while the other is computed. At the block's end all of them are done.

        Raises
        ------
        EngineError
            If the scope is unknown, or no profile runs the batch as it is: split or padded, its
            time would be another batch's.
        """
        check_scope(self.info, scope, self.scopes)
        piece = self._whole(batch)
        block = self._resident_block if scope == "device" else self._copying_block
        return calibrated(
            Work(partial(self._named_block, block, batch, piece), 1, len(batch), scope), self._clock
        )

    def batch_times(self, batch: NDArray[np.float32], count: int) -> BatchTimes:
        """Time replays one by one, as trtexec does, then batches by themselves with their copies.

        Parameters
        ----------
        batch : ndarray of shape (N, 3, H, W)
            float32.
        count : int
            How many; a 99th percentile needs 1,000.

        Raises
        ------
        EngineError
            As ``work``.
        """
        piece = self._whole(batch)
        self._claim()
        with self._faults.named(f"timing a batch of size {len(batch)}"):
            return single_batches(
                self._device,
                self._pipeline,
                self._hold(batch, piece),
                piece,
                count,
                clock=self._clock,
                memory_bytes=self.memory_bytes,
            )

    def computed_precision(self, model: PreparedModel) -> ComputedPrecision:
        """Return what the compiled layers compute in, as the engine inspector lists them."""
        return ComputedPrecision("the engine inspector", loaded_shares(self.layers(), model))

    def layer_times(self, batch: NDArray[np.float32], count: int) -> LayerTimes:
        """Time the layers with TensorRT's profiler, the batch resident, without a CUDA graph.

        Raises
        ------
        EngineError
            As ``work``.
        """
        piece = self._whole(batch)
        self._claim()
        with self._faults.named(f"timing the layers of a batch of size {len(batch)}"):
            self._hold(batch, piece)
            context = self._graphs.take_context(self._pipeline.slots[0], piece)
            return profiled_layers(self._plan, context, self._pipeline.compute, count)

    def inner_tensors(self, names: Sequence[str]) -> InnerTensors:
        """Return that a plan gives its output alone.

        Debug tensors are marked before a plan is built, and ours have none marked. A plan that is
        built anew with further outputs fuses other layers, so it would be another engine.
        """
        del names
        return InnerTensors(untold="a plan gives no tensors that were not marked when it was built")

    def layers(self) -> list[CompiledLayer]:
        """Return the compiled layers, as the engine inspector lists them."""
        return self._plan.layers()

    def close(self) -> None:
        """Wait for the device, then release graphs, buffers and the plan, newest first.

        An error of the device is not raised: every result was waited for before, so the error
        belongs to work that was given up, or the call that met it first has told of it.
        """
        held, self._held = self._held, None
        if held is None:
            return
        self._resident = None
        with held:
            self._faults.settle()

    def _check_open(self) -> None:
        if self._held is None:
            raise EngineError(f"engine {self.info.artefact} was closed; load it again to run it.")
        self._faults.raise_first()

    def _claim(self) -> None:
        self._check_open()
        if self._busy:
            raise EngineError(
                f"engine {self.info.artefact} is in the middle of run_many, which uses its "
                "buffers; take all its embeddings or close it first."
            )

    def _check(self, batch: NDArray[np.float32]) -> None:
        image = self._contract.image
        if batch.dtype != np.float32 or batch.shape[1:] != image:
            wanted = ", ".join(str(length) for length in ("N", *image))
            raise EngineError(
                f"engine {self.info.artefact}: a batch is {batch.dtype} {batch.shape}; expected "
                f"float32 ({wanted})."
            )

    def _whole(self, batch: NDArray[np.float32]) -> Piece:
        """Return the one piece that is exactly the batch."""
        self._check(batch)
        pieces = self._contract.pieces(len(batch))
        if len(pieces) != 1 or pieces[0].size != len(batch):
            ranges = ", ".join(f"{one.minimum} to {one.maximum}" for one in self._contract.ranges)
            raise EngineError(
                f"engine {self.info.artefact}: a batch of {len(batch)} cannot be timed, its "
                f"profiles take {ranges}; time a batch among them or build it with another profile."
            )
        return pieces[0]

    def _pieces(
        self, batches: Iterable[NDArray[np.float32]], under_way: deque[_Batch]
    ) -> Iterator[tuple[_Batch, Piece]]:
        """Yield the pieces of each batch, which is noted as under way when it is read."""
        for number, images in enumerate(batches, start=1):
            self._check(images)
            pieces = self._contract.pieces(len(images))
            target = np.empty((len(images), self._contract.width), np.float32)
            called = f"batch {number} of a run, of size {len(images)}"
            batch = _Batch(called, images, target, len(pieces))
            under_way.append(batch)
            for piece in pieces:
                yield batch, piece

    def _fill(self, slot: Slot, turn: tuple[_Batch, Piece]) -> tuple[Graph, Piece]:
        """Have a piece in a slot's pinned memory; return the graph that computes it."""
        batch, piece = turn
        # A capture enqueues twice, so it comes before the images it would read.
        graph = self._graphs.get(slot, piece)
        self._stage(slot, batch.images, piece)
        return graph, piece

    def _stage(self, slot: Slot, batch: NDArray[np.float32], piece: Piece) -> None:
        staged = slot.staged.array
        staged[: piece.rows] = batch[piece.start : piece.start + piece.rows]
        staged[piece.rows : piece.size] = batch[piece.start]

    def _hold(self, batch: NDArray[np.float32], piece: Piece) -> Graph:
        """Have the batch on the device, and pinned on the host; return its graph."""
        self._claim()
        slots, stream = self._pipeline.slots, self._pipeline.compute
        graph = self._graphs.get(slots[0], piece)
        if self._resident is not batch:
            for slot in slots:
                self._stage(slot, batch, piece)
            stream.copy_in(slots[0].images, slots[0].staged, piece.size)
            stream.synchronize()
            self._resident = batch
        return graph

    def _named_block(
        self,
        block: Callable[[NDArray[np.float32], Piece, int], None],
        batch: NDArray[np.float32],
        piece: Piece,
        count: int,
    ) -> None:
        self._claim()
        with self._faults.named(f"a block of {count} batches of size {len(batch)}"):
            block(batch, piece, count)

    def _resident_block(self, batch: NDArray[np.float32], piece: Piece, count: int) -> None:
        graph, stream = self._hold(batch, piece), self._pipeline.compute
        for _ in range(count):
            graph.launch(stream)
        stream.synchronize()

    def _copying_block(self, batch: NDArray[np.float32], piece: Piece, count: int) -> None:
        self._hold(batch, piece)
        graphs = {slot: (self._graphs.get(slot, piece), piece) for slot in self._pipeline.slots}
        for _ in self._pipeline.through(
            range(count), lambda slot, _turn: graphs[slot], lambda _turn: nullcontext()
        ):
            pass
