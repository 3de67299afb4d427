"""Downloads from a server on this machine that does what servers do: break off, lie, vanish."""

from __future__ import annotations

import hashlib
import io
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from facenet_validate.base.errors import DatasetError
from facenet_validate.base.progress import Progress
from facenet_validate.datasets import download
from facenet_validate.datasets.download import Remote, downloaded_lfw, fetch, lfw_folder
from facenet_validate.datasets.layout import find_layout
from facenet_validate.datasets.sums import SUMS
from tests.waiting import HANG

STAGE = Progress(None).stage
PAIRS = b"2\t1\nAnn\t1\t2\nAnn\t1\tBob\t1\nCid\t1\t2\nCid\t1\tDan\t1\n"


def _archive() -> bytes:
    """An archive of photos in people's folders, of some thousand bytes that do not compress."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for person in ("Ann", "Bob", "Cid", "Dan"):
            for number in (1, 2):
                name = f"lfw_funneled/{person}/{person}_{number:04d}.jpg"
                content = b"".join(
                    hashlib.sha256(f"{name} {block}".encode()).digest() for block in range(300)
                )
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return stream.getvalue()


ARCHIVE = _archive()


def _remote(name: str, content: bytes) -> Remote:
    return Remote(name, "http://nowhere.invalid/", hashlib.sha256(content).hexdigest())


LIST, PHOTOS = _remote("pairs.txt", PAIRS), _remote("photos.tgz", ARCHIVE)


@dataclass
class Server:
    """What a server has, and what it was asked for."""

    files: dict[str, bytes] = field(
        default_factory=lambda: {"/pairs.txt": PAIRS, "/photos.tgz": ARCHIVE}
    )
    breaks_after: list[int] = field(default_factory=list)
    lies: list[bytes] = field(default_factory=list)
    knows_ranges: bool = True
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    address: str = ""


@contextmanager
def serving(server: Server) -> Iterator[Server]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            server.asked.append((self.path, wanted))
            content = server.files.get(self.path)
            if content is None:
                self.send_error(404)
                return
            if self.path == "/photos.tgz" and server.lies:
                content = server.lies.pop(0)
            start = 0
            if wanted and server.knows_ranges:
                start = int(wanted.removeprefix("bytes=").removesuffix("-"))
                if start >= len(content):
                    self.send_error(416)
                    return
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/*")
            else:
                self.send_response(200)
            rest = content[start:]
            self.send_header("Content-Length", str(len(rest)))
            self.end_headers()
            if self.path == "/photos.tgz" and server.breaks_after:
                rest = rest[: server.breaks_after.pop(0)]
            self.wfile.write(rest)

        def log_message(self, *arguments: object) -> None:
            """Keep quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        server.address = f"http://127.0.0.1:{http.server_port}"
        try:
            yield server
        finally:
            http.shutdown()
            thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(Server()) as running:
        yield running


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    monkeypatch.setattr("facenet_validate.datasets.download._TIMEOUT", HANG)


Fetch = Callable[[], bool]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "lfw" / "funneled"


@pytest.fixture
def fetched(server: Server, folder: Path) -> Fetch:
    return lambda: fetch((LIST,), PHOTOS, folder, STAGE, mirror=server.address)


def _leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.parent.iterdir() if not path.name.endswith(".lock")]


def test_a_fetched_set_is_found_and_can_be_read(
    fetched: Fetch, folder: Path, tmp_path: Path
) -> None:
    assert downloaded_lfw(tmp_path / "cache") is None
    assert fetched()
    assert lfw_folder(tmp_path / "cache", "funneled") == folder
    assert downloaded_lfw(tmp_path / "cache") == folder
    layout = find_layout(folder)
    assert (layout.photos.name, len(layout.pairs.pairs)) == ("lfw_funneled", 4)
    assert _leftovers(folder) == ["funneled"]


def test_a_second_time_nothing_is_downloaded(fetched: Fetch, server: Server) -> None:
    fetched()
    server.asked.clear()
    assert not fetched()
    assert server.asked == []


def test_a_broken_connection_goes_on_where_it_ended(
    fetched: Fetch, server: Server, folder: Path
) -> None:
    server.breaks_after = [20_000]
    assert fetched()
    assert [wanted for path, wanted in server.asked if path == "/photos.tgz"] == [
        None,
        "bytes=20000-",
    ]
    assert (folder / "lfw_funneled" / "Dan" / "Dan_0002.jpg").is_file()


def test_an_interrupted_download_is_continued_by_the_next_command(
    fetched: Fetch, server: Server, folder: Path
) -> None:
    server.breaks_after = [10_000, 5_000, 5_000, 5_000]
    with pytest.raises(DatasetError, match=r"ended after 25000 of \d+ bytes"):
        fetched()
    assert not folder.exists()
    server.asked.clear()
    assert fetched()
    assert server.asked == [("/photos.tgz", "bytes=25000-")]


def test_a_server_that_knows_no_ranges_starts_anew(fetched: Fetch, server: Server) -> None:
    server.knows_ranges = False
    server.breaks_after = [20_000]
    assert fetched()
    assert len(server.asked) == 3


def test_a_wrong_file_is_tried_once_more(fetched: Fetch, server: Server) -> None:
    server.lies = [ARCHIVE[:-1] + b"x"]
    assert fetched()


def test_a_file_that_stays_wrong_is_refused_and_not_kept(
    fetched: Fetch, server: Server, folder: Path
) -> None:
    server.lies = [b"something else"] * 9
    with pytest.raises(DatasetError, match=f"expected sha256 {PHOTOS.sha256}"):
        fetched()
    assert not folder.exists()
    assert len([path for path, _ in server.asked if path == "/photos.tgz"]) == 2
    kept = folder.with_name(".funneled.downloading")
    assert [path.name for path in kept.iterdir()] == ["pairs.txt"]


def test_a_part_that_is_longer_than_the_file_is_given_up(fetched: Fetch, folder: Path) -> None:
    part = folder.with_name(".funneled.downloading") / "photos.tgz.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(ARCHIVE + b"more")
    assert fetched()


def test_a_file_that_is_not_there_says_so(fetched: Fetch, server: Server) -> None:
    del server.files["/photos.tgz"]
    with pytest.raises(DatasetError, match=r"404 Not Found .*--mirror"):
        fetched()


def test_a_server_that_is_gone_says_so(folder: Path) -> None:
    with serving(Server()) as gone:
        address = gone.address
    with pytest.raises(DatasetError, match=r"refused .*Check the connection"):
        fetch((LIST,), PHOTOS, folder, STAGE, mirror=address)


def test_other_schemes_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="expected an address that starts with http"):
        fetch((LIST,), PHOTOS, folder, STAGE, mirror=f"file://{tmp_path}")


def test_a_folder_of_somebody_else_is_left_alone(fetched: Fetch, folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "mine.txt").write_text("mine")
    with pytest.raises(DatasetError, match="was not made by this command"):
        fetched()
    assert (folder / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize("change", ["changed", "removed", "added"])
def test_a_damaged_set_is_named_and_left_alone(fetched: Fetch, folder: Path, change: str) -> None:
    fetched()
    photo = folder / "lfw_funneled" / "Ann" / "Ann_0001.jpg"
    if change == "removed":
        photo.unlink()
    elif change == "changed":
        photo.write_bytes(b"x")
    else:
        photo.with_name("Ann_0009.jpg").write_bytes(b"x")
    with pytest.raises(DatasetError, match="missing, changed or added"):
        fetched()
    assert (folder / SUMS).is_file()


def test_a_set_whose_list_is_damaged_is_left_alone(fetched: Fetch, folder: Path) -> None:
    fetched()
    (folder / SUMS).write_bytes(b"\xff\xfe")
    with pytest.raises(DatasetError, match=rf"missing, changed or added .* first {SUMS}"):
        fetched()


def test_an_archive_that_is_refused_leaves_no_folder(server: Server, folder: Path) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        tar.addfile(tarfile.TarInfo("../outside.jpg"), io.BytesIO(b""))
    server.files["/photos.tgz"] = stream.getvalue()
    hostile = _remote("photos.tgz", stream.getvalue())
    with pytest.raises(DatasetError, match="may leave the folder"):
        fetch((LIST,), hostile, folder, STAGE, mirror=server.address)
    assert not folder.exists()
    assert not (folder.parent / "outside.jpg").exists()


def test_a_full_disk_is_seen_before_the_download(
    fetched: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000})())
    with pytest.raises(DatasetError, match=r"0 MB free; the rest of pairs|photos"):
        fetched()


def test_what_is_larger_than_lfw_is_given_up(
    fetched: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "_MOST_BYTES", 10_000)
    with pytest.raises(DatasetError, match="that is not LFW"):
        fetched()
