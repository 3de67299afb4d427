"""The cache's promise: no fault makes a wrong engine load. Real processes, real files."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from facenet_validate.base.digests import inputs_digest
from facenet_validate.base.errors import CacheError
from facenet_validate.cache import Cache, Entry, locks, store
from facenet_validate.cache.contents import contents
from facenet_validate.cache.locks import BUILDING
from facenet_validate.cache.upkeep import prunable, remove
from facenet_validate.datasets.synthetic import proof_faces
from facenet_validate.engines.artefacts import build_artefact
from facenet_validate.models.prepared import prepare, source_model
from tests.models.small_facenet import small_facenet
from tests.waiting import HANG, wait_until

INPUTS = {
    "model": "a" * 64,
    "backend": "tensorrt 10.14",
    "gpu": {"name": "NVIDIA A10", "compute capability": "8.6", "SMs": 72, "memory": 23 << 30},
}
PLAN = bytes(range(256)) * 16
LOG = b"parsed, built"

_FORK = multiprocessing.get_context("fork")


def _build(path: Path) -> None:
    path.write_bytes(PLAN)
    path.with_name("build.log").write_bytes(LOG)


def _never(path: Path) -> None:
    raise AssertionError(f"{path} was built again")


def _ask(root: Path, build: Callable[[Path], None] = _build) -> Entry:
    return Cache(root).get_or_build("plan", INPUTS, "engine.plan", build)


def _is_right(entry: Entry) -> bool:
    return entry.read() == PLAN and entry.path.with_name("build.log").read_bytes() == LOG


def _hidden(root: Path) -> list[str]:
    """Names of what is beside the entries and no lock."""
    found = (root / "v2" / "plan").glob(".*")
    return [path.name for path in found if path.suffix != ".lock"]


def _ask_in_a_process(root: Path, started: Path, asking: Synchronized[int]) -> None:
    def build(path: Path) -> None:
        with started.open("a") as file:
            file.write("x")
        wait_until(lambda: asking.value == 8)
        _build(path)

    assert _is_right(_ask(root, build))


def test_eight_processes_build_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The build takes until all eight have found nothing and ask for the lock."""
    started = tmp_path / "started"
    asking: Synchronized[int] = _FORK.Value("i", 0)

    def locked(folder: Path) -> AbstractContextManager[None]:
        with asking.get_lock():
            asking.value += 1
        return locks.locked(folder)

    monkeypatch.setattr(store, "locked", locked)
    processes = [
        _FORK.Process(target=_ask_in_a_process, args=(tmp_path / "cache", started, asking))
        for _ in range(8)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(HANG)
    assert [process.exitcode for process in processes] == [0] * 8
    assert started.read_text() == "x"


PIECES = 16
OLD = PLAN[::-1]


def _build_old(path: Path) -> None:
    _build(path)
    path.write_bytes(OLD)


def _replace_until(root: Path, moment: int) -> None:
    """Make the entry anew, but be killed at one step: a file-system call, or a piece written."""
    steps = 0

    def step() -> None:
        nonlocal steps
        steps += 1
        if steps == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    def audited(event: str, _: object) -> None:
        if event == "open" or event.startswith(("os.", "shutil.")):
            step()

    def build(path: Path) -> None:
        for name, content in (("engine.plan", PLAN), ("build.log", LOG)):
            with path.with_name(name).open("wb", buffering=0) as file:
                size = max(1, len(content) // PIECES)
                for start in range(0, len(content), size):
                    step()
                    file.write(content[start : start + size])

    sys.addaudithook(audited)  # for good; this process ends here
    Cache(root).replace("plan", INPUTS, "engine.plan", build)


@pytest.mark.parametrize(
    "before", [None, _build, _build_old], ids=["nothing", "the same", "another"]
)
def test_a_kill_at_any_step_leaves_nothing_wrong(
    tmp_path: Path, before: Callable[[Path], None] | None
) -> None:
    """Every step of a build and of putting it in its place: where there is nothing, over another.

    What a kill leaves is cleared by the next build, or by whoever prunes the cache.
    """
    cut = moment = 0
    while True:
        moment += 1
        root = tmp_path / f"cache{moment}"
        if before is not None:
            _ask(root, before)
        process = _FORK.Process(target=_replace_until, args=(root, moment))
        process.start()
        process.join(HANG)
        if process.exitcode == 0:  # it had fewer steps than that
            break
        assert process.exitcode == -signal.SIGKILL
        left = _hidden(root)
        cut += bool(left)
        assert len(left) <= 2
        found = Cache(root).find("plan", INPUTS, "engine.plan")
        assert found is None or _is_right(found) or (before is _build_old and found.read() == OLD)
        seen = [item.path.name for item in contents(root) if item.state == "left over"]
        assert sorted(seen) == sorted(left)
        if moment % 2:
            Cache(root).replace("plan", INPUTS, "engine.plan", _build)
            assert not [name for name in _hidden(root) if name.startswith(BUILDING)]
        assert all(remove(removal) for removal in prunable(contents(root), now=time.time()))
        assert _hidden(root) == []
        if found is None or moment % 2:
            assert _is_right(_ask(root))
        assert _ask(root, _never).hit
    assert cut > 2 * PIECES, "no kill met the pieces of a build"


def _flip(path: Path, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["engine.plan", "build.log", "manifest.json"])
def test_any_flipped_bit_is_found(tmp_path: Path, name: str) -> None:
    path = _ask(tmp_path).path.with_name(name)
    sound = path.read_bytes()
    bits = range(8 * len(sound)) if name == "build.log" else range(0, 8 * len(sound), 11)
    unseen = []
    for bit in bits:
        _flip(path, bit)
        found = Cache(tmp_path).find("plan", INPUTS, "engine.plan")
        if found is not None:
            unseen.append(chr(sound[bit // 8]))
            assert _is_right(found)
        path.write_bytes(sound)
    # Of a manifest, JSON leaves a space open: a tab or a line's end means the same.
    assert set(unseen) <= ({" ", "\n"} if name == "manifest.json" else set())
    assert _is_right(_ask(tmp_path, _never))


@pytest.mark.parametrize("name", ["engine.plan", "build.log", "manifest.json"])
@pytest.mark.parametrize("left", [0, 1, -1])
def test_truncated_files_are_found(tmp_path: Path, name: str, left: int) -> None:
    path = _ask(tmp_path).path.with_name(name)
    os.truncate(path, left % path.stat().st_size)
    again = _ask(tmp_path)
    assert not again.hit
    assert again.reason != "miss: first build"
    assert _is_right(again)
    assert len(_hidden(tmp_path)) == 1, "the damaged one was not set aside"


@pytest.mark.parametrize("name", ["engine.plan", "build.log", "manifest.json"])
def test_a_link_is_no_artefact(tmp_path: Path, name: str) -> None:
    """Even one to the right bytes: what it leads to can change after the check."""
    path = _ask(tmp_path / "cache").path.with_name(name)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert Cache(tmp_path / "cache").find("plan", INPUTS, "engine.plan") is None
    assert _is_right(_ask(tmp_path / "cache"))
    assert (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("what", ["a link", "a dangling link", "a file"])
def test_what_stands_in_an_entrys_place_is_moved_aside(tmp_path: Path, what: str) -> None:
    folder = _ask(tmp_path / "cache").path.parent
    folder.rename(tmp_path / "elsewhere")
    if what == "a file":
        folder.write_bytes(PLAN)
    else:
        folder.symlink_to(tmp_path / ("elsewhere" if what == "a link" else "nowhere"))
    again = _ask(tmp_path / "cache")
    assert again.reason.startswith("miss: the manifest in")
    assert _is_right(again)
    assert not again.path.parent.is_symlink()


def test_a_pipe_in_an_artefacts_place_keeps_nobody_waiting(tmp_path: Path) -> None:
    path = _ask(tmp_path).path
    path.unlink()
    os.mkfifo(path)
    assert "is no plain file" in _ask(tmp_path).reason


def test_a_full_and_a_read_only_disk(tmp_path: Path) -> None:
    """A tmpfs of 1 MB, remounted read-only: root is refused there like everybody else."""
    alone = ["unshare", "--map-root-user", "--mount"]
    if not _works([*alone, "mount", "-t", "tmpfs", "tmpfs", str(tmp_path)]):
        pytest.skip("no mount namespaces here; test_a_disk_that_refuses_is_named fakes the errors")
    subprocess.run(
        [*alone, sys.executable, "-m", "tests.cache.small_disk", str(tmp_path)],
        check=True,
        cwd=Path(__file__).parents[2],
    )


def _works(command: list[str]) -> bool:
    if shutil.which(command[0]) is None:
        return False
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def _snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("layout", ["", "v1", "v3"])
def test_versions_in_turn_do_not_meet(tmp_path: Path, layout: str) -> None:
    """Another layout's entry for the same inputs, with its own engine in it."""
    key = inputs_digest(INPUTS)
    other = tmp_path / layout / "plan" / key
    other.mkdir(parents=True)
    (other / "engine.plan").write_bytes(b"another library's")
    (other / "manifest.json").write_text(json.dumps({"inputs": INPUTS, "schema": 1}))
    theirs = _snapshot(other.parent)
    for _ in range(2):
        assert _is_right(_ask(tmp_path))
        assert _snapshot(other.parent) == theirs
    states = {item.state for item in contents(tmp_path)}
    assert states == {"entry", "other version"}
    now = time.time()
    assert not prunable(contents(tmp_path), now=now), "it may be in use"
    later = prunable(contents(tmp_path), now=now + 3601)
    assert [removal.item.path for removal in later] == [other]
    assert remove(later[0])
    assert _is_right(_ask(tmp_path, _never))


def test_a_changed_model_of_the_same_name_and_shapes(tmp_path: Path) -> None:
    digests = set()
    for name, change in (("first", 0.0), ("second", 1e-3)):
        model = small_facenet()
        weight = model.graph.initializer[0]
        changed = numpy_helper.to_array(weight) * np.float32(1 + change)
        weight.CopyFrom(numpy_helper.from_array(changed.astype(np.float32), weight.name))
        (tmp_path / name).mkdir()
        onnx.save(model, str(tmp_path / name / "mine.onnx"))
        cache = Cache(tmp_path / "cache")
        prepared = prepare(source_model(tmp_path / name / "mine.onnx"), cache, faces=proof_faces())
        artefact = build_artefact("fp16", prepared, "cpu", _no_faces, cache)
        assert artefact.reason == "miss: first build", "another model's graph did not change"
        digests.add(artefact.digest)
    assert len(digests) == 2


def _no_faces() -> Any:
    raise AssertionError("FP16 is not calibrated")


def test_a_plan_of_another_gpu_is_a_miss_that_names_it(tmp_path: Path) -> None:
    _ask(tmp_path)
    gpu = {"name": "NVIDIA L4", "compute capability": "8.9", "SMs": 58, "memory": 23 << 30}
    entry = Cache(tmp_path).get_or_build("plan", {**INPUTS, "gpu": gpu}, "engine.plan", _build)
    assert entry.reason == (
        "miss: gpu.SMs changed (72 → 58); gpu.compute capability changed (8.6 → 8.9); "
        "gpu.name changed (NVIDIA A10 → NVIDIA L4)"
    )


@pytest.mark.parametrize("kind", ["plan", "other"])
def test_an_entry_copied_to_another_place_is_refused(tmp_path: Path, kind: str) -> None:
    here = _ask(tmp_path).path.parent
    inputs = {**INPUTS, "gpu": {"name": "NVIDIA L4"}} if kind == "plan" else INPUTS
    there = tmp_path / "v2" / kind / inputs_digest(inputs)
    shutil.copytree(here, there)
    assert Cache(tmp_path).find(kind, inputs, "engine.plan") is None

    def build(path: Path) -> None:
        path.write_bytes(b"right")

    entry = Cache(tmp_path).get_or_build(kind, inputs, "engine.plan", build)
    told = "belongs to other inputs" if kind == "plan" else "is of kind plan, not other"
    assert told in entry.reason
    assert entry.read() == b"right"


def _read_on(root: Path, reads: Synchronized[int], ended: Event) -> None:
    while not ended.is_set():
        try:
            assert _ask(root).read() == PLAN
        except CacheError:
            continue  # verified, and removed before it was opened
        with reads.get_lock():
            reads.value += 1


def test_readers_beside_somebody_who_removes_everything(tmp_path: Path) -> None:
    """An entry is whole, built anew, or said to be gone; never anything else."""
    reads: Synchronized[int] = _FORK.Value("i", 0)
    ended = _FORK.Event()
    readers = [_FORK.Process(target=_read_on, args=(tmp_path, reads, ended)) for _ in range(3)]
    for reader in readers:
        reader.start()
    seen = removed = 0

    def removed_often() -> bool:
        nonlocal seen, removed
        if reads.value > seen:  # whoever it was: the others are anywhere between ask and read
            seen = reads.value
            found = prunable(contents(tmp_path), now=time.time() + 1, older_than=0)
            removed += sum(remove(removal) for removal in found)
        return removed >= 30 or not all(reader.is_alive() for reader in readers)

    wait_until(removed_often)
    ended.set()
    for reader in readers:
        reader.join(HANG)
    assert [reader.exitcode for reader in readers] == [0] * 3
