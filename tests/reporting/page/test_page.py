"""The page of a report: every number of it is the file's, and it needs nothing but itself."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from facenet_validate.reporting.page.render import render
from facenet_validate.reporting.page.writing import PictureFolder, write_page
from tests.reporting.page.documents import document
from tests.reporting.page.reading import Reading, at, read, same

STATIC = re.compile(r"FP32|FP16|INT8|int8|95 %|sha256|[Rr]ank[- ]1")
"""Names with digits, which are no values."""


@pytest.fixture(scope="module")
def values() -> dict[str, Any]:
    return document()


@pytest.fixture(scope="module")
def page(values: dict[str, Any]) -> str:
    return render(values)


@pytest.fixture(scope="module")
def reading(page: str) -> Reading:
    return read(page)


def test_every_value_of_the_page_is_the_file_s(values: dict[str, Any], reading: Reading) -> None:
    assert len(reading.values) > 500
    assert [one for one in reading.values if not same(values, one)] == []


def test_a_number_that_differs_is_found(values: dict[str, Any]) -> None:
    page = render(values)
    number = values["gates"][0]["observed"]
    assert f'value="{number!r}"' in page
    for changed in (
        page.replace(f'value="{number!r}"', 'value="0.123"'),
        page.replace('data-path="/gates/0/observed"', 'data-path="/gates/0/limit"'),
    ):
        assert [one for one in read(changed).values if not same(values, one)]


def test_no_number_stands_outside_of_a_value(reading: Reading) -> None:
    assert [words for words in reading.words if re.search(r"\d", STATIC.sub("", words))] == []


def test_every_gate_and_every_measurement_is_shown(
    values: dict[str, Any], reading: Reading
) -> None:
    shown = {one.path for one in reading.values}
    for place, _ in enumerate(values["gates"]):
        assert (
            f"/gates/{place}/observed" in shown or at(values, f"/gates/{place}")["observed"] is None
        )
        assert f"/gates/{place}/verdict" in shown
    for place, measured in enumerate(values["measurements"]):
        assert any(path.startswith(f"/measurements/{place}/") for path in shown), measured["name"]


def test_each_kind_of_picture_is_drawn(reading: Reading) -> None:
    drawn = {name.partition("-")[2] for name in reading.ids if name.endswith("-title")}
    kinds = (
        "roc", "det", "distances", "folds", "cosines", "drop", "templates", "groups", "rank1-loss",
        "fnir-loss", "severities", "blocks", "quads", "stored", "layers-0", "0-walk",
    )  # fmt: skip
    assert drawn == {f"{kind}-title" for kind in kinds}


def test_the_page_asks_for_nothing(page: str, reading: Reading) -> None:
    outside = [link for link in reading.links if not link.startswith(("#", "data:"))]
    assert outside == []
    assert not {tag for tag, _ in reading.elements} & {"script", "iframe", "object", "embed"}
    assert "default-src 'none'" in page
    assert "@import" not in page
    assert "url(http" not in page


def test_ids_are_unique_and_what_points_at_them_is_there(page: str, reading: Reading) -> None:
    assert len(reading.ids) == len(set(reading.ids))
    ids = set(reading.ids)
    pointed = {link[1:] for link in reading.links if link.startswith("#")}
    pointed |= set(re.findall(r"url\(#([^)]+)\)", page))
    for _, attributes in reading.elements:
        for name in ("aria-labelledby", "aria-describedby"):
            pointed |= set((attributes.get(name) or "").split())
    assert pointed <= ids


def test_drawings_take_the_page_s_colours(page: str) -> None:
    drawings = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert drawings
    for drawing in drawings:
        assert 'role="img"' in drawing
        assert set(re.findall(r"#[0-9a-f]{6}\b", drawing)) <= {"#000000"}


def test_the_same_values_give_the_same_page(values: dict[str, Any], page: str) -> None:
    assert render(values) == page


def test_the_first_words_are_verdict_failures_cause_and_remedy(page: str) -> None:
    page = page[page.index("<main>") :]
    text = re.sub(r"<[^>]+>", " ", page)
    places = [
        text.index(words)
        for words in (
            "red and blue are exchanged",
            "it explains",
            "Feed the engine RGB",
            "What was tested",
        )
    ]
    assert places == sorted(places)


@pytest.mark.parametrize(
    "values",
    [
        {"schema": 1, "verdict": "unfinished", "finished_at": None, "gates": []},
        {
            "schema": 1,
            "verdict": "fail",
            "errors": [{"test": "", "phase": "configure", "reason": "<b>"}],
        },
        {},
    ],
    ids=["unfinished", "usage error", "nothing"],
)
def test_a_report_that_judged_nothing_has_a_page(values: dict[str, Any]) -> None:
    page = render(values)
    assert [one for one in read(page).values if not same(values, one)] == []
    assert "<b>" not in page


def test_a_report_of_an_older_version_has_a_page(values: dict[str, Any]) -> None:
    older = {**values, "measurements": [dict(one) for one in values["measurements"]]}
    for name in ("counts", "photos", "sentence"):
        del older[name]
    for measured in older["measurements"]:
        for name in ("reference", "distances", "roc_interval_95", "stored"):
            measured.pop(name, None)
    assert [one for one in read(render(older)).values if not same(older, one)] == []


def test_text_of_the_file_is_no_markup() -> None:
    values = document()
    values["gates"][0]["detail"] = "<script>alert(1)</script>"
    values["measurements"][-1]["text"] = '"><img src=x onerror=alert(1)>'
    page = render(values)
    assert "<script" not in page
    assert "<img src=x" not in page


def _picture(path: Path, side: int = 8) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    cv2.imwrite(str(path), random.integers(0, 255, (side, side, 3), dtype=np.uint8))


def test_photos_of_pairs_are_within_the_page(tmp_path: Path) -> None:
    values = document()
    (paired,) = [one for one in values["measurements"] if one["name"] == "paired comparison"]
    paired["worth_seeing"]["changed"][0]["left_picture"] = "pictures/face.jpg"
    _picture(tmp_path / "pictures" / "face.jpg")
    page = write_page(tmp_path, values).read_text()
    assert page.count('<img src="data:image/jpeg;base64,') == 1


def test_a_picture_outside_of_the_folder_is_not_taken(tmp_path: Path) -> None:
    _picture(tmp_path / "secret.png")
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "notes.txt").write_text("text")
    folder = PictureFolder(tmp_path / "report")
    for name in ("../secret.png", str(tmp_path / "secret.png"), "notes.txt", ".", "absent.png"):
        assert folder.read(name) is None


def test_pictures_stop_where_the_page_is_full(tmp_path: Path) -> None:
    _picture(tmp_path / "large.png", side=300)
    size = len(PictureFolder(tmp_path).read("large.png") or b"")
    assert 0 < size < (tmp_path / "large.png").stat().st_size
    folder = PictureFolder(tmp_path, room=size)
    assert folder.read("large.png") is not None
    assert folder.read("large.png") is None


def test_what_is_inconclusive_is_not_called_failed(values: dict[str, Any]) -> None:
    gate = {**values["gates"][0], "verdict": "inconclusive", "fails": False}
    told = {**values, "verdict": "inconclusive", "gates": [gate], "errors": []}
    page = render(told)
    assert "What was not decided" in page
    assert "What failed" not in page
    assert "What failed" in render({**told, "gates": [{**gate, "verdict": "fail", "fails": True}]})
