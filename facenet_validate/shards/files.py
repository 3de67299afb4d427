"""The two files of a shard, and whether they are whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import numpy as np

from facenet_validate.base.digests import file_digest
from facenet_validate.base.files import check_regular
from facenet_validate.shards.manifest import Manifest

FOLDER = "shards"

State = Literal["whole", "absent", "damaged"]

_LARGEST = 1000


def values_path(folder: Path, shard: int) -> Path:
    """Return where a shard's embeddings are: float32 ``(rows, D)``, as numpy saves them."""
    return folder / FOLDER / f"{shard:06d}.npy"


def digest_path(folder: Path, shard: int) -> Path:
    """Return where a shard's digest is, which is written after its embeddings."""
    return folder / FOLDER / f"{shard:06d}.json"


def digest_content(digest: str, rows: int) -> bytes:
    """Return the content of a shard's digest file."""
    return (json.dumps({"sha256": digest, "rows": rows}) + "\n").encode()


def state(folder: Path, manifest: Manifest, shard: int) -> State:
    """Return whether a shard is whole: both files are there, and the digest agrees.

    It reads the whole shard.

    Raises
    ------
    OSError
        If a file is there and cannot be read.
    """
    values, digest = values_path(folder, shard), digest_path(folder, shard)
    start, stop = manifest.span(shard)
    try:
        check_regular(values)
        check_regular(digest)
        with digest.open("rb") as file:
            said = file.read(_LARGEST)
        if said != digest_content(file_digest(values), stop - start):
            return "damaged"
        header = np.load(values, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        return "absent"
    except (ValueError, EOFError, OverflowError):  # no array, or a part of one
        return "damaged"
    fits = header.shape == (stop - start, manifest.dimension) and header.dtype == np.float32
    return "whole" if fits and header.flags.c_contiguous else "damaged"
