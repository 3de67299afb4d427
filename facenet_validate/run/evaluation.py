"""What accuracy and parity suites judge: an engine on a set, alone and beside another engine."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facenet_validate.datasets.faces import AlignedFaces
from facenet_validate.datasets.verification_set import VerificationSet
from facenet_validate.engines.protocol import Engine
from facenet_validate.gates.verdicts import GateResult, Observed
from facenet_validate.metrics.all_pairs import compare_all_pairs
from facenet_validate.metrics.comparison import bounded_over_people, compare_views
from facenet_validate.metrics.paired import non_inferiority
from facenet_validate.metrics.parity import Parity, compare_embeddings, compare_pairs
from facenet_validate.metrics.verification import evaluate, pair_distances
from facenet_validate.metrics.view2 import View2, evaluate_embeddings
from facenet_validate.reporting.verification import (
    all_pairs_values,
    paired_values,
    pairs_worth_seeing,
    view2_values,
)
from facenet_validate.run import replacement
from facenet_validate.run.data import Data
from facenet_validate.run.embedding import Embedder
from facenet_validate.run.judging import Gates
from facenet_validate.run.replacement import Beside, Judged
from facenet_validate.run.run import ComparisonRules

VIEW_2_PAIRS = 6000

_COSINES = ("parity.cosine_min", "parity.cosine_p1", "parity.cosine_mean")
_PAIRED_GATES: dict[Beside, str] = {
    "reference": "accuracy.paired_drop",
    "against": "accuracy.against_drop",
}


@dataclass(frozen=True, eq=False)
class EngineVerification:
    """An engine's View 2 evaluation on a verification set, and the reference's.

    Attributes
    ----------
    dataset : VerificationSet
        The photos and pairs.
    view, reference : View2
        Of the engine, and of the FP32 reference.
    corrected : View2 or None
        The engine's without the pairs known as mislabelled; None where there are none.
    aligner : str
        What aligned the photos.
    """

    dataset: VerificationSet
    view: View2
    reference: View2
    corrected: View2 | None
    aligner: str

    def values(self) -> dict[str, Any]:
        """Return the figures and curves as ``results.json`` has them."""
        values = view2_values(self.view) | {
            "aligner": self.aligner,
            "reference_accuracy": self.reference.scores.accuracy,
            "reference_auc": self.reference.scores.auc,
        }
        if self.corrected is not None:
            scores = self.corrected.scores
            values["without_mislabelled"] = {
                "pairs_left_out": self.dataset.suspect.tolist(),
                "accuracy": scores.accuracy,
                "accuracy_standard_error": scores.accuracy_se,
                "auc": scores.auc,
            }
        return values

    def accuracy(self) -> Observed:
        """Return the mean accuracy over the folds, for ``accuracy.acc``."""
        scores, corrected = self.view.scores, ""
        if self.corrected is not None:
            # The headline is the set as it is; without its known errata it may stand beside it.
            count = self.dataset.suspect.size
            figure = self.corrected.scores.accuracy
            corrected = f"; {figure:.5f} without {count} pairs known as mislabelled"
        return self._whole(
            Observed(
                "accuracy.acc",
                scores.accuracy,
                f"±{scores.accuracy_std:.5f} std over folds, ±{scores.accuracy_se:.5f} SE; "
                f"FP32 {self.reference.scores.accuracy:.5f}{corrected}",
            )
        )

    def auc(self) -> Observed:
        """Return the area under the pooled ROC curve, for ``accuracy.auc``."""
        scores, reference = self.view.scores, self.reference.scores
        detail = f"FP32 {reference.auc:.5f}; EER {scores.eer:.5f}"
        return self._whole(Observed("accuracy.auc", scores.auc, detail))

    def _whole(self, observed: Observed) -> Observed:
        """Return what was observed; not to be judged on a part of View 2."""
        found = len(self.dataset.same)
        if self.dataset.name != "lfw" or found == VIEW_2_PAIRS:
            return observed
        reason = f"View 2 has {VIEW_2_PAIRS} pairs, this set {found}; measured "
        detail = f"{reason}{observed.value:.5f} {observed.detail}"
        return Observed(observed.gate, None, detail)


def verify(
    engine: Engine, reference: Engine, name: str, data: Data, embedder: Embedder
) -> EngineVerification:
    """Evaluate an engine and the reference on a verification set."""
    dataset, faces = data.named(name), data.faces_of(name)
    view = embedder.view(engine, name)
    corrected = None
    if dataset.suspect.size:
        scored = embedder.scored(engine, faces)
        pairs = dataset.pairs.without(dataset.suspect)
        corrected = evaluate_embeddings(scored, pairs, embedder.protocol)
    return EngineVerification(
        dataset, view, embedder.view(reference, name), corrected, faces.aligner
    )


class EngineComparison:
    """An engine beside another one on a verification set.

    Parameters
    ----------
    engine, other : Engine
        The engine under test, and what it is compared with.
    beside : {"reference", "against"}
        Which that is.
    name : str
        The verification set.
    data, embedder : Data, Embedder
        The faces, and what embeds them.
    rules : ComparisonRules
        Error probabilities of its gates, and the deployed threshold.

    Attributes
    ----------
    beside : {"reference", "against"}
        What the engine is compared with.
    dataset : VerificationSet
        The photos and pairs.
    """

    def __init__(
        self,
        engine: Engine,
        other: Engine,
        beside: Beside,
        name: str,
        data: Data,
        embedder: Embedder,
        rules: ComparisonRules,
    ) -> None:
        self._engine = engine
        self._other = other
        self.beside = beside
        self._data = data
        self._embedder = embedder
        self._rules = rules
        self.dataset = data.named(name)

    @cached_property
    def faces(self) -> AlignedFaces:
        """The set's aligned faces."""
        return self._data.faces_of(self.dataset.name)

    @cached_property
    def embeddings(self) -> NDArray[np.float32]:
        """Embeddings ``(N, D)`` of the faces by the engine under test."""
        return self._embedder.embeddings(self._engine, self.faces)

    @cached_property
    def other_embeddings(self) -> NDArray[np.float32]:
        """Embeddings ``(N, D)`` of the faces by the other engine."""
        return self._embedder.embeddings(self._other, self.faces)

    @cached_property
    def parity(self) -> Parity:
        """Row cosines between the two engines' embeddings."""
        return compare_embeddings(self.other_embeddings, self.embeddings)

    def row_cosines(self) -> tuple[Observed, Observed, Observed]:
        """Return the smallest row cosine, their first percentile and their mean.

        The gates are of cosines to the reference: beside another engine they are not evaluated.
        """
        if self.other_embeddings.shape != self.embeddings.shape:
            sizes = f"{self.embeddings.shape[1]} and {self.other_embeddings.shape[1]} values"
            reason = f"embeddings of {sizes} have no cosine"
            least, percentile, mean = (Observed(gate, None, reason) for gate in _COSINES)
            return least, percentile, mean
        parity, shift = self.parity, self.pair_distances()
        # Two trainings of one network give directions that have nothing to do with each other.
        other = "; a different training?" if parity.cosine_mean < 0.3 else ""
        return (
            self._to_reference(
                "parity.cosine_min",
                parity.cosine_min,
                f"worst: {self.faces.names[parity.worst_row]}",
            ),
            self._to_reference("parity.cosine_p1", parity.cosine_p1),
            self._to_reference(
                "parity.cosine_mean",
                parity.cosine_mean,
                f"{parity.rows} faces; {shift['decisions_flipped']} of {shift['pairs']} decisions "
                f"flipped at the reference's thresholds{other}",
            ),
        )

    def _to_reference(self, gate: str, value: float, detail: str = "") -> Observed:
        """Return what a gate of parity observes: of another engine than the reference, nothing."""
        if self.beside == "reference":
            return Observed(gate, value, detail)
        reason = "it is of cosines to the reference; to the engine of --facenet-against "
        return Observed(gate, None, f"{reason}{value:.6g}")

    def pair_distances(self) -> dict[str, Any]:
        """Return how far squared L2 distances of pairs move, and how many decisions flip.

        A decision is taken at the other engine's threshold of the pair's fold.
        """
        pairs = self.dataset
        before = pair_distances(self.other_embeddings, pairs.left, pairs.right)
        after = pair_distances(self.embeddings, pairs.left, pairs.right)
        thresholds = evaluate(before, pairs.same, pairs.folds).thresholds
        shift = compare_pairs(before, after, pairs.folds, thresholds)
        return {
            "mean_shift": shift.mean_shift,
            "max_shift": shift.max_shift,
            "decisions_flipped": shift.flipped,
            "pairs": shift.pairs,
        }

    def lost_decisions(self, gates: Gates) -> Judged:
        """Count the pairs that the engine loses by the other engine's frozen rule, and judge them.

        Parameters
        ----------
        gates : Gates
            The limits in force. Without one the gate is not evaluated.
        """
        gate, dataset = _PAIRED_GATES[self.beside], self.dataset
        delta = gates.limits.get(gate)
        reference = self._embedder.view(self._other, dataset.name)
        scored = self._embedder.scored(self._engine, self.faces)
        found = compare_views(
            reference,
            self._embedder.view(self._engine, dataset.name),
            scored,
            dataset.identities,
            delta=delta or 0.0,
            alpha=self._rules.paired_alpha,
        )
        frozen, detectable = found.frozen, found.minimum_detectable_drop
        if dataset.few_people:
            frozen = bounded_over_people(frozen, reference, dataset.identities)
        paired = frozen.paired
        text = (
            "no drop would fail here: too few pairs"
            if detectable is None
            else f"would detect a loss of {detectable:.5f} 95 times in 100"
        )
        values: dict[str, Any] = {
            "compared_with": self.beside,
            "gate": gate,
            **paired_values(paired),
            "alpha": self._rules.paired_alpha,
            "minimum_detectable_drop": detectable,
            "text": text,
            "auc_difference": found.delong.difference,
            "auc_standard_error": found.delong.standard_error,
            "auc_p_value": found.delong.p_value,
            "bootstrap": {
                "replicates": found.bootstrap.replicates,
                "drop_95": list(found.bootstrap.drop),
                "accuracy_difference_95": list(found.bootstrap.accuracy),
                "auc_difference_95": list(found.bootstrap.auc),
            },
            "worth_seeing": pairs_worth_seeing(
                dataset, reference, frozen.distances, frozen.correct
            ),
        }
        if self.beside == "against":
            other = self._embedder.scored(self._other, self.faces)
            if other.shape == scored.shape:
                parity = compare_embeddings(other, scored)
                values |= {
                    "cosine_min": parity.cosine_min,
                    "cosine_p1": parity.cosine_p1,
                    "cosine_mean": parity.cosine_mean,
                }

        def judge(delta: float) -> GateResult:
            alpha = self._rules.paired_alpha
            result = non_inferiority(paired, gate=gate, delta=delta, alpha=alpha)
            return replace(result, detail=f"{result.detail}; {text}")

        counted = f"{paired.lost} lost, {paired.won} won of {paired.pairs} pairs"
        return Judged((gates.within_limit(gate, judge, counted),), values)

    def stored_templates(self, gates: Gates) -> Judged:
        """Judge pairs whose one face is a template that the other engine made.

        Each pair is decided twice, by the other engine's frozen rule: either face may be stored.

        Parameters
        ----------
        gates : Gates
            The limits in force. Without one the gate is not evaluated.
        """
        return replacement.stored_templates(
            self._embedder.view(self._other, self.dataset.name),
            self._embedder.scored(self._other, self.faces),
            self._embedder.scored(self._engine, self.faces),
            self.beside,
            gates,
            self._rules.paired_alpha,
            self.dataset.identities if self.dataset.few_people else None,
        )

    def groups(self, gates: Gates) -> Judged:
        """Judge every group of people that the set names. A set without groups is not judged.

        Parameters
        ----------
        gates : Gates
            The limits in force.
        """
        return replacement.groups_of(
            self.dataset,
            self._embedder.view(self._other, self.dataset.name),
            self._embedder.scored(self._engine, self.faces),
            gates,
            self._rules.paired_alpha,
        )

    def operating_point(self, gates: Gates) -> Judged:
        """Judge the error rates at ``--facenet-threshold``.

        Without the option no gate is judged. The values then say which thresholds two false-accept
        rates would take on this set.

        Parameters
        ----------
        gates : Gates
            The limits in force.
        """
        dataset, old, new = self.dataset, self.other_embeddings, self.embeddings
        if self._rules.threshold is None:
            return Judged((), {"thresholds": replacement.thresholds_on(dataset, old)})
        everyone = None
        if self._rules.all_pairs and dataset.name == self._data.first.name:
            identities = self._data.gallery.identities
            everyone = (
                self._embedder.gallery(self._other, scored=False),
                self._embedder.gallery(self._engine, scored=False),
                identities,
            )
        return replacement.operating_point(dataset, old, new, self._rules, gates, everyone)

    def identification(self, gates: Gates) -> Judged:
        """Judge searches of a gallery: one photo a person is enrolled, the others are probes.

        Parameters
        ----------
        gates : Gates
            The limits in force.
        """
        return replacement.identification(
            self.dataset,
            self.other_embeddings,
            self.embeddings,
            gates,
            self._rules.identification_alpha,
        )

    def all_pairs(self) -> dict[str, Any]:
        """Compare every photo of the people in pairs with every other one.

        Returns
        -------
        dict
            What is lost at false-accept rates down to 1e-6, as ``results.json`` has it.
        """
        embedder, gallery = self._embedder, self._data.gallery
        return all_pairs_values(
            compare_all_pairs(
                embedder.gallery(self._other), embedder.gallery(self._engine), gallery.identities
            )
        )
