"""A verification set: photos, and the pairs of them that are judged."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facenet_validate.datasets.notes import FileNotes
from facenet_validate.metrics.pairs import PairList


@dataclass(frozen=True)
class PackedPhotos:
    """Aligned faces inside a set's own file.

    Attributes
    ----------
    encoded : tuple of bytes
        JPEG or PNG files, in the order of the set's names.
    digests : tuple of str
        SHA-256 of each.
    side : int
        Width and height of every face in pixels.
    """

    encoded: tuple[bytes, ...]
    digests: tuple[str, ...]
    side: int


@dataclass(frozen=True)
class VerificationSet:
    """Photos and their pairs.

    Attributes
    ----------
    name : str
        ``lfw``, ``synthetic`` or the name of a user's own set: selects the gates.
    title : str
        The set's name in messages.
    names : tuple of str
        The evaluation photos' names, sorted. They are the rows of every embedding matrix.
    paths : tuple of Path
        Their files, same order; empty if the set's own file holds the photos.
    left, right : ndarray of shape (P,)
        Rows of each pair's photos.
    identities : ndarray of shape (N,)
        Each row's person, numbered from 0.
    same : ndarray of shape (P,)
        Whether a pair is genuine.
    folds : ndarray of shape (P,)
        Each pair's fold.
    suspect : ndarray of shape (E,)
        Pairs known to be mislabelled, ascending; empty unless the pairs are LFW's own.
    calibration_names, calibration_paths : tuple
        Photos of people who are in no pair, for calibration.
    pairs_digest : str
        SHA-256 of the pairs file.
    notes : FileNotes
        Oddities of the files.
    packed : PackedPhotos or None
        The photos, if the set's own file holds them.
    groups : tuple of str
        Groups of people that the set names, sorted.
    group_of : ndarray of shape (P,)
        Each pair's group, from 0; −1 for a pair of none. Empty where the set names no group.
    """

    name: str
    title: str
    names: tuple[str, ...]
    paths: tuple[Path, ...]
    identities: NDArray[np.intp]
    left: NDArray[np.intp]
    right: NDArray[np.intp]
    same: NDArray[np.bool_]
    folds: NDArray[np.intp]
    suspect: NDArray[np.intp]
    calibration_names: tuple[str, ...]
    calibration_paths: tuple[Path, ...]
    pairs_digest: str
    notes: FileNotes = field(default_factory=FileNotes)
    packed: PackedPhotos | None = None
    groups: tuple[str, ...] = ()
    group_of: NDArray[np.intp] = field(default_factory=lambda: np.array([], np.intp))

    @property
    def people(self) -> int:
        """How many people the pairs show."""
        return int(self.identities.max()) + 1

    @cached_property
    def pairs(self) -> PairList:
        """The pairs as the metrics take them."""
        return PairList(self.left, self.right, self.same, self.folds)
