"""Protocols: which distance between two embeddings, with flips or without, centred or not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from facenet_validate.metrics.arrays import Floats
from facenet_validate.metrics.pairs import PairList
from facenet_validate.metrics.verification import pair_distances, pair_products

Distance = Literal["squared L2", "cosine", "angle"]


@dataclass(frozen=True)
class Protocol:
    """How a pair of faces becomes a distance.

    Attributes
    ----------
    name : str
        For settings and results.
    distance : str
        ``squared L2`` (0 to 4 between unit embeddings); ``cosine``, 1 − cos (0 to 2); ``angle``,
        arccos(cos) / π (0 to 1), which davidsandberg/facenet calls cosine similarity.
    flip : bool
        Whether an embedding is that of the face followed by that of its mirror image, as
        :func:`with_flips` makes it.
    subtract_mean : bool
        Whether the mean embedding of the training folds is subtracted first. Each pair is then
        measured once per fold: as a test pair of its own fold, as a training pair of the others.

    Raises
    ------
    ValueError
        If the distance is none of these, or the mean is subtracted for squared L2, where it
        cancels.

    Examples
    --------
    >>> Protocol("mine", "angle", flip=False, subtract_mean=True).text
    'angle, no flip, mean of the training folds subtracted'
    """

    name: str
    distance: Distance
    flip: bool
    subtract_mean: bool

    def __post_init__(self) -> None:
        if self.distance not in get_args(Distance):
            raise ValueError(
                f"distance {self.distance!r}: expected one of {', '.join(get_args(Distance))}"
            )
        if self.subtract_mean and self.distance == "squared L2":
            raise ValueError("a subtracted mean cancels in squared L2: take cosine or angle")

    @property
    def text(self) -> str:
        """The protocol for people, as in ``squared L2, no flip``."""
        flip = "flip concatenated" if self.flip else "no flip"
        mean = ", mean of the training folds subtracted" if self.subtract_mean else ""
        return f"{self.distance}, {flip}{mean}"


PROTOCOLS: Mapping[str, Protocol] = MappingProxyType(
    {
        protocol.name: protocol
        for protocol in (
            Protocol("plain", "squared L2", flip=False, subtract_mean=False),
            # The flags of validate_on_lfw that reach the published accuracy of these weights.
            Protocol("davidsandberg", "angle", flip=True, subtract_mean=True),
        )
    }
)


def with_flips(embeddings: Floats, flipped: Floats) -> Floats:
    """Return each embedding followed by that of the mirrored face.

    Parameters
    ----------
    embeddings, flipped : (N, D) float arrays
        Of the faces and of the same faces mirrored left to right.

    Returns
    -------
    (N, 2 D) float array
        Of length √2 a row, not 1: squared L2 between such rows reaches 8.

    Raises
    ------
    ValueError
        If the shapes differ or are not two-dimensional.

    Examples
    --------
    >>> with_flips(np.array([[1.0, 0.0]]), np.array([[0.6, 0.8]])).tolist()
    [[1.0, 0.0, 0.6, 0.8]]
    """
    if embeddings.shape != flipped.shape or embeddings.ndim != 2:
        raise ValueError(
            f"expected two arrays (images, dimensions), found {embeddings.shape} and "
            f"{flipped.shape}"
        )
    return np.concatenate([embeddings, flipped], axis=1)


def training_means(embeddings: Floats, pairs: PairList) -> NDArray[np.float64]:
    """Return, for each fold, the mean embedding of the pairs of all other folds.

    An image counts as often as the training pairs show it, as in davidsandberg/facenet.

    Parameters
    ----------
    embeddings : (N, D) float array
    pairs : PairList
        Of at least two folds.

    Returns
    -------
    (K, D) float64 array

    Raises
    ------
    ValueError
        If all pairs are of one fold.

    Examples
    --------
    Each fold has one pair, so its mean is the mean of the other fold's two faces:

    >>> embeddings = np.array([[0.0, 0.0], [2.0, 4.0], [6.0, 0.0]])
    >>> pairs = PairList(
    ...     left=np.array([0, 0]),
    ...     right=np.array([1, 2]),
    ...     same=np.array([True, False]),
    ...     folds=np.array([0, 1]),
    ... )
    >>> training_means(embeddings, pairs).tolist()
    [[3.0, 0.0], [1.0, 2.0]]
    """
    images, folds = len(embeddings), int(pairs.folds.max()) + 1
    sizes = np.bincount(pairs.folds)
    if sizes.max() == len(pairs):
        raise ValueError("a fold without training pairs has no mean: expected at least two folds")
    cells = np.concatenate([pairs.folds * images + pairs.left, pairs.folds * images + pairs.right])
    shown = np.bincount(cells, minlength=folds * images).reshape(folds, images)
    training = (shown.sum(axis=0) - shown) / (2 * (len(pairs) - sizes))[:, None]
    return np.asarray(training @ np.asarray(embeddings, np.float64), np.float64)


def distances_at(
    embeddings: Floats,
    pairs: PairList,
    protocol: Protocol,
    means: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Return the distance of every pair, at every mean where means are given.

    The products of centred embeddings are expanded, (a − m)·(b − m) = a·b − m·(a + b) + m·m, so
    that one matrix product serves all means; in float64 this costs no digit that matters as long
    as the embeddings are not all alike.

    Parameters
    ----------
    embeddings : (N, D) float array
    pairs : PairList
    protocol : Protocol
    means : (K, D) float64 array, optional
        Subtracted from the embeddings; only for cosine and angle.

    Returns
    -------
    (P,) or (K, P) float64 array

    Raises
    ------
    ValueError
        As :func:`~facenet_validate.metrics.verification.pair_distances`.

    Examples
    --------
    >>> embeddings = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    >>> pairs = PairList(
    ...     left=np.array([0, 0]),
    ...     right=np.array([1, 2]),
    ...     same=np.array([True, False]),
    ...     folds=np.array([0, 1]),
    ... )
    >>> distances_at(embeddings, pairs, PROTOCOLS["plain"]).tolist()
    [0.0, 2.0]
    >>> angle = Protocol("angle", "angle", flip=False, subtract_mean=False)
    >>> distances_at(embeddings, pairs, angle).round(9).tolist()
    [0.0, 0.5]
    """
    left, right = pairs.left, pairs.right
    if protocol.distance == "squared L2":
        return pair_distances(embeddings, left, right)
    rows = np.asarray(embeddings, np.float64)
    products = pair_products(rows, left, right)
    squares = np.einsum("ij,ij->i", rows, rows)
    if means is not None:
        shares = means @ rows.T
        offsets = np.einsum("ij,ij->i", means, means)[:, None]
        products = products - (shares[:, left] + shares[:, right]) + offsets
        squares = np.maximum(squares - 2 * shares + offsets, 0)
    lengths = np.sqrt(squares)
    # A pair without a direction becomes NaN, which every metric refuses by name.
    with np.errstate(invalid="ignore", divide="ignore"):
        cosines = products / (lengths[..., left] * lengths[..., right])
    cosines = np.clip(cosines, -1, 1)  # rounding may exceed 1 for two equal embeddings
    distances = 1 - cosines if protocol.distance == "cosine" else np.arccos(cosines) / np.pi
    return np.asarray(distances, np.float64)
