"""Speed and agreement of engines: FPS by the package's blocks and quads, rows beside the CPU's."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facenet_validate.base.errors import FacenetValidateError
from facenet_validate.benchmarking.latency import latencies
from facenet_validate.benchmarking.measure import Measurement, Watch
from facenet_validate.engines.protocol import Engine, Scope
from facenet_validate.metrics.parity import row_cosines
from gpu_session import engines
from gpu_session.engines import Bench
from gpu_session.inputs import FP16, INT8, VARIANTS, Inputs, Variant, read_inputs
from gpu_session.records import file_name, record
from gpu_session.session import RTX, Notes, Session

BATCH = 64
OTHER_BATCHES = (1, 8, 256)
FEW_BATCHES = 100
"""Batches timed one by one."""
RUNS_OF_LAYERS = 5
"""Runs in which a profiler times the layers."""


def batch_64(session: Session) -> None:
    """Measure every engine at batch 64; save build logs and what the inspector tells."""
    with Notes(session.out / "batch-64.json") as notes:
        measure(session, notes, RTX, (BATCH,), VARIANTS)


def other_batches(session: Session) -> None:
    """Measure batches of 1, 8 and 256."""
    with Notes(session.out / "batches.json") as notes:
        measure(session, notes, RTX, OTHER_BATCHES, VARIANTS[:3])


def static(session: Session) -> None:
    """Measure batch 64 with a static profile."""
    with Notes(session.out / "static.json") as notes:
        measure(session, notes, RTX, (BATCH,), VARIANTS[:3], profile="static")


def others(session: Session) -> None:
    """Measure batch 64 on the other backends of a GPU, where they are installed."""
    with Notes(session.out / "others.json") as notes:
        measure(session, notes, "onnxruntime-cuda", (BATCH,), (FP16, INT8))
        measure(session, notes, "tensorrt", (BATCH,), VARIANTS)


def build_here(session: Session, notes: Notes) -> None:
    """Build RTX's plans without a GPU: what it refuses is found before the session."""
    inputs = read_inputs(session)
    try:
        with engines.bench(
            RTX, inputs.model, session.work / "local", (BATCH,), builds_only=True
        ) as bench:
            for variant in VARIANTS:
                plan = engines.built_plan(bench.build(inputs.graph(variant), variant))
                notes.add("plans", {"engine": variant.title, **_told(plan)})
    except FacenetValidateError as error:
        notes.problem("plans", error)


def measure(
    session: Session,
    notes: Notes,
    backend: str,
    sizes: tuple[int, ...],
    variants: Sequence[Variant],
    *,
    profile: str = "dynamic",
) -> None:
    """Build, load, compare and time engines; note each result as soon as it is there.

    The first of the variants stays loaded: the others are timed in turns with it.
    """
    inputs = read_inputs(session)
    images, expected = inputs.faces()
    with ExitStack() as stack:
        try:
            bench = stack.enter_context(
                engines.bench(backend, inputs.model, session.work / "local", sizes, profile=profile)
            )
        except FacenetValidateError as error:
            notes.problem(backend, error)
            return
        rows = _Rows(notes, bench, stack.enter_context(engines.watch()), images)
        beside: Engine | None = None
        for variant in variants:
            what = f"{backend}, {variant.title}, {profile}"
            try:
                engine = stack.enter_context(_engine(session, notes, bench, inputs, variant, sizes))
                _agreement(notes, what, engine, images, expected, sizes[0])
                for size in sizes:
                    rows.add(engine, variant, size, beside)
                _layers(notes, what, engine, images[: sizes[0]])
            except (FacenetValidateError, FileNotFoundError) as error:
                notes.problem(what, error)
                continue
            beside = beside or engine
    notes.put("says", f"{rows.count} rows of {backend}")


def _engine(
    session: Session,
    notes: Notes,
    bench: Bench,
    inputs: Inputs,
    variant: Variant,
    sizes: tuple[int, ...],
) -> Engine:
    """Build and load an engine; save what its build and the inspector tell."""
    artefact = bench.build(inputs.graph(variant), variant)
    engine = bench.load(artefact)
    name = bench.backend.name
    plan = engines.built_plan(artefact) if engines.builds_plans(name) else None
    if plan is not None:
        notes.add("plans", {"engine": variant.title, "profile": bench.profile, **_told(plan)})
        try:
            inspected = engines.inspector_json(name, artefact)
        except FacenetValidateError as error:
            notes.problem(f"inspector of {variant.title}", error)
            inspected = ""
        batches = "b" + "-".join(str(size) for size in sizes)
        gpu = engine.info.device
        record(
            session.out / "recorded",
            file_name(name, bench.backend.version, gpu, variant.name, batches, bench.profile),
            plan.log_path.read_text(),
            inspected,
        )
    return engine


def _layers(notes: Notes, what: str, engine: Engine, batch: NDArray[np.float32]) -> None:
    """Note how long the engine's layers take, where its backend tells."""
    found = engine.layer_times(batch, RUNS_OF_LAYERS)
    layers = [{"name": one.name, "seconds": one.fastest} for one in found.layers]
    notes.add("layers", {"engine": what, "untold": found.untold, "layers": layers})


def _told(plan: Any) -> dict[str, Any]:
    """Return what a build told, for the notes."""
    if plan is None:
        return {}
    return {
        "seconds": plan.seconds,
        "bytes": plan.entry.path.stat().st_size,
        "parsed": dict(plan.report.multiply_adds_by_type),
        "compiled": dict(plan.compiled.multiply_adds_by_type) if plan.compiled else None,
        "messages": list(plan.messages),
    }


def _agreement(
    notes: Notes,
    what: str,
    engine: Engine,
    images: NDArray[np.float32],
    expected: NDArray[np.float32],
    size: int,
) -> None:
    """Note the cosines of an engine's rows with those of FP32 on ONNX Runtime's CPU provider."""
    batches = (images[start : start + size] for start in range(0, len(images), size))
    found = row_cosines(np.concatenate(list(engine.run_many(batches))), expected)
    notes.add(
        "agreement",
        {
            "engine": what,
            "batch": size,
            "faces": len(found),
            "min": float(found.min()),
            "p1": float(np.percentile(found, 1)),
            "mean": float(found.mean()),
        },
    )


@dataclass
class _Rows:
    """Measured rows, noted one by one."""

    notes: Notes
    bench: Bench
    watch: Watch
    images: NDArray[np.float32]
    count: int = 0

    def add(self, engine: Engine, variant: Variant, size: int, beside: Engine | None) -> None:
        """Time a batch in every scope, in turns with another engine where there is one."""
        batch = np.ascontiguousarray(np.resize(self.images, (size, *self.images.shape[1:])))
        for scope in engine.scopes:
            self.notes.add("rows", self._row(engine, variant, batch, scope, beside))
            self.count += 1

    def _row(
        self,
        engine: Engine,
        variant: Variant,
        batch: NDArray[np.float32],
        scope: Scope,
        beside: Engine | None,
    ) -> dict[str, Any]:
        other = beside.work(batch, scope) if beside is not None else None
        measured = Measurement(engine.work(batch, scope), other, self.watch)
        measured.warm_up()
        measured.again()  # the quads of a first look
        timed = measured.timed().values()
        seconds = timed.pop("block_seconds")
        timed.pop("log_ratios", None)
        found = latencies(seconds)
        row = {
            "backend": f"{engine.info.backend} {self.bench.backend.version}",
            "engine": variant.title,
            "profile": self.bench.profile,
            "p50_ms": found.p50_ms,
            "p90_ms": found.p90_ms,
            **timed,
        }
        if scope == "device":
            times = engine.batch_times(batch, FEW_BATCHES)
            single = latencies(times.seconds)
            row["single batches"] = {
                "clock": times.clock,
                "p50_ms": single.p50_ms,
                "p90_ms": single.p90_ms,
                "host_bound": times.host_bound,
                "gpu_memory_bytes": times.gpu_memory_bytes,
            }
        return row
