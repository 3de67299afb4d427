"""Whether an engine was built from another model that is in the cache."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from facenet_validate.base.errors import ModelError
from facenet_validate.cache.store import LAYOUT
from facenet_validate.diagnosis.case import Case
from facenet_validate.diagnosis.diagnosis import Finding, NotTried
from facenet_validate.diagnosis.emulation import Values, emulated
from facenet_validate.diagnosis.graph_causes import STALE_ENGINE
from facenet_validate.diagnosis.rule import judged, rounding_only
from facenet_validate.models.prepared import load_onnx

MODELS = 3
"""Models that are tried, the last used first: each is read and run."""


def stale_engine_findings(case: Case, batch: Values) -> Iterator[Finding | NotTried]:
    """Compare the engine with the other prepared models of the cache, on a few faces.

    Parameters
    ----------
    batch : ndarray of shape (N, 3, H, H)
        The case's first faces.
    """
    others = _others(case)
    if not others:
        yield NotTried(STALE_ENGINE.name, "no other prepared model is in the cache")
    found, expected = case.found[: len(batch)], case.expected[: len(batch)]
    precision = case.engine.info.precision
    for path in others:
        try:
            rows = emulated(load_onnx(path), batch)
        except (ModelError, RuntimeError):
            continue
        except Exception as error:  # ONNX Runtime has one class an error code
            yield NotTried(STALE_ENGINE.name, f"the model in {path} does not run: {error}")
            continue
        if rows.shape != found.shape:
            continue
        finding = judged(
            STALE_ENGINE, found, expected, rows, precision, f"the model in {path.parent}"
        )
        sound = rounding_only(finding.cosine_after, precision)
        yield replace(finding, named=finding.named and sound)


def _others(case: Case) -> list[Path]:
    """Return the other prepared models of the cache, the last used first."""
    if case.cache is None:
        return []
    folder = case.cache.root / LAYOUT / "prepared"
    own = case.model.entry.path.parent.name
    found = [path for path in folder.glob("*/model.onnx") if path.parent.name != own]
    return sorted(found, key=lambda path: -path.parent.stat().st_mtime)[:MODELS]
