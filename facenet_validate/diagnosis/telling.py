"""A diagnosis told to people: the cause, the evidence, what to do; then the numbers."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from facenet_validate.diagnosis.diagnosis import Diagnosis, Finding, NodeDifference, Walk

WIDTH = 80
MOST_TRIED = 8
"""Causes in the table, the best experiment of each; the report has all."""

MOST_FACES = 5

_UNFINISHED = "its cause was not found before the time for experiments was over"


def one_line(diagnosis: Diagnosis) -> str:
    """Return the cause in a clause, or that none is known and where the nodes part."""
    if diagnosis.cause is not None:
        cause = diagnosis.cause
        return f"{cause.cause.title} (explains {_share(cause.removed)} of the difference)"
    jump = None if diagnosis.walk is None else diagnosis.walk.jump
    found = "no known cause explains it" if diagnosis.complete else _UNFINISHED
    return f"{found}; the first jump is at {_where(jump)}" if jump else found


def words(diagnosis: Diagnosis) -> str:
    """Return the cause, the evidence and what to do, a paragraph each, 80 columns wide."""
    if diagnosis.cause is None:
        told = [("cause", f"{one_line(diagnosis)}."), ("evidence", _no_evidence(diagnosis))]
        told.append(("what to do", _advice(diagnosis)))
        return "\n".join(_hanging(f"{subject}: {text}") for subject, text in told)
    cause = diagnosis.cause
    told = [
        ("cause", f"{cause.cause.title}."),
        ("evidence", _evidence(cause, diagnosis.faces)),
        ("what to do", cause.cause.advice),
    ]
    if cause.cause.alike:
        told.append(("or", f"{'; '.join(cause.cause.alike)}. No embedding tells these apart."))
    return "\n".join(_hanging(f"{subject}: {text}") for subject, text in told)


def numbers(diagnosis: Diagnosis) -> str:
    """Return what was tried, the first jump and the worst faces, 80 columns wide."""
    lines = _tried(diagnosis)
    lines += [_hanging(f"not tried: {one.name}: {one.reason}") for one in diagnosis.not_tried]
    if diagnosis.walk is not None:
        lines += _walked(diagnosis.walk)
    if diagnosis.worst:
        shown = ", ".join(diagnosis.worst[:MOST_FACES])
        lines.append(_hanging(f"faces that moved most: {shown}"))
    return "\n".join(lines)


def values(diagnosis: Diagnosis) -> dict[str, Any]:
    """Return a diagnosis as ``results.json`` has it: with every experiment and every node."""
    walk = diagnosis.walk
    return {
        "text": one_line(diagnosis),
        "cause": None if diagnosis.cause is None else diagnosis.cause.cause.name,
        "advice": "" if diagnosis.cause is None else diagnosis.cause.cause.advice,
        "alike": [] if diagnosis.cause is None else list(diagnosis.cause.cause.alike),
        "faces": diagnosis.faces,
        "worst_faces": list(diagnosis.worst),
        "tried": [_finding_values(one) for one in diagnosis.tried],
        "not_tried": [{"cause": one.name, "reason": one.reason} for one in diagnosis.not_tried],
        "walk": None if walk is None else _walk_values(walk),
    }


def _evidence(finding: Finding, faces: int) -> str:
    detail = f" ({finding.detail})" if finding.detail else ""
    return (
        f"imitated on the FP32 reference{detail}, it explains {_share(finding.removed)} of the "
        f"difference on {faces} faces. Mean row cosine {_cosine(finding.cosine_before)} without "
        f"it, {_cosine(finding.cosine_after)} with it."
    )


def _no_evidence(diagnosis: Diagnosis) -> str:
    told = f"{len(diagnosis.tried)} known causes were imitated on {diagnosis.faces} faces"
    if not diagnosis.tried or diagnosis.tried[0].removed <= 0:
        return f"{told}; none brings the reference nearer to the engine."
    best = diagnosis.tried[0]
    return f"{told}; the nearest, {best.cause.name}, explains {_share(best.removed)}."


def _advice(diagnosis: Diagnosis) -> str:
    walk = diagnosis.walk
    if walk is None:
        return "facenet-validate diagnose ENGINE --full looks at every node."
    if walk.jump is not None:
        return f"look at {_where(walk.jump)} first: up to it both engines agree best."
    return walk.untold or "no single node stands out: the difference grows from node to node."


def _tried(diagnosis: Diagnosis) -> list[str]:
    best: dict[str, Finding] = {}
    for one in diagnosis.tried:
        best.setdefault(one.cause.name, one)
    shown = list(best.values())[:MOST_TRIED]
    if not shown:
        return []
    head = (f"tried on {diagnosis.faces} faces", "explains", "row cosine", "")
    rows = [head, *(_row(one) for one in shown)]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [
        f"{name:{widths[0]}}  {share:>{widths[1]}}  {cosine:{widths[2]}}  {detail}".rstrip()
        for name, share, cosine, detail in rows
    ]
    lines = [line if len(line) <= WIDTH else f"{line[: WIDTH - 2].rstrip()} …" for line in lines]
    rest = len(diagnosis.tried) - len(shown)
    return [*lines, f"and {rest} more experiments"] if rest else lines


def _row(finding: Finding) -> tuple[str, str, str, str]:
    share = _share(finding.removed) if finding.removed > 0 else "nothing"
    cosines = f"{_cosine(finding.cosine_before)} → {_cosine(finding.cosine_after)}"
    return finding.cause.name, share, cosines, finding.detail


def _walked(walk: Walk) -> list[str]:
    if not walk.nodes:
        return [_hanging(f"nodes: not walked: {walk.untold}")] if walk.untold else []
    lines = [_hanging(f"nodes: {len(walk.nodes)} of each engine side by side, by {walk.source}")]
    if walk.jump is not None:
        lines.append(_hanging(f"first jump: {_where(walk.jump)}: {_decibels(walk.jump, walk)}"))
    last = walk.nodes[-1]
    lines.append(_hanging(f"last node: {_where(last)}: SQNR {last.sqnr:.1f} dB"))
    return lines + [_hanging(f"note: {note}") for note in walk.notes]


def _decibels(node: NodeDifference, walk: Walk) -> str:
    place = walk.nodes.index(node) if node in walk.nodes else 0
    before = f" after {walk.nodes[place - 1].sqnr:.1f} dB" if place else ""
    told = f"SQNR {node.sqnr:.1f} dB{before}, cosine {_cosine(node.cosine)}"
    if node.local_sqnr is None:
        return told
    return f"{told}; by itself, fed with the reference's tensors, {node.local_sqnr:.1f} dB"


def _where(node: NodeDifference) -> str:
    named = f"{node.kind} {node.node}"
    return f"{node.block}, {named}" if node.block else named


def _share(removed: float) -> str:
    """Return a share in per cent; what is not all is not rounded to all."""
    percent = 100.0 * removed
    rounded = f"{percent:.1f}"
    return f"{rounded if rounded != '100.0' or percent >= 100.0 else 'over 99.9'} %"


def _cosine(cosine: float) -> str:
    return f"{cosine:.4f}"


def _hanging(text: str) -> str:
    return textwrap.fill(
        text, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )


def _finding_values(finding: Finding) -> dict[str, Any]:
    return {
        "cause": finding.cause.name,
        "title": finding.cause.title,
        "removed": finding.removed,
        "cosine_before": finding.cosine_before,
        "cosine_after": finding.cosine_after,
        "named": finding.named,
        "detail": finding.detail,
    }


def _walk_values(walk: Walk) -> dict[str, Any]:
    return {
        "source": walk.source,
        "untold": walk.untold,
        "notes": list(walk.notes),
        "jump": None if walk.jump is None else walk.jump.node,
        "nodes": _node_values(walk.nodes),
    }


def _node_values(nodes: Sequence[NodeDifference]) -> list[dict[str, Any]]:
    return [
        {
            "node": one.node,
            "kind": one.kind,
            "block": one.block,
            "local_sqnr": one.local_sqnr,
            "local_cosine": one.local_cosine,
            "sqnr": one.sqnr,
            "cosine": one.cosine,
        }
        for one in nodes
    ]
