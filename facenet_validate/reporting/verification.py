"""What the reports keep of a verification: figures, curves, and the pairs worth looking at."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from facenet_validate.reporting.distributions import roc_band

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from facenet_validate.datasets.verification_set import VerificationSet
    from facenet_validate.metrics.all_pairs import AllPairsComparison
    from facenet_validate.metrics.classic import ClassicEvaluation
    from facenet_validate.metrics.paired import PairedComparison
    from facenet_validate.metrics.verification import Verification
    from facenet_validate.metrics.view2 import View2

HARDEST = 10
"""Of each kind, genuine and impostor."""


def view2_values(view: View2) -> dict[str, Any]:
    """Return a View 2 evaluation as JSON has it: figures, thresholds, curves.

    ``classic`` holds the figures as the published scripts print them, on a grid of thresholds; it
    is None where :func:`~facenet_validate.metrics.classic.evaluate_classic` has none.
    """
    from facenet_validate.metrics.classic import evaluate_classic

    scores, curve, classic = view.scores, view.roc.curve(), evaluate_classic(view)
    return {
        "protocol": scores.protocol,
        "accuracy": scores.accuracy,
        "accuracy_std_over_folds": scores.accuracy_std,
        "accuracy_standard_error": scores.accuracy_se,
        "auc": scores.auc,
        "eer": scores.eer,
        "tar_at_far": _points_values(scores),
        "thresholds": scores.thresholds.tolist(),
        "fold_accuracies": scores.fold_accuracies.tolist(),
        "roc": {"far": curve.far.tolist(), "tar": curve.tar.tolist()},
        "roc_interval_95": roc_band(view.roc),
        "classic": None if classic is None else _classic_values(classic),
    }


def reference_values(view: View2) -> dict[str, Any]:
    """Return what the engine's figures and curves are drawn beside: the reference's."""
    scores, curve = view.scores, view.roc.curve()
    return {
        "accuracy": scores.accuracy,
        "accuracy_std_over_folds": scores.accuracy_std,
        "auc": scores.auc,
        "eer": scores.eer,
        "tar_at_far": _points_values(scores),
        "thresholds": scores.thresholds.tolist(),
        "fold_accuracies": scores.fold_accuracies.tolist(),
        "roc": {"far": curve.far.tolist(), "tar": curve.tar.tolist()},
        "roc_interval_95": roc_band(view.roc),
    }


def _points_values(scores: Verification) -> list[dict[str, Any]]:
    return [
        {
            "far": point.target,
            "achieved_far": point.far,
            "tar": point.tar,
            "interval_95": list(point.interval),
            "threshold": point.threshold,
        }
        for point in scores.tar_at_far
    ]


def _classic_values(classic: ClassicEvaluation) -> dict[str, Any]:
    return {
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


def paired_values(paired: PairedComparison) -> dict[str, Any]:
    """Return a paired comparison as JSON has it."""
    return {
        "lost": paired.lost,
        "won": paired.won,
        "pairs": paired.pairs,
        "drop": paired.drop,
        "upper_95": paired.upper,
        "mcnemar_p_value": paired.p_value,
    }


def pairs_worth_seeing(
    dataset: VerificationSet,
    reference: View2,
    frozen: NDArray[np.float64],
    correct: NDArray[np.bool_],
) -> dict[str, list[dict[str, Any]]]:
    """Return the hardest pairs, and every pair that the engine decides otherwise.

    Parameters
    ----------
    dataset : VerificationSet
        Whose pairs they are.
    reference : View2
        What the engine is compared with, and its rule.
    frozen : (P,) float array
        The engine's distances, at the reference's rule.
    correct : (P,) bool array
        Which pairs the engine decides rightly by that rule.

    Returns
    -------
    dict
        ``changed``: pairs of another decision than the reference's, in the order of the set;
        ``hardest_genuine`` and ``hardest_impostor``: furthest on the wrong side of the threshold,
        or nearest to it, worst first.
    """
    import numpy as np

    thresholds = reference.rule.thresholds[dataset.folds]
    suspect = set(dataset.suspect.tolist())

    def told(pairs: Iterable[int]) -> list[dict[str, Any]]:
        return [
            {
                "pair": int(pair),
                "fold": int(dataset.folds[pair]),
                "left": dataset.names[dataset.left[pair]],
                "right": dataset.names[dataset.right[pair]],
                "same": bool(dataset.same[pair]),
                "distance": float(frozen[pair]),
                "reference_distance": float(reference.distances[pair]),
                "threshold": float(thresholds[pair]),
                "correct": bool(correct[pair]),
                "reference_correct": bool(reference.correct[pair]),
                "known_as_mislabelled": int(pair) in suspect,
            }
            for pair in pairs
        ]

    beyond = np.where(dataset.same, frozen - thresholds, thresholds - frozen)

    def hardest(kind: NDArray[np.bool_]) -> list[int]:
        rows = np.flatnonzero(kind)
        order = np.argsort(-beyond[rows], kind="stable")[:HARDEST]
        return [int(row) for row in rows[order]]

    return {
        "changed": told(np.flatnonzero(correct != reference.correct).tolist()),
        "hardest_genuine": told(hardest(dataset.same)),
        "hardest_impostor": told(hardest(~dataset.same)),
    }


def all_pairs_values(comparison: AllPairsComparison) -> dict[str, Any]:
    """Return a comparison over all pairs as JSON has it."""
    engine, reference = comparison.engine, comparison.reference
    return {
        "images": engine.images,
        "identities": engine.identities,
        "genuine_pairs": engine.genuine_pairs,
        "impostor_pairs": engine.impostor_pairs,
        "points": [
            {
                "far": drop.target,
                "achieved_far": point.far,
                "tar": point.tar,
                "interval_95": list(point.interval),
                "reference_tar": before.tar,
                "drop": drop.drop,
                "drop_interval_95": list(drop.interval),
                "minimum_detectable_drop": drop.minimum_detectable,
                "far_at_the_reference_threshold": drop.frozen_far,
                "tar_at_the_reference_threshold": drop.frozen_tar,
            }
            for point, before, drop in zip(
                engine.points, reference.points, comparison.drops, strict=True
            )
        ],
    }


def verification_lines(measurements: Sequence[dict[str, Any]]) -> list[str]:
    """Return the lines of the terminal's summary about accuracy."""
    lines = []
    for m in measurements:
        where = f"{m.get('precision')} on {m.get('dataset')}"
        if m["name"] == "verification" and "classic" in m:
            lines.append(_classic_line(m["classic"], where))
        elif m["name"] == "paired comparison":
            lines.append(_paired_line(m, where))
        elif m["name"] == "all pairs":
            lines += _all_pairs_lines(m, where)
    return lines


def _classic_line(classic: dict[str, Any] | None, where: str) -> str:
    if classic is None:
        return f"classic, {where}: no figures, a fold lacks genuine or impostor pairs"
    eer = "none" if classic["eer"] is None else f"{classic['eer']:.5f}"
    return (
        f"classic, {where}, as the published scripts print it (a grid of thresholds): accuracy "
        f"{classic['accuracy']:.5f} ± {classic['accuracy_std_over_folds']:.5f}, AUC "
        f"{classic['auc']:.5f}, EER {eer}, VAL {classic['val']:.5f} ± "
        f"{classic['val_std_over_folds']:.5f} at FAR {classic['val_far']:.5f}"
    )


def _paired_line(m: dict[str, Any], where: str) -> str:
    low, high = m["bootstrap"]["drop_95"]
    return (
        f"paired, {where}, beside the {m['compared_with']}: drop {m['drop']:.5f}, over people "
        f"{low:.5f} to {high:.5f} (95 %), AUC difference {m['auc_difference']:.1e} (DeLong p "
        f"{m['auc_p_value']:.2g}); {m['text']}"
    )


def _all_pairs_lines(m: dict[str, Any], where: str) -> list[str]:
    pairs = (m["genuine_pairs"] + m["impostor_pairs"]) / 1e6
    lines = [
        f"all pairs, {where}: {pairs:.1f} million of {m['images']} photos, each of "
        f"{m['identities']} people weighing the same"
    ]
    for point in m["points"]:
        low, high = point["drop_interval_95"]
        lines.append(
            f"  TAR at FAR {point['far']:.0e}: {point['tar']:.5f} (reference "
            f"{point['reference_tar']:.5f}), drop {point['drop']:.5f} ({low:.5f} to {high:.5f}); "
            f"sees drops from {point['minimum_detectable_drop']:.5f}"
        )
    return lines
