from __future__ import annotations

import errno
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facenet_validate.base.digests import inputs_digest
from facenet_validate.base.errors import CacheError
from facenet_validate.cache import Cache, check_writable, manifest

INPUTS = {"model": "a" * 64, "recipe": {"bits": 8}}


def _write(path: Path) -> None:
    path.write_bytes(b"artefact")


def _write_new(path: Path) -> None:
    path.write_bytes(b"new")


def _never(path: Path) -> None:
    raise AssertionError(f"{path} was built again")


def test_second_request_is_a_hit_and_says_why(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    first = cache.get_or_build("int8", INPUTS, "model.onnx", _write)
    again = cache.get_or_build("int8", INPUTS, "model.onnx", _never)
    assert (first.hit, first.reason) == (False, "miss: first build")
    assert (again.hit, again.reason) == (True, "hit: same model, recipe")
    assert again.path.read_bytes() == b"artefact"
    assert again.digest == first.digest


def test_a_miss_names_what_changed(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    inputs = {**INPUTS, "calibration": "a" * 64}
    cache.get_or_build("int8", inputs, "model.onnx", _write)
    other = cache.get_or_build("int8", {**inputs, "calibration": "b" * 64}, "model.onnx", _write)
    assert other.reason == f"miss: calibration changed ({'a' * 12} → {'b' * 12})"
    third = cache.get_or_build("int8", {**inputs, "recipe": {"bits": 7}}, "model.onnx", _write)
    assert third.reason == "miss: recipe.bits changed (8 → 7)"


def test_a_tuple_is_the_list_that_json_makes_of_it(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.get_or_build("int8", {"keep": (), "bits": 8}, "m", _write)
    other = cache.get_or_build("int8", {"keep": (), "bits": 7}, "m", _write)
    assert other.reason == "miss: bits changed (8 → 7)"
    assert cache.get_or_build("int8", {"keep": [], "bits": 7}, "m", _never).hit


def test_a_rebuild_replaces_the_entry(tmp_path: Path) -> None:
    Cache(tmp_path).get_or_build("int8", INPUTS, "m", _write)
    again = Cache(tmp_path, rebuild=True).get_or_build("int8", INPUTS, "m", _write_new)
    assert again.reason == "miss: a rebuild was asked for"
    assert again.path.read_bytes() == b"new"
    assert len(list((tmp_path / "v2" / "int8").glob("[!.]*"))) == 1


def test_a_rebuild_of_the_same_bytes_leaves_the_entry_and_counts_as_use(tmp_path: Path) -> None:
    folder = Cache(tmp_path).get_or_build("int8", INPUTS, "m", _write).path.parent
    os.utime(folder, (0, 0))
    before = folder.stat().st_ino
    again = Cache(tmp_path, rebuild=True).get_or_build("int8", INPUTS, "m", _write)
    assert not again.hit
    assert folder.stat().st_ino == before
    assert folder.stat().st_mtime > 0


def test_a_failed_build_leaves_nothing_and_keeps_the_old(tmp_path: Path) -> None:
    Cache(tmp_path).get_or_build("int8", INPUTS, "m", _write)

    def fail(path: Path) -> None:
        path.write_bytes(b"half")
        raise RuntimeError("died")

    with pytest.raises(RuntimeError):
        Cache(tmp_path, rebuild=True).get_or_build("int8", INPUTS, "m", fail)
    assert (
        Cache(tmp_path).get_or_build("int8", INPUTS, "m", _never).path.read_bytes() == b"artefact"
    )
    assert not list((tmp_path / "v2" / "int8").glob(".building-*"))


@pytest.mark.parametrize("damage", ["flipped bit", "truncated", "missing", "manifest", "inputs"])
def test_damage_is_found_set_aside_and_built_again(tmp_path: Path, damage: str) -> None:
    entry = Cache(tmp_path).get_or_build("int8", INPUTS, "m", _write)
    manifest = entry.path.with_name("manifest.json")
    if damage == "flipped bit":
        entry.path.write_bytes(b"artefacu")
    elif damage == "truncated":
        entry.path.write_bytes(b"arte")
    elif damage == "missing":
        entry.path.unlink()
    elif damage == "manifest":
        manifest.write_text(manifest.read_text()[:-20])
    else:
        manifest.write_text(manifest.read_text().replace('"bits": 8', '"bits": 7'))
    again = Cache(tmp_path).get_or_build("int8", INPUTS, "m", _write)
    assert not again.hit
    assert again.reason.startswith("miss: ")
    assert again.reason != "miss: first build"
    assert again.path.read_bytes() == b"artefact"
    assert Cache(tmp_path).get_or_build("int8", INPUTS, "m", _never).hit
    assert list((tmp_path / "v2" / "int8").glob(".replaced-*"))


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (errno.ENOSPC, "is full"),
        (errno.EDQUOT, "is used up"),
        (errno.EFBIG, "takes no file this large"),
        (errno.EROFS, "cannot be written"),
    ],
)
def test_a_disk_that_refuses_is_named(tmp_path: Path, number: int, says: str) -> None:
    def refuse(path: Path) -> None:
        raise OSError(number, os.strerror(number), str(path))

    with pytest.raises(CacheError, match=says) as error:
        Cache(tmp_path).get_or_build("int8", INPUTS, "m", refuse)
    assert str(tmp_path) in str(error.value)


def test_a_fault_of_a_file_elsewhere_is_not_the_caches(tmp_path: Path) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(errno.EACCES, "no", "/elsewhere/model.onnx")

    with pytest.raises(PermissionError, match="elsewhere"):
        Cache(tmp_path).get_or_build("int8", INPUTS, "m", refuse)


def _write_two(path: Path) -> None:
    path.write_bytes(b"plan")
    path.with_name("build.log").write_text("log")


def test_every_file_of_an_entry_is_kept_and_verified(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    entry = cache.get_or_build("plan", INPUTS, "engine.plan", _write_two)
    assert cache.find("plan", INPUTS, "engine.plan") is not None
    side = entry.path.with_name("build.log")
    assert side.read_text() == "log"
    side.write_text("lig")
    assert cache.find("plan", INPUTS, "engine.plan") is None
    again = cache.get_or_build("plan", INPUTS, "engine.plan", _write_two)
    assert again.reason.startswith("miss: build.log was damaged (sha ")
    assert again.path.with_name("build.log").read_text() == "log"


def test_find_builds_nothing_and_writes_nothing(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    assert cache.find("int8", INPUTS, "m") is None
    assert not cache.root.exists()
    made = cache.get_or_build("int8", INPUTS, "m", _write)
    found = cache.find("int8", INPUTS, "m")
    assert found is not None
    assert (found.hit, found.digest, found.path) == (True, made.digest, made.path)
    assert Cache(cache.root, rebuild=True).find("int8", INPUTS, "m") is None


def test_replace_makes_anew_and_keeps_nothing_of_the_old(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.get_or_build("timing", INPUTS, "m", _write_two)
    entry = cache.replace("timing", INPUTS, "m", _write_new)
    assert (entry.hit, entry.reason) == (False, "miss: it was to be replaced")
    assert entry.read() == b"new"
    assert cache.get_or_build("timing", INPUTS, "m", _never).digest == entry.digest
    assert sorted(path.name for path in entry.path.parent.iterdir()) == ["m", "manifest.json"]
    assert not list(entry.path.parent.parent.glob(".re*"))


def test_what_is_wrong_with_an_entry_that_is_passed_by_can_be_told(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    assert cache.damage("kernels", INPUTS, "m") == ""
    entry = cache.get_or_build("kernels", INPUTS, "m", _write)
    assert cache.damage("kernels", INPUTS, "m") == ""
    entry.path.write_bytes(b"artefacT")
    assert cache.find("kernels", INPUTS, "m") is None
    assert cache.damage("kernels", INPUTS, "m").startswith("m ")


def test_reading_an_entry_that_went_or_changed_says_so(tmp_path: Path) -> None:
    entry = Cache(tmp_path).get_or_build("int8", INPUTS, "m", _write)
    assert entry.read() == b"artefact"
    Cache(tmp_path).replace("int8", INPUTS, "m", _write_new)
    with pytest.raises(CacheError, match="changed since it was verified"):
        entry.read()
    shutil.rmtree(entry.path.parent)
    with pytest.raises(CacheError, match="cannot be read any more"):
        entry.read()


def test_an_entry_removed_after_its_check_is_built_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = Cache(tmp_path).get_or_build("int8", INPUTS, "m", _write)
    verified = manifest.verified

    def then_removed(*arguments: str) -> tuple[manifest.Manifest | None, str]:
        found = verified(*arguments)  # type: ignore[arg-type]
        shutil.rmtree(entry.path.parent, ignore_errors=True)
        return found

    monkeypatch.setattr(manifest, "verified", then_removed)
    again = Cache(tmp_path).get_or_build("int8", INPUTS, "m", _write)
    assert not again.hit
    assert again.read() == b"artefact"


def _write_link(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _write_beside(path: Path) -> None:
    path.with_name("other").write_bytes(b"artefact")


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (_write_link, "left m, which is a link"),
        (lambda path: path.mkdir(), "left m, which is no plain file"),
        (_write_beside, "wrote other, not m"),
        (lambda path: None, "wrote nothing, not m"),
    ],
)
def test_a_build_that_leaves_something_else_is_refused(
    tmp_path: Path, build: Callable[[Path], None], says: str
) -> None:
    with pytest.raises(CacheError, match=says):
        Cache(tmp_path).get_or_build("int8", INPUTS, "m", build)
    assert Cache(tmp_path).find("int8", INPUTS, "m") is None


def test_a_miss_among_thousands_reads_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = Cache(tmp_path)
    for number in range(70):
        folder = cache.get_or_build("int8", {"number": number}, "m", _write).path.parent
        os.utime(folder, (number, number))
    read: list[Path] = []
    known = manifest.read

    def counted(path: Path) -> manifest.Manifest | None:
        read.append(path)
        return known(path)

    monkeypatch.setattr(manifest, "read", counted)
    missed = cache.get_or_build("int8", {"number": 70}, "m", _write)
    assert missed.reason == "miss: number changed (69 → 70)"
    assert len(read) == 64


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CacheError, match="--facenet-cache"):
        check_writable(tmp_path / "file" / "cache")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), JSON), st.randoms())
def test_keys_do_not_depend_on_order(inputs: dict[str, object], random: object) -> None:
    items = list(inputs.items())
    random.shuffle(items)  # type: ignore[attr-defined]
    assert inputs_digest(dict(items)) == inputs_digest(inputs)


@given(st.dictionaries(st.text(), JSON), st.dictionaries(st.text(), JSON))
def test_different_inputs_have_different_keys(
    left: dict[str, object], right: dict[str, object]
) -> None:
    same = json.dumps(left, sort_keys=True) == json.dumps(right, sort_keys=True)
    assert (inputs_digest(left) == inputs_digest(right)) is same


@pytest.mark.parametrize("anew", [b"new", b"old"], ids=["other bytes", "the same bytes"])
def test_a_rebuild_takes_what_this_run_has_made_already(tmp_path: Path, anew: bytes) -> None:
    """Two processes of a run rebuild once; what was there before the run is made anew."""

    def builds(content: bytes) -> Callable[[Path], None]:
        def build(path: Path) -> None:
            path.write_bytes(content)

        return build

    old = Cache(tmp_path).get_or_build("plan", {"a": 1}, "x", builds(b"old"))
    an_hour_ago = time.time() - 3600
    os.utime(old.path.with_name("manifest.json"), (an_hour_ago, an_hour_ago))
    run = Cache(tmp_path, rebuild=True, made_since=time.time() - 60)
    first = run.get_or_build("plan", {"a": 1}, "x", builds(anew))
    again = run.get_or_build("plan", {"a": 1}, "x", builds(b"newer"))
    assert (first.hit, again.hit) == (False, True)
    assert again.read() == anew
    assert run.replace("plan", {"a": 1}, "x", builds(b"replaced")).read() == b"replaced"
