"""Paths that users name: the one place where text becomes a path of an option or argument.

What is not there yet, or is of the wrong kind, is told by whoever needs it: only they know what
was expected. Here is refused what the system would not even look at, which every later step would
meet as an error of its own: a name too long, a loop of links, a folder that may not be searched.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from facenet_validate.base.errors import SettingsError
from facenet_validate.base.wording import path_text, quoted, reason

_ABSENT = (errno.ENOENT, errno.ENOTDIR)


def named_path(text: str, origin: str, folder: Path | None = None) -> Path:
    """Return the path that a user named.

    Parameters
    ----------
    text : str
        As it was written; ``~`` and ``~user`` are expanded.
    origin : str
        The option, variable or argument, for messages.
    folder : Path, optional
        Where a relative path starts. Without it a relative path stays relative.

    Raises
    ------
    SettingsError
        If the text is empty, is no path, names a user who does not exist, is not UTF-8, or if the
        system refuses to look at the path.
    """
    if not text.strip():
        raise SettingsError(
            f"{origin} is empty; expected a path. Leave the option out, or give a value."
        )
    if "\0" in text:
        raise SettingsError(f"{origin}: {quoted(text)} has a NUL character; expected a path.")
    try:
        path = Path(text).expanduser()
    except RuntimeError:
        raise SettingsError(
            f"{origin}: {quoted(text)}; expected a path whose ~user exists."
        ) from None
    if folder is not None:
        path = Path(os.path.normpath(folder / path))
    return checked(path, origin)


def checked(path: Path, origin: str) -> Path:
    """Return a path if the system looks at it, whether something is there or not.

    Raises
    ------
    SettingsError
        If its name is too long or not UTF-8, it is a loop of links, or a folder on the way may not
        be searched. One line, which names the path and the reason.
    """
    try:
        # Libraries that read models and photos take paths as UTF-8, and so do reports.
        os.fspath(path).encode("utf-8")
    except UnicodeEncodeError:
        raise SettingsError(
            f"{origin}: {path_text(path)}: its name is not UTF-8. Rename it, or name another."
        ) from None
    try:
        path.stat()
    except OSError as error:
        if error.errno not in _ABSENT:
            raise SettingsError(
                f"{origin}: {path_text(path)}: cannot be looked at ({reason(error)}). Name another "
                "path, or make this one accessible."
            ) from None
    return path
