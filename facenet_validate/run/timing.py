"""Timing of the engine under test, through pytest-benchmark and against stored sessions."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import pytest

from facenet_validate.gates.verdicts import GateResult, Verdict, not_evaluated
from facenet_validate.run.judging import Gates
from facenet_validate.run.run import Run

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from facenet_validate.benchmarking.gpu import GpuWatch
    from facenet_validate.benchmarking.measure import Measurement, RatioGate, Timed
    from facenet_validate.benchmarking.self_check import SelfCheck
    from facenet_validate.benchmarking.sessions import Session
    from facenet_validate.benchmarking.stored_gate import Comparison
    from facenet_validate.benchmarking.surroundings import Surroundings
    from facenet_validate.engines.protocol import Engine, Scope, Work

Other = Literal["fp32", "against"]
"""What an engine is timed beside: FP32 or ``--facenet-against``'s."""

_NAMES = {"fp32": "FP32", "against": "the engine of --facenet-against"}
_STORED = ("performance.stored", "performance.stored_ratio")


def _why_disabled(config: pytest.Config) -> str:
    """Return why pytest-benchmark times nothing; empty if it does."""
    if config.getoption("benchmark_disable", False):
        return "benchmarks are disabled (--benchmark-disable)"
    if getattr(getattr(config, "_benchmarksession", None), "disabled", False):
        return (
            "pytest-benchmark takes this for a parallel run and times nothing, as --dist or "
            "PYTEST_XDIST_WORKER is set; run without"
        )
    return ""


class Timing:
    """Times the engine under test and compares it with others and with what was stored.

    Attributes
    ----------
    unavailable : str
        Why engines cannot be timed in this run; empty if they can.
    """

    def __init__(
        self,
        run: Run,
        engine: Engine,
        others: Mapping[Other, Callable[[], Engine]],
        load: Callable[[], Engine],
        batch: Callable[[], NDArray[np.float32]],
        request: pytest.FixtureRequest,
        provenance: Mapping[str, str],
        gates: Gates,
        watch: Callable[[], GpuWatch | None],
        stack: ExitStack,
    ) -> None:
        self._run = run
        self._engine = engine
        self._others = others
        self._load = load
        self._batch = batch
        self._request = request
        self._provenance = provenance
        self._gates = gates
        self._watch = watch
        self._stack = stack
        self.unavailable = self._why_unavailable()

    def _why_unavailable(self) -> str:
        config, engine, asked = self._request.config, self._engine.info, self._run.settings.scope
        if not config.pluginmanager.hasplugin("benchmark"):
            return "pytest-benchmark is disabled (-p no:benchmark)"
        if self._run.parallel:
            return "workers run beside each other (xdist); run without -n to time"
        if disabled := _why_disabled(config):
            return disabled
        if engine.recipe_only and engine.precision == "int8":
            return "the recipe is for TensorRT and is emulated here"
        if asked not in ("auto", *self._engine.scopes):
            scopes = ", ".join(self._engine.scopes)
            return f"{engine.backend} cannot time the scope {asked}, only {scopes}"
        return ""

    @property
    def _scope(self) -> Scope:
        asked = self._run.settings.scope
        return self._engine.scopes[0] if asked == "auto" else asked

    def _surroundings(self) -> Surroundings:
        from facenet_validate.benchmarking.surroundings import Surroundings

        return self._stack.enter_context(Surroundings(self._run.cpu, self._watch()))

    def _stage(self, title: str, unit: str = "quads") -> Callable[[int, int], None]:
        batch = self._gates.subject.batch
        precision = self._engine.info.precision
        return self._stack.enter_context(
            self._run.progress.stage(f"timing {precision} {title}, batch {batch}, {unit}")
        )

    def unavailable_beside(self, other: Other) -> str:
        """Say why the engine cannot be timed beside another; empty if it can."""
        if self.unavailable or other != "against":
            return self.unavailable
        info = self._others[other]().info
        if info.recipe_only and info.precision == "int8":
            return f"{_NAMES[other]} is for TensorRT and is emulated here"
        return ""

    def beside(self, other: Other, gate: RatioGate) -> Speed:
        """Time the engine in ABBA quads with another until the verdict is in.

        Parameters
        ----------
        other : {"fp32", "against"}
            What it is timed beside. FP32 is timed alone where it is the engine under test.
        gate : callable
            Gives the verdict on the ratio of speeds; None asks for no more than the first look.

        Raises
        ------
        BaselineError
            If what is stored of this engine cannot be read: before anything is timed.
        """
        from facenet_validate.benchmarking.baselines import BaselineStore
        from facenet_validate.benchmarking.measure import Measurement
        from facenet_validate.benchmarking.recording import identity_of, make_session

        batch = self._batch()
        identity = identity_of(self._engine, self._run.target, len(batch), self._scope)
        baselines = BaselineStore(self._run.settings.baselines)
        stored = baselines.load(identity) if other == "fp32" else ()
        benchmark = self._request.getfixturevalue("benchmark")
        alone = other == "fp32" and self._engine.info.precision == "fp32"
        report = self._stage("alone" if alone else f"beside {_NAMES[other]}")
        work = self._engine.work(batch, self._scope)
        beside = None if alone else self._others[other]()
        measurement = Measurement(
            work,
            None if beside is None else beside.work(batch, self._scope),
            self._surroundings(),
            report,
            self._run.speed_alpha,
        )
        measurement.warm_up()
        measurement.through(benchmark)
        verdict = measurement.until_decided(gate)
        provenance = {**self._provenance}
        if beside is not None:
            # The ratio is a matter of both engines.
            provenance[f"{other}_engine"] = beside.info.digest
        return Speed(
            measurement,
            benchmark,
            verdict,
            None if alone else other,
            partial(make_session, identity=identity, provenance=provenance),
            stored,
        )

    def against_itself(self, comparisons: int, limit: float) -> SelfCheck:
        """Compare two loads of the engine, as often as asked."""
        from facenet_validate.benchmarking.self_check import self_check

        batch = self._batch()

        @contextmanager
        def load() -> Iterator[Work]:
            with self._load() as engine:
                yield engine.work(batch, self._scope)

        return self_check(
            comparisons,
            load,
            self._surroundings(),
            self._stage("beside itself", "comparisons"),
            limit=limit,
            alpha=self._run.speed_alpha,
        )

    def latencies(self) -> dict[str, Any]:
        """Time single batches and return their percentiles, in milliseconds."""
        from facenet_validate.benchmarking.latency import time_batches

        return time_batches(self._engine, self._batch())

    def stored(self, speed: Speed) -> tuple[tuple[GateResult, ...], str]:
        """Judge a speed by the stored sessions; return the results and a table of what differs.

        What does not pass is measured again, once, and judged on all blocks together. It fails
        only if the second measurement fails by itself too: a spell of the machine that nothing
        told of is in one of them.
        """
        from facenet_validate.benchmarking.recording import Measured
        from facenet_validate.benchmarking.stored_gate import comparison_table, confirmed

        if speed.beside == "against":
            self._describe(speed, speed.session())
            return (), ""
        comparisons = self._compare(speed, speed.session())
        decided = (Verdict.PASS, Verdict.NOT_EVALUATED)
        if any(comparison.result.verdict not in decided for comparison in comparisons):
            before = speed.measurement.again()
            comparisons = self._compare(speed, speed.session())
            if not speed.measurement.disturbance:
                again = self._compare(speed, speed.session(since=before))
                comparisons = [
                    confirmed(both, second) for both, second in zip(comparisons, again, strict=True)
                ]
        session = speed.session()
        self._describe(speed, session)
        self._run.measured.append(Measured(session, speed.measurement.disturbance))
        results = [speed.measurement.unless_disturbed(c.result) for c in comparisons]
        if self._run.settings.update_baselines == "accept":
            note = "a new epoch begins with this session"
            results = [not_evaluated(result.gate, note, result.limit) for result in results]
        return tuple(map(self._missing, results)), comparison_table(comparisons)

    def _compare(self, speed: Speed, session: Session) -> list[Comparison]:
        from facenet_validate.benchmarking.stored_gate import (
            LATENCY,
            RELATIVE_LATENCY,
            stored_gate,
        )

        limits = self._gates.limits
        return [
            stored_gate(
                session,
                speed.stored,
                gate=gate,
                limit=limits[gate],
                quantity=quantity,
                alpha=self._run.speed_alpha,
            )
            for gate, quantity in zip(_STORED, (LATENCY, RELATIVE_LATENCY), strict=True)
            if gate in limits
        ]

    def _missing(self, result: GateResult) -> GateResult:
        """Return a stored gate's result, which fails in GPU CI where too little is stored.

        A GPU runner exists to gate: there, nothing to compare with is a fault of the set-up.
        """
        in_ci = os.environ.get("CI", "").lower() not in ("", "0", "false")
        settings, backend = self._run.settings, self._run.backend
        gates = result.gate == "performance.stored" and backend.on_gpu and in_ci
        if result.verdict is not Verdict.NOT_EVALUATED or not gates or settings.update_baselines:
            return result
        given = self._request.config.invocation_params.args
        command = shlex.join(["pytest", *map(str, given), "--facenet-update-baselines", "missing"])
        detail = (
            f"{result.detail}; CI is set, so it fails: record five sessions here with {command}"
        )
        return replace(result, verdict=Verdict.FAIL, detail=detail)

    def _describe(self, speed: Speed, session: Session) -> None:
        """Tell pytest-benchmark's files what a reader of them has to know."""
        from facenet_validate.benchmarking.sessions import to_mapping

        values = speed.timed.values()
        for name in ("block_seconds", "surroundings"):
            del values[name]
        about = {**values, "key": session.identity.key, "session": to_mapping(session)}
        speed.benchmark.extra_info.update(about)


@dataclass(frozen=True)
class Speed:
    """A measured speed.

    Attributes
    ----------
    measurement : Measurement
        What took the blocks, and can take more.
    benchmark : BenchmarkFixture
        Of pytest-benchmark.
    verdict : GateResult or None
        On the ratio to the engine it was timed beside.
    beside : str or None
        Which that is.
    as_session : callable
        `Timed` → `Session`.
    stored : tuple of Session
        What is stored of this engine and of others in the same file.
    """

    measurement: Measurement
    benchmark: Any
    verdict: GateResult | None
    beside: str | None
    as_session: Callable[[Timed], Session]
    stored: tuple[Session, ...]

    @property
    def timed(self) -> Timed:
        """What was measured so far."""
        return self.measurement.timed()

    def session(self, since: int = 0) -> Session:
        """Return what was measured so far, from a quad on, as it would be stored."""
        return self.as_session(self.measurement.timed(since))

    def values(self) -> dict[str, Any]:
        """Return what reports print."""
        from facenet_validate.benchmarking.sessions import to_mapping

        session = to_mapping(self.session())
        return {**self.timed.values(), "beside": self.beside, "session": session}
