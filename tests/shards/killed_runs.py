"""``embed`` in processes that are killed at a step drawn at random, then started again.

A script, started with the command as JSON, an empty folder, and how many kills. Modules are
imported once; every run is a fork. It writes what the engine embedded in each run, and what was
whole before.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import sys
from pathlib import Path
from typing import Any

from facenet_validate.cli import main
from facenet_validate.engines.onnxruntime.engine import OnnxRuntimeEngine

WRITES = ("open", "os.rename", "os.remove", "os.mkdir")
"""Audited events that are steps, where they name the folder; so is every batch."""


def run(command: list[str], folder: Path, last: int | None = None) -> tuple[int, list[str]]:
    """Run the command into a folder in a process that kills itself before step `last`.

    Returns
    -------
    tuple of (int, list of str)
        Steps that were begun, and the digests of the batches that were embedded.
    """
    log = folder.parent / "log"
    log.write_text("")
    child = os.fork()
    if not child:
        _watch(folder, log, last)
        os.dup2(2, 1)
        os._exit(main(["embed", *command, "--out", str(folder)]))
    _, status = os.waitpid(child, 0)
    assert status == (0 if last is None else signal.SIGKILL), f"the child ended with {status}"
    lines = log.read_text().splitlines()
    return len(lines), [line for line in lines if line != "write"]


def _watch(folder: Path, log: Path, last: int | None) -> None:
    steps = 0
    written = os.open(log, os.O_WRONLY | os.O_APPEND)

    def step(what: str) -> None:
        nonlocal steps
        if steps == last:
            os.kill(os.getpid(), signal.SIGKILL)
        steps += 1
        os.write(written, f"{what}\n".encode())

    def audited(event: str, arguments: tuple[Any, ...]) -> None:
        if event in WRITES and str(arguments[0]).startswith(str(folder)):
            step("write")

    plain = OnnxRuntimeEngine.run

    def noted(self: OnnxRuntimeEngine, batch: Any) -> Any:
        found = plain(self, batch)
        step(hashlib.sha256(batch.tobytes()).hexdigest())
        return found

    OnnxRuntimeEngine.run = noted  # type: ignore[method-assign]
    sys.addaudithook(audited)


def whole_shards(folder: Path) -> list[int]:
    """Return the shards of which both files are there."""
    values, digests = (
        {int(path.stem) for path in (folder / "shards").glob(f"*.{ending}")}
        for ending in ("npy", "json")
    )
    return sorted(values & digests)


def measure(command: list[str], folder: Path, kills: int) -> dict[str, Any]:
    """Run the command whole, and killed at random steps and resumed."""
    steps, whole = run(command, folder / "whole")
    resumed = []
    for place, last in enumerate(random.Random(7).sample(range(steps), kills)):
        target = folder / f"resumed{place}"
        run(command, target, last)
        before = whole_shards(target)
        _, embedded = run(command, target)
        resumed.append({"folder": target.name, "before": before, "embedded": embedded})
    return {"steps": steps, "embedded": whole, "resumed": resumed}


if __name__ == "__main__":
    arguments, place, times = sys.argv[1:]
    sys.stdout.write(json.dumps(measure(json.loads(arguments), Path(place), int(times))))
