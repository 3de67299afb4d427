"""Large sets: the figures of `all_pairs` and `gallery_rates`, from stripes, bit for bit."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from facenet_validate.metrics import limits as pilots
from facenet_validate.metrics import stripes
from facenet_validate.metrics.all_pairs import all_pairs
from facenet_validate.metrics.gallery_rates import gallery_rates
from facenet_validate.metrics.large_set import LargeSet, large_set
from facenet_validate.metrics.limits import Limits, Pilot
from facenet_validate.metrics.operating import ErrorRates
from facenet_validate.metrics.partials import Measured, Partial, add
from facenet_validate.metrics.points import AllPairsPoint
from facenet_validate.metrics.rows import ArrayRows, Comparisons
from facenet_validate.metrics.stripes import stripe, stripes_of
from facenet_validate.metrics.verification import pair_distances

Embeddings = NDArray[np.float32]
People = NDArray[np.int64]
TARGETS = (1e-1, 1e-2, 1e-3, 1e-4)


def faces(
    images: int = 1500, people: int = 400, *, noise: float = 0.6, seed: int = 3
) -> tuple[Embeddings, People]:
    """A third of all images show one person; half of the people have one image; some repeat."""
    random = np.random.default_rng(seed)
    crowd = images - people - images // 3
    identities = np.concatenate(
        [np.arange(people), np.zeros(images // 3), random.integers(people // 2, size=crowd)]
    ).astype(np.int64)
    identities = random.permutation(identities)
    centres = random.normal(size=(people, 24))
    rows = centres[identities] + noise * random.normal(size=(images, 24))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    rows[random.choice(images, 40)] = rows[random.choice(images, 40)]
    return rows.astype(np.float32), identities


@st.composite
def small_sets(draw: st.DrawFn) -> tuple[Embeddings, People]:
    """Up to 16 images of three to seven people, with ties and duplicates."""
    people = draw(st.integers(3, 7))
    more = draw(st.lists(st.integers(0, people - 1), max_size=16 - people - 2))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    identities = random.permutation(np.array([*range(people), 0, 1, *more]))
    if draw(st.booleans()):
        rows = random.integers(0, 3, size=(len(identities), 2)).astype(np.float32)
    else:
        rows = random.normal(size=(len(identities), 3)).astype(np.float32)
    return rows, identities


def assert_same(found: Any, expected: Any, kind: type) -> None:
    """Assert that two dataclasses have the same bits."""
    for field in fields(kind):
        one, other = getattr(found, field.name), getattr(expected, field.name)
        np.testing.assert_array_equal(one, other, err_msg=field.name)


def assert_same_rates(found: ErrorRates | None, expected: ErrorRates) -> None:
    """Assert that counts agree in every bit, the rates by people but for rounding."""
    assert found is not None
    for field in fields(ErrorRates):
        if field.name != "fmr_by_people":
            np.testing.assert_array_equal(
                getattr(found, field.name), getattr(expected, field.name), err_msg=field.name
            )
    assert found.fmr_by_people == pytest.approx(expected.fmr_by_people, rel=1e-9, abs=1e-12)


def assert_same_set(found: LargeSet, expected: LargeSet) -> None:
    for one, other in zip(found.rates, expected.rates, strict=True):
        assert_same(one.point, other.point, AllPairsPoint)
        assert (one.exact, one.people, one.pairs_of_people) == (
            other.exact,
            other.people,
            other.pairs_of_people,
        )
    if expected.operating is not None:
        assert_same(found.operating, expected.operating, ErrorRates)
    assert (found.exact_below, found.width) == (expected.exact_below, expected.width)


@settings(max_examples=60, deadline=None)
@given(small_sets(), st.sampled_from([(0.5, 0.1, 0.01), (0.1, 0.03)]), st.floats(0, 12))
def test_small_sets_have_the_figures_of_the_suites(
    drawn: tuple[Embeddings, People], targets: tuple[float, ...], threshold: float
) -> None:
    rows, identities = drawn
    found = large_set(Comparisons.of(ArrayRows(rows), identities), targets, threshold)
    expected = all_pairs(rows, identities, targets)
    for rate, point in zip(found.rates, expected.points, strict=True):
        assert rate.exact
        assert_same(rate.point, point, AllPairsPoint)
    assert (found.images, found.people) == (expected.images, expected.identities)
    assert (found.genuine, found.impostor) == (expected.genuine_pairs, expected.impostor_pairs)
    assert_same_rates(found.operating, gallery_rates(rows, identities, threshold))


@settings(max_examples=30, deadline=None)
@given(small_sets(), st.floats(0, 12))
def test_mixed_templates_of_small_sets(drawn: tuple[Embeddings, People], threshold: float) -> None:
    rows, identities = drawn
    probes = np.flip(rows, axis=1).copy()
    pairs = Comparisons.of(ArrayRows(rows), identities, probes=ArrayRows(probes))
    found = large_set(pairs, (0.5, 0.1), threshold)
    assert_same_rates(found.operating, gallery_rates(rows, identities, threshold, probes=probes))


def test_two_times_the_same_engine_is_that_engine() -> None:
    """Mixed rates are those of all comparisons both ways round: here each distance comes twice."""
    rows, identities = faces()
    one = large_set(Comparisons.of(ArrayRows(rows), identities), TARGETS)
    two = large_set(Comparisons.of(ArrayRows(rows), identities, probes=ArrayRows(rows)), TARGETS)
    assert (two.genuine, two.impostor) == (2 * one.genuine, 2 * one.impostor)
    for single, double in zip(one.rates, two.rates, strict=True):
        assert double.point.threshold == single.point.threshold
        assert double.point.tar == pytest.approx(single.point.tar, rel=1e-12)
        assert double.point.far == pytest.approx(single.point.far, rel=1e-12)
        assert double.point.standard_error == pytest.approx(single.point.standard_error, rel=1e-9)
        assert double.point.impostor_accepted == 2 * single.point.impostor_accepted


@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_a_larger_set_equals_the_suites_digit_for_digit(scale: float) -> None:
    rows, identities = faces()
    rows *= np.float32(scale)
    threshold = float(pair_distances(rows, np.array([3]), np.array([700]))[0])
    found = large_set(Comparisons.of(ArrayRows(rows), identities), TARGETS, threshold)
    for rate, point in zip(found.rates, all_pairs(rows, identities, TARGETS).points, strict=True):
        assert rate.exact
        assert_same(rate.point, point, AllPairsPoint)
    assert_same_rates(found.operating, gallery_rates(rows, identities, threshold))


def literal_rates(
    rows: Embeddings, identities: People, limit: float
) -> tuple[float, float, int, NDArray[np.float64]]:
    """FAR, TAR, impostors accepted and their weight by person, from all distances in float64."""
    left, right = np.triu_indices(len(rows), 1)
    below = pair_distances(rows, left, right) < limit
    images = np.bincount(identities)
    a, b = images[identities[left]], images[identities[right]]
    same = identities[left] == identities[right]
    weights = 1 / (a * b)
    taken = below & ~same
    of_person = np.zeros(len(images))
    for side in (left, right):
        of_person += np.bincount(identities[side[taken]], weights[taken], len(images))
    far = weights[taken].sum() / math.comb(len(images), 2)
    genuine = below & same
    tar = (2 / (a * (a - 1.0 + (a == 1))))[genuine].sum() / np.count_nonzero(images > 1)
    return far, tar, int(taken.sum()), of_person


@pytest.mark.parametrize("most_kept", [0, 1000, 20_000])
def test_a_rate_from_bins_is_exact_at_its_edge(most_kept: int) -> None:
    rows, identities = faces(1000, 300)
    pairs = Comparisons.of(ArrayRows(rows), identities)
    found = large_set(pairs, TARGETS, most_kept=most_kept)
    expected = all_pairs(rows, identities, TARGETS)
    binned = 0
    for rate, point in zip(found.rates, expected.points, strict=True):
        far, tar, accepted, of_person = literal_rates(rows, identities, rate.point.threshold)
        assert rate.point.far == pytest.approx(far, rel=1e-9, abs=1e-15)
        assert rate.point.tar == pytest.approx(tar, rel=1e-9)
        assert rate.point.impostor_accepted == accepted
        assert rate.people == np.count_nonzero(of_person) or not rate.exact
        if not rate.exact:
            binned += 1
            assert rate.point.threshold % found.width == 0
            assert abs(point.threshold - rate.point.threshold) <= found.width
            beyond = literal_rates(rows, identities, rate.point.threshold + found.width)
            assert beyond[0] > point.target >= rate.point.far
            assert rate.point.standard_error == pytest.approx(point.standard_error, rel=0.2)
        elif rate.point.target * 2 <= 1e-3 and most_kept == 20_000:
            assert_same(rate.point, point, AllPairsPoint)
    assert binned == {0: 4, 1000: 3, 20_000: 1}[most_kept]


def pieces(pairs: Comparisons, limits: Limits, rows: int) -> list[Partial]:
    return [stripe(pairs, limits, part) for part in stripes_of(pairs.images, most=rows)]


def summed(most_kept: int, rows: int, seed: int | None = None, *, mixed: bool = False) -> Partial:
    embeddings, identities = faces(600, 200)
    probes = ArrayRows(np.roll(embeddings, 1, axis=1)) if mixed else None
    pairs = Comparisons.of(ArrayRows(embeddings), identities, probes=probes)
    limits = Pilot.of(pairs).limits((1e-2, 1e-3), 0.9, most_kept=most_kept)
    parts = pieces(pairs, limits, rows)
    if seed is not None:
        parts = [parts[at] for at in np.random.default_rng(seed).permutation(len(parts))]
        # In groups, too.
        parts = [add(parts[at : at + 3], limits) for at in range(0, len(parts), 3)]
    return add(parts, limits)


def assert_same_partial(found: Partial, expected: Partial) -> None:
    for name in ("genuine", "kept"):
        assert_same(getattr(found, name), getattr(expected, name), Measured)
    for name in ("kept_bins", "counts", "weights", "of_person", "accepts", "accepted"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("most_kept", [500, 10**6])
def test_neither_stripes_nor_their_order_nor_blocks_change_a_bit(
    monkeypatch: pytest.MonkeyPatch, most_kept: int, mixed: bool
) -> None:
    expected = summed(most_kept, 600, mixed=mixed)
    assert len(expected.kept) <= most_kept
    assert len(expected.kept) > 100
    for seed, rows in enumerate((50, 133, 400)):
        assert_same_partial(summed(most_kept, rows, seed, mixed=mixed), expected)
    for block in ((7, 64), (64, 501), (600, 600)):
        monkeypatch.setattr(stripes, "_ROWS", block[0])
        monkeypatch.setattr(stripes, "_COLUMNS", block[1])
        assert_same_partial(summed(most_kept, 400, mixed=mixed), expected)


def test_float32_alone_would_put_pairs_into_the_wrong_bin(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is measured again is needed: without it counts differ from those of float64."""
    embeddings, identities = faces()
    pairs = Comparisons.of(ArrayRows(embeddings), identities)
    limits = Pilot.of(pairs).limits((1e-1,), 0.9, most_kept=0)
    left, right = np.triu_indices(len(embeddings), 1)
    different = identities[left] != identities[right]
    distances = pair_distances(embeddings, left[different], right[different])
    bins = np.floor(distances / limits.width).astype(np.intp)
    expected = np.bincount(bins, minlength=limits.bins)[: limits.bins]
    np.testing.assert_array_equal(stripe(pairs, limits, range(1500)).counts, expected)
    monkeypatch.setattr(
        stripes._Sums, "_unsure", lambda self, distances: np.flatnonzero(distances < 1e-3)
    )
    assert (stripe(pairs, limits, range(1500)).counts != expected).any()


def test_too_short_a_pilot_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    embeddings, identities = faces()
    pairs = Comparisons.of(ArrayRows(embeddings), identities)
    expected = large_set(pairs, (1e-2, 1e-3))
    asked = []

    def misled(pilot: Pilot, share: float) -> float:
        asked.append(share)
        at = int(np.searchsorted(pilot.shares, share / 50))
        return float(pilot.distances[at])

    monkeypatch.setattr(Pilot, "distance", misled)
    found = large_set(pairs, (1e-2, 1e-3))
    assert max(asked) > 4 * min(share for share in asked if share > 1e-2)
    for one, other in zip(found.rates, expected.rates, strict=True):
        assert_same(one.point, other.point, AllPairsPoint)


def test_a_sampled_pilot_gives_the_same_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    embeddings, identities = faces()
    pairs = Comparisons.of(ArrayRows(embeddings), identities)
    expected = large_set(pairs, TARGETS, 0.8)
    monkeypatch.setattr(pilots, "_SAMPLE", 300)
    found = large_set(pairs, TARGETS, 0.8)
    for one, other in zip(found.rates, expected.rates, strict=True):
        assert_same(one.point, other.point, AllPairsPoint)
    assert_same_rates(found.operating, gallery_rates(embeddings, identities, 0.8))


def test_many_equal_images_of_different_people_are_counted_and_not_kept() -> None:
    embeddings, identities = faces(900, 300)
    embeddings[:] = embeddings[0]
    found = large_set(Comparisons.of(ArrayRows(embeddings), identities), (0.1,), most_kept=1000)
    point = found.rates[0].point
    assert (point.far, point.tar, point.impostor_accepted) == (0, 0, 0)
    assert found.exact_below == 0


def test_a_rate_that_few_pairs_of_people_carry_says_so() -> None:
    embeddings, identities = faces()
    found = large_set(Comparisons.of(ArrayRows(embeddings), identities), (1e-2, 1e-3, 1e-4))
    # 400 people are 79,800 pairs.
    assert [rate.carried for rate in found.rates] == [True, True, False]
    assert found.rates[1].pairs_of_people == pytest.approx(79_800 * found.rates[1].point.far)


class Counting:
    """Rows that say how many were read."""

    def __init__(self, array: Embeddings) -> None:
        self.rows, self.most = ArrayRows(array), 0

    @property
    def shape(self) -> tuple[int, int]:
        return self.rows.shape

    def block(self, start: int, stop: int) -> Embeddings:
        self.most = max(self.most, stop - start)
        return self.rows.block(start, stop)


def test_rows_are_read_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pilots, "_SAMPLE", 100)
    embeddings, identities = faces(9000, 3000)
    rows = Counting(embeddings)
    pairs = Comparisons.of(rows, identities)
    stripe(pairs, Pilot.of(pairs).limits((1e-3,), None), range(8000, 9000))
    assert rows.most <= 4096


def test_what_cannot_be_scored_is_refused() -> None:
    embeddings, identities = faces(300, 100)
    rows = ArrayRows(embeddings)
    with pytest.raises(ValueError, match="expected one identity an image"):
        Comparisons.of(rows, identities[1:])
    with pytest.raises(ValueError, match="expected the same"):
        Comparisons.of(rows, identities, probes=ArrayRows(embeddings[1:]))
    pairs = Comparisons.of(rows, identities)
    with pytest.raises(ValueError, match="between 0 and 1"):
        large_set(pairs, (1.0,))
    with pytest.raises(ValueError, match="products are made in float32"):
        large_set(Comparisons.of(ArrayRows(embeddings * np.float32(1e19)), identities), (0.1,))
    with pytest.raises(ValueError, match="must be a number"):
        large_set(pairs, (0.1,), math.nan)
    with pytest.raises(ValueError, match="the jackknife leaves one out"):
        large_set(Comparisons.of(rows, np.arange(300)), (0.1,))
    broken = embeddings.copy()
    broken[123, 4] = np.inf
    with pytest.raises(ValueError, match="embedding 123 holds NaN or infinity"):
        large_set(Comparisons.of(ArrayRows(broken), identities), (0.1,))
    many = np.repeat(np.arange(3), [6000, 2, 2])
    with pytest.raises(ValueError, match="17,997,002 genuine comparisons"):
        large_set(Comparisons.of(ArrayRows(np.zeros((6004, 1))), many), (0.1,))
