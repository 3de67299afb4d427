"""Folders of shards, for tests."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from facenet_validate.shards import ListedPhotos, Manifest


def manifest_of(listed: ListedPhotos, dimension: int, **changed: Any) -> Manifest:
    """Return a manifest of INT8 embeddings that nobody made, with other values where asked."""
    made = Manifest(
        rows=len(listed.names),
        dimension=dimension,
        shard_rows=4,
        batch=3,
        model="a" * 64,
        engine="b" * 64,
        precision="int8",
        runtime="onnxruntime 1.32.0",
        device="a CPU",
        cpu="a CPU, flags 1",
        preprocessing="planes",
        aligner="none",
        set="c" * 64,
        photos=sha256(listed.encoded()).hexdigest(),
    )
    return replace(made, **changed)


def bytes_of(folder: Path) -> dict[str, bytes]:
    """Return what a folder holds; what begins with a dot is nobody's business."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }
