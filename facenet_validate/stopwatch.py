"""Timing of the engine under test, through pytest-benchmark and against stored sessions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pytest

from facenet_validate.judge import Gates
from facenet_validate.run import Run
from facenet_validate.verdicts import GateResult, Verdict

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from facenet_validate.benchmarking.measure import Timed
    from facenet_validate.benchmarking.paired_ratio import PairedRatio
    from facenet_validate.engines.protocol import Engine


class Timing:
    """Times the engine under test and compares it with what was stored.

    Attributes
    ----------
    unavailable : str
        Why engines cannot be timed in this run; empty if they can.
    """

    def __init__(
        self,
        run: Run,
        engine: Engine,
        fp32: Callable[[], Engine],
        batch: Callable[[], NDArray[np.float32]],
        request: pytest.FixtureRequest,
        provenance: Mapping[str, str],
        gates: Gates,
    ) -> None:
        self.unavailable = ""
        if not request.config.pluginmanager.hasplugin("benchmark"):
            self.unavailable = "pytest-benchmark is disabled (-p no:benchmark)"
        elif run.parallel:
            self.unavailable = "workers run beside each other (xdist); run without -n to time"
        elif request.config.getoption("benchmark_disable", False):
            self.unavailable = "benchmarks are disabled (--benchmark-disable)"
        elif engine.info.recipe_only and engine.info.precision == "int8":
            self.unavailable = "the recipe is for TensorRT and is emulated here"
        self._run = run
        self._engine = engine
        self._fp32 = fp32
        self._batch = batch
        self._request = request
        self._provenance = provenance
        self._gates = gates

    def alone(self) -> Timed:
        """Time the engine by itself."""
        from facenet_validate.benchmarking.measure import time_alone

        benchmark = self._request.getfixturevalue("benchmark")
        timed = time_alone(benchmark, self._engine, self._batch(), self._run.cpu)
        self._describe(benchmark, timed)
        return timed

    def beside_fp32(self, judge: Callable[[PairedRatio], GateResult | None]) -> Timed:
        """Time the engine and FP32 on the same backend in ABBA quads."""
        from facenet_validate.benchmarking.measure import time_beside

        benchmark = self._request.getfixturevalue("benchmark")
        batch = self._batch()
        title = f"timing {self._engine.info.precision} beside FP32, batch {len(batch)}, quads"
        with self._run.progress.stage(title) as report:
            timed = time_beside(
                benchmark, self._engine, self._fp32(), batch, self._run.cpu, judge, report
            )
        self._describe(benchmark, timed)
        return timed

    def stored_gate(self, timed: Timed, limit: float) -> GateResult:
        """Compare with the stored sessions, and store this one if that was asked for."""
        from facenet_validate.benchmarking.baselines import BaselineStore
        from facenet_validate.benchmarking.measure import (
            STEAL_LIMIT,
            Recording,
            judge_stored,
            make_session,
        )

        settings = self._run.settings
        failed = set(self._gates.failed)
        if timed.ratio_gate is not None and timed.ratio_gate.verdict is Verdict.FAIL:
            failed.add(timed.ratio_gate.gate)
        refusal = ""
        if failed:
            refusal = f"this engine fails {', '.join(sorted(failed))}"
        elif timed.steal is not None and timed.steal > STEAL_LIMIT:
            refusal = f"disturbed: others took {timed.steal:.0%} of the processors"
        session = make_session(
            timed, self._engine, self._run.cpu, self._run.target, self._provenance
        )
        recording = Recording(settings.update_baselines, settings.reason, refusal)
        return judge_stored(session, BaselineStore(settings.baselines), recording, limit)

    def _describe(self, benchmark: Any, timed: Timed) -> None:
        benchmark.extra_info.update(timed.values())
        benchmark.extra_info["engine_sha256"] = self._engine.info.digest
