"""Cache folders with something else in the place of ours: errors name it, commands pass it by."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from facenet_validate.base.errors import CacheError
from facenet_validate.cache import Cache, check_writable
from facenet_validate.cli import main
from facenet_validate.datasets.download import downloaded_lfw
from facenet_validate.datasets.face_store import FaceStore, StoredFace
from facenet_validate.datasets.framing import Framing
from facenet_validate.datasets.synthetic_cache import synthetic_folder
from facenet_validate.models.quantization.sensitivity import LossStore
from tests.closed_folders import close_folder

FRAMED = Framing((0.0, 0.0, 2.0, 2.0), ((0.0, 0.0, 1.0, 1.0),))


def _entry(root: Path) -> None:
    Cache(root).get_or_build("int8", {"x": 1}, "model.onnx", lambda path: path.touch())


def _face(root: Path) -> None:
    FaceStore(root / "faces" / "mtcnn").put("d" * 64, StoredFace(b"png", FRAMED))


def _loss(root: Path) -> None:
    LossStore(root / "tuning" / "x.jsonl", lambda keep: 0.5)(frozenset())


def _drawn(root: Path) -> None:
    synthetic_folder(Cache(root))


# What is made, and the folders on the way to it.
USES: list[tuple[Callable[[Path], None], str]] = [
    (_entry, "v2"),
    (_entry, "v2/int8"),
    (_face, "faces"),
    (_face, "faces/mtcnn"),
    (_face, "faces/mtcnn/dd"),
    (_loss, "tuning"),
    (_drawn, "synthetic"),
]


def _occupy(path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "a file":
        path.write_text("in the way")
    elif kind == "a loop":
        path.symlink_to(path.name)
    elif kind == "a dangling link":
        path.symlink_to("nowhere/at/all")
    elif kind == "a pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
        close_folder(path, monkeypatch)


KINDS = ["a file", "a loop", "a dangling link", "a pipe", "a closed folder"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("use", "place"), USES, ids=lambda value: str(value).partition(" at ")[0])
def test_what_is_in_the_way_is_named(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    use: Callable[[Path], None],
    place: str,
    kind: str,
) -> None:
    _occupy(tmp_path / place, kind, monkeypatch)
    try:
        use(tmp_path)
        found: object = "no error"
    except Exception as error:
        found = error
    assert isinstance(found, CacheError), repr(found)
    assert str(tmp_path) in str(found)
    assert "\n" not in str(found)
    if kind == "a file":
        assert str(tmp_path / place) in str(found)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", ["v2", "lfw", "lfw/funneled"])
def test_a_cache_can_be_checked_whatever_is_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, kind: str
) -> None:
    _occupy(tmp_path / place, kind, monkeypatch)
    check_writable(tmp_path)
    assert downloaded_lfw(tmp_path) is None


def test_a_cache_folder_that_is_closed_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "closed").mkdir()
    close_folder(tmp_path / "closed", monkeypatch)
    assert downloaded_lfw(tmp_path / "closed") is None
    try:
        check_writable(tmp_path / "closed")
        found: object = "no error"
    except Exception as error:
        found = error
    assert isinstance(found, CacheError), repr(found)
    assert "cannot be written (Permission denied)" in str(found)


ACTIONS = [["list"], ["explain"], ["verify"], ["prune"], ["prune", "--keep-bytes", "0"],
           ["prune", "--older-than", "0m"], ["clear", "--yes"]]  # fmt: skip


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache with an entry and a face."""
    Cache(tmp_path).get_or_build("plan", {"x": 1}, "engine.plan", lambda path: path.touch())
    return tmp_path


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "place", ["v2/int8", "faces", "tuning", "v2/mine", "mine", "v1", ".x.lock"]
)
@pytest.mark.parametrize("action", ACTIONS, ids=" ".join)
def test_commands_pass_by_what_is_not_as_expected(
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    action: list[str],
    place: str,
    kind: str,
) -> None:
    _occupy(cache / place, kind, monkeypatch)
    code, said, told = _run(cache, action, capsys)
    assert code == 0, told
    assert "plan" in said or action in (["verify"], ["prune"], ["prune", "--keep-bytes", "0"])
    ours = place in ("v2/int8", "faces", "tuning")
    if kind == "a closed folder":
        assert f"{cache / place}: passed by, Permission denied" in told or place == ".x.lock"
    elif ours:
        assert f"{cache / place}: passed by, it is no folder" in told
    else:
        assert not told
    assert os.path.lexists(cache / place)


def _run(
    cache: Path, action: list[str], capsys: pytest.CaptureFixture[str]
) -> tuple[int, str, str]:
    try:
        code = main(["cache", *action, "--cache", str(cache)])
    except SystemExit as ended:
        code = int(ended.code or 0)
    except Exception as error:
        pytest.fail(f"{type(error).__name__}: {error}")
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    return code, said.out, said.err


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("action", ACTIONS, ids=" ".join)
def test_an_entry_that_is_none_is_no_traceback(
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    action: list[str],
    kind: str,
) -> None:
    _occupy(cache / "v2" / "plan" / ("e" * 64), kind, monkeypatch)
    code, _, told = _run(cache, action, capsys)
    assert code in (0, 1, 2)
    assert told.count("\n") <= 1
    if action == ["verify"]:
        assert code == 1


@pytest.mark.parametrize(
    "content",
    [b"\xff\xfe", b"e3b0  a\0b\n", b"no digest\n", b"00  ../../../dev/zero\n", b"00  .\n"],
)
def test_a_list_of_digests_that_is_none_is_damage(
    cache: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    folder = cache / "synthetic" / "1"
    folder.mkdir(parents=True)
    (folder / "SHA256SUMS").write_bytes(content)
    code, said, _ = _run(cache, ["verify"], capsys)
    assert code == 1
    assert f"DAMAGED  {folder}: " in said


def test_what_never_ends_is_not_read(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from facenet_validate.commands.cache import _listed_sums

    folder = cache / "synthetic" / "1"
    folder.mkdir(parents=True)
    (folder / "SHA256SUMS").symlink_to("/dev/zero")
    assert "it is a device, expected a file" in _listed_sums(folder)
    face = cache / "faces" / "mtcnn" / "dd" / f"{'d' * 64}.face"
    face.parent.mkdir(parents=True)
    face.symlink_to("/dev/zero")
    code, said, _ = _run(cache, ["verify"], capsys)
    assert code == 1
    assert "1 of 1 faces" in said


@pytest.mark.parametrize("action", [["clear", "--yes"], ["prune", "--older-than", "0m"]])
def test_what_cannot_be_removed_does_not_keep_the_rest(
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    action: list[str],
) -> None:
    Cache(cache).get_or_build("int8", {"x": 1}, "model.onnx", lambda path: path.touch())
    real = os.rename

    def rename(source: object, target: object) -> None:
        if "/int8/" in str(source):
            raise PermissionError(13, "Permission denied", str(source))
        real(source, target)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "rename", rename)
    code, said, told = _run(cache, action, capsys)
    assert code == 2
    assert "cannot be removed (Permission denied)" in told
    assert "removed  plan/" in said
    assert not list((cache / "v2" / "plan").glob("[0-9a-f]*"))
