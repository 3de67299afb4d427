"""Whether an engine graph with other edges computes what it did: both are run on the same faces."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from facenet_validate.base.errors import ModelError
from facenet_validate.models.exported.anatomy import ImageInput

TYPES: dict[int, np.dtype[Any]] = {
    TensorProto.FLOAT: np.dtype(np.float32),
    TensorProto.FLOAT16: np.dtype(np.float16),
    TensorProto.DOUBLE: np.dtype(np.float64),
}
"""Types of faces and embeddings that a ``Cast`` brings to float32 without another scale."""

SAME = 1e-5
"""Largest difference of two values where both graphs run the same batch."""

SAME_IN_HALF = 5e-3
"""The same where an edge was FP16: ONNX Runtime leaves out a cast to FP16 and straight back."""

ALONE = 0.05
"""Largest distance of a face's unit embeddings in two batch sizes: quantising may round anew."""

BATCHES = (1, 3)


class EdgeRunner:
    """A graph on ONNX Runtime's CPU provider, fed as it wants to be."""

    def __init__(
        self, model: onnx.ModelProto, image: ImageInput, output: onnx.ValueInfoProto, source: str
    ) -> None:
        import onnxruntime as ort

        self._image, self._output, self._source = image, output.name, source
        options = ort.SessionOptions()
        options.log_severity_level = 4
        try:
            self._session: Any = ort.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime has one class an error code
            raise self._failed(error) from None
        (value,) = self._session.get_inputs()
        self._name = value.name
        self._type = next(
            kind for kind in TYPES.values() if value.type == _SESSION_TYPES[kind.name]
        )

    def _failed(self, error: Exception) -> ModelError:
        return ModelError(
            f"{self._source}: onnxruntime cannot run it: "
            f"{str(error).strip().splitlines()[0][:300]}. Expected an engine that it runs: export "
            "it again."
        )

    def rows(self, images: NDArray[np.float32], batch: int | None = None) -> NDArray[np.float64]:
        """Return embeddings of length 1, in full batches: the fixed one, else ``batch`` or all."""
        step = self._image.batch or batch or len(images)
        given = images if self._image.layout == "NCHW" else images.transpose(0, 2, 3, 1)
        found = []
        for start in range(0, len(given), step):
            part = np.resize(given[start : start + step], (step, *given.shape[1:]))
            try:
                (values,) = self._session.run([self._output], {self._name: part.astype(self._type)})
            except Exception as error:
                raise self._failed(error) from None
            wide = np.asarray(values, np.float64).reshape(step, -1)[: len(given) - start]
            with np.errstate(invalid="ignore", divide="ignore"):  # a row of zeros becomes NaN
                found.append(wide / np.linalg.norm(wide, axis=1, keepdims=True))
        return np.concatenate(found)


_SESSION_TYPES = {
    "float32": "tensor(float)",
    "float16": "tensor(float16)",
    "float64": "tensor(double)",
}


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
        If it gives others, in that batch or in smaller ones.
    """
    batch = before._image.batch
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
