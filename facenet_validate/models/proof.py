"""The proof that a prepared model is the source: both are run, their embeddings compared."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from facenet_validate.base.errors import ModelError
from facenet_validate.base.preprocessing import standardize
from facenet_validate.models.onnx_session import cpu_session, reason

LIMIT = 1e-5
"""Largest difference allowed between two values of unit embeddings."""

SPREAD = 100 * LIMIT
"""Smallest difference between embeddings of several images: below it nothing would be compared."""

FACES = 4
"""Fewest faces of a proof."""

RANDOM = 4
SEED = 20180408
BATCHES = (1, 3)
"""Sizes of the prepared model's first batches. All other images go in one: N has to be dynamic."""

Runner = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Standardized faces (N, 3, H, W) → the source's own output, N rows."""


@dataclass(frozen=True)
class Proof:
    """The images on which a prepared model gave the embeddings of its source.

    Attributes
    ----------
    bound : float
        The largest difference of two values, rounded up to a power of ten: its lower digits differ
        from machine to machine.
    faces, random : int
        Images of each kind.
    source_run : str
        Who ran the source, and how.
    """

    bound: float
    faces: int
    random: int
    source_run: str

    def text(self) -> str:
        """Return the proof for people."""
        return (
            f"max difference below {self.bound:g} over {self.faces} faces and {self.random} random "
            f"images, beside {self.source_run}"
        )

    def to_json(self) -> str:
        """Return the proof as it is stored."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Proof:
        """Return a stored proof."""
        return cls(**json.loads(text))


def prove(
    prepared: onnx.ModelProto,
    run_source: Runner,
    *,
    source: str,
    source_run: str,
    faces: NDArray[np.uint8],
) -> Proof:
    """Run the source and the prepared model on the same images and compare their embeddings.

    Parameters
    ----------
    prepared : onnx.ModelProto
        Run by ONNX Runtime as an engine would, in batches of 1, 3 and the rest.
    run_source : callable
        The source's own run. Its rows are flattened and normalised in float64.
    source : str
        What to call the model in an error.
    source_run : str
        Who runs the source, for people.
    faces : ndarray of shape (N, 160, 160, 3), uint8
        RGB, aligned; at least four.

    Raises
    ------
    ModelError
        If two values differ by more than 1e-5; the worst image is named. If the source itself gives
        NaN, infinity or zeros, or one embedding for all images. If there are fewer than four faces.
    """
    size = prepared.graph.input[0].type.tensor_type.shape.dim[2].dim_value
    count = len(faces)
    if count < FACES:
        raise ModelError(
            f"{source}: {count} faces to prove the model on; expected at least {FACES}."
        )
    images = np.concatenate([standardize(faces, size), _random_images(size)])

    def called(place: int) -> str:
        kind = f"face {place}" if place < count else f"random image {place - count}"
        return f"{kind} of {count} faces and {RANDOM} random images"

    rows = run_source(images).reshape(len(images), -1)
    for place, row in enumerate(rows):
        if not np.isfinite(row).all() or not row.any():
            what = "zeros alone" if np.isfinite(row).all() else "NaN or infinity"
            raise ModelError(
                f"{source}: the source itself gives {what} for {called(place)}, in {source_run}. "
                "Expected an embedding: check the weights the model was exported with."
            )
    expected = _unit(rows)
    spread = float(np.ptp(expected, axis=0).max())
    if spread < SPREAD:
        raise ModelError(
            f"{source}: the source gives nearly the same embedding for all of {count} faces "
            f"and {RANDOM} random images: no value differs by more than {spread:.1g}, in "
            f"{source_run}. Expected {SPREAD:g} at least, or a comparison would see nothing: check "
            "the weights the model was exported with."
        )
    found = _run_prepared(prepared, images, source)
    if expected.shape != found.shape:
        raise ModelError(
            f"{source}: the source gives {expected.shape[1]} values a face, the prepared model "
            f"{found.shape[1]}. Expected the same; name the embedding with --output NAME."
        )
    differences = np.abs(expected - found).max(axis=1)
    worst = int(np.argmax(differences))  # a NaN is the largest
    if not differences[worst] <= LIMIT:
        raise ModelError(
            f"{source}: the prepared model is not the source: {called(worst)} differs by "
            f"{differences[worst]:.3g}, beside {source_run}; expected at most {LIMIT:g}. This "
            "model cannot be prepared; please report it."
        )
    return Proof(_rounded_up(float(differences[worst])), count, RANDOM, source_run)


def _rounded_up(difference: float) -> float:
    """Return the next power of ten, 1e-7 at least: float32 has no more digits."""
    return float(f"1e{max(math.ceil(math.log10(max(difference, 1e-9))), -7)}")


def _random_images(size: int) -> NDArray[np.float32]:
    """Return standard normal noise, clipped to the range of standardized faces."""
    noise = np.random.default_rng(SEED).normal(size=(RANDOM, 3, size, size))
    return np.clip(noise, -1, 1).astype(np.float32)


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float64]:
    wide = rows.astype(np.float64)
    return np.asarray(wide / np.linalg.norm(wide, axis=1, keepdims=True))


def _run_prepared(
    prepared: onnx.ModelProto, images: NDArray[np.float32], source: str
) -> NDArray[np.float32]:
    name = prepared.graph.input[0].name
    try:
        session = cpu_session(prepared)
        parts = np.split(images, np.cumsum(BATCHES))
        return np.concatenate([session.run(None, {name: part})[0] for part in parts])
    except Exception as error:  # ONNX Runtime has one class an error code
        raise ModelError(
            f"{source}: the prepared model does not run in batches of {BATCHES[0]}, {BATCHES[1]} "
            f"and more: {reason(error)}. This model cannot be prepared; please report it."
        ) from None
