"""``facenet-validate verify``: figures of embeddings in shards are those of the suites."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from facenet_validate.cli import main
from facenet_validate.metrics.all_pairs import all_pairs, compare_all_pairs
from facenet_validate.metrics.gallery_rates import gallery_rates
from facenet_validate.metrics.identification import (
    FPIR_TARGETS,
    compare_searches,
    enrol_first_images,
    search,
)
from facenet_validate.metrics.operating import ErrorRates
from facenet_validate.metrics.points import AllPairsPoint
from facenet_validate.shards import ListedPhotos, writing
from tests.shards.folders import manifest_of

IMAGES, PEOPLE, THRESHOLD = 500, 150, 1.1
SHOWN = (1e-2, 1e-3)  # of 150 people: 11,175 pairs, 112 and 11 of which may be accepted

Embeddings = NDArray[np.float32]


def faces() -> tuple[Embeddings, NDArray[np.int64]]:
    random = np.random.default_rng(8)
    more = random.integers(PEOPLE // 2, size=IMAGES - PEOPLE)
    identities = np.concatenate([np.arange(PEOPLE), more])
    rows = random.normal(size=(PEOPLE, 16))[identities]
    rows += 0.7 * random.normal(size=rows.shape)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(np.float32), identities


def damaged() -> Embeddings:
    rows, _ = faces()
    rows += 0.05 * np.random.default_rng(9).normal(size=rows.shape).astype(np.float32)
    return rows


def write(
    folder: Path,
    rows: Embeddings,
    identities: NDArray[np.int64],
    digest: str = "c",
    shard_rows: int = 64,
) -> Path:
    listed = ListedPhotos(
        tuple(f"{row}.jpg" for row in range(len(rows))),
        tuple(f"person {one:04d}" for one in identities),
        tuple(f"{row:064x}" for row in range(len(rows))),
    )
    more = {"shard_rows": shard_rows, "batch": 8, "set": digest * 64}
    manifest = manifest_of(listed, rows.shape[1], **more)
    with writing(folder, manifest, listed.encoded()) as writer:
        for shard in writer.missing:
            writer.write(shard, rows[slice(*manifest.span(shard))])
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "engine", *faces())


def told(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> dict[str, Any]:
    assert main(["verify", *map(str, arguments), "--json"]) == 0
    values: dict[str, Any] = json.loads(capsys.readouterr().out)
    return values


def assert_rates(values: dict[str, Any], points: tuple[AllPairsPoint, ...]) -> None:
    rates = [rate for rate in values["rates"] if rate["far"] in SHOWN]
    for rate, point in zip(rates, points, strict=True):
        assert rate["impostor_accepted"] == point.impostor_accepted
        if rate["shown"]:
            assert rate["exact"]
            assert (rate["tar"], rate["achieved_far"]) == (point.tar, point.far)
            assert rate["standard_error"] == point.standard_error
            assert (rate["threshold"], rate["interval_95"]) == (
                point.threshold,
                list(point.interval),
            )
    assert [rate["shown"] for rate in values["rates"]] == [True] + 6 * [False]


def assert_operating(values: dict[str, Any], expected: ErrorRates) -> None:
    for name in ("false_rejects", "fnmr", "fnmr_by_person", "false_accepts", "fmr"):
        assert values[name] == getattr(expected, name), name
    assert values["fmr_by_people"] == pytest.approx(expected.fmr_by_people, rel=1e-9)


def test_figures_are_those_of_the_suites(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows, identities = faces()
    found = told(capsys, folder, "--threshold", str(THRESHOLD))
    assert_rates(found["engine"], all_pairs(rows, identities, SHOWN).points)
    assert_operating(found["engine"]["operating"], gallery_rates(rows, identities, THRESHOLD))
    searched = search(rows, rows, enrol_first_images(identities))
    identified = found["identification"]
    assert identified["ranks"]["1"] == searched.first.mean()
    assert identified["fnir"] == [searched.fnir(searched.threshold(one)) for one in FPIR_TARGETS]


def test_another_engine_s_templates(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, identities = faces()
    old = damaged()
    write(tmp_path / "old", old, identities)
    found = told(capsys, folder, "--against", tmp_path / "old", "--threshold", str(THRESHOLD))
    compared = compare_all_pairs(old, rows, identities, SHOWN)
    assert_rates(found["old"], compared.reference.points)
    assert_rates(found["engine"], compared.engine.points)
    (drop,) = found["drops"]
    assert (drop["drop"], drop["interval_95"]) == (
        compared.drops[0].drop,
        list(compared.drops[0].interval),
    )
    mixed = gallery_rates(old, identities, THRESHOLD, probes=rows)
    assert_operating(found["mixed"]["operating"], mixed)
    enrolment = enrol_first_images(identities)
    reference = search(old, old, enrolment)
    for name, searched in (
        ("engine", search(rows, rows, enrolment)),
        ("mixed", search(old, rows, enrolment)),
    ):
        expected = compare_searches(reference, searched, enrolment)
        values = found["identification_beside_old"][name]
        assert (values["rank1"], values["fnir"]) == (expected.rank1, list(expected.fnir))


def test_the_terminal_says_what_a_rate_rests_on(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", str(folder), "--threshold", str(THRESHOLD)]) == 0
    said = capsys.readouterr().out
    assert "500 of 150 people" in said
    assert "TAR at FAR 1e-02" in said
    assert "not shown: rests on" in said
    assert "FMR at the threshold" in said
    assert "within rank 5" in said
    write(tmp_path / "old", damaged(), faces()[1])
    assert main(["verify", str(folder), "--against", str(tmp_path / "old")]) == 0
    said = capsys.readouterr().out
    assert "TAR lost at FAR 1e-02" in said
    assert "identification, mixed" in said


def test_a_folder_of_work_changes_no_digit(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = told(capsys, folder)
    work = tmp_path / "work"
    assert told(capsys, folder, "--work", work) == expected
    (stored,) = work.glob("*/*.stripe")
    made = stored.stat().st_mtime_ns
    assert told(capsys, folder, "--work", work, "--workers", "2") == expected
    assert stored.stat().st_mtime_ns == made


def test_a_set_without_unknown_people_has_no_identification(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, _ = faces()
    folder = write(tmp_path / "pairs", rows, np.arange(IMAGES) // 2)
    assert "nobody is left" in told(capsys, folder)["identification"]["not_shown"]


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("set", "holds embeddings of other photos"),
        ("dimension", "holds embeddings of 8 values"),
        ("people", "the jackknife leaves one out"),
        ("infinite", "embedding 77 holds NaN or infinity"),
        ("threshold", "the threshold must be a number"),
        ("absent", "no manifest.json"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str, message: str
) -> None:
    rows, identities = faces()
    broken = rows.copy()
    broken[77, 3] = np.nan
    other = tmp_path / "other"
    asked: dict[str, list[str | Path]] = {
        "set": [folder, "--against", write(tmp_path / "1", rows, identities, "d")],
        "dimension": [folder, "--against", write(tmp_path / "2", rows[:, :8].copy(), identities)],
        "people": [write(tmp_path / "3", rows, identities % 2)],
        "infinite": [write(tmp_path / "4", broken, identities)],
        "threshold": [folder, "--threshold", "nan"],
        "absent": [other],
    }
    assert main(["verify", *map(str, asked[case])]) == 2
    said = capsys.readouterr()
    assert message in said.err
    assert said.err.count("\n") == 1
    assert not said.out
    assert not other.exists()
