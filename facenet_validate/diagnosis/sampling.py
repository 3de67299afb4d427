"""The few faces that a diagnosis looks at: those that moved most, some of all, some in colour."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from facenet_validate.datasets.faces import AlignedFaces
from facenet_validate.datasets.photos import SIZE
from facenet_validate.datasets.synthetic import proof_faces
from facenet_validate.diagnosis.case import Case
from facenet_validate.metrics.parity import row_cosines

WORST, SPREAD = 16, 16


def rows_to_try(
    count: int, expected: NDArray[np.float32] | None, found: NDArray[np.float32] | None
) -> NDArray[np.intp]:
    """Return the rows of a set that a diagnosis looks at, worst row cosine first.

    Parameters
    ----------
    count : int
        Faces of the set.
    expected, found : ndarray of shape (count, D) or None
        Embeddings by the reference and by the engine. Without them rows are spread over the set.

    Returns
    -------
    ndarray of shape (R,)
        intp. Up to 16 rows that moved most, and 16 of the others, spread over the order of how far
        they moved. Without embeddings up to 32.
    """
    most = WORST + SPREAD
    if expected is None or found is None or expected.shape != found.shape:
        return np.unique(np.linspace(0, count - 1, min(count, most)).astype(np.intp))
    order = np.argsort(row_cosines(expected, found), kind="stable").astype(np.intp)
    if count <= most:
        return order
    rest = np.linspace(WORST, count - 1, SPREAD).astype(np.intp)
    return np.concatenate([order[:WORST], order[rest]])


def worst_first(case: Case) -> Case:
    """Return a case with its faces in the order of their row cosines, the smallest first."""
    if case.expected.shape != case.found.shape:
        return case
    order = np.argsort(row_cosines(case.expected, case.found), kind="stable")
    names = tuple(case.names[row] for row in order)
    return replace(case, faces=case.faces[order], names=names)


def faces_to_try(
    faces: AlignedFaces, rows: NDArray[np.intp]
) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Return faces of a set, and drawn ones in colour after them where all of these are grey.

    On grey faces no experiment can tell red from blue.

    Returns
    -------
    tuple
        uint8 faces (N, S, S, 3), RGB, and their names.

    Raises
    ------
    DatasetError
        If a face cannot be read.
    """
    chosen = faces.load(rows)
    names = tuple(faces.names[row] for row in rows)
    grey = bool((chosen == chosen[..., :1]).all())
    if not grey or faces.side != SIZE:
        return chosen, names
    drawn = proof_faces()
    return (
        np.concatenate([chosen, drawn]),
        (*names, *(f"drawn face {number}" for number in range(1, len(drawn) + 1))),
    )
