"""Pipes, devices, folders and links where photos or lists are expected: none is waited for."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from facenet_validate.base.errors import DatasetError
from facenet_validate.cache import Cache
from facenet_validate.cli import main
from facenet_validate.commands.prepare import read_faces
from facenet_validate.datasets.archive import extract
from facenet_validate.datasets.calibration import faces_in
from facenet_validate.datasets.csv_pairs import load_csv
from facenet_validate.datasets.faces import already_aligned
from facenet_validate.datasets.pairs import read_pairs
from tests.datasets.odd_sets import load, picture, used, write, write_set
from tests.models.small_facenet import small_facenet
from tests.waiting import HANG


@pytest.fixture(autouse=True)
def _nothing_but_files_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening a pipe would wait: it fails instead."""
    opened = Path.open

    def careful(path: Path, *arguments: Any, **keywords: Any) -> Any:
        assert path.is_file() or path.is_dir() or not path.exists(), f"{path} was opened"
        return opened(path, *arguments, **keywords)

    monkeypatch.setattr(Path, "open", careful)
    monkeypatch.setattr(Path, "read_bytes", lambda path: careful(path, "rb").read())


Place = Callable[[Path, str], None]


@pytest.fixture
def place() -> Iterator[Place]:
    """Put what is no file somewhere; a pipe has a writer, so that no reader waits for ever."""
    pipes: list[tuple[Path, threading.Thread]] = []

    def put(path: Path, kind: str) -> None:
        if kind == "folder":
            path.mkdir()
        elif kind == "pipe":
            os.mkfifo(path)
            pipes.append((path, threading.Thread(target=_write, args=(path,), daemon=True)))
            pipes[-1][1].start()
        elif kind == "socket":
            _bind(path)
        else:
            path.symlink_to({"device": os.devnull, "loop": path.name, "dangling": "nowhere"}[kind])

    yield put
    for path, writer in pipes:
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        writer.join(HANG)
        os.close(reader)


def _write(path: Path) -> None:
    os.close(os.open(path, os.O_WRONLY))


def _bind(path: Path) -> None:
    # The path of a socket may be short only.
    before = Path.cwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(path.name)
    finally:
        os.chdir(before)


KINDS = ["folder", "pipe", "socket", "device", "loop", "dangling"]

LISTS: dict[str, Callable[[Path], object]] = {
    "pairs CSV": load_csv,
    "pairs file": read_pairs,
    "archive": lambda path: extract(path, "", path.parent),
    "photo": lambda path: already_aligned(["a"], [path]),
}

SAYS = {
    "folder": "it is a folder, expected a file",
    "pipe": "it is a pipe, expected a file",
    "socket": "it is a socket, expected a file",
    "device": "it is a device, expected a file",
    "loop": "Too many levels of symbolic links",
    "dangling": "No such file or directory",
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("what", LISTS)
def test_what_is_no_file_is_one_line(tmp_path: Path, what: str, kind: str, place: Place) -> None:
    path = tmp_path / "p.csv"
    place(path, kind)
    said = ""
    try:
        LISTS[what](path)
    except DatasetError as error:
        said = str(error)
    assert said.startswith(f"{what} {path}: ")
    assert SAYS[kind] in said
    assert "\n" not in said


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    for number in range(8):
        write(tmp_path / "faces", f"Other_{number:04d}.png", picture(number))
    return tmp_path / "faces"


@pytest.mark.parametrize("name", ["A.png", "Ann/1.jpg", "Zed/z.JPEG"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_photo_is_passed_over_among_faces(
    faces: Path, kind: str, name: str, place: Place
) -> None:
    before = read_faces(faces)
    (faces / name).parent.mkdir(exist_ok=True)
    place(faces / name, kind)
    try:
        found = read_faces(faces)
    except DatasetError as error:
        pytest.fail(f"refused: {error}")
    np.testing.assert_array_equal(found, before)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_photo_is_passed_over_in_lfws_layout(
    tmp_path: Path, kind: str, place: Place
) -> None:
    folder = write_set(tmp_path / "set")
    before = used(folder)
    place(folder / "Zoe" / "Zoe_0003.png", kind)
    try:
        assert used(folder) == before
    except DatasetError as error:
        pytest.fail(f"refused: {error}")
    assert load(folder).notes.left_out == (("Zoe/Zoe_0003.png",) if kind != "folder" else ())


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("many")
    for number in range(500):
        write(folder, f"Other_{number}/Other_{number}_0001.png", picture(number))
    return folder


def test_they_are_told_where_faces_are_calibrated_on(
    many: Path, copy_of: Callable[[Path], Path], shared_cache: Cache, place: Place
) -> None:
    folder = copy_of(many)
    for kind in KINDS:
        (folder / kind).mkdir()
        place(folder / kind / "1.png", kind)
    try:
        found = faces_in(folder, None, shared_cache, 1)
    except DatasetError as error:
        pytest.fail(f"refused: {error}")
    assert len(found.faces.names) == 500
    (line,) = found.notes
    assert "passed over: 5 (dangling/1.png, device/1.png, loop/1.png, pipe/1.png" in line


def test_prepare_passes_a_pipe_over(
    faces: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    place: Place,
) -> None:
    monkeypatch.chdir(tmp_path)
    onnx.save(small_facenet(), "mine.onnx")
    place(faces / "A.jpg", "pipe")
    command = ["prepare", "mine.onnx", "--faces", str(faces), "--cache", "cache", "-o", "out.onnx"]
    assert main(command) == 0, capsys.readouterr().err


def test_a_run_refuses_a_pipe_for_pairs(pytester: pytest.Pytester, place: Place) -> None:
    place(pytester.path / "p.csv", "pipe")
    write(pytester.path, "baselines/gates.toml", b"schema = 1\n[gates.any.any.any]\n")
    pytester.makepyfile("def test_it(facenet_sets):\n    pass\n")
    result = pytester.runpytest_inprocess("--collect-only", "--facenet-pairs=p.csv")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "it is a pipe, expected a file" in "\n".join(result.outlines + result.errlines)


def test_folders_that_are_links_hold_photos(faces: Path, tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    for path in sorted(faces.iterdir()):
        (tmp_path / "store" / path.stem).mkdir()
        path.rename(tmp_path / "store" / path.stem / "1.png")
        (faces / path.stem).symlink_to(tmp_path / "store" / path.stem)
    (tmp_path / "linked").symlink_to(faces)
    for folder in (faces, tmp_path / "linked"):
        try:
            found = read_faces(folder)
        except DatasetError as error:
            pytest.fail(f"refused: {error}")
        assert found.shape == (8, 160, 160, 3)


def test_a_person_of_the_pairs_is_found_behind_a_link(
    many: Path, copy_of: Callable[[Path], Path], tmp_path: Path, shared_cache: Cache
) -> None:
    evaluation = load(write_set(tmp_path / "set"))
    folder = copy_of(many)
    write(tmp_path, "store/1.png", picture(9000))
    (folder / "Aaron").symlink_to(tmp_path / "store")
    (folder / "Anna").symlink_to(tmp_path / "store")
    with pytest.raises(DatasetError, match=r"Anna/1.png: shows Anna, who is in the evaluation"):
        faces_in(folder, evaluation, shared_cache, 1)


def test_links_to_folders_may_lead_round(faces: Path) -> None:
    before = read_faces(faces)
    for name, to in (("a", ".."), ("b", "."), ("b/c", "../../faces"), ("d", "d")):
        (faces / name).parent.mkdir(exist_ok=True)
        if not (faces / name).is_symlink():
            (faces / name).symlink_to(to)
    try:
        found = read_faces(faces)
    except (DatasetError, OSError) as error:
        pytest.fail(f"refused: {error}")
    assert found.shape[1:] == before.shape[1:]
    np.testing.assert_array_equal(found[: len(before)], before)


def test_links_without_an_end_are_one_line(faces: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from facenet_validate.datasets import photo_files

    monkeypatch.setattr(photo_files, "MOST_VISITS", 50)
    for one in range(5):
        (faces / str(one)).mkdir()
        for other in range(5):
            (faces / str(one) / f"to {other}").symlink_to(f"../{other}")
    with pytest.raises(DatasetError, match=r"faces: links in it lead to the same folders"):
        read_faces(faces)
