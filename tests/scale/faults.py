"""What goes wrong on a worker of Ray: set up in each worker by name, told by variables."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

KILLED = "FACENET_TEST_KILLED"
"""A folder: the first worker that embeds there leaves a file and is killed."""


def _die_if_first() -> None:
    """Kill this worker, unless one was killed before; leave a file that says so."""
    try:
        (Path(os.environ[KILLED]) / "killed").touch(exist_ok=False)
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


def kill_one_worker() -> None:
    """Let the first worker that embeds its second batch be killed before it answers."""
    from facenet_validate.engines.onnxruntime.engine import OnnxRuntimeEngine

    plain, runs = OnnxRuntimeEngine.run, 0

    def run(self: OnnxRuntimeEngine, batch: Any) -> Any:
        nonlocal runs
        runs += 1
        found = plain(self, batch)
        if runs == 2:
            _die_if_first()
        return found

    OnnxRuntimeEngine.run = run  # type: ignore[method-assign]


def kill_one_worker_that_compares() -> None:
    """Let the first worker that has compared a stripe be killed before it answers."""
    from facenet_validate.metrics import stripes

    plain = stripes.stripe

    def stripe(*given: Any) -> Any:
        found = plain(*given)
        _die_if_first()
        return found

    stripes.stripe = stripe  # type: ignore[assignment]


def other_embeddings() -> None:
    """Let a worker find the embeddings of another set where those of the command lie."""
    from dataclasses import replace

    from facenet_validate.shards import Shards

    plain = Shards.__init__

    def opened(self: Shards, folder: Path) -> None:
        plain(self, folder)
        self.manifest = replace(self.manifest, set="d" * 64)

    Shards.__init__ = opened  # type: ignore[method-assign]
