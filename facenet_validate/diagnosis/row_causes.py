"""Experiments on the rows of a batch: whose embedding stands in which row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from facenet_validate.diagnosis import causes
from facenet_validate.diagnosis.case import Case
from facenet_validate.diagnosis.diagnosis import Finding, NotTried
from facenet_validate.diagnosis.rule import MOST, SAME, comparable, distance, judged, unit

SHOWN = 4
"""Rows named in a detail."""


def row_findings(case: Case) -> Iterator[Finding]:
    """Find the face that each row is nearest to: another than its own is a row at a wrong place.

    Rows that are all the same, and no face's, are told too.

    Nothing is fitted that could follow noise: a row has as many choices as there are faces, and
    hundreds of values that must agree.
    """
    rows, known = (unit(one) for one in comparable(case))
    precision = case.engine.info.precision
    products = rows @ known.T
    own = np.arange(len(rows))
    of = np.argmax(products, axis=1)
    # The own face stays where two faces are equal.
    of = np.where(products[own, of] - products[own, own] < 1e-6, own, of)
    once = len(np.unique(of)) == len(of)
    cause = causes.ROWS_EXCHANGED if once else causes.ROWS_REPEATED
    found = judged(cause, rows, known, known[of], precision, described(of))
    # Where all rows lie elsewhere, some other face is the nearest by chance.
    moved = of != own
    before, after = (np.sum((rows - one)[moved] ** 2, axis=1) for one in (known, known[of]))
    yield replace(found, named=found.named and bool(np.all(after <= (1 - MOST) * before)))
    constant = np.broadcast_to(rows.mean(axis=0), rows.shape)
    if distance(rows, constant) <= SAME:
        yield judged(causes.ALL_THE_SAME, rows, known, constant, precision)


def described(of: NDArray[np.intp]) -> str:
    """Return in words which face stands in which row."""
    count = len(of)
    own = np.arange(count)
    moved = np.flatnonzero(of != own)
    if not len(moved):
        return "every row is nearest to its own face"
    steps = np.unique((own - of) % count)
    if len(steps) == 1:
        step = int(steps[0])
        return f"every row is shifted by {step if step <= count // 2 else step - count}"
    if np.array_equal(of, own[::-1]):
        return "the rows are reversed"
    if len(np.unique(of)) == 1:
        return f"all {count} rows are face {of[0]}"
    shown = ", ".join(f"row {row} is face {of[row]}" for row in moved[:SHOWN])
    return f"{len(moved)} of {count} rows: {shown}" + (", …" if len(moved) > SHOWN else "")


def stale_findings(case: Case) -> Iterator[Finding | NotTried]:
    """Run two batches of different faces, and compare the second's output with the first's."""
    half = len(case.batch) // 2
    if half < 2:
        yield NotTried(causes.STALE_OUTPUT.name, "it needs four faces")
        return
    case.engine.run(case.batch[:half])
    found = case.engine.run(case.batch[half : 2 * half])
    yield judged(
        causes.STALE_OUTPUT,
        unit(found),
        case.expected[half : 2 * half],
        case.expected[:half],
        case.engine.info.precision,
        "a batch's output is of the batch before",
    )
