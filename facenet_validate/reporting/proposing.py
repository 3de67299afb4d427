"""What reports of healthy engines speak for: the limits of their gates, and what is left alone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from facenet_validate.base.errors import SettingsError
from facenet_validate.base.vocabulary import PRECISIONS, TARGETS
from facenet_validate.base.wording import quoted
from facenet_validate.gates import catalogue
from facenet_validate.gates.editing import Change, number_text
from facenet_validate.gates.limits import GatesFile
from facenet_validate.gates.margins import Proposal, propose
from facenet_validate.gates.verdicts import format_number
from facenet_validate.reporting.folder import UNFINISHED
from facenet_validate.reporting.results import has_ended

Document = Mapping[str, Any]
Table = tuple[str, str, str]

_OF_SPEED = "the limit is how much slower an engine may be, which no measurement decides"
_OF_LOSS = "the limit is how much an engine may lose, which no measurement decides"
_OF_FAULTS = "the limit parts right from wrong, wherever healthy engines lie"
_PROPOSED = "the limit is the one that would be proposed"


@dataclass(frozen=True)
class Evidence:
    """What several engines measured for one gate.

    Attributes
    ----------
    gate : Gate
        The gate.
    table : tuple of str
        Data set, precision, target.
    values : mapping
        Engine → the worst value it measured.
    days : mapping
        Run → when it began.
    """

    gate: catalogue.Gate
    table: Table
    values: dict[str, float] = field(default_factory=dict)
    days: dict[int, date] = field(default_factory=dict)

    def add(self, run: int, day: date, engine: str, value: float) -> None:
        """Add a value of an engine; of several the worst counts."""
        worse = min if self.gate.bound == "floor" else max
        self.values[engine] = worse(value, self.values.get(engine, value))
        self.days[run] = day

    def stands_on(self, proposal: Proposal) -> str:
        """Say what a proposed limit stands on, in a line."""
        first, last = min(self.days.values()), max(self.days.values())
        when = f"{first}" if first == last else f"{first} to {last}"
        count = f"{_counted(len(self.days), 'run')}, {_counted(len(self.values), 'engine')}"
        return f"{format_number(proposal.worst)} at worst in {count}, {when}; {proposal.reason}"


@dataclass(frozen=True)
class Proposals:
    """Changes of a gates file, and what is to be said of them.

    Attributes
    ----------
    changes : tuple of Change
        Limits that are not those in force, in the order of the catalogue.
    told : tuple of str
        A line for each change.
    left : tuple of str
        A line for each reason to leave engines or gates as they are.
    """

    changes: tuple[Change, ...]
    told: tuple[str, ...]
    left: tuple[str, ...]


def proposals(reports: Sequence[tuple[str, Document]], gates: GatesFile) -> Proposals:
    """Return the limits that reports speak for.

    Parameters
    ----------
    reports : sequence of (str, mapping)
        What each report is called, and what its ``results.json`` holds; at least one.
    gates : GatesFile
        The limits that are there.

    Raises
    ------
    SettingsError
        If a report is unfinished, joined or not of our kind, or the reports are of other models,
        sets or protocols. One line, which names the report.
    """
    _check_alike(reports)
    left: dict[str, None] = {}
    found: dict[tuple[str, Table], Evidence] = {}
    for run, (name, document) in enumerate(reports):
        day = _day(name, document)
        out = _unhealthy(name, document)
        left |= dict.fromkeys(f"{name}: {one} is left out: {why}" for one, why in out.items())
        for gate, table, record in _records(name, document):
            dataset, precision, _ = table
            if precision in out:
                continue
            if record.get("recipe_only"):
                left[f"{name}: {precision} is left out: it was judged on a stand-in"] = None
            elif dataset not in gates.datasets:
                left[f"{name}: {dataset} is left out: `sets` of the gates file lacks it"] = None
            else:
                one = found.setdefault((gate.name, table), Evidence(gate, table))
                one.add(run, day, _engine(name, document, precision, run), record["observed"])
    order = catalogue.names()
    measured = sorted(found.values(), key=lambda one: order.index(one.gate.name))
    return _proposed(measured, gates, list(left))


def _proposed(measured: Sequence[Evidence], gates: GatesFile, left: Sequence[str]) -> Proposals:
    changes, told = [], []
    alone: dict[str, None] = {}
    kept: dict[str, dict[str, None]] = {}
    for one in measured:
        dataset, precision, target = one.table
        name = f"{one.gate.name} ({precision})"
        if not one.gate.measures:
            kept.setdefault(_why_decided(one.gate), {})[name] = None
            continue
        proposal = propose(one.gate, list(one.values.values()))
        now = gates.limits(*one.table).get(one.gate.name)
        if proposal.limit is None or proposal.limit == now:
            why = proposal.reason if proposal.limit is None else _PROPOSED
            kept.setdefault(why, {})[name] = None
            continue
        changes.append(Change(one.table, one.gate.name, proposal.limit, one.stands_on(proposal)))
        engine = f"{precision} on {dataset}, {target}"
        told.append(_told(one.gate, f"{one.gate.name} of {engine}", now, proposal.limit))
        if len(one.values) == 1:
            alone[engine] = None
    told += [
        f"the limits of {one} stand on one engine: what others measure is a guess" for one in alone
    ]
    said = [f"left as they are: {', '.join(names)}: {why}" for why, names in kept.items()]
    return Proposals(tuple(changes), tuple(told), (*left, *said))


def _told(gate: catalogue.Gate, what: str, now: float | None, limit: float) -> str:
    if now is None:
        return f"adds {what}: {number_text(limit)}"
    looser = limit < now if gate.bound == "floor" else limit > now
    text = f"{what} from {number_text(now)} to {number_text(limit)}"
    return f"loosens {text}: look before you accept it" if looser else f"tightens {text}"


def _why_decided(gate: catalogue.Gate) -> str:
    if gate.suite == "performance":
        return _OF_SPEED
    return _OF_LOSS if gate.beside else _OF_FAULTS


def _records(
    name: str, document: Document
) -> Iterator[tuple[catalogue.Gate, Table, Mapping[str, Any]]]:
    """Return the records with a number, each with its gate and the table of its limits."""
    for record in document.get("gates", []):
        value = record["observed"]
        if record["gate"] not in catalogue.names() or value is None:
            continue
        table = (record["dataset"], record["precision"], record.get("target"))
        if table[1] not in PRECISIONS or table[2] not in TARGETS or not _is_number(value):
            raise SettingsError(
                f"{name}: {record['gate']} of precision {quoted(table[1])} and target "
                f"{quoted(table[2])} observed {quoted(value)}; expected what a run writes."
            )
        yield catalogue.row(record["gate"]), table, record


def _unhealthy(name: str, document: Document) -> dict[str, str]:
    """Return the precisions whose engine is no ground for limits, and why."""
    found: dict[str, dict[str, None]] = {}
    for gate in document.get("gates", []):
        if gate["verdict"] == "fail" or gate["fails"]:
            found.setdefault(gate["precision"], {})[f"{gate['gate']} fails"] = None
    for error in document.get("errors", []):
        judges = error.get("judges")
        if not isinstance(judges, list) or not all(isinstance(one, dict) for one in judges):
            raise SettingsError(f"{name}: an error does not say what it was to judge.")
        # What broke outside of any engine's test says nothing good of any of them.
        for precision in [one.get("precision") for one in judges] or PRECISIONS:
            found.setdefault(f"{precision}", {})["a test broke"] = None
    return {precision: ", ".join(reasons) for precision, reasons in found.items()}


def _check_alike(reports: Sequence[tuple[str, Document]]) -> None:
    """Check that reports are finished, and of one model, one protocol and the same pairs."""
    known: dict[str, tuple[str, Any]] = {}
    for name, document in reports:
        if "runs" in document:
            raise SettingsError(f"{name}: reports that were joined; name the reports themselves.")
        if document.get("verdict") == UNFINISHED or not _came_to_its_end(document):
            raise SettingsError(f"{name}: its run has not come to its end; run it again.")
        for what, value in _facts(name, document):
            first, before = known.setdefault(what, (name, value))
            if before != value:
                raise SettingsError(
                    f"{name}: {what} is {quoted(value)}, but {quoted(before)} in {first}. Propose "
                    "limits from each by itself."
                )


def _facts(name: str, document: Document) -> Iterator[tuple[str, Any]]:
    """Return what must be the same in all reports: what it is called, and its value."""
    model = _part(name, document, "model").get("source_sha256")
    if not isinstance(model, str):
        raise SettingsError(f"{name}: it does not say which model was judged; run it again.")
    yield "the model", model
    yield "the protocol", _part(name, document, "settings").get("protocol")
    own = _part(name, document, "sets")
    for one in (_part(name, document, "dataset"), *(_part(name, own, each) for each in own)):
        if one:
            yield f"the digest of the pairs of {one.get('name')}", one.get("pairs_sha256")


def _came_to_its_end(document: Document) -> bool:
    status = document.get("exit_status")
    return isinstance(status, int) and has_ended(status)


def _part(name: str, document: Document, key: str) -> Document:
    found = document.get(key, {})
    if not isinstance(found, dict):
        raise SettingsError(f"{name}: {key} is {quoted(found)}; expected an object.")
    return found


def _engine(name: str, document: Document, precision: str, run: int) -> str:
    """Return the engine's digest; a run that does not know it counts as an engine of its own."""
    engine = _part(name, _part(name, document, "engines"), precision)
    return f"{engine.get('sha256') or run}"


def _day(name: str, document: Document) -> date:
    moment = document.get("started_at")
    try:
        return datetime.fromisoformat(moment).date()  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise SettingsError(
            f"{name}: started_at is {quoted(moment)}; expected a date and time, ISO 8601."
        ) from None


def _is_number(value: Any) -> bool:
    """Say whether a value is a finite number, and fits into a float."""
    try:
        return isinstance(value, int | float) and type(value) is not bool and math.isfinite(value)
    except OverflowError:
        return False


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
