"""Sessions as a machine would measure them, and files that hold some."""

from __future__ import annotations

import json
import random
import statistics
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from facenet_validate.benchmarking.baselines import BaselineStore
from facenet_validate.benchmarking.sessions import Identity, Session, to_mapping
from facenet_validate.history.series import Series, group
from facenet_validate.history.sources import Found, session_id

BEGIN = datetime(2026, 1, 1, 3, 0, tzinfo=UTC)

IDENTITY = Identity(
    device="Fast(R) CPU",
    device_details="family 6, model 85, stepping 7, flags 0a1b2c3d, 2 cores",
    precision="int8",
    target="cpu",
    batch=8,
    shape=(8, 3, 160, 160),
    backend="onnxruntime",
    scope="end-to-end",
    protocol=2,
)


def make_session(day: int = 0, latency: float = 0.1, **changes: Any) -> Session:
    """Return the session of a day; its blocks scatter by 1 % around `latency`, seconds."""
    chance = random.Random(f"{day} {latency}")
    blocks = [latency * chance.gauss(1.0, 0.01) for _ in range(24)]
    scale = latency / statistics.median(blocks)
    session = Session(
        recorded_at=(BEGIN + timedelta(days=day)).isoformat(timespec="seconds"),
        identity=IDENTITY,
        provenance={"runtime": "onnxruntime 1.31", "commit": _commit(day)},
        epoch=1,
        reason="",
        latency_seconds=latency,
        block_seconds=tuple(scale * block for block in blocks),
        paired_ratio=2.0,
        paired_interval=(1.97, 2.03),
    )
    return replace(session, **changes)


def _commit(day: int) -> str:
    return f"{day + 161:02x}" * 20


def series_of(sessions: Sequence[Session], *, accepted: bool = True) -> Series:
    """Return the series of sessions of one identity."""
    (series,) = group(Found(s, accepted, Path("file.jsonl"), session_id(s)) for s in sessions)
    return series


def benchmark_file(path: Path, sessions: Sequence[Session], others: int = 0) -> Path:
    """Write what pytest-benchmark stores of timed sessions and of other people's benchmarks."""
    entries = [{"name": "test_speed", "extra_info": {"session": to_mapping(s)}} for s in sessions]
    entries += [{"name": "test_other", "extra_info": {}}] * others
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"machine_info": {}, "benchmarks": entries, "version": "5.3.1"}))
    return path


def report_file(folder: Path, *sessions: Session) -> Path:
    """Write what a run reports, which knows no epoch but the first."""
    folder.mkdir(parents=True, exist_ok=True)
    speeds = [
        {"name": "speed", "fps": 1.0, "session": to_mapping(replace(s, epoch=1, reason=""))}
        for s in sessions
    ]
    document = {"schema": 1, "verdict": "pass", "measurements": [{"name": "parity"}, *speeds]}
    (folder / "results.json").write_text(json.dumps(document))
    return folder / "results.json"


def write_project(folder: Path) -> None:
    """Write baselines of two epochs, six sessions each, and the reports of three later runs.

    The runs are 6 % slower than the second epoch, on another runtime.
    """
    noise = random.Random(3)
    store = BaselineStore(folder / "baselines")
    for day in range(12):
        level = 0.1 if day < 6 else 0.08
        reason = {0: "first", 6: "pairs fuse with the adds"}.get(day, "")
        latency = level * noise.gauss(1.0, 0.004)
        store.append(make_session(day, latency, epoch=1 + day // 6, reason=reason))
    for day in range(12, 15):
        provenance = {"runtime": "onnxruntime 1.32", "commit": _commit(day)}
        latency = 0.0848 * noise.gauss(1.0, 0.004)
        report_file(folder / f"ci/run-{day}", make_session(day, latency, provenance=provenance))
