from __future__ import annotations

import random

import pytest

from facenet_validate.history.labels import Label, Placed, lay_out, measure, shortened, wrapped

SIZE, WIDTH = 8.0, 400.0
LONG = "the kernels of the convolutions were fused with their adds " * 3


def label(number: int, place: float) -> Label:
    return Label(f"epoch {number}: {LONG}", f"epoch {number}", place)


def span(label: Label, placed: Placed) -> tuple[float, float]:
    edge, length = label.place + placed.offset, measure(placed.text, SIZE)
    return (edge - length, edge) if placed.before else (edge, edge + length)


@pytest.mark.parametrize("places", ["even", "at one place", "at the end", "random"])
def test_eight_labels_neither_overlap_nor_leave_the_panel(places: str) -> None:
    chance = random.Random(places)
    at = {
        "even": [50.0 * n for n in range(8)],
        "at one place": [200.0] * 8,
        "at the end": [WIDTH - 8.0 + n for n in range(8)],
        "random": sorted(chance.uniform(0.0, WIDTH) for _ in range(8)),
    }[places]
    labels = [label(number, place) for number, place in enumerate(at, start=2)]
    placed = lay_out(labels, WIDTH, SIZE)
    spans = [
        (one.row, *span(*pair)) for pair in zip(labels, placed, strict=True) for one in pair[1:]
    ]
    assert all(low >= 0.0 and high <= WIDTH for _, low, high in spans)
    for number, (row, low, high) in enumerate(spans):
        for other_row, other_low, other_high in spans[:number]:
            assert row != other_row or high <= other_low or low >= other_high
    assert [one.text.partition(":")[0] for one in placed] == [f"epoch {n}" for n in range(2, 10)]
    assert max(one.row for one in placed) < 8


def test_a_label_stands_where_there_is_room() -> None:
    (early,), (late,) = (lay_out([label(2, place)], WIDTH, SIZE) for place in (5.0, WIDTH - 5.0))
    assert (early.before, late.before) == (False, True)
    assert early.text[:20] == late.text[:20] == f"epoch 2: {LONG}"[:20]


def test_shortened_is_no_wider_and_no_shorter_than_it_must_be() -> None:
    for width in (20.0, 100.0, 333.0):
        text = shortened(LONG, SIZE, width)
        assert text.endswith("…")
        assert measure(text, SIZE) <= width
        assert measure(LONG[: len(text) + 1] + "…", SIZE) > width
    assert shortened("brief", SIZE, 100.0) == "brief"


def test_a_title_is_wrapped_and_keeps_its_end() -> None:
    title = f"int8, batch 8, {LONG} and so on, without quota 1.5"
    lines = wrapped(title, SIZE, 200.0, 3)
    assert len(lines) == 3
    assert all(measure(line, SIZE) <= 200.0 for line in lines)
    assert lines[0].startswith("int8, batch 8")
    assert lines[1].endswith("…")
    assert lines[2].endswith("quota 1.5")
    (word,) = wrapped("x" * 500, SIZE, 200.0, 3)
    assert measure(word, SIZE) <= 200.0
    assert wrapped("short title", SIZE, 200.0, 3) == ["short title"]
