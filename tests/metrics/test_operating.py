"""Error rates at a threshold against a literal count, on pairs and over a whole gallery."""

from __future__ import annotations

import math
from itertools import combinations, permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from facenet_validate.gates.verdicts import Verdict
from facenet_validate.metrics.gallery_rates import gallery_rates
from facenet_validate.metrics.operating import (
    ErrorRates,
    FmrRise,
    fmr_rise,
    judge_fmr_rise,
    rates_of_pairs,
)
from facenet_validate.metrics.verification import pair_distances
from tests.metrics.test_all_pairs import Gallery, galleries


def literal(
    pairs: list[tuple[int, int]], accepted: list[bool], of: list[int]
) -> tuple[int, int, int, int, float, float, list[int]]:
    """Return what `ErrorRates` holds, counted one pair after the other."""
    genuine: dict[Any, list[bool]] = {}
    impostor: dict[Any, list[bool]] = {}
    accepts = [0] * (max(of) + 1)
    for (a, b), yes in zip(pairs, accepted, strict=True):
        if of[a] == of[b]:
            genuine.setdefault(of[a], []).append(not yes)
        else:
            impostor.setdefault(frozenset((of[a], of[b])), []).append(yes)
            accepts[of[a]] += yes
            accepts[of[b]] += yes
    return (
        sum(map(len, genuine.values())),
        sum(map(len, impostor.values())),
        sum(map(sum, genuine.values())),
        sum(map(sum, impostor.values())),
        float(np.mean([np.mean(one) for one in genuine.values()])),
        float(np.mean([np.mean(one) for one in impostor.values()])),
        accepts,
    )


def held(found: ErrorRates) -> tuple[Any, ...]:
    return (
        found.genuine,
        found.impostor,
        found.false_rejects,
        found.false_accepts,
        pytest.approx(found.fnmr_by_person),
        pytest.approx(found.fmr_by_people),
        found.accepts_of.tolist(),
    )


@given(galleries(), st.sampled_from([0.0, 0.5, 1.0, 2.0, 5.0, 100.0]), st.booleans())
def test_a_gallery_is_counted_pair_by_pair(gallery: Gallery, threshold: float, mixed: bool) -> None:
    """One engine compares each pair once, two engines each pair both ways."""
    embeddings, identities = gallery
    probes = embeddings[::-1].copy() if mixed else None
    both = embeddings if probes is None else np.concatenate([embeddings, probes])
    images = range(len(identities))
    pairs = list(permutations(images, 2) if mixed else combinations(images, 2))
    left, right = np.array(pairs).T
    distances = pair_distances(both, left, right + (len(identities) if mixed else 0))
    wanted = literal(pairs, (distances < threshold).tolist(), identities.tolist())
    assert held(gallery_rates(embeddings, identities, threshold, probes=probes)) == wanted


@given(galleries(), st.integers(0, 2**32 - 1))
def test_a_list_of_pairs_is_counted_pair_by_pair(gallery: Gallery, seed: int) -> None:
    _, identities = gallery
    random = np.random.default_rng(seed)
    pairs = [pair for pair in combinations(range(len(identities)), 2) if random.random() < 0.7]
    left, right = identities[np.array(pairs).reshape(-1, 2)].T
    same = left == right
    accepted = random.random(len(pairs)) < 0.5
    if same.all() or not same.any():
        with pytest.raises(ValueError, match="genuine and impostor pairs"):
            rates_of_pairs(accepted, same, left, right)
        return
    wanted = literal(pairs, accepted.tolist(), identities.tolist())
    found = held(rates_of_pairs(accepted, same, left, right))
    # Of the pairs alone nobody knows how many people there are beyond the last one.
    assert found[:-1] == wanted[:-1]
    assert found[-1] == wanted[-1][: len(found[-1])]
    assert not any(wanted[-1][len(found[-1]) :])


def test_the_jackknife_leaves_people_out() -> None:
    random = np.random.default_rng(0)
    people, photos = 30, 3
    identities = np.repeat(np.arange(people), photos)
    old = random.normal(size=(people * photos, 4))
    new = old + 0.2 * random.normal(size=old.shape)
    before, after = (gallery_rates(rows, identities, 2.0) for rows in (old, new))
    found = fmr_rise(before, after)
    logarithms = []
    for person in range(people):
        kept = identities != person
        counts = [
            gallery_rates(rows[kept], identities[kept], 2.0).false_accepts for rows in (old, new)
        ]
        logarithms.append(math.log((counts[1] + 0.5) / (counts[0] + 0.5)))
    spread = np.var(logarithms) * (people - 1)
    assert found.log_standard_error == pytest.approx(math.sqrt(spread))
    assert found.ratio == pytest.approx((after.false_accepts + 0.5) / (before.false_accepts + 0.5))


@pytest.mark.parametrize(
    ("ratio", "error", "reference", "verdict"),
    [
        (1.02, 0.05, 500, Verdict.PASS),
        (1.9, 0.05, 500, Verdict.FAIL),
        (1.2, 0.2, 500, Verdict.INCONCLUSIVE),
        (1.9, 0.4, 500, Verdict.INCONCLUSIVE),
        (1.9, 0.05, 29, Verdict.NOT_EVALUATED),
    ],
)
def test_verdicts(ratio: float, error: float, reference: int, verdict: Verdict) -> None:
    upper = ratio * math.exp(1.645 * error)
    p_value = 0.5 * math.erfc(math.log(ratio) / error / math.sqrt(2))
    rise = FmrRise(round(ratio * reference), reference, ratio, error, upper, p_value)
    found = judge_fmr_rise(rise, gate="operating.fmr_rise", limit=1.5, alpha=0.005)
    assert found.verdict is verdict
    assert ("--facenet-all-pairs" in found.detail) == (verdict is Verdict.NOT_EVALUATED)


def test_other_comparisons_have_no_ratio() -> None:
    rows: NDArray[np.float64] = np.random.default_rng(0).normal(size=(6, 2))
    some = gallery_rates(rows, np.array([0, 0, 1, 1, 2, 3]), 1.0)
    others = gallery_rates(rows, np.array([0, 0, 1, 1, 2, 2]), 1.0)
    with pytest.raises(ValueError, match="different comparisons"):
        fmr_rise(some, others)
