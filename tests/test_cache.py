from __future__ import annotations

import errno
import json
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facenet_validate.cache import Cache, check_writable
from facenet_validate.digests import inputs_digest
from facenet_validate.errors import CacheError

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
    cache.get_or_build("int8", INPUTS, "model.onnx", _write)
    other = cache.get_or_build("int8", {**INPUTS, "model": "b" * 64}, "model.onnx", _write)
    assert other.reason == f"miss: model changed ({'a' * 12} → {'b' * 12})"
    third = cache.get_or_build("int8", {**INPUTS, "recipe": {"bits": 7}}, "model.onnx", _write)
    assert third.reason == "miss: recipe.bits changed (8 → 7)"


def test_a_rebuild_replaces_the_entry(tmp_path: Path) -> None:
    Cache(tmp_path).get_or_build("int8", INPUTS, "m", _write)
    again = Cache(tmp_path, rebuild=True).get_or_build("int8", INPUTS, "m", _write_new)
    assert again.reason == "miss: a rebuild was asked for"
    assert again.path.read_bytes() == b"new"
    assert len(list((tmp_path / "int8").glob("[!.]*"))) == 1


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
    assert not list((tmp_path / "int8").glob(".building-*"))


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
    assert list((tmp_path / "int8").glob(".replaced-*"))


def _count_builds(root: Path, started: Path) -> None:
    def build(path: Path) -> None:
        with started.open("a") as file:
            file.write("x")
        time.sleep(0.3)
        path.write_bytes(b"artefact")

    assert Cache(root).get_or_build("int8", INPUTS, "m", build).path.read_bytes() == b"artefact"


def test_eight_processes_build_once(tmp_path: Path) -> None:
    started = tmp_path / "started"
    context = multiprocessing.get_context("fork")
    processes = [
        context.Process(target=_count_builds, args=(tmp_path / "cache", started)) for _ in range(8)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
    assert [process.exitcode for process in processes] == [0] * 8
    assert started.read_text() == "x"


def _write_slowly(root: Path) -> None:
    def build(path: Path) -> None:
        with path.open("wb") as file:
            for byte in b"artefact":
                file.write(bytes([byte]))
                file.flush()
                time.sleep(0.02)

    Cache(root).get_or_build("int8", INPUTS, "m", build)


@pytest.mark.parametrize("after", [0.02, 0.06, 0.12, 0.16, 0.2])
def test_a_killed_build_leaves_nothing_that_loads(tmp_path: Path, after: float) -> None:
    context = multiprocessing.get_context("fork")
    process = context.Process(target=_write_slowly, args=(tmp_path,))
    process.start()
    time.sleep(after)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    entry = Cache(tmp_path).get_or_build("int8", INPUTS, "m", _write)
    assert entry.path.read_bytes() == b"artefact"


@pytest.mark.parametrize(
    ("number", "says"), [(errno.ENOSPC, "is full"), (errno.EROFS, "cannot be written")]
)
def test_a_disk_that_refuses_is_named(tmp_path: Path, number: int, says: str) -> None:
    def refuse(path: Path) -> None:
        raise OSError(number, os.strerror(number), str(path))

    with pytest.raises(CacheError, match=says) as error:
        Cache(tmp_path).get_or_build("int8", INPUTS, "m", refuse)
    assert str(tmp_path) in str(error.value)


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
