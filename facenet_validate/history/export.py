"""Sessions as CSV, a row a session; and files that are whole or absent."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Callable, Sequence
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

COLUMNS = (
    "id",
    "recorded_at",
    "accepted",
    "epoch",
    "reason",
    "device",
    "device_details",
    "backend",
    "precision",
    "target",
    "batch",
    "shape",
    "scope",
    "protocol",
    "fps",
    "latency_seconds",
    "latency_low_seconds",
    "latency_high_seconds",
    "latency_to_epoch_median",
    "blocks",
    "fp32_ratio",
    "fp32_ratio_low",
    "fp32_ratio_high",
    "file",
    *(f"provenance_{name}" for name in PROVENANCE),
    "provenance_other",
)
"""The columns, in their order. New ones may come behind; none is renamed."""


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
    session, identity = entry.session, entry.session.identity
    low, high = (bound if math.isfinite(bound) else "" for bound in entry.interval)
    ratio_low, ratio_high = session.paired_interval or ("", "")
    other = {k: v for k, v in session.provenance.items() if k not in PROVENANCE}
    values: dict[str, object] = {
        "id": entry.id,
        "recorded_at": session.recorded_at,
        "accepted": str(entry.accepted).lower(),
        "epoch": entry.epoch,
        "reason": session.reason,
        "device": identity.device,
        "device_details": identity.device_details,
        "backend": identity.backend,
        "precision": identity.precision,
        "target": identity.target,
        "batch": identity.batch,
        "shape": "x".join(map(str, identity.shape)),
        "scope": identity.scope,
        "protocol": identity.protocol,
        "fps": entry.fps,
        "latency_seconds": session.latency_seconds,
        "latency_low_seconds": low,
        "latency_high_seconds": high,
        "latency_to_epoch_median": series.change(entry),
        "blocks": len(session.block_seconds),
        "fp32_ratio": "" if session.paired_ratio is None else session.paired_ratio,
        "fp32_ratio_low": ratio_low,
        "fp32_ratio_high": ratio_high,
        "file": entry.origin,
        **{f"provenance_{name}": session.provenance.get(name, "") for name in PROVENANCE},
        "provenance_other": json.dumps(other, sort_keys=True) if other else "",
    }
    return [values[name] for name in COLUMNS]


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
