"""Folders that may not be searched, for tests that root runs too: root may search them all."""

from __future__ import annotations

import builtins
import errno
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

_BY_PATH = ("stat", "lstat", "open", "scandir", "listdir", "mkdir", "access", "readlink", "utime")


def close_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse whatever asks the system for something in a folder, with EACCES.

    The folder itself can be looked at, as with ``chmod 0``, but neither listed nor searched.
    """
    inside, itself = f"{folder}/", str(folder)

    def refuses(name: str, path: object) -> bool:
        if not isinstance(path, str | bytes | os.PathLike):
            return False
        text = os.path.abspath(os.fsdecode(path))  # noqa: PTH100
        return text.startswith(inside) or (text == itself and name in ("scandir", "listdir"))

    def guarded(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Any = ".", *arguments: Any, **keywords: Any) -> Any:
            if refuses(name, path):
                if name == "access":
                    return False
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), os.fspath(path))
            return real(path, *arguments, **keywords)

        return call

    for name in _BY_PATH:
        monkeypatch.setattr(os, name, guarded(name, getattr(os, name)))
    opened = guarded("open", io.open)
    monkeypatch.setattr(io, "open", opened)
    monkeypatch.setattr(builtins, "open", opened)
