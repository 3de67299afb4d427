"""Validation of FP16 and INT8 FaceNet engines as a pytest plugin and suites.

The names below are public. Each is imported when it is first used: an installed plugin must not
slow down other projects.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from facenet_validate.base.errors import FacenetValidateError
    from facenet_validate.datasets.faces import AlignedFaces
    from facenet_validate.datasets.verification_set import VerificationSet
    from facenet_validate.engines.batches import batch_sizes, wrong_inputs
    from facenet_validate.engines.contract import (
        batch_notes,
        colour_agreement,
        equal_rows,
        faces_apart,
        plain_pictures,
        signature_differences,
    )
    from facenet_validate.engines.protocol import Engine, EngineInfo
    from facenet_validate.engines.sharing import two_threads
    from facenet_validate.gates.verdicts import GateResult, Observed, Verdict
    from facenet_validate.metrics.parity import compare_embeddings, largest_distance
    from facenet_validate.run.build import Build
    from facenet_validate.run.evaluation import EngineComparison, EngineVerification
    from facenet_validate.run.judging import Gates
    from facenet_validate.run.robustness import Robustness
    from facenet_validate.run.run import Run
    from facenet_validate.run.timing import Speed, Timing

_PLACES = {
    "AlignedFaces": "datasets.faces",
    "Build": "run.build",
    "Engine": "engines.protocol",
    "EngineComparison": "run.evaluation",
    "EngineInfo": "engines.protocol",
    "EngineVerification": "run.evaluation",
    "FacenetValidateError": "base.errors",
    "GateResult": "gates.verdicts",
    "Gates": "run.judging",
    "Observed": "gates.verdicts",
    "Robustness": "run.robustness",
    "Run": "run.run",
    "Speed": "run.timing",
    "Timing": "run.timing",
    "Verdict": "gates.verdicts",
    "VerificationSet": "datasets.verification_set",
    "batch_notes": "engines.contract",
    "batch_sizes": "engines.batches",
    "colour_agreement": "engines.contract",
    "compare_embeddings": "metrics.parity",
    "equal_rows": "engines.contract",
    "faces_apart": "engines.contract",
    "largest_distance": "metrics.parity",
    "plain_pictures": "engines.contract",
    "signature_differences": "engines.contract",
    "two_threads": "engines.sharing",
    "wrong_inputs": "engines.batches",
}

__all__ = [
    "AlignedFaces",
    "Build",
    "Engine",
    "EngineComparison",
    "EngineInfo",
    "EngineVerification",
    "FacenetValidateError",
    "GateResult",
    "Gates",
    "Observed",
    "Robustness",
    "Run",
    "Speed",
    "Timing",
    "Verdict",
    "VerificationSet",
    "batch_notes",
    "batch_sizes",
    "colour_agreement",
    "compare_embeddings",
    "equal_rows",
    "faces_apart",
    "largest_distance",
    "plain_pictures",
    "signature_differences",
    "two_threads",
    "wrong_inputs",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
