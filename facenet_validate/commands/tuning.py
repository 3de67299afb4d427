"""What ``quantize --tune`` judges a graph by, and how its rankings are told."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from facenet_validate.base.digests import file_digest
from facenet_validate.base.machine import cpu_identity
from facenet_validate.cache import Cache
from facenet_validate.commands import progress
from facenet_validate.datasets.calibration import CalibrationFaces
from facenet_validate.datasets.faces import AlignedFaces, faces_of
from facenet_validate.datasets.verification_set import VerificationSet
from facenet_validate.engines.embedding import embed
from facenet_validate.engines.onnxruntime.engine import OnnxRuntimeEngine
from facenet_validate.gates.verdicts import Verdict
from facenet_validate.metrics.comparison import frozen_decisions
from facenet_validate.metrics.paired import non_inferiority
from facenet_validate.metrics.view2 import evaluate_embeddings
from facenet_validate.models.quantization.int8 import Calibrated
from facenet_validate.models.quantization.sensitivity import Sensitivity
from facenet_validate.models.quantization.tuning import Check, Tuned, loss_between

PAIRED = "accuracy.paired_drop"
"""The gate of ``quantize --paired``."""

_SHOWN = 12
_BATCH = 32


def cosine_check(
    calibrated: Calibrated, faces: CalibrationFaces, cosine: float
) -> Callable[[onnx.ModelProto], Check]:
    """Return the check of the mean row cosine on 500 faces: others where there are any."""
    rows = np.arange(len(faces.check.names))
    reference = _embeddings(calibrated.model, faces.check, rows, "embedding with FP32")

    def check(model: onnx.ModelProto) -> Check:
        found = _embeddings(model, faces.check, rows, "checking")
        loss = loss_between(reference, found)
        text = f"mean row cosine {1 - loss:.6f}, emulated, on {faces.check_text}; asked: {cosine}"
        return Check(1 - loss >= cosine, loss, text)

    return check


def paired_check(
    calibrated: Calibrated, evaluation: VerificationSet, cache: Cache, delta: float
) -> Callable[[onnx.ModelProto], Check]:
    """Return the check that the engine loses at most a share `delta` at FP32's thresholds."""
    workers = cpu_identity().cores
    stage = partial(progress().stage, "aligning evaluation photos")
    faces = faces_of(evaluation.names, evaluation.paths, cache, workers=workers, stage=stage)
    rows = np.arange(len(faces.names))
    reference = evaluate_embeddings(
        _embeddings(calibrated.model, faces, rows, "embedding with FP32"), evaluation.pairs
    )

    def check(model: onnx.ModelProto) -> Check:
        found = frozen_decisions(reference, _embeddings(model, faces, rows, "checking"))
        result = non_inferiority(found.paired, gate=PAIRED, delta=delta, alpha=0.01)
        reached = result.verdict is Verdict.PASS
        return Check(reached, None, f"{result.verdict.value}: {result.detail}")

    return check


def _embeddings(
    model: onnx.ModelProto, faces: AlignedFaces, rows: NDArray[np.intp], title: str
) -> NDArray[np.float32]:
    """Return embeddings with Q/DQ pairs computed as written."""
    cpu = cpu_identity()
    with tempfile.TemporaryDirectory(prefix="facenet-tune-") as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(model.SerializeToString())
        with (
            OnnxRuntimeEngine(
                path,
                digest=file_digest(path),
                precision="int8",
                artefact=title,
                device=cpu.name,
                threads=cpu.cores,
                target="tensorrt",
            ) as engine,
            progress().stage(title) as report,
        ):
            return embed(engine, faces, _BATCH, rows=rows, progress=report)


def rankings(tuned: Tuned) -> str:
    """Return the rankings and what was found, for people."""
    lines = [
        "loss: 1 − mean row cosine; gain: how much less is lost when all but it is quantised",
        *_ranking("block", tuned.blocks),
        *_ranking("node of the blocks looked into", tuned.nodes),
        f"kept in floating point: {len(tuned.recipe.keep)} nodes, {tuned.cost:.2%} of the "
        f"multiply-adds; loss {tuned.before:.2e} → {tuned.after:.2e}",
        *(f"  {name}" for name in tuned.recipe.keep[:_SHOWN]),
        *(["  …"] if len(tuned.recipe.keep) > _SHOWN else []),
        f"{'reached' if tuned.check.reached else 'NOT REACHED'}: {tuned.check.text}",
    ]
    return "\n".join(lines) + "\n"


def _ranking(title: str, parts: list[Sensitivity]) -> list[str]:
    width = max(len(part.name) for part in parts[:_SHOWN])
    return [
        f"{title:{width}}  multiply-adds     alone      gain",
        *(
            f"{part.name:{width}}  {part.cost:12.2%}  {part.alone:9.2e} {part.gain:9.2e}"
            for part in parts[:_SHOWN]
        ),
    ]


def record(tuned: Tuned) -> dict[str, object]:
    """Return all of a search's results, for a file."""
    return {
        "recipe": tuned.recipe.inputs(),
        "blocks": [asdict(part) for part in tuned.blocks],
        "nodes": [asdict(part) for part in tuned.nodes],
        "loss_before": tuned.before,
        "loss_after": tuned.after,
        "multiply_adds_kept": tuned.cost,
        "check": asdict(tuned.check),
    }
