"""What the processors are doing, as Linux tells below ``/proc`` and ``/sys``."""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

from facenet_validate.base.machine import control_groups, usable_processors


@dataclass(frozen=True)
class CpuSample:
    """What the processors have done so far; only differences of two samples mean something.

    Attributes
    ----------
    moment : float
        When, in seconds of the caller's clock.
    busy, idle, steal : float or None
        Processor seconds since boot, summed over the processors this process may use: at work for
        anyone, idle, and given to others by the hypervisor.
    own : float
        Processor seconds of this process, all threads.
    throttled : float or None
        Processor seconds that quotas held back this process's control group and those above it.
    throttled_periods : int or None
        Periods of those quotas in which they held it back.
    """

    moment: float
    busy: float | None
    idle: float | None
    steal: float | None
    own: float
    throttled: float | None
    throttled_periods: int | None


@dataclass(frozen=True)
class CpuState:
    """How the processors are at one moment.

    Attributes
    ----------
    load1 : float or None
        Load average over one minute.
    mhz : float or None
        Mean clock of the processors this process may use.
    """

    load1: float | None
    mhz: float | None


WHY_UNKNOWN = {
    "busy": "/proc/stat does not show these processors",
    "throttled": "no cpu.stat of a control group is readable",
    "load1": "this system has no load average",
    "mhz": "neither cpufreq nor /proc/cpuinfo tells the clock",
}
"""Why a field of a `CpuSample` or `CpuState` is None."""


def cpu_sample(moment: float, root: Path = Path("/")) -> CpuSample:
    """Take a sample of the processors this process may use.

    Parameters
    ----------
    moment : float
        The caller's clock now.
    root : Path
        Folder that holds ``proc`` and ``sys``.
    """
    busy, idle, steal = _processor_seconds(root, usable_processors())
    own = time.process_time()
    return CpuSample(moment, busy, idle, steal, own, *_throttling(root))


def cpu_state(root: Path = Path("/")) -> CpuState:
    """Read load average and clock.

    Older kernels wait 10 ms a processor for its clock: never call it between timed blocks.
    """
    try:
        load1: float | None = os.getloadavg()[0]
    except OSError:
        load1 = None
    return CpuState(load1, _mhz(root, usable_processors()))


def _throttling(root: Path) -> tuple[float, int] | tuple[None, None]:
    """Return how long, and in how many periods, quotas held back this process's control groups.

    Those above are added up: each counts what its own quota did. The kernel counts a group's time
    once for every processor that was held back.
    """
    seconds, periods, known = 0.0, 0, False
    for folder in control_groups(root) + control_groups(root, "cpu"):
        try:
            lines = (folder / "cpu.stat").read_text(encoding="utf-8").splitlines()
        except OSError:
            continue
        counts = {key: int(count) for key, _, count in (line.partition(" ") for line in lines)}
        known |= "nr_throttled" in counts
        # Microseconds in version 2, nanoseconds in version 1.
        seconds += counts.get("throttled_usec", 0) / 1e6 + counts.get("throttled_time", 0) / 1e9
        periods += counts.get("nr_throttled", 0)
    return (seconds, periods) if known else (None, None)


def _processor_seconds(
    root: Path, processors: frozenset[int]
) -> tuple[float, float, float] | tuple[None, None, None]:
    """Return busy, idle and stolen seconds of some processors since boot."""
    names = {f"cpu{number}" for number in processors}
    busy = idle = steal = 0
    try:
        for line in (root / "proc/stat").read_text(encoding="utf-8").splitlines():
            if not line.startswith("cpu"):
                break  # interrupts follow, a long line on a large machine
            name, *ticks = line.split()
            if name in names:
                # user nice system idle iowait irq softirq steal ..., in clock ticks: proc(5).
                counts = [int(tick) for tick in ticks[:8]]
                idle += counts[3] + counts[4]
                steal += counts[7]
                busy += sum(counts[:3]) + counts[5] + counts[6]
        tick = os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError, ValueError):
        return None, None, None
    return (busy / tick, idle / tick, steal / tick) if busy else (None, None, None)


def _mhz(root: Path, processors: frozenset[int]) -> float | None:
    """Return the mean clock of some processors, by cpufreq, else by ``/proc/cpuinfo``."""
    folder = root / "sys/devices/system/cpu"
    paths = [folder / f"cpu{number}/cpufreq/scaling_cur_freq" for number in processors]
    try:
        clocks = [int(path.read_text(encoding="ascii")) / 1e3 for path in paths]
    except (OSError, ValueError):
        clocks = _cpuinfo_mhz(root, processors)
    return sum(clocks) / len(clocks) if clocks else None


def _cpuinfo_mhz(root: Path, processors: frozenset[int]) -> list[float]:
    try:
        text = (root / "proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    pattern = r"^processor\s*: (\d+)$|^cpu MHz\s*: ([\d.]+)$"
    clocks, used = [], False
    for number, mhz in re.findall(pattern, text, re.MULTILINE):
        used = int(number) in processors if number else used
        if mhz and used:
            clocks.append(float(mhz))
    return clocks
