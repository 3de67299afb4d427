"""What the robustness suite judges: an engine on corrupted photos, and on pictures of any kind."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from facenet_validate.base.errors import EngineError
from facenet_validate.datasets.corrupted import CorruptedFaces, CorruptedPairs, corrupted_pairs
from facenet_validate.datasets.corruptions import KINDS, QUICK_KINDS
from facenet_validate.datasets.verification_set import VerificationSet
from facenet_validate.engines.protocol import Engine
from facenet_validate.gates.verdicts import GateResult, Observed, not_evaluated
from facenet_validate.metrics.comparison import frozen_decisions
from facenet_validate.metrics.fragility import Fragility
from facenet_validate.metrics.paired import non_inferiority
from facenet_validate.reporting.robustness import corruption_values, write_curves
from facenet_validate.run.any_picture import Invariants, noise_accepted, odd_pictures
from facenet_validate.run.corrupted import compared, decided, without_embedding
from facenet_validate.run.data import Data
from facenet_validate.run.embedding import Embedder
from facenet_validate.run.judging import Gates
from facenet_validate.run.replacement import Judged

PICTURES = {"quick": 240, "full": 1000}
"""Corrupted pictures of each kind: what 20 s and 5 minutes take on two cores, with a margin.

An FP32 engine of the pretrained model embeds 70 photos a second there, an INT8 one 235
(docs/evidence/robustness.md).
"""

EXAMPLES = {"quick": 25, "full": 250}
"""Pictures of any kind that the invariants are tried on."""

_LOOKED_AT = 8
_FACES = 16


@dataclass(frozen=True)
class RobustnessRules:
    """How much a run tries, and what its gates may spend.

    Attributes
    ----------
    extent : {"quick", "full"}
        How many kinds of corruption there are, and how many pictures of each.
    alpha : float
        Error probability of the gate of each kind.
    report : Path or None
        The report's folder, for pictures.
    cache : Path
        Where a picture that breaks an invariant is saved without a report.
    replayed : Path or None
        The picture of ``--facenet-picture``.
    derandomize : bool
        Whether the pictures of any kind are the same in every run.
    """

    extent: Literal["quick", "full"]
    alpha: float
    report: Path | None
    cache: Path
    replayed: Path | None
    derandomize: bool


class Robustness:
    """An engine beside the FP32 reference on corrupted photos of the run's first set.

    Parameters
    ----------
    engine, reference : Engine
        The engine under test, and what it is compared with.
    data, embedder : Data, Embedder
        The faces, and what embeds them.
    rules : RobustnessRules
        How much is tried, and what may be spent.
    """

    def __init__(
        self,
        engine: Engine,
        reference: Engine,
        data: Data,
        embedder: Embedder,
        rules: RobustnessRules,
    ) -> None:
        self._engine = engine
        self._reference = reference
        self._data = data
        self._embedder = embedder
        self._rules = rules

    @property
    def dataset(self) -> VerificationSet:
        """The photos and pairs."""
        return self._data.first

    @cached_property
    def _chosen(self) -> CorruptedPairs:
        pictures = PICTURES[self._rules.extent]
        return corrupted_pairs(self.dataset.pairs, len(self.dataset.names), pictures)

    @cached_property
    def _pictures(self) -> CorruptedFaces:
        """The corrupted photos, of the kinds that change photos of this set."""
        kinds = QUICK_KINDS if self._rules.extent == "quick" else KINDS
        chosen = self._chosen
        every = CorruptedFaces(self._data.faces, kinds, chosen.photos, chosen.severities)
        changing = tuple(kind for kind in kinds if every.changes(kind, _LOOKED_AT))
        return replace(every, kinds=changing)

    @cached_property
    def invariants(self) -> Invariants:
        """What every embedding is, whatever the picture."""
        rules = self._rules
        return Invariants(
            self._engine,
            rules.report or rules.cache,
            rules.replayed,
            examples=EXAMPLES[rules.extent],
            derandomize=rules.derandomize,
        )

    def odd_pictures(self) -> tuple[Observed, Observed]:
        """Return what black, white, noise and denormal pictures give, and which noise is accepted.

        Returns
        -------
        tuple of Observed
            Of ``robustness.odd_pictures`` and ``robustness.noise_accepted``.
        """
        faces = self._data.faces
        rows = np.linspace(0, len(faces.names) - 1, _FACES).astype(np.intp)
        view = self._embedder.view(self._reference, self.dataset.name)
        return odd_pictures(self._engine), noise_accepted(
            self._engine, self._reference, view.rule, faces.load(rows)
        )

    def corruptions(self, gates: Gates) -> Judged:
        """Judge the pairs that the engine loses when one photo of each is corrupted.

        The reference decides the same pairs, on the same corrupted photos, at the same thresholds:
        its own ones on photos as they are.

        Parameters
        ----------
        gates : Gates
            The limits in force. A kind without one is not judged.

        Raises
        ------
        EngineError
            If an embedding of the reference is not finite.
        """
        name = self.dataset.name
        view = self._embedder.view(self._reference, name)
        clean = self._embedder.scored(self._engine, self._data.faces)
        before = self._embedder.scored_pictures(self._reference, self._pictures)
        after = self._embedder.scored_pictures(self._engine, self._pictures)
        if not np.isfinite(before).all():
            raise EngineError("the FP32 reference has NaN or infinity on corrupted photos")
        reference = self._embedder.scored(self._reference, self._data.faces)
        found, results = {}, []
        for kind in self._pictures.kinds:
            rows = self._pictures.rows(kind)
            found[kind] = compared(
                self._chosen,
                self.dataset.identities,
                decided(self._chosen, view.rule, reference, before[rows]),
                decided(self._chosen, view.rule, clean, after[rows]),
            )
            results.append(self._judged(kind, found[kind], after[rows], gates))
        results += [
            not_evaluated(gate, "it changes no photo of this set", gates.limits[gate])
            for gate in gates.limits
            if gate.startswith("robustness.") and gate.partition(".")[2] in self._unchanging
        ]
        values = corruption_values(
            found,
            pictures=len(self._chosen.photos),
            clean_reference=float(view.correct.mean()),
            clean_engine=float(frozen_decisions(view, clean).correct.mean()),
        )
        values |= {"extent": self._rules.extent, "alpha": self._rules.alpha}
        if self._rules.report is not None:
            precision = self._engine.info.precision
            values["picture"] = write_curves(values, f"{precision} on {name}", self._rules.report)
        return Judged(tuple(results), values)

    @property
    def _unchanging(self) -> tuple[str, ...]:
        kinds = QUICK_KINDS if self._rules.extent == "quick" else KINDS
        return tuple(kind for kind in kinds if kind not in self._pictures.kinds)

    def _judged(
        self, kind: str, found: Fragility, rows: NDArray[np.floating], gates: Gates
    ) -> GateResult:
        gate, paired = f"robustness.{kind}", found.paired
        right = [
            sum(one.pairs * share for one, share in zip(found.curve, shares, strict=True))
            / paired.pairs
            for shares in (
                [one.engine_accuracy for one in found.curve],
                [one.reference_accuracy for one in found.curve],
            )
        ]
        text = (
            f"{paired.lost} lost, {paired.won} won of {paired.pairs} pairs of {len(rows)} "
            f"corrupted photos, p {paired.p_value:.2g}; accuracy {right[0]:.5f}, FP32 "
            f"{right[1]:.5f}"
        )
        if broken := int(without_embedding(rows).sum()):
            text += f"; {broken} embeddings are not finite"

        def judge(delta: float) -> GateResult:
            result = non_inferiority(paired, gate=gate, delta=delta, alpha=self._rules.alpha)
            return replace(result, detail=text)

        return gates.within_limit(gate, judge, text)
