"""Reports that were written before: ``results.json`` read again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from facenet_validate.base.errors import SettingsError
from facenet_validate.base.files import check_regular
from facenet_validate.gates.verdicts import Verdict
from facenet_validate.reporting.folder import FILENAME
from facenet_validate.reporting.results import SCHEMA

_LARGEST = 256_000_000

_TEXTS = ("gate", "precision", "dataset", "verdict")


def read_report(path: Path) -> tuple[Path, dict[str, Any]]:
    """Return a report's folder, and what its ``results.json`` holds.

    Parameters
    ----------
    path : Path
        The folder, or the file.

    Raises
    ------
    SettingsError
        If there is no report of ours, or one of a newer version.
    """
    file = path / FILENAME if path.is_dir() else path
    try:
        check_regular(file)
        if file.stat().st_size > _LARGEST:
            raise SettingsError(f"{file}: {file.stat().st_size} bytes are too many for a report.")
        document = json.loads(file.read_bytes())
    except OSError as error:
        raise SettingsError(
            f"{file}: cannot be read ({error.strerror}). Name the folder of --facenet-report."
        ) from None
    except (ValueError, RecursionError):
        raise SettingsError(f"{file}: no JSON; expected what --facenet-report wrote.") from None
    if fault := _fault(document):
        raise SettingsError(f"{file}: {fault}.")
    return file.parent, document


def _fault(document: Any) -> str:
    """Say why a document is no report that can be read here; empty if it is one."""
    if not isinstance(document, dict) or not isinstance(document.get("schema"), int):
        return "no report; expected an object with a schema"
    if document["schema"] > SCHEMA:
        found = document["schema"]
        return f"schema {found}, this version reads {SCHEMA}; install a newer facenet-validate"
    for name in ("gates", "measurements", "errors"):
        entries = document.get(name, [])
        if not isinstance(entries, list) or not all(isinstance(one, dict) for one in entries):
            return f"{name} is no list of objects"
    for place, gate in enumerate(document.get("gates", [])):
        if fault := _gate_fault(gate):
            return f"gate {place}: {fault}"
    return ""


def _gate_fault(gate: dict[str, Any]) -> str:
    for name in _TEXTS:
        if not isinstance(gate.get(name), str):
            return f"its {name} is {gate.get(name)!r}; expected text"
    if gate["verdict"] not in set(Verdict):
        return f"its verdict is {gate['verdict']!r}; expected one of {', '.join(Verdict)}"
    missing = [name for name in ("fails", "observed", "limit", "detail") if name not in gate]
    return f"it has no {missing[0]}" if missing else ""
