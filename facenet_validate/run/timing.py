"""Timing of the engine under test: beside another engine, and beside stored sessions."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from facenet_validate.base.progress import Report
from facenet_validate.benchmarking.baselines import BaselineStore
from facenet_validate.benchmarking.gpu import GpuWatch
from facenet_validate.benchmarking.latency import time_batches
from facenet_validate.benchmarking.measure import Measurement, Timed, Watch
from facenet_validate.benchmarking.paired_ratio import PairedRatio, ratio_floor, slow_down
from facenet_validate.benchmarking.recording import (
    Measured,
    identity_of,
    make_session,
    provenance_of,
)
from facenet_validate.benchmarking.self_check import self_check
from facenet_validate.benchmarking.sessions import Session, to_mapping
from facenet_validate.benchmarking.stored_gate import (
    LATENCY,
    RELATIVE_LATENCY,
    Comparison,
    comparison_table,
    confirmed,
    stored_gate,
)
from facenet_validate.engines.device.driver import cuda_version
from facenet_validate.engines.protocol import Engine, Scope, Work
from facenet_validate.gates import catalogue
from facenet_validate.gates.verdicts import GateResult, Observed, Verdict, not_evaluated
from facenet_validate.models.prepared import PreparedModel
from facenet_validate.reporting.speed import stored_values
from facenet_validate.run.judging import Gates
from facenet_validate.run.run import Run
from facenet_validate.run.slower import name_slower_layers

TimedBeside = Literal["fp32", "fp16", "against"]
"""What an engine is timed beside: FP32, FP16, or the engine of ``--facenet-against``."""

_NAMES = {"fp32": "FP32", "fp16": "FP16", "against": "the engine of --facenet-against"}
_PAIRED: Mapping[TimedBeside, str] = {
    "fp32": "performance.fp32_ratio",
    "fp16": "performance.fp16_ratio",
    "against": "performance.against",
}
_STORED = {"performance.stored": LATENCY, "performance.stored_ratio": RELATIVE_LATENCY}
_SELF_CHECK = "performance.self_check"
_OUTPUTS = "contract.timed_outputs"


@dataclass(frozen=True)
class Workbench:
    """What timing takes from its surroundings.

    Attributes
    ----------
    engine : Engine
        The engine under test.
    other : callable
        Returns the engine it is timed beside.
    load : callable
        Loads the engine under test anew.
    batch : callable
        Returns the batch (N, 3, H, H) that is timed.
    benchmark : callable
        Returns pytest-benchmark's fixture.
    surroundings : callable
        Returns a context that watches the machine.
    provenance : callable
        Returns what else a stored session has to say of the engine.
    command : sequence of str
        The arguments pytest was started with.
    """

    engine: Engine
    other: Callable[[], Engine]
    load: Callable[[], Engine]
    batch: Callable[[], NDArray[np.float32]]
    benchmark: Callable[[], Any]
    surroundings: Callable[[], AbstractContextManager[Watch]]
    provenance: Callable[[], Mapping[str, str]]
    command: Sequence[str]


@dataclass(frozen=True)
class Speed:
    """What timing came to.

    Attributes
    ----------
    results : tuple of GateResult or Observed
        Of the gates.
    measurements : mapping
        Name → what was measured, for reports.
    table : str
        What differs from the stored sessions, as text.
    """

    results: tuple[GateResult | Observed, ...]
    measurements: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    table: str = ""


class Timing:
    """Times the engine under test and compares it with another one and with what was stored.

    Parameters
    ----------
    run : Run
        Keeps the sessions until its end.
    bench : Workbench
        The engines and the machine.
    beside : {"fp32", "fp16", "against"}
        What the engine is timed beside. FP32 is timed alone where it is the engine under test.
    unavailable : str
        Why pytest can time nothing in this run; empty if it can.
    """

    def __init__(self, run: Run, bench: Workbench, beside: TimedBeside, unavailable: str) -> None:
        self._run = run
        self._bench = bench
        self.beside = beside
        self._no_benchmark = unavailable

    def speed(self, gates: Gates) -> Speed:
        """Time the engine in ABBA quads beside the other one, and judge by every limit in force.

        Raises
        ------
        BaselineError
            If what is stored of this engine cannot be read: before anything is timed.
        """
        limits = {}
        for gate, limit in gates.limits.items():
            row = catalogue.row(gate)
            # By its mark a test may judge gates of both engines, and is timed beside one.
            if gate == _OUTPUTS or (row.family == "speed" and row.beside == self.beside):
                limits[gate] = limit
        if reason := self._why_not(beside=True):
            absent = tuple(not_evaluated(gate, reason, limit) for gate, limit in limits.items())
            return Speed(absent or (gates.without_limit(_unlimited(self.beside), reason),))
        with ExitStack() as stack:
            found = _Session(self._run, self._bench, self.beside, limits, stack).speed(gates)
        return self._with_slower_layers(found)

    def _with_slower_layers(self, found: Speed) -> Speed:
        """Return what timing came to; a gate that failed names the layers that explain it."""
        results, slower = name_slower_layers(
            found.results, self._timed_engines, self._bench.batch, self._run.progress
        )
        if not slower:
            return found
        batch = found.measurements["speed"]["batch"]
        values = {"batch": batch, "beside": self.beside, "gates": slower}
        measurements = {**found.measurements, "slower layers": values}
        return replace(found, results=results, measurements=measurements)

    def _timed_engines(self) -> tuple[Engine, ...]:
        engine = self._bench.engine
        return (engine,) if _alone(engine, self.beside) else (engine, self._bench.other())

    def self_check(self, gates: Gates) -> Speed:
        """Compare loads of the engine with each other, as often as asked."""
        limit = gates.limits.get(_SELF_CHECK)
        if limit is None:
            return Speed((gates.without_limit(_SELF_CHECK, "not measured"),))
        if reason := self._why_not():
            judged = (_SELF_CHECK, *(gate for gate in gates.limits if gate == _OUTPUTS))
            return Speed(tuple(not_evaluated(one, reason, gates.limits[one]) for one in judged))
        batch, scope = self._bench.batch(), scope_of(self._run, self._bench.engine)

        @contextmanager
        def load() -> Iterator[Work]:
            with self._bench.load() as engine:
                yield engine.work(batch, scope)

        precision = self._bench.engine.info.precision
        title = f"timing {precision} beside itself, batch {len(batch)}, comparisons"
        with self._run.progress.stage(title) as report, self._bench.surroundings() as watch:
            found = self_check(
                self._run.settings.self_check,
                load,
                watch,
                report,
                limit=limit,
                alpha=self._run.speed_alpha,
            )
        results = (found.gate(_SELF_CHECK, limit), _outputs(found.outputs_moved, len(batch)))
        return Speed(results, {"self-check": found.values()})

    def _why_not(self, *, beside: bool = False) -> str:
        """Return why the engine cannot be timed; empty if it can."""
        engine, asked = self._bench.engine, self._run.settings.scope
        if self._no_benchmark:
            return self._no_benchmark
        if reason := _stands_in(engine):
            return reason
        if asked not in ("auto", *engine.scopes):
            scopes = ", ".join(engine.scopes)
            return f"{engine.info.backend} cannot time the scope {asked}, only {scopes}"
        if beside and self.beside != "fp32" and (reason := _stands_in(self._bench.other())):
            return f"{_NAMES[self.beside]}: {reason}"
        return ""


def _outputs(found: tuple[float, int], batch: int) -> Observed:
    """Return how far timed blocks' embeddings are from untimed ones."""
    moved, looks = found
    return Observed(_OUTPUTS, moved, f"{batch} faces of the timed blocks, looked at {looks} times")


def _unlimited(beside: TimedBeside) -> str:
    """Return the gate that is named where an engine is timed and nothing has a limit."""
    return "performance.stored" if beside == "fp32" else _PAIRED[beside]


def _alone(engine: Engine, beside: TimedBeside) -> bool:
    """Say whether an engine is timed alone: FP32 is nothing to be timed beside itself."""
    return beside == "fp32" and engine.info.precision == "fp32"


def _stands_in(engine: Engine) -> str:
    """Return why an engine's speed says nothing of the engine that will be deployed."""
    info = engine.info
    if not info.recipe_only:
        return ""
    if info.precision == "int8":
        return "the recipe is for TensorRT and is emulated here"
    return f"{info.backend} computes {info.precision} in a higher precision here"


def scope_of(run: Run, engine: Engine) -> Scope:
    """Return what a block spans: what was asked for, else the engine's first scope."""
    asked = run.settings.scope
    return engine.scopes[0] if asked == "auto" else asked


class _Session:
    """One timed session of one engine and batch size."""

    def __init__(
        self,
        run: Run,
        bench: Workbench,
        beside: TimedBeside,
        limits: Mapping[str, float],
        stack: ExitStack,
    ) -> None:
        self._run = run
        self._bench = bench
        self._limits = limits
        engine, batch = bench.engine, bench.batch()
        self._batch = batch
        scope = scope_of(run, engine)
        self._identity = identity_of(engine, run.target, len(batch), scope)
        store = BaselineStore(run.settings.baselines)
        # One of an engine's sessions is stored: that beside FP32, or FP32's alone.
        self._storable = beside == "fp32"
        self._stored = store.load(self._identity) if self._storable else ()
        self._benchmark = bench.benchmark()
        alone = _alone(engine, beside)
        self._beside = beside
        self._other = None if alone else beside
        other = None if alone else bench.other()
        title = "alone" if alone else f"beside {_NAMES[beside]}"
        report: Report = stack.enter_context(
            run.progress.stage(f"timing {engine.info.precision} {title}, batch {len(batch)}, quads")
        )
        self._provenance = dict(bench.provenance())
        if other is not None:
            # The ratio is a matter of both engines.
            self._provenance[f"{beside}_engine"] = other.info.digest
        self._measurement = Measurement(
            engine.work(batch, scope),
            None if other is None else other.work(batch, scope),
            stack.enter_context(bench.surroundings()),
            report,
            run.speed_alpha,
        )

    def speed(self, gates: Gates) -> Speed:
        measurement = self._measurement
        measurement.warm_up()
        measurement.through(self._benchmark)
        ratio = measurement.until_decided(self._judge)
        stored, table = self._judge_stored()
        session, timed = self._session(), measurement.timed()
        self._tell_benchmark(timed, session)
        values = {**timed.values(), "beside": self._other, "session": to_mapping(session)}
        if self._stored:
            values["stored"] = stored_values(self._stored)
        found = {"speed": values}
        if self._storable:
            found["latency"] = time_batches(self._bench.engine, self._batch)
        results: tuple[GateResult, ...] = (*(() if ratio is None else (ratio,)), *stored)
        if not results:
            unlimited = _unlimited(self._beside)
            results = (gates.without_limit(unlimited, f"{timed.fps:.1f} images/s"),)
        outputs = _outputs(measurement.outputs_moved, len(self._batch))
        return Speed((*results, outputs), found, table)

    def _judge(self, ratio: PairedRatio) -> GateResult | None:
        """Return the verdict on a ratio of speeds; None asks for no more than the first look."""
        gate = _PAIRED[self._beside]
        if gate not in self._limits:
            return None
        limit = self._limits[gate]
        if self._beside == "against":
            return slow_down(ratio, gate=gate, limit=limit)
        return ratio_floor(ratio, gate=gate, floor=limit, beside=_NAMES[self._beside])

    def _session(self, since: int = 0) -> Session:
        """Return what was measured so far, from a quad on, as it would be stored."""
        return make_session(self._measurement.timed(since), self._identity, self._provenance)

    def _judge_stored(self) -> tuple[tuple[GateResult, ...], str]:
        """Judge the speed by the stored sessions; return the results and a table of what differs.

        What does not pass is measured again, once, and judged on all blocks together. It fails
        only if the second measurement fails by itself too: a disturbance that nothing told of is
        in one of them only.
        """
        if not self._storable:
            return (), ""
        measurement = self._measurement
        comparisons = self._compare(self._session())
        decided = (Verdict.PASS, Verdict.NOT_EVALUATED)
        if any(comparison.result.verdict not in decided for comparison in comparisons):
            before = measurement.again()
            comparisons = self._compare(self._session())
            if not measurement.disturbance:
                again = self._compare(self._session(since=before))
                comparisons = [
                    confirmed(both, second) for both, second in zip(comparisons, again, strict=True)
                ]
        self._run.measured.append(Measured(self._session(), measurement.disturbance))
        results = [measurement.unless_disturbed(c.result) for c in comparisons]
        if self._run.settings.update_baselines == "accept":
            note = "a new epoch begins with this session"
            results = [not_evaluated(result.gate, note, result.limit) for result in results]
        return tuple(map(self._missing, results)), comparison_table(comparisons)

    def _compare(self, session: Session) -> list[Comparison]:
        return [
            stored_gate(
                session,
                self._stored,
                gate=gate,
                limit=self._limits[gate],
                quantity=quantity,
                alpha=self._run.speed_alpha,
            )
            for gate, quantity in _STORED.items()
            if gate in self._limits
        ]

    def _missing(self, result: GateResult) -> GateResult:
        """Return a stored gate's result, which fails in GPU CI where too little is stored.

        A GPU runner exists to gate: there, nothing to compare with is a fault of the set-up.
        """
        in_ci = os.environ.get("CI", "").lower() not in ("", "0", "false")
        settings, required = self._run.settings, self._run.backend.stored_required_in_ci
        gates = result.gate == "performance.stored" and required and in_ci
        if result.verdict is not Verdict.NOT_EVALUATED or not gates or settings.update_baselines:
            return result
        given = map(str, self._bench.command)
        command = shlex.join(["pytest", *given, "--facenet-update-baselines", "missing"])
        detail = (
            f"{result.detail}; CI is set, so it fails: record five sessions here with {command}"
        )
        return replace(result, verdict=Verdict.FAIL, detail=detail)

    def _tell_benchmark(self, timed: Timed, session: Session) -> None:
        """Tell pytest-benchmark's files what a reader of them has to know."""
        values = timed.values()
        for name in ("block_seconds", "surroundings"):
            del values[name]
        about = {**values, "key": session.identity.key, "session": to_mapping(session)}
        self._benchmark.extra_info.update(about)


def provenance_of_run(
    engine: Engine, model: PreparedModel, run: Run, watch: GpuWatch | None
) -> dict[str, str]:
    """Return what a stored session says of an engine: versions, digests, and the GPU's set-up."""
    found = provenance_of(engine, model.entry.digest, run.settings.baselines)
    if watch is None:
        return found
    clock = watch.facts.application_clock
    found |= {"driver": watch.facts.driver or "unknown", "cuda": cuda_version()}
    return found if clock is None else {**found, "application_clock": f"{clock} MHz"}
