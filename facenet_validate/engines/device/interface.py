"""What an engine needs of a GPU: memory, streams, events and graphs, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class GpuFacts:
    """Facts of a GPU's set-up that decide its speed; None where NVML does not tell.

    Attributes
    ----------
    driver : str or None
        Version of NVIDIA's driver.
    mig : bool or None
        Whether it is split into instances.
    power_limit : float or None
        Watts it may take.
    application_clock : int or None
        MHz that the SMs are set to run at under load.
    """

    driver: str | None
    mig: bool | None
    power_limit: float | None
    application_clock: int | None


@dataclass(frozen=True)
class GpuIdentity:
    """Properties of a GPU that a plan built on it depends on.

    Attributes
    ----------
    name : str
        As the driver names it.
    compute_capability : str
        ``9.0``.
    sm_count : int
        Streaming multiprocessors.
    memory_bytes : int
        Memory in all.
    """

    name: str
    compute_capability: str
    sm_count: int
    memory_bytes: int

    def details(self) -> str:
        """Return one line for a baseline's identity: everything but the name."""
        return (
            f"compute capability {self.compute_capability}, {self.sm_count} SMs, "
            f"{self.memory_bytes / 2**30:.1f} GiB"
        )


@dataclass(frozen=True)
class GpuAddress:
    """Names of a CUDA device by which NVML finds it. The two libraries number GPUs differently.

    Attributes
    ----------
    pci_bus_id : str
        ``0000:17:00.0``: the whole GPU, also under MIG.
    uuid : str
        In hexadecimal with hyphens: of the instance under MIG, else of the GPU. Empty if the driver
        does not tell it.
    """

    pci_bus_id: str
    uuid: str


class Resource(Protocol):
    """Something that the device holds for us until it is released."""

    def release(self) -> None:
        """Give it back; the device must have finished all work that uses it.

        It raises nothing. After a fault of the device nothing can be given back, and an error here
        would hide the one that tells of the fault.
        """
        ...


class DeviceBuffer(Resource, Protocol):
    """Memory of the device.

    Attributes
    ----------
    address : int
        Where it begins, aligned to 256 bytes.
    nbytes : int
        Its length.
    """

    @property
    def address(self) -> int: ...

    @property
    def nbytes(self) -> int: ...


class PinnedBuffer(Resource, Protocol):
    """Page-locked memory of the host, which a device copies without its help.

    Attributes
    ----------
    array : ndarray
        float32, of the shape that was asked for. Touch it only when no copy of it is under way.
    """

    @property
    def array(self) -> NDArray[np.float32]: ...


class Event(Resource, Protocol):
    """A point in a stream's work."""

    def synchronize(self) -> None:
        """Wait until the device has reached it."""
        ...

    def seconds_since(self, start: Self) -> float:
        """Return device seconds between two events that the device has reached."""
        ...


class Stream(Resource, Protocol):
    """A queue of work: in order within, unordered with other streams except by events.

    Attributes
    ----------
    handle : int
        The driver's ``CUstream``.
    """

    @property
    def handle(self) -> int: ...

    def copy_in(self, target: DeviceBuffer, source: PinnedBuffer, rows: int) -> None:
        """Queue a copy of the first rows of a pinned array to the device."""
        ...

    def copy_out(self, target: PinnedBuffer, source: DeviceBuffer, rows: int) -> None:
        """Queue a copy from the device into the first rows of a pinned array."""
        ...

    def record(self, event: Event) -> None:
        """Queue an event."""
        ...

    def wait(self, event: Event) -> None:
        """Let later work of this stream begin only after the event."""
        ...

    def synchronize(self) -> None:
        """Wait until all queued work is done."""
        ...

    def capture(self, enqueue: Callable[[], None]) -> Graph:
        """Return what a call queues in this stream, as a graph; nothing of it runs.

        Raises
        ------
        EngineError
            If the call does something that cannot be captured.
        """
        ...


class Graph(Resource, Protocol):
    """Captured work, which one call queues again."""

    def launch(self, stream: Stream) -> None:
        """Queue the work."""
        ...


class Device(Protocol):
    """A GPU, used by the thread that opened it.

    Attributes
    ----------
    identity : GpuIdentity
        Which GPU.
    """

    @property
    def identity(self) -> GpuIdentity: ...

    def allocate(self, nbytes: int) -> DeviceBuffer:
        """Return memory of the device.

        Raises
        ------
        EngineError
            If the device has not as much left.
        """
        ...

    def pinned(self, shape: tuple[int, ...]) -> PinnedBuffer:
        """Return a page-locked float32 array of the host."""
        ...

    def stream(self) -> Stream: ...

    def event(self) -> Event: ...

    def memory_used(self) -> int:
        """Return the bytes of the device that are in use, by any process."""
        ...

    def close(self) -> None:
        """Leave the device; what was made on it must have been released. It raises nothing."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...
