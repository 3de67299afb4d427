"""The photos of a run: verification sets, aligned faces, the gallery, calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache, cached_property, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facenet_validate.cache import Cache
from facenet_validate.datasets.calibration import drawn_faces, faces_in
from facenet_validate.datasets.faces import AlignedFaces, check_disjoint, packed_faces
from facenet_validate.datasets.layout import find_layout
from facenet_validate.datasets.lfw import Gallery, gallery, load_set
from facenet_validate.datasets.orl import orl_folder
from facenet_validate.datasets.photos import Kind
from facenet_validate.datasets.synthetic import proof_faces
from facenet_validate.datasets.synthetic_cache import synthetic_folder
from facenet_validate.datasets.verification_set import VerificationSet
from facenet_validate.models.pretrained import ORL_COURTESY
from facenet_validate.reporting.alignment import alignment_facts
from facenet_validate.reporting.photos import (
    PhotoRules,
    faces_without_names,
    photos_of,
    set_without_names,
)
from facenet_validate.reporting.report import CalibrationFacts, GalleryFacts, SetFacts
from facenet_validate.run.run import Run

PROOF_FACES = 8


class Data:
    """Photos and faces of a run, loaded and aligned when they are first needed.

    Parameters
    ----------
    run : Run
        Says which sets there are; its report is told what was found.
    cache : Cache
        Where aligned faces are kept.
    """

    def __init__(self, run: Run, cache: Cache) -> None:
        self._run = run
        self._cache = cache

    @cached_property
    def first(self) -> VerificationSet:
        """The set that every suite judges by: LFW where it was given, else ORL or drawn faces."""
        return self._told(self._first)

    @cached_property
    def _first(self) -> VerificationSet:
        settings, name = self._run.settings, self._run.dataset_name
        title = {
            "lfw": f"LFW in {settings.lfw}",
            "orl": f"ORL photos, {ORL_COURTESY}",
            "synthetic": f"synthetic faces ({self._folder})",
        }[name]
        found = load_set(
            find_layout(self._folder),
            name=name,
            title=title,
            calibration_images=settings.calibration_images,
            others=tuple(self._run.sets.values()),
        )
        # 40 people have 90 pairs each: their errors come together.
        found = replace(found, few_people=name == "orl")
        self._run.report.dataset = replace(
            _facts(self._told(found)), calibration_images=len(found.calibration_names)
        )
        return found

    @cached_property
    def _folder(self) -> Path:
        if self._run.settings.lfw is not None:
            return self._run.settings.lfw
        if self._run.dataset_name == "orl":
            with self._run.progress.stage("writing the ORL photos") as report:
                return orl_folder(self._cache, report)
        with self._run.progress.stage("drawing synthetic faces") as report:
            return synthetic_folder(self._cache, report)

    def named(self, name: str) -> VerificationSet:
        """Return a set of the run."""
        further = self._further  # reports tell of every set of a run that evaluates one
        return self.first if name == self._run.dataset_name else further[name]

    @cached_property
    def _further(self) -> dict[str, VerificationSet]:
        sets = {name: self._told(found) for name, found in self._run.sets.items()}
        self._run.report.sets |= {name: _facts(found) for name, found in sets.items()}
        return sets

    @property
    def photo_names(self) -> tuple[str, ...]:
        """The files' names of the first set's photos, to find them by; not for reports."""
        return self._first.names

    def photo_rules(self, name: str) -> PhotoRules:
        """Return what the report shows of a set's photos."""
        found = self._first if name == self._run.dataset_name else self._run.sets[name]
        return self._rules(found)

    def _rules(self, found: VerificationSet) -> PhotoRules:
        settings = self._run.settings
        rules = PhotoRules(photos_of(found, settings.report_photos), settings.report)
        self._run.report.photos[found.name] = rules.shown
        return rules

    def _told(self, found: VerificationSet) -> VerificationSet:
        """Return a set as everything that judges and reports sees it: with names or without."""
        return set_without_names(found) if self._rules(found).shown == "none" else found

    @property
    def faces(self) -> AlignedFaces:
        """The first set's photos as aligned faces, rows in the order of its names."""
        return self.faces_of(self._run.dataset_name)

    @cached_property
    def _first_faces(self) -> AlignedFaces:
        first = self._first
        found = self._aligned(first.names, first.paths, "aligning evaluation photos")
        self._run.report.alignment = alignment_facts(found, first.paths, self._rules(first))
        return found

    def take(self, faces: AlignedFaces) -> None:
        """Evaluate the first set on these faces: a project may align its photos itself."""
        self._first_faces = faces

    def faces_of(self, name: str) -> AlignedFaces:
        """Return a set's photos as aligned faces, rows in the order of its names."""
        found = self._named_faces(name)
        return faces_without_names(found) if self.photo_rules(name).shown == "none" else found

    def _named_faces(self, name: str) -> AlignedFaces:
        """Return faces with the photos' names, for messages about a file."""
        first = name == self._run.dataset_name
        return self._first_faces if first else self._further_faces(name)

    @cache  # noqa: B019 (as long as the run)
    def _further_faces(self, name: str) -> AlignedFaces:
        found, rules = self._run.sets[name], self.photo_rules(name)
        if found.packed is None:
            aligned = self._aligned(found.names, found.paths, f"aligning photos of {name}")
        else:
            aligned = packed_faces(found.packed, found.names, found.title)
        self.named(name)  # its facts are then in the report
        sets = self._run.report.sets
        sets[name] = replace(sets[name], alignment=alignment_facts(aligned, found.paths, rules))
        return aligned

    @cached_property
    def proof_faces(self) -> NDArray[np.uint8]:
        """The few faces (F, 160, 160, 3) a model is proven on: of the set, or drawn if it is grey.

        Grey faces would hide colours that were exchanged.
        """
        if self._run.dataset_name == "orl":
            return proof_faces()
        few = slice(0, PROOF_FACES)
        found = self._aligned(self._first.names[few], self._first.paths[few], "aligning")
        return found.load(np.arange(len(found.names)))

    @cached_property
    def calibration(self) -> AlignedFaces:
        """Aligned faces of people outside the evaluation pairs.

        Raises
        ------
        DatasetError
            If there are too few, or one of them is in an evaluation set.
        """
        found = self._calibrated_on()
        for name in self._run.set_names:
            check_disjoint(found, self._named_faces(name))
        self._run.report.calibration = CalibrationFacts(len(found.names), found.digest)
        return found

    def _calibrated_on(self) -> AlignedFaces:
        first, run, asked = self._first, self._run, self._run.settings.calibration
        if asked == "set":
            run.check_calibration(len(first.calibration_names))
            return self._aligned(
                first.calibration_names,
                first.calibration_paths,
                "aligning calibration photos",
                self._first_faces.kind,
            )
        if asked == "packaged":
            with run.progress.stage("drawing faces to calibrate on") as report:
                drawn = drawn_faces(self._cache, report).faces
            wanted = run.settings.calibration_images
            return drawn if wanted >= len(drawn.names) else drawn.part(range(wanted))
        stage = partial(run.progress.stage, "aligning evaluation photos")
        return faces_in(asked, first, self._cache, run.threads, stage).faces

    @cached_property
    def gallery(self) -> Gallery:
        """Every photo of the people in the first set's pairs, for comparing all with all."""
        found = gallery(find_layout(self._folder), self._first)
        people = len(set(found.identities.tolist()))
        self._run.report.gallery = GalleryFacts(len(found.names), people)
        return found

    def gallery_faces(self, rows: Sequence[int]) -> AlignedFaces:
        """Return some of the gallery's photos as aligned faces."""
        return self._aligned(
            [self.gallery.names[row] for row in rows],
            [self.gallery.paths[row] for row in rows],
            "aligning the other photos of the people in pairs",
            self._first_faces.kind,
        )

    def _aligned(
        self, names: Sequence[str], paths: Sequence[Path], title: str, beside: Kind | None = None
    ) -> AlignedFaces:
        return self._run.aligned(self._cache, names, paths, title, beside)


def _facts(found: VerificationSet) -> SetFacts:
    return SetFacts(
        name=found.name,
        title=found.title,
        pairs=len(found.same),
        images=len(found.names),
        people=found.people,
        pairs_sha256=found.pairs_digest,
        files=found.notes.facts(),
    )
