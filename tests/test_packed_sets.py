"""Packed sets on the command line: what a run judges and says, and what `inspect` says."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from facenet_validate.base.preprocessing import standardize
from facenet_validate.cli import main
from facenet_validate.datasets.bin_set import load_bin
from facenet_validate.datasets.faces import packed_faces
from facenet_validate.datasets.images import decode_image
from tests.conftest import FEW_PAIRS_GATES
from tests.datasets.packed import PAIRS, content, face, write

ACCURACY = ("suites/test_accuracy.py", "--facenet-report=report", "--precision=fp32")


@pytest.fixture
def own(tmp_path: Path, small_set: Path) -> Path:
    """The pairs of drawn faces, 112×112, as InsightFace packs them."""
    photos: list[bytes] = []
    same: list[bool] = []
    for person in range(12):
        for photo in (2, 3):
            for other, number in ((person, 1), ((person + 1) % 12, photo)):
                photos += [_photo(small_set, person, photo), _photo(small_set, other, number)]
                same.append(other == person)
    return write(tmp_path / "lfw.bin", pickle.dumps((photos, same), 2))


def _photo(folder: Path, person: int, number: int) -> bytes:
    name = f"Person_{person:02d}"
    pixels = decode_image((folder / name / f"{name}_{number:04d}.png").read_bytes(), name=name)
    small = cv2.resize(pixels, (112, 112), interpolation=cv2.INTER_AREA)
    return bytes(cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR))[1])


def test_a_run_judges_a_packed_set_by_its_own_limits(project: pytest.Pytester, own: Path) -> None:
    gates = FEW_PAIRS_GATES.replace("schema = 1", "schema = 1\nsets = ['field']")
    gates += "[gates.field.any.any]\naccuracy.acc = 1.01\naccuracy.auc = 0.5\n"
    (project.path / "baselines" / "gates.toml").write_text(gates)
    result = project.runpytest_inprocess(
        *ACCURACY, f"--facenet-pairs=Field={own}", "--facenet-require=field"
    )
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            "facenet: data set field: the pairs of *lfw.bin, 48 pairs",
            "fail: accuracy.acc, fp32 on field: * observed, limit 1.01; *",
            " accuracy.auc, field *0.5 *pass*",
            "data set field: 48 pairs, 36 images",
        ]
    )
    found = _results(project)["sets"]["field"]
    assert (found["people"], found["alignment"]["aligner"]) == (12, "none")
    assert found["files"]["contradicted"]["count"] == 0


def _results(project: pytest.Pytester) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((project.path / "report" / "results.json").read_text())
    return found


class Trap:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("ending", ["bin", "csv"])
def test_a_hostile_set_ends_the_run_in_one_line(
    project: pytest.Pytester, tmp_path: Path, ending: str
) -> None:
    made = tmp_path / "made"
    photos, same = content()
    trap = pickle.dumps(([*photos[:-1], Trap(made)], same))
    path = write(tmp_path / f"own.{ending}", trap)
    result = project.runpytest_inprocess(*ACCURACY, f"--facenet-pairs={path}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    said = [line for line in result.stderr.lines if line]
    assert len(said) == 1
    assert "its pickle names posix.mkdir, which was not loaded or called" in said[0]
    assert not made.exists()


def test_a_model_reads_packed_faces_in_its_own_size(tmp_path: Path) -> None:
    found = load_bin(write(tmp_path / "s.bin", pickle.dumps(content())))
    assert found.packed is not None
    faces = packed_faces(found.packed, found.names, found.title)
    pixels = faces.load(np.arange(2))
    batch = faces.spread(2, 160)
    assert batch.shape == (2, 3, 160, 160)
    larger = cv2.resize(pixels[0], (160, 160), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(batch[0], standardize(larger[None])[0])
    # A model of the photos' own size reads them as they are.
    np.testing.assert_array_equal(faces.cycled(2, 112), standardize(pixels, 112))


def test_inspect_says_what_is_in_a_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos, same = content()
    photos += [face(0, 0), face(0, 1), face(1, 0), face(1, 0), photos[0], photos[1]]
    same += [False, True, True]
    path = write(tmp_path / "lfw.bin", pickle.dumps((photos, same), 2))
    assert main(["inspect", str(path)]) == 0
    lines = dict(line.split(None, 1) for line in capsys.readouterr().out.splitlines() if line)
    for subject, text in {
        "file": f"{path} (0.",
        "kind": "InsightFace's packed set, a pickle of photos and booleans; nothing in it was run",
        "pairs": f"{PAIRS + 3}: 24 genuine, 23 impostor; 1 repeat another",
        "photos": f"{2 * PAIRS + 6}, {len(set(photos))} of them distinct by their bytes; 112×112",
        "people": "14 by genuine pairs and equal photos; the file names nobody",
        "folds": "10 in the file's order, of 4 to 5 pairs, 2 to 3 of them genuine",
        "note": "impostor pairs whose photos show one person by the genuine pairs",
        "alignment": "the photos are taken as aligned faces of 112×112, without MTCNN",
        "calibration": "on none of its photos",
    }.items():
        assert lines[subject].startswith(text), subject


def test_inspect_refuses_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = tmp_path / "made"
    path = write(tmp_path / "own.bin", pickle.dumps(Trap(made)))
    assert main(["inspect", str(path)]) == 2
    said = capsys.readouterr()
    assert not said.out
    assert said.err.startswith(f"facenet-validate: packed set {path}: its pickle names posix.mkdir")
    assert said.err.count("\n") == 1
    assert not made.exists()


def test_inspect_decodes_every_photo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos, same = content()
    damaged = bytearray(photos[-4])
    damaged[2000:2200] = bytes(200)
    path = write(
        tmp_path / "own.bin", pickle.dumps(([*photos[:-4], bytes(damaged), *photos[-3:]], same))
    )
    assert main(["inspect", str(path)]) == 2
    assert f"{path}: photo-000084 starts like a PNG" in capsys.readouterr().err


def test_a_checkpoint_is_no_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(write(tmp_path / "old.pt", pickle.dumps([1])))]) == 0
    assert "PyTorch checkpoint" in capsys.readouterr().out
