"""Two engines whose embeddings differ, and what is at hand to find out why."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facenet_validate.base.preprocessing import standardize
from facenet_validate.cache import Cache
from facenet_validate.engines.protocol import Engine
from facenet_validate.models.prepared import PreparedModel


@dataclass(frozen=True, eq=False)
class Case:
    """What a diagnosis stands on.

    Attributes
    ----------
    engine : Engine
        The engine under test. Experiments ask it for nothing but embeddings.
    reference : Engine
        The prepared FP32 model on ONNX Runtime's CPU provider. Faults are imitated on it.
    model : PreparedModel
        What the reference was made from.
    faces : ndarray of shape (N, S, S, 3)
        uint8, RGB. A few dozen aligned faces, worst row cosine first.
    names : tuple of str
        Of the faces, for people.
    graph : Path or None
        The ONNX graph that the engine computes: the supplied file, or the graph of its recipe. None
        for a plan that was built elsewhere.
    cache : Cache or None
        Where other models may be that an engine could be a stale build of.
    """

    engine: Engine
    reference: Engine
    model: PreparedModel
    faces: NDArray[np.uint8]
    names: tuple[str, ...]
    graph: Path | None = None
    cache: Cache | None = None
    _answers: dict[bytes, NDArray[np.float32]] = field(default_factory=dict, repr=False)

    @cached_property
    def batch(self) -> NDArray[np.float32]:
        """The faces as the contract has them: (N, 3, H, H), RGB, (x - 127.5) / 128."""
        return standardize(self.faces, self.model.image_size)

    @cached_property
    def expected(self) -> NDArray[np.float32]:
        """Embeddings (N, D) by the reference."""
        return self.reference.run(self.batch)

    @cached_property
    def found(self) -> NDArray[np.float32]:
        """Embeddings (N, D) by the engine under test, of all faces in one batch."""
        return self.engine.run(self.batch)

    def answers(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the reference's embeddings (N, D) of a batch (N, 3, H, H), which it keeps.

        Experiments ask for the same changed faces again; an answer takes far longer than its key.
        """
        key = sha256(batch.tobytes()).digest()
        if key not in self._answers:
            self._answers[key] = self.reference.run(batch)
        return self._answers[key]
