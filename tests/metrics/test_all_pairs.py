"""All pairs against brute force in float64, with and without each identity."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import norm

from facenet_validate.metrics.all_pairs import all_pairs, compare_all_pairs
from facenet_validate.metrics.close_impostors import Blocks, People
from facenet_validate.metrics.verification import pair_distances

TARGETS = (0.5, 0.1, 0.01)
LOW_TARGETS = (0.1, 0.03)  # not all pairs are wanted for these
Gallery = tuple[NDArray[Any], NDArray[np.int64]]


@st.composite
def galleries(draw: st.DrawFn) -> Gallery:
    """Up to 16 images of three to seven people, at least two of them with several images."""
    people = draw(st.integers(3, 7))
    more = draw(st.lists(st.integers(0, people - 1), max_size=16 - people - 2))
    identities = np.array([*range(people), 0, 1, *more])
    seed = draw(st.integers(0, 2**32 - 1))
    random = np.random.default_rng(seed)
    identities = random.permutation(identities)
    kind = draw(st.sampled_from(["tied", "close", "free"]))
    embeddings = random.integers(0, 3, size=(len(identities), 2)).astype(np.float64)
    if kind == "close":  # differences that float32 cannot hold
        embeddings += random.normal(scale=1e-9, size=embeddings.shape)
    if kind == "free":
        embeddings = random.normal(size=embeddings.shape).astype(np.float32)
    return embeddings, identities


def literal_pairs(
    embeddings: NDArray[Any], identities: NDArray[np.int64]
) -> tuple[dict[Any, list[float]], dict[Any, list[float]]]:
    """Distances of the genuine pairs by identity, and of the impostor pairs by two of them."""
    people = sorted(set(identities.tolist()))
    images = {person: np.flatnonzero(identities == person).tolist() for person in people}

    def distance(i: int, j: int) -> float:
        return float(pair_distances(embeddings, np.array([i]), np.array([j]))[0])

    genuine = {
        person: [distance(i, j) for i, j in combinations(rows, 2)]
        for person, rows in images.items()
        if len(rows) > 1
    }
    impostor = {
        (a, b): [distance(i, j) for i in images[a] for j in images[b]]
        for a, b in combinations(people, 2)
    }
    return genuine, impostor


def mean_share(parts: dict[Any, list[float]], limit: float) -> Fraction:
    """Mean, over the parts, of the share of distances below the limit."""
    shares = [Fraction(sum(d < limit for d in part), len(part)) for part in parts.values()]
    return sum(shares, Fraction(0)) / len(shares)


def literal_limit(impostor: dict[Any, list[float]], target: float) -> float:
    """Try every threshold in turn, ascending, as long as FAR is at most the target."""
    best = -math.inf
    for limit in [*sorted({d for part in impostor.values() for d in part}), math.inf]:
        if mean_share(impostor, limit) > Fraction(str(target)):
            break
        best = limit
    return best


@settings(max_examples=40, deadline=None)
@given(galleries(), st.sampled_from([TARGETS, LOW_TARGETS]))
def test_small_galleries_are_scored_as_by_brute_force(
    gallery: Gallery, targets: tuple[float, ...]
) -> None:
    embeddings, identities = gallery
    result = all_pairs(embeddings, identities, targets)
    assert result.images == len(identities)
    assert result.identities == len(set(identities.tolist()))
    genuine, impostor = literal_pairs(embeddings, identities)
    for point in result.points:
        limit = literal_limit(impostor, point.target)
        assert point.far == pytest.approx(float(mean_share(impostor, limit)), abs=1e-12)
        assert point.tar == pytest.approx(float(mean_share(genuine, limit)), abs=1e-12)
        assert point.genuine_accepted == sum(d < limit for p in genuine.values() for d in p)
        assert point.impostor_accepted == sum(d < limit for p in impostor.values() for d in p)


@settings(max_examples=20, deadline=None)
@given(galleries())
def test_an_identity_left_out_takes_its_pairs_away_and_moves_the_threshold(
    gallery: Gallery,
) -> None:
    embeddings, identities = gallery
    genuine, impostor = literal_pairs(embeddings, identities)
    for point in all_pairs(embeddings, identities, TARGETS).points:
        high, low = min(2 * point.target, 1.0), point.target / 2
        rise = mean_share(genuine, literal_limit(impostor, high))
        rise -= mean_share(genuine, literal_limit(impostor, low))
        slope = float(rise) / math.log(high / low)
        expected = []
        for person in sorted(set(identities.tolist())):
            others = {key: part for key, part in genuine.items() if key != person}
            strangers = {key: part for key, part in impostor.items() if person not in key}
            far = float(mean_share(strangers, point.threshold))
            more = far / point.far - 1 if point.far else 0.0
            expected.append(float(mean_share(others, point.threshold)) - slope * more)
        np.testing.assert_allclose(point.left_out, expected, atol=1e-9)
        count, mean = len(expected), sum(expected) / len(expected)
        spread = sum((value - mean) ** 2 for value in expected)
        error = math.sqrt((count - 1) / count * spread)
        assert point.standard_error == pytest.approx(error, abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(galleries())
def test_the_threshold_accepts_what_is_counted(gallery: Gallery) -> None:
    embeddings, identities = gallery
    left, right = np.triu_indices(len(identities), 1)
    distances = pair_distances(embeddings, left, right)
    same = identities[left] == identities[right]
    for point in all_pairs(embeddings, identities, TARGETS).points:
        accepted = distances < point.threshold
        assert accepted[same].sum() == point.genuine_accepted
        assert accepted[~same].sum() == point.impostor_accepted
        if accepted.any() and not accepted.all():
            last, following = distances[accepted].max(), distances[~accepted].min()
            middle = (last + following) / 2
            assert point.threshold == pytest.approx(middle, rel=1e-15, abs=1e-300)


def large_gallery(*, noise: float = 0.6) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """900 images of 300 people in several blocks; one person has 120 of them."""
    random = np.random.default_rng(3)
    identities = np.sort(
        np.concatenate([np.arange(300), np.zeros(119), random.integers(300, size=481)])
    )
    centres = random.normal(size=(300, 24))
    rows = centres[identities.astype(int)] + noise * random.normal(size=(900, 24))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(np.float32), identities.astype(np.int64)


@pytest.mark.parametrize("seed", [None, 0, 1])
def test_a_large_gallery_is_exact_in_any_order(seed: int | None) -> None:
    embeddings, identities = large_gallery()
    if seed is not None:
        order = np.random.default_rng(seed).permutation(900)
        embeddings, identities = embeddings[order], identities[order]
    left, right = np.triu_indices(900, 1)
    distances = pair_distances(embeddings, left, right)
    same = identities[left] == identities[right]
    images = np.bincount(identities)
    a, b = images[identities[left]], images[identities[right]]
    weights = np.where(same, 2 / np.maximum(a * (b - 1), 1), 1 / (a * b))
    order = np.argsort(distances)
    distances, same, weights = distances[order], same[order], weights[order]
    fars = np.cumsum(np.where(same, 0, weights)) / (300 * 299 / 2)
    tars = np.cumsum(np.where(same, weights, 0)) / np.sum(images > 1)
    result = all_pairs(embeddings, identities, (1e-2, 1e-3, 1e-4, 3e-5))
    for point in result.points:
        most = int(np.searchsorted(fars, point.target + 1e-12, side="right"))
        assert point.far == pytest.approx(fars[most - 1], rel=1e-9)
        assert point.tar == pytest.approx(tars[most - 1], rel=1e-9)
        assert point.genuine_accepted + point.impostor_accepted == most
    assert 0.1 < result.points[-1].tar < result.points[0].tar < 0.99
    assert result.genuine_pairs == same.sum()
    assert result.impostor_pairs == (~same).sum()


@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_no_impostor_pair_below_a_limit_is_missed(scale: float) -> None:
    """Limits at distances that exist: float32 sees some pairs on the wrong side."""
    embeddings, identities = large_gallery()
    embeddings = embeddings * np.float32(scale)
    people = People(identities.astype(np.intp), np.bincount(identities))
    left, right = np.triu_indices(900, 1)
    different = identities[left] != identities[right]
    distances = np.sort(pair_distances(embeddings, left[different], right[different]))
    blocks = Blocks.of(embeddings, people)
    single = -2 * (blocks.left @ blocks.right.T)[left[different], right[different]]
    wrong = 0
    for place in np.linspace(5, 200_000, 12).astype(int):
        found, weight = blocks.below(distances[place], distances[[place // 2]])
        np.testing.assert_array_equal(found.distances, distances[:place])
        assert weight[0] == pytest.approx(found.weights[: place // 2].sum())
        wrong += int(np.sum(single < distances[place])) != place
    assert wrong, "the margin is never needed"


def test_too_small_an_estimate_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    embeddings, identities = large_gallery()
    expected = all_pairs(embeddings, identities)
    estimate = Blocks.estimate
    asked: list[float] = []

    def misled(blocks: Blocks, far: float) -> float:
        asked.append(far)
        return estimate(blocks, far / 50)

    monkeypatch.setattr(Blocks, "estimate", misled)
    for point, before in zip(
        all_pairs(embeddings, identities).points, expected.points, strict=True
    ):
        assert (point.tar, point.far, point.threshold) == (before.tar, before.far, before.threshold)
        np.testing.assert_array_equal(point.left_out, before.left_out)
    assert len(asked) > 2


def test_the_estimate_is_close_to_the_share_wanted() -> None:
    embeddings, identities = large_gallery()
    people = People(identities.astype(np.intp), np.bincount(identities))
    blocks = Blocks.of(embeddings, people)
    for far in (1e-1, 1e-2, 1e-3):
        found, _ = blocks.below(blocks.estimate(far), np.empty(0))
        assert found.weights.sum() / people.pairs == pytest.approx(far, rel=0.5)


def test_identities_weigh_the_same() -> None:
    """One person with 120 images is recognised, nobody else is: plain counts see only that one."""
    embeddings, identities = large_gallery(noise=0.02)
    random = np.random.default_rng(0)
    others = identities > 0
    stranger = random.normal(size=embeddings.shape)
    stranger /= np.linalg.norm(stranger, axis=1, keepdims=True)
    embeddings = np.where(others[:, None], stranger, embeddings).astype(np.float32)
    result = all_pairs(embeddings, identities, (1e-3,))
    point = result.points[0]
    assert point.genuine_accepted / result.genuine_pairs > 0.8
    assert point.tar < 0.05


def test_labels_and_order_of_images_do_not_matter() -> None:
    embeddings, identities = large_gallery()
    order = np.random.default_rng(1).permutation(900)
    one = all_pairs(embeddings, identities)
    other = all_pairs(embeddings[order], 7 * (1000 - identities[order]))
    for a, b in zip(one.points, other.points, strict=True):
        assert (a.threshold, a.genuine_accepted) == (b.threshold, b.genuine_accepted)
        assert (a.tar, a.far) == pytest.approx((b.tar, b.far), rel=1e-9)
        np.testing.assert_allclose(a.left_out, b.left_out[::-1], rtol=1e-9)


def rates_at(embeddings: NDArray[Any], identities: NDArray[np.int64], limit: float) -> list[float]:
    left, right = np.triu_indices(len(identities), 1)
    accepted = pair_distances(embeddings, left, right) < limit
    same = identities[left] == identities[right]
    images = np.bincount(identities)
    a, b = images[identities[left]], images[identities[right]]
    count = len(images)
    far = np.sum(accepted[~same] / (a * b)[~same]) / (count * (count - 1) / 2)
    tar = np.sum(2 * accepted[same] / (a * (a - 1))[same]) / np.sum(images > 1)
    return [float(far), float(tar)]


def test_a_damaged_engine_beside_the_reference() -> None:
    embeddings, identities = large_gallery()
    noise = np.random.default_rng(9).normal(scale=0.05, size=embeddings.shape)
    damaged = (embeddings + noise).astype(np.float32)
    comparison = compare_all_pairs(embeddings, damaged, identities, (1e-2, 1e-3))
    before, after = (all_pairs(rows, identities, (1e-2, 1e-3)) for rows in (embeddings, damaged))
    for old, new, drop in zip(before.points, after.points, comparison.drops, strict=True):
        assert drop.drop == pytest.approx(old.tar - new.tar, abs=1e-12)
        differences = old.left_out - new.left_out
        error = math.sqrt(299 * float(np.var(differences)))
        assert drop.standard_error == pytest.approx(error)
        half = norm.ppf(0.975) * error
        assert drop.interval == pytest.approx((drop.drop - half, drop.drop + half))
        # A one-sided test at 1 % that 95 of 100 pass.
        detectable = (norm.ppf(0.99) + norm.ppf(0.95)) * error
        assert drop.minimum_detectable == pytest.approx(detectable)
        assert [drop.frozen_far, drop.frozen_tar] == pytest.approx(
            rates_at(damaged, identities, old.threshold)
        )
        paired, apart = drop.standard_error, math.hypot(old.standard_error, new.standard_error)
        assert paired < apart


@pytest.mark.parametrize("shrunk", [0.7, 1e-3])
def test_a_shrunken_engine_accepts_more_at_the_frozen_threshold(shrunk: float) -> None:
    embeddings, identities = large_gallery()
    engine = embeddings * np.float32(shrunk)
    comparison = compare_all_pairs(embeddings, engine, identities)
    for old, drop in zip(comparison.reference.points, comparison.drops, strict=True):
        assert drop.drop == pytest.approx(0, abs=0.02)
        assert [drop.frozen_far, drop.frozen_tar] == pytest.approx(
            rates_at(engine, identities, old.threshold)
        )
        assert drop.frozen_far > 3 * old.far


def test_an_equal_engine_loses_nothing() -> None:
    embeddings, identities = large_gallery()
    for drop in compare_all_pairs(embeddings, embeddings, identities).drops:
        assert (drop.drop, drop.standard_error, drop.minimum_detectable) == (0, 0, 0)


def test_the_jackknife_agrees_with_a_bootstrap_over_identities() -> None:
    embeddings, identities = large_gallery()
    noise = np.random.default_rng(9).normal(scale=0.1, size=embeddings.shape)
    engines = embeddings, (embeddings + noise).astype(np.float32)
    left, right = np.triu_indices(900, 1)
    same = identities[left] == identities[right]
    images = np.bincount(identities)
    a, b = identities[left], identities[right]
    weights = np.where(
        same, 2 / np.maximum(images[a] * (images[b] - 1), 1), 1 / (images[a] * images[b])
    )
    sorted_pairs = []
    for rows in engines:
        # Impostors beyond the closest hundredth are far from a FAR of 1e-3.
        distances = pair_distances(rows, left, right)
        near = np.flatnonzero(distances < np.quantile(distances[~same], 0.01))
        sorted_pairs.append(near[np.argsort(distances[near])])
    random = np.random.default_rng(0)
    tars = np.empty((300, 2))
    for replicate in range(300):
        times = np.bincount(random.integers(300, size=300), minlength=300).astype(np.float64)
        allowed = 1e-3 * (300**2 - np.sum(times**2)) / 2
        for engine, near in enumerate(sorted_pairs):
            drawn = weights[near] * np.where(
                same[near], times[a[near]], times[a[near]] * times[b[near]]
            )
            impostors = np.cumsum(np.where(same[near], 0, drawn))
            most = np.searchsorted(impostors, allowed, side="right")
            assert most < len(near)
            hits = np.sum(drawn[:most][same[near][:most]])
            tars[replicate, engine] = hits / times[images > 1].sum()
    comparison = compare_all_pairs(*engines, identities, (1e-3,))
    errors = [comparison.reference.points[0].standard_error]
    errors += [comparison.engine.points[0].standard_error, comparison.drops[0].standard_error]
    drawn_errors = [*tars.std(axis=0), np.std(tars[:, 0] - tars[:, 1])]
    assert errors == pytest.approx(drawn_errors, rel=0.35)


@pytest.mark.parametrize(
    ("embeddings", "identities", "targets", "message"),
    [
        (np.eye(4), np.arange(3), (0.1,), r"found \(4, 4\) and \(3,\)"),
        (np.eye(4), np.array([0, 0, 1, 2]), (0.1,), "3 identities, 1 of them with at least two"),
        (np.eye(4), np.array([0, 0, 1, 1]), (0.1,), "2 identities, 2 of them"),
        (np.eye(5), np.array([0, 0, 1, 1, 2]), (0.0,), r"between 0 and 1, found \(0\.0,\)"),
        (np.eye(5), np.array([0, 0, 1, 1, 2]), (), r"found \(\)"),
        (np.eye(5) * np.nan, np.array([0, 0, 1, 1, 2]), (0.1,), "embedding 0 holds NaN"),
    ],
)
def test_what_cannot_be_scored_is_refused(
    embeddings: NDArray[Any], identities: NDArray[Any], targets: tuple[float, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        all_pairs(embeddings, identities, targets)
