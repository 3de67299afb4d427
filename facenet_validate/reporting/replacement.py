"""What the reports keep of a replacement: templates, the deployed threshold, identification."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from facenet_validate.reporting.verification import paired_values

if TYPE_CHECKING:
    from facenet_validate.metrics.by_person import LossByPerson
    from facenet_validate.metrics.groups import Group
    from facenet_validate.metrics.identification import Identification
    from facenet_validate.metrics.operating import ErrorRates


def rates_values(rates: ErrorRates) -> dict[str, Any]:
    """Return error rates at a threshold as JSON has them."""
    return {
        "genuine": rates.genuine,
        "impostor": rates.impostor,
        "false_rejects": rates.false_rejects,
        "false_accepts": rates.false_accepts,
        "fnmr": rates.fnmr,
        "fmr": rates.fmr,
        "fnmr_by_person": rates.fnmr_by_person,
        "fmr_by_pair_of_people": rates.fmr_by_people,
    }


def groups_values(groups: Sequence[Group]) -> list[dict[str, Any]]:
    """Return the groups of a set as JSON has them."""
    return [
        {
            "group": group.name,
            **paired_values(group.paired),
            "engine": asdict(group.engine),
            "reference": asdict(group.reference),
        }
        for group in groups
    ]


def identification_values(engine: Identification, mixed: Identification) -> dict[str, Any]:
    """Return identification as JSON has it, with the reference's gallery beside.

    Parameters
    ----------
    engine : Identification
        The engine made templates and probes.
    mixed : Identification
        The reference made the templates, the engine embeds the probes.
    """
    return {
        "people": engine.people,
        "templates": engine.templates,
        "mated_probes": engine.mated,
        "non_mated_probes": engine.non_mated,
        "reference": {
            "rank1": engine.reference_rank1,
            "at": [
                {"fpir_asked": target, "threshold": threshold, "fnir": fnir, "fpir": fpir}
                for target, threshold, fnir, fpir in zip(
                    engine.targets,
                    engine.thresholds,
                    engine.reference_fnir,
                    engine.reference_fpir,
                    strict=True,
                )
            ],
        },
        "engine": _searched(engine),
        "mixed": _searched(mixed),
    }


def _searched(found: Identification) -> dict[str, Any]:
    return {
        "rank1": found.rank1,
        "at": [
            {
                "fpir_asked": target,
                "fnir": fnir,
                "fpir": fpir,
                "own_threshold": threshold,
                "fnir_at_own_threshold": own,
            }
            for target, fnir, fpir, threshold, own in zip(
                found.targets,
                found.fnir,
                found.fpir,
                found.own_thresholds,
                found.own_fnir,
                strict=True,
            )
        ],
        "rank1_loss": _loss_values(found.rank1_loss),
        "fnir_loss": _loss_values(found.fnir_loss),
    }


def _loss_values(loss: LossByPerson) -> dict[str, Any]:
    return {
        "people": loss.people,
        "mean": loss.loss,
        "standard_error": loss.standard_error,
        "upper_95": loss.upper,
        "sign_flip_p_value": loss.p_value,
        "minimum_detectable": loss.minimum_detectable,
    }


def replacement_lines(measurements: Sequence[dict[str, Any]]) -> list[str]:
    """Return the lines of the terminal's summary about a replacement."""
    lines = []
    for m in measurements:
        where = f"{m.get('precision')} on {m.get('dataset')}"
        if m["name"] == "stored templates" and "text" in m:
            beside = "FP32" if m["compared_with"] == "reference" else "the engine compared with"
            lines.append(f"templates, {where}, beside {beside}: {m['text']}")
        elif m["name"] == "groups":
            lines += [_group_line(one, where) for one in m.get("groups", ())]
        elif m["name"] == "operating point":
            lines += _operating_lines(m, where)
        elif m["name"] == "identification" and "engine" in m:
            lines += _identification_lines(m, where)
    return lines


def _group_line(one: dict[str, Any], where: str) -> str:
    def told(rates: dict[str, Any]) -> str:
        fmr, fnmr = (
            "none" if rates[name] is None else f"{rates[name]:.5f}" for name in ("fmr", "fnmr")
        )
        return f"ACC {rates['accuracy']:.5f}, FMR {fmr}, FNMR {fnmr}"

    return (
        f"group {one['group']}, {where}: {one['pairs']} pairs, {told(one['engine'])}; FP32 "
        f"{told(one['reference'])}; {one['lost']} lost, {one['won']} won"
    )


def _operating_lines(m: dict[str, Any], where: str) -> list[str]:
    if "pairs" not in m:
        taken = [
            f"FAR {far} {'needs more impostor pairs' if at is None else f'at squared L2 {at:.4f}'}"
            for far, at in m["thresholds"].items()
        ]
        return [
            f"operating point, {where}: no --facenet-threshold; FP32 takes {', '.join(taken)} on "
            "these pairs, which is not for deployment"
        ]
    lines = []
    for key, title in (("pairs", "the set's pairs"), ("all_pairs", "all pairs")):
        if key in m:
            told = [
                f"{name} FMR {one['fmr']:.3g}, FNMR {one['fnmr']:.5f} (by person "
                f"{one['fmr_by_pair_of_people']:.3g}, {one['fnmr_by_person']:.5f})"
                for name, one in m[key].items()
            ]
            lines.append(
                f"operating point, {where}, {m['metric']} {m['threshold']:g}, {title}: "
                + "; ".join(told)
            )
    return lines


def _identification_lines(m: dict[str, Any], where: str) -> list[str]:
    told = []
    for name, title in (
        ("reference", "FP32"),
        ("engine", "engine"),
        ("mixed", "FP32's gallery, engine's probes"),
    ):
        at = m[name]["at"][0]
        told.append(
            f"{title} rank 1 {m[name]['rank1']:.5f}, FNIR {at['fnir']:.5f} at FPIR {at['fpir']:.5f}"
        )
    return [
        f"identification, {where}: {m['templates']} enrolled, {m['mated_probes']} mated and "
        f"{m['non_mated_probes']} non-mated probes: " + "; ".join(told)
    ]
