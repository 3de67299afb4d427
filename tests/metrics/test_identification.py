"""Identification against a slow literal reading of NIST's definitions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from facenet_validate.metrics.identification import (
    Enrolment,
    Searches,
    compare_searches,
    enrol_first_images,
    search,
)

Set = tuple[NDArray[Any], NDArray[Any], NDArray[np.int64]]


@st.composite
def sets(draw: st.DrawFn) -> Set:
    """Embeddings by two engines of at most 20 images; two people are enrolled, one is not."""
    more = draw(st.lists(st.integers(0, 6), max_size=15))
    identities = np.array([0, 0, 1, 1, 9, *more])
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    identities = random.permutation(identities)
    if draw(st.booleans()):  # distances that tie
        old = random.integers(0, 3, size=(len(identities), 2)).astype(np.float32)
    else:
        # Multiples of 1/256: no rounding decides whether a distance is the threshold's.
        old = (np.rint(256 * random.normal(size=(len(identities), 3))) / 256).astype(np.float32)
    return old, old + random.integers(0, 2, size=old.shape), identities


def literal(
    templates: NDArray[Any], probes: NDArray[Any], identities: NDArray[np.int64], threshold: float
) -> tuple[dict[int, tuple[bool, bool]], dict[int, bool]]:
    """Return (rank 1, found) by mated probe, and (matched) by non-mated probe."""
    rows_of: dict[int, list[int]] = {}
    for row, person in enumerate(identities.tolist()):
        rows_of.setdefault(person, []).append(row)
    enrolled = {person: rows[0] for person, rows in rows_of.items() if len(rows) > 1}

    def distance(template: int, probe: int) -> float:
        return float(
            sum(
                (float(a) - float(b)) ** 2
                for a, b in zip(templates[template], probes[probe], strict=True)
            )
        )

    mated, non_mated = {}, {}
    for person, rows in rows_of.items():
        for row in rows[1:]:
            mine = distance(enrolled[person], row)
            others = [distance(at, row) for who, at in enrolled.items() if who != person]
            mated[row] = mine < min(others), mine < threshold
        if len(rows) == 1:
            non_mated[rows[0]] = any(distance(at, rows[0]) < threshold for at in enrolled.values())
    return mated, non_mated


@given(sets(), st.sampled_from([0.0, 0.5, 1.0, 2.0, 9.0]))
def test_searches_are_the_literal_ones(of: Set, threshold: float) -> None:
    old, new, identities = of
    enrolment = enrol_first_images(identities)
    for templates, probes in ((old, old), (new, new), (old, new)):
        found = search(templates, probes, enrolment)
        mated, non_mated = literal(templates, probes, identities, threshold)
        assert sorted(mated) == enrolment.mated.tolist()
        assert sorted(non_mated) == enrolment.non_mated.tolist()
        ones = [mated[row] for row in enrolment.mated.tolist()]
        assert list(zip(found.first.tolist(), found.found(threshold).tolist(), strict=True)) == ones
        assert found.fpir(threshold) == np.mean([*non_mated.values()])


@given(sets())
def test_losses_are_means_over_people(of: Set) -> None:
    old, new, identities = of
    enrolment = enrol_first_images(identities)
    reference, engine = search(old, old, enrolment), search(new, new, enrolment)
    found = compare_searches(reference, engine, enrolment, targets=(0.25,))
    (threshold,) = found.thresholds
    before, _ = literal(old, old, identities, threshold)
    after, non_mated = literal(new, new, identities, threshold)
    people: dict[int, list[int]] = {}
    for row in before:
        people.setdefault(int(identities[row]), []).append(row)
    for place, loss in enumerate((found.rank1_loss, found.fnir_loss)):
        shares = [
            np.mean([before[row][place] - float(after[row][place]) for row in rows])
            for rows in people.values()
        ]
        assert loss.loss == pytest.approx(np.mean(shares))
        assert loss.people == len(people)
    assert found.fpir[0] == np.mean([*non_mated.values()])
    assert found.rank1 == np.mean([one[0] for one in after.values()])
    assert found.fnir[0] == pytest.approx(1 - np.mean([one[1] for one in after.values()]))


@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=12),
    st.sampled_from([0.0, 0.01, 0.1, 0.5, 1.0]),
)
def test_a_threshold_keeps_to_its_rate(nearest: list[int], fpir: float) -> None:
    found = Searches(np.zeros(1), np.ones(1), np.array(nearest, np.float64))
    threshold = found.threshold(fpir)
    assert found.fpir(threshold) <= fpir
    if np.isfinite(threshold):
        assert found.fpir(np.nextafter(threshold, np.inf)) > fpir


def test_collapsed_embeddings_identify_nobody() -> None:
    enrolment = enrol_first_images(np.array([0, 0, 1, 1, 2]))
    found = search(np.ones((5, 4)), np.ones((5, 4)), enrolment)
    assert not found.first.any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"probes": np.zeros((4, 2))}, r"\(5, 2\), probes \(4, 2\)"),
        ({"probes": np.full((5, 2), np.nan)}, "NaN or infinite"),
        ({"enrolment": enrol_first_images(np.array([0, 0, 1, 1]))}, "every person is enrolled"),
    ],
)
def test_what_cannot_be_searched_is_refused(change: dict[str, Any], message: str) -> None:
    fine: dict[str, Any] = {
        "templates": np.zeros((5, 2)),
        "probes": np.zeros((5, 2)),
        "enrolment": enrol_first_images(np.array([0, 0, 1, 1, 2])),
    }
    with pytest.raises(ValueError, match=message):
        search(**(fine | change))


def test_a_gallery_needs_two_people() -> None:
    with pytest.raises(ValueError, match="1 people have two images or more"):
        enrol_first_images(np.array([0, 0, 1, 2]))
    assert isinstance(enrol_first_images(np.array([0, 0, 1, 1])), Enrolment)
