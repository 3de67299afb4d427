"""Ten thousand sessions, loaded and drawn: `tox -e perf`."""

from __future__ import annotations

import random
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from time import perf_counter

import pytest

from facenet_validate.benchmarking.sessions import Identity, Session, to_line

SESSIONS = 10_000
BLOCKS = 24
"""Blocks of engine A at the first look: two of each of twelve quads."""

SECONDS = 3.0


def _write(folder: Path, configurations: int) -> None:
    chance = random.Random(7)
    begin = datetime(2024, 1, 1, tzinfo=UTC)
    each = SESSIONS // configurations
    for place in range(configurations):
        batch = place + 1
        identity = Identity(
            device="Intel(R) Xeon(R) Processor @ 2.60GHz",
            device_details="family 6, model 143, stepping 8, flags 0a1b2c3d, 2 cores",
            precision="int8",
            target="cpu-vnni",
            batch=batch,
            shape=(batch, 3, 160, 160),
            backend="onnxruntime",
            scope="end-to-end",
            protocol=2,
        )
        lines = []
        for number in range(each):
            # A step of 5 % within an epoch; an epoch is a thousand sessions.
            level = 0.1 * (1.05 if number >= each * 9 // 20 else 1.0) * chance.gauss(1.0, 0.012)
            blocks = tuple(sorted(level * chance.gauss(1.0, 0.01) for _ in range(BLOCKS)))
            session = Session(
                recorded_at=(begin + timedelta(hours=number)).isoformat(timespec="seconds"),
                identity=identity,
                provenance={
                    **{
                        name: f"{name} {number // 500}" for name in ("runtime", "options", "kernel")
                    },
                    "model": "a" * 64,
                    "commit": f"{(number // 3) * 7919 % 2**28:07x}" + "0" * 33,
                },
                epoch=1 + number // 1000,
                reason="accepted",
                latency_seconds=(blocks[11] + blocks[12]) / 2.0,
                block_seconds=blocks,
                paired_ratio=2.0 / level,
                paired_interval=(1.98 / level, 2.02 / level),
            )
            lines.append(to_line(session) + "\n")
        (folder / f"onnxruntime-int8-b{batch}.jsonl").write_text("".join(lines))


@pytest.mark.parametrize("configurations", [1, 10])
@pytest.mark.parametrize("ending", ["png", "svg"])
def test_ten_thousand_sessions(tmp_path: Path, configurations: int, ending: str) -> None:
    """The whole command, Python's start and every import included."""
    _write(tmp_path, configurations)
    code = "import sys; from facenet_validate.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "history", "plot", "--source", str(tmp_path)]
    times = []
    for number in range(3):
        begin = perf_counter()
        out = tmp_path / f"{number}.{ending}"
        done = subprocess.run([*command, "-o", out], capture_output=True, text=True, check=False)
        times.append(perf_counter() - begin)
        assert done.returncode == 0, done.stderr
        assert f"{SESSIONS} sessions of {configurations} series" in done.stdout
        assert "change point" in done.stdout
    size = (tmp_path / f"0.{ending}").stat().st_size
    print(
        f"\n{SESSIONS} sessions of {configurations} series → {ending} of {size / 1e6:.1f} MB: "
        f"{median(times):.2f} s ({min(times):.2f} to {max(times):.2f})"
    )
    assert median(times) < SECONDS
