"""SHA-256 digests of files and of structured inputs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's bytes as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def inputs_digest(inputs: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the canonical JSON of ``inputs``: sorted keys, no spaces, no NaN."""
    text = json.dumps(inputs, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def short(digest: str) -> str:
    """Return the first twelve digits, for people."""
    return digest[:12]
