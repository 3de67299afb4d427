"""``verify --ray`` with two workers on this machine: the same digits, whatever happens to a worker.

Run with ``tox -e scale``.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from facenet_validate.cli import main
from facenet_validate.metrics.stripes import stripes_of
from tests.scale import faults
from tests.scale.conftest import RayHere
from tests.shards.test_verify import told, write

pytest.importorskip("ray.data", reason="Ray is in the extra scale: tox -e scale")

IMAGES, PEOPLE = 9_000, 3_500  # nine stripes


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Embeddings of the same photos by a new and an old engine."""
    random = np.random.default_rng(8)
    identities = np.concatenate([np.arange(PEOPLE), random.integers(1500, size=IMAGES - PEOPLE)])
    rows = random.normal(size=(PEOPLE, 16))[identities] + 0.7 * random.normal(size=(IMAGES, 16))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    new = rows.astype(np.float32)
    old = new + 0.02 * random.normal(size=rows.shape).astype(np.float32)
    return (
        write(tmp_path / "new", new, identities, shard_rows=4096),
        write(tmp_path / "old", old, identities, shard_rows=4096),
    )


def test_two_workers_give_the_digits_of_one_process(
    folders: tuple[Path, Path],
    ray_here: RayHere,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    new, old = folders
    asked: list[str | Path] = [new, "--against", old, "--threshold", "1.1"]
    expected = told(capsys, *asked, "--workers", "1")
    with ray_here():
        assert told(capsys, *asked, "--ray", "--workers", "2") == expected
        assert told(capsys, *asked, "--ray", "--work", tmp_path / "work") == expected
    # What Ray compared is not compared again without it.
    stored = {path: path.read_bytes() for path in (tmp_path / "work").glob("*/*.stripe")}
    assert len(stored) == 3 * len(stripes_of(IMAGES))
    assert told(capsys, *asked, "--work", tmp_path / "work") == expected
    assert {path: path.read_bytes() for path in stored} == stored


def test_a_worker_that_is_killed_loses_nothing(
    folders: tuple[Path, Path],
    ray_here: RayHere,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    expected = told(capsys, folders[0], "--workers", "1")
    with ray_here("kill_one_worker_that_compares", **{faults.KILLED: str(tmp_path)}):
        assert main(["verify", str(folders[0]), "--ray", "--workers", "2", "--json"]) == 0
    said = capsys.readouterr().out
    # Ray, which the test started, prints that a worker died; when it comes to it.
    assert json.JSONDecoder().raw_decode(said[said.index("{") :])[0] == expected
    assert (tmp_path / "killed").exists()


def test_other_embeddings_on_a_worker_are_named(
    folders: tuple[Path, Path], ray_here: RayHere, capsys: pytest.CaptureFixture[str]
) -> None:
    with ray_here("other_embeddings"):
        assert main(["verify", str(folders[0]), "--ray"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("facenet-validate: on a worker of Ray: ")
    assert "new holds other embeddings on this host" in said
    assert said.count("\n") == 1


def test_an_address_without_a_cluster_is_named(
    folders: tuple[Path, Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "nonsense")
    assert main(["verify", str(folders[0]), "--ray"]) == 2
    assert capsys.readouterr().err.startswith("facenet-validate: RAY_ADDRESS=nonsense: Ray did not")
