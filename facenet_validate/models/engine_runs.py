"""The check that an engine graph with new edges computes what it did: both run the same faces."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from facenet_validate.base.errors import ModelError
from facenet_validate.models.exported.graph_view import own_inputs
from facenet_validate.models.exported.image_input import ImageInput
from facenet_validate.models.onnx_session import cpu_session, reason, rows_in_batches

TYPES: dict[int, np.dtype[Any]] = {
    TensorProto.FLOAT: np.dtype(np.float32),
    TensorProto.FLOAT16: np.dtype(np.float16),
    TensorProto.DOUBLE: np.dtype(np.float64),
}
"""Types of faces and embeddings that a ``Cast`` brings to float32 without another scale."""

SAME = 1e-5
"""Largest allowed difference of two values where both graphs run the same batch."""

SAME_IN_HALF = 5e-3
"""The limit where an edge was FP16: ONNX Runtime leaves out a cast to FP16 and straight back."""

ALONE = 0.05
"""Largest allowed distance of a face's unit embeddings in two batch sizes.

Quantising may round anew in another batch size.
"""

BATCHES = (1, 3)
"""Smaller batch sizes that the graph with new edges has to run."""


class EdgeRunner:
    """A graph on ONNX Runtime's CPU provider, fed in its own layout, type and batch."""

    def __init__(
        self, model: onnx.ModelProto, image: ImageInput, output: onnx.ValueInfoProto, source: str
    ) -> None:
        self.image, self._output, self._source = image, output.name, source
        try:
            self._session: Any = cpu_session(model)
        except Exception as error:  # ONNX Runtime has one class an error code
            raise self._failed(error) from None
        (value,) = own_inputs(model.graph)
        self._name, self._type = value.name, TYPES[value.type.tensor_type.elem_type]

    def _failed(self, error: Exception) -> ModelError:
        return ModelError(
            f"{self._source}: onnxruntime cannot run it: {reason(error)}. Expected an engine that "
            "it runs: export it again."
        )

    def rows(self, images: NDArray[np.float32], batch: int | None = None) -> NDArray[np.float64]:
        """Return embeddings of length 1, in full batches: the fixed one, else ``batch`` or all."""
        step = self.image.batch or batch or len(images)
        found = rows_in_batches(self._run, self.image.laid_out(images), step).astype(np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):  # a row of zeros becomes NaN
            return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True))

    def _run(self, faces: NDArray[np.float32]) -> NDArray[Any]:
        try:
            (values,) = self._session.run([self._output], {self._name: faces.astype(self._type)})
        except Exception as error:  # ONNX Runtime has one class an error code
            raise self._failed(error) from None
        return np.asarray(values)


def compare(
    before: EdgeRunner,
    after: EdgeRunner,
    images: NDArray[np.float32],
    expected: NDArray[np.float64],
    limit: float,
    source: str,
) -> None:
    """Check that a graph with other edges gives the embeddings of the graph as it was.

    Parameters
    ----------
    images : ndarray of shape (N, 3, H, H)
        Standardized faces.
    expected : ndarray of shape (N, D)
        Unit embeddings of the graph as it was.
    limit : float
        Largest difference of two values in the same batch.

    Raises
    ------
    ModelError
        If it gives other embeddings, in that batch or in smaller ones.
    """
    batch = before.image.batch
    fixed = (
        f"{source}: its batch is fixed inside the graph, where it cannot be opened. Export the "
        "engine with a dynamic batch: with dynamic_axes={'input': {0: 'N'}}, for torch.onnx.export."
    )
    whole = np.resize(images, (max(batch or 0, len(images)), *images.shape[1:]))
    try:
        same = after.rows(whole, batch)[: len(images)]
        others = [after.rows(images, size)[: len(images)] for size in _sizes(len(images))]
    except ModelError:
        if batch is None:
            raise
        raise ModelError(fixed) from None
    if not _largest(same, expected) <= limit:
        raise ModelError(
            f"{source}: with the edges of the contract it gives other embeddings (a value differs "
            f"by {_largest(same, expected):.3g}). Expected the same; please report it."
        )
    for rows in others:
        if not np.linalg.norm(rows - expected, axis=1).max() <= ALONE:
            raise ModelError(fixed)


def _sizes(count: int) -> Iterable[int]:
    return (size for size in BATCHES if size <= count)


def _largest(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    return float(np.abs(a - b).max()) if a.shape == b.shape else float("inf")
