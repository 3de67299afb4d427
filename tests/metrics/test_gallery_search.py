"""Identification over rows in blocks, against all distances in float64 and against `search`."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from facenet_validate.metrics import gallery_search
from facenet_validate.metrics.gallery_search import nearest, search_rows
from facenet_validate.metrics.identification import enrol_first_images, search
from facenet_validate.metrics.rows import ArrayRows
from facenet_validate.metrics.verification import pair_distances


def faces(images: int, people: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Half of the people have one image; some embeddings repeat."""
    random = np.random.default_rng(seed)
    more = random.integers(people // 2, size=images - people)
    identities = random.permutation(np.concatenate([np.arange(people), more]))
    rows = random.normal(size=(people, 24))[identities]
    rows += 0.8 * random.normal(size=rows.shape)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    rows[random.choice(images, images // 20)] = rows[random.choice(images, images // 20)]
    return rows.astype(np.float32), identities


def literal(
    rows: NDArray[np.float32],
    probes: NDArray[np.float32],
    gallery: NDArray[np.intp],
    searched: NDArray[np.intp],
    mates: NDArray[np.intp],
    most: int,
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    both = np.concatenate([rows, probes])
    left = np.repeat(searched + len(rows), len(gallery))
    distances = pair_distances(both, left, np.tile(gallery, len(searched)))
    distances = distances.reshape(len(searched), len(gallery))
    distances[np.arange(len(searched)), mates] = np.inf
    order = np.argsort(distances, axis=1, kind="stable")[:, :most]
    return np.take_along_axis(distances, order, axis=1), order


@pytest.mark.parametrize(("probes", "templates"), [(1024, 2048), (50, 31), (7, 200)])
def test_the_nearest_are_those_of_all_distances(
    monkeypatch: pytest.MonkeyPatch, probes: int, templates: int
) -> None:
    monkeypatch.setattr(gallery_search, "_AT_ONCE", 3 * probes - 1)
    monkeypatch.setattr(gallery_search, "_PROBES", probes)
    monkeypatch.setattr(gallery_search, "_TEMPLATES", templates)
    rows, identities = faces(700, 300, seed=1)
    other = np.roll(rows, 1, axis=1)
    enrolment = enrol_first_images(identities)
    given_rows = enrolment.templates, enrolment.mated, enrolment.mates
    for engine in (rows, other):
        for most in (1, 5, 64):
            found = nearest(ArrayRows(rows), ArrayRows(engine), *given_rows, most=most)
            distances, places = literal(rows, engine, *given_rows, most)
            np.testing.assert_array_equal(found.others, distances)
            np.testing.assert_array_equal(found.places, places)


@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_searches_are_those_of_the_suites(scale: float) -> None:
    rows, identities = faces(900, 300, seed=2)
    rows *= np.float32(scale)
    probes = np.roll(rows, 1, axis=1)
    enrolment = enrol_first_images(identities)
    for engine in (rows, probes):
        found, close = search_rows(ArrayRows(rows), ArrayRows(engine), enrolment, most=3)
        expected = search(rows, engine, enrolment)
        for name in ("mate", "other", "nearest", "first"):
            np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
        for target in (0.1, 0.01):
            threshold = expected.threshold(target)
            assert found.threshold(target) == threshold
            assert found.fnir(threshold) == expected.fnir(threshold)
            assert found.fpir(threshold) == expected.fpir(threshold)
        assert close.within(1) == expected.first.mean()
        assert close.within(1) <= close.within(3) <= 1
        others = np.sort(
            [
                np.delete(row, mate)
                for row, mate in zip(_all(rows, engine), enrolment.mates, strict=True)
            ]
        )
        assert close.within(3) == np.mean(found.mate < others[:, 2])


def _all(rows: NDArray[np.float32], engine: NDArray[np.float32]) -> NDArray[np.float64]:
    enrolment = enrol_first_images(faces(900, 300, seed=2)[1])
    both = np.concatenate([rows, engine])
    left = np.repeat(enrolment.mated + len(rows), len(enrolment.templates))
    right = np.tile(enrolment.templates, len(enrolment.mated))
    return pair_distances(both, left, right).reshape(len(enrolment.mated), -1)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
def test_ties_go_to_the_lower_position(seed: int, most: int) -> None:
    random = np.random.default_rng(seed)
    identities = random.permutation(np.array([0, 0, 0, 1, 1, 2, 2, 3, 4]))
    rows = random.integers(0, 3, size=(9, 2)).astype(np.float32)
    enrolment = enrol_first_images(identities)
    given_rows = enrolment.templates, enrolment.mated, enrolment.mates
    found = nearest(ArrayRows(rows), ArrayRows(rows), *given_rows, most=most)
    distances, places = literal(rows, rows, *given_rows, min(most, 2))
    np.testing.assert_array_equal(found.others[:, :2], distances)
    np.testing.assert_array_equal(found.places[:, :2], places)
    assert np.isinf(found.others[:, 2:]).all()


def test_what_cannot_be_searched_is_refused() -> None:
    rows, identities = faces(100, 40, seed=3)
    enrolment = enrol_first_images(identities)
    with pytest.raises(ValueError, match="expected the same"):
        search_rows(ArrayRows(rows), ArrayRows(rows[1:]), enrolment)
    with pytest.raises(ValueError, match="expected 1 to 64"):
        search_rows(ArrayRows(rows), ArrayRows(rows), enrolment, most=65)
    with pytest.raises(ValueError, match="every person is enrolled"):
        search_rows(
            ArrayRows(rows[:4]), ArrayRows(rows[:4]), enrol_first_images(np.array([0, 0, 1, 1]))
        )
    rows[enrolment.mated[0], 0] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        search_rows(ArrayRows(rows), ArrayRows(rows), enrolment)
