"""When an imitated fault explains an engine."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from facenet_validate.base.errors import EngineError
from facenet_validate.base.vocabulary import Precision
from facenet_validate.diagnosis.case import Case
from facenet_validate.diagnosis.diagnosis import Cause, Finding

Rows = NDArray[np.float32] | NDArray[np.float64]

MOST = 0.8
"""Share of the difference that a named fault removes."""

HALF = 0.5
"""Share that is enough where no more than the rounding of the engine's precision remains.

Also the share of what tells faces apart that a named fault follows.
"""

NOTHING = 0.01
"""Share of the difference that may be left where nothing is left to explain."""

ROUNDING: dict[Precision, float] = {"fp32": 0.99999, "fp16": 0.9995, "int8": 0.98}
"""Row cosine to FP32 down to which an engine of a precision may be sound.

The limits of ``parity.cosine_min`` of the shipped gates; FP32's is wider, since an engine may sum
in another order.
"""

ARITHMETIC = 1e-9
"""Mean squared distance of a row of length 1 below which FP32 engines agree."""


SAME = 1e-12
"""Mean squared distance of rows from their mean up to which they are one and the same."""


def unit(rows: Rows) -> NDArray[np.float64]:
    """Return rows (N, D) divided by their L2 norms; rows of zeros stay."""
    values = rows.astype(np.float64)
    return np.asarray(values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12))


def comparable(case: Case) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the embeddings (N, D) by the engine and by the reference.

    Raises
    ------
    EngineError
        If they are of other shapes, or the engine's are not finite or all zero.
    """
    found, expected = case.found, case.expected
    if found.shape != expected.shape:
        raise EngineError(
            f"the engine gives embeddings of shape {found.shape}, the reference {expected.shape}"
        )
    if wrong := int(np.sum(~np.isfinite(found).all(axis=1))):
        raise EngineError(f"{wrong} of {len(found)} embeddings are not finite")
    if not np.any(found):
        raise EngineError("every embedding is zero")
    return found.astype(np.float64), expected.astype(np.float64)


def cosine(one: Rows, other: Rows) -> float:
    """Return the mean row cosine of two arrays (N, D)."""
    return float(np.sum(unit(one) * unit(other), axis=1).mean())


def distance(one: Rows, other: Rows) -> float:
    """Return the mean squared distance of the rows of two arrays (N, D)."""
    return float(np.sum((one.astype(np.float64) - other) ** 2, axis=1).mean())


def rounding_only(cosine_after: float, precision: Precision) -> bool:
    """Say whether a row cosine leaves no more than the rounding of a precision."""
    return cosine_after >= ROUNDING[precision]


def followed(found: Rows, imitated: Rows) -> float:
    """Return the share of what tells an engine's faces apart that an imitation follows.

    Both are taken from their means. An engine that gives every face nearly the same embedding is
    near to any imitation that does so, too, but does not follow it. One that gives every face the
    very same embedding is followed by imitations that do so.
    """
    ours, theirs = (rows - rows.mean(axis=0) for rows in (found, imitated))
    spread = float(np.sum(ours**2))
    if spread <= SAME * len(found):
        return float(np.sum(theirs**2) <= SAME * len(found))
    return 1 - float(np.sum((ours - theirs) ** 2)) / spread


def judged(
    cause: Cause,
    found: Rows,
    expected: Rows,
    imitated: Rows,
    precision: Precision,
    detail: str = "",
) -> Finding:
    """Return what an imitation explains, by rows that nothing was fitted on.

    Parameters
    ----------
    found, expected, imitated : ndarray of shape (N, D)
        Embeddings by the engine, by the reference, and by the reference with the fault.
    """
    before, after = distance(found, expected), distance(found, imitated)
    removed = 1 - after / before if before > 0 else 0.0
    length = distance(imitated, np.zeros_like(imitated))
    # Of rows of length 1, the squared distance is 2 (1 - cosine).
    rounding = after <= 2 * (1 - ROUNDING[precision]) * length
    return Finding(
        cause,
        removed,
        cosine(found, expected),
        cosine(found, imitated),
        before > ARITHMETIC
        and (removed >= MOST or (removed >= HALF and rounding))
        and followed(found, imitated) >= HALF,
        detail,
    )
