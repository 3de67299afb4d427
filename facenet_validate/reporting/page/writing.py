"""The page beside ``results.json``: which pictures it holds, and how it is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facenet_validate.base.files import is_regular, write_whole
from facenet_validate.reporting.folder import PAGE
from facenet_validate.reporting.page.render import render

MOST_BYTES = 4_500_000
"""Of all pictures together: as text they take a third more, and a page stays below 8 MB."""

_AS_IT_IS = 60_000
_LARGEST = 50_000_000


def write_page(folder: Path, document: Mapping[str, Any]) -> Path:
    """Write the page of a report beside it.

    Parameters
    ----------
    folder : Path
        The report's folder, which holds the pictures that the document names.
    document : mapping
        What ``results.json`` holds.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    path = folder / PAGE
    write_whole(path, render(document, PictureFolder(folder).read).encode())
    return path


@dataclass
class PictureFolder:
    """Reads pictures of a report's folder until a page is full.

    Attributes
    ----------
    path : Path
        The folder.
    room : int
        Bytes that still fit in the page.
    """

    path: Path
    room: int = MOST_BYTES

    def read(self, name: str) -> bytes | None:
        """Return a picture, a large one as a JPEG; None where there is none, or no room.

        A name that leads out of the folder has none: a report may come from anywhere.
        """
        path = (self.path / name).resolve()
        try:
            inside = path.is_relative_to(self.path.resolve())
            if not inside or not is_regular(path) or path.stat().st_size > _LARGEST:
                return None
            content = _small(path.read_bytes())
        except OSError:
            return None
        if content is None or len(content) > self.room:
            return None
        self.room -= len(content)
        return content


def _small(content: bytes) -> bytes | None:
    """Return a picture as it is where it is small, else as a JPEG; None for what is no picture."""
    if not content.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")):
        return None
    if len(content) <= _AS_IT_IS:
        return content
    import cv2
    import numpy as np

    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    if pixels is None:
        return None
    _, made = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 80])
    return bytes(made.tobytes())
