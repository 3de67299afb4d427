"""Engines on TensorRT: a plan run by CUDA graphs over a device."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from facenet_validate.base.closing import Closing
from facenet_validate.base.errors import EngineError
from facenet_validate.engines.blocks import check_scope, repetitions
from facenet_validate.engines.device.interface import Device, Graph
from facenet_validate.engines.protocol import (
    DEVICE_SCOPES,
    BatchTimes,
    ComputedPrecision,
    EngineInfo,
    LayerTimes,
    Scope,
    Work,
)
from facenet_validate.engines.tensorrt.artefacts import loaded_shares
from facenet_validate.engines.tensorrt.contract import Piece, read_contract
from facenet_validate.engines.tensorrt.graphs import Graphs, LoadedPlan, Slot, kept
from facenet_validate.engines.tensorrt.inspection import CompiledLayer
from facenet_validate.engines.tensorrt.profiling import profiled_layers

if TYPE_CHECKING:
    from facenet_validate.engines.tensorrt.library import Library
    from facenet_validate.models.prepared import PreparedModel


@dataclass(frozen=True)
class _Flight:
    """A piece under way, and where its embeddings go."""

    slot: Slot
    piece: Piece
    target: NDArray[np.float32]
    last: bool


AHEAD = 2
"""Replays that are queued before the oldest is waited for, as trtexec does."""


class TensorRtEngine(Closing):
    """A serialized plan on a GPU.

    Batches of any size run: within a profile by shape, larger ones in pieces, those below every
    profile padded. Two slots of buffers let one batch be copied in while the other is computed.

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

    Raises
    ------
    EngineError
        If TensorRT does not take the plan, it breaks the contract or memory does not suffice.
    """

    scopes: tuple[Scope, ...] = DEVICE_SCOPES

    def __init__(
        self,
        plan: bytes,
        library: Library,
        device: Device,
        *,
        info: EngineInfo,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.info = info
        self._device = device
        self._clock = clock
        self._busy = False
        self._resident: NDArray[np.float32] | None = None
        with ExitStack() as stack:
            before = device.memory_used()
            self._plan = kept(stack, LoadedPlan(plan, library, info.artefact))
            weights = max(0, device.memory_used() - before)
            self._contract = read_contract(self._plan.engine, library.module, info.artefact)
            self.input, self.output = self._contract.input, self._contract.output
            activation_bytes = self._plan.activation_bytes
            activations = (
                kept(stack, device.allocate(activation_bytes)) if activation_bytes else None
            )
            self._compute = kept(stack, device.stream())
            self._copy = kept(stack, device.stream())
            self._slots = tuple(Slot(device, self._contract, stack) for _ in range(2))
            self._graphs = kept(
                stack, Graphs(self._plan, self._contract, self._compute, activations)
            )
            self.memory_bytes = (
                weights + activation_bytes + sum(slot.device_bytes for slot in self._slots)
            )
            """Memory of the GPU: what loading took, activations and buffers, in bytes."""
            self._held: ExitStack | None = stack.pop_all()

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return embeddings ``(N, D)`` of standardized faces ``(N, 3, H, W)``.

        Raises
        ------
        EngineError
            If the engine was closed, the batch has another shape or the run fails.
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
        flights: deque[_Flight] = deque()
        turn = 0
        finished = False
        try:
            for batch in batches:
                self._check(batch)
                target = np.empty((len(batch), self._contract.width), np.float32)
                pieces = self._contract.pieces(len(batch))
                for piece in pieces:
                    if len(flights) == len(self._slots):
                        yield from self._land(flights.popleft())
                    slot = self._slots[turn % len(self._slots)]
                    turn += 1
                    self._start(slot, batch, piece)
                    flights.append(_Flight(slot, piece, target, piece is pieces[-1]))
                if not pieces:
                    while flights:
                        yield from self._land(flights.popleft())
                    yield target
            while flights:
                yield from self._land(flights.popleft())
            finished = True
        finally:
            self._busy = False
            if self._held is not None and not finished:
                # Left half way: the device must be done with the buffers before they are reused.
                self._copy.synchronize()
                self._compute.synchronize()

    def work(self, batch: NDArray[np.float32], scope: Scope) -> Work:
        """Return a block of replays of a batch that lasts about 50 ms or longer.

        ``device`` has the batch resident and synchronises once a block. ``end-to-end`` copies it
        from pinned memory, replays, copies the embeddings to pinned memory and synchronises, batch
        by batch.

        Raises
        ------
        EngineError
            If the scope is unknown, or no profile runs the batch as it is: split or padded, its
            time would be another batch's.
        """
        check_scope(self.info, scope, self.scopes)
        piece = self._whole(batch)
        block = self._resident_block if scope == "device" else self._copying_block
        block_of = partial(block, batch, piece)
        count = repetitions(block_of, self._clock)
        return Work(partial(block_of, count), count * len(batch), len(batch), scope)

    def batch_times(self, batch: NDArray[np.float32], count: int) -> BatchTimes:
        """Time replays one by one, as trtexec does.

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
        graph = self._hold(batch, piece)
        stream, clock = self._compute, self._clock
        enqueue = np.empty(count)
        with ExitStack() as stack:
            events = [
                (kept(stack, self._device.event()), kept(stack, self._device.event()))
                for _ in range(count)
            ]
            # An event's memory must outlive the work that writes it, also after an error.
            stack.callback(stream.synchronize)
            begin = clock()
            for index, (start, stop) in enumerate(events):
                if index >= AHEAD:
                    # Queued without end, a launch would wait for room and not be an enqueue.
                    events[index - AHEAD][1].synchronize()
                stream.record(start)
                before = clock()
                graph.launch(stream)
                enqueue[index] = clock() - before
                stream.record(stop)
            stream.synchronize()
            wall = clock() - begin
            device = np.array([stop.seconds_since(start) for start, stop in events])
        return BatchTimes("device", device, wall, enqueue, self.memory_bytes)

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
        self._hold(batch, piece)
        context = self._graphs.take_context(self._slots[0], piece)
        return profiled_layers(self._plan, context, self._compute, count)

    def layers(self) -> list[CompiledLayer]:
        """Return the compiled layers, as the engine inspector lists them."""
        return self._plan.layers()

    def close(self) -> None:
        """Wait for the device, then release graphs, buffers and the plan, newest first."""
        held, self._held = self._held, None
        if held is None:
            return
        self._resident = None
        with held:
            self._copy.synchronize()
            self._compute.synchronize()

    def _check_open(self) -> None:
        if self._held is None:
            raise EngineError(f"engine {self.info.artefact} was closed; load it again to run it.")

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

    def _start(self, slot: Slot, batch: NDArray[np.float32], piece: Piece) -> None:
        """Queue a piece: in on the copy stream, computed and out on the other."""
        self._check_open()
        # A capture enqueues twice, so it comes before the images it would read.
        graph = self._graphs.get(slot, piece)
        self._stage(slot, batch, piece)
        self._copy.copy_in(slot.images, slot.staged, piece.size)
        self._copy.record(slot.copied)
        self._compute.wait(slot.copied)
        graph.launch(self._compute)
        self._compute.copy_out(slot.found, slot.embeddings, piece.rows)
        self._compute.record(slot.done)

    def _land(self, flight: _Flight) -> Iterator[NDArray[np.float32]]:
        """Take a piece's embeddings; yield the batch's when they are complete."""
        self._check_open()
        slot, piece = flight.slot, flight.piece
        slot.done.synchronize()
        flight.target[piece.start : piece.start + piece.rows] = slot.found.array[: piece.rows]
        if flight.last:
            yield flight.target

    def _stage(self, slot: Slot, batch: NDArray[np.float32], piece: Piece) -> None:
        staged = slot.staged.array
        staged[: piece.rows] = batch[piece.start : piece.start + piece.rows]
        staged[piece.rows : piece.size] = batch[piece.start]

    def _hold(self, batch: NDArray[np.float32], piece: Piece) -> Graph:
        """Have the batch on the device, and pinned on the host; return its graph."""
        self._claim()
        slot = self._slots[0]
        graph = self._graphs.get(slot, piece)
        if self._resident is not batch:
            self._stage(slot, batch, piece)
            self._compute.copy_in(slot.images, slot.staged, piece.size)
            self._compute.synchronize()
            self._resident = batch
        return graph

    def _resident_block(self, batch: NDArray[np.float32], piece: Piece, count: int) -> None:
        graph = self._hold(batch, piece)
        for _ in range(count):
            graph.launch(self._compute)
        self._compute.synchronize()

    def _copying_block(self, batch: NDArray[np.float32], piece: Piece, count: int) -> None:
        graph = self._hold(batch, piece)
        slot, stream = self._slots[0], self._compute
        for _ in range(count):
            stream.copy_in(slot.images, slot.staged, piece.size)
            graph.launch(stream)
            stream.copy_out(slot.found, slot.embeddings, piece.rows)
            stream.synchronize()
