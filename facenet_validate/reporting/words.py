"""The verdict of a run in words: a sentence, what failed, what was not judged and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from facenet_validate.gates import catalogue
from facenet_validate.gates.verdicts import Verdict, format_number
from facenet_validate.reporting.results import severity

_SUITES = {
    "accuracy": "accuracy",
    "build": "build",
    "contract": "contract",
    "identification": "identification",
    "operating": "the deployed threshold",
    "parity": "parity",
    "performance": "speed",
    "robustness": "robustness",
}
_NOT_ASKED = "their tests were not asked for"

GateValues = Mapping[str, Any]
"""A gate as ``results.json`` has it."""


def verdict_sentence(
    gates: Sequence[GateValues], verdict: str, *, against: str = "", broken: str = ""
) -> str:
    """Say in one or two sentences whether the engine may replace the other one.

    Parameters
    ----------
    gates : sequence of mapping
        Every gate of the run, those that were not run among them.
    verdict : str
        Of the run: ``pass``, ``partial``, ``inconclusive`` or ``fail``.
    against : str
        The engine of ``--facenet-against``; empty where there is none.
    broken : str
        What ended the run before its verdict, as a sentence; empty where nothing did.
    """
    engine, other = _engines(gates), against or "FP32"
    if engine == "FP32" and not against:
        other = "the reference"
    judged = _suites(gate for gate in gates if gate["verdict"] == Verdict.PASS)
    failed = _names(gate for gate in gates if gate["fails"])
    open_ = _names(gate for gate in gates if gate["verdict"] == Verdict.INCONCLUSIVE)
    if verdict == "fail":
        told = [f"{engine} was not judged."]
        if failed:
            told = [f"{engine} may not replace {other}: {_are(failed, 'fails', 'fail')}."]
        elif judged:
            told = [f"It was not shown that {engine} may replace {other}."]
        told += [broken] if broken else []
    elif verdict == "inconclusive":
        reason = f": {_are(open_, 'is inconclusive', 'are inconclusive')}" if open_ else ""
        told = [f"It was not shown that {engine} may replace {other}{reason}."]
        told += [f"What holds: {', '.join(judged)}."] if judged else []
    elif not judged:
        told = [f"Nothing was judged of {engine}."]
    elif verdict == "partial":
        told = [f"{engine} may replace {other} on what was judged: {', '.join(judged)}."]
    else:
        told = [f"{engine} may replace {other}: {_are(judged, 'holds', 'hold')}."]
    absent = _whole_suites(gates)
    if absent and verdict != "fail":
        told.append(f"Not judged: {', '.join(absent)}.")
    text = " ".join(told)
    return text[0].upper() + text[1:]


def failure_lines(gates: Sequence[GateValues]) -> list[str]:
    """Return a line for each gate that failed or was not decided, the worst first."""
    telling = [gate for gate in gates if gate["fails"] or gate["verdict"] == Verdict.INCONCLUSIVE]
    return [
        f"{gate['verdict']}: {_title(gate)}: {format_number(_plain(gate['observed']))} observed, "
        f"limit {format_number(_plain(gate['limit']))}"
        + (f"; {gate['detail']}" if gate["detail"] else "")
        for gate in sorted(telling, key=severity, reverse=True)
    ]


def unjudged_lines(gates: Sequence[GateValues]) -> list[str]:
    """Return a line for each reason why gates were not judged, which says what would help."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for gate in gates:
        verdict, detail = gate["verdict"], gate["detail"]
        if verdict in (Verdict.NOT_EVALUATED, Verdict.NOT_RUN):
            reasons.setdefault((verdict, detail or _NOT_ASKED), []).append(gate["gate"])
    return [
        f"{verdict}: {', '.join(dict.fromkeys(names))}: {reason}"
        for (verdict, reason), names in reasons.items()
    ]


def _engines(gates: Sequence[GateValues]) -> str:
    """Name what was judged: ``INT8``, ``FP16 and INT8``, ``the INT8 recipe``."""
    stand_ins = {gate["precision"] for gate in gates if gate["recipe_only"]}
    names = [
        f"the {name.upper()} recipe" if name in stand_ins else name.upper()
        for name in dict.fromkeys(gate["precision"] for gate in gates)
    ]
    return " and ".join(names) or "the engine"


def _suites(gates: Iterable[GateValues]) -> list[str]:
    """Return the suites of gates in words, in the order of reports."""
    found = {gate["gate"].partition(".")[0] for gate in gates}
    known = list(dict.fromkeys(row.suite for row in catalogue.CATALOGUE))
    return [_SUITES.get(name, name) for name in known if name in found]


def _whole_suites(gates: Sequence[GateValues]) -> list[str]:
    """Return what was not judged: a suite where all of it was not, else its gates by name."""
    unjudged = {Verdict.NOT_EVALUATED, Verdict.NOT_RUN}
    told: list[str] = []
    for suite in dict.fromkeys(row.suite for row in catalogue.CATALOGUE):
        of = [gate for gate in gates if gate["gate"].partition(".")[0] == suite]
        absent = [gate for gate in of if gate["verdict"] in unjudged]
        if absent and len(absent) == len(of):
            told.append(_SUITES.get(suite, suite))
        else:
            told += _names(absent)
    return told


def _names(gates: Iterable[GateValues]) -> list[str]:
    return list(dict.fromkeys(gate["gate"] for gate in gates))


def _are(names: Sequence[str], one: str, many: str) -> str:
    return f"{', '.join(names)} {one if len(names) == 1 else many}"


def _title(gate: GateValues) -> str:
    batch = f" b{gate['batch']}" if gate["batch"] else ""
    return f"{gate['gate']}{batch}, {gate['precision']} on {gate['dataset']}"


def _plain(value: float | str | None) -> float | None:
    return float(value) if isinstance(value, str) else value
