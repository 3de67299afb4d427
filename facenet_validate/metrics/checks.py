"""Refuse embeddings that no metric should be computed from, and say what is wrong with them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from facenet_validate.base.errors import EngineError
from facenet_validate.metrics.arrays import Floats

NORM_TOLERANCE = 0.1
"""Error of an L2 norm beyond which embeddings were never normalised. A smaller error is damage (a
quantised norm is off by 1 %): the contract gate fails it, and the metrics still show its effect."""

COLLAPSE_DISTANCE = 1e-2
"""L2 distance from the first embedding. Photos of one person are tens of times further apart."""


def check_embeddings(
    embeddings: Floats,
    names: Sequence[str],
    *,
    what: str,
    pictures: Sequence[str] | None = None,
) -> None:
    """Raise if embeddings would make every metric behind them meaningless.

    Parameters
    ----------
    embeddings : (N, D) float array
        One embedding a row.
    names : sequence of str
        The image behind each row.
    what : str
        Whose embeddings they are, for the message: ``int8 engine``.
    pictures : sequence of str, optional
        Identifies each row's picture, for example by the digest of its pixels. The default is
        ``names``. Rows of one picture may agree.

    Raises
    ------
    EngineError
        If the array is not two-dimensional, does not have one row for each image, holds NaN or
        infinity, has rows whose L2 norm is further than 0.1 from 1, has all rows within an L2
        distance of 1e-2 though the images differ, or has rows of different pictures that agree in
        every bit.

    Examples
    --------
    >>> check_embeddings(np.eye(2), ["Ann_0001.jpg", "Bob_0001.jpg"], what="int8 engine")
    >>> broken = np.array([[1.0, 0.0], [np.nan, 1.0]])
    >>> check_embeddings(broken, ["Ann_0001.jpg", "Bob_0001.jpg"], what="int8 engine")
    Traceback (most recent call last):
    facenet_validate...EngineError: int8 engine: 1 of 2 embeddings hold NaN or infinity, ...
    """
    if embeddings.ndim != 2 or not embeddings.size:
        raise EngineError(
            f"{what}: expected embeddings of shape (images, dimensions), found {embeddings.shape}"
        )
    pictures = names if pictures is None else pictures
    if len(pictures) != len(names):
        raise ValueError(f"{len(pictures)} pictures for {len(names)} names")
    if len(embeddings) != len(names):
        raise EngineError(
            f"{what}: {len(embeddings)} embeddings for {len(names)} images; expected one row an "
            "image, in order. Look for a dropped last batch or skipped images."
        )
    broken = np.flatnonzero(~np.isfinite(embeddings).all(axis=1))
    if broken.size:
        raise EngineError(
            f"{what}: {broken.size} of {len(names)} embeddings hold NaN or infinity, the first "
            f"that of {names[broken[0]]}. Look for overflow in FP16 or a zero quantization scale."
        )
    rows = embeddings.astype(np.float64)
    norms = np.linalg.norm(rows, axis=1)
    errors = np.abs(norms - 1)
    if errors.max() > NORM_TOLERANCE:
        row = int(errors.argmax())
        raise EngineError(
            f"{what}: {np.count_nonzero(errors > NORM_TOLERANCE)} of {len(names)} embeddings are "
            f"not L2-normalised: norm {norms[row]:.6g} for {names[row]}, expected 1 "
            f"± {NORM_TOLERANCE:g}. The prepared model ends in the L2 normalisation; the engine "
            "must too."
        )
    rows -= rows[0]
    spread = float(np.linalg.norm(rows, axis=1).max())
    if spread < COLLAPSE_DISTANCE and len(set(pictures)) > 1:
        raise EngineError(
            f"{what}: collapsed: all {len(names)} embeddings lie within an L2 distance of "
            f"{spread:.3g} of that of {names[0]}, though the images differ. Look for an input "
            "buffer that is never filled, or for saturated quantization."
        )
    _check_duplicates(embeddings, names, pictures, what)


def _check_duplicates(
    embeddings: Floats, names: Sequence[str], pictures: Sequence[str], what: str
) -> None:
    """Raise if two rows of different pictures agree in every bit."""
    first_with: dict[bytes, int] = {}
    repeated = []
    for row, embedding in enumerate(embeddings):
        first = first_with.setdefault(embedding.tobytes(), row)
        if pictures[first] != pictures[row]:
            repeated.append((first, row))
    if repeated:
        first, row = repeated[0]
        raise EngineError(
            f"{what}: {len(repeated)} of {len(names)} embeddings repeat that of another picture in "
            f"every bit: {names[row]} has that of {names[first]}. Look for an output or input "
            "buffer that is not filled anew for every batch, or for shifted rows."
        )
