"""A device that runs nothing until it is waited for, and checks how it is used.

Work is queued in streams and done as late as the order allows: when the host waits for it. What is
read too early is therefore NaN or stale, and what is overwritten too early changes the result. On
top of that each use of memory is checked against unfinished work that no stream, event or wait
orders before it. Time is counted, not measured.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from facenet_validate.base.errors import EngineError
from facenet_validate.engines.device.interface import GpuIdentity

GPU = GpuIdentity("Fake GPU", "9.0", 132, 2**30)

ENQUEUE = 5e-6
"""Host seconds a call takes."""


class Misuse(AssertionError):  # noqa: N818  # a test that misuses the device fails
    """The device was used in a way that corrupts results or leaks."""


@dataclass(eq=False)
class Task:
    """Queued work."""

    name: str
    run: Callable[[], None]
    reads: set[object]
    writes: set[object]
    seconds: float
    after: list[Task] = field(default_factory=list)
    begin: float = 0.0
    end: float = 0.0
    done: bool = False


class FakeDevice:
    """Implements ``Device``.

    Attributes
    ----------
    log : list of str
        Calls in order.
    live : Counter
        What is held, by kind.
    now : float
        The host's clock, in seconds.
    launches_left : int or None
        Launches until the device faults. Then every call of it fails, as after a fault of CUDA.
    """

    identity = GPU

    def __init__(
        self, *, copy_seconds: float = 1e-3, launch_seconds: float = 0.0, memory: int = 2**30
    ) -> None:
        self.copy_seconds = copy_seconds
        self.launch_seconds = launch_seconds
        self.memory = memory
        self.log: list[str] = []
        self.live: Counter[str] = Counter()
        self.now = 0.0
        self.used = 0
        self.streams: dict[int, FakeStream] = {}
        self.buffers: dict[int, FakeBuffer] = {}
        self.pending: list[Task] = []
        self.capturing: FakeStream | None = None
        self.closed = False
        self.launches_left: int | None = None
        self._next = 0x1000

    def clock(self) -> float:
        return self.now

    # Device

    def allocate(self, nbytes: int) -> FakeBuffer:
        self.call("allocate", capturable=False)
        if not nbytes:
            raise EngineError("CUDA: cuMemAlloc gave CUDA_ERROR_INVALID_VALUE (1).")
        if self.used + nbytes > self.memory:
            raise EngineError(f"allocating {nbytes} bytes of GPU memory failed: out of memory.")
        return FakeBuffer(self, nbytes)

    def pinned(self, shape: tuple[int, ...]) -> FakePinned:
        self.call("pinned", capturable=False)
        return FakePinned(self, shape)

    def stream(self) -> FakeStream:
        self.call("stream", capturable=False)
        return FakeStream(self)

    def event(self) -> FakeEvent:
        self.call("event")
        return FakeEvent(self)

    def memory_used(self) -> int:
        self.call("memory_used")
        return self.used

    def close(self) -> None:
        if +self.live:
            raise Misuse(f"closed with {dict(+self.live)} not released")
        self.closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()

    # For its parts and the fake TensorRT

    def call(self, name: str, *, capturable: bool = True) -> None:
        self.log.append(name)
        self.now += ENQUEUE
        if self.closed:
            raise Misuse(f"{name} on a closed device")
        if name == "launch" and self.launches_left:
            self.launches_left -= 1
        if self.lost:
            for task in self.pending:
                task.done = True
            self.pending = []
            raise EngineError(f"CUDA: {name} gave CUDA_ERROR_ILLEGAL_ADDRESS (700).")
        if self.capturing is not None and not capturable:
            raise EngineError(f"CUDA: {name} gave CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED (900).")

    @property
    def lost(self) -> bool:
        """Whether the device has faulted."""
        return self.launches_left == 0

    def address(self) -> int:
        self._next += 0x1000
        return self._next

    def queue(self, stream: FakeStream, task: Task) -> None:
        """Queue a task behind the stream's last one and check what it touches."""
        if self.capturing is stream:
            stream.captured.append(task)
            return
        if self.capturing is not None and task.name != "wait":
            # Allowed by the driver in thread-local mode, but never meant by an engine.
            raise Misuse(f"{task.name} in another stream during a capture")
        task.after = [one for one in (stream.last, *stream.waits) if one is not None]
        stream.waits = []
        before = ancestors(task)
        for other in self.pending:
            if other in before or other.done:
                continue
            shared = (task.writes & (other.reads | other.writes)) | (task.reads & other.writes)
            if shared:
                raise Misuse(f"{task.name} is not ordered after {other.name}, which uses the same")
        task.begin = max([self.now, *(one.end for one in task.after)])
        task.end = task.begin + task.seconds
        stream.last = task
        self.pending.append(task)

    def wait_for(self, task: Task | None) -> None:
        """Do a task and all it comes after, and let the host wait for its end."""
        if task is None:
            return
        before = ancestors(task) | {task}
        for one in [one for one in self.pending if one in before]:
            one.run()
            one.done = True
        self.pending = [one for one in self.pending if not one.done]
        self.now = max(self.now, task.end)

    def in_use(self, resource: object) -> str:
        """Return the name of unfinished work that uses a resource."""
        for task in self.pending:
            if resource in task.reads | task.writes:
                return task.name
        return ""


def ancestors(task: Task) -> set[Task]:
    """Return every unfinished task that must be done before."""
    found: set[Task] = set()
    left = list(task.after)
    while left:
        one = left.pop()
        if one not in found and not one.done:
            found.add(one)
            left.extend(one.after)
    return found


class Held:
    """Counts itself; may not be used or released again once released."""

    def __init__(self, device: FakeDevice, kind: str) -> None:
        self.device = device
        self.kind = kind
        self.released = False
        device.live[kind] += 1

    def alive(self) -> None:
        if self.released:
            raise Misuse(f"{self.kind} used after its release")

    def release(self) -> None:
        self.alive()
        if user := self.device.in_use(self):
            raise Misuse(f"{self.kind} released while {user} uses it")
        self.released = True
        self.device.live[self.kind] -= 1
        if not self.device.lost:
            self.device.call(f"release {self.kind}", capturable=False)


class FakeBuffer(Held):
    def __init__(self, device: FakeDevice, nbytes: int) -> None:
        super().__init__(device, "buffer")
        self.address = device.address()
        self.nbytes = nbytes
        self.values = np.full(nbytes // 4, np.nan, np.float32)
        device.buffers[self.address] = self
        device.used += nbytes

    def release(self) -> None:
        super().release()
        self.values[:] = np.nan
        self.device.used -= self.nbytes
        del self.device.buffers[self.address]


class FakePinned(Held):
    def __init__(self, device: FakeDevice, shape: tuple[int, ...]) -> None:
        super().__init__(device, "pinned")
        self.values = np.full(shape, np.nan, np.float32)

    @property
    def array(self) -> NDArray[np.float32]:
        self.alive()
        if user := self.device.in_use(self):
            raise Misuse(f"pinned memory touched by the host while {user} uses it")
        return self.values


class FakeEvent(Held):
    def __init__(self, device: FakeDevice) -> None:
        super().__init__(device, "event")
        self.task: Task | None = None

    def synchronize(self) -> None:
        self.alive()
        self.device.call("event.synchronize", capturable=False)
        self.device.wait_for(self.task)

    def seconds_since(self, start: FakeEvent) -> float:
        self.alive()
        if self.task is None or start.task is None:
            raise Misuse("time of an event that was not recorded")
        if not (self.task.done and start.task.done):
            raise Misuse("time of an event the device has not come to")
        return self.task.end - start.task.end


class FakeStream(Held):
    def __init__(self, device: FakeDevice) -> None:
        super().__init__(device, "stream")
        self.handle = device.address()
        self.last: Task | None = None
        self.waits: list[Task] = []
        self.captured: list[Task] = []
        device.streams[self.handle] = self

    def copy_in(self, target: Any, source: Any, rows: int) -> None:
        self._use("copy_in", target, source)

        def run() -> None:
            flat = source.values[:rows].ravel()
            target.values[: flat.size] = flat

        self._queue("copy_in", run, {source}, {target}, self.device.copy_seconds)

    def copy_out(self, target: Any, source: Any, rows: int) -> None:
        self._use("copy_out", target, source)

        def run() -> None:
            flat = target.values[:rows].reshape(-1)
            flat[:] = source.values[: flat.size]

        self._queue("copy_out", run, {source}, {target}, self.device.copy_seconds / 100)

    def record(self, event: Any) -> None:
        self._use("record", event)
        task = self._queue("record", lambda: None, set(), {event}, 0.0)
        event.task = task

    def wait(self, event: Any) -> None:
        self._use("wait", event)
        if event.task is None:
            raise Misuse("a stream waits for an event that was not recorded")
        self.waits.append(event.task)

    def synchronize(self) -> None:
        self._use("synchronize", capturable=False)
        self.device.wait_for(self.last)

    def capture(self, enqueue: Callable[[], None]) -> FakeGraph:
        self._use("capture")
        self.captured = []
        self.device.capturing = self
        try:
            enqueue()
        finally:
            self.device.capturing = None
        if not self.captured:
            raise Misuse("a graph of nothing")
        return FakeGraph(self.device, self.captured)

    def release(self) -> None:
        if self.last is not None and not self.last.done:
            raise Misuse("a stream released before its work was waited for")
        super().release()
        del self.device.streams[self.handle]

    def _use(self, name: str, *others: Held, capturable: bool = True) -> None:
        for one in (self, *others):
            one.alive()
        self.device.call(name, capturable=capturable)

    def _queue(
        self,
        name: str,
        run: Callable[[], None],
        reads: set[object],
        writes: set[object],
        seconds: float,
    ) -> Task:
        task = Task(name, run, reads, writes, seconds)
        self.device.queue(self, task)
        return task


class FakeGraph(Held):
    def __init__(self, device: FakeDevice, tasks: list[Task]) -> None:
        super().__init__(device, "graph")
        self.tasks = tasks

    def launch(self, stream: Any) -> None:
        self.alive()
        stream.alive()
        self.device.call("launch")
        self.device.now += self.device.launch_seconds

        def run() -> None:
            for task in self.tasks:
                task.run()

        self.device.queue(
            stream,
            Task(
                "launch",
                run,
                set().union(*(task.reads for task in self.tasks)) | {self},
                set().union(*(task.writes for task in self.tasks)),
                sum(task.seconds for task in self.tasks),
            ),
        )
