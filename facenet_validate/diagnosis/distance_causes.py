"""Experiments on the distances between faces, which no choice of axes changes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from facenet_validate.diagnosis import causes
from facenet_validate.diagnosis.case import Case
from facenet_validate.diagnosis.diagnosis import Finding, NotTried
from facenet_validate.diagnosis.rule import ARITHMETIC, MOST, comparable, cosine, distance, unit

UNRELATED = 0.3
"""Mean row cosine up to which embeddings are not in the axes of the reference."""

TOLD_APART = 0.98
"""Share of (face, other face) in which a face is nearer to its mirror image than to the other."""

ALIKE = 0.3
"""Correlation of the cosines between faces from which two networks see the same likeness."""

LEAST = 8
"""Faces for distances."""


def distance_findings(case: Case) -> Iterator[Finding | NotTried]:
    """Compare the cosines between faces: equal in other axes, or those of another network."""
    if len(case.batch) < LEAST:
        reason = f"it needs {LEAST} faces"
        yield NotTried(causes.OUTPUT_ROTATED.name, reason)
        yield NotTried(causes.OTHER_TRAINING.name, reason)
        return
    rows, known = (unit(one) for one in comparable(case))
    ours, theirs = (_between(one) for one in (rows, known))
    # Independent noise of this size would move a cosine between two rows by this variance. Faces
    # that are all alike keep their cosines whatever happens: those must be the same ones, too.
    moved = min(2 * distance(rows, known) / rows.shape[1], float(theirs.var()))
    removed = 1 - float(np.mean((ours - theirs) ** 2)) / moved if moved > 0 else 0.0
    likeness = float(np.corrcoef(ours, theirs)[0, 1])
    before = cosine(rows, known)
    yield Finding(
        causes.OUTPUT_ROTATED,
        removed,
        before,
        cosine(rows, _turned(known, rows)),
        distance(rows, known) > ARITHMETIC and removed >= MOST,
        f"the cosines between faces correlate by {likeness:.4f}",
    )
    if before > UNRELATED:
        return
    apart = _told_apart(rows, unit(case.engine.run(case.batch[..., ::-1].copy())))
    yield Finding(
        causes.OTHER_TRAINING,
        likeness**2,
        before,
        before,
        apart >= TOLD_APART and likeness >= ALIKE,
        f"{apart:.1%} of the faces are nearer to their mirror image than to another face; "
        f"the cosines between faces correlate by {likeness:.2f}",
    )


def _between(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the cosines between different rows, (N (N - 1) / 2,)."""
    return np.asarray((rows @ rows.T)[np.triu_indices(len(rows), 1)])


def _turned(known: NDArray[np.float64], rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ``known`` turned to be nearest to ``rows``.

    The orthogonal Procrustes problem: Schönemann, Psychometrika 31, 1966. Fitted on all faces, so
    what it leaves is too small; the cosines between faces decide.
    """
    left, _, right = np.linalg.svd(known.T @ rows, full_matrices=False)
    return np.asarray(known @ left @ right)


def _told_apart(rows: NDArray[np.float64], mirrored: NDArray[np.float64]) -> float:
    """Return the share of (face, other face) with the own mirror image the nearer."""
    products = rows @ mirrored.T
    other = ~np.eye(len(rows), dtype=bool)
    return float(np.mean((np.diag(products)[:, np.newaxis] > products)[other]))
