"""Where few people share many pairs, bounds are taken over people too."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from facenet_validate.gates.verdicts import GateResult, Verdict
from facenet_validate.metrics.view2 import evaluate_embeddings
from facenet_validate.reporting.photos import PhotoRules
from facenet_validate.run.evaluation import EngineComparison
from tests.run.test_replacement import PHOTOS, RULES, Rows, gates, photos

LIMITS = gates(accuracy__paired_drop=0.015, accuracy__mixed_drop=0.015)


def _two_people_lost(old: Rows) -> Rows:
    """An engine that embeds every photo of two people apart, and all others as before."""
    new = old.copy()
    random = np.random.default_rng(5)
    noise = random.normal(size=(2 * PHOTOS, old.shape[1]))
    new[: 2 * PHOTOS] = noise / np.linalg.norm(noise, axis=1, keepdims=True)
    return new


def _comparison(*, few_people: bool) -> EngineComparison:
    dataset, old = photos()
    dataset, new = replace(dataset, few_people=few_people), _two_people_lost(old)
    data: Any = SimpleNamespace(
        named=lambda name: dataset,
        faces_of=lambda name: None,
        photo_rules=lambda name: PhotoRules("none", None),
    )
    embedder: Any = SimpleNamespace(
        view=lambda rows, name: evaluate_embeddings(rows, dataset.pairs),
        scored=lambda rows, faces: rows,
    )
    engine: Any = None
    other: Any = None
    found: Any = EngineComparison(
        engine,
        other,
        "reference",
        "lfw",
        data,
        embedder,
        RULES,
    )
    found._engine, found._other = new, old
    return found  # type: ignore[no-any-return]


@pytest.mark.parametrize("few_people", [False, True])
@pytest.mark.parametrize("judge", ["lost_decisions", "stored_templates"])
def test_losses_of_two_people_pass_where_pairs_are_taken_to_be_independent(
    judge: str, few_people: bool
) -> None:
    (result,) = getattr(_comparison(few_people=few_people), judge)(LIMITS).results
    assert isinstance(result, GateResult)
    assert result.observed == pytest.approx(6 / 900, abs=1.5 / 900)
    assert result.verdict is (Verdict.INCONCLUSIVE if few_people else Verdict.PASS)
    (_, upper) = result.interval or (0, 0)
    assert (upper > 0.015) is few_people
