"""Two engines on the same pairs, beside the steps that the suites take one by one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from facenet_validate.metrics.bootstrap import bootstrap_identities
from facenet_validate.metrics.comparison import compare_views, frozen_decisions
from facenet_validate.metrics.delong import delong_paired
from facenet_validate.metrics.paired import compare_decisions
from facenet_validate.metrics.pairs import PairList
from facenet_validate.metrics.power import minimum_detectable_drop
from facenet_validate.metrics.protocols import PROTOCOLS, Protocol
from facenet_validate.metrics.verification import decisions, evaluate, pair_distances
from facenet_validate.metrics.view2 import View2, evaluate_embeddings
from tests.metrics.test_view2 import ALL_PROTOCOLS, every_protocol, people


def damaged(embeddings: NDArray[Any], damage: float = 0.05) -> NDArray[Any]:
    random = np.random.default_rng(1)
    return embeddings * 0.9 + np.float32(damage) * random.normal(size=embeddings.shape)


def views(
    protocol: Protocol = PROTOCOLS["plain"],
) -> tuple[PairList, NDArray[np.intp], NDArray[Any], View2, View2]:
    embeddings, pairs = people(folds=4, per_kind=40)
    rows = damaged(embeddings)
    reference, engine = (evaluate_embeddings(e, pairs, protocol) for e in (embeddings, rows))
    return pairs, np.arange(len(embeddings)) // 4, rows, reference, engine


@every_protocol
def test_a_comparison_is_its_parts(protocol: Protocol) -> None:
    pairs, identities, rows, reference, engine = views(protocol)
    found = compare_views(reference, engine, rows, identities, delta=0.05, alpha=0.002)
    frozen = reference.rule.distances(rows, pairs)
    correct = reference.rule.correct(frozen, pairs)
    paired = compare_decisions(reference.correct, correct)
    np.testing.assert_array_equal(found.frozen.distances, frozen)
    np.testing.assert_array_equal(found.frozen.correct, correct)
    assert found.frozen.paired == paired
    assert paired.lost > 0
    assert found.delong == delong_paired(reference.distances, engine.distances, pairs.same)
    assert found.bootstrap == bootstrap_identities(
        pairs, identities, reference=reference, engine=engine, frozen=frozen
    )
    assert found.minimum_detectable_drop == minimum_detectable_drop(
        paired.lost, paired.won, paired.pairs, delta=0.05, alpha=0.002
    )


def test_by_the_plain_protocol_the_rule_is_the_thresholds_alone() -> None:
    """As ``quantize --tune`` decides: distances, thresholds, nothing else."""
    pairs, _, rows, reference, _ = views()
    embeddings, _ = people(folds=4, per_kind=40)
    before, after = (pair_distances(e, pairs.left, pairs.right) for e in (embeddings, rows))
    thresholds = evaluate(before, pairs.same, pairs.folds).thresholds
    right = [decisions(d, pairs.folds, thresholds) == pairs.same for d in (before, after)]
    found = frozen_decisions(reference, rows)
    np.testing.assert_array_equal(found.distances, after)
    np.testing.assert_array_equal(found.correct, right[1])
    assert found.paired == compare_decisions(*right)


def test_engines_on_other_pairs_are_not_compared() -> None:
    pairs, identities, rows, reference, _ = views()
    turned = PairList(pairs.right, pairs.left, pairs.same, pairs.folds)
    other = evaluate_embeddings(rows, turned)
    with pytest.raises(ValueError, match="evaluated on different pairs"):
        compare_views(reference, other, rows, identities, delta=0.05)
    # The same pairs in arrays of their own are the same pairs.
    copied = replace(pairs, left=pairs.left.copy(), same=pairs.same.copy())
    compare_views(reference, evaluate_embeddings(rows, copied), rows, identities, delta=0.05)


def test_engines_by_other_protocols_are_not_compared() -> None:
    pairs, identities, rows, reference, _ = views()
    other = evaluate_embeddings(rows, pairs, ALL_PROTOCOLS[2])
    with pytest.raises(ValueError, match="by protocol plain, the engine by angle"):
        compare_views(reference, other, rows, identities, delta=0.05)
