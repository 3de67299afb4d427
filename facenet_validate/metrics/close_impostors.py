"""The closest impostor pairs of a whole gallery: exact, with a small part of the pairs in memory.

Blocks of the Gram matrix in float32 only choose candidates, with a margin that no rounding error
can exceed. Every candidate is measured again in float64, and only that distance counts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facenet_validate.metrics.arrays import Floats, Integers
from facenet_validate.metrics.verification import pair_distances

_ROWS = 256  # a block of rows against 11,684 columns takes 12 MB


@dataclass(frozen=True, eq=False)
class People:
    """Who is in each image, and what an image pair of two people weighs.

    Attributes
    ----------
    of_image : (N,) intp array
        The person in each image, from 0 to I−1.
    images : (I,) intp array
        How many images show each.

    Examples
    --------
    >>> people = People(of_image=np.array([0, 0, 1, 2, 1]), images=np.array([2, 2, 1]))
    >>> people.pairs, [rows.tolist() for rows in people.genuine()]
    (3, [[0, 2], [1, 4]])
    >>> people.weights(np.array([0, 0]), np.array([2, 3])).tolist()
    [0.25, 0.5]
    """

    of_image: NDArray[np.intp]
    images: NDArray[np.intp]

    @classmethod
    def of(cls, identities: Integers) -> People:
        """Number the people of images, (N,), from 0 on."""
        _, of_image, images = np.unique(identities, return_inverse=True, return_counts=True)
        return cls(of_image, images)

    @property
    def pairs(self) -> int:
        """Pairs of two people."""
        return len(self.images) * (len(self.images) - 1) // 2

    def genuine(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return the rows of every pair of images of one person."""
        order = np.argsort(self.of_image, kind="stable")
        sides = []
        for start, count in zip(np.cumsum(self.images) - self.images, self.images, strict=True):
            if count > 1:
                sides.append(start + np.stack(np.triu_indices(count, 1)))
        left, right = order[np.concatenate(sides, axis=1)]
        return left, right

    def weights(self, left: NDArray[np.intp], right: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return each impostor pair's share in its pair of people."""
        of = self.of_image
        return np.asarray(1 / (self.images[of[left]] * self.images[of[right]]), np.float64)


@dataclass(frozen=True, eq=False)
class Impostors:
    """Every impostor pair below a distance.

    Attributes
    ----------
    limit : float
        Every impostor pair with a smaller squared L2 distance is here. Infinite if every impostor
        pair is.
    distances : (M,) float64 array
        Ascending.
    weights : (M,) float64 array
        As of :meth:`People.weights`.
    first, second : (M,) intp arrays
        The two people.
    """

    limit: float
    distances: NDArray[np.float64]
    weights: NDArray[np.float64]
    first: NDArray[np.intp]
    second: NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Blocks:
    """The gallery's distances in float32, a block of rows at a time.

    With h = ‖x‖²/2, the product of (x, −h, 1) and (y, 1, −h′) is −‖x − y‖²/2.

    Examples
    --------
    >>> people = People(of_image=np.array([0, 0, 1, 2]), images=np.array([2, 1, 1]))
    >>> blocks = Blocks.of(np.array([[0.0], [1.0], [4.0], [6.0]]), people)
    >>> impostors, weight = blocks.below(10.0, thresholds=np.array([5.0]))
    >>> impostors.distances.tolist(), impostors.first.tolist(), impostors.second.tolist()
    ([4.0, 9.0], [1, 0], [2, 1])
    >>> weight.tolist()
    [1.0]
    """

    embeddings: Floats
    people: People
    left: NDArray[np.float32]
    right: NDArray[np.float32]
    margin: float

    @classmethod
    def of(cls, embeddings: Floats, people: People) -> Blocks:
        """Prepare the two factors, and bound the rounding error of their product."""
        halves = np.einsum("ij,ij->i", embeddings, embeddings, dtype=np.float64) / 2
        ones = np.ones(len(halves))
        left = np.column_stack([embeddings, -halves, ones]).astype(np.float32)
        right = np.column_stack([embeddings, ones, -halves]).astype(np.float32)
        # Whatever the order of summation, a product of n terms is off by at most γ(n) times the
        # sum of their absolute values (Higham, Accuracy and Stability of Numerical Algorithms,
        # 2002, section 3.1), here at most ‖x‖‖y‖ + h + h′. Rounding the factors to float32 adds 2
        # terms; the rest is for the float64 distance's own error.
        terms = (left.shape[1] + 4) * 2.0**-24
        margin = terms / (1 - terms) * 4 * float(halves.max())
        return cls(embeddings, people, left, right, margin)

    def below(
        self, limit: float, thresholds: NDArray[np.float64]
    ) -> tuple[Impostors, NDArray[np.float64]]:
        """Return the impostor pairs below ``limit``; the weight of those below each threshold."""
        of = self.people.of_image
        cut = -max(limit, *thresholds.tolist(), -np.inf) / 2 - self.margin
        weight = np.zeros(len(thresholds))
        kept = []
        for start in range(0, len(of), _ROWS):
            block = self.left[start : start + _ROWS] @ self.right[start:].T
            rows, columns = np.divmod(np.flatnonzero(block > cut), block.shape[1])
            rows, columns = rows + start, columns + start
            impostor = (columns > rows) & (of[rows] != of[columns])
            rows, columns = rows[impostor], columns[impostor]
            distances = pair_distances(self.embeddings, rows, columns)
            weights = self.people.weights(rows, columns)
            weight += [weights[distances < threshold].sum() for threshold in thresholds]
            near = distances < limit
            kept.append((distances[near], weights[near], of[rows[near]], of[columns[near]]))
        distances, weights, first, second = (
            np.concatenate(part) for part in zip(*kept, strict=True)
        )
        # Tied pairs stay in the order of their rows: sums do not depend on how a sort breaks ties.
        order = np.argsort(distances, kind="stable")
        impostors = Impostors(limit, distances[order], weights[order], first[order], second[order])
        return impostors, weight

    def estimate(self, far: float) -> float:
        """Estimate the distance below which a share ``far`` of the impostors lies, by weight."""
        count = len(self.left)
        rows = np.unique(np.linspace(0, count - 1, min(count, _ROWS)).astype(np.intp))
        of, images = self.people.of_image, self.people.images
        closeness = self.left[rows] @ self.right.T
        impostor = of[rows][:, None] != of[None, :]
        weights = (1 / images[of[rows]])[:, None] / images[of][None, :]
        wanted = far * float(weights[impostor].sum())
        closeness, weights = closeness[impostor], weights[impostor]
        # Image pairs of people with many images weigh less, so more of them make up the weight.
        most = min(closeness.size, int(20 * far * closeness.size) + 1)
        top = np.argpartition(closeness, closeness.size - most)[closeness.size - most :]
        top = top[np.argsort(-closeness[top])]
        at = np.searchsorted(np.cumsum(weights[top]), wanted)
        return float(-2 * closeness[top[min(at, most - 1)]])
