"""One-to-many identification: rank 1, false negatives and false positives at a threshold.

The gallery holds one template of each enrolled person. A *mated* probe shows an enrolled person, a
*non-mated* probe shows somebody else. By NIST's definitions (P. Grother, M. Ngan and K. Hanaoka,
*Face Recognition Vendor Test Part 2: Identification*, NISTIR 8271, 2019, section 3):

- rank-1 accuracy is the share of mated probes whose person's template is the nearest of all;
- FNIR is the share of mated probes whose person's template is not within the threshold;
- FPIR is the share of non-mated probes with any template within the threshold.

FNIR is counted with a candidate list that is as long as the gallery: the threshold alone decides.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facenet_validate.metrics.arrays import Booleans, Floats, Integers
from facenet_validate.metrics.by_person import LossByPerson, loss_by_person

FPIR_TARGETS = (0.01, 0.001)
"""False-positive rates at which thresholds are chosen. The first is the one that gates judge."""

_ROWS = 256


@dataclass(frozen=True, eq=False)
class Enrolment:
    """Who is enrolled with which image, and which images are searched for.

    Attributes
    ----------
    templates : (G,) intp array
        Rows of the enrolled images, one a person.
    mated : (M,) intp array
        Rows of the other images of enrolled people.
    mates : (M,) intp array
        For each mated probe, the position of its person's template in ``templates``.
    non_mated : (U,) intp array
        Rows of the images of people who are not enrolled.
    """

    templates: NDArray[np.intp]
    mated: NDArray[np.intp]
    mates: NDArray[np.intp]
    non_mated: NDArray[np.intp]


def enrol_first_images(identities: Integers) -> Enrolment:
    """Enrol each person of two images or more with their first image.

    Their other images are mated probes. People of one image are not enrolled, and their images are
    non-mated probes.

    Parameters
    ----------
    identities : (N,) integer array
        Who is in each image. The first image is the first in the order of rows.

    Returns
    -------
    Enrolment

    Raises
    ------
    ValueError
        If fewer than two people have two images.

    Examples
    --------
    >>> found = enrol_first_images(np.array([7, 7, 3, 5, 5, 7]))
    >>> found.templates.tolist(), found.mated.tolist(), found.mates.tolist()
    ([0, 3], [1, 4, 5], [0, 1, 0])
    >>> found.non_mated.tolist()
    [2]
    """
    _, first, of_image, images = np.unique(
        identities, return_index=True, return_inverse=True, return_counts=True
    )
    enrolled = images > 1
    if np.count_nonzero(enrolled) < 2:
        raise ValueError(
            f"{np.count_nonzero(enrolled)} people have two images or more: a gallery needs two"
        )
    templates = np.sort(first[enrolled])
    place = np.full(len(images), -1)
    place[of_image[templates]] = np.arange(len(templates))
    rows = np.arange(len(of_image))
    mated = rows[enrolled[of_image] & (rows != first[of_image])]
    return Enrolment(templates, mated, place[of_image[mated]], rows[~enrolled[of_image]])


@dataclass(frozen=True, eq=False)
class Searches:
    """What searching a gallery found.

    Attributes
    ----------
    mate : (M,) float64 array
        Squared L2 distance of each mated probe to its person's template.
    other : (M,) float64 array
        The smallest squared L2 distance of each mated probe to a template of someone else.
    nearest : (U,) float64 array
        The smallest squared L2 distance of each non-mated probe to any template.

    Examples
    --------
    >>> found = Searches(
    ...     mate=np.array([0.2, 0.9, 0.5]),
    ...     other=np.array([0.8, 0.7, 0.5]),
    ...     nearest=np.array([0.6, 1.1, 0.4, 0.9]),
    ... )
    >>> found.first.tolist(), found.threshold(0.25), found.fpir(0.6), round(found.fnir(0.6), 3)
    ([True, False, False], 0.6, 0.25, 0.333)
    """

    mate: NDArray[np.float64]
    other: NDArray[np.float64]
    nearest: NDArray[np.float64]

    @property
    def first(self) -> Booleans:
        """Which mated probes have their person's template as the nearest, (M,). A tie is a miss."""
        return np.asarray(self.mate < self.other, np.bool_)

    def found(self, threshold: float) -> Booleans:
        """Return which mated probes have their person's template below a threshold, (M,)."""
        return np.asarray(self.mate < threshold, np.bool_)

    def fnir(self, threshold: float) -> float:
        """Return the share of mated probes whose person's template is not below a threshold."""
        return float(np.mean(~self.found(threshold)))

    def fpir(self, threshold: float) -> float:
        """Return the share of non-mated probes with a template below a threshold."""
        return float(np.mean(self.nearest < threshold))

    def threshold(self, fpir: float) -> float:
        """Return the largest threshold at which at most ``fpir`` of the non-mated probes match.

        It is the distance of the first non-mated probe that may not match any more. Infinite if
        all of them may match.
        """
        allowed = int(np.floor(fpir * len(self.nearest) + 1e-9))
        ascending = np.sort(self.nearest)
        return float(ascending[allowed]) if allowed < len(ascending) else float("inf")


def search(templates: Floats, probes: Floats, enrolment: Enrolment) -> Searches:
    """Search the gallery for every probe, a block of probes at a time.

    Parameters
    ----------
    templates : (N, D) float array
        Embeddings of all images by the engine that made the stored templates.
    probes : (N, D) float array
        Embeddings of all images by the engine that embeds the probes. One engine alone gives the
        same array twice.
    enrolment : Enrolment

    Returns
    -------
    Searches
        Distances in float64.

    Raises
    ------
    ValueError
        If the two arrays differ in shape, a value is NaN or infinite, or every person is enrolled.

    Examples
    --------
    Person 0 is enrolled at 0, person 1 at 4. The probe of person 1 lies at 1, nearer to person 0:

    >>> embeddings = np.array([[0.0], [0.5], [4.0], [1.0], [9.0]])
    >>> enrolment = enrol_first_images(np.array([0, 0, 1, 1, 2]))
    >>> found = search(embeddings, embeddings, enrolment)
    >>> found.mate.tolist(), found.other.tolist(), found.first.tolist()
    ([0.25, 9.0], [12.25, 1.0], [True, False])
    >>> found.nearest.tolist()
    [25.0]
    """
    if templates.shape != probes.shape:
        raise ValueError(
            f"templates have shape {templates.shape}, probes {probes.shape}: expected the same"
        )
    if not (np.isfinite(templates).all() and np.isfinite(probes).all()):
        raise ValueError("an embedding is NaN or infinite")
    if not len(enrolment.non_mated):
        raise ValueError("every person is enrolled: false positives need people who are not")
    gallery = np.asarray(templates[enrolment.templates], np.float64)
    mated = np.asarray(probes[enrolment.mated], np.float64)
    return Searches(
        mate=_squares(mated - gallery[enrolment.mates]),
        other=_nearest(mated, gallery, enrolment.mates),
        nearest=_nearest(np.asarray(probes[enrolment.non_mated], np.float64), gallery, None),
    )


def _nearest(
    probes: NDArray[np.float64], gallery: NDArray[np.float64], mates: NDArray[np.intp] | None
) -> NDArray[np.float64]:
    """Return each probe's smallest squared distance to a template that is not its mate's, (P,)."""
    halves = _squares(gallery) / 2
    found = np.empty(len(probes))
    for start in range(0, len(probes), _ROWS):
        block = probes[start : start + _ROWS]
        # ‖g‖²/2 − p·g orders the templates as ‖p − g‖² does.
        order = halves - block @ gallery.T
        if mates is not None:
            order[np.arange(len(block)), mates[start : start + _ROWS]] = np.inf
        # Measured again as the mate's distance is, so that equal templates tie.
        found[start : start + _ROWS] = _squares(block - gallery[order.argmin(axis=1)])
    return found


def _squares(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.einsum("ij,ij->i", rows, rows), np.float64)


@dataclass(frozen=True, eq=False)
class Identification:
    """An engine's identification at the reference's frozen thresholds, beside the reference's.

    Attributes
    ----------
    people, templates, mated, non_mated : int
        People with a probe or a template, and how many templates and probes there are.
    targets : tuple of float
        The reference's false-positive rates that its thresholds were chosen for.
    thresholds : tuple of float
        Squared L2, one a target: the largest at which the reference keeps to it.
    rank1, reference_rank1 : float
        Share of the mated probes.
    fnir, fpir : tuple of float
        The engine's at the reference's thresholds.
    reference_fnir, reference_fpir : tuple of float
        The reference's.
    own_thresholds, own_fnir : tuple of float
        The engine's at thresholds that it would choose itself.
    rank1_loss, fnir_loss : LossByPerson
        Mean over enrolled people of what the engine loses; ``fnir_loss`` is at the first target.
    """

    people: int
    templates: int
    mated: int
    non_mated: int
    targets: tuple[float, ...]
    thresholds: tuple[float, ...]
    rank1: float
    reference_rank1: float
    fnir: tuple[float, ...]
    fpir: tuple[float, ...]
    reference_fnir: tuple[float, ...]
    reference_fpir: tuple[float, ...]
    own_thresholds: tuple[float, ...]
    own_fnir: tuple[float, ...]
    rank1_loss: LossByPerson
    fnir_loss: LossByPerson


def compare_searches(
    reference: Searches,
    engine: Searches,
    enrolment: Enrolment,
    targets: tuple[float, ...] = FPIR_TARGETS,
) -> Identification:
    """Compare two engines' searches of one gallery at the reference's thresholds.

    Parameters
    ----------
    reference, engine : Searches
        Of the same images.
    enrolment : Enrolment
    targets : tuple of float
        False-positive identification rates, between 0 and 1.

    Returns
    -------
    Identification

    Raises
    ------
    ValueError
        As :func:`~facenet_validate.metrics.by_person.loss_by_person`.

    Examples
    --------
    >>> enrolment = enrol_first_images(np.array([0, 0, 1, 1, 2]))
    >>> before, after = np.array([[0.0], [0.5], [4.0], [3.5], [9.0]]), np.zeros((5, 1))
    >>> reference, engine = (search(rows, rows, enrolment) for rows in (before, after))
    >>> found = compare_searches(reference, engine, enrolment, targets=(0.0,))
    >>> found.reference_rank1, found.rank1, found.thresholds, found.fpir
    (1.0, 0.0, (25.0,), (1.0,))
    """
    thresholds = tuple(reference.threshold(target) for target in targets)
    own = tuple(engine.threshold(target) for target in targets)
    frozen = thresholds[0]
    return Identification(
        people=len(enrolment.templates) + len(enrolment.non_mated),
        templates=len(enrolment.templates),
        mated=len(enrolment.mated),
        non_mated=len(enrolment.non_mated),
        targets=targets,
        thresholds=thresholds,
        rank1=float(engine.first.mean()),
        reference_rank1=float(reference.first.mean()),
        fnir=tuple(engine.fnir(threshold) for threshold in thresholds),
        fpir=tuple(engine.fpir(threshold) for threshold in thresholds),
        reference_fnir=tuple(reference.fnir(threshold) for threshold in thresholds),
        reference_fpir=tuple(reference.fpir(threshold) for threshold in thresholds),
        own_thresholds=own,
        own_fnir=tuple(engine.fnir(threshold) for threshold in own),
        rank1_loss=_loss(reference.first, engine.first, enrolment),
        fnir_loss=_loss(reference.found(frozen), engine.found(frozen), enrolment),
    )


def _loss(reference: Booleans, engine: Booleans, enrolment: Enrolment) -> LossByPerson:
    """Return the mean over people of (share of probes right, reference less engine)."""
    people = len(enrolment.templates)
    lost = reference.astype(np.float64) - engine
    probes = np.bincount(enrolment.mates, minlength=people)
    return loss_by_person(np.bincount(enrolment.mates, lost, people) / probes)
