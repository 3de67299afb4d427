"""Where the report's pictures lie, and how they are written."""

from __future__ import annotations

from pathlib import Path

from facenet_validate.base.errors import SettingsError
from facenet_validate.base.files import write_whole

FOLDER = "pictures"
"""In the report's folder."""


def write_picture(path: Path, content: bytes) -> None:
    """Write a picture whole; its name has the digest of what it shows, so none replaces another.

    Raises
    ------
    SettingsError
        If it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)
    except OSError as error:
        raise SettingsError(
            f"report picture {path} cannot be written ({error.strerror}). Free space or name "
            "another folder with --facenet-report."
        ) from None
