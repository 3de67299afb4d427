"""An engine of a few lines: what the contract asks of it is shown without a network."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facenet_validate.engines.inputs import check_batch
from facenet_validate.engines.protocol import TensorInfo

SIDE = 8
WIDTH = 16


def toy_faces(count: int) -> NDArray[np.float32]:
    """Return random standardized faces ``(count, 3, 8, 8)``."""
    drawn = np.random.default_rng(5).uniform(-1, 1, (count, 3, SIDE, SIDE))
    return drawn.astype(np.float32)


class ToyEngine:
    """A linear map and an L2 norm. A test's engine inherits it and breaks something."""

    input = TensorInfo("input", "float32", ("N", 3, SIDE, SIDE))
    output = TensorInfo("embeddings", "float32", ("N", WIDTH))
    largest: int | None = None

    def __init__(self) -> None:
        shape = (3 * SIDE * SIDE, WIDTH)
        self._weights = np.random.default_rng(7).standard_normal(shape).astype(np.float32)

    @property
    def info(self) -> Any:
        return SimpleNamespace(artefact="toy-9.onnx", fixed_batches=(), largest_batch=self.largest)

    def embed(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        """Return embeddings ``(N, 16)``, row by row, so that batches do not matter."""
        rows = [row.reshape(-1).astype(np.float32) @ self._weights for row in batch]
        return np.stack([row / np.linalg.norm(row) for row in rows])

    def run(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        check_batch(batch, self.input, self.info.artefact)
        return self.embed(batch)
