"""What an engine holds of the process and the device after it was closed: counted, not timed."""

from __future__ import annotations

import gc
import sys
import time
import weakref
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import reduce
from operator import and_
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facenet_validate.base.errors import EngineError
from facenet_validate.engines.protocol import Engine
from facenet_validate.gates.verdicts import Observed

LOADS = 3
"""How often an engine is loaded and closed. The first load sets up what all later ones share."""

_PATIENCE, _PAUSE = 2.0, 0.05
"""Seconds that threads may take to end, and between two looks. They pass only if some are left."""

_MEBIBYTE = 1 << 20

_PROCESS = Path("/proc/self")

_NOT_A_RUNTIME = {"facenet_validate", "numpy", *sys.stdlib_module_names}
"""Packages whose objects in an engine are facts: names, paths, clocks, arrays."""


def given_back(
    load: Callable[[], Engine],
    batch: NDArray[np.float32],
    device_memory: Callable[[], int | None],
) -> Observed:
    """Load an engine, run it and close it several times, for ``contract.given_back``.

    What is left after *every* load but the first counts: what a library keeps for all its engines
    is kept once.

    Parameters
    ----------
    load : callable
        Loads the engine anew.
    batch : ndarray of shape (N, 3, H, W)
        float32.
    device_memory : callable
        Returns the bytes of the device's memory that are in use; None where engines use none.

    Returns
    -------
    Observed
        How many kinds of things were not given back: file handles, mapped files, threads, objects
        of the runtime, device memory; and whether ``run`` after ``close`` gives no clear error.
    """
    lefts: list[Counter[str]] = []
    known: list[weakref.ref[Any]] = []
    refusals = set()
    counted: Counter[str] = Counter()
    for number in range(LOADS):
        engine = load()
        held = [ref for ref in _runtime_objects(engine) if ref not in known]
        known += held
        engine.run(batch)
        engine.close()
        if number:
            found, counted = _left(counted, held, device_memory)
            lefts.append(found)
        else:
            counted = _settled(device_memory)
        refusals.add(_after_close(engine, batch))
    left = reduce(and_, lefts)
    told = [f"{count} {kind}" for kind, count in left.items()] + sorted(refusals - {""})
    detail = f"loaded and closed {LOADS} times"
    if told:
        detail += f"; left each time: {', '.join(told)}"
    return Observed("contract.given_back", len(told), detail)


def _counted(device_memory: Callable[[], int | None]) -> Counter[str]:
    """Return what this process holds, by kind."""
    found: Counter[str] = Counter()
    with suppress(OSError):  # where there is no /proc
        found["file handles"] = sum(1 for _ in (_PROCESS / "fd").iterdir())
        found["threads"] = sum(1 for _ in (_PROCESS / "task").iterdir())
        lines = (_PROCESS / "maps").read_bytes().splitlines()
        found["mapped files"] = sum(b" /" in line for line in lines)
    used = device_memory()
    if used is not None:
        found["MiB of device memory"] = used // _MEBIBYTE
    return found


def _runtime_objects(engine: object) -> list[weakref.ref[Any]]:
    """Return weak references to what a runtime's library made, as sessions.

    What an earlier load had too, as a device, is no engine's own.
    """
    found = []
    for value in vars(engine).values():
        if hasattr(value, "run") and hasattr(value, "close"):  # an engine that another one wraps
            found += _runtime_objects(value)
        elif type(value).__module__.partition(".")[0] not in _NOT_A_RUNTIME:
            with suppress(TypeError):  # some classes of C++ cannot be referred to weakly
                found.append(weakref.ref(value))
    return found


def _settled(device_memory: Callable[[], int | None]) -> Counter[str]:
    """Return what this process holds, once that does not change: threads need time to end."""
    gc.collect()
    end = time.monotonic() + _PATIENCE
    counted = _counted(device_memory)
    while time.monotonic() < end:
        time.sleep(_PAUSE)
        before, counted = counted, _counted(device_memory)
        if counted == before:
            break
    return counted


def _left(
    before: Mapping[str, int],
    held: list[weakref.ref[Any]],
    device_memory: Callable[[], int | None],
) -> tuple[Counter[str], Counter[str]]:
    """Return what is held more than before, and all that is held."""
    gc.collect()
    end = time.monotonic() + _PATIENCE
    while True:
        counted = _counted(device_memory)
        found = counted - Counter(before)
        found.update(f"{type(one).__name__} object" for ref in held if (one := ref()) is not None)
        if not found or time.monotonic() > end:
            return found, counted
        time.sleep(_PAUSE)


def _after_close(engine: Engine, batch: NDArray[np.float32]) -> str:
    """Return what is wrong with the error of a run after ``close``; empty if it is clear."""
    try:
        engine.run(batch)
    except EngineError:
        return ""
    except Exception as error:  # a library's own error is what must not come through
        return f"run after close gives {type(error).__name__}, not an EngineError"
    return "run after close gives embeddings"
