from __future__ import annotations

import gzip
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
from facenet_validate.datasets.archive import Contents, Limits, extract, inspect


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


def _out(tmp_path: Path) -> Path:
    (tmp_path / "deep" / "out").mkdir(parents=True)
    return tmp_path / "deep" / "out"


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_files_are_extracted_and_nothing_but_names_and_bytes(tmp_path: Path, form: int) -> None:
    path, out = tmp_path / "photos.tgz", _out(tmp_path)
    path.write_bytes(_tar(GOOD, form))
    seen: list[tuple[int, int]] = []
    found = extract(path, out, progress=lambda done, total: seen.append((done, total)))
    assert found == inspect(path) == Contents(3, 10)
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert _files(out) == {
        "set/Ann/Ann_0001.jpg": b"one",
        "set/Ann/x": b"two two",
        f"set/{'long' * 30}/Bob_0001.jpg": b"",
    }
    assert all(file.stat().st_mode & 0o7000 == 0 for file in out.rglob("*"))


HOSTILE = {
    "up": ([Member("set/../../escaped.jpg")], "may leave the folder"),
    "absolute": ([Member("/tmp/escaped.jpg")], "may leave the folder"),
    "backslash": ([Member("set\\..\\escaped.jpg")], "may leave the folder"),
    "line break": ([Member("set/a\nb.jpg")], "may leave the folder"),
    "no name": ([Member(".")], "a file without a name"),
    "long name": ([Member("x" * 300)], "too long a name"),
    "symlink": ([Member("set/link", type=tarfile.SYMTYPE, link="/etc")], "is a link"),
    "file through a symlink": (
        [Member("set", type=tarfile.SYMTYPE, link=".."), Member("set/escaped.jpg")],
        "is a link",
    ),
    "hard link": ([Member("set/link", type=tarfile.LNKTYPE, link="set/Ann/x")], "is a link"),
    "device": ([Member("set/zero", type=tarfile.CHRTYPE)], "a device"),
    "block device": ([Member("set/disk", type=tarfile.BLKTYPE)], "a device"),
    "pipe": ([Member("set/pipe", type=tarfile.FIFOTYPE)], "special file"),
    "contiguous": ([Member("set/cont", type=tarfile.CONTTYPE)], "special file"),
    "twice": ([Member("set/Ann/x")], "comes twice"),
    "twice, spelt otherwise": ([Member("set//Ann/./x")], "comes twice"),
    "a file as folder": ([Member("set/Ann/x/y.jpg")], "lies in a file"),
    "a folder as file": ([Member("set/Ann")], "comes twice"),
    "a folder over a file": ([Member("set/Ann/x", type=tarfile.DIRTYPE)], "comes twice"),
    "large file": ([Member("set/large.jpg", bytes(2001))], "has 2001 bytes"),
    "many": ([Member(f"set/{number}") for number in range(21)], "more than 20 members"),
}


@pytest.mark.parametrize(("added", "says"), HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("first", [False, True])
def test_a_hostile_archive_leaves_nothing(
    make: Make, tmp_path: Path, added: list[Member], says: str, first: bool
) -> None:
    good = [member for member in GOOD if not first or "comes twice" in says or "lies" in says]
    path, out = make([*good, *added] if not first else [*added, *good]), _out(tmp_path)
    if first and ("comes twice" in says or "lies in" in says):
        says = "comes twice|lies in a file"  # whichever of the two comes second
    with pytest.raises(DatasetError, match=says) as error:
        extract(path, out, Limits(members=20, file_bytes=2000))
    assert "Nothing was extracted" in str(error.value)
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "deep", out, path]
    assert not Path("/tmp/escaped.jpg").exists()


def test_a_bomb_is_met_before_it_is_unpacked(make: Make, tmp_path: Path) -> None:
    path = make([Member(f"{number}.jpg", bytes(10**6)) for number in range(30)])
    assert path.stat().st_size < 10**5
    with pytest.raises(DatasetError, match="larger when decompressed"):
        inspect(path, Limits(total_bytes=20 * 10**6))
    assert inspect(path) == Contents(30, 30 * 10**6)


def test_a_name_of_gigabytes_is_not_read_into_memory(tmp_path: Path) -> None:
    header = tarfile.TarInfo("././@PaxHeader")
    header.type, header.size = tarfile.XHDTYPE, 7 * 2**30
    path = tmp_path / "photos.tgz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(header.tobuf())
        for _ in range(40):
            file.write(bytes(10**6))
    with pytest.raises(DatasetError, match="larger when decompressed"):
        inspect(path)


def test_a_sparse_file_is_refused(tmp_path: Path) -> None:
    header = tarfile.TarInfo("sparse.jpg")
    header.size = 512
    header.pax_headers = {"GNU.sparse.size": "9999999", "GNU.sparse.map": "0,1"}
    pax = header.create_pax_header(header.get_info(), "utf-8")
    path = tmp_path / "photos.tgz"
    path.write_bytes(gzip.compress(pax + bytes(2048)))
    with pytest.raises(DatasetError, match=r"sparse\.jpg' is a link, a device or another special"):
        inspect(path)


def test_what_is_there_is_not_overwritten(make: Make, tmp_path: Path) -> None:
    path, out = make(GOOD), _out(tmp_path)
    (out / "set" / "Ann").mkdir(parents=True)
    (out / "set" / "Ann" / "x").write_bytes(b"mine")
    with pytest.raises(DatasetError, match=r"set/Ann/x: File exists"):
        extract(path, out)
    assert (out / "set" / "Ann" / "x").read_bytes() == b"mine"


def test_a_disk_without_room_is_told_before_anything_is_written(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, out = make(GOOD), _out(tmp_path)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10 + 3 * 4095))
    with pytest.raises(DatasetError, match=r"0 MB free; the photos of photos\.tgz need 0 MB"):
        extract(path, out)
    assert _files(out) == {}


def test_what_is_no_archive_is_told(tmp_path: Path) -> None:
    path = tmp_path / "photos.tgz"
    with pytest.raises(DatasetError, match=r"photos\.tgz: No such file"):
        inspect(path)
    for content in (b"", b"<html>not found</html>", gzip.compress(b"text"), _tar(GOOD)[:-30]):
        path.write_bytes(content)
        with pytest.raises(DatasetError, match="not a gzip-compressed tar archive, or damaged"):
            inspect(path)


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
        extract(path, out, Limits(total_bytes=10**7, file_bytes=10**5))
    assert all(path.is_relative_to(out) for path in set(tmp_path.rglob("*")) - before)
    assert not any(path.is_symlink() for path in out.rglob("*"))
