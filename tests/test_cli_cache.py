from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from facenet_validate.cache import Cache, Entry
from facenet_validate.cache.locks import locked
from facenet_validate.cli import main
from facenet_validate.datasets.face_store import FaceStore, StoredFace
from facenet_validate.datasets.framing import Framing

HOUR, DAY = 3600.0, 86400.0

Say = Callable[..., str]

FRAMED = Framing((0.0, 0.0, 2.0, 2.0), ((0.0, 0.0, 1.0, 1.0),))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cache:
    monkeypatch.setenv("FACENET_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    return Cache(tmp_path / "cache")


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    def run(*arguments: str, code: int = 0) -> str:
        try:
            found = main(["cache", *arguments])
        except SystemExit as ended:
            found = int(ended.code or 0)
        said = capsys.readouterr()
        assert found == code, said
        return said.out + said.err

    return run


def _plan(cache: Cache, gpu: str, *, age: float = 0.0) -> Entry:
    def build(path: Path) -> None:
        path.write_bytes(b"p" * 1000)
        path.with_name("build.log").write_bytes(b"l" * 500)

    inputs = {"model": "a" * 64, "gpu": {"name": gpu, "SMs": 72}, "recipe": {"bits": 8}}
    entry = cache.get_or_build("plan", inputs, "engine.plan", build)
    _age(entry.path.parent, age)
    return entry


def _age(path: Path, age: float) -> None:
    when = time.time() - age
    for inner in [*path.rglob("*"), path]:
        os.utime(inner, (when, when))


def _older_layout(cache: Cache, *, age: float) -> Path:
    folder = cache.root / "int8" / ("c" * 64)
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text('{"inputs": {}, "schema": 1}')
    _age(folder, age)
    return folder


def test_list_says_what_is_kept(cache: Cache, say: Say) -> None:
    entry = _plan(cache, "NVIDIA L4", age=3 * HOUR)
    FaceStore(cache.root / "faces" / "mtcnn").put("d" * 64, StoredFace(b"png", FRAMED))
    _older_layout(cache, age=2 * DAY)
    (cache.root / "mine.txt").write_text("not the cache's")
    said = say("list")
    assert "plan: TensorRT engine; 1, " in said
    assert f"  {entry.key[:12]}" in said
    assert (
        "made 3 h ago, used 3 h ago  recipe.bits 8, gpu.SMs 72, gpu.name NVIDIA L4, model aaaa"
        in said
    )
    assert "faces: aligned faces; 1, " in said
    assert "int8: INT8 graph (other version); 1, " in said
    assert "in 3 items" in said
    assert "mine.txt" not in said


def test_list_tells_entries_apart(cache: Cache, say: Say) -> None:
    for gpu in ("NVIDIA L4", "NVIDIA A10"):
        _plan(cache, gpu)
    said = say("list")
    assert "used now  gpu.name NVIDIA L4\n" in said
    assert "used now  gpu.name NVIDIA A10\n" in said


def test_explain_names_what_differs(cache: Cache, say: Say) -> None:
    old = _plan(cache, "NVIDIA A10", age=2 * HOUR)
    _plan(cache, "NVIDIA T4", age=3 * HOUR)
    new = _plan(cache, "NVIDIA L4", age=HOUR)
    said = say("explain")
    assert f"plan/{new.key[:12]}" in said
    assert f"the older {old.key[:12]}" in said
    assert "gpu.name  NVIDIA A10 → NVIDIA L4" in said
    assert "recipe.bits  " not in said
    assert say("explain", "plan") == said
    assert "NVIDIA L4 → NVIDIA A10" in say("explain", f"plan/{old.key[:12]}")


def test_explain_of_what_is_not_there(cache: Cache, say: Say) -> None:
    _plan(cache, "NVIDIA L4")
    assert "plan/000: no such entry" in say("explain", "plan/000", code=2)
    assert "there are entries of: plan" in say("explain", "int8", code=2)
    assert "nothing of its kind to compare" in say("explain")


@pytest.mark.parametrize("name", ["engine.plan", "build.log", "manifest.json"])
def test_verify_names_what_is_damaged_and_leaves_it(cache: Cache, say: Say, name: str) -> None:
    entry = _plan(cache, "NVIDIA L4")
    _plan(cache, "NVIDIA A10")
    assert "2 items; 0 damaged" in say("verify")
    path = entry.path.with_name(name)
    path.write_bytes(path.read_bytes()[:-1])
    said = say("verify", code=1)
    assert f"DAMAGED  {entry.path.parent}: " in said
    assert "1 damaged" in said
    assert path.exists()


def test_verify_reads_faces_too(cache: Cache, say: Say) -> None:
    store = FaceStore(cache.root / "faces" / "mtcnn")
    for letter in "de":
        store.put(letter * 64, StoredFace(b"png", FRAMED))
    synthetic = cache.root / "synthetic" / "1"
    synthetic.mkdir(parents=True)
    (synthetic / "a.png").write_bytes(b"")
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    (synthetic / "SHA256SUMS").write_text(f"{empty}  a.png\n")
    assert "0 damaged" in say("verify")
    (store.folder / "dd" / f"{'d' * 64}.face").write_bytes(b"{}\npng")
    (synthetic / "a.png").write_bytes(b"other")
    said = say("verify", code=1)
    assert "1 of 2 faces, dddddddddddd first" in said
    assert "a.png is not what SHA256SUMS says" in said


def test_prune_removes_what_nothing_will_load(cache: Cache, say: Say) -> None:
    kept = _plan(cache, "NVIDIA L4", age=40 * DAY)
    folder = kept.path.parent.parent
    staging = folder / f".building-{kept.key}-{'0' * 32}"
    aside = folder / f".replaced-{kept.key}-{'1' * 32}"
    for path in (staging, aside):
        path.mkdir()
        (path / "engine.plan").write_bytes(b"p" * 2000)
    old = _older_layout(cache, age=2 * HOUR)
    writing = cache.root / "faces" / "mtcnn" / "dd" / f".writing-{'2' * 32}"
    writing.parent.mkdir(parents=True)
    writing.write_bytes(b"half")
    _age(writing, 2 * DAY)
    told = say("prune", "--dry-run")
    assert told.count("would remove  ") == 4
    assert all(path.exists() for path in (staging, aside, old, writing))
    said = say("prune")
    assert "left by a killed process" in said
    assert "damaged, replaced since" in said
    assert "of another version's layout" in said
    assert not any(path.exists() for path in (staging, aside, old, writing))
    assert kept.path.exists()
    assert "freed 0 B in 0 items" in say("prune")


def test_prune_by_age_and_by_size(cache: Cache, say: Say) -> None:
    old, older, new = (
        _plan(cache, gpu, age=age) for gpu, age in (("a", 5 * DAY), ("b", 9 * DAY), ("c", 60.0))
    )
    assert "freed 0 B" in say("prune", "--older-than", "10d")
    say("prune", "--older-than", "7d")
    assert [entry.path.exists() for entry in (old, older, new)] == [True, False, True]
    size = sum(path.stat().st_size for path in new.path.parent.iterdir())
    say("prune", "--keep-bytes", str(2 * size))
    assert old.path.exists()
    assert "1 item not removed: used within the hour" in say("prune", "--keep-bytes", "1K")
    assert not old.path.exists()
    assert new.path.exists(), "used within the hour"
    assert "freed " in say("prune", "--older-than", "0m")
    assert not new.path.exists()
    assert not list(new.path.parent.parent.iterdir()), "locks of what is gone"


def test_what_is_being_built_stays(cache: Cache, say: Say) -> None:
    entry = _plan(cache, "NVIDIA L4", age=40 * DAY)
    folder = entry.path.parent
    with locked(folder):
        staging = folder.with_name(f".building-{entry.key}-{'0' * 32}")
        staging.mkdir()
        assert "killed" not in say("prune", "--dry-run")
        assert "in use, kept" in say("prune", "--older-than", "1d")
        assert "in use, kept" in say("clear", "--yes")
        assert entry.path.exists()
        assert staging.exists()
    say("prune", "--older-than", "1d")
    assert not entry.path.exists()
    assert not staging.exists()


def test_a_hit_counts_as_use(cache: Cache, say: Say) -> None:
    _plan(cache, "NVIDIA L4", age=40 * DAY)
    _plan(cache, "NVIDIA A10", age=40 * DAY)
    inputs = {"model": "a" * 64, "gpu": {"name": "NVIDIA L4", "SMs": 72}, "recipe": {"bits": 8}}
    used = cache.find("plan", inputs, "engine.plan")
    assert used is not None
    say("prune", "--older-than", "30d")
    assert [path.name for path in used.path.parent.parent.glob("[!.]*")] == [used.key]


def test_a_clock_that_ran_ahead_keeps_an_entry(cache: Cache, say: Say) -> None:
    entry = _plan(cache, "NVIDIA L4", age=-2 * DAY)
    assert "used now" in say("list")
    say("prune", "--older-than", "1d", "--keep-bytes", "0")
    assert entry.path.exists()


def test_clear_asks_and_leaves_what_is_not_its_own(cache: Cache, say: Say) -> None:
    entry = _plan(cache, "NVIDIA L4")
    face = cache.root / "faces" / "mtcnn" / "dd" / f"{'d' * 64}.face"
    FaceStore(cache.root / "faces" / "mtcnn").put("d" * 64, StoredFace(b"png", FRAMED))
    mine = [
        cache.root / "mine.txt",
        cache.root / "sha256" / ("a" * 64) / "manifest.json",
        cache.root / "sha256" / ".building-it",
    ]
    for path in mine:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
    assert "Add --yes" in say("clear", code=2)
    assert entry.path.exists()
    assert "nothing of kind int8; there is: faces, plan" in say("clear", "int8", "--yes", code=2)
    say("clear", "plan", "--yes")
    assert not entry.path.exists()
    assert face.exists()
    say("clear", "--yes")
    assert not face.exists()
    assert all(path.exists() for path in mine)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["prune", "--older-than", "3"], "--older-than 3: expected a number with a unit, such as"),
        (["prune", "--keep-bytes", "1X"], "--keep-bytes 1X: expected"),
        (["list", "--cache", "nowhere"], "nowhere: no cache folder"),
    ],
)
def test_wrong_use_is_one_line(cache: Cache, say: Say, arguments: list[str], says: str) -> None:
    said = say(*arguments, code=2)
    assert says in said
    assert said.count("\n") == 1
