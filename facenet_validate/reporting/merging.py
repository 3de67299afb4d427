"""Reports of several machines as one: every identity apart, every conflict named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from facenet_validate.gates import catalogue
from facenet_validate.gates.verdicts import Verdict
from facenet_validate.reporting.diagnosis import cause_lines
from facenet_validate.reporting.folder import UNFINISHED
from facenet_validate.reporting.results import SCHEMA, UNJUDGED, overall
from facenet_validate.reporting.words import failure_lines, verdict_sentence

Document = Mapping[str, Any]

_OF_ALL = ("gates", "measurements", "errors", "gate_titles", "required_and_not_judged")
"""What stands in the joined report itself, and not in the list of its runs."""


def merge_reports(
    reports: Sequence[tuple[str, Document]], missing: Sequence[str] = ()
) -> dict[str, Any]:
    """Return one report of several runs.

    A gate that one run judged and another did not is judged. One that was judged as a recipe only
    gives way to the same gate judged on its target. What several runs judged stays as often, each
    with the ``run`` that it is of. Speed is of a machine: a run that timed an engine keeps what it
    did not judge of that engine's speed.

    Parameters
    ----------
    reports : sequence of (str, mapping)
        What each run is called, and what its ``results.json`` holds; at least one.
    missing : sequence of str
        Runs that were to write a report and did not. They make the verdict a fail.

    Returns
    -------
    dict
        With ``runs``, ``missing_runs`` and ``conflicts``. A conflict makes the verdict
        inconclusive at best, and the exit status 1.
    """
    gates = _judged(
        [
            {**gate, "run": run}
            for run, (_, document) in enumerate(reports)
            for gate in document.get("gates", [])
        ]
    )
    found = conflicts(reports)
    unfinished = [name for name, document in reports if document.get("verdict") == UNFINISHED]
    errors = _of_all("errors", reports)
    unmet = [one for _, document in reports for one in document.get("required_and_not_judged", [])]
    unmet = [one for one in dict.fromkeys(unmet) if not _met(one, gates)]
    verdict = overall(gates, broken=bool(errors or unmet or unfinished or missing))
    if found and verdict != "fail":
        verdict = Verdict.INCONCLUSIVE.value
    told = [
        f"There is no report of {', '.join(missing)}." if missing else "",
        f"Not come to its end: {', '.join(unfinished)}." if unfinished else "",
        "Tests broke before a verdict." if errors else "",
        "Gates of a required data set were not judged." if unmet else "",
    ]
    sentence = verdict_sentence(gates, verdict, broken=" ".join(one for one in told if one))
    if found:
        sentence += f" The runs contradict each other: {found[0]['text']}."
    return {
        "schema": SCHEMA,
        "started_at": min(_moments("started_at", reports), default=None),
        "finished_at": max(_moments("finished_at", reports), default=None),
        "verdict": verdict,
        "sentence": sentence,
        "exit_status": 1 if verdict == "fail" or found else 0,
        "counts": dict(Counter(gate["verdict"] for gate in gates)),
        "partial": "",
        "protocol": None,
        "gate_titles": {gate.name: gate.observes for gate in catalogue.CATALOGUE},
        "runs": [
            {"run": name, **{key: one for key, one in document.items() if key not in _OF_ALL}}
            for name, document in reports
        ],
        "missing_runs": list(missing),
        "conflicts": found,
        "photos": {
            name: shown
            for _, document in reports
            for name, shown in document.get("photos", {}).items()
        },
        "gates": gates,
        "measurements": _of_all("measurements", reports),
        "errors": errors,
        "required_and_not_judged": unmet,
    }


def merged_lines(merged: Document) -> list[str]:
    """Return what a joined report says, a line each: its runs, what failed in each, conflicts."""
    lines = []
    names = [run["run"] for run in merged["runs"]]
    for place, run in enumerate(merged["runs"]):
        environment, dataset = run.get("environment") or {}, run.get("dataset") or {}
        backend = f"{environment.get('backend', '')} {environment.get('backend_version', '')}"
        facts = [environment.get("device"), backend.strip(), dataset.get("name")]
        about = ", ".join(str(one) for one in facts if one)
        verdict = f"{str(run.get('verdict')).upper()}: {run.get('sentence', '')}"
        lines.append(f"{names[place]} ({about}): {verdict}")
        gates, measured, broken = (
            [one for one in merged[name] if one["run"] == place]
            for name in ("gates", "measurements", "errors")
        )
        told = [*cause_lines(measured), *failure_lines(gates)]
        told += [
            f"broke: {one.get('test') or one.get('phase')}: {one.get('reason')}" for one in broken
        ]
        lines += [f"{names[place]}: {line}" for line in told]
    lines += [f"{name}: there is no report" for name in merged["missing_runs"]]
    for one in merged["conflicts"]:
        lines.append(f"conflict: {one['text']}: {', '.join(names[run] for run in one['runs'])}")
    return lines


def conflicts(reports: Sequence[tuple[str, Document]]) -> list[dict[str, Any]]:
    """Return where runs contradict each other, each with the runs that do.

    That is: other models, other pairs of a set, other limits for the same gate, and other verdicts
    of the same gate on the same engine, backend and kind of machine. Verdicts on speed may differ.
    """
    runs: dict[tuple[str, tuple[Any, ...]], dict[Any, list[int]]] = {}
    for run, (_, document) in enumerate(reports):
        for kind, subject, value in (*_identities(document), *_judgements(document)):
            runs.setdefault((kind, subject), {}).setdefault(value, []).append(run)
    found = []
    for (kind, subject), by_value in runs.items():
        if _of_several_runs(by_value.values()):
            text = _TEXTS[kind].format(*subject, values=" and ".join(map(str, by_value)))
            found.append(_conflict(kind, text, by_value.values()))
    return sorted(found, key=lambda one: list(_TEXTS).index(one["kind"]))


_TEXTS = {
    "model": "they are of other models",
    "set": "{0} has other pairs",
    "limit": "{0}, {1} on {2}, has other limits",
    "verdict": "{0}, {1} on {2}, is {values} of one engine on one kind of machine",
}
"""Kind of a conflict → how it is told, of its subject and the values that contradict."""


def _identities(document: Document) -> Iterator[tuple[str, tuple[Any, ...], Any]]:
    """Yield which model and which pairs a run has: kind, subject and value."""
    model = document.get("model", {}).get("source_sha256")
    if model:
        yield "model", (), model
    for one in (document.get("dataset") or {}, *document.get("sets", {}).values()):
        if one.get("pairs_sha256"):
            yield "set", (one.get("name"),), one["pairs_sha256"]


def _judgements(document: Document) -> Iterator[tuple[str, tuple[Any, ...], Any]]:
    """Yield the limits and the verdicts of a run's gates: kind, subject and value."""
    environment = document.get("environment") or {}
    where = tuple(
        environment.get(name) for name in ("device", "cpu_details", "backend", "backend_version")
    )
    for gate in document.get("gates", []):
        about = (gate["gate"], gate["precision"], gate["dataset"], gate.get("batch"))
        if gate["limit"] is not None:
            yield "limit", (*about, gate.get("target")), gate["limit"]
        engine = document.get("engines", {}).get(gate["precision"], {}).get("sha256")
        if engine and gate["verdict"] not in UNJUDGED and not _is_speed(gate):
            yield "verdict", (*about, engine, where), gate["verdict"]


def _of_several_runs(runs: Any) -> bool:
    """Say whether values differ between runs; in one run they may differ between tries."""
    sets = [set(one) for one in runs]
    return len(sets) > 1 and len(set().union(*sets)) > 1


def _conflict(kind: str, text: str, runs: Any) -> dict[str, Any]:
    return {"kind": kind, "text": text, "runs": sorted({run for one in runs for run in one})}


def _judged(gates: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Leave out what was judged better elsewhere: not at all, or as a recipe only."""
    best: dict[tuple[Any, ...], int] = {}
    timed = {
        (gate["run"], gate["precision"])
        for gate in gates
        if _is_speed(gate) and gate["verdict"] not in UNJUDGED
    }
    for gate in gates:
        best[_subject(gate)] = max(best.get(_subject(gate), 0), _rank(gate))
    kept = [
        gate
        for gate in gates
        if _rank(gate) == best[_subject(gate)]
        or (_is_speed(gate) and (gate["run"], gate["precision"]) in timed)
    ]
    # Of what no run judged one record is enough.
    seen: set[tuple[Any, ...]] = set()
    found = []
    for gate in kept:
        if _rank(gate) == 0:
            if _subject(gate) in seen:
                continue
            seen.add(_subject(gate))
        found.append(gate)
    return found


def _subject(gate: Mapping[str, Any]) -> tuple[Any, ...]:
    return (
        gate["gate"],
        gate["precision"],
        gate["dataset"],
        gate.get("batch"),
        gate.get("target"),
    )


def _is_speed(gate: Mapping[str, Any]) -> bool:
    return bool(gate["gate"].startswith("performance."))


def _rank(gate: Mapping[str, Any]) -> int:
    if gate["verdict"] in UNJUDGED:
        return 0
    return 1 if gate.get("recipe_only") else 2


def _met(required: str, gates: Sequence[Mapping[str, Any]]) -> bool:
    """Say whether some run judged a gate that is required, as ``gate (precision)``."""
    return any(
        required == f"{gate['gate']} ({gate['precision']})" and gate["verdict"] not in UNJUDGED
        for gate in gates
    )


def _of_all(name: str, reports: Sequence[tuple[str, Document]]) -> list[dict[str, Any]]:
    return [
        {**one, "run": run}
        for run, (_, document) in enumerate(reports)
        for one in document.get(name, [])
    ]


def _moments(name: str, reports: Sequence[tuple[str, Document]]) -> list[str]:
    return [document[name] for _, document in reports if document.get(name)]
