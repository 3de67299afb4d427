"""What a run found and built, typed: the part of ``results.json`` that no test judges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any


@dataclass(frozen=True)
class EnvironmentFacts:
    """What a run stands on.

    Attributes
    ----------
    facenet_validate, onnxruntime : str
        Versions.
    backend, backend_version, backend_reason : str
        What runs the engines, and why it was chosen.
    backend_unavailable : str
        Why its engines can be built but not run here; empty if they can be run.
    device : str
        What engines run on.
    cpu, cpu_details : str
        The CPU's name and the rest of its identity.
    threads : int
        Intra-op threads of engines on the CPU.
    target, target_reason : str
        What INT8 recipes are for, and why.
    """

    facenet_validate: str
    onnxruntime: str
    backend: str
    backend_version: str
    backend_reason: str
    backend_unavailable: str
    device: str
    cpu: str
    cpu_details: str
    threads: int
    target: str
    target_reason: str

    @property
    def cannot_run(self) -> str:
        """Why engines cannot be run here, for people; empty if they can."""
        reason = self.backend_unavailable
        return f"{self.backend} cannot run here: {reason}" if reason else ""


@dataclass(frozen=True)
class AlignmentFacts:
    """How a set was aligned.

    Attributes
    ----------
    aligner : str
        What aligned the photos.
    faces_sha256 : str
        Digest of the aligned faces.
    undetected, several_faces : list of str
        Photos without a face, and with several.
    pictures : list of str
        Pictures of these, relative to the report's folder.
    """

    aligner: str
    faces_sha256: str
    undetected: list[str] = field(default_factory=list)
    several_faces: list[str] = field(default_factory=list)
    pictures: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class SetFacts:
    """A verification set.

    Attributes
    ----------
    name, title : str
        What gates and people call it.
    pairs, images, people : int
        Its size.
    pairs_sha256 : str
        Digest of the pairs file.
    files : dict
        What is odd about its files, as `FileNotes.facts` gives it.
    calibration_images : int or None
        Photos of other people chosen for calibration; None for a set that has none.
    alignment : AlignmentFacts or None
        None until it was aligned, and for the run's first set, whose alignment stands apart.
    """

    name: str
    title: str
    pairs: int
    images: int
    people: int
    pairs_sha256: str
    files: dict[str, Any] = field(default_factory=dict)
    calibration_images: int | None = None
    alignment: AlignmentFacts | None = None


@dataclass(frozen=True)
class ModelFacts:
    """The FP32 model.

    Attributes
    ----------
    source, source_sha256, prepared_sha256 : str
        The source model, its digest, and that of the prepared model.
    embedding_size, image_size : int
        Values of an embedding, and pixels a side.
    proof, cache : str
        What shows that they are one model, and whether it came from the cache.
    """

    source: str
    source_sha256: str
    prepared_sha256: str
    embedding_size: int
    image_size: int
    proof: str
    cache: str


@dataclass(frozen=True)
class EngineFacts:
    """An engine; None where it does not apply, or is not known before the engine is loaded.

    Attributes
    ----------
    sha256, graph_sha256 : str or None
        Digests of what is loaded, and of the graph it was made from.
    path : str or None
        What is loaded.
    precision : str or None
        Of the engine compared with.
    recipe, cache : str or None
        How it was made, and whether it came from the cache.
    recipe_only : bool or None
        Whether results speak for the recipe and not for an engine.
    runtime : str or None
        The library that runs it.
    options : dict or None
        Its session options.
    notes : list of str or None
        What else its backend says of the artefact, a line each: where a plan lies.
    """

    sha256: str | None = None
    graph_sha256: str | None = None
    path: str | None = None
    precision: str | None = None
    recipe: str | None = None
    cache: str | None = None
    recipe_only: bool | None = None
    runtime: str | None = None
    options: dict[str, str] | None = None
    notes: list[str] | None = None


@dataclass(frozen=True)
class GalleryFacts:
    """Photos that are compared all with all, and the people they show."""

    images: int
    people: int


@dataclass(frozen=True)
class CalibrationFacts:
    """Photos INT8 was calibrated on, and the digest of their aligned faces."""

    images: int
    faces_sha256: str


@dataclass(frozen=True)
class BaselineFacts:
    """A session that was timed, what became of it, and whether it should have been stored."""

    about: str
    text: str
    failed: bool


@dataclass
class RunReport:
    """What a run found and built. Fixtures fill it; workers' reports are merged into one.

    Attributes
    ----------
    settings : dict
        What was asked for, as far as a reader of the report needs it.
    gates_file : str
        Where the limits stand.
    environment : EnvironmentFacts or None
        None in a report that is not begun.
    dataset : SetFacts or None
        The verification set that every suite judges by.
    alignment : AlignmentFacts or None
        How that set was aligned.
    sets : dict
        Name → further verification set.
    gallery, calibration, model : GalleryFacts, CalibrationFacts, ModelFacts or None
        None where no test needed them.
    engines : dict
        Precision → engine under test.
    reference, against : EngineFacts or None
        The FP32 reference, and the engine of ``--facenet-against``.
    embeddings : dict
        Which embeddings → whether they came from the cache.
    photos : dict
        Set → of which pairs photos are shown: ``all``, ``changed`` or ``none``.
    baselines : list of BaselineFacts
        What became of timed sessions.
    """

    settings: dict[str, Any] = field(default_factory=dict)
    gates_file: str = ""
    environment: EnvironmentFacts | None = None
    dataset: SetFacts | None = None
    alignment: AlignmentFacts | None = None
    sets: dict[str, SetFacts] = field(default_factory=dict)
    gallery: GalleryFacts | None = None
    calibration: CalibrationFacts | None = None
    model: ModelFacts | None = None
    engines: dict[str, EngineFacts] = field(default_factory=dict)
    reference: EngineFacts | None = None
    against: EngineFacts | None = None
    embeddings: dict[str, str] = field(default_factory=dict)
    photos: dict[str, str] = field(default_factory=dict)
    baselines: list[BaselineFacts] = field(default_factory=list)

    def merge(self, other: RunReport) -> None:
        """Take over what another worker knows and this report does not, in every part."""
        for part in fields(self):
            name = part.name
            setattr(self, name, merged(getattr(self, name), getattr(other, name)))

    def values(self) -> dict[str, Any]:
        """Return the report as JSON has it; what is not known is left out."""
        found: dict[str, Any] = _plain(self)
        return found

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> RunReport:
        """Return a report from its values."""
        parts = {name: kind(**values[name]) for name, kind in _PARTS.items() if name in values}
        engines = {name: EngineFacts(**one) for name, one in values.get("engines", {}).items()}
        sets = {name: _set_facts(one) for name, one in values.get("sets", {}).items()}
        baselines = [BaselineFacts(**one) for one in values.get("baselines", [])]
        typed = {**parts, "engines": engines, "sets": sets, "baselines": baselines}
        return cls(**{**values, **typed})


_PARTS: Mapping[str, type[Any]] = {
    "environment": EnvironmentFacts,
    "dataset": SetFacts,
    "alignment": AlignmentFacts,
    "gallery": GalleryFacts,
    "calibration": CalibrationFacts,
    "model": ModelFacts,
    "reference": EngineFacts,
    "against": EngineFacts,
}


def merged(known: Any, more: Any) -> Any:
    """Return what two workers know of one thing: of two different values the first stands.

    What is None or empty is not known, whoever said so first. Parts and mappings are merged entry
    by entry.
    """
    if known is None or more is None or type(known) is not type(more):
        return more if known is None else known
    if isinstance(known, Mapping) and isinstance(more, Mapping):
        names = dict.fromkeys([*known, *more])
        return {name: merged(known.get(name), more.get(name)) for name in names}
    if is_dataclass(known) and not isinstance(known, type):
        parts = [part.name for part in fields(known)]
        return replace(known, **{n: merged(getattr(known, n), getattr(more, n)) for n in parts})
    return more if known in ("", []) else known


def _set_facts(values: Mapping[str, Any]) -> SetFacts:
    alignment = values.get("alignment")
    return SetFacts(**{**values, "alignment": alignment and AlignmentFacts(**alignment)})


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        named = {part.name: getattr(value, part.name) for part in fields(value)}
        # An empty part of the report is one that no test needed.
        absent: tuple[Any, ...] = (None, {}, []) if isinstance(value, RunReport) else (None,)
        return {name: _plain(one) for name, one in named.items() if one not in absent}
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value
