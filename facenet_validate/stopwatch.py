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

    from facenet_validate.benchmarking.gpu import GpuWatch
    from facenet_validate.benchmarking.measure import Timed
    from facenet_validate.benchmarking.paired_ratio import PairedRatio
    from facenet_validate.benchmarking.surroundings import Surroundings
    from facenet_validate.engines.protocol import Engine, Scope


REPLAYS = 1000
"""The fewest a 99th percentile can be quoted from."""

FEWEST_REPLAYS = 10
REPLAY_SECONDS = 10.0
"""Where 1,000 replays would take longer, there are fewer and no 99th percentile."""


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
        watch: Callable[[], GpuWatch | None],
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
        elif run.settings.scope not in ("auto", *engine.scopes):
            self.unavailable = (
                f"{engine.info.backend} cannot time the scope {run.settings.scope}, "
                f"only {', '.join(engine.scopes)}"
            )
        self._run = run
        self._engine = engine
        self._fp32 = fp32
        self._batch = batch
        self._request = request
        self._provenance = provenance
        self._gates = gates
        self._watch = watch

    def _surroundings(self) -> Surroundings:
        from facenet_validate.benchmarking.surroundings import Surroundings

        return Surroundings(self._run.cpu, self._watch())

    @property
    def _scope(self) -> Scope:
        asked = self._run.settings.scope
        return self._engine.scopes[0] if asked == "auto" else asked

    def alone(self) -> Timed:
        """Time the engine by itself."""
        from facenet_validate.benchmarking.measure import time_alone

        benchmark = self._request.getfixturevalue("benchmark")
        work = self._engine.work(self._batch(), self._scope)
        timed = time_alone(benchmark, work, self._surroundings())
        self._describe(benchmark, timed)
        return timed

    def beside_fp32(self, judge: Callable[[PairedRatio], GateResult | None]) -> Timed:
        """Time the engine and FP32 on the same backend in ABBA quads."""
        from facenet_validate.benchmarking.measure import time_beside

        benchmark = self._request.getfixturevalue("benchmark")
        batch = self._batch()
        title = f"timing {self._engine.info.precision} beside FP32, batch {len(batch)}, quads"
        with self._run.progress.stage(title) as report:
            work = self._engine.work(batch, self._scope)
            fp32 = self._fp32().work(batch, self._scope)
            timed = time_beside(benchmark, work, fp32, self._surroundings(), judge, report)
        self._describe(benchmark, timed)
        return timed

    def device_times(self) -> dict[str, Any] | None:
        """Time single replays on the device and return what trtexec would tell of them.

        None where the backend has no replays.
        """
        import numpy as np

        from facenet_validate.engines.tensorrt.engine import TensorRtEngine

        if not isinstance(self._engine, TensorRtEngine):
            return None
        batch = self._batch()
        few = self._engine.replays(batch, FEWEST_REPLAYS)
        count = int(REPLAY_SECONDS / max(few.wall_seconds / FEWEST_REPLAYS, 1e-6))
        count = min(REPLAYS, max(FEWEST_REPLAYS, count))
        times = self._engine.replays(batch, count)
        milliseconds = 1e3 * times.device_seconds
        percentiles = (50, 90, 99) if count >= REPLAYS else (50, 90)
        return {
            "replays": count,
            **{f"p{p}_ms": float(np.percentile(milliseconds, p)) for p in percentiles},
            "enqueue_p50_ms": float(1e3 * np.median(times.enqueue_seconds)),
            "wall_seconds": times.wall_seconds,
            "host_bound": times.host_bound,
            "gpu_memory_bytes": self._engine.memory_bytes,
        }

    def stored_gate(self, timed: Timed, limit: float) -> GateResult:
        """Compare with the stored sessions, and store this one if that was asked for."""
        from facenet_validate.benchmarking.baselines import BaselineStore
        from facenet_validate.benchmarking.measure import (
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
        elif timed.disturbance:
            refusal = f"disturbed: {timed.disturbance}"
        session = make_session(timed, self._engine, self._run.target, self._provenance)
        recording = Recording(settings.update_baselines, settings.reason, refusal)
        return judge_stored(session, BaselineStore(settings.baselines), recording, limit)

    def _describe(self, benchmark: Any, timed: Timed) -> None:
        benchmark.extra_info.update(timed.values())
        benchmark.extra_info["engine_sha256"] = self._engine.info.digest
