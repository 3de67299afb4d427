"""Photos of people in reports: whose are shown, and what people are called."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from facenet_validate.datasets.faces import AlignedFaces
from facenet_validate.datasets.images import encode_png
from facenet_validate.datasets.notes import FileNotes
from facenet_validate.reporting.photos import (
    MOST_PAIRS,
    PhotoRules,
    photo_lines,
    photos_of,
    set_without_names,
    with_pictures,
)
from tests.run.test_replacement import photos


def _faces(names: tuple[str, ...]) -> AlignedFaces:
    random = np.random.default_rng(0)

    def read(row: int) -> bytes:
        return encode_png(random.integers(0, 255, (160, 160, 3), dtype=np.uint8))

    return AlignedFaces(names, "d" * 64, read)


def _seen(count: int) -> dict[str, list[dict[str, Any]]]:
    def pairs(first: int, count: int) -> list[dict[str, Any]]:
        return [{"pair": first + n, "distance": n / 100, "threshold": 0.0} for n in range(count)]

    return {"changed": pairs(0, count), "hardest_genuine": pairs(100, 2), "hardest_impostor": []}


@pytest.mark.parametrize(
    ("name", "errata", "asked", "expected"),
    [
        ("orl", (), None, "changed"),
        ("synthetic", (), None, "changed"),
        ("lfw", (112,), None, "changed"),
        ("lfw", (), None, "none"),
        ("staff", (), None, "none"),
        ("staff", (), "all", "all"),
        ("orl", (), "none", "none"),
    ],
)
def test_whose_photos_are_shown(
    name: str, errata: tuple[int, ...], asked: Any, expected: str
) -> None:
    dataset = replace(photos()[0], name=name, suspect=np.array(errata, np.intp))
    assert photos_of(dataset, asked) == expected
    (line,) = photo_lines({name: expected})
    assert f"--facenet-report-photos {expected}" in line


def test_a_set_without_names_has_rows_and_counts() -> None:
    dataset, _ = photos()
    dataset = replace(dataset, notes=FileNotes(left_out=("Ann/x.png", "Ben/y.png")))
    hidden = set_without_names(dataset)
    assert hidden.names[:2] == ("row 0", "row 1")
    assert len(hidden.names) == len(dataset.names)
    facts = hidden.notes.facts()
    assert facts["left_out"]["count"] == 2
    assert "Ann" not in json.dumps(facts)


@pytest.mark.parametrize(("shown", "kinds"), [("all", 2), ("changed", 1), ("none", 0)])
def test_photos_are_written_for_the_pairs_that_are_shown(
    shown: Any, kinds: int, tmp_path: Path
) -> None:
    dataset, _ = photos()
    found = with_pictures(_seen(3), dataset, _faces(dataset.names), PhotoRules(shown, tmp_path))
    pictured = [kind for kind, pairs in found.items() if pairs and "left_picture" in pairs[0]]
    assert pictured == ["changed", "hardest_genuine"][:kinds]
    for kind in pictured:
        for pair in found[kind]:
            for side in ("left_picture", "right_picture"):
                picture = cv2.imread(str(tmp_path / pair[side]))
                assert picture is not None
                assert picture.shape[0] <= 160
    assert (tmp_path / "pictures").exists() is bool(kinds)


def test_of_many_pairs_those_furthest_from_the_threshold_are_shown(tmp_path: Path) -> None:
    dataset, _ = photos()
    rules = PhotoRules("changed", tmp_path)
    found = with_pictures(_seen(MOST_PAIRS + 5), dataset, _faces(dataset.names), rules)
    shown = [pair["pair"] for pair in found["changed"] if "left_picture" in pair]
    assert shown == list(range(5, MOST_PAIRS + 5))


def test_without_a_report_nothing_is_written() -> None:
    dataset, _ = photos()
    seen = _seen(3)
    assert with_pictures(seen, dataset, _faces(dataset.names), PhotoRules("all", None)) == seen
