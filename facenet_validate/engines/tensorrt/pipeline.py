"""Batches on their way through a device: copied in, computed and copied out, two at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack
from typing import TypeVar

from facenet_validate.engines.device.interface import Device, Graph, Stream
from facenet_validate.engines.tensorrt.contract import Contract, Piece
from facenet_validate.engines.tensorrt.graphs import Slot, kept

_T = TypeVar("_T")


class Pipeline:
    """Two slots of buffers, and a stream each for copies in, for computing and for copies out.

    Within a stream work is in order. Between streams events order it: a slot is computed once its
    images are on the device, and copied out once it is computed. A slot is filled again after the
    host has waited for its embeddings, so nothing is overwritten that is still to be read.

    Parameters
    ----------
    device : Device
        An open device.
    contract : Contract
        How large the largest batch is.
    stack : ExitStack
        Releases streams and buffers.
    """

    def __init__(self, device: Device, contract: Contract, stack: ExitStack) -> None:
        self.compute = kept(stack, device.stream())
        self._copy_in = kept(stack, device.stream())
        self._copy_out = kept(stack, device.stream())
        self.slots = tuple(Slot(device, contract, stack) for _ in range(2))

    def through(
        self,
        turns: Iterable[_T],
        fill: Callable[[Slot, _T], tuple[Graph, Piece]],
        named: Callable[[_T], AbstractContextManager[None]],
    ) -> Iterator[tuple[Slot, _T]]:
        """Send pieces through, two at a time, and yield them in their order.

        A turn is asked for while the ones before it are under way. Only the oldest is waited for.

        Parameters
        ----------
        turns : iterable
            What each piece is, for `fill`.
        fill : callable
            Has a turn's images in a slot's pinned memory; returns the graph that computes the slot,
            and the piece.
        named : callable
            Returns what names a turn in an error of the device.

        Yields
        ------
        tuple of (Slot, turn)
            A slot whose embeddings are on the host, until the next is asked for.
        """
        flights: deque[tuple[Slot, _T]] = deque()
        for number, turn in enumerate(turns):
            if len(flights) == len(self.slots):
                yield _landed(flights, named)
            slot = self.slots[number % len(self.slots)]
            with named(turn):
                self._start(slot, *fill(slot, turn))
            flights.append((slot, turn))
        while flights:
            yield _landed(flights, named)

    def alone(self, slot: Slot, graph: Graph, piece: Piece) -> None:
        """Send one piece through one stream; return when its embeddings are on the host."""
        stream = self.compute
        stream.copy_in(slot.images, slot.staged, piece.size)
        graph.launch(stream)
        stream.copy_out(slot.found, slot.embeddings, piece.rows)
        stream.synchronize()

    @property
    def streams(self) -> tuple[Stream, ...]:
        """All its streams: once they are waited for, the device is done with every slot."""
        return self._copy_in, self.compute, self._copy_out

    def _start(self, slot: Slot, graph: Graph, piece: Piece) -> None:
        self._copy_in.copy_in(slot.images, slot.staged, piece.size)
        self._copy_in.record(slot.copied)
        self.compute.wait(slot.copied)
        graph.launch(self.compute)
        self.compute.record(slot.computed)
        self._copy_out.wait(slot.computed)
        self._copy_out.copy_out(slot.found, slot.embeddings, piece.rows)
        self._copy_out.record(slot.done)


def _landed(
    flights: deque[tuple[Slot, _T]], named: Callable[[_T], AbstractContextManager[None]]
) -> tuple[Slot, _T]:
    """Return the oldest of what is under way, once its embeddings are on the host."""
    slot, turn = flights.popleft()
    with named(turn):
        slot.done.synchronize()
    return slot, turn
