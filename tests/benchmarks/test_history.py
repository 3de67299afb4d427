"""Ten thousand sessions, loaded and drawn: `tox -e perf`."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from time import perf_counter

import pytest

from facenet_validate.benchmarking.sessions import Identity, Session, to_line
from tests.history.sessions import benchmark_file

SESSIONS = 10_000
BLOCKS = 24
"""Blocks of engine A at the first look: two of each of twelve quads."""

SECONDS = 3.0


def _sessions(configurations: int, epoch: int) -> Iterator[list[Session]]:
    """Yield the sessions of each configuration, so many an epoch."""
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
        sessions = []
        for number in range(each):
            # A step of 5 % within an epoch.
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
                epoch=1 + number // epoch,
                reason="accepted",
                latency_seconds=(blocks[11] + blocks[12]) / 2.0,
                block_seconds=blocks,
                paired_ratio=2.0 / level,
                paired_interval=(1.98 / level, 2.02 / level),
            )
            sessions.append(session)
        yield sessions


def _as_lines(folder: Path, configurations: int) -> None:
    """Write baselines; files of twenty sessions, put together, since a folder is read whole."""
    for number, sessions in enumerate(_sessions(configurations, epoch=1000)):
        lines = "".join(f"{to_line(session)}\n" for session in sessions)
        (folder / f"onnxruntime-int8-b{number}.jsonl").write_text(lines)


def _as_benchmarks(folder: Path, configurations: int) -> None:
    """Write what pytest-benchmark saves: a file a run, each with ten benchmarks; one epoch."""
    sessions = [one for each in _sessions(configurations, epoch=SESSIONS) for one in each]
    for number in range(len(sessions) // 10):
        part = sessions[number :: len(sessions) // 10]
        benchmark_file(folder / f"Linux/{number:04}_run.json", part)


@pytest.mark.parametrize("write", [_as_lines, _as_benchmarks])
@pytest.mark.parametrize("configurations", [1, 10])
@pytest.mark.parametrize("ending", ["png", "svg"])
def test_ten_thousand_sessions(
    tmp_path: Path, configurations: int, ending: str, write: Callable[[Path, int], None]
) -> None:
    """The whole command, Python's start and every import included."""
    write(tmp_path, configurations)
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
        f"\n{SESSIONS} sessions{write.__name__.replace('_', ' ')}, {configurations} series → "
        f"{ending} of {size / 1e6:.1f} MB: "
        f"{median(times):.2f} s ({min(times):.2f} to {max(times):.2f})"
    )
    # What else a shared machine does only adds to it.
    assert min(times) < SECONDS
