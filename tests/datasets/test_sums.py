from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from facenet_validate.datasets.sums import SUMS, changed_file, write_sums


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "Ann").mkdir()
    (tmp_path / "Ann" / "1.png").write_bytes(b"one")
    (tmp_path / "pairs.txt").write_bytes(b"")
    write_sums(tmp_path)
    return tmp_path


def test_the_list_is_that_of_sha256sum(folder: Path) -> None:
    digests = [hashlib.sha256(content).hexdigest() for content in (b"one", b"")]
    assert (folder / SUMS).read_text() == f"{digests[0]}  Ann/1.png\n{digests[1]}  pairs.txt\n"


def test_an_unchanged_folder_has_no_changed_file(folder: Path) -> None:
    told: list[tuple[int, int]] = []
    assert changed_file(folder, lambda done, total: told.append((done, total))) == ""
    assert told == [(1, 2), (2, 2)]


@pytest.mark.parametrize("change", ["changed", "removed", "added", "a pipe"])
def test_what_differs_from_the_list_is_named(folder: Path, change: str) -> None:
    path = folder / "Ann" / ("2.png" if change == "added" else "1.png")
    if change in ("removed", "a pipe"):
        path.unlink()
    if change == "a pipe":
        os.mkfifo(path)
    elif change != "removed":
        path.write_bytes(b"other")
    assert changed_file(folder) == f"Ann/{path.name}"


@pytest.mark.parametrize("content", [b"\xff\xfe", b"no list"])
def test_a_list_that_is_none_is_refused(folder: Path, content: bytes) -> None:
    (folder / SUMS).write_bytes(content)
    with pytest.raises(ValueError, match=r"decode|is not a digest and a name"):
        changed_file(folder)


def test_a_missing_list_is_an_error(folder: Path) -> None:
    (folder / SUMS).unlink()
    with pytest.raises(FileNotFoundError):
        changed_file(folder)
