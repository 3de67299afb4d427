"""What ``quantize --tune`` judges a graph by, and how its rankings are told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import partial

import numpy as np
import onnx
from numpy.typing import NDArray

from facenet_validate.base.machine import cpu_identity
from facenet_validate.base.preprocessing import standardize
from facenet_validate.cache import Cache
from facenet_validate.commands import progress
from facenet_validate.datasets.calibration import CalibrationFaces
from facenet_validate.datasets.faces import AlignedFaces, faces_of
from facenet_validate.datasets.verification_set import VerificationSet
from facenet_validate.gates.verdicts import Verdict
from facenet_validate.metrics.comparison import frozen_decisions
from facenet_validate.metrics.paired import non_inferiority
from facenet_validate.metrics.view2 import evaluate_embeddings
from facenet_validate.models.quantization.int8 import Calibrated
from facenet_validate.models.quantization.sensitivity import Sensitivity
from facenet_validate.models.quantization.tuning import Check, Tuned, emulator, loss_between

PAIRED = "accuracy.paired_drop"
"""The gate of ``quantize --paired``."""

_SHOWN = 12
_BATCH = 32


def cosine_check(
    calibrated: Calibrated, faces: CalibrationFaces, cosine: float
) -> Callable[[onnx.ModelProto], Check]:
    """Return the check of the mean row cosine on 500 faces: others where there are any."""
    reference = _embeddings(calibrated.model, faces.check, "embedding with FP32")

    def check(model: onnx.ModelProto) -> Check:
        found = _embeddings(model, faces.check, "checking")
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
    reference = evaluate_embeddings(
        _embeddings(calibrated.model, faces, "embedding with FP32"), evaluation.pairs
    )

    def check(model: onnx.ModelProto) -> Check:
        found = frozen_decisions(reference, _embeddings(model, faces, "checking"))
        result = non_inferiority(found.paired, gate=PAIRED, delta=delta, alpha=0.01)
        reached = result.verdict is Verdict.PASS
        return Check(reached, None, f"{result.verdict.value}: {result.detail}")

    return check


def _embeddings(model: onnx.ModelProto, faces: AlignedFaces, title: str) -> NDArray[np.float32]:
    """Return embeddings of all faces with Q/DQ pairs computed as written."""
    run, side = emulator(model), model.graph.input[0].type.tensor_type.shape.dim[2].dim_value
    rows, found = np.arange(len(faces.names)), []
    with progress().stage(title) as report:
        for start in range(0, len(rows), _BATCH):
            found.append(run(standardize(faces.load(rows[start : start + _BATCH]), side)))
            report(min(start + _BATCH, len(rows)), len(rows))
    return np.concatenate(found)


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
