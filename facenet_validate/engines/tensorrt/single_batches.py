"""How long single batches take on a device: computing alone, and with their copies."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, suppress

import numpy as np
from numpy.typing import NDArray

from facenet_validate.base.errors import EngineError
from facenet_validate.engines.device.interface import Device, Graph, Stream
from facenet_validate.engines.protocol import BatchTimes
from facenet_validate.engines.tensorrt.contract import Piece
from facenet_validate.engines.tensorrt.graphs import kept
from facenet_validate.engines.tensorrt.pipeline import Pipeline

AHEAD = 2
"""Replays that are queued before the oldest is waited for, as trtexec does."""


def single_batches(
    device: Device,
    pipeline: Pipeline,
    graph: Graph,
    piece: Piece,
    count: int,
    *,
    clock: Callable[[], float],
    memory_bytes: int,
) -> BatchTimes:
    """Time replays of a resident batch one by one; then the batch by itself, with its copies.

    Parameters
    ----------
    graph : Graph
        Computes the first slot, whose images are on the device and in pinned memory.
    piece : Piece
        How many images they are.
    count : int
        How many of each are timed.
    clock : callable
        Seconds of the host.
    memory_bytes : int
        What the engine holds of the device.
    """
    device_seconds, enqueue, wall = _replays(device, pipeline, graph, count, clock)
    latency = np.empty(count)
    for index in range(count):
        begin = clock()
        pipeline.alone(pipeline.slots[0], graph, piece)
        latency[index] = clock() - begin
    return BatchTimes("device", device_seconds, wall, enqueue, memory_bytes, latency)


def _replays(
    device: Device, pipeline: Pipeline, graph: Graph, count: int, clock: Callable[[], float]
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Return device and launch seconds of each replay, and the host's seconds of them all."""
    stream = pipeline.compute
    enqueue = np.empty(count)
    with ExitStack() as stack:
        events = [(kept(stack, device.event()), kept(stack, device.event())) for _ in range(count)]
        # An event's memory must outlive the work that writes it, also after an error.
        stack.callback(_finished, stream)
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
        seconds = np.array([stop.seconds_since(start) for start, stop in events])
    return seconds, enqueue, wall


def _finished(stream: Stream) -> None:
    """Wait for a stream; the error before this one, if there is one, is the one to tell."""
    with suppress(EngineError):
        stream.synchronize()
