"""What replacing an engine changes: stored templates, the deployed threshold, identification."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import ortho_group

from facenet_validate.base.threshold import Threshold
from facenet_validate.datasets.verification_set import VerificationSet
from facenet_validate.gates.records import Subject
from facenet_validate.gates.verdicts import GateResult, Observed, Verdict
from facenet_validate.metrics.view2 import evaluate_embeddings
from facenet_validate.run.judging import Gates
from facenet_validate.run.replacement import (
    Beside,
    groups_of,
    identification,
    operating_point,
    stored_templates,
    thresholds_on,
)
from facenet_validate.run.run import ComparisonRules

LIMITS = {
    "accuracy.mixed_drop": 0.01,
    "accuracy.against_mixed_drop": 0.01,
    "operating.fnmr_rise": 0.01,
    "operating.fmr_rise": 1.5,
    "identification.rank1_drop": 0.02,
    "identification.fnir_rise": 0.05,
}
RULES = ComparisonRules(0.005, 0.005, 0.005, Threshold(1.1, "squared-l2"), all_pairs=False)
PEOPLE, PHOTOS, STRANGERS, SIZE = 150, 3, 300, 24

Rows = NDArray[np.float64]


def unit(rows: Rows) -> Rows:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def photos() -> tuple[VerificationSet, Rows]:
    """People with three photos and people with one; every genuine pair, and impostors as many."""
    random = np.random.default_rng(0)
    identities = np.concatenate(
        [np.repeat(np.arange(PEOPLE), PHOTOS), PEOPLE + np.arange(STRANGERS)]
    )
    centres = random.normal(size=(PEOPLE + STRANGERS, SIZE))
    rows = unit(centres[identities] + 0.45 * random.normal(size=(len(identities), SIZE)))
    left = np.repeat(np.arange(PEOPLE) * PHOTOS, PHOTOS) + np.tile([0, 0, 1], PEOPLE)
    right = np.repeat(np.arange(PEOPLE) * PHOTOS, PHOTOS) + np.tile([1, 2, 2], PEOPLE)
    other = random.integers(PEOPLE * PHOTOS, len(identities), size=len(left))
    pairs = 2 * len(left)
    names = tuple(f"photo_{row:04}" for row in range(len(identities)))
    return (
        VerificationSet(
            name="lfw",
            title="some people",
            names=names,
            paths=tuple(Path(name) for name in names),
            identities=identities,
            left=np.concatenate([left, left]),
            right=np.concatenate([right, other]),
            same=np.arange(pairs) < len(left),
            folds=np.arange(pairs) % 10,
            suspect=np.array([], np.intp),
            calibration_names=(),
            calibration_paths=(),
            pairs_digest="",
        ),
        rows,
    )


def gates(**limits: float | None) -> Gates:
    """Limits in force, some of them changed or taken away."""
    changed = {**LIMITS, **{name.replace("__", "."): limit for name, limit in limits.items()}}
    return Gates(
        {name: limit for name, limit in changed.items() if limit is not None},
        Subject("int8", "cpu", "lfw", recipe_only=False),
        [],
        "warn",
    )


def noisy(rows: Rows, noise: float) -> Rows:
    return unit(rows + noise * np.random.default_rng(1).normal(size=rows.shape))


def rotated(rows: Rows) -> Rows:
    return rows @ ortho_group.rvs(SIZE, random_state=2)


def kept(
    new: Rows, beside: Beside = "reference", delta: float | None = 0.01
) -> tuple[GateResult | Observed, dict[str, object]]:
    dataset, old = photos()
    view = evaluate_embeddings(old, dataset.pairs)
    limits = gates(accuracy__mixed_drop=delta, accuracy__against_mixed_drop=delta)
    found = stored_templates(view, old, new, beside, limits, alpha=0.005)
    (result,) = found.results
    return result, found.values


@pytest.mark.parametrize(
    ("beside", "words"),
    [
        ("reference", "templates of this FP32 model may stay"),
        ("against", "stored templates may stay"),
    ],
)
def test_templates_may_stay(beside: Beside, words: str) -> None:
    """Only beside the engine in production the word is of what production holds."""
    _, old = photos()
    result, values = kept(noisy(old, 0.001), beside)
    assert isinstance(result, GateResult)
    assert result.verdict is Verdict.PASS
    assert result.detail.startswith(f"{words}; ")
    assert result.detail.endswith("with the right face stored; of 900 pairs each")
    assert values["text"] == words


def test_a_rotation_asks_to_enrol_again() -> None:
    _, old = photos()
    result, values = kept(rotated(old), "against")
    assert isinstance(result, GateResult)
    assert result.verdict is Verdict.FAIL
    assert values["text"] == "enrol again: stored templates do not fit this engine"


def test_what_is_not_shown_is_not_called_fit() -> None:
    _, old = photos()
    result, values = kept(noisy(old, 0.001), "against", delta=0.001)
    assert isinstance(result, GateResult)
    assert result.verdict is Verdict.INCONCLUSIVE
    assert values["text"] == "not shown that stored templates may stay"


def test_templates_of_another_size_are_not_computed_with() -> None:
    _, old = photos()
    result, _ = kept(old[:, :12], "against")
    assert isinstance(result, GateResult)
    assert (result.verdict, result.observed) == (Verdict.FAIL, None)
    assert result.detail == "enrol again: templates of 24 values, embeddings of 12"


@pytest.mark.parametrize("size", [SIZE, 12])
def test_without_a_limit_templates_are_not_judged(size: int) -> None:
    _, old = photos()
    result, _ = kept(old[:, :size], delta=None)
    assert isinstance(result, GateResult)
    assert result.verdict is Verdict.NOT_EVALUATED
    assert "no limit in gates.toml" in result.detail


def grouped(
    new: Rows, groups: tuple[str, ...] = ("guests", "staff"), delta: float = 0.03
) -> tuple[tuple[GateResult | Observed, ...], dict[str, object]]:
    dataset, old = photos()
    # Photos of the first people are of guests. A pair of a guest and a stranger is in no group.
    guest = dataset.identities < PEOPLE // 2
    left, right = guest[dataset.left], guest[dataset.right]
    of = np.where(left & right, 0, np.where(left | right, -1, 1)) if groups else np.array([], int)
    grouped = replace(dataset, groups=groups, group_of=of)
    view = evaluate_embeddings(old, dataset.pairs)
    found = groups_of(grouped, view, new, gates(accuracy__group_drop=delta), 0.002)
    return found.results, found.values


def test_every_group_of_a_healthy_engine_passes() -> None:
    _, old = photos()
    (result,), values = grouped(noisy(old, 0.0005))
    assert isinstance(result, GateResult)
    assert result.verdict is Verdict.PASS
    assert result.detail == "2 of 2 groups pass"
    assert [one["group"] for one in values["groups"]] == ["guests", "staff"]  # type: ignore[attr-defined]


def test_one_damaged_group_fails_by_its_name() -> None:
    dataset, old = photos()
    damaged = old.copy()
    guests = dataset.identities < PEOPLE // 2
    damaged[guests] = noisy(old, 0.6)[guests]
    (result,), _ = grouped(damaged)
    assert isinstance(result, GateResult)
    assert result.verdict is Verdict.FAIL
    assert result.detail.startswith("group guests fails: ")


def test_a_small_group_is_not_called_fine() -> None:
    _, old = photos()
    (result,), _ = grouped(old, delta=0.003)
    assert isinstance(result, GateResult)
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "a pass needs 900 pairs" in result.detail


def test_a_set_without_groups_is_not_judged() -> None:
    _, old = photos()
    assert grouped(old, groups=()) == ((), {})


def operated(new: Rows, *, all_pairs: bool = False) -> dict[str, GateResult]:
    dataset, old = photos()
    gallery = (old, new, dataset.identities) if all_pairs else None
    found = operating_point(dataset, old, new, RULES, gates(), gallery)
    results = [one for one in found.results if isinstance(one, GateResult)]
    assert len(results) == len(found.results)
    assert set(found.values["pairs"]) == {"reference", "engine", "mixed"}
    assert ("all_pairs" in found.values) == all_pairs
    return {one.gate: one for one in results}


def test_a_healthy_engine_passes_at_the_threshold() -> None:
    _, old = photos()
    found = operated(noisy(old, 0.0005), all_pairs=True)
    assert [one.verdict for one in found.values()] == [Verdict.PASS] * 2


def test_shrunken_distances_raise_false_matches() -> None:
    _, old = photos()
    found = operated(np.sqrt(0.8) * old, all_pairs=True)
    assert found["operating.fmr_rise"].verdict is Verdict.FAIL
    assert found["operating.fnmr_rise"].verdict is Verdict.PASS


def test_stretched_distances_raise_false_non_matches() -> None:
    _, old = photos()
    found = operated(np.sqrt(1.5) * old, all_pairs=True)
    assert found["operating.fmr_rise"].verdict is Verdict.PASS
    assert found["operating.fnmr_rise"].verdict is Verdict.FAIL


def test_few_false_accepts_give_no_ratio() -> None:
    """The pairs of the set have a handful; all pairs have enough."""
    _, old = photos()
    result = operated(old)["operating.fmr_rise"]
    assert result.verdict is Verdict.NOT_EVALUATED
    assert "--facenet-all-pairs compares every photo" in result.detail


def test_a_set_says_which_thresholds_it_would_take() -> None:
    dataset, old = photos()
    found = thresholds_on(dataset, old)
    assert found["0.0001"] is None
    assert found["0.001"] is None  # 450 impostor pairs
    assert set(found) == {"0.001", "0.0001"}


def identified(new: Rows, **limits: float | None) -> dict[str, GateResult | Observed]:
    dataset, old = photos()
    found = identification(dataset, old, new, gates(**limits), 0.005)
    return {one.gate: one for one in found.results}


def test_a_healthy_engine_finds_everyone() -> None:
    _, old = photos()
    for result in identified(noisy(old, 0.0005)).values():
        assert isinstance(result, GateResult)
        assert result.verdict is Verdict.PASS


def test_a_damaged_engine_finds_fewer() -> None:
    _, old = photos()
    found = identified(noisy(old, 0.2))
    for result in found.values():
        assert isinstance(result, GateResult)
        assert result.verdict is Verdict.FAIL


def test_a_small_loss_over_few_people_is_not_decided() -> None:
    _, old = photos()
    result = identified(noisy(old, 0.0005), identification__rank1_drop=0.01)
    rank1 = result["identification.rank1_drop"]
    assert isinstance(rank1, GateResult)
    assert rank1.verdict is Verdict.INCONCLUSIVE


def test_a_set_without_strangers_is_not_judged() -> None:
    dataset, old = photos()
    enrolled = slice(0, PEOPLE * PHOTOS)
    alone = VerificationSet(
        **{
            **vars(dataset),
            "names": dataset.names[enrolled],
            "identities": dataset.identities[enrolled],
        }
    )
    found = identification(alone, old[enrolled], old[enrolled], gates(), 0.005)
    for one in found.results:
        assert isinstance(one, Observed)
        assert one.value is None
        assert "every person is enrolled" in one.detail
    assert found.values == {}
