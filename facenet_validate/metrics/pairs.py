"""The pairs of a verification set, as rows of an embedding matrix."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from facenet_validate.metrics.arrays import Booleans, Integers


@dataclass(frozen=True, eq=False)
class PairList:
    """Pairs of embeddings, which of them show one person, and the fold each belongs to.

    Attributes
    ----------
    left, right : (P,) integer arrays
        Rows of each pair's two faces, from 0.
    same : (P,) bool array
        True for genuine pairs.
    folds : (P,) integer array
        Fold of each pair, from 0, by the pair's position in the pairs file. A pair that is left
        out moves no other pair.

    Raises
    ------
    ValueError
        If the arrays are not of one length and of these kinds, there is no pair, or a number is
        negative.

    Examples
    --------
    >>> pairs = PairList(
    ...     left=np.array([0, 0, 2]),
    ...     right=np.array([1, 2, 3]),
    ...     same=np.array([True, False, True]),
    ...     folds=np.array([0, 0, 1]),
    ... )
    >>> len(pairs), pairs.without(np.array([0])).folds.tolist()
    (3, [0, 1])
    """

    left: Integers
    right: Integers
    same: Booleans
    folds: Integers

    def __post_init__(self) -> None:
        for name in ("left", "right", "folds"):
            array = getattr(self, name)
            if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer):
                raise ValueError(
                    f"{name}: expected integers of shape (pairs,), found {array.dtype} "
                    f"{array.shape}"
                )
            if array.size and array.min() < 0:
                raise ValueError(f"{name}: {array.min()} at pair {array.argmin()} is negative")
        if self.same.dtype != np.bool_:
            raise ValueError(f"same must be a boolean array, found {self.same.dtype}")
        shapes = [array.shape for array in (self.left, self.right, self.same, self.folds)]
        if len(set(shapes)) > 1 or not self.left.size:
            raise ValueError(
                f"left, right, same and folds need one value a pair and at least one pair, found "
                f"shapes {shapes}"
            )

    def __len__(self) -> int:
        return len(self.left)

    def equals(self, other: PairList) -> bool:
        """Return whether the other has the same pairs in the same order."""
        return all(
            np.array_equal(getattr(self, field.name), getattr(other, field.name))
            for field in fields(self)
        )

    def without(self, rows: Integers) -> PairList:
        """Return the pairs without some of them, for example known label errors.

        The others keep their folds. An evaluation then uses the missing pairs neither as test
        pairs nor as training pairs of any fold.

        Parameters
        ----------
        rows : (E,) integer array
            Positions of the pairs to leave out, from 0.

        Returns
        -------
        PairList

        Raises
        ------
        ValueError
            If a position is not there, or no pair remains.
        """
        rows = np.asarray(rows, np.intp)
        if rows.size and (rows.min() < 0 or rows.max() >= len(self)):
            raise ValueError(
                f"pairs {rows.min()} to {rows.max()} of {len(self)} cannot be left out"
            )
        kept = np.ones(len(self), np.bool_)
        kept[rows] = False
        return PairList(self.left[kept], self.right[kept], self.same[kept], self.folds[kept])
