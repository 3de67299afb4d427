from __future__ import annotations

import gzip
import hashlib
import io
import shutil
import tarfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from facenet_validate.base.errors import DatasetError
from facenet_validate.base.progress import Report
from facenet_validate.datasets.archive import extract


class Member(NamedTuple):
    name: str
    data: bytes = b"photo"
    type: bytes = tarfile.REGTYPE
    link: str = ""


GOOD = (
    Member("set", type=tarfile.DIRTYPE),
    Member("set/Ann", type=tarfile.DIRTYPE),
    Member("set/Ann/Ann_0001.jpg", b"one"),
    Member("./set/Ann/../Ann/x".replace("../Ann/", ""), b"two two"),
    Member(f"set/{'long' * 30}/Bob_0001.jpg", b""),
)
Make = Callable[[Iterable[Member]], Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def make(members: Iterable[Member]) -> Path:
        path = tmp_path / "photos.tgz"
        path.write_bytes(_tar(members))
        return path

    return make


def _tar(members: Iterable[Member], form: int = tarfile.PAX_FORMAT) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz", format=form) as tar:
        for member in members:
            info = tarfile.TarInfo(member.name)
            info.type, info.linkname = member.type, member.link
            info.mode = 0o4777
            if member.type in (tarfile.REGTYPE, tarfile.CONTTYPE):
                info.size = len(member.data)
            tar.addfile(info, io.BytesIO(member.data))
    return content.getvalue()


def _files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def _extract(path: Path, folder: Path, progress: Report | None = None) -> None:
    """Extract an archive whose bytes are the expected ones."""
    extract(path, hashlib.sha256(path.read_bytes()).hexdigest(), folder, progress)


def _out(tmp_path: Path) -> Path:
    (tmp_path / "deep" / "out").mkdir(parents=True)
    return tmp_path / "deep" / "out"


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_files_are_extracted_and_nothing_but_names_and_bytes(tmp_path: Path, form: int) -> None:
    path, out = tmp_path / "photos.tgz", _out(tmp_path)
    path.write_bytes(_tar(GOOD, form))
    seen: list[tuple[int, int]] = []
    _extract(path, out, lambda done, total: seen.append((done, total)))
    assert seen == [(done, 5) for done in range(1, 6)]
    assert _files(out) == {
        "set/Ann/Ann_0001.jpg": b"one",
        "set/Ann/x": b"two two",
        f"set/{'long' * 30}/Bob_0001.jpg": b"",
    }
    assert all(file.stat().st_mode & 0o7000 == 0 for file in out.rglob("*"))


HOSTILE = {
    "up": ([Member("set/../../escaped.jpg")], "may leave the folder"),
    "symlink": ([Member("set/link", type=tarfile.SYMTYPE, link="/etc")], "is a link"),
    "file through a symlink": (
        [Member("set", type=tarfile.SYMTYPE, link=".."), Member("set/escaped.jpg")],
        "is a link",
    ),
    "hard link": ([Member("set/link", type=tarfile.LNKTYPE, link="set/Ann/x")], "is a link"),
    "device": ([Member("set/zero", type=tarfile.CHRTYPE)], "a device"),
    "block device": ([Member("set/disk", type=tarfile.BLKTYPE)], "a device"),
    "pipe": ([Member("set/pipe", type=tarfile.FIFOTYPE)], "special file"),
}


@pytest.mark.parametrize(("added", "says"), HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("first", [False, True])
def test_a_hostile_archive_leaves_nothing(
    make: Make, tmp_path: Path, added: list[Member], says: str, first: bool
) -> None:
    path, out = make([*added, *GOOD] if first else [*GOOD, *added]), _out(tmp_path)
    with pytest.raises(DatasetError, match=says) as error:
        _extract(path, out)
    assert "Nothing was extracted" in str(error.value)
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "deep", out, path]


def test_an_absolute_name_is_extracted_inside_the_folder(make: Make, tmp_path: Path) -> None:
    out = _out(tmp_path)
    _extract(make([Member(f"{tmp_path}/escaped.jpg")]), out)
    assert not (tmp_path / "escaped.jpg").exists()
    assert list(_files(out)) == [f"{tmp_path}/escaped.jpg".lstrip("/")]


def test_other_bytes_than_the_expected_are_not_parsed(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, out = make(GOOD), _out(tmp_path)
    monkeypatch.setattr(tarfile, "open", lambda *_: pytest.fail("the archive was parsed"))
    with pytest.raises(DatasetError, match=f"its SHA-256 is not {'0' * 64}"):
        extract(path, "0" * 64, out)
    assert _files(out) == {}


def test_a_disk_without_room_is_told_before_anything_is_written(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, out = make(GOOD), _out(tmp_path)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10 + 3 * 4095))
    with pytest.raises(DatasetError, match=r"0 MB free; the photos of photos\.tgz need 0 MB"):
        _extract(path, out)
    assert _files(out) == {}


def test_what_is_no_archive_is_told(tmp_path: Path) -> None:
    path = tmp_path / "photos.tgz"
    with pytest.raises(DatasetError, match=r"photos\.tgz: No such file"):
        extract(path, "", tmp_path)
    for content in (b"", b"<html>not found</html>", gzip.compress(b"text"), _tar(GOOD)[:-30]):
        path.write_bytes(content)
        with pytest.raises(DatasetError, match="not a gzip-compressed tar archive, or damaged"):
            _extract(path, tmp_path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.data())
def test_a_damaged_archive_is_extracted_inside_or_refused(
    tmp_path: Path, data: st.DataObject
) -> None:
    content = bytearray(gzip.decompress(_tar(GOOD)))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, 5000))] = data.draw(st.integers(0, 255))
    path = tmp_path / "photos.tgz"
    path.write_bytes(gzip.compress(content, 1))
    out = tmp_path / "deep" / f"out{len(list(tmp_path.glob('deep/*')))}"
    out.mkdir(parents=True)
    before = set(tmp_path.rglob("*"))
    with suppress(DatasetError):
        _extract(path, out)
    assert all(path.is_relative_to(out) for path in set(tmp_path.rglob("*")) - before)
    assert not any(path.is_symlink() for path in out.rglob("*"))
