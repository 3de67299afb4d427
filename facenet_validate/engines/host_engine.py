"""What engines have in common that are timed by the host's clock."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from facenet_validate.base.closing import Closing
from facenet_validate.engines.blocks import calibrated, check_scope
from facenet_validate.engines.protocol import (
    HOST_SCOPES,
    BatchTimes,
    ComputedPrecision,
    EngineInfo,
    InnerTensors,
    LayerTimes,
    Scope,
    TensorInfo,
    Work,
)

if TYPE_CHECKING:
    from facenet_validate.models.prepared import PreparedModel


class HostEngine(Closing):
    """An engine that reads a batch from the host's memory and leaves embeddings there.

    A subclass sets `info`, `input` and `output`, and writes `run` and `close`.
    """

    info: EngineInfo
    input: TensorInfo
    output: TensorInfo
    scopes: tuple[Scope, ...] = HOST_SCOPES
    notes: tuple[str, ...] = ()

    @abstractmethod
    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return embeddings ``(N, D)`` of standardized faces ``(N, 3, H, W)``.

        Raises
        ------
        EngineError
            If the engine was closed or the run fails.
        """

    def run_many(self, batches: Iterable[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
        """Yield the embeddings of each batch in turn."""
        return map(self.run, batches)

    def work(self, batch: NDArray[np.float32], scope: Scope) -> Work:
        """Return a block of runs of a batch that lasts 50 ms or longer.

        On a CPU nothing is copied to a device.

        Raises
        ------
        EngineError
            If another scope than ``end-to-end`` is asked for.
        """
        check_scope(self.info, scope, self.scopes, " on a CPU")
        return calibrated(
            Work(partial(self._repeat, batch), 1, len(batch), scope), time.perf_counter
        )

    def batch_times(self, batch: NDArray[np.float32], count: int) -> BatchTimes:
        """Time single runs of a batch by the host's clock.

        Raises
        ------
        EngineError
            As ``run``.
        """
        seconds = np.empty(count)
        for index in range(count):
            begin = time.perf_counter()
            self.run(batch)
            seconds[index] = time.perf_counter() - begin
        return BatchTimes("host", seconds, float(seconds.sum()))

    def computed_precision(self, model: PreparedModel) -> ComputedPrecision:
        """Return that the backend does not tell."""
        del model
        return ComputedPrecision(
            untold=f"{self.info.backend} does not list what its kernels compute in"
        )

    def layer_times(self, batch: NDArray[np.float32], count: int) -> LayerTimes:
        """Return that layers are not timed on this backend."""
        del batch, count
        return LayerTimes(untold=f"layers are not timed on {self.info.backend}")

    def inner_tensors(self, names: Sequence[str]) -> InnerTensors:
        """Return that this backend gives no tensors inside an engine."""
        del names
        return InnerTensors(untold=f"{self.info.backend} gives no tensors inside an engine")

    def _repeat(self, batch: NDArray[np.float32], count: int) -> None:
        for _ in range(count):
            self.run(batch)
