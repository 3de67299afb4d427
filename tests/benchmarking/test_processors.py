from __future__ import annotations

import os
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from facenet_validate.benchmarking import processors
from facenet_validate.benchmarking.processors import WHY_UNKNOWN, cpu_sample, cpu_state

TICKS = os.sysconf("SC_CLK_TCK")


def make_root(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.fixture(autouse=True)
def _processors_0_and_2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processors, "usable_processors", lambda: frozenset({0, 2}))


def test_processors_of_this_process_are_summed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.process_time", lambda: 2.25)
    columns = {
        0: (1, 2, 3, 40, 5, 6, 7, 8, 9, 10),
        1: (99,) * 10,
        2: (1, 0, 0, 2, 0, 0, 0, 1, 0, 0),
    }
    lines = [f"cpu{n} {' '.join(str(v * TICKS) for v in row)}" for n, row in columns.items()]
    stat = "\n".join(["cpu  9 9 9 9 9 9 9 9 9 9", *lines, "intr 1 2 3", "ctxt 5"])
    found = cpu_sample(7.0, make_root(tmp_path, {"proc/stat": stat}))
    assert found.moment == 7.0
    # user nice system, irq softirq; idle iowait; steal.
    assert (found.busy, found.idle, found.steal) == (1 + 2 + 3 + 6 + 7 + 1, 40 + 5 + 2, 8 + 1)
    assert found.own == 2.25


V2 = "usage_usec 5\nnr_throttled {}\nthrottled_usec {}\n"
V1 = "nr_periods 9\nnr_throttled {}\nthrottled_time {}\n"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (  # its own group and the one above it both hold it back
            {
                "proc/self/cgroup": "0::/a/b\n",
                "sys/fs/cgroup/a/cpu.stat": V2.format(3, 1_500_000),
                "sys/fs/cgroup/a/b/cpu.stat": V2.format(1, 250_000),
                "sys/fs/cgroup/other/cpu.stat": V2.format(7, 9_000_000),
            },
            (1.75, 4),
        ),
        (
            {
                "proc/self/cgroup": "4:memory:/m\n3:cpu,cpuacct:/a\n0::/\n",
                "sys/fs/cgroup/cpu/cpu.stat": V1.format(0, 0),
                "sys/fs/cgroup/cpu/a/cpu.stat": V1.format(2, 500_000_000),
                "sys/fs/cgroup/cpu/m/cpu.stat": V1.format(7, 9_000_000_000),
            },
            (0.5, 2),
        ),
        (  # in a container without a namespace, its group is mounted at the top
            {
                "proc/self/cgroup": "3:cpuacct,cpu:/docker/0123\n",
                "sys/fs/cgroup/cpu/cpu.stat": V1.format(2, 500_000_000),
            },
            (0.5, 2),
        ),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.stat": "usage_usec 5\n"}, (None, None)),
        ({"proc/self/cgroup": "nonsense\n"}, (None, None)),
        ({}, (None, None)),
    ],
)
def test_throttling_of_both_versions_of_control_groups(
    tmp_path: Path, files: dict[str, str], expected: tuple[float | None, int | None]
) -> None:
    found = cpu_sample(0.0, make_root(tmp_path, files))
    assert (found.throttled, found.throttled_periods) == expected


def test_clock_is_the_mean_of_these_processors(tmp_path: Path) -> None:
    cpuinfo = "".join(f"processor\t: {n}\ncpu MHz\t\t: {2000.5 + n * n}\n\n" for n in range(3))
    root = make_root(tmp_path, {"proc/cpuinfo": cpuinfo})
    assert cpu_state(root).mhz == pytest.approx(2002.5)
    folder = "sys/devices/system/cpu"
    make_root(root, {f"{folder}/cpu0/cpufreq/scaling_cur_freq": "2600000\n"})
    assert cpu_state(root).mhz == pytest.approx(2002.5)  # the other one's is not readable
    make_root(root, {f"{folder}/cpu2/cpufreq/scaling_cur_freq": "3000000\n"})
    assert cpu_state(root).mhz == 2800.0


@pytest.mark.parametrize(
    "stat", [None, "", "cpu 1 2", "cpu0 nonsense", "cpu0 1 2 3", "cpu1 " + "9 " * 10]
)
def test_what_a_system_lacks_is_none_and_has_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stat: str | None
) -> None:
    def refuse() -> None:
        raise OSError

    monkeypatch.setattr(os, "getloadavg", refuse)
    root = make_root(tmp_path, {} if stat is None else {"proc/stat": stat})
    sample, state = asdict(cpu_sample(0.0, root)), asdict(cpu_state(root))
    known = {name for name, value in {**sample, **state}.items() if value is not None}
    assert known == {"moment", "own"}
    derived = {"idle", "steal", "throttled_periods"}  # known with busy and throttled
    assert set(WHY_UNKNOWN) == {*sample, *state} - known - derived


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_this_machine_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    found = cpu_sample(0.0)
    assert found.busy is not None
    assert found.idle is not None
    assert found.busy > 0.0
    assert found.idle > 0.0
