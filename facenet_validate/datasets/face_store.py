"""Aligned faces on disk, by the digest of the photo.

A stored face is one file: a line of JSON with the crop, the boxes of all faces found and the digest
of the rest, then a lossless PNG. A file with a wrong digest or without boxes counts as absent: the
photo is aligned again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from facenet_validate.base.errors import CacheError
from facenet_validate.base.files import write_whole
from facenet_validate.datasets.framing import Box, Framing


@dataclass(frozen=True)
class StoredFace:
    """An encoded face and its place in the photo.

    Attributes
    ----------
    png : bytes
    framing : Framing
    checked : bool
        Whether the photo was checked for damage. Earlier versions did not check.
    """

    png: bytes
    framing: Framing
    checked: bool = True


@dataclass(frozen=True)
class FaceStore:
    """Aligned faces on disk, by the photo's digest, for one aligner.

    Attributes
    ----------
    folder : Path
        ``<cache>/faces/<aligner>``.
    """

    folder: Path

    def get(self, photo_digest: str) -> StoredFace | None:
        """Return a face, or None if it is absent or damaged."""
        try:
            header, _, png = self._path(photo_digest).read_bytes().partition(b"\n")
            values = json.loads(header)
            whole = hashlib.sha256(png).hexdigest() == values["sha256"]
            if whole and values["photo"] == photo_digest:
                boxes = tuple(_box(box) for box in values["boxes"])
                framing = Framing(_box(values["crop"]), boxes)
                return StoredFace(png, framing, values.get("checked") is True)
        except (OSError, ValueError, KeyError, TypeError):
            pass
        return None

    def put(self, photo_digest: str, face: StoredFace) -> None:
        """Keep a face.

        Raises
        ------
        CacheError
            If it cannot be written.
        """
        values = {
            "photo": photo_digest,
            "sha256": hashlib.sha256(face.png).hexdigest(),
            "crop": face.framing.crop,
            "boxes": face.framing.boxes,
            "checked": face.checked,
        }
        header = json.dumps(values)
        path = self._path(photo_digest)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, header.encode() + b"\n" + face.png, durable=False)
        except OSError as error:
            raise CacheError(
                f"aligned face {path} cannot be written ({error.strerror}). Free space or name "
                "another folder with --facenet-cache."
            ) from None

    def _path(self, photo_digest: str) -> Path:
        return self.folder / photo_digest[:2] / f"{photo_digest}.face"


def _box(values: Sequence[float]) -> Box:
    x1, y1, x2, y2 = values
    return float(x1), float(y1), float(x2), float(y2)
