"""What a run says of the files of its sets, and on whom it calibrates."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.datasets.odd_sets import picture, write

GATES = b"""
schema = 1
[gates.any.any.any]
accuracy.acc = 0.1
accuracy.auc = 0.1
"""

TEST = """
import json

def test_it(_facenet_data):
    _facenet_data.faces_of("staff")
    with open("found.json", "w") as file:
        json.dump(_facenet_data.calibration.names, file)
"""


@pytest.fixture
def sets(small_set: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A set in LFW's layout, and a CSV in its tree that shows two people outside its pairs."""
    folder = Path(shutil.copytree(small_set, tmp_path / "lfw"))
    rows = ["left,right,same"]
    for person in range(12):
        name = f"Person_{person:02d}/Person_{person:02d}_000"
        rows += [f"{name}1.png,{name}2.png,1", f"{name}1.png,Person_30/Person_30_0001.png,0"]
    rows.append("Person_31/portrait.png,Person_30/Person_30_0001.png,0")
    write(folder, "Person_31/portrait.png", picture(5))
    return folder, write(folder, "staff.csv", "\n".join(rows).encode())


def test_a_run_counts_names_and_leaves_out(
    project: pytest.Pytester, sets: tuple[Path, Path]
) -> None:
    folder, staff = sets
    write(folder, "Person_00/Person_00_0002_surgical.png", picture(1))
    write(folder, "Person_00/Person_00_0009.png", _bytes(folder, "Person_00/Person_00_0004.png"))
    write(folder, "Person_20/Person_20_0009.png", _bytes(folder, "Person_01/Person_01_0001.png"))
    write(folder, "Person_02/Person_02_0002.png", _bytes(folder, "Person_02/Person_02_0001.png"))
    write(project.path, "baselines/gates.toml", GATES)
    own = project.makepyfile(test_own=TEST)
    result = project.runpytest_inprocess(
        str(own),
        "suites/test_accuracy.py",
        "--precision=fp32",
        f"--facenet-lfw={folder}",
        f"--facenet-pairs={staff}",
        "--facenet-calibration-images=92",
        "--facenet-report=report",
        "--facenet-report-photos=changed",
    )
    assert result.ret == 0
    found = json.loads((project.path / "found.json").read_text())
    calibrated_on = {name[:9] for name in found}
    assert calibrated_on == {f"Person_{person}" for person in range(12, 38)} - {
        "Person_20",
        "Person_30",
        "Person_31",
    }
    result.stdout.fnmatch_lines(
        [
            "data set: images that are not PERSON/PERSON_NNNN*: 2 (Person_00/Person_00_0002_*",
            "data set: photos that are copies *: 2 (Person_00_0009, Person_02_0002)",
            "data set: photos * under two people: 1 (Person_01_0001 = Person_20_0009)",
            "data set: genuine pairs *: 1 (Person_02_0001 = Person_02_0002)",
            "data set: people *not calibrated on: 3 (Person_20, Person_30, Person_31)",
            "data set staff: genuine pairs of a photo and its copy: 1 (Person_02/*",
        ]
    )
    document = json.loads((project.path / "report" / "results.json").read_text())
    assert document["dataset"]["files"]["left_out"]["count"] == 2
    assert document["dataset"]["files"]["not_calibrated_on"]["first"][0] == "Person_20"
    assert document["sets"]["staff"]["files"]["copy_pairs"]["count"] == 1


def test_a_run_without_anybody_to_calibrate_on_offers_no_number(
    project: pytest.Pytester, sets: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FACENET_CALIBRATION_IMAGES")
    folder, _ = sets
    for person in range(12, 38):
        shutil.rmtree(folder / f"Person_{person}")
    write(project.path, "baselines/gates.toml", b"schema = 1\n[gates.any.any.any]\n")
    own = project.makepyfile("def test_it(_facenet_data):\n    _facenet_data.calibration\n")
    result = project.runpytest_inprocess(str(own), f"--facenet-lfw={folder}")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*has 0 photos of people outside*Put photos of other people*"])
    result.stdout.no_fnmatch_line("*--facenet-calibration-images*")


def _bytes(folder: Path, relative: str) -> bytes:
    return (folder / relative).read_bytes()
