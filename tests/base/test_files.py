from __future__ import annotations

import os
from pathlib import Path
from typing import IO

import pytest

from facenet_validate.base.files import check_regular, is_regular, write_whole


def test_a_file_and_a_link_to_it_are_regular(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")
    for path in (tmp_path / "file", tmp_path / "link"):
        assert is_regular(path)
        check_regular(path)


def test_what_is_not_a_file_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, kind in ((tmp_path, "a folder"), (tmp_path / "pipe", "a pipe")):
        assert not is_regular(path)
        with pytest.raises(OSError, match=f"it is {kind}, expected a file"):
            check_regular(path)
    for check in (is_regular, check_regular):
        with pytest.raises(FileNotFoundError):
            check(tmp_path / "nothing")


@pytest.mark.parametrize("durable", [True, False])
def test_a_file_is_replaced_in_one_step(tmp_path: Path, durable: bool) -> None:
    path = tmp_path / ("n" * 255)
    path.write_bytes(b"old")
    write_whole(path, b"new", durable=durable)
    assert path.read_bytes() == b"new"

    def broken(file: IO[bytes]) -> None:
        file.write(b"a part")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_whole(path, broken, durable=durable)
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]
