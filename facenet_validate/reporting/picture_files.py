"""Where the report's pictures lie, and how they are written."""

from __future__ import annotations

from pathlib import Path

from facenet_validate.base.errors import SettingsError
from facenet_validate.base.files import write_whole

FOLDER = "pictures"


def write_picture(report: Path, name: str, content: bytes) -> str:
    """Write a picture whole, and return its path from the report's folder.

    Parameters
    ----------
    report : Path
        The report's folder.
    name : str
        Of the file. A picture of this name is replaced.
    content : bytes

    Raises
    ------
    SettingsError
        If it cannot be written.
    """
    path = report / FOLDER / name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)
    except OSError as error:
        raise SettingsError(
            f"report picture {path} cannot be written ({error.strerror}). Free space or name "
            "another folder with --facenet-report."
        ) from None
    return f"{FOLDER}/{name}"
