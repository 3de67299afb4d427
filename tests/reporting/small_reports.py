"""Reports as runs write them, with as little in them as commands need."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def gate(name: str, verdict: str, observed: float | None = 0.99, **changes: Any) -> dict[str, Any]:
    found = {
        "gate": name,
        "precision": "int8",
        "target": "cpu",
        "dataset": "lfw",
        "batch": None,
        "recipe_only": False,
        "verdict": verdict,
        "fails": verdict == "fail",
        "try": 1,
        "observed": None if verdict.startswith("not") else observed,
        "limit": 0.98,
        "interval": None,
        "detail": "",
        "test": "t",
    }
    return {**found, **changes}


def report(*gates: dict[str, Any], **changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "schema": 1,
        "started_at": "2026-01-01T10:00:00+00:00",
        "finished_at": "2026-01-01T11:00:00+00:00",
        "verdict": "pass",
        "sentence": "It may.",
        "exit_status": 0,
        "model": {"source_sha256": "aa"},
        "engines": {"int8": {"sha256": "e1"}},
        "environment": {"device": "a CPU"},
        "gates": list(gates),
        "measurements": [],
        "errors": [],
        "required_and_not_judged": [],
    }
    return {**found, **changes}


def write(folder: Path, document: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    text = document if isinstance(document, str) else json.dumps(document)
    (folder / "results.json").write_text(text)
