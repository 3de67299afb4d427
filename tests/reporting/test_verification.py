"""What the reports keep of a verification, and how the summary says it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from facenet_validate.metrics.classic import evaluate_classic
from facenet_validate.metrics.pairs import PairList
from facenet_validate.metrics.protocols import PROTOCOLS, with_flips
from facenet_validate.metrics.view2 import View2, evaluate_embeddings
from facenet_validate.reporting.verification import verification_lines, view2_values
from tests.metrics.test_view2 import people


def _lines(view: View2) -> list[str]:
    values: dict[str, Any] = json.loads(json.dumps(view2_values(view)))
    measurement = {"name": "verification", "precision": "int8", "dataset": "lfw", **values}
    return verification_lines([measurement])


@pytest.mark.parametrize("name", PROTOCOLS)
def test_the_classic_figures_stand_beside_ours(name: str) -> None:
    embeddings, pairs = people(per_kind=50)
    view = evaluate_embeddings(embeddings, pairs, PROTOCOLS[name])
    values, classic = view2_values(view), evaluate_classic(view)
    assert classic is not None
    told = values["classic"]
    assert told == {
        "accuracy": classic.accuracy,
        "accuracy_std_over_folds": classic.accuracy_std,
        "auc": classic.auc,
        "eer": classic.eer,
        "val": classic.val,
        "val_std_over_folds": classic.val_std,
        "val_far": classic.far,
        "thresholds": classic.fold_thresholds.tolist(),
        "fold_accuracies": classic.fold_accuracies.tolist(),
    }
    assert values["thresholds"] != told["thresholds"], "those of the grid"
    assert _lines(view) == [
        "classic, int8 on lfw, as the published scripts print it (a grid of thresholds): accuracy "
        f"{classic.accuracy:.5f} ± {classic.accuracy_std:.5f}, AUC {classic.auc:.5f}, EER "
        f"{classic.eer:.5f}, VAL {classic.val:.5f} ± {classic.val_std:.5f} at FAR "
        f"{classic.far:.5f}"
    ]


def test_a_measurement_of_that_name_by_a_user_s_suite_needs_no_classic_figures() -> None:
    assert verification_lines([{"name": "verification", "accuracy": 0.9}]) == []


def test_a_grid_that_ends_too_early_has_no_eer() -> None:
    embeddings, pairs = people(per_kind=50)
    view = evaluate_embeddings(with_flips(embeddings, embeddings[:, ::-1]), pairs)
    assert view2_values(view)["classic"]["eer"] is None
    assert ", EER none, VAL " in _lines(view)[0]


def test_a_fold_of_one_kind_leaves_ours_alone() -> None:
    """A set of one's own may have such a fold."""
    distances = np.array([0.2, 0.9, 0.3, 0.8, 0.7])
    embeddings = np.concatenate([[0.0], np.sqrt(distances)])[:, None]
    pairs = PairList(
        np.zeros(5, np.intp),
        np.arange(1, 6),
        np.array([True, False, True, False, False]),
        np.array([0, 0, 1, 1, 2]),
    )
    view = evaluate_embeddings(embeddings, pairs)
    values = view2_values(view)
    assert (values["accuracy"], values["classic"]) == (1, None)
    assert _lines(view) == [
        "classic, int8 on lfw: no figures, a fold lacks genuine or impostor pairs"
    ]
