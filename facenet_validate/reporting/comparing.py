"""Two reports side by side: which gates changed, and what else differs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from facenet_validate.gates import catalogue
from facenet_validate.reporting.results import severity

Document = Mapping[str, Any]
Kind = Literal["worse", "better", "same", "only in A", "only in B"]

_IDENTITY: Mapping[str, tuple[str, ...]] = {
    "model": ("model", "source_sha256"),
    "reference": ("reference", "sha256"),
    "device": ("environment", "device"),
    "CPU": ("environment", "cpu_details"),
    "backend": ("environment", "backend"),
    "version of the backend": ("environment", "backend_version"),
    "version of facenet-validate": ("environment", "facenet_validate"),
    "target": ("environment", "target"),
    "pairs": ("dataset", "pairs_sha256"),
    "faces": ("alignment", "faces_sha256"),
    "protocol": ("protocol",),
}


@dataclass(frozen=True)
class Subject:
    """What a gate judged: the same in two reports."""

    gate: str
    precision: str
    dataset: str
    batch: int | None

    @property
    def text(self) -> str:
        """For people."""
        batch = f" b{self.batch}" if self.batch else ""
        return f"{self.gate}{batch}, {self.precision} on {self.dataset}"


@dataclass(frozen=True)
class GateChange:
    """A gate in two reports.

    Attributes
    ----------
    subject : Subject
        What it judged.
    a, b : int or None
        Its places among the gates of each report; None where it is not there.
    kind : str
        Whether the verdict of B is worse or better than that of A.
    """

    subject: Subject
    a: int | None
    b: int | None
    kind: Kind


@dataclass(frozen=True)
class Difference:
    """What the reports are of differs: a name, and both values."""

    name: str
    a: str
    b: str


@dataclass(frozen=True)
class ReportComparison:
    """Two reports side by side.

    Attributes
    ----------
    changes : tuple of GateChange
        Every gate of either, those whose verdict became worse first.
    differences : tuple of Difference
        What else differs: model, engines, machine, data, limits.
    """

    changes: tuple[GateChange, ...]
    differences: tuple[Difference, ...]

    def of_kind(self, kind: Kind) -> tuple[GateChange, ...]:
        """Return the changes of one kind."""
        return tuple(one for one in self.changes if one.kind == kind)


def compare_reports(a: Document, b: Document) -> ReportComparison:
    """Put two reports side by side.

    Of a gate that was tried several times, the worst try counts.
    """
    before, after = worst_tries(a), worst_tries(b)
    order = {name: place for place, name in enumerate(catalogue.names())}
    changes = [
        GateChange(
            subject, before.get(subject), after.get(subject), _kind(subject, before, after, a, b)
        )
        for subject in dict.fromkeys([*before, *after])
    ]
    rank: list[Kind] = ["worse", "better", "only in A", "only in B", "same"]
    changes.sort(key=lambda one: (rank.index(one.kind), order.get(one.subject.gate, len(order))))
    return ReportComparison(tuple(changes), tuple(_differences(a, b, before, after)))


def subject_of(gate: Mapping[str, Any]) -> Subject:
    """Return what a gate of a report judged."""
    return Subject(gate["gate"], gate["precision"], gate["dataset"], gate.get("batch"))


def worst_tries(document: Document) -> dict[Subject, int]:
    """Return the place of each gate, in its worst try."""
    found: dict[Subject, int] = {}
    gates = document.get("gates", [])
    for place, gate in enumerate(gates):
        known = found.get(subject_of(gate))
        if known is None or severity(gate) > severity(gates[known]):
            found[subject_of(gate)] = place
    return found


def _kind(
    subject: Subject,
    before: Mapping[Subject, int],
    after: Mapping[Subject, int],
    a: Document,
    b: Document,
) -> Kind:
    if subject not in after:
        return "only in A"
    if subject not in before:
        return "only in B"
    was, now = (
        severity(document["gates"][places[subject]])
        for document, places in ((a, before), (b, after))
    )
    return "same" if was == now else "worse" if now > was else "better"


def _differences(
    a: Document, b: Document, before: Mapping[Subject, int], after: Mapping[Subject, int]
) -> list[Difference]:
    found = [Difference(name, _at(a, keys), _at(b, keys)) for name, keys in _IDENTITY.items()]
    for precision in dict.fromkeys([*a.get("engines", {}), *b.get("engines", {})]):
        keys = ("engines", precision, "sha256")
        found.append(Difference(f"engine {precision}", _at(a, keys), _at(b, keys)))
    for subject in before:
        if subject in after:
            limits = (
                str(document["gates"][places[subject]]["limit"])
                for document, places in ((a, before), (b, after))
            )
            found.append(Difference(f"limit of {subject.text}", *limits))
    return [one for one in found if one.a != one.b]


def _at(document: Any, keys: tuple[str, ...]) -> str:
    for key in keys:
        document = document.get(key) if isinstance(document, Mapping) else None
    return "" if document is None else str(document)
