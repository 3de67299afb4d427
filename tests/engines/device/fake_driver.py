# ruff: noqa: N802  # the driver's names
"""A CUDA driver over host memory that checks how it is used, whichever package calls it.

Copies, events and graphs are queued and done as late as the order allows: when the host waits for
them. Handles are longer than 32 bits. A handle that was given back is refused, and so is a call
without a context or inside a capture that cannot have it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tests.engines.device.fake_device import Misuse

T = TypeVar("T")

STATUSES = {
    1: "CUDA_ERROR_INVALID_VALUE",
    2: "CUDA_ERROR_OUT_OF_MEMORY",
    3: "CUDA_ERROR_NOT_INITIALIZED",
    35: "CUDA_ERROR_INSUFFICIENT_DRIVER",
    100: "CUDA_ERROR_NO_DEVICE",
    101: "CUDA_ERROR_INVALID_DEVICE",
    201: "CUDA_ERROR_INVALID_CONTEXT",
    400: "CUDA_ERROR_INVALID_HANDLE",
    401: "CUDA_ERROR_ILLEGAL_STATE",
    600: "CUDA_ERROR_NOT_READY",
    700: "CUDA_ERROR_ILLEGAL_ADDRESS",
    900: "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED",
    901: "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED",
}
UUID = bytes.fromhex("0f1e2d3c4b5a69788796a5b4c3d2e1f0")
MEMORY, USED = 2**33, 2**20
THREAD_LOCAL, NON_BLOCKING, TIMED = 1, 1, 0


class Refusal(Exception):  # noqa: N818  # a status of the driver
    """What the driver answers instead of a value."""


@dataclass(eq=False)
class Task:
    """Queued work, and the memory it touches."""

    run: Callable[[], None]
    memory: tuple[int, ...] = ()
    done: bool = False


@dataclass(eq=False)
class FakeStream:
    tasks: list[Task] = field(default_factory=list)
    captured: list[Task] | None = None
    spoilt: bool = False


@dataclass(eq=False)
class FakeEvent:
    task: Task | None = None
    stream: FakeStream | None = None
    milliseconds: float = 0.0


class FakeDriver:
    """The driver's functions, by their names without a version.

    Attributes
    ----------
    log : list of str
        Functions in the order they were called.
    live : Counter
        What is held, by kind.
    fails : dict of str to int
        Functions that give a status.
    """

    def __init__(self, devices: int = 1, **fails: int) -> None:
        self.devices = devices
        self.fails = fails
        self.log: list[str] = []
        self.held: dict[int, tuple[str, Any]] = {}
        self.contexts: list[int] = []
        self.started = False
        self.now = 0.0
        self._next = 0x7E00_0000_0000
        self._pages: list[NDArray[np.uint8]] = []

    @property
    def live(self) -> Counter[str]:
        return Counter(kind for kind, _ in self.held.values())

    def call(self, name: str, *arguments: Any) -> tuple[int, tuple[Any, ...]]:
        """Return a status, and what the function gives."""
        self.log.append(name)
        if status := self.fails.get(name):
            return status, ()
        try:
            found = getattr(self, name)(*arguments)
        except Refusal as refusal:
            return int(refusal.args[0]), ()
        if isinstance(found, tuple):
            return 0, found
        return 0, () if found is None else (found,)

    # Devices and contexts

    def cuInit(self, flags: int) -> None:
        assert flags == 0
        self.started = True

    def cuDriverGetVersion(self) -> int:
        return 12020

    def cuDeviceGetCount(self) -> int:
        self._starts()
        return self.devices

    def cuDeviceGet(self, ordinal: int) -> int:
        self._starts()
        if not 0 <= ordinal < self.devices:
            raise Refusal(101)
        return 10 + ordinal

    def cuDeviceGetName(self, device: int) -> bytes:
        return self._of(device, b"NVIDIA Fake")

    def cuDeviceGetPCIBusId(self, device: int) -> bytes:
        return self._of(device, b"0000:17:00.0")

    def cuDeviceGetUuid(self, device: int) -> bytes:
        return self._of(device, UUID)

    def cuDeviceGetAttribute(self, attribute: int, device: int) -> int:
        return self._of(device, {16: 46, 75: 8, 76: 9}[attribute])

    def cuDeviceTotalMem(self, device: int) -> int:
        return self._of(device, MEMORY)

    def cuDevicePrimaryCtxRetain(self, device: int) -> int:
        return self._hold("context", self._of(device, device))

    def cuDevicePrimaryCtxRelease(self, device: int) -> None:
        for handle, (kind, of) in self.held.items():
            if kind == "context" and of == device:
                if handle in self.contexts:
                    raise Misuse("a context released while it is current")
                del self.held[handle]
                return
        raise Refusal(201)

    def cuCtxPushCurrent(self, context: int) -> None:
        self._held("context", context)
        self.contexts.append(context)

    def cuCtxPopCurrent(self) -> int:
        self._current()
        return self.contexts.pop()

    # Memory

    def cuMemGetInfo(self) -> tuple[int, int]:
        self._current()
        return MEMORY - USED, MEMORY

    def cuMemAlloc(self, nbytes: int) -> int:
        self._outside_capture()
        return self._hold("allocation", np.zeros(nbytes, np.uint8))

    def cuMemFree(self, address: int) -> None:
        self._drop("allocation", address)

    def cuMemHostAlloc(self, nbytes: int, flags: int) -> int:
        assert flags == 0
        self._outside_capture()
        pages = np.zeros(nbytes, np.uint8)
        self._pages.append(pages)  # stay readable when they are given back
        self.held[pages.ctypes.data] = ("pinned", pages)
        return pages.ctypes.data

    def cuMemFreeHost(self, address: int) -> None:
        self._drop("pinned", address)

    def cuMemcpyHtoDAsync(self, target: int, source: int, nbytes: int, stream: int) -> None:
        there, here = self._held("allocation", target), self._held("pinned", source)
        self._queue(stream, lambda: _copy(there, here, nbytes), target, source)

    def cuMemcpyDtoHAsync(self, target: int, source: int, nbytes: int, stream: int) -> None:
        here, there = self._held("pinned", target), self._held("allocation", source)
        self._queue(stream, lambda: _copy(here, there, nbytes), target, source)

    # Streams and events

    def cuStreamCreate(self, flags: int) -> int:
        assert flags == NON_BLOCKING
        return self._hold("stream", FakeStream())

    def cuStreamDestroy(self, stream: int) -> None:
        if any(not task.done for task in self._held("stream", stream).tasks):
            raise Misuse("a stream released before its work was waited for")
        self._drop("stream", stream)

    def cuStreamSynchronize(self, stream: int) -> None:
        found: FakeStream = self._held("stream", stream)
        if found.captured is not None:
            found.spoilt = True
            raise Refusal(900)
        _run(found)

    def cuStreamWaitEvent(self, stream: int, event: int, flags: int) -> None:
        assert flags == 0
        found: FakeEvent = self._held("event", event)
        self._queue(stream, lambda: _reach(found))

    def cuEventCreate(self, flags: int) -> int:
        assert flags == TIMED
        return self._hold("event", FakeEvent())

    def cuEventDestroy(self, event: int) -> None:
        self._drop("event", event)

    def cuEventRecord(self, event: int, stream: int) -> None:
        found: FakeEvent = self._held("event", event)

        def record() -> None:
            self.now += 2.5
            found.milliseconds = self.now

        found.stream = self._held("stream", stream)
        found.task = self._queue(stream, record)

    def cuEventSynchronize(self, event: int) -> None:
        _reach(self._held("event", event))

    def cuEventElapsedTime(self, start: int, stop: int) -> float:
        events: list[FakeEvent] = [self._held("event", one) for one in (start, stop)]
        for event in events:
            if event.task is None:
                raise Refusal(400)
            if not event.task.done:
                raise Refusal(600)
        return events[1].milliseconds - events[0].milliseconds

    # Graphs

    def cuStreamBeginCapture(self, stream: int, mode: int) -> None:
        assert mode == THREAD_LOCAL
        self._held("stream", stream).captured = []

    def cuStreamEndCapture(self, stream: int) -> int:
        found: FakeStream = self._held("stream", stream)
        if found.captured is None:
            raise Refusal(401)
        tasks, found.captured = found.captured, None
        spoilt, found.spoilt = found.spoilt, False
        if spoilt:
            raise Refusal(901)
        return self._hold("graph", tasks)

    def cuGraphInstantiate(self, graph: int, flags: int) -> int:
        assert flags == 0
        return self._hold("executable", self._held("graph", graph))

    def cuGraphLaunch(self, executable: int, stream: int) -> None:
        for task in self._held("executable", executable):
            self._queue(stream, task.run, *task.memory)

    def cuGraphDestroy(self, graph: int) -> None:
        self._drop("graph", graph)

    def cuGraphExecDestroy(self, executable: int) -> None:
        self._drop("executable", executable)

    # How it is used

    def _starts(self) -> None:
        if not self.started:
            raise Refusal(3)

    def _of(self, device: int, answer: T) -> T:
        self._starts()
        if not 10 <= device < 10 + self.devices:
            raise Refusal(101)
        return answer

    def _current(self) -> None:
        if not self.contexts:
            raise Refusal(201)

    def _hold(self, kind: str, what: Any) -> int:
        if kind != "context":
            self._current()
        self._next += 0x1000
        self.held[self._next] = (kind, what)
        return self._next

    def _held(self, kind: str, handle: int) -> Any:
        if kind != "context":
            self._current()
        found, what = self.held.get(handle, ("", None))
        if found != kind:
            raise Refusal(1 if kind in ("allocation", "pinned") else 400)
        return what

    def _drop(self, kind: str, handle: int) -> None:
        self._held(kind, handle)
        for stream in self._streams():
            if any(handle in task.memory for task in stream.tasks if not task.done):
                raise Misuse(f"{kind} released while a copy uses it")
        del self.held[handle]

    def _streams(self) -> list[FakeStream]:
        return [what for kind, what in self.held.values() if kind == "stream"]

    def _outside_capture(self) -> None:
        for stream in self._streams():
            if stream.captured is not None:
                stream.spoilt = True
                raise Refusal(900)

    def _queue(self, stream: int, run: Callable[[], None], *memory: int) -> Task:
        found: FakeStream = self._held("stream", stream)
        task = Task(run, memory)
        (found.tasks if found.captured is None else found.captured).append(task)
        return task


def _copy(target: NDArray[np.uint8], source: NDArray[np.uint8], nbytes: int) -> None:
    target[:nbytes] = source[:nbytes]


def _run(stream: FakeStream, last: Task | None = None) -> None:
    for task in stream.tasks:
        if not task.done:
            task.run()
            task.done = True
        if task is last:
            return


def _reach(event: FakeEvent) -> None:
    if event.stream is not None:
        _run(event.stream, event.task)
