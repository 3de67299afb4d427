"""Which machine this is, as Linux tells below ``/proc`` and ``/sys``."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class CpuIdentity:
    """What about a CPU decides how fast it can be.

    Attributes
    ----------
    name : str
        The model name, single spaces.
    family, model, stepping : int or None
        As the CPU reports them; on ARM the architecture, the part number and
        16 × variant + revision.
    flags : frozenset of str
        Instruction-set flags of the first processor.
    cores : int
        Logical processors this process may run on.
    quota : float or None
        CPUs' worth of time the control groups allow; None if unlimited.
    """

    name: str
    family: int | None
    model: int | None
    stepping: int | None
    flags: frozenset[str]
    cores: int
    quota: float | None = None

    def details(self) -> str:
        """Return one line for a baseline's identity: everything but the name."""
        text = (
            f"family {self.family}, model {self.model}, stepping {self.stepping}, "
            f"flags {flags_digest(self.flags)}, {self.cores} cores"
        )
        return text if self.quota is None else f"{text}, quota {self.quota:g}"


def cpu_identity(root: Path = Path("/")) -> CpuIdentity:
    """Identify the CPU.

    Parameters
    ----------
    root : Path
        Folder that holds ``proc`` and ``sys``.

    Returns
    -------
    CpuIdentity
        From ``/proc/cpuinfo``. Where there is none, the name is the machine's architecture.
    """
    try:
        text = (root / "proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    fields = _first_processor(text)
    variant = _integer(fields.get("CPU variant"))
    revision = _integer(fields.get("CPU revision"))
    on_arm = None if revision is None else 16 * (variant or 0) + revision
    name = fields.get("model name") or _arm_name(fields) or platform.machine()
    return CpuIdentity(
        name=" ".join(name.split()),
        family=_integer(fields.get("cpu family", fields.get("CPU architecture"))),
        model=_integer(fields.get("model", fields.get("CPU part"))),
        stepping=_integer(fields["stepping"]) if "stepping" in fields else on_arm,
        flags=frozenset((fields.get("flags") or fields.get("Features") or "").split()),
        cores=len(usable_processors()),
        quota=_cgroup_quota(root),
    )


def flags_digest(flags: Iterable[str]) -> str:
    """Return eight hexadecimal digits that stand for a set of flags."""
    return hashlib.sha256(" ".join(sorted(set(flags))).encode()).hexdigest()[:8]


def usable_processors() -> frozenset[int]:
    """Return the numbers of the processors this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def affinity_text() -> str:
    """Return the processors this process may run on, as ``0-1,4``."""
    ranges: list[list[int]] = []
    for processor in sorted(usable_processors()):
        if ranges and processor == ranges[-1][1] + 1:
            ranges[-1][1] = processor
        else:
            ranges.append([processor, processor])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in ranges)


def control_groups(root: Path, controller: str = "") -> list[Path]:
    """Return the folders of this process's control group and of those above it.

    Parameters
    ----------
    root : Path
        Folder that holds ``proc`` and ``sys``.
    controller : str
        A version 1 controller, as ``cpu``; empty for version 2.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    top = root / "sys/fs/cgroup" / controller
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if controller in controllers.split(","):
            folder = top / group.strip("/")
            return [one for one in (folder, *folder.parents) if one.is_relative_to(top)]
    return []


def _first_processor(text: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    for line in text.strip().splitlines():
        if not line.strip():
            break
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    return fields


def _arm_name(fields: Mapping[str, str]) -> str | None:
    if "CPU part" not in fields:
        return None
    return f"ARM implementer {fields.get('CPU implementer')} part {fields['CPU part']}"


def _integer(text: str | None) -> int | None:
    try:
        return None if text is None else int(text, 0)
    except ValueError:
        return None


def _cgroup_quota(root: Path) -> float | None:
    """Return the tightest quota of this process's control group and those above it."""
    files: list[tuple[Path, ...]] = [(folder / "cpu.max",) for folder in control_groups(root)]
    files += [
        (folder / "cpu.cfs_quota_us", folder / "cpu.cfs_period_us")
        for folder in control_groups(root, "cpu")
    ]
    quotas = []
    for paths in files:
        try:
            limit, period = " ".join(path.read_text(encoding="utf-8") for path in paths).split()
        except (OSError, ValueError):
            continue
        if limit not in ("max", "-1"):
            quotas.append(int(limit) / int(period))
    return min(quotas, default=None)
