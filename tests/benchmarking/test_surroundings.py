from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from facenet_validate.base.machine import CpuIdentity, cpu_identity
from facenet_validate.benchmarking.gpu import GpuSample, GpuWatch
from facenet_validate.benchmarking.processors import WHY_UNKNOWN, CpuSample, CpuState, cpu_state
from facenet_validate.benchmarking.surroundings import Surroundings
from tests.waiting import HANG

CPU = CpuIdentity("x", 1, 1, 1, frozenset(), cores=2)
NOTHING = CpuSample(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0)
QUIET = GpuSample(1980, 2619, 40, 500.0, 0x1, 0)
WHOLE = (0.0, 10.0)


class Machine:
    """Two processors over time; rates are shares of both."""

    def __init__(self) -> None:
        self.now = 0.0
        self.state = NOTHING

    def spend(self, seconds: float, *, own: float, others: float = 0.0, steal: float = 0.0,
              throttled: float = 0.0) -> None:  # fmt: skip
        before, capacity = self.state, 2 * seconds
        assert before.busy is not None
        self.now += seconds
        self.state = replace(
            before,
            busy=before.busy + capacity * (own + others),
            idle=(before.idle or 0.0) + capacity * (1.0 - own - others - steal),
            steal=(before.steal or 0.0) + capacity * steal,
            own=before.own + capacity * own,
            throttled=(before.throttled or 0.0) + seconds * throttled,
            throttled_periods=(before.throttled_periods or 0) + round(10 * seconds * throttled),
        )

    def sample(self, moment: float) -> CpuSample:
        return replace(self.state, moment=moment)

    def watched(self, gpu: GpuWatch | None = None, period: float = 1e6) -> Surroundings:
        return Surroundings(
            CPU,
            gpu,
            sample=self.sample,
            state=lambda: CpuState(1.0, None),
            clock=lambda: self.now,
            period=period,
        )


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.mark.parametrize(
    ("spent", "found"),
    [
        ({"own": 1.0}, ""),
        ({"own": 0.9, "others": 0.1}, ""),
        ({"own": 0.85, "others": 0.15}, "other processes took 15 % of the processors"),
        ({"own": 0.65, "others": 0.15}, ""),  # there is room for them
        (
            {"own": 0.72, "others": 0.2, "steal": 0.02},
            "other processes took 20 % of the processors",
        ),
        ({"own": 0.96, "steal": 0.04}, ""),
        ({"own": 0.5, "steal": 0.2}, "the hypervisor gave 20 % of the processors to others"),
        ({"own": 0.5, "throttled": 0.04}, ""),
        (
            {"own": 0.5, "throttled": 0.4},
            "a quota held back 40 % of a processor",
        ),
    ],
)
def test_what_disturbs_processors(machine: Machine, spent: dict[str, float], found: str) -> None:
    with machine.watched() as around:
        machine.spend(10.0, **spent)
        assert around.disturbance(*WHOLE) == found


def test_a_disturbance_is_told_of_its_own_time_alone(machine: Machine) -> None:
    with machine.watched() as around:
        machine.spend(10.0, own=1.0)
        assert around.disturbance(0.0, 10.0) == ""
        machine.spend(10.0, own=0.5, others=0.5)
        assert around.disturbance(10.0, 20.0).startswith("other processes took 50 %")
        machine.spend(10.0, own=1.0)
        assert around.disturbance(20.0, 30.0) == ""
        values = around.values()
    assert values["others"] == pytest.approx(1 / 6, abs=1e-4)
    assert values["own"] == pytest.approx(5 / 6, abs=1e-4)
    assert values["throttled"] == 0.0


@pytest.mark.parametrize(("platform", "unit"), [("linux", 1024), ("darwin", 1)])
def test_peak_memory_is_told_in_bytes(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, platform: str, unit: int
) -> None:
    monkeypatch.setattr("sys.platform", platform)
    monkeypatch.setattr("resource.getrusage", lambda _: SimpleNamespace(ru_maxrss=3000))
    with machine.watched() as around:
        assert around.values()["peak_memory_bytes"] == 3000 * unit


def test_a_short_time_is_judged_with_what_came_before(machine: Machine) -> None:
    """Ticks of 10 ms are too coarse for 40 ms: one of them would be an eighth of it."""
    with machine.watched() as around:
        for _ in range(20):
            machine.spend(0.04, own=1.0)
            assert around.disturbance(machine.now - 0.04, machine.now) == ""
        machine.spend(0.04, own=0.5, others=0.5)
        assert around.disturbance(machine.now - 0.04, machine.now) == ""
        machine.spend(0.08, own=0.5, others=0.5)
        assert around.disturbance(machine.now - 0.08, machine.now).startswith("other processes")


def test_a_burst_does_not_count_against_what_comes_after_it(machine: Machine) -> None:
    with machine.watched() as around:
        found = []
        for others in (0.0, 0.0, 0.0, 0.5, 0.0, 0.0, 0.0):
            machine.spend(0.2, own=1.0 - others, others=others)
            found.append(bool(around.disturbance(machine.now - 0.2, machine.now)))
    assert found == [False, False, False, True, False, False, False]


def test_where_nothing_is_readable_nothing_is_judged(machine: Machine) -> None:
    with machine.watched() as around:
        machine.spend(10.0, own=0.1, others=0.9)
        machine.state = replace(machine.state, busy=None, idle=None, steal=None, throttled=None)
        assert around.disturbance(*WHOLE) == ""
        values = around.values()
    assert not {"others", "idle", "steal", "throttled"} & set(values)
    assert values["unknown"] == {
        "busy": "/proc/stat does not show these processors",
        "throttled": "no cpu.stat of a control group is readable",
    }


class Gpu:
    """Gives prepared samples, one a look, and says when all are kept: it is asked once more."""

    def __init__(self, *samples: GpuSample, unavailable: str = "") -> None:
        self._samples = list(samples)
        self.unavailable = unavailable
        self._last = self._samples[-1]
        self.done = threading.Event()

    def sample(self) -> GpuSample:
        if self._samples:
            return self._samples.pop(0)
        self.done.set()
        return self._last


def _seen(machine: Machine, gpu: Gpu) -> tuple[str, dict[str, Any]]:
    with machine.watched(cast("GpuWatch", gpu), period=0.001) as around:
        assert gpu.done.wait(HANG)
        return around.disturbance(0.0, 0.0), around.values()


def test_a_slowed_gpu_and_its_other_processes_disturb(machine: Machine) -> None:
    found, _ = _seen(machine, Gpu(QUIET, GpuSample(1200, 2619, 88, 700.0, 0x40, 1), QUIET))
    assert found == "hardware thermal slowdown (at most 88 °C), 1 other process on the GPU"


def test_the_power_limit_is_a_state_and_no_disturbance(machine: Machine) -> None:
    found, values = _seen(machine, Gpu(*[replace(QUIET, reasons=0x4)] * 3))
    assert found == ""
    assert values["power_cap"] == 1.0


def test_the_power_limit_is_told_as_a_share_of_the_samples(machine: Machine) -> None:
    capped = replace(QUIET, reasons=0x4 | 0x1)
    around = Surroundings(CPU, cast("GpuWatch", Gpu(QUIET)), sample=machine.sample, period=1e6)
    around._gpu_samples += [(0.0, capped), (0.2, QUIET), (0.4, capped), (0.6, capped)]
    assert around.values()["power_cap"] == 0.75


@pytest.mark.parametrize(
    ("begin", "end", "slow"),
    [
        (0.1, 0.3, True),  # the sample at 0.2 s is of that time
        (0.2, 0.2, True),
        (0.25, 0.35, True),  # none is: the last one before it
        (0.3, 0.5, False),  # the one at 0.4 s is, and the one before it is not
        (0.5, 0.55, False),
        (0.0, 0.1, False),
    ],
)
def test_a_gpu_is_judged_by_the_samples_of_that_time(
    machine: Machine, begin: float, end: float, slow: bool
) -> None:
    around = Surroundings(CPU, cast("GpuWatch", Gpu(QUIET)), sample=machine.sample, period=1e6)
    around._gpu_samples += [(0.0, QUIET), (0.2, replace(QUIET, reasons=0x8)), (0.4, QUIET)]
    assert bool(around.disturbance(begin, end)) == slow


def test_readings_are_told_as_ranges(machine: Machine) -> None:
    _, values = _seen(machine, Gpu(QUIET, GpuSample(1800, None, 44, 610.5, None, None)))
    assert values["sm_clock"] == [1800, 1980]
    assert values["memory_clock"] == [2619, 2619]
    assert values["power"] == [500.0, 610.5]
    assert values["power_cap"] == 0.0
    assert values["load1"] == [1.0, 1.0]
    assert values["unknown"] == {
        "mhz": "neither cpufreq nor /proc/cpuinfo tells the clock",
        "other_processes": "NVML does not tell which processes use this GPU's SMs; under MIG it "
        "tells of none",
    }


def test_what_nvml_does_not_tell_is_said(machine: Machine) -> None:
    nothing = GpuSample(None, None, None, None, None, None)
    _, values = _seen(machine, Gpu(nothing, unavailable="NVML is not read"))
    assert values["gpu"] == "NVML is not read"
    assert not {"sm_clock", "power_cap"} & set(values)


def test_the_gpu_is_asked_by_the_thread_alone(machine: Machine) -> None:
    """It would stand idle while NVML answers, and an old kernel waits 10 ms a clock."""
    asked: list[str] = []

    class Asked(Gpu):
        def sample(self) -> GpuSample:
            asked.append(threading.current_thread().name)
            return super().sample()

    def state() -> CpuState:
        asked.append(threading.current_thread().name)
        return CpuState(None, None)

    gpu = Asked(QUIET)
    with Surroundings(
        CPU, cast("GpuWatch", gpu), sample=machine.sample, state=state, period=0.001
    ) as around:
        assert gpu.done.wait(HANG)
        around.disturbance(0.0, 1.0)
        around.values()
    assert set(asked) == {"surroundings"}


def test_a_reader_that_fails_says_why_and_the_others_go_on(machine: Machine) -> None:
    def refuse(*_: object) -> Any:
        raise OSError("no more files")

    class Broken(Gpu):
        def sample(self) -> GpuSample:
            if super().sample():
                raise ValueError("odd answer")
            raise AssertionError

    broken = Broken(QUIET)
    with Surroundings(
        CPU, cast("GpuWatch", broken), sample=refuse, state=refuse, period=0.001
    ) as around:
        assert broken.done.wait(HANG)
        machine.spend(10.0, own=0.5, others=0.5)
        assert around.disturbance(*WHOLE) == ""
    why = "OSError: no more files"
    assert around.values()["unknown"] == {
        "processors": why, "state": why, "gpu": "ValueError: odd answer",
    }  # fmt: skip


def test_a_reader_that_fails_once_is_asked_again(machine: Machine) -> None:
    failures = iter([OSError("busy")])

    def sample(moment: float) -> CpuSample:
        if error := next(failures, None):
            raise error
        return machine.sample(moment)

    with Surroundings(CPU, sample=sample, clock=lambda: machine.now, period=1e6) as around:
        assert around.disturbance(0.0, 0.0) == ""
        machine.spend(10.0, own=0.5, others=0.5)
        assert around.disturbance(*WHOLE).startswith("other processes took 50 %")


def test_the_thread_ends_with_the_block_whatever_happens(machine: Machine) -> None:
    def fails() -> Callable[[], None]:
        with machine.watched(period=0.001):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fails()
    assert not [thread for thread in threading.enumerate() if thread.name == "surroundings"]


def test_this_machine_is_watched() -> None:
    """Nothing fails where everything is read for real, and reports can hold it."""
    asked = threading.Event()

    def state() -> CpuState:
        asked.set()
        return cpu_state()

    with Surroundings(cpu_identity(), state=state, period=0.01) as around:
        assert asked.wait(HANG)
        assert isinstance(around.disturbance(0.0, 0.0), str)
        values = around.values()
    assert json.loads(json.dumps(values)) == values
    assert values["samples"] >= 3
    assert set(values.get("unknown", {})) <= set(WHY_UNKNOWN)
