"""Which photos of a set are corrupted how, the pairs they are in, and the corrupted faces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from facenet_validate.base.digests import inputs_digest
from facenet_validate.datasets.corruptions import SEVERITIES, VERSION, corrupt
from facenet_validate.datasets.faces import AlignedFaces
from facenet_validate.metrics.pairs import PairList

_SEED = 20180408


@dataclass(frozen=True, eq=False)
class CorruptedPairs:
    """Pairs of a corrupted photo with another photo as it is: a probe and an enrolled face.

    Attributes
    ----------
    photos : (C,) integer array
        The row of each corrupted picture's photo.
    severities : (C,) integer array
        Of each corrupted picture, 1 to 5.
    pairs : PairList
        Rows below ``images`` are photos as they are; row ``images + c`` is corrupted picture c.
    picture : (P,) integer array
        The corrupted picture of each pair.
    """

    photos: NDArray[np.intp]
    severities: NDArray[np.intp]
    pairs: PairList
    picture: NDArray[np.intp]


def corrupted_pairs(pairs: PairList, images: int, pictures: int) -> CorruptedPairs:
    """Choose the photos that are corrupted, and how severely: the same ones for the same pairs.

    Photos in the most pairs come first, since a picture costs the same in one pair and in six; of
    equals a fixed draw decides. Severities take turns. A set of fewer photos than ``pictures``
    begins again, with the next severity. A picture is in every pair of its photo, whichever side
    it is on.

    Parameters
    ----------
    pairs : PairList
        The set's.
    images : int
        Photos of the set.
    pictures : int
        How many corrupted pictures there are at most, of each kind of corruption.

    Returns
    -------
    CorruptedPairs

    Examples
    --------
    >>> pairs = PairList(
    ...     left=np.array([0, 0]),
    ...     right=np.array([1, 2]),
    ...     same=np.array([True, False]),
    ...     folds=np.array([0, 1]),
    ... )
    >>> found = corrupted_pairs(pairs, images=3, pictures=1)
    >>> found.photos.tolist(), found.pairs.left.tolist(), found.pairs.right.tolist()
    ([0], [3, 3], [1, 2])
    """
    counts = np.bincount(np.concatenate([pairs.left, pairs.right]), minlength=images)
    drawn = np.random.default_rng(_SEED).permutation(images)
    order = drawn[np.argsort(-counts[drawn], kind="stable")]
    order = order[counts[order] > 0]
    number = np.arange(min(pictures, len(order) * len(SEVERITIES)))
    again, place = np.divmod(number, len(order))
    photos, severities = order[place], np.array(SEVERITIES)[(place + again) % len(SEVERITIES)]
    on_left, of_left = np.nonzero(photos[:, None] == pairs.left)
    on_right, of_right = np.nonzero(photos[:, None] == pairs.right)
    which = np.concatenate([of_left, of_right])
    chosen = PairList(
        np.concatenate([images + on_left, pairs.left[of_right]]),
        np.concatenate([pairs.right[of_left], images + on_right]),
        pairs.same[which],
        pairs.folds[which],
    )
    return CorruptedPairs(photos, severities, chosen, np.concatenate([on_left, on_right]))


@dataclass(frozen=True, eq=False)
class CorruptedFaces:
    """The corrupted pictures of several kinds as faces, kind by kind, made when they are read.

    Attributes
    ----------
    faces : AlignedFaces
        The photos.
    kinds : tuple of str
        Kinds of corruption.
    photos, severities : (C,) integer arrays
        What is corrupted how severely, by every kind alike.
    """

    faces: AlignedFaces
    kinds: tuple[str, ...]
    photos: NDArray[np.intp]
    severities: NDArray[np.intp]

    @cached_property
    def names(self) -> Sequence[str]:
        """A name a picture: ``ORL_07_0003, blur 4``."""
        return [
            f"{self.faces.names[photo]}, {kind} {severity}"
            for kind in self.kinds
            for photo, severity in zip(self.photos, self.severities, strict=True)
        ]

    @cached_property
    def digest(self) -> str:
        """Of the photos and how they are corrupted; another OpenCV may blur otherwise."""
        return inputs_digest(
            {
                "faces": self.faces.digest,
                "corruptions": f"{VERSION}, opencv {cv2.__version__}",
                "kinds": list(self.kinds),
                "photos": self.photos.tolist(),
                "severities": self.severities.tolist(),
            }
        )

    def rows(self, kind: str) -> slice:
        """Return where the pictures of a kind are."""
        start = self.kinds.index(kind) * len(self.photos)
        return slice(start, start + len(self.photos))

    def changes(self, kind: str, looked_at: int) -> bool:
        """Say whether a kind changes a picture among the first few: grey photos have no colour."""
        rows = np.arange(len(self.photos))[:looked_at]
        shown = self.load(self.rows(kind).start + rows)
        return not np.array_equal(shown, self.faces.load(self.photos[rows]))

    def load(self, rows: NDArray[np.intp]) -> NDArray[np.uint8]:
        """Return pictures ``(len(rows), H, H, 3)`` RGB."""
        kinds, pictures = np.divmod(rows, len(self.photos))
        photos = self.photos[pictures]
        faces = self.faces.load(photos)
        for place, face in enumerate(faces):
            kind, severity = self.kinds[kinds[place]], int(self.severities[pictures[place]])
            faces[place] = corrupt(face, kind, severity, int(photos[place]))
        return faces
