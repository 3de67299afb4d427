"""What a cache does on a disk of one megabyte, and on a disk that cannot be written.

Run inside a mount namespace of its own, so that no mount outlives it:
``unshare --map-root-user --mount python -m tests.cache.small_disk FOLDER``.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from facenet_validate.base.errors import CacheError
from facenet_validate.cache import Cache

INPUTS = {"model": "a" * 64}


def main(folder: Path) -> None:
    """Fill the disk, take a hit from it, make it read only, take a hit again."""
    _run("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder))
    cache = Cache(folder / "cache")
    cache.get_or_build("int8", INPUTS, "m", lambda path: _write(path, 100_000))
    _refused(cache, lambda path: _write(path, 2_000_000), "is full")
    _refused(cache, lambda path: np.save(path, np.zeros(2_000_000, np.uint8)), "is full")
    _refused(cache, _leave_no_room_for_the_manifest, "is full")
    left = [path.name for path in (cache.root / "v2" / "int8").iterdir()]
    assert [name for name in left if not name.endswith(".lock")] == [_hit(cache)], left
    _run("mount", "-o", "remount,ro", str(folder))
    _hit(cache)
    _refused(cache, lambda path: _write(path, 1), "cannot be written")
    _hit(cache)


def _run(*command: str) -> None:
    subprocess.run(command, check=True)


def _write(path: Path, size: int) -> None:
    path.write_bytes(b"x" * size)


def _leave_no_room_for_the_manifest(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        try:
            while file.write(b"x" * 4096) == 4096:
                pass
        except OSError:
            return


def _refused(cache: Cache, build: Callable[[Path], None], says: str) -> None:
    with pytest.raises(CacheError, match=says):
        cache.get_or_build("int8", {"model": "b" * 64}, "m", build)


def _hit(cache: Cache) -> str:
    entry = cache.get_or_build("int8", INPUTS, "m", lambda path: _write(path, 1))
    assert entry.hit
    assert entry.read() == b"x" * 100_000
    return entry.key


if __name__ == "__main__":
    main(Path(sys.argv[1]))
