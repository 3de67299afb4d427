"""What happens between two steps of a removal. The rest: tests/test_cli_cache.py."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from facenet_validate.base.errors import CacheError
from facenet_validate.cache import Cache, locks, upkeep
from facenet_validate.cache.contents import contents
from facenet_validate.cache.upkeep import Removal, prunable, remove

DAY = 86400.0


@pytest.fixture
def old(tmp_path: Path) -> Removal:
    """An entry that was not used for two days, to be removed."""
    entry = Cache(tmp_path).get_or_build("int8", {"a": 1}, "m", lambda path: path.touch())
    then = time.time() - 2 * DAY
    os.utime(entry.path.parent, (then, then))
    return prunable(contents(tmp_path), now=time.time(), older_than=DAY)[0]


def test_one_used_since_it_was_listed_stays(old: Removal) -> None:
    os.utime(old.item.path)
    assert not remove(old)
    assert old.item.path.exists()


def test_one_used_while_it_is_removed_is_put_back(
    old: Removal, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside = locks.beside

    def reader_comes(folder: Path, prefix: str) -> Path:
        os.utime(folder)
        return beside(folder, prefix)

    monkeypatch.setattr(upkeep, "beside", reader_comes)
    assert not remove(old)
    assert (old.item.path / "m").exists()


def test_a_removal_that_was_killed_leaves_no_half_entry(
    old: Removal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(path: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(upkeep, "_delete", killed)
    with pytest.raises(KeyboardInterrupt):
        remove(old)
    monkeypatch.undo()
    assert not old.item.path.exists()
    (left,) = prunable(contents(tmp_path), now=time.time())
    assert left.why == "left by a killed process"
    assert remove(left)
    assert contents(tmp_path) == ()


def test_one_that_is_gone_already_is_removed(old: Removal) -> None:
    assert remove(old)
    assert remove(old)


def test_what_cannot_be_removed_is_named(old: Removal, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, target: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(CacheError, match=r"cannot be removed \(Permission denied\)"):
        remove(old)
    assert old.item.path.exists()
