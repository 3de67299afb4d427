"""Identification with a gallery that need not fit into memory: the nearest templates, exactly.

Blocks of products in float32 choose candidates, with a margin that no rounding error exceeds. Their
distances are measured in float64, as :mod:`~facenet_validate.metrics.identification` does.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from facenet_validate.base.workers import Threads, Workers
from facenet_validate.metrics.identification import Enrolment, Searches
from facenet_validate.metrics.rows import Rows
from facenet_validate.metrics.stripes import stripes_of
from facenet_validate.metrics.verification import cross_distances

_AT_ONCE = 16_384  # probes for which the gallery is read once
_PROBES, _TEMPLATES = 1024, 2048
_GROUPS = 64  # of a block's templates: as many nearest ones are told at most


@dataclass(frozen=True, eq=False)
class Nearest:
    """The nearest templates of other people.

    Attributes
    ----------
    own : (P,) float64 array
        Squared L2 distance to the template of the probe's own person; infinite without one.
    others : (P, k) float64 array
        The smallest distances to templates of other people, ascending; infinite beyond them.
    places : (P, k) intp array
        Their positions in the gallery. Of equal distances the lower position comes first.

    Examples
    --------
    >>> found = Nearest(
    ...     own=np.array([0.2, 0.6]),
    ...     others=np.array([[0.5, 0.9], [0.5, 0.7]]),
    ...     places=np.array([[3, 1], [0, 2]]),
    ... )
    >>> found.within(1), found.within(2)
    (0.5, 1.0)
    """

    own: NDArray[np.float64]
    others: NDArray[np.float64]
    places: NDArray[np.intp]

    def within(self, rank: int) -> float:
        """Return the share of probes whose own template is among the nearest. A tie is a miss."""
        return float(np.mean(self.own < self.others[:, rank - 1]))


def nearest(
    templates: Rows,
    probes: Rows,
    gallery: NDArray[np.intp],
    searched: NDArray[np.intp],
    mates: NDArray[np.intp] | None,
    *,
    most: int = 1,
    workers: Workers | None = None,
) -> Nearest:
    """Find the nearest templates of each probe.

    Parameters
    ----------
    templates, probes : Rows
        Embeddings of all images, by the engine of each side. They are read in blocks.
    gallery : (G,) intp array
        Rows of the enrolled images, ascending.
    searched : (P,) intp array
        Rows of the probes, ascending.
    mates : (P,) intp array, optional
        Position of each probe's own template in ``gallery``. Without it no template is its own.
    most : int
        How many are told, k, from 1 to 64.
    workers : Workers, optional
        By default this thread.

    Returns
    -------
    Nearest

    Raises
    ------
    ValueError
        If ``most`` is out of range, or an embedding is NaN or infinite.

    Examples
    --------
    >>> from facenet_validate.metrics.rows import ArrayRows
    >>> rows = ArrayRows(np.array([[0.0], [0.5], [4.0], [1.0], [9.0]]))
    >>> found = nearest(rows, rows, np.array([0, 2]), np.array([1, 3]), np.array([0, 1]), most=2)
    >>> found.own.tolist(), found.others.tolist()
    ([0.25, 9.0], [[12.25, inf], [1.0, inf]])
    """
    if not 1 <= most <= _GROUPS:
        raise ValueError(f"{most} nearest templates: expected 1 to {_GROUPS}")
    own = np.full(len(searched), np.inf)
    others = np.full((len(searched), most), np.inf)
    places = np.full((len(searched), most), -1, np.intp)
    search = partial(_search_part, templates, probes, gallery, searched, mates, most)
    for part, found in (workers or Threads())(search, stripes_of(len(searched), most=_AT_ONCE)):
        rows = slice(part.start, part.stop)
        own[rows], others[rows], places[rows] = found.own, found.others, found.places
    return Nearest(own, others, places)


def _search_part(
    templates: Rows,
    probes: Rows,
    gallery: NDArray[np.intp],
    searched: NDArray[np.intp],
    mates: NDArray[np.intp] | None,
    most: int,
    part: range,
) -> Nearest:
    """Search the whole gallery for a part of the probes."""
    rows = slice(part.start, part.stop)
    mate = None if mates is None else mates[rows]
    return _search(templates, gallery, gather(probes, searched[rows]), mate, most)


def gather(rows: Rows, wanted: NDArray[np.intp]) -> NDArray[np.float32]:
    """Return some rows, which are in ascending order, (W, D).

    Raises
    ------
    ValueError
        If a value is NaN or infinite.

    Examples
    --------
    >>> from facenet_validate.metrics.rows import ArrayRows
    >>> gather(ArrayRows(np.array([[0.0], [1.0], [4.0]])), np.array([0, 2])).tolist()
    [[0.0], [4.0]]
    """
    found = np.empty((len(wanted), rows.shape[1]), np.float32)
    done = 0
    while done < len(wanted):
        start = int(wanted[done])
        stop = int(np.searchsorted(wanted, start + _TEMPLATES))
        block = rows.block(start, int(wanted[stop - 1]) + 1)
        found[done:stop] = block[wanted[done:stop] - start]
        done = stop
    if not np.isfinite(found).all():
        raise ValueError("an embedding is NaN or infinite")
    return found


def _search(
    templates: Rows,
    gallery: NDArray[np.intp],
    probes: NDArray[np.float32],
    mates: NDArray[np.intp] | None,
    most: int,
) -> Nearest:
    """Search the whole gallery for a block of probes."""
    own = np.full(len(probes), np.inf)
    best = np.full((len(probes), most), np.inf)
    places = np.full((len(probes), most), -1, np.intp)
    longest = float(np.einsum("ij,ij->i", probes, probes, dtype=np.float64).max()) / 2
    for begin in range(0, len(gallery), _TEMPLATES):
        block = gather(templates, gallery[begin : begin + _TEMPLATES])
        halves = np.einsum("ij,ij->i", block, block, dtype=np.float64) / 2
        terms = (block.shape[1] + 6) * 2.0**-24
        margin = terms / (1 - terms) * 4 * max(longest, float(halves.max()))
        for start in range(0, len(probes), _PROBES):
            part = slice(start, start + _PROBES)
            # closeness is p·g − ‖g‖²/2; with ‖p‖²/2 less it is −distance/2.
            closeness = probes[part] @ block.T
            closeness -= halves.astype(np.float32)
            if mates is not None:
                own_place = mates[part] - begin
                here = np.flatnonzero((own_place >= 0) & (own_place < len(block)))
                own_place = own_place[here]
                own[start + here] = cross_distances(probes[part], block, here, own_place)
                closeness[here, own_place] = -np.inf
            limit = (_bound(closeness, most) - 2 * margin).astype(np.float32)
            limit = np.nextafter(limit, np.float32(-np.inf))
            row, column = np.nonzero(closeness >= limit[:, None])
            wanted = closeness[row, column] > -np.inf
            row, column = row[wanted], column[wanted]
            distances = cross_distances(probes[part], block, row, column)
            best[part], places[part] = _merged(
                best[part], places[part], row, column + begin, distances
            )
    return Nearest(own, best, places)


def _bound(closeness: NDArray[np.float32], most: int) -> NDArray[np.float64]:
    """Return what at least ``most`` entries of each row reach."""
    rows, columns = closeness.shape
    if columns < most:
        return np.full(rows, -np.inf)
    if most == 1:
        return np.asarray(closeness.max(axis=1), np.float64)
    # The largest of each group: as many entries reach the k-th largest of these.
    starts = np.linspace(0, columns, min(columns, _GROUPS), endpoint=False).astype(np.intp)
    groups = np.maximum.reduceat(closeness, starts, axis=1)
    if groups.shape[1] < most:
        return np.full(rows, -np.inf)
    return np.partition(groups, -most, axis=1)[:, -most].astype(np.float64)


def _merged(
    best: NDArray[np.float64],
    places: NDArray[np.intp],
    row: NDArray[np.intp],
    place: NDArray[np.intp],
    distances: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Put candidates among the nearest templates that were known before."""
    probes, most = best.shape
    known = np.repeat(np.arange(probes), most)
    row = np.concatenate([known, row])
    distances = np.concatenate([best.reshape(-1), distances])
    place = np.concatenate([places.reshape(-1), place])
    order = np.lexsort((place, distances, row))
    count = np.bincount(row, minlength=probes)
    first = (np.cumsum(count) - count)[:, None] + np.arange(most)
    chosen = order[first]
    return distances[chosen], place[chosen]


def search_rows(
    templates: Rows,
    probes: Rows,
    enrolment: Enrolment,
    *,
    most: int = 1,
    workers: Workers | None = None,
) -> tuple[Searches, Nearest]:
    """Search a gallery as :func:`~facenet_validate.metrics.identification.search` does.

    Parameters
    ----------
    templates, probes : Rows
        One engine alone gives the same rows twice.
    enrolment : Enrolment
    most : int
        How many nearest templates of others are told of each mated probe.
    workers : Workers, optional
        By default this thread.

    Returns
    -------
    Searches
    Nearest
        Of the mated probes.

    Raises
    ------
    ValueError
        If shapes differ, a value is NaN or infinite, or every person is enrolled.

    Examples
    --------
    >>> from facenet_validate.metrics.identification import enrol_first_images
    >>> from facenet_validate.metrics.rows import ArrayRows
    >>> rows = ArrayRows(np.array([[0.0], [0.5], [4.0], [1.0], [9.0]]))
    >>> enrolment = enrol_first_images(np.array([0, 0, 1, 1, 2]))
    >>> found, close = search_rows(rows, rows, enrolment)
    >>> found.first.tolist(), found.nearest.tolist(), close.places.tolist()
    ([True, False], [25.0], [[1], [0]])
    """
    if templates.shape != probes.shape:
        raise ValueError(
            f"templates have shape {templates.shape}, probes {probes.shape}: expected the same"
        )
    if not len(enrolment.non_mated):
        raise ValueError("every person is enrolled: false positives need people who are not")
    find = partial(nearest, templates, probes, enrolment.templates, workers=workers)
    mated = find(enrolment.mated, enrolment.mates, most=most)
    strangers = find(enrolment.non_mated, None)
    return Searches(mated.own, mated.others[:, 0], strangers.others[:, 0]), mated
