"""The photos of a run: verification sets, aligned faces, the gallery, calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache, cached_property, partial
from pathlib import Path

from facenet_validate.cache import Cache
from facenet_validate.datasets.calibration import drawn_faces, faces_in
from facenet_validate.datasets.faces import AlignedFaces, check_disjoint, packed_faces
from facenet_validate.datasets.layout import find_layout
from facenet_validate.datasets.lfw import Gallery, gallery, load_set
from facenet_validate.datasets.photos import Kind
from facenet_validate.datasets.synthetic_cache import synthetic_folder
from facenet_validate.datasets.verification_set import VerificationSet
from facenet_validate.reporting.alignment import alignment_facts
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
        """The set that every suite judges by: LFW where it was given, else the synthetic faces."""
        settings = self._run.settings
        if settings.lfw is not None:
            name, title = "lfw", f"LFW in {settings.lfw}"
        else:
            name, title = "synthetic", f"synthetic faces ({self._folder})"
        found = load_set(
            find_layout(self._folder),
            name=name,
            title=title,
            calibration_images=settings.calibration_images,
            others=tuple(self._run.sets.values()),
        )
        self._run.report.dataset = replace(
            _facts(found), calibration_images=len(found.calibration_names)
        )
        return found

    @cached_property
    def _folder(self) -> Path:
        if self._run.settings.lfw is not None:
            return self._run.settings.lfw
        with self._run.progress.stage("drawing synthetic faces") as report:
            return synthetic_folder(self._cache, report)

    def named(self, name: str) -> VerificationSet:
        """Return a set of the run."""
        further = self._further  # reports tell of every set of a run that evaluates one
        return self.first if name == self._run.dataset_name else further[name]

    @cached_property
    def _further(self) -> dict[str, VerificationSet]:
        sets = self._run.sets
        self._run.report.sets |= {name: _facts(found) for name, found in sets.items()}
        return sets

    @cached_property
    def faces(self) -> AlignedFaces:
        """The first set's photos as aligned faces, rows in the order of its names."""
        found = self._aligned(self.first.names, self.first.paths, "aligning evaluation photos")
        self._run.report.alignment = alignment_facts(
            found, self.first.paths, self._run.settings.report
        )
        return found

    def take(self, faces: AlignedFaces) -> None:
        """Evaluate the first set on these faces: a project may align its photos itself."""
        self.faces = faces

    def faces_of(self, name: str) -> AlignedFaces:
        """Return a set's photos as aligned faces, rows in the order of its names."""
        return self.faces if name == self._run.dataset_name else self._further_faces(name)

    @cache  # noqa: B019 (as long as the run)
    def _further_faces(self, name: str) -> AlignedFaces:
        found = self.named(name)
        if found.packed is None:
            aligned = self._aligned(found.names, found.paths, f"aligning photos of {name}")
        else:
            aligned = packed_faces(found.packed, found.names, found.title)
        sets = self._run.report.sets
        facts = alignment_facts(aligned, found.paths, self._run.settings.report)
        sets[name] = replace(sets[name], alignment=facts)
        return aligned

    @cached_property
    def proof_faces(self) -> AlignedFaces:
        """The few faces that a prepared model is proven on."""
        few = slice(0, PROOF_FACES)
        return self._aligned(self.first.names[few], self.first.paths[few], "aligning")

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
            check_disjoint(found, self.faces_of(name))
        self._run.report.calibration = CalibrationFacts(len(found.names), found.digest)
        return found

    def _calibrated_on(self) -> AlignedFaces:
        first, run, asked = self.first, self._run, self._run.settings.calibration
        if asked == "set":
            run.check_calibration(len(first.calibration_names))
            return self._aligned(
                first.calibration_names,
                first.calibration_paths,
                "aligning calibration photos",
                self.faces.kind,
            )
        if asked == "packaged":
            with run.progress.stage("drawing faces to calibrate on") as report:
                return drawn_faces(self._cache, report).faces
        stage = partial(run.progress.stage, "aligning evaluation photos")
        return faces_in(asked, first, self._cache, run.threads, stage).faces

    @cached_property
    def gallery(self) -> Gallery:
        """Every photo of the people in the first set's pairs, for comparing all with all."""
        found = gallery(find_layout(self._folder), self.first)
        people = len(set(found.identities.tolist()))
        self._run.report.gallery = GalleryFacts(len(found.names), people)
        return found

    def gallery_faces(self, rows: Sequence[int]) -> AlignedFaces:
        """Return some of the gallery's photos as aligned faces."""
        return self._aligned(
            [self.gallery.names[row] for row in rows],
            [self.gallery.paths[row] for row in rows],
            "aligning the other photos of the people in pairs",
            self.faces.kind,
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
