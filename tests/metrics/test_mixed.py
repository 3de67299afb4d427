"""Mixed templates against a literal reading: one face by the old engine, the other by the new."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import ortho_group

from facenet_validate.gates.verdicts import Verdict
from facenet_validate.metrics.comparison import frozen_decisions
from facenet_validate.metrics.mixed import MixedTemplates, mixed_templates
from facenet_validate.metrics.paired import compare_counts
from facenet_validate.metrics.pairs import PairList
from facenet_validate.metrics.protocols import PROTOCOLS
from facenet_validate.metrics.view2 import evaluate_embeddings

PEOPLE, PHOTOS, SIZE = 60, 4, 16


def faces(seed: int) -> NDArray[np.float64]:
    """Unit embeddings of people with four photos each."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(PEOPLE, 1, SIZE))
    rows = (centres + 0.55 * random.normal(size=(PEOPLE, PHOTOS, SIZE))).reshape(-1, SIZE)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def pairs_of_people() -> PairList:
    """Six genuine pairs of each person, and as many with the next person, in ten folds."""
    left, right, same = [], [], []
    for person in range(PEOPLE):
        for a in range(PHOTOS):
            for b in range(a + 1, PHOTOS):
                other = (person + 1 + a + b) % PEOPLE
                left += [person * PHOTOS + a, person * PHOTOS + a]
                right += [person * PHOTOS + b, other * PHOTOS + b]
                same += [True, False]
    folds = np.arange(len(left)) * 10 // len(left)
    return PairList(np.array(left), np.array(right), np.array(same), folds)


@pytest.mark.parametrize("name", sorted(PROTOCOLS))
def test_each_direction_is_the_literal_one(name: str) -> None:
    """By every protocol: thresholds and means are the old engine's for both faces of a pair."""
    old, pairs, protocol = faces(0), pairs_of_people(), PROTOCOLS[name]
    new = old + 0.05 * np.random.default_rng(1).normal(size=old.shape)
    view = evaluate_embeddings(old, pairs, protocol)
    found = mixed_templates(view, old, new)
    for decided, left_of, right_of in (
        (found.stored_left, old, new),
        (found.stored_right, new, old),
    ):
        for pair in range(0, len(pairs), 37):
            rows = np.stack([left_of[pairs.left[pair]], right_of[pairs.right[pair]]])
            one = slice(pair, pair + 1)
            alone = PairList(np.array([0]), np.array([1]), pairs.same[one], pairs.folds[one])
            assert view.rule.distances(rows, alone) == pytest.approx(decided.distances[one])
        lost = sum(view.correct & ~decided.correct)
        assert (decided.paired.lost, decided.paired.pairs) == (lost, len(pairs))


def test_an_engine_equal_to_the_old_one_loses_nothing() -> None:
    old, pairs = faces(0), pairs_of_people()
    found = mixed_templates(evaluate_embeddings(old, pairs), old, old.copy())
    for decided in (found.stored_left, found.stored_right):
        assert (decided.paired.lost, decided.paired.won) == (0, 0)


def test_a_rotation_is_seen_by_mixed_templates_alone() -> None:
    old, pairs = faces(0), pairs_of_people()
    new = old @ ortho_group.rvs(SIZE, random_state=3)
    view = evaluate_embeddings(old, pairs)
    assert frozen_decisions(view, new).paired.lost == 0
    found = mixed_templates(view, old, new).judge(
        gate="accuracy.mixed_drop", delta=0.01, alpha=0.01
    )
    assert found.verdict is Verdict.FAIL
    assert found.observed is not None
    assert found.observed > 0.2


@pytest.mark.parametrize(
    ("left", "right", "verdict", "observed"),
    [
        ((4, 1), (2, 1), Verdict.PASS, 3 / 6000),
        ((2, 1), (4, 1), Verdict.PASS, 3 / 6000),
        ((40, 1), (2, 1), Verdict.FAIL, 39 / 6000),
        ((2, 1), (40, 1), Verdict.FAIL, 39 / 6000),
        ((19, 5), (2, 1), Verdict.INCONCLUSIVE, 14 / 6000),
        ((19, 5), (40, 1), Verdict.FAIL, 39 / 6000),
    ],
)
def test_the_worse_direction_tells(
    left: tuple[int, int], right: tuple[int, int], verdict: Verdict, observed: float
) -> None:
    old, pairs = faces(0), pairs_of_people()
    some = frozen_decisions(evaluate_embeddings(old, pairs), old)
    sides = [
        type(some)(some.distances, some.correct, compare_counts(*counts, pairs=6000))
        for counts in (left, right)
    ]
    found = MixedTemplates(*sides).judge(gate="accuracy.mixed_drop", delta=0.003, alpha=0.005)
    assert found.verdict is verdict
    assert found.observed == pytest.approx(observed)
    assert f"{left[0]} lost, {left[1]} won with the left face stored" in found.detail
    assert f"{right[0]} lost, {right[1]} won with the right face stored" in found.detail


def test_other_images_are_refused() -> None:
    old, pairs = faces(0), pairs_of_people()
    with pytest.raises(ValueError, match=r"\(240, 16\), the new embeddings \(239, 16\)"):
        mixed_templates(evaluate_embeddings(old, pairs), old, old[:-1])
