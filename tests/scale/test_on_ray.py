"""``embed --ray`` with two workers on this machine: the same shards, whatever happens to a worker.

Run with ``tox -e scale``.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import onnx
import pytest

from facenet_validate.cache import Cache
from facenet_validate.cli import main
from facenet_validate.datasets.images import encode_png
from facenet_validate.datasets.synthetic import render_photo
from facenet_validate.models.prepared import PreparedModel, load_onnx
from tests.conftest import REPOSITORY
from tests.scale import faults
from tests.scale.conftest import RayHere
from tests.shards.folders import bytes_of

pytest.importorskip("ray.data", reason="Ray is in the extra scale: tox -e scale")


@pytest.fixture
def embed(
    prepared_small: PreparedModel,
    small_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    shared_cache: Cache,
) -> list[str]:
    """Arguments that embed 18 photos of six people in shards of 8, with batches of 3."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FACENET_CACHE", str(shared_cache.root))
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    for person in range(6):
        folder = tmp_path / "people" / f"Person_{person}"
        folder.mkdir(parents=True)
        for photo in range(3):
            (folder / f"{photo}.png").write_bytes(encode_png(render_photo(person, photo)))
    onnx.save(load_onnx(prepared_small.entry.path), "engine.onnx")
    asked = ["people", "--model", str(small_model), "--engine", "engine.onnx"]
    return ["embed", *asked, "--shard-rows", "8", "--batch", "3"]


def test_two_workers_give_the_bytes_of_one_process_and_resume(
    embed: list[str], ray_here: RayHere, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*embed, "--out", "alone"]) == 0
    with ray_here():
        assert main([*embed, "--out", "ray", "--ray", "--workers", "2"]) == 0
        assert bytes_of(Path("ray")) == bytes_of(Path("alone"))
        Path("ray/shards/000001.json").unlink()
        capsys.readouterr()
        assert main([*embed, "--out", "ray", "--ray", "--workers", "2"]) == 0
    assert "3 of 8 rows: 2 were there, 1 made" in capsys.readouterr().out
    assert bytes_of(Path("ray")) == bytes_of(Path("alone"))


def test_a_worker_that_is_killed_loses_nothing(
    embed: list[str], ray_here: RayHere, tmp_path: Path
) -> None:
    assert main([*embed, "--out", "alone"]) == 0
    with ray_here("kill_one_worker", **{faults.KILLED: str(tmp_path)}):
        assert main([*embed, "--out", "ray", "--ray", "--workers", "2"]) == 0
    assert (tmp_path / "killed").exists()
    assert bytes_of(Path("ray")) == bytes_of(Path("alone"))


def test_a_photo_that_fails_on_a_worker_is_named_with_its_shard(
    embed: list[str], ray_here: RayHere, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = Path("people/Person_3/1.png")  # row 10
    photo.write_bytes(photo.read_bytes()[:-1000])
    with ray_here():
        assert main([*embed, "--ray", "--workers", "2"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("facenet-validate: shard 000001: Person_3/1.png is a truncated PNG")
    assert said.count("\n") == 1


def test_photos_that_are_not_aligned_are_aligned_by_workers(
    embed: list[str], ray_here: RayHere, tmp_path: Path
) -> None:
    import cv2

    for path in Path("people").rglob("*.png"):
        image = cv2.imread(str(path))
        assert image is not None
        cv2.imwrite(str(path), cv2.resize(image, (200, 200)))
    shutil.copytree(
        "people", "few", ignore=lambda folder, names: [n for n in names if n == "2.png"]
    )
    embed[1] = "few"
    assert main([*embed, "--out", "alone"]) == 0
    with ray_here():
        # No face is known yet where the workers look.
        cache = ["--cache", str(tmp_path / "cache")]
        assert main([*embed, *cache, "--out", "ray", "--ray", "--workers", "2"]) == 0
    assert any((tmp_path / "cache" / "faces").rglob("*.face"))
    assert bytes_of(Path("ray")) == bytes_of(Path("alone"))
