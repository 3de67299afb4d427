"""The contract of an engine: named float32 faces in, named float32 embeddings out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from facenet_validate.base.preprocessing import standardize
from facenet_validate.datasets.synthetic import render_photo
from facenet_validate.engines.protocol import Engine
from facenet_validate.gates.verdicts import Observed
from facenet_validate.metrics.parity import distance_kept, largest_distance, row_cosines

COLOUR_FACES = 8

SAME = [0, 1, 0, 2, 3, 0, 4, 0]
"""A batch with one face at four places, and others between."""

PLAIN = {
    "black": (0, 0, 0),
    "grey": (128, 128, 128),
    "white": (255, 255, 255),
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
}


def batch_notes(engine: Engine) -> list[str]:
    """Return what to know of the batches that an engine is given, for people; mostly nothing.

    An engine with static profiles takes any batch here, and runs none but its own sizes. What is
    compared between batches of other sizes is then one kernel with itself.
    """
    sizes = engine.info.fixed_batches
    if not sizes:
        return []
    return [
        f"its plan runs batches of {' or '.join(map(str, sizes))} alone: others are padded or cut, "
        "and run the same kernels"
    ]


def signature_differences(engine: Engine, reference: Engine) -> list[str]:
    """Return what differs between an engine's input and output and the reference's.

    Names, dtypes and shapes must be the same, and the number of faces in a batch must be open.

    Returns
    -------
    list of str
        One line a difference, for people.
    """
    differences = []
    for role in ("input", "output"):
        found, expected = getattr(engine, role), getattr(reference, role)
        sides = expected.shape[1:]
        if (found.name, found.dtype, found.shape[1:]) != (expected.name, expected.dtype, sides):
            differences.append(
                f"{role} is {found.name!r} {found.dtype} {list(found.shape)}; expected "
                f"{expected.name!r} {expected.dtype} [N, {', '.join(map(str, sides))}]"
            )
        if isinstance(found.shape[0], int):
            differences.append(f"{role} has a fixed batch of {found.shape[0]}")
    return differences


def colour_agreement(engine: Engine, reference: Engine) -> Observed:
    """Compare embeddings of drawn faces in colour, for ``contract.colour``.

    An engine that exchanges red and blue embeds grey photos as the reference does, so that a set of
    grey photos cannot show it.
    """
    faces = np.stack([render_photo(person, 0) for person in range(COLOUR_FACES)])
    batch = standardize(faces, int(reference.input.shape[-1]))
    smallest = float(row_cosines(reference.run(batch), engine.run(batch)).min())
    return Observed("contract.colour", smallest, f"{COLOUR_FACES} drawn faces; the photos are grey")


def equal_rows(engine: Engine, faces: NDArray[np.float32]) -> Observed:
    """Compare the rows that equal images of one batch get, for ``contract.equal_rows``.

    One face stands at four places of a batch between others, and four times in a batch of its own.

    Parameters
    ----------
    faces : ndarray of shape (N, 3, H, H)
        float32, standardized, five at least.

    Returns
    -------
    Observed
        The largest L2 distance between rows of the face within a batch.
    """
    mixed = engine.run(faces[SAME])[[place for place, face in enumerate(SAME) if face == 0]]
    alone = engine.run(faces[[0] * len(mixed)])
    moved = [largest_distance(rows[:1], rows[1:]) for rows in (mixed, alone)]
    told = f"one face at {len(mixed)} places, between others and alone"
    return Observed("contract.equal_rows", float(np.max(moved)), told)


def faces_apart(engine: Engine, reference: Engine, faces: NDArray[np.float32]) -> Observed:
    """Compare distances between different faces with the reference's, for ``contract.collapse``.

    Parameters
    ----------
    faces : ndarray of shape (N, 3, H, H)
        float32, standardized.

    Returns
    -------
    Observed
        As `distance_kept`.
    """
    kept = distance_kept(reference.run(faces), engine.run(faces))
    told = f"{len(faces)} faces, pairs that the reference holds farther apart than its median"
    return Observed("contract.collapse", kept, told)


def plain_pictures(engine: Engine) -> Observed:
    """Embed pictures of one colour, for ``contract.black_image``.

    Where a network divides by a spread or a length, these pictures can make it zero. An epsilon of
    1e-10, which should help then, is zero in FP16, and the embedding is NaN.

    Returns
    -------
    Observed
        The largest ``|‖e‖ − 1|``; NaN if a value is.
    """
    side = int(engine.input.shape[-1])
    pictures = np.empty((len(PLAIN), side, side, 3), np.uint8)
    pictures[:] = np.array([*PLAIN.values()], np.uint8)[:, np.newaxis, np.newaxis]
    rows = engine.run(standardize(pictures, side)).astype(np.float64)
    errors = np.abs(np.linalg.norm(rows, axis=1) - 1)
    broken = [name for name, error in zip(PLAIN, errors, strict=True) if not np.isfinite(error)]
    told = f"not finite: {', '.join(broken)}" if broken else f"pictures of {', '.join(PLAIN)} alone"
    return Observed("contract.black_image", float(errors.max()), told)
