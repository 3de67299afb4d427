"""Times the engine under test through pytest-benchmark and judges it."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from facenet_validate.benchmarking.baselines import BaselineStore
from facenet_validate.benchmarking.paired_ratio import LOOKS, PairedRatio, next_look, paired_ratio
from facenet_validate.benchmarking.sessions import Identity, Session, newest_epoch, utc_now
from facenet_validate.benchmarking.stored_gate import MINIMUM_SESSIONS, stored_gate
from facenet_validate.benchmarking.surroundings import Surroundings
from facenet_validate.benchmarking.timing import (
    PROTOCOL,
    AbbaTimer,
    BlockTimings,
    TimingSummary,
    summary,
    warm_up,
)
from facenet_validate.engines.protocol import Engine, Scope, Work
from facenet_validate.verdicts import GateResult, Verdict

Report = Callable[[int, int], None]


@dataclass(frozen=True)
class Timed:
    """One engine's blocks, and its ratio to FP32 where that was measured.

    Attributes
    ----------
    timings : BlockTimings
        Blocks of the engine under test, in seconds a batch.
    scope : {"device", "end-to-end"}
        What a block spans.
    speed : TimingSummary
        Their summary.
    ratio : PairedRatio or None
        Speed in relation to FP32 in the same run.
    ratio_gate : GateResult or None
        The floor's verdict on it.
    disturbance : str
        What disturbed the measurement; empty if nothing known did.
    surroundings : mapping
        What else the machine did meanwhile, for reports.
    """

    timings: BlockTimings
    scope: Scope
    speed: TimingSummary
    ratio: PairedRatio | None
    ratio_gate: GateResult | None
    disturbance: str
    surroundings: Mapping[str, Any]

    def values(self) -> dict[str, Any]:
        """Return what reports print."""
        found: dict[str, Any] = {
            "batch": self.speed.batch,
            "scope": self.scope,
            "fps": self.speed.fps,
            "p50_ms": self.speed.p50_ms,
            "p90_ms": self.speed.p90_ms,
            "blocks": self.speed.blocks,
            "block_seconds": list(self.timings.seconds),
            "surroundings": dict(self.surroundings),
        }
        if self.ratio is not None:
            found |= {
                "fp32_ratio": self.ratio.ratio,
                "fp32_ratio_interval": [str(v) if np.isinf(v) else v for v in self.ratio.interval],
                "quads": self.ratio.quads,
            }
        return found


def time_alone(benchmark: Any, work: Work, around: Surroundings) -> Timed:
    """Time an engine by itself over 24 blocks."""
    warm_up(work.run)
    benchmark.pedantic(work.run, setup=around.look, rounds=2 * LOOKS[0])
    timed = _timed(tuple(benchmark.stats.stats.data), work, around)
    _a_batch_a_round(benchmark, work)
    return timed


def time_beside(
    benchmark: Any,
    work: Work,
    fp32: Work,
    around: Surroundings,
    judge: Callable[[PairedRatio], GateResult | None],
    report: Report,
) -> Timed:
    """Time an engine beside FP32 in ABBA quads until the verdict is in or the looks are used up.

    Parameters
    ----------
    work, fp32 : Work
        Blocks over the same batch.
    judge : callable
        Gives the verdict on a ratio; None asks for no more than the first look.
    report : callable
        Called with (quads, quads of the last look so far).
    """
    warm_up(work.run)
    warm_up(fp32.run)
    timer = AbbaTimer(work.run, fp32.run)
    # Blocks are as long as they need to be, so that the two engines' may hold different counts.
    images = np.array([work.images, fp32.images, fp32.images, work.images])

    def before_quad() -> None:
        if around.watches:
            around.look()
            # The GPU stood idle meanwhile: no timed block is the first after that.
            work.run()

    def before_round() -> None:
        if timer.between_quads:
            before_quad()
        timer.before_round()
        report(len(timer.quads()), LOOKS[0])

    benchmark.pedantic(timer.run_a, setup=before_round, rounds=2 * LOOKS[0])
    look: int | None = LOOKS[0]
    while True:
        ratio = paired_ratio(timer.quads() / images)
        verdict = judge(ratio)
        look = next_look(ratio.quads)
        undecided = verdict is not None and verdict.verdict is Verdict.INCONCLUSIVE
        if not undecided or look is None:
            break
        known = len(timer.a_blocks)
        for quads in range(ratio.quads + 1, look + 1):
            before_quad()
            timer.complete(quads)
            report(quads, look)
        for seconds in timer.a_blocks[known:]:
            benchmark.stats.update(seconds)
    _a_batch_a_round(benchmark, work)
    return _timed(timer.a_blocks, work, around, ratio, verdict)


def _a_batch_a_round(benchmark: Any, work: Work) -> None:
    """Have pytest-benchmark store seconds a batch: how many are in a block may change."""
    data = benchmark.stats.stats.data
    data[:] = _seconds_a_batch(data, work)


def _seconds_a_batch(blocks: Iterable[float], work: Work) -> tuple[float, ...]:
    return tuple(seconds * work.batch / work.images for seconds in blocks)


def _timed(
    blocks: tuple[float, ...],
    work: Work,
    around: Surroundings,
    ratio: PairedRatio | None = None,
    verdict: GateResult | None = None,
) -> Timed:
    """Return blocks of one or several batches as seconds a batch, and what was around them."""
    timings = BlockTimings(_seconds_a_batch(blocks, work))
    return Timed(
        timings,
        work.scope,
        summary(timings, work.batch),
        ratio,
        verdict,
        around.disturbance(),
        around.values(),
    )


def make_session(
    timed: Timed, engine: Engine, target: str, provenance: Mapping[str, str]
) -> Session:
    """Return the session a measurement would be stored as, in epoch 1 without a reason."""
    return Session(
        recorded_at=utc_now(),
        identity=Identity(
            device=engine.info.device,
            device_details=engine.info.device_details,
            precision=engine.info.precision,
            target=target,
            batch=timed.speed.batch,
            shape=(timed.speed.batch, *(int(side) for side in engine.input.shape[1:])),
            backend=engine.info.backend,
            scope=timed.scope,
            protocol=PROTOCOL,
        ),
        provenance=provenance,
        epoch=1,
        reason="",
        latency_seconds=timed.speed.median_seconds,
        block_seconds=timed.timings.seconds,
        paired_ratio=timed.ratio.ratio if timed.ratio else None,
        paired_interval=_finite_interval(timed.ratio),
    )


def provenance_of(engine: Engine, model_digest: str, folder: Path) -> dict[str, str]:
    """Return what a session is compared across and names when it changed."""
    return {
        "model": model_digest,
        "engine": engine.info.digest,
        "options": ", ".join(f"{name}={value}" for name, value in engine.info.options),
        "runtime": engine.info.runtime,
        "python": platform.python_version(),
        "numpy": metadata.version("numpy"),
        "facenet_validate": metadata.version("facenet-validate"),
        "kernel": platform.release(),
        "commit": _commit(folder),
    }


@dataclass(frozen=True)
class Recording:
    """Whether a session is to be stored.

    Attributes
    ----------
    mode : str or None
        ``all``, ``missing`` or ``accept``; None records nothing.
    reason : str or None
        Why a new epoch is accepted.
    refusal : str
        Why this run may not be recorded; empty if it may.
    """

    mode: str | None
    reason: str | None
    refusal: str


def judge_stored(
    session: Session, store: BaselineStore, recording: Recording, limit: float
) -> GateResult:
    """Compare a session with the stored ones, and store it if that was asked for.

    Accepting starts a new epoch, whose first session has nothing to be compared with.
    """
    from dataclasses import replace

    stored = store.load(session.identity)
    epoch = newest_epoch([known for known in stored if known.identity == session.identity])
    number = epoch[-1].epoch if epoch else 1
    gate = "performance.stored"
    session = replace(session, epoch=number)
    result = stored_gate(session, stored, gate=gate, limit=limit)
    wanted = recording.mode in ("all", "accept") or (
        recording.mode == "missing" and len(epoch) < MINIMUM_SESSIONS
    )
    if not wanted:
        return result
    failed = result.verdict is Verdict.FAIL and recording.mode != "accept"
    refusal = recording.refusal or ("it fails this gate" if failed else "")
    if refusal:
        return replace(result, detail=f"{result.detail}; not recorded: {refusal}")
    if recording.mode == "accept":
        session = replace(session, epoch=number + 1 if epoch else 1, reason=recording.reason or "")
        result = GateResult(
            gate, Verdict.NOT_EVALUATED, None, limit, detail=f"epoch {session.epoch} begins"
        )
    path = store.append(session)
    return replace(result, detail=f"{result.detail}; recorded in {path.parent.name}/{path.name}")


def _finite_interval(ratio: PairedRatio | None) -> tuple[float, float] | None:
    if ratio is None or not np.isfinite(ratio.interval).all():
        return None
    return ratio.interval


def _commit(folder: Path) -> str:
    try:
        found = subprocess.run(
            ["git", "-C", str(folder), "rev-parse", "HEAD"],  # noqa: S607 (git from the PATH)
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return found.stdout.strip() or "unknown"
