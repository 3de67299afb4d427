"""``facenet-validate embed``, on the small network and drawn faces."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from facenet_validate.base.preprocessing import standardize
from facenet_validate.cache import Cache
from facenet_validate.cli import main
from facenet_validate.datasets.faces import already_aligned
from facenet_validate.datasets.images import encode_png
from facenet_validate.datasets.synthetic import render_photo
from facenet_validate.engines.onnxruntime.engine import OnnxRuntimeEngine
from facenet_validate.models.prepared import PreparedModel, load_onnx
from facenet_validate.shards import Shards
from tests.conftest import REPOSITORY
from tests.models.small_facenet import EMBEDDING, SIZE
from tests.shards import killed_runs
from tests.shards.folders import bytes_of

PEOPLE, PHOTOS = 6, 3
KILLS = 6


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """18 photos of six people."""
    root = tmp_path_factory.mktemp("drawn")
    for person in range(PEOPLE):
        folder = root / f"Person_{person}"
        folder.mkdir()
        for photo in range(PHOTOS):
            png = encode_png(render_photo(person, photo))
            (folder / f"Person_{person}_{photo + 1:04d}.png").write_bytes(png)
    return root


@pytest.fixture
def embed(
    people: Path,
    prepared_small: PreparedModel,
    small_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    shared_cache: Cache,
) -> list[str]:
    """Arguments that embed 18 photos of six people in shards of 8, with batches of 3."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FACENET_CACHE", str(shared_cache.root))
    shutil.copytree(people, "people")
    engine = load_onnx(prepared_small.entry.path)
    onnx.save(engine, "engine.onnx")
    for weights in engine.graph.initializer:
        if weights.name.endswith("/bias"):
            weights.CopyFrom(
                numpy_helper.from_array(numpy_helper.to_array(weights) + 1, weights.name)
            )
    onnx.save(engine, "other.onnx")
    asked = ["people", "--model", str(small_model), "--engine", "engine.onnx"]
    return [*asked, "--shard-rows", "8", "--batch", "3"]


def test_embeddings_are_those_of_the_engine_in_the_photos_order(
    embed: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["embed", *embed]) == 0
    told = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert told["photos"] == "18 of 6 people"
    assert told["shards"] == "3 of 8 rows: 3 made"
    assert told["wrote"].startswith("people.embeddings: 18 × 16 (set ")
    shards = Shards(Path("people.embeddings"))
    assert shards.shape == (PEOPLE * PHOTOS, EMBEDDING)
    assert shards.people.tolist() == [person for person in range(PEOPLE) for _ in range(PHOTOS)]
    paths = sorted(Path("people").rglob("*.png"))
    names = [path.relative_to("people").as_posix() for path in paths]
    assert list(shards.photos.names) == names
    faces = already_aligned(names, paths)
    batch = standardize(faces.load(np.arange(len(names))), SIZE)
    with OnnxRuntimeEngine(
        Path("engine.onnx"), digest="", precision="fp32", artefact="", device="here", threads=1
    ) as engine:
        np.testing.assert_allclose(shards.block(0, len(names)), engine.run(batch), atol=1e-5)


def test_killed_at_any_step_and_resumed_the_bytes_are_the_same(
    embed: list[str], tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    runs.mkdir()
    command = [sys.executable, killed_runs.__file__, json.dumps(embed), str(runs), str(KILLS)]
    done = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    of_shard = [found["embedded"][:3], found["embedded"][3:6], found["embedded"][6:]]
    assert len(found["embedded"]) == 7
    expected = bytes_of(runs / "whole")
    assert len(expected) == 8
    whole_before = set()
    for one in found["resumed"]:
        missing = [batch for shard, batches in enumerate(of_shard) if shard not in one["before"]
                   for batch in batches]  # fmt: skip
        assert one["embedded"] == missing
        assert bytes_of(runs / one["folder"]) == expected
        whole_before.add(len(one["before"]))
    assert len(found["resumed"]) == KILLS
    assert whole_before >= {0, 1}, "all kills came before the first shard was whole"


def test_a_damaged_shard_alone_is_made_anew(
    embed: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["embed", *embed]) == 0
    out = Path("people.embeddings")
    before = bytes_of(out)
    values = out / "shards" / "000001.npy"
    values.write_bytes(values.read_bytes()[:-4] + b"\0\0\0\0")
    capsys.readouterr()
    assert main(["embed", *embed]) == 0
    assert "3 of 8 rows: 2 were there, 1 damaged, made anew" in capsys.readouterr().out
    assert bytes_of(out) == before
    assert main(["embed", *embed]) == 0
    assert "3 of 8 rows: 3 were there" in capsys.readouterr().out


def test_another_engine_or_set_into_the_same_folder_is_refused_in_one_line(
    embed: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["embed", *embed]) == 0
    before = bytes_of(Path("people.embeddings"))
    capsys.readouterr()

    def refused(arguments: list[str]) -> str:
        assert main(["embed", *arguments]) == 2
        said = capsys.readouterr()
        assert (said.out, len(said.err.splitlines())) == ("", 1)
        assert bytes_of(Path("people.embeddings")) == before
        return said.err

    other = [word.replace("engine.onnx", "other.onnx") for word in embed]
    assert "holds other embeddings: engine is " in refused(other)
    assert "batch is 3 there and 4 here" in refused([*embed[:-1], "4"])
    next(Path("people").rglob("*.png")).unlink()
    assert "rows is 18 there and 17 here, set is " in refused(embed)


def test_a_photo_that_cannot_be_decoded_is_named_with_its_shard(
    embed: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    photo = Path("people/Person_3/Person_3_0002.png")  # row 10
    whole = photo.read_bytes()
    photo.write_bytes(whole[: len(whole) // 2])
    assert main(["embed", *embed]) == 2
    said = capsys.readouterr().err
    assert said.startswith("facenet-validate: shard 000001: Person_3/Person_3_0002.png is ")
    assert said.count("\n") == 1
    assert sorted(path.name for path in Path("people.embeddings/shards").iterdir()) == [
        "000000.json",
        "000000.npy",
    ]


def test_an_engine_that_gives_no_numbers_is_named_with_shard_and_photo(
    embed: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = OnnxRuntimeEngine.run

    def broken(self: OnnxRuntimeEngine, batch: np.ndarray) -> np.ndarray:
        found = plain(self, batch)
        if len(batch) == 3:
            found[1] = np.nan
        return found

    monkeypatch.setattr(OnnxRuntimeEngine, "run", broken)
    assert main(["embed", *embed]) == 2
    told = "shard 000000: the embedding of Person_0/Person_0_0002.png holds NaN or infinity"
    assert told in capsys.readouterr().err


def test_photos_in_no_folder_are_of_nobody(
    embed: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("flat").mkdir()
    for photo in Path("people").rglob("*_0001.png"):
        shutil.copy(photo, "flat")
    assert main(["embed", "flat", *embed[1:]]) == 0
    assert "6 of 0 people; who is on 6 is not known" in capsys.readouterr().out
    assert set(Shards(Path("flat.embeddings")).photos.people) == {None}


def test_of_a_set_in_the_layout_of_lfw_the_folder_of_people_is_taken(
    embed: list[str], small_set: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("lfw/others").mkdir(parents=True)
    Path("lfw/others/another.png").write_bytes(b"no photo of the set")
    Path("lfw/lfw_funneled").symlink_to(small_set)
    shutil.copy(small_set / "pairs.txt", "lfw")
    assert main(["embed", "lfw", *embed[1:]]) == 0
    assert "152 of 38 people" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["gone"], "SET gone: no such folder. Expected a folder of photos"),
        (["engine.onnx"], "SET engine.onnx: it is a file"),
        (["empty"], "SET empty: no photo in it or below it (.jpg, .jpeg, .png)"),
        (["people", "--engine", "gone.onnx"], "--engine: "),
        (["people", "--shard-rows", "0"], "--shard-rows"),
        (["people", "--out", "engine.onnx"], "engine.onnx: it is a file; expected a folder"),
        (["people", "--out", "people"], "people: it holds Person_0 and no manifest.json"),
    ],
)
def test_wrong_use_exits_with_2_and_says_why(
    arguments: list[str], told: str, embed: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("empty").mkdir()
    try:
        code = main(["embed", *embed[1:], *arguments])
    except SystemExit as ended:  # argparse's own
        code = int(ended.code or 0)
    assert code == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert told in said.err
    assert "Traceback" not in said.err


def test_ray_is_asked_for_by_name_and_told_where_it_is_absent(
    embed: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setitem(sys.modules, "ray.data", None)
    assert main(["embed", *embed, "--ray"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("facenet-validate: --ray: Ray Data is not installed")
    assert said.endswith("pip install 'facenet-validate[scale]'\n")
    assert main(["embed", *embed, "--workers", "2"]) == 2
    assert "--workers goes with --ray" in capsys.readouterr().err
    assert not Path("people.embeddings").exists()
