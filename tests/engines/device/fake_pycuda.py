"""The part of ``pycuda.driver`` that is used, over host memory; counts what is held."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any

import numpy as np


class Error(Exception):
    """pycuda's base class: its text is a call and a status."""


class FakePycuda(SimpleNamespace):
    """Stands for the module.

    Attributes
    ----------
    log : list of str
        Calls in order.
    live : Counter
        What is held.
    fails : set of str
        Calls that raise.
    """

    Error = Error
    device_attribute = SimpleNamespace(MULTIPROCESSOR_COUNT="sms")

    def __init__(self, devices: int = 1) -> None:
        super().__init__()
        self.log: list[str] = []
        self.live: Counter[str] = Counter()
        self.fails: set[str] = set()
        self.memory: dict[int, np.ndarray[Any, Any]] = {}
        fake = self

        def call(name: str) -> None:
            fake.log.append(name)
            if name in fake.fails:
                raise Error(f"{name} failed: out of memory")

        class Held:
            kind = ""

            def __init__(self) -> None:
                call(self.kind)
                fake.live[self.kind] += 1

            def __del__(self) -> None:
                if not getattr(self, "freed", False):
                    fake.live[self.kind] -= 1

            def free(self) -> None:
                self.freed = True
                fake.live[self.kind] -= 1

        class Context:
            def push(self) -> None:
                call("push")
                fake.live["pushed"] += 1

            def detach(self) -> None:
                call("detach")
                fake.live["context"] -= 1
                fake.live["pushed"] = 0

        class Device:
            def __init__(self, ordinal: int) -> None:
                assert ordinal < devices

            @staticmethod
            def count() -> int:
                return devices

            def name(self) -> str:
                return "NVIDIA Fake"

            def compute_capability(self) -> tuple[int, int]:
                return (8, 9)

            def get_attribute(self, attribute: str) -> int:
                return {"sms": 46}[attribute]

            def total_memory(self) -> int:
                return 2**33

            def retain_primary_context(self) -> Context:
                call("retain")
                fake.live["context"] += 1
                return Context()

        class Stream(Held):
            kind = "stream"

            def __init__(self, flags: int) -> None:
                super().__init__()
                assert flags == 1
                self.handle = 0x7F00_0000_0000

            def synchronize(self) -> None:
                call("synchronize")

            def wait_for_event(self, event: object) -> None:
                call("wait")

        class Event(Held):
            kind = "event"
            milliseconds = 0.0

            def record(self, stream: object) -> None:
                assert stream is not None
                Event.milliseconds += 2.5
                self.at = Event.milliseconds

            def synchronize(self) -> None:
                call("event.synchronize")

            def time_since(self, other: Event) -> float:
                return self.at - other.at

        class Allocation(Held):
            kind = "allocation"

            def __init__(self, nbytes: int) -> None:
                super().__init__()
                self.address = 0x7E00_0000_0000 + 4096 * len(fake.memory)
                fake.memory[self.address] = np.zeros(nbytes // 4, np.float32)

            def __int__(self) -> int:
                return self.address

        class HostAllocation(Held):
            kind = "pinned"

        class Pagelocked(np.ndarray[Any, Any]):
            """pycuda gives an array whose base frees it."""

            allocation: HostAllocation

            @property
            def base(self) -> Any:
                return self.allocation

        def pagelocked_empty(shape: tuple[int, ...], dtype: Any) -> Any:
            array = np.zeros(shape, dtype).view(Pagelocked)
            array.allocation = HostAllocation()
            return array

        def memcpy_htod_async(target: int, source: Any, stream: Stream) -> None:
            call("htod")
            fake.memory[target][: source.size] = np.asarray(source).ravel()

        def memcpy_dtoh_async(target: Any, source: int, stream: Stream) -> None:
            call("dtoh")
            target[:] = fake.memory[source][: target.size].reshape(target.shape)

        self.init = lambda: call("init")
        self.Device = Device
        self.Stream = Stream
        self.Event = Event
        self.mem_alloc = Allocation
        self.pagelocked_empty = pagelocked_empty
        self.memcpy_htod_async = memcpy_htod_async
        self.memcpy_dtoh_async = memcpy_dtoh_async
        self.mem_get_info = lambda: (2**33 - 2**20, 2**33)
