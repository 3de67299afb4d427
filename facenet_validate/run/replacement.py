"""What replacing an engine changes: stored templates, the deployed threshold, identification."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np

from facenet_validate.datasets.verification_set import VerificationSet
from facenet_validate.gates.verdicts import GateResult, Observed, Verdict, not_evaluated
from facenet_validate.metrics.arrays import Floats, Integers
from facenet_validate.metrics.by_person import LossByPerson, judge_loss
from facenet_validate.metrics.comparison import frozen_decisions
from facenet_validate.metrics.gallery_rates import gallery_rates
from facenet_validate.metrics.groups import compare_groups, judge_groups
from facenet_validate.metrics.identification import (
    FPIR_TARGETS,
    compare_searches,
    enrol_first_images,
    search,
)
from facenet_validate.metrics.mixed import mixed_templates
from facenet_validate.metrics.operating import (
    ErrorRates,
    fmr_rise,
    judge_fmr_rise,
    rates_of_pairs,
)
from facenet_validate.metrics.paired import compare_decisions, non_inferiority
from facenet_validate.metrics.roc import Roc
from facenet_validate.metrics.verification import pair_distances
from facenet_validate.metrics.view2 import View2
from facenet_validate.reporting.replacement import (
    groups_values,
    identification_values,
    rates_values,
)
from facenet_validate.reporting.verification import paired_values
from facenet_validate.run.judging import Gates
from facenet_validate.run.run import ComparisonRules

Beside = Literal["reference", "against"]
"""What an engine is compared with: the FP32 reference, or the engine of ``--facenet-against``."""

_MIXED_GATES: dict[Beside, str] = {
    "reference": "accuracy.mixed_drop",
    "against": "accuracy.against_mixed_drop",
}
_TEMPLATES: dict[Beside, str] = {
    "reference": "templates of this FP32 model",
    "against": "stored templates",
}
_GROUP = "accuracy.group_drop"
_FNMR, _FMR = "operating.fnmr_rise", "operating.fmr_rise"
_RANK1, _FNIR = "identification.rank1_drop", "identification.fnir_rise"
_FARS = (1e-3, 1e-4)


@dataclass(frozen=True)
class Judged:
    """Results of gates, and what they were judged on as ``results.json`` has it."""

    results: tuple[GateResult | Observed, ...]
    values: dict[str, Any]


def stored_templates(
    old: View2,
    old_embeddings: Floats,
    new_embeddings: Floats,
    beside: Beside,
    gates: Gates,
    alpha: float,
    people: Integers | None = None,
) -> Judged:
    """Judge pairs whose one face is a template of the old engine.

    Parameters
    ----------
    old : View2
        The old engine's evaluation, whose rule decides.
    old_embeddings, new_embeddings : (N, D) float arrays
        As the protocol compares them.
    beside : {"reference", "against"}
        Which engine is the old one.
    gates : Gates
        The limits in force.
    alpha : float
        Each direction's error probability.
    people : (N,) integer array or None
        Who is in each image, where bounds are taken over people too.
    """
    gate, whose = _MIXED_GATES[beside], _TEMPLATES[beside]
    old_size, new_size = old_embeddings.shape[1], new_embeddings.shape[1]
    if old_size != new_size:
        words = f"enrol again: templates of {old_size} values, embeddings of {new_size}"
        values: dict[str, Any] = {"compared_with": beside, "gate": gate, "text": words}
        failed = partial(GateResult, gate, Verdict.FAIL, None, detail=words)
        return Judged((gates.within_limit(gate, failed, words),), values)
    found = mixed_templates(old, old_embeddings, new_embeddings)
    if people is not None:
        found = found.bounded_over_people(old, people)
    values = {
        "compared_with": beside,
        "gate": gate,
        "alpha": alpha,
        "directions": {
            "stored_left": paired_values(found.stored_left.paired),
            "stored_right": paired_values(found.stored_right.paired),
        },
    }
    result = gates.within_limit(
        gate, lambda delta: found.judge(gate=gate, delta=delta, alpha=alpha), found.text
    )
    told = {
        Verdict.PASS: f"{whose} may stay",
        Verdict.FAIL: f"enrol again: {whose} do not fit this engine",
        Verdict.INCONCLUSIVE: f"not shown that {whose} may stay",
    }.get(result.verdict)
    if told is None:
        return Judged((result,), values)
    result = replace(result, detail=f"{told}; {result.detail}")
    return Judged((result,), values | {"text": told})


def groups_of(
    dataset: VerificationSet, old: View2, new_embeddings: Floats, gates: Gates, alpha: float
) -> Judged:
    """Judge each group of people that a set names, by the reference's frozen rule.

    Parameters
    ----------
    dataset : VerificationSet
        Names groups, or none.
    old : View2
        The reference's evaluation.
    new_embeddings : (N, D) float array
        As the protocol compares them.
    gates : Gates
        The limits in force.
    alpha : float
        Each group's error probability.
    """
    if not dataset.groups:
        return Judged((), {})
    correct = frozen_decisions(old, new_embeddings).correct
    found = compare_groups(dataset.groups, dataset.group_of, dataset.same, old.correct, correct)
    result = gates.within_limit(
        _GROUP,
        lambda delta: judge_groups(found, gate=_GROUP, delta=delta, alpha=alpha),
        f"{len(found)} groups",
    )
    return Judged((result,), {"alpha": alpha, "groups": groups_values(found)})


def operating_point(
    dataset: VerificationSet,
    reference: Floats,
    engine: Floats,
    rules: ComparisonRules,
    gates: Gates,
    gallery: tuple[Floats, Floats, np.ndarray[Any, Any]] | None,
) -> Judged:
    """Judge false matches and false non-matches at the deployed threshold.

    Parameters
    ----------
    dataset : VerificationSet
        The pairs.
    reference, engine : (N, D) float arrays
        Embeddings as production compares them: one a photo, whatever the run's protocol.
    rules : ComparisonRules
        With a threshold.
    gates : Gates
        The limits in force.
    gallery : tuple or None
        The reference's and the engine's embeddings of every photo of the people in pairs, and who
        is in each; None unless all pairs are compared.
    """
    threshold = rules.threshold
    assert threshold is not None
    limit, left, right, same = threshold.squared, dataset.left, dataset.right, dataset.same
    people = dataset.identities
    before = pair_distances(reference, left, right) < limit
    after = pair_distances(engine, left, right) < limit
    both = np.concatenate([reference, engine])
    one_way = pair_distances(both, left, right + len(reference)) < limit
    other_way = pair_distances(both, left + len(reference), right) < limit
    twice = [np.concatenate([part, part]) for part in (same, people[left], people[right])]
    rates = {
        "reference": rates_of_pairs(before, same, people[left], people[right]),
        "engine": rates_of_pairs(after, same, people[left], people[right]),
        "mixed": rates_of_pairs(np.concatenate([one_way, other_way]), *twice),
    }
    values: dict[str, Any] = {
        "threshold": threshold.value,
        "metric": threshold.metric,
        "squared_l2": limit,
        "pairs": {name: rates_values(one) for name, one in rates.items()},
    }
    judged = rates
    if gallery is not None:
        old, new, who = gallery
        judged = {
            "reference": gallery_rates(old, who, limit),
            "engine": gallery_rates(new, who, limit),
            "mixed": gallery_rates(old, who, limit, probes=new),
        }
        values["all_pairs"] = {name: rates_values(one) for name, one in judged.items()}
    results = (
        _fnmr_result(before[same], after[same], rates, gates, rules.operating_alpha),
        _fmr_result(judged, gates, rules.operating_alpha, all_pairs=gallery is not None),
    )
    return Judged(results, values)


def _fnmr_result(
    before: np.ndarray[Any, np.dtype[np.bool_]],
    after: np.ndarray[Any, np.dtype[np.bool_]],
    rates: dict[str, ErrorRates],
    gates: Gates,
    alpha: float,
) -> GateResult:
    paired = compare_decisions(before, after)
    text = f"FNMR {rates['engine'].fnmr:.5f}, FP32 {rates['reference'].fnmr:.5f}"

    def judge(delta: float) -> GateResult:
        result = non_inferiority(paired, gate=_FNMR, delta=delta, alpha=alpha)
        return replace(result, detail=f"{text}; of genuine pairs {result.detail}")

    return gates.within_limit(_FNMR, judge, text)


def _fmr_result(
    rates: dict[str, ErrorRates], gates: Gates, alpha: float, *, all_pairs: bool
) -> GateResult:
    text = f"FMR {rates['engine'].fmr:.3g}, FP32 {rates['reference'].fmr:.3g}"
    text += f" of {rates['engine'].impostor} impostor pairs"
    text += ", all pairs" if all_pairs else ""

    def judge(limit: float) -> GateResult:
        rise = fmr_rise(rates["reference"], rates["engine"])
        result = judge_fmr_rise(rise, gate=_FMR, limit=limit, alpha=alpha)
        return replace(result, detail=f"{text}; {result.detail}")

    return gates.within_limit(_FMR, judge, text)


def thresholds_on(dataset: VerificationSet, reference: Floats) -> dict[str, float | None]:
    """Return the squared L2 thresholds that the reference would take on this set, by FAR.

    None where the set has too few impostor pairs for a single false accept.
    """
    distances = pair_distances(reference, dataset.left, dataset.right)
    roc, impostors = Roc.from_pairs(distances, dataset.same), int((~dataset.same).sum())
    return {
        f"{far:g}": roc.tar_at_far(far).threshold if far * impostors >= 1 else None for far in _FARS
    }


def identification(
    dataset: VerificationSet,
    reference: Floats,
    engine: Floats,
    gates: Gates,
    alpha: float,
) -> Judged:
    """Judge one-to-many searches at the reference's frozen threshold.

    Parameters
    ----------
    dataset : VerificationSet
        Its photos are enrolled and searched for, in the order of their names.
    reference, engine : (N, D) float arrays
        Embeddings, one a photo.
    gates : Gates
        The limits in force.
    alpha : float
        Each gate's error probability.
    """
    try:
        enrolment = enrol_first_images(dataset.identities)
        searched = search(reference, reference, enrolment)
    except ValueError as error:
        return Judged((Observed(_RANK1, None, str(error)), Observed(_FNIR, None, str(error))), {})
    found = compare_searches(searched, search(engine, engine, enrolment), enrolment)
    mixed = compare_searches(searched, search(reference, engine, enrolment), enrolment)
    values = identification_values(found, mixed)

    def result(gate: str, loss: LossByPerson, text: str) -> GateResult:
        def judge(delta: float) -> GateResult:
            one = judge_loss(loss, gate=gate, delta=delta, alpha=alpha)
            return replace(one, detail=f"{text}; {one.detail}")

        return gates.within_limit(gate, judge, text)

    rank1 = result(
        _RANK1, found.rank1_loss, f"rank 1 {found.rank1:.5f}, FP32 {found.reference_rank1:.5f}"
    )
    allowed = int(FPIR_TARGETS[0] * found.non_mated)
    text = f"FNIR {found.fnir[0]:.5f}, FP32 {found.reference_fnir[0]:.5f}"
    text += f"; FPIR {found.fpir[0]:.5f}, FP32 {found.reference_fpir[0]:.5f}"
    if not allowed:
        reason = f"{found.non_mated} people who are not enrolled are too few for FPIR 0.01"
        fnir = not_evaluated(_FNIR, reason, gates.limits.get(_FNIR))
    else:
        fnir = result(_FNIR, found.fnir_loss, text)
    return Judged((rank1, fnir), values)
