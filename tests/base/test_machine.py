from __future__ import annotations

import platform
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facenet_validate.base import machine
from facenet_validate.base.machine import (
    CpuIdentity,
    affinity_text,
    cpu_identity,
    flags_digest,
)

INTEL = """\
processor\t: 0
vendor_id\t: GenuineIntel
cpu family\t: 6
model\t\t: 85
model name\t: Fast(R)   CPU  @ 2.00GHz
stepping\t: 7
flags\t\t: fpu sse avx2 avx512_vnni

processor\t: 1
model\t\t: 99
flags\t\t: fpu
"""
ARM = """\
processor\t: 0
Features\t: fp asimd asimddp
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x3
CPU part\t: 0xd0c
CPU revision\t: 1
"""


def make_root(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_intel_is_read_from_its_first_processor(tmp_path: Path) -> None:
    found = cpu_identity(make_root(tmp_path, {"proc/cpuinfo": INTEL}))
    assert (found.name, found.family, found.model, found.stepping) == (
        "Fast(R) CPU @ 2.00GHz", 6, 85, 7,
    )  # fmt: skip
    assert found.flags == {"fpu", "sse", "avx2", "avx512_vnni"}
    assert found.cores >= 1
    assert found.quota is None


def test_arm_is_read_from_its_part_numbers(tmp_path: Path) -> None:
    found = cpu_identity(make_root(tmp_path, {"proc/cpuinfo": ARM}))
    assert found.name == "ARM implementer 0x41 part 0xd0c"
    assert (found.family, found.model, found.stepping) == (8, 0xD0C, 16 * 3 + 1)


def test_details_hold_what_the_name_does_not() -> None:
    cpu = CpuIdentity("x", 6, 85, 7, frozenset({"b", "a"}), 2)
    digest = flags_digest(["a", "b"])
    assert cpu.details() == f"family 6, model 85, stepping 7, flags {digest}, 2 cores"
    limited = CpuIdentity("x", 6, 85, 7, frozenset(), 2, quota=1.5)
    assert limited.details().endswith("2 cores, quota 1.5")


@given(st.lists(st.text("abc_0", min_size=1)), st.randoms())
def test_the_digest_of_flags_ignores_their_order(flags: list[str], random: object) -> None:
    shuffled = flags[:]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert flags_digest(shuffled) == flags_digest(flags)
    assert flags_digest([*flags, "new"]) != flags_digest(flags)


V1 = "sys/fs/cgroup/cpu"
"""Where version 1 has the controller of this process's group, which is its root."""


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"sys/fs/cgroup/cpu.max": "max 100000\n"}, None),
        ({"sys/fs/cgroup/a/b/cpu.max": "150000 100000\n"}, 1.5),
        ({"sys/fs/cgroup/a/cpu.max": "50000 100000", "sys/fs/cgroup/a/b/cpu.max": "max 1"}, 0.5),
        (
            {"sys/fs/cgroup/a/cpu.max": "200000 100000", "sys/fs/cgroup/cpu.max": "50000 100000"},
            0.5,
        ),
        ({"sys/fs/cgroup/a/b/cpu.max": "nonsense"}, None),
        ({f"{V1}/cpu.cfs_quota_us": "-1\n", f"{V1}/cpu.cfs_period_us": "100000\n"}, None),
        ({f"{V1}/cpu.cfs_quota_us": "250000\n", f"{V1}/cpu.cfs_period_us": "100000\n"}, 2.5),
        ({f"{V1}/cpu.cfs_quota_us": "250000\n"}, None),
    ],
)
def test_quota_is_the_tightest_of_the_groups(
    tmp_path: Path, files: dict[str, str], expected: float | None
) -> None:
    common = {"proc/cpuinfo": INTEL, "proc/self/cgroup": "1:cpu:/\n0::/a/b\n"}
    assert cpu_identity(make_root(tmp_path, common | files)).quota == expected


@pytest.mark.parametrize(
    ("processors", "text"),
    [({0}, "0"), ({0, 1}, "0-1"), ({0, 1, 4}, "0-1,4"), ({3, 5, 6, 7}, "3,5-7")],
)
def test_affinity_is_told_in_ranges(
    monkeypatch: pytest.MonkeyPatch, processors: set[int], text: str
) -> None:
    monkeypatch.setattr(machine, "usable_processors", lambda: frozenset(processors))
    assert affinity_text() == text


def test_without_cpuinfo_the_architecture_is_the_name(tmp_path: Path) -> None:
    cpu = cpu_identity(tmp_path)
    assert cpu.name == platform.machine()
    assert (cpu.family, cpu.model, cpu.stepping, cpu.flags) == (None, None, None, frozenset())


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_this_machine_has_an_identity() -> None:
    cpu = cpu_identity()
    assert cpu.name
    assert cpu.flags
    assert cpu == cpu_identity()
