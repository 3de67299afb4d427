from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import given, settings
from hypothesis import strategies as st

import facenet_validate
from facenet_validate.base.errors import BaselineError
from facenet_validate.benchmarking.baselines import (
    MAXIMUM_SESSIONS,
    BaselineStore,
    device_folder,
)
from facenet_validate.benchmarking.sessions import Identity, Session, to_line
from tests.waiting import HANG, wait_until

Make = Callable[..., Session]


@pytest.fixture
def store(tmp_path: Path) -> BaselineStore:
    return BaselineStore(tmp_path / "baselines")


def content(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.endswith(".lock")}


def test_folders_are_readable_and_safe() -> None:
    assert device_folder("Intel(R) Xeon(R) Processor") == "intel-xeon-processor-f94a4a25"
    assert device_folder("a  b ") == device_folder("a b")
    assert device_folder("日本").startswith("device-")
    assert len(device_folder("x" * 1000)) < 80


@given(st.lists(st.text(min_size=1).filter(str.strip), unique_by=lambda s: " ".join(s.split())))
def test_different_devices_have_different_folders(names: list[str]) -> None:
    folders = [device_folder(name) for name in names]
    assert len({folder.lower() for folder in folders}) == len(names)
    assert all(set(folder) <= set("abcdefghijklmnopqrstuvwxyz0123456789-") for folder in folders)


def test_a_device_without_a_name_is_refused() -> None:
    with pytest.raises(BaselineError, match="no name"):
        device_folder("  ")


def test_a_file_is_named_by_device_backend_precision_and_batch(
    store: BaselineStore, identity: Identity
) -> None:
    expected = store.root / device_folder(identity.device) / "onnxruntime-int8-b64.jsonl"
    assert store.path_for(identity) == expected


@pytest.mark.parametrize("part", ["../up", "", "a/b", ".hidden"])
def test_names_that_leave_the_folder_are_refused(
    store: BaselineStore, identity: Identity, part: str
) -> None:
    with pytest.raises(BaselineError, match="cannot be part of a baseline file's name"):
        store.path_for(replace(identity, backend=part))


def test_nothing_recorded_is_no_sessions(store: BaselineStore, identity: Identity) -> None:
    assert store.load(identity) == ()
    assert not store.root.exists()


@settings(max_examples=15, deadline=None)
@given(minutes=st.lists(st.integers(0, 999), max_size=10, unique=True))
def test_what_was_appended_is_loaded_oldest_first(make_session: Make, minutes: list[int]) -> None:
    added = [make_session(minute) for minute in minutes]
    with tempfile.TemporaryDirectory() as folder:
        store = BaselineStore(Path(folder))
        paths = {store.append(session) for session in added}
        assert len(paths) <= 1
        loaded = store.load(make_session().identity)
    assert loaded == tuple(sorted(added, key=Session.recorded))


def test_lines_that_stay_are_kept_byte_for_byte(store: BaselineStore, make_session: Make) -> None:
    path = store.append(make_session(0))
    by_hand = to_line(make_session(1)).replace('": ', '":   ')
    path.write_bytes(path.read_bytes() + f"\n{by_hand}".encode())
    store.append(make_session(2))
    lines = path.read_text().split("\n")
    assert lines == [to_line(make_session(0)), by_hand, to_line(make_session(2)), ""]


def test_a_line_that_is_there_twice_counts_once(store: BaselineStore, make_session: Make) -> None:
    path = store.append(make_session())
    path.write_bytes(path.read_bytes() * 2)
    assert len(store.load(make_session().identity)) == 1


def test_the_first_five_of_the_epoch_and_the_newest_fifteen_stay(
    store: BaselineStore, make_session: Make, identity: Identity
) -> None:
    for minute in range(3):
        store.append(make_session(minute, epoch=0))
    for minute in range(10, 40):
        store.append(make_session(minute, epoch=1))
    expected = [make_session(minute, epoch=1) for minute in (*range(10, 15), *range(25, 40))]
    assert store.load(identity) == tuple(expected)
    # A new epoch gives the old one up, oldest first.
    store.append(make_session(50, epoch=2))
    kept = store.load(identity)
    assert len(kept) == MAXIMUM_SESSIONS
    assert kept == (*expected[1:], make_session(50, epoch=2))


def test_configurations_that_share_a_file_keep_their_first_five(
    store: BaselineStore, make_session: Make, identity: Identity
) -> None:
    other = replace(identity, scope="device")
    first = [make_session(minute, identity=other) for minute in range(5)]
    for session in first:
        store.append(session)
    for minute in range(10, 40):
        store.append(make_session(minute))
    assert store.load(identity)[:5] == tuple(first)
    assert len(store.load(identity)) == MAXIMUM_SESSIONS


def test_a_session_just_added_is_never_the_one_dropped(
    store: BaselineStore, make_session: Make, identity: Identity
) -> None:
    for minute in range(20):
        scope = f"scope-{minute % 4}"
        store.append(make_session(100 + minute, identity=replace(identity, scope=scope)))
    # Recorded by a machine whose clock is behind, into a file full of protected sessions.
    late = make_session(0)
    store.append(late)
    kept = store.load(identity)
    assert kept[0] == late
    assert len(kept) == MAXIMUM_SESSIONS


def test_branches_that_record_are_merged(
    store: BaselineStore, make_session: Make, identity: Identity
) -> None:
    """Of machines of other names; and of one name, with other details and with the same ones."""
    others = (
        replace(identity, device="Another CPU"),
        replace(identity, device_details="8 cores"),
        identity,
    )
    folder = store.root.parent

    def git(*arguments: str) -> None:
        who = ("-c", "user.name=a", "-c", "user.email=a@b.c")
        subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)

    git("init", "--initial-branch", "main")
    git("commit", "--allow-empty", "-m", "nothing is recorded")
    for place, other in enumerate(others):
        sessions = make_session(2 * place), make_session(2 * place + 1, identity=other)
        for session, branch in zip(sessions, ("here", "there"), strict=True):
            git("checkout", "-B", branch, "main")
            store.append(session)
            git("add", ".")
            git("commit", "-m", branch)
        git("checkout", "main")
        git("merge", "here", "-m", "here")
        git("merge", "there", "-m", "there")
        assert sessions[0] in store.load(identity)
        assert sessions[1] in store.load(other)
    assert len(store.load(identity)) == 5


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (b"{nonsense", "not a line of JSON"),
        (b"<<<<<<< HEAD", "merge conflict; keep the lines of both sides.*order the rest by recor"),
        (b"=======", "merge conflict"),
        (b">>>>>>> theirs", "merge conflict"),
        (b"||||||| base", "merge conflict"),
        (b'{"schema": 2, "surprise": 1}', "its schema is 2.*upgrade"),
        (b"\xff\xfe", "not UTF-8"),
    ],
)
def test_a_bad_line_is_named_and_the_file_left_as_it_is(
    store: BaselineStore, make_session: Make, bad: bytes, message: str
) -> None:
    path = store.append(make_session(0))
    damaged = path.read_bytes() + bad + b"\n" + to_line(make_session(1)).encode()
    path.write_bytes(damaged)
    for attempt in (store.load, lambda _: store.append(make_session(2))):
        with pytest.raises(BaselineError, match=message) as caught:
            attempt(make_session().identity)
        assert str(caught.value).startswith(f"{path}:2: ")
    assert path.read_bytes() == damaged
    assert content(path.parent) == {path.name}


@pytest.mark.parametrize("call", ["replace", "fsync"])
def test_a_write_that_fails_changes_nothing(
    store: BaselineStore, make_session: Make, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def fail(*args: object) -> None:
        raise OSError(28, "No space left on device")

    path = store.append(make_session(0))
    before = path.read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(os, call, fail)
        with pytest.raises(BaselineError, match=r"No space left on device.*nothing was changed"):
            store.append(make_session(1))
    assert path.read_bytes() == before
    assert content(path.parent) == {path.name}
    store.append(make_session(1))
    assert len(store.load(make_session().identity)) == 2


def test_what_a_killed_process_left_is_ignored_and_replaced(
    store: BaselineStore, make_session: Make
) -> None:
    path = store.append(make_session(0))
    path.with_name(f".{path.name}.tmp").write_bytes(b'{"half a li' * 1000)
    assert len(store.load(make_session().identity)) == 1
    store.append(make_session(1))
    assert len(store.load(make_session().identity)) == 2
    assert content(path.parent) == {path.name}


def test_a_held_lock_is_waited_for_and_then_named(make_session: Make, tmp_path: Path) -> None:
    store = BaselineStore(tmp_path, lock_timeout=0.1)
    path = store.append(make_session(0))
    with (
        FileLock(path.with_name(f".{path.name}.lock")),
        pytest.raises(BaselineError, match=r"another process has held its lock for 0\.1 s"),
    ):
        store.append(make_session(1))
    assert len(store.load(make_session().identity)) == 1


def test_a_folder_that_is_a_file_is_an_error_with_its_name(
    tmp_path: Path, make_session: Make
) -> None:
    (tmp_path / "baselines").write_text("")
    with pytest.raises(BaselineError, match="cannot be written"):
        BaselineStore(tmp_path / "baselines").append(make_session())
    with pytest.raises(BaselineError, match="cannot be read"):
        BaselineStore(tmp_path / "baselines").load(make_session().identity)


# Appends sessions first, first + 1, ... of a template line, spread over the given batch sizes.
APPENDER = """
import sys
from dataclasses import replace
from pathlib import Path
from facenet_validate.benchmarking.baselines import BaselineStore
from facenet_validate.benchmarking.sessions import from_line

root, line, first, count, *batches = sys.argv[1:]
store, template = BaselineStore(Path(root), lock_timeout=600.0), from_line(line)
print("ready", flush=True)
for number in range(int(first), int(first) + int(count)):
    batch = int(batches[number % len(batches)])
    store.append(replace(
        template,
        identity=replace(template.identity, batch=batch),
        recorded_at=f"2026-01-01T{number // 3600 % 24:02}:{number // 60 % 60:02}:{number % 60:02}Z",
        reason=str(number),
    ))
"""


def start_appender(store: BaselineStore, session: Session, *numbers: int) -> subprocess.Popen[str]:
    package = Path(facenet_validate.__file__).parent.parent
    return subprocess.Popen(
        [sys.executable, "-c", APPENDER, store.root, to_line(session), *map(str, numbers)],
        env=os.environ | {"PYTHONPATH": str(package)},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_two_processes_that_append_lose_nothing(
    store: BaselineStore, make_session: Make, identity: Identity
) -> None:
    # Twenty each, over two files because a file holds twenty.
    appenders = [start_appender(store, make_session(), first, 20, 8, 64) for first in (0, 20)]
    for appender in appenders:
        appender.communicate(timeout=HANG)
        assert appender.returncode == 0
    recorded = [
        int(session.reason)
        for batch in (8, 64)
        for session in store.load(replace(identity, batch=batch))
    ]
    assert sorted(recorded) == list(range(40))


def _has_more(store: BaselineStore, identity: Identity, highest: int) -> bool:
    sessions = store.load(identity)
    return bool(sessions) and int(sessions[-1].reason) > highest


def test_kill_9_leaves_a_file_that_loads(
    store: BaselineStore, make_session: Make, identity: Identity
) -> None:
    highest = -1
    for _ in range(4):
        appender = start_appender(store, make_session(), highest + 1, 80_000, 64)
        assert appender.stdout is not None
        appender.stdout.readline()
        # The appender goes on meanwhile: the kill meets it wherever it is then.
        wait_until(partial(_has_more, store, identity, highest))
        appender.kill()
        appender.communicate(timeout=HANG)
        kept = [int(session.reason) for session in store.load(identity)]
        # Whatever moment it died at, what is there is whole, in order and without a gap.
        newest = kept[5:] if len(kept) == MAXIMUM_SESSIONS else kept
        assert newest == list(range(newest[0], newest[-1] + 1))
        assert kept[-1] > highest
        highest = kept[-1]
    store.append(make_session(1439))
    assert store.load(identity)[-1] == make_session(1439)
