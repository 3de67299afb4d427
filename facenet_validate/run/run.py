"""One run: what was asked for, the machine, the limits, and the report being filled."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from facenet_validate.base.errors import DatasetError, SettingsError
from facenet_validate.base.machine import CpuIdentity, flags_digest
from facenet_validate.base.progress import Progress
from facenet_validate.base.threshold import Threshold
from facenet_validate.base.vocabulary import Target
from facenet_validate.engines.backend import Backend
from facenet_validate.engines.backends import choose_backend
from facenet_validate.gates import catalogue
from facenet_validate.gates.limits import GatesFile
from facenet_validate.models.quantization.recipes import (
    MINIMUM_CALIBRATION_IMAGES,
    Int8Recipe,
    int8_recipe,
)
from facenet_validate.reporting.report import RunReport
from facenet_validate.run.settings import Settings

if TYPE_CHECKING:
    from facenet_validate.benchmarking.recording import Measured
    from facenet_validate.cache import Cache
    from facenet_validate.datasets.faces import AlignedFaces
    from facenet_validate.datasets.photos import Kind
    from facenet_validate.datasets.verification_set import VerificationSet
    from facenet_validate.engines.supplied import SuppliedEngine

RUN = pytest.StashKey["Run"]()
"""Where a pytest session keeps its run: on ``config.stash``, never in a module."""


@dataclass(frozen=True)
class ComparisonRules:
    """By what engines are compared.

    Attributes
    ----------
    paired_alpha, operating_alpha, identification_alpha : float
        What each gate of a family may spend of the run's false-alarm budget.
    threshold : Threshold or None
        The one that production decides at.
    all_pairs : bool
        Whether every photo of the first set's people is compared with every other one.
    """

    paired_alpha: float
    operating_alpha: float
    identification_alpha: float
    threshold: Threshold | None
    all_pairs: bool


@dataclass
class Run:
    """What the fixtures and hooks of one process share.

    Attributes
    ----------
    settings : Settings
        What was asked for.
    cpu : CpuIdentity
        The machine.
    gates : GatesFile
        The limits.
    make_progress : callable
        Returns what shows progress; called once pytest has its terminal.
    parallel : bool
        Whether this process is one of several workers.
    started : float
        When, in seconds since 1970.
    report : RunReport
        What was found and built.
    measured : list of Measured
        The timed sessions, which are stored at the end if that was asked for.
    engine : SuppliedEngine or None
        The supplied engine to validate.
    against : SuppliedEngine or None
        The further engine to compare with.
    pairs : int
        Pairs of the named data set, once it was checked.
    """

    settings: Settings
    cpu: CpuIdentity
    gates: GatesFile
    make_progress: Callable[[], Progress]
    parallel: bool
    started: float = field(default_factory=time.time)
    report: RunReport = field(default_factory=RunReport)
    measured: list[Measured] = field(default_factory=list)
    engine: SuppliedEngine | None = None
    against: SuppliedEngine | None = None
    pairs: int = 0

    @cached_property
    def progress(self) -> Progress:
        """The terminal."""
        return self.make_progress()

    @cached_property
    def backend(self) -> Backend:
        """What runs the engines, and why.

        Raises
        ------
        SettingsError
            If what was asked for is not installed.
        """
        from facenet_validate.engines.device.probe import gpu

        origin = self.settings.origins.get("facenet_backend", "default")
        return choose_backend(self.settings.backend, origin, gpu())

    @cached_property
    def chosen_target(self) -> tuple[Target, str]:
        """The recipe's target and why it was chosen.

        Raises
        ------
        SettingsError
            If a recipe for CPUs is asked for on a GPU.
        """
        origin = self.settings.origins.get("facenet_target", "default")
        return self.backend.choose_target(self.settings.target, origin, self.cpu.flags)

    @property
    def target(self) -> Target:
        """What INT8 recipes are for."""
        return self.chosen_target[0]

    @cached_property
    def int8_recipe(self) -> Int8Recipe:
        """How INT8 graphs are made."""
        return int8_recipe(self.target, self.settings.int8_around)

    @cached_property
    def device(self) -> str:
        """The name of what engines run on: the GPU where there is one, else the CPU."""
        return self.backend.device_name(self.cpu.name)

    @property
    def threads(self) -> int:
        """Intra-op threads of every engine: the processors this process may use."""
        if self.cpu.quota is None:
            return self.cpu.cores
        return max(1, min(self.cpu.cores, int(self.cpu.quota)))

    @property
    def cpu_text(self) -> str:
        """CPU model and flags, for cache keys: other instructions round differently."""
        return f"{self.cpu.name}, flags {flags_digest(self.cpu.flags)}"

    @property
    def dataset_name(self) -> str:
        """The name of the run's first set, by which every suite judges."""
        if self.settings.lfw is not None:
            return "lfw"
        return "orl" if self.settings.packaged_set == "orl" else "synthetic"

    @cached_property
    def sets(self) -> dict[str, VerificationSet]:
        """The further verification sets by name.

        Raises
        ------
        FacenetValidateError
            If a file has a bad row, or two go by one name.
        """
        if not self.settings.pairs:
            return {}
        from facenet_validate.datasets.bin_set import is_packed, load_bin
        from facenet_validate.datasets.csv_pairs import load_csv

        found: dict[str, VerificationSet] = {}
        for one in self.settings.pairs:
            load = load_bin if is_packed(one.path) else load_csv
            loaded = load(one.path, one.name)
            if loaded.name in found:
                raise SettingsError(
                    f"{self.settings.origins['facenet_pairs']}: two sets would be called "
                    f"{loaded.name}, the second {one.path}. Rename one: a set goes by its file's "
                    "name, or by its folder's where the file is pairs.csv. Or name it: NAME=FILE."
                )
            found[loaded.name] = loaded
        return found

    @property
    def set_names(self) -> tuple[str, ...]:
        """Every verification set of the run, its first one first."""
        return (self.dataset_name, *self.sets)

    @property
    def has(self) -> frozenset[str]:
        """What gates may need of a run, as ``against``, of what there is."""
        there = {
            "against": self.against is not None,
            "self_check": bool(self.settings.self_check),
            "rebuilds": bool(self.settings.rebuilds),
            "threshold": self.settings.threshold is not None,
            "robustness": self.settings.robustness is not None,
            "full robustness": self.settings.robustness == "full",
        }
        return frozenset(name for name, is_there in there.items() if is_there)

    @property
    def comparison_rules(self) -> ComparisonRules:
        """By what engines are compared, and what each gate may spend of its family's errors."""
        from facenet_validate.metrics.mixed import DIRECTIONS

        precisions = len(self.settings.precisions)
        judged = precisions * len(self.set_names)
        compared = 1 if self.against is None else 2
        groups = sum(len(one.groups) for one in self.sets.values())
        # An engine is compared by its own pairs, by mixed ones in each direction, and in groups.
        paired = judged * compared * (1 + DIRECTIONS) + precisions * groups
        rates = 2  # of false matches and false non-matches; rank 1 and false negatives
        return ComparisonRules(
            paired_alpha=catalogue.FAMILY_ALPHA / paired,
            operating_alpha=catalogue.FAMILY_ALPHA / (judged * rates),
            identification_alpha=catalogue.FAMILY_ALPHA / (judged * rates),
            threshold=self.settings.threshold,
            all_pairs=self.settings.all_pairs,
        )

    @cached_property
    def speed_alpha(self) -> float:
        """What each speed gate may spend of its family's error probability."""
        gates = self._judged_on_first_set("speed")
        return catalogue.FAMILY_ALPHA / max(1, gates * len(self.settings.batch_sizes))

    @cached_property
    def robustness_alpha(self) -> float:
        """What the gate of a kind of corruption may spend of its family's error probability."""
        return catalogue.FAMILY_ALPHA / max(1, self._judged_on_first_set("robustness"))

    def _judged_on_first_set(self, family: catalogue.Family) -> int:
        """Return how many gates of a family have a limit on the first set, over precisions."""
        return sum(
            catalogue.row(gate).family == family
            for precision in self.settings.precisions
            for gate in self.limits(self.dataset_name, precision)
        )

    def limits(self, dataset: str, precision: str) -> dict[str, float]:
        """Return the limits of every gate that this run can judge on a verification set."""
        first_set, has = dataset == self.dataset_name, self.has
        if dataset in self.sets and self.sets[dataset].groups:
            has = has | {"groups"}
        return {
            gate: limit
            for gate, limit in self.gates.limits(dataset, precision, self.target).items()
            if catalogue.row(gate).applies(precision, has, first_set=first_set)
        }

    def check_calibration(self, found: int) -> None:
        """Check that there are photos enough to calibrate INT8 on.

        Raises
        ------
        DatasetError
            If there are fewer than were asked for, or fewer than 500 where nothing was.
        """
        asked = "facenet_calibration_images" in self.settings.origins
        wanted = self.settings.calibration_images if asked else MINIMUM_CALIBRATION_IMAGES
        if found < wanted:
            helps = f"Put photos of other people beside those of {self.settings.lfw or 'the set'}"
            if found:
                helps += f", accept fewer with --facenet-calibration-images {found}"
            else:
                helps += ", a folder a person: PERSON/PERSON_0001.jpg"
            helps += (
                ", or calibrate on other faces: --facenet-calibration faces:DIR or packaged. FP16 "
                "alone needs none"
            )
            raise DatasetError(
                f"the data set has {found} photos of people outside the evaluation pairs; INT8 is "
                f"calibrated on at least {wanted}. {helps}."
            )

    def aligned(
        self,
        cache: Cache,
        names: Sequence[str],
        paths: Sequence[Path],
        title: str,
        beside: Kind | None = None,
    ) -> AlignedFaces:
        """Return photos as aligned faces; those that are 160×160 already as they are.

        Raises
        ------
        DatasetError
            If one cannot be read; or some are 160×160 and others, those beside them included, are
            not.
        """
        from facenet_validate.datasets.faces import faces_of

        return faces_of(
            names,
            paths,
            cache,
            workers=self.threads,
            stage=lambda: self.progress.stage(title),
            beside=beside,
        )
