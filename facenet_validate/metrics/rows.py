"""Embeddings that need not fit into memory: blocks of rows, and what is compared with what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from facenet_validate.metrics.arrays import Floats, Integers
from facenet_validate.metrics.close_impostors import People


class Rows(Protocol):
    """Embeddings, one a row, that are read a block at a time.

    A reader of shards is one, and :class:`ArrayRows`.

    Examples
    --------
    >>> rows: Rows = ArrayRows(np.array([[0.0], [1.0], [4.0]]))
    >>> rows.shape, rows.block(1, 3).tolist()
    ((3, 1), [[1.0], [4.0]])
    """

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and dimensions."""
        ...

    def block(self, start: int, stop: int) -> NDArray[np.float32]:
        """Return rows ``start`` to ``stop``, (stop − start, D). It may read from a disk."""
        ...


@dataclass(frozen=True, eq=False)
class ArrayRows:
    """The rows of an array in memory, or of one that `numpy.load` maps into it.

    Attributes
    ----------
    array : (N, D) float array
        Values that float32 cannot hold are rounded.

    Examples
    --------
    >>> ArrayRows(np.eye(2)).block(0, 1).dtype
    dtype('float32')
    """

    array: Floats

    def __post_init__(self) -> None:
        if self.array.ndim != 2:
            raise ValueError(f"expected embeddings (N, D), found shape {self.array.shape}")

    @property
    def shape(self) -> tuple[int, int]:
        rows, dimensions = self.array.shape
        return rows, dimensions

    def block(self, start: int, stop: int) -> NDArray[np.float32]:
        return np.asarray(self.array[start:stop], np.float32)


@dataclass(frozen=True, eq=False)
class Comparisons:
    """Which embeddings are compared: every image with every other one.

    Attributes
    ----------
    templates : Rows
        By the engine that made the stored templates.
    people : People
        Who is in each image.
    probes : Rows, optional
        The same images by the engine that embeds the probes. Each pair is then compared twice,
        since either image may be the stored one. By default one engine embeds both, and each pair
        is compared once.

    Examples
    --------
    >>> rows = ArrayRows(np.array([[0.0], [1.0], [4.0]]))
    >>> pairs = Comparisons.of(rows, np.array([7, 7, 3]))
    >>> pairs.images, pairs.ways, pairs.total, pairs.genuine_of(0, 3)[1].tolist()
    (3, 1, 3, [1])
    >>> Comparisons.of(rows, np.array([7, 7, 3]), probes=rows).total
    6
    """

    templates: Rows
    people: People
    probes: Rows | None = None

    @classmethod
    def of(
        cls, templates: Rows, identities: Integers, *, probes: Rows | None = None
    ) -> Comparisons:
        """Compare images of ``identities``, (N,).

        Raises
        ------
        ValueError
            If shapes do not fit.
        """
        if identities.shape != templates.shape[:1]:
            raise ValueError(
                f"{templates.shape[0]} embeddings, and identities of shape {identities.shape}: "
                "expected one identity an image"
            )
        if probes is not None and probes.shape != templates.shape:
            raise ValueError(
                f"templates have shape {templates.shape}, probes {probes.shape}: expected the same"
            )
        return cls(templates, People.of(identities), probes)

    @property
    def images(self) -> int:
        """Number of images."""
        return len(self.people.of_image)

    @property
    def ways(self) -> int:
        """How often two images are compared."""
        return 1 if self.probes is None else 2

    @property
    def total(self) -> int:
        """Comparisons, genuine ones and impostors."""
        return self.images * (self.images - 1) // 2 * self.ways

    @property
    def genuine_total(self) -> int:
        """Genuine comparisons."""
        images = self.people.images.astype(object)
        return int((images * (images - 1)).sum()) // 2 * self.ways

    def genuine_of(self, start: int, stop: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return template and probe of the genuine comparisons of some templates, in order."""
        of, images = self.people.of_image, self.people.images
        by_person = np.argsort(of, kind="stable")
        rows = np.arange(start, min(stop, self.images))
        count = images[of[rows]]
        left = np.repeat(rows, count)
        place = np.arange(len(left)) - np.repeat(np.cumsum(count) - count, count)
        right = by_person[np.repeat((np.cumsum(images) - images)[of[rows]], count) + place]
        wanted = right > left if self.probes is None else right != left
        return left[wanted], right[wanted]
