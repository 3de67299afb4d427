"""``manifest.json``: what a folder of shards holds, and what the embeddings were made with."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facenet_validate.base.errors import ShardError
from facenet_validate.base.files import check_regular
from facenet_validate.base.wording import path_text, quoted, reason

NAME = "manifest.json"
SCHEMA = 1

_LARGEST = 65_536
_MOST = {"rows": 10**10, "dimension": 65_536, "shard_rows": 10**7, "batch": 65_536}
_DIGESTS = ("model", "engine", "set", "photos")
_DIGEST = re.compile("[0-9a-f]{64}")
_LONGEST = 1000


@dataclass(frozen=True)
class Manifest:
    """What a folder of shards holds.

    Two folders with equal manifests have equal bytes. The number of threads is not part of it: on
    ONNX Runtime's CPU provider 1, 2 and 3 threads gave the same bits, in FP32 and in INT8.

    Attributes
    ----------
    rows : int
        Photos, N.
    dimension : int
        Values of an embedding, D.
    shard_rows : int
        Rows of every shard but the last.
    batch : int
        Photos that the engine runs at once. Batches start anew with every shard.
    model, engine : str
        SHA-256 of the prepared model and of the engine.
    precision, runtime, device, cpu : str
        What computed them: other instructions round differently.
    preprocessing : str
        How faces became the engine's input.
    aligner : str
        What aligned the photos.
    set : str
        SHA-256 of the names and the photos, in order.
    photos : str
        SHA-256 of ``names.jsonl``.
    """

    rows: int
    dimension: int
    shard_rows: int
    batch: int
    model: str
    engine: str
    precision: str
    runtime: str
    device: str
    cpu: str
    preprocessing: str
    aligner: str
    set: str
    photos: str

    @property
    def shards(self) -> int:
        """How many shards there are."""
        return -(-self.rows // self.shard_rows)

    def span(self, shard: int) -> tuple[int, int]:
        """Return the first row of a shard, and the row after its last one."""
        return shard * self.shard_rows, min(self.rows, (shard + 1) * self.shard_rows)

    def batches(self, shard: int) -> Iterator[NDArray[np.intp]]:
        """Yield the rows of each batch of a shard."""
        start, stop = self.span(shard)
        for first in range(start, stop, self.batch):
            yield np.arange(first, min(first + self.batch, stop), dtype=np.intp)

    def encoded(self) -> bytes:
        """Return the content of ``manifest.json``."""
        return (json.dumps({"schema": SCHEMA, **asdict(self)}, indent=1) + "\n").encode()

    def differences(self, other: Manifest) -> list[str]:
        """Return what another manifest has differently, as ``engine: … there, … here``."""
        return [
            f"{field.name} is {_short(getattr(other, field.name))} there and "
            f"{_short(getattr(self, field.name))} here"
            for field in fields(self)
            if getattr(self, field.name) != getattr(other, field.name)
        ]


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of a folder of shards, whatever lies in its place.

    Raises
    ------
    ShardError
        If there is none, it cannot be read, or a value is not of its type or out of its bounds. One
        line, which names the value.
    """
    path = folder / NAME
    try:
        check_regular(path)
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
    except FileNotFoundError:
        raise ShardError(
            f"{path_text(folder)}: no {NAME}; expected a folder that facenet-validate embed wrote."
        ) from None
    except OSError as error:
        raise ShardError(f"{path_text(path)}: cannot be read ({reason(error)}).") from None
    try:
        if len(content) > _LARGEST:
            raise _WrongError(f"more than {_LARGEST} bytes")
        return _parsed(content)
    except _WrongError as error:
        raise ShardError(
            f"{path_text(path)}: {error}; expected what facenet-validate embed wrote. Embed the "
            "set into another folder."
        ) from None


class _WrongError(Exception):
    """What is wrong with a manifest."""


def _parsed(content: bytes) -> Manifest:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        raise _WrongError("no JSON") from None
    if not isinstance(document, dict):
        raise _WrongError("no JSON object")
    schema = document.pop("schema", None)
    if schema != SCHEMA or isinstance(schema, bool):
        raise _WrongError(f"schema {quoted(schema)}, this version reads {SCHEMA}")
    names = {field.name for field in fields(Manifest)}
    for name in (*sorted(names - document.keys()), *sorted(document.keys() - names)):
        raise _WrongError(f"{'it has no' if name in names else 'unknown'} {quoted(name)}")
    for name, value in document.items():
        _check(name, value)
    return Manifest(**document)


def _check(name: str, value: Any) -> None:
    if name in _MOST:
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not whole or not 1 <= value <= _MOST[name]:
            raise _WrongError(f"{name} is {quoted(value)}, no whole number from 1 to {_MOST[name]}")
    elif not isinstance(value, str) or len(value) > _LONGEST:
        raise _WrongError(f"{name} is {quoted(value)}, no text of at most {_LONGEST} characters")
    elif name in _DIGESTS and not _DIGEST.fullmatch(value):
        raise _WrongError(f"{name} is {quoted(value)}, no SHA-256")


def _short(value: object) -> str:
    if isinstance(value, str) and _DIGEST.fullmatch(value):
        return value[:12]
    return str(value) if isinstance(value, int) else quoted(value)
