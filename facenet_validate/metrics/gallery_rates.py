"""Error rates at one threshold over every pair of a gallery, also of mixed templates."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from facenet_validate.metrics.arrays import Floats, Integers
from facenet_validate.metrics.close_impostors import Blocks, People
from facenet_validate.metrics.operating import ErrorRates
from facenet_validate.metrics.verification import pair_distances

_ROWS = 256  # a block of rows against 11,684 columns takes 12 MB


def gallery_rates(
    templates: Floats, identities: Integers, threshold: float, *, probes: Floats | None = None
) -> ErrorRates:
    """Compare every image of a gallery with every other one at a threshold.

    Exact: equal to comparing all distances in float64. Memory does not grow with the pairs.

    Parameters
    ----------
    templates : (N, D) float array
        Embeddings by the engine that made the stored templates.
    identities : (N,) integer array
        Who is in each image.
    threshold : float
        Squared L2; pairs below it are accepted.
    probes : (N, D) float array, optional
        Embeddings of the same images by another engine, which embeds the probes. Each pair is then
        compared twice, since either image may be the stored one. By default one engine embeds
        both, and each pair is compared once.

    Returns
    -------
    ErrorRates

    Raises
    ------
    ValueError
        If shapes differ, a value is NaN or infinite, or a kind of pairs is missing.

    Examples
    --------
    >>> rows = np.array([[0.0], [1.0], [4.0], [6.0], [9.0]])
    >>> people = np.array([0, 0, 1, 1, 2])
    >>> found = gallery_rates(rows, people, 10.0)
    >>> found.false_rejects, found.false_accepts, found.impostor, found.accepts_of.tolist()
    (0, 2, 8, [1, 2, 1])
    >>> found = gallery_rates(rows, people, 10.0, probes=-rows)
    >>> found.false_rejects, found.genuine, found.false_accepts
    (2, 4, 0)
    """
    if templates.ndim != 2 or len(templates) != len(identities):
        raise ValueError(
            f"expected templates (images, dimensions) and one identity an image, found "
            f"{templates.shape} and {identities.shape}"
        )
    if probes is not None and probes.shape != templates.shape:
        raise ValueError(
            f"templates have shape {templates.shape}, probes {probes.shape}: expected the same"
        )
    both = templates if probes is None else np.concatenate([templates, probes])
    if not np.isfinite(both).all():
        raise ValueError("an embedding is NaN or infinite")
    people = People.of(identities)
    of_image, images, count = people.of_image, people.images, len(people.images)
    if count < 2 or images.max() < 2:
        raise ValueError("error rates need two people, and a person with two images")
    ways, shift = (1, 0) if probes is None else (2, len(templates))

    left, right = people.genuine()
    if probes is not None:
        left, right = np.concatenate([left, right]), np.concatenate([right, left])
    rejected = pair_distances(both, left, right + shift) >= threshold
    of = of_image[left]
    several = images > 1
    shares = np.bincount(of, rejected, count)[several] / np.bincount(of, minlength=count)[several]

    accepts, weight = _accepts(both, shift, people, threshold)
    total = len(of_image) * (len(of_image) - 1) // 2 * ways
    return ErrorRates(
        genuine=len(left),
        impostor=total - len(left),
        false_rejects=int(np.count_nonzero(rejected)),
        false_accepts=int(accepts.sum()) // 2,
        fnmr_by_person=float(shares.mean()),
        fmr_by_people=weight / (people.pairs * ways),
        accepts_of=accepts,
    )


def _accepts(
    both: Floats, shift: int, people: People, threshold: float
) -> tuple[NDArray[np.int64], float]:
    """Return the accepted impostor pairs that involve each person, (I,), and their weight."""
    blocks = Blocks.of(both, people)
    of, images = people.of_image, len(people.of_image)
    accepts, weight = np.zeros(len(people.images), np.int64), 0.0
    for start in range(0, images, _ROWS):
        # One engine's pairs lie above the diagonal; a template and a probe may be any two images.
        begin = 0 if shift else start
        columns_of = slice(begin + shift, images + shift)
        stop = min(start + _ROWS, images)
        block = blocks.left[start:stop] @ blocks.right[columns_of].T
        rows, columns = np.divmod(
            np.flatnonzero(block > -threshold / 2 - blocks.margin), block.shape[1]
        )
        closeness = block[rows, columns]
        rows, columns = rows + start, columns + begin
        impostor = of[rows] != of[columns]
        if not shift:
            impostor &= columns > rows
        # Only what rounding may have decided is measured again.
        unsure = impostor & (closeness <= -threshold / 2 + blocks.margin)
        exact = pair_distances(both, rows[unsure], columns[unsure] + shift)
        impostor[unsure] = exact < threshold
        rows, columns = rows[impostor], columns[impostor]
        for side in (rows, columns):
            accepts += np.bincount(of[side], minlength=len(accepts))
        weight += float(people.weights(rows, columns).sum())
    return accepts, weight
