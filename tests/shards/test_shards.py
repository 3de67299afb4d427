"""A folder of shards: what is written is read again; what is not ours, or damaged, is refused."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from facenet_validate.base.errors import ShardError
from facenet_validate.shards import ListedPhotos, Manifest, Shards, read_manifest, writing
from tests.shards.folders import manifest_of

ROWS, DIMENSION, SHARD_ROWS = 10, 3, 4
VALUES = np.arange(ROWS * DIMENSION, dtype=np.float32).reshape(ROWS, DIMENSION)
LISTED = ListedPhotos(
    tuple(f"{'AB'[row % 2]}/{row}.jpg" for row in range(ROWS)),
    tuple("AB"[row % 2] for row in range(ROWS)),
    tuple(f"{row:064x}" for row in range(ROWS)),
)


def manifest(listed: ListedPhotos = LISTED, **changed: Any) -> Manifest:
    return manifest_of(listed, DIMENSION, **{"shard_rows": SHARD_ROWS, **changed})


def write(folder: Path, listed: ListedPhotos = LISTED) -> dict[int, str]:
    """Write what is missing; return how each shard was found."""
    with writing(folder, manifest(listed), listed.encoded()) as writer:
        for shard in writer.missing:
            writer.write(shard, VALUES[slice(*writer.manifest.span(shard))])
        return dict(writer.states)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of three shards, of 4, 4 and 2 rows."""
    write(tmp_path / "made")
    return tmp_path / "made"


@given(st.integers(0, ROWS), st.integers(0, ROWS))
def test_every_block_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, first: int, last: int
) -> None:
    made = tmp_path_factory.getbasetemp() / "blocks"
    write(made)
    shards, (start, stop) = Shards(made), sorted((first, last))
    found = shards.block(start, stop)
    np.testing.assert_array_equal(found, VALUES[start:stop])
    assert (shards.shape, found.dtype.name) == ((ROWS, DIMENSION), "float32")


def test_rows_beyond_the_last_are_an_error(folder: Path) -> None:
    for start, stop in ((-1, 2), (0, ROWS + 1), (3, 2)):
        with pytest.raises(ValueError, match=f"rows {start} to {stop} of 10"):
            Shards(folder).block(start, stop)


def test_people_are_numbered_in_alphabetical_order(folder: Path) -> None:
    shards = Shards(folder)
    assert shards.people.tolist() == [0, 1] * 5
    assert shards.photos == LISTED


def test_a_photo_without_a_person_is_named(tmp_path: Path) -> None:
    listed = replace(LISTED, people=("A", None, *LISTED.people[2:]))
    write(tmp_path / "made", listed)
    shards = Shards(tmp_path / "made")
    assert shards.photos == listed
    with pytest.raises(ShardError, match=r"nobody knows who is on B/1\.jpg"):
        _ = shards.people


def test_batches_begin_anew_with_every_shard() -> None:
    made = manifest()
    found = [[rows.tolist() for rows in made.batches(shard)] for shard in range(made.shards)]
    assert found == [[[0, 1, 2], [3]], [[4, 5, 6], [7]], [[8, 9]]]


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "a bit": lambda folder: damage(folder / "shards/000001.npy"),
    "a part": lambda folder: os.truncate(folder / "shards/000001.npy", 100),
    "an empty file": lambda folder: os.truncate(folder / "shards/000001.npy", 0),
    "no digest": lambda folder: (folder / "shards/000001.json").unlink(),
    "a digest of another": lambda folder: (folder / "shards/000001.json").write_bytes(
        (folder / "shards/000000.json").read_bytes()
    ),
    "no JSON": lambda folder: (folder / "shards/000001.json").write_text("{" * 10_000),
    "no embeddings": lambda folder: (folder / "shards/000001.npy").unlink(),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_shard_is_refused_and_made_anew(folder: Path, kind: str) -> None:
    DAMAGE[kind](folder)
    with pytest.raises(ShardError, match=r"shard 000001 of 3 is .*\. Run facenet-validate embed"):
        Shards(folder).block(3, 5)
    states = write(folder)
    assert states == {0: "whole", 1: "absent" if kind.startswith("no ") and "JSON" not in kind
                      else "damaged", 2: "whole"}  # fmt: skip
    np.testing.assert_array_equal(Shards(folder).block(0, ROWS), VALUES)


def array_of(values: NDArray[Any], folder: Path) -> None:
    """Put another array into the place of a shard, with a digest that agrees."""
    path = folder / "shards/000001.npy"
    np.save(path, values)
    digest = sha256(path.read_bytes()).hexdigest()
    (folder / "shards/000001.json").write_text(json.dumps({"sha256": digest, "rows": 4}) + "\n")


@pytest.mark.parametrize(
    "values",
    [
        np.zeros((4, 4), np.float32),
        np.zeros((3, 3), np.float32),
        np.zeros((4, 3), np.float64),
        np.asfortranarray(np.zeros((4, 3), np.float32)),
        np.array(["text"], object),
    ],
    ids=["columns", "rows", "dtype", "order", "objects"],
)
def test_another_array_with_a_digest_that_agrees_is_damage(
    folder: Path, values: NDArray[Any]
) -> None:
    array_of(values, folder)
    with pytest.raises(ShardError, match="shard 000001 of 3 is damaged"):
        Shards(folder).block(4, 5)


def test_a_digest_is_checked_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []
    real = sha256

    def counted(path: Path) -> str:
        read.append(path)
        return real(path.read_bytes()).hexdigest()

    monkeypatch.setattr("facenet_validate.shards.files.file_digest", counted)
    shards = Shards(folder)
    for _ in range(3):
        shards.block(0, 5)
    assert [path.name for path in read] == ["000000.npy", "000001.npy"]


def test_another_engine_into_the_same_folder_is_refused(folder: Path) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    other = manifest(engine="d" * 64, batch=5)
    told = "batch is 3 there and 5 here, engine is b{12} there and d{12} here"
    with pytest.raises(ShardError, match=told), writing(folder, other, LISTED.encoded()):
        pass
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_of_somebody_else_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ShardError, match=r"it holds thesis\.txt and no manifest\.json"):
        write(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_two_processes_do_not_write_to_one_folder(tmp_path: Path) -> None:
    with (
        writing(tmp_path / "made", manifest(), LISTED.encoded()),
        pytest.raises(ShardError, match="another process writes to it"),
    ):
        write(tmp_path / "made")
    assert set(write(tmp_path / "made").values()) == {"absent"}


def test_names_that_are_damaged_are_refused_and_written_anew(folder: Path) -> None:
    damage(folder / "names.jsonl")
    with pytest.raises(ShardError, match=r"names\.jsonl: not the file that belongs"):
        _ = Shards(folder).photos
    write(folder)
    assert Shards(folder).photos == LISTED


HOSTILE: dict[str, tuple[Any, str]] = {
    "no JSON": ("{", "no JSON"),
    "brackets": ("[" * 60_000, "no JSON"),
    "a list": ("[]", "no JSON object"),
    "a long number": ('{"rows": ' + "9" * 5000 + "}", "no JSON"),
    "a large file": (" " * 70_000, "more than 65536 bytes"),
    "another schema": ({"schema": 2}, "schema 2, this version reads 1"),
    "true": ({"schema": True}, "schema True"),
    "many rows": ({"rows": 10**30}, "rows is 1000"),
    "no rows": ({"rows": 0}, "rows is 0, no whole number from 1 to"),
    "half a row": ({"rows": 1.5}, "rows is 1.5"),
    "a flag": ({"batch": True}, "batch is True"),
    "a text": ({"dimension": "512"}, "dimension is '512'"),
    "a list for a text": ({"device": ["x"]}, "device is ['x'], no text"),
    "a long text": ({"device": "x" * 2000}, "device is 'xxx"),
    "no digest": ({"engine": "../../etc/passwd"}, "engine is '../../etc/passwd', no SHA-256"),
    "a file elsewhere": ({"names": "../../etc/passwd"}, "unknown 'names'"),
    "a key less": ({"model": None}, "it has no 'model'"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_manifest_is_refused_in_one_line(folder: Path, kind: str) -> None:
    content, told = HOSTILE[kind]
    path = folder / "manifest.json"
    if isinstance(content, dict):
        document = {**json.loads(path.read_text()), **content}
        content = json.dumps({key: value for key, value in document.items() if value is not None})
    path.write_text(content)
    for use in (Shards, read_manifest, write):
        with pytest.raises(ShardError) as raised:
            use(folder)
        assert told in str(raised.value)
        assert len(str(raised.value).splitlines()) == 1
        assert len(str(raised.value)) < 500


def test_a_manifest_of_more_rows_than_there_are_shards_is_refused_at_once(folder: Path) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "rows": 10**10, "shard_rows": 1}))
    with pytest.raises(ShardError, match="shard 000003 of 10000000000 is not there"):
        Shards(folder)


def read_all(folder: Path) -> None:
    """Read everything that a folder has."""
    shards = Shards(folder)
    shards.block(0, ROWS)
    _ = shards.photos


def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(folder: Path) -> None:
    for name in ("manifest.json", "names.jsonl", "shards/000001.npy"):
        path = folder / name
        content = path.read_bytes()
        path.unlink()
        os.mkfifo(path)
        with pytest.raises(ShardError, match="it is a pipe, expected a file"):
            read_all(folder)
        path.unlink()
        path.write_bytes(content)
    assert set(write(folder).values()) == {"whole"}


def test_a_shard_of_another_shape_is_not_written(folder: Path) -> None:
    with writing(folder, manifest(), LISTED.encoded()) as writer:
        wrongs: list[Any] = [VALUES, VALUES[:4].astype(np.float64)]
        for wrong in wrongs:
            with pytest.raises(ValueError, match="shard 0: "):
                writer.write(0, wrong)
    np.testing.assert_array_equal(Shards(folder).block(0, ROWS), VALUES)


def test_a_full_disk_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    (folder / "shards/000002.json").unlink()
    with monkeypatch.context() as patch:
        patch.setattr("facenet_validate.shards.writer.write_whole", full)
        with pytest.raises(ShardError, match=r"000002\.npy: cannot be written \(No space left"):
            write(folder)
    assert write(folder) == {0: "whole", 1: "whole", 2: "absent"}
