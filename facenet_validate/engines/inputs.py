"""What an engine takes as a batch. Anything else is refused by name: nothing is cast unseen."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from facenet_validate.base.errors import EngineError
from facenet_validate.engines.protocol import TensorInfo


def check_batch(batch: NDArray[Any], expected: TensorInfo, artefact: str) -> None:
    """Check that a batch has an input's dtype and shape.

    A runtime may cast a batch of bytes to float32 without a word. Its embeddings then look like
    embeddings.

    Parameters
    ----------
    batch : ndarray
        What an engine was given.
    expected : TensorInfo
        The engine's input.
    artefact : str
        What the engine is, for people.

    Raises
    ------
    EngineError
        If the dtype or the shape differs. It names what was found, what was expected and what to
        do.
    """
    if isinstance(batch, np.ndarray) and batch.dtype == expected.dtype:
        sides = zip(batch.shape, expected.shape, strict=False)
        fits = all(isinstance(side, str) or found == side for found, side in sides)
        if batch.ndim == len(expected.shape) and fits:
            return
    found = f"a {type(batch).__name__}"
    if isinstance(batch, np.ndarray):
        found = f"{batch.dtype} {_text(batch.shape)}"
    raise EngineError(
        f"engine {artefact}: a batch is {found}; expected {expected.dtype} "
        f"{_text(expected.shape)}.{_advice(batch, expected)}"
    )


def _text(shape: tuple[int | str, ...]) -> str:
    return f"({', '.join(map(str, shape))})"


def _advice(batch: NDArray[Any], expected: TensorInfo) -> str:
    """Return what to do about the faults that people make; empty for others."""
    if not isinstance(batch, np.ndarray):
        return " Give it as a NumPy array."
    planes = expected.shape[1:]
    advice = ""
    if batch.shape[1:] == (*planes[1:], planes[0]):
        advice = " Move the colours first: batch.transpose(0, 3, 1, 2)."
    elif batch.shape == planes:
        advice = " Make it a batch of one: face[np.newaxis]."
    if batch.dtype == np.uint8:
        return f"{advice} Standardize the faces: (x - 127.5) / 128, as float32."
    if batch.dtype != expected.dtype:
        return f"{advice} Convert it: batch.astype(np.{expected.dtype})."
    return advice
