"""Which faces INT8 is calibrated on, as asked for."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from facenet_validate.base.errors import DatasetError
from facenet_validate.cache import Cache
from facenet_validate.datasets.calibration import CalibrationFaces
from facenet_validate.datasets.faces import already_aligned
from facenet_validate.datasets.images import encode_png
from facenet_validate.run.data import Data


def _write(folder: Path, person: str, photos: int, seed: int) -> list[Path]:
    random = np.random.default_rng(seed)
    paths = [folder / person / f"{person}_{photo + 1:04}.png" for photo in range(photos)]
    (folder / person).mkdir(parents=True)
    for path in paths:
        path.write_bytes(encode_png(random.integers(0, 255, (160, 160, 3), np.uint8)))
    return paths


def _data(tmp_path: Path, asked: object) -> Data:
    """A set of two people's photos without anybody to calibrate on, in a run that asks."""
    paths = tuple(
        _write(tmp_path / "set", "Anna_B", 2, seed=1) + _write(tmp_path / "set", "Cid", 2, 2)
    )
    first = SimpleNamespace(
        names=tuple(path.stem for path in paths),
        paths=paths,
        calibration_names=(),
        calibration_paths=(),
    )
    run: Any = SimpleNamespace(
        settings=SimpleNamespace(
            calibration=asked, lfw=tmp_path / "set", origins={}, calibration_images=512
        ),
        progress=SimpleNamespace(stage=lambda title: pytest.MonkeyPatch.context()),
        threads=1,
        set_names=("lfw",),
        dataset_name="lfw",
        report=SimpleNamespace(),
    )

    def check_calibration(found: int) -> None:
        raise DatasetError(f"{found} photos to calibrate on")

    run.check_calibration = check_calibration
    data = Data(run, Cache(tmp_path / "cache"))
    data._first = first  # type: ignore[assignment]
    data.take(already_aligned(first.names, first.paths))
    return data


def test_without_photos_the_set_cannot_calibrate(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="0 photos to calibrate on"):
        _ = _data(tmp_path, "set").calibration


def test_faces_of_a_folder(tmp_path: Path) -> None:
    paths = _write(tmp_path / "others", "Dora", 500, seed=3)
    found = _data(tmp_path, tmp_path / "others").calibration
    assert len(found.names) == 500
    assert found.names[0] == f"Dora/{paths[0].stem}"


@pytest.mark.parametrize(
    ("person", "seed", "says"),
    [
        ("Anna_B", 3, "shows Anna_B, who is in the evaluation pairs"),
        ("Dora", 1, "same picture|same pixels|Anna_B_0001"),
    ],
)
def test_people_and_pictures_of_the_pairs_are_refused(
    tmp_path: Path, person: str, seed: int, says: str
) -> None:
    _write(tmp_path / "others", person, 500, seed)
    with pytest.raises(DatasetError, match=says):
        _ = _data(tmp_path, tmp_path / "others").calibration


def test_the_faces_that_the_package_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = _write(tmp_path / "drawn", "Nobody", 3, seed=5)
    faces = already_aligned([path.stem for path in paths], paths)
    drawn = CalibrationFaces(faces, faces, "", "", drawn=True)
    monkeypatch.setattr("facenet_validate.run.data.drawn_faces", lambda *_: drawn)
    assert _data(tmp_path, "packaged").calibration is faces
