"""Sessions as CSV, a row a session; and files that are whole or absent."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from facenet_validate.base.errors import SettingsError
from facenet_validate.base.files import write_whole
from facenet_validate.history.series import Series, SeriesEntry

PROVENANCE = (
    "model",
    "engine",
    "options",
    "runtime",
    "driver",
    "cuda",
    "affinity",
    "python",
    "numpy",
    "facenet_validate",
    "kernel",
    "commit",
)
"""Provenance with a column of its own; whatever else there is, is in ``provenance_other``."""

_COLUMNS: Mapping[str, Callable[[Series, SeriesEntry], object]] = {
    "id": lambda _, entry: entry.id,
    "recorded_at": lambda _, entry: entry.session.recorded_at,
    "accepted": lambda _, entry: str(entry.accepted).lower(),
    "epoch": lambda _, entry: entry.epoch,
    "reason": lambda _, entry: entry.session.reason,
    "device": lambda series, _: series.identity.device,
    "device_details": lambda series, _: series.identity.device_details,
    "backend": lambda series, _: series.identity.backend,
    "precision": lambda series, _: series.identity.precision,
    "target": lambda series, _: series.identity.target,
    "batch": lambda series, _: series.identity.batch,
    "shape": lambda series, _: "x".join(map(str, series.identity.shape)),
    "scope": lambda series, _: series.identity.scope,
    "protocol": lambda series, _: series.identity.protocol,
    "fps": lambda _, entry: entry.fps,
    "latency_seconds": lambda _, entry: entry.session.latency_seconds,
    "latency_low_seconds": lambda _, entry: _finite(entry.interval[0]),
    "latency_high_seconds": lambda _, entry: _finite(entry.interval[1]),
    "latency_to_epoch_median": lambda series, entry: series.change(entry),
    "blocks": lambda _, entry: len(entry.session.block_seconds),
    "fp32_ratio": lambda _, entry: entry.session.paired_ratio,
    "fp32_ratio_low": lambda _, entry: (entry.session.paired_interval or (None, None))[0],
    "fp32_ratio_high": lambda _, entry: (entry.session.paired_interval or (None, None))[1],
    "file": lambda _, entry: entry.origin,
}

COLUMNS = (*_COLUMNS, *(f"provenance_{name}" for name in PROVENANCE), "provenance_other")
"""The columns, in their order. New ones are added at the end; none is renamed."""


def write_csv(file: IO[str], every: Sequence[Series]) -> int:
    """Write a row a session, series by series, oldest first; return how many.

    Numbers are written so that they read back bit for bit; what was not measured is empty.
    """
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    rows = [_row(series, entry) for series in every for entry in series.entries]
    writer.writerows(rows)
    return len(rows)


def _row(series: Series, entry: SeriesEntry) -> list[object]:
    provenance = entry.session.provenance
    other = {name: text for name, text in provenance.items() if name not in PROVENANCE}
    return [
        *(value(series, entry) for value in _COLUMNS.values()),
        *(provenance.get(name) for name in PROVENANCE),
        json.dumps(other, sort_keys=True) if other else None,
    ]


def _finite(bound: float) -> float | None:
    return bound if math.isfinite(bound) else None


def check_free(path: Path, *, force: bool) -> None:
    """Refuse to write where something is.

    Raises
    ------
    SettingsError
        If the file exists and `force` is not set, or it is no file.
    """
    is_file = os.path.isfile(path)  # noqa: PTH113 -- Path's raises where a folder is not searchable
    if os.path.lexists(path) and not (force and is_file):
        advice = "--force replaces it" if is_file else "it is no file; name another"
        raise SettingsError(f"-o {path}: exists; nothing was written. {advice}.")


def write_file(path: Path, write: Callable[[IO[bytes]], None]) -> None:
    """Write a file in one step: it is whole, or as it was before.

    Raises
    ------
    SettingsError
        If it cannot be written.
    """
    try:
        write_whole(path, write)
    except OSError as error:
        raise SettingsError(f"-o {path}: cannot be written ({error.strerror or error}).") from None
