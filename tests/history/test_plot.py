from __future__ import annotations

import io
import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from facenet_validate.base.errors import SettingsError
from facenet_validate.benchmarking.sessions import Session
from facenet_validate.datasets.images import decode_image
from facenet_validate.history.changes import change_points
from facenet_validate.history.plot import draw, picture_format
from facenet_validate.history.series import Series, group
from facenet_validate.history.sources import Found, session_id
from tests.history.sessions import BEGIN, IDENTITY, make_session, series_of


@pytest.fixture
def stepped() -> Series:
    """Two epochs; in the second, a step of 6 % at its sixth session."""
    chance = np.random.default_rng(2)
    levels = [0.12] * 6 + [0.1] * 5 + [0.106] * 6
    return series_of(
        [
            make_session(
                day,
                float(level * np.exp(chance.normal(0.0, 0.003))),
                epoch=1 + (day > 5),
                reason={6: "$\\fast$ kernels"}.get(day, ""),
            )
            for day, level in enumerate(levels)
        ]
    )


def picture(every: list[Series], kind: str = "svg", **options: object) -> bytes:
    file = io.BytesIO()
    points = change_points(every)
    draw(file, every, points, **{"ratio": False, "kind": kind, **options})  # type: ignore[arg-type]
    return file.getvalue()


def texts(svg: bytes) -> list[str]:
    """Return the texts of a picture: matplotlib writes each as a comment beside its outlines."""
    return [found.strip() for found in re.findall(r"<!--(.*?)-->", svg.decode(), re.DOTALL)]


def test_epochs_reasons_change_points_and_commits_are_named(stepped: Series) -> None:
    found = texts(picture([stepped], title="the newest"))
    assert "int8, batch 8, onnxruntime, Fast(R) CPU" in found
    assert "latency, ms a batch" in found
    assert "recorded, UTC" in found
    assert "epoch 2: $\\fast$ kernels" in found  # a reason is no formula
    (change,) = (text for text in found if " at " in text)
    assert re.fullmatch(r"a: \+[56]\.\d % at acacaca", change)  # 161 + 11 in hexadecimal
    assert {"2", "a"} <= set(found)  # the marks of their lines
    legend = {"95 % interval of the median block", "accepted session", "epoch begins"}
    assert {*legend, "change point", "the newest"} <= set(found)
    assert "run that was not accepted" not in found


def test_a_ratio_is_drawn_with_its_intervals(stepped: Series) -> None:
    without = make_session(30, epoch=2, paired_ratio=None, paired_interval=None)
    unbounded = make_session(31, epoch=2, paired_interval=None)
    series = series_of([*(e.session for e in stepped.entries), without, unbounded])
    found = texts(picture([series], ratio=True))
    assert "speed, × FP32's" in found
    assert "interval of the ratio" in found


def test_a_loss_of_speed_is_labelled_as_one() -> None:
    sessions = [
        make_session(day, 0.1 + 1e-6 * day, paired_ratio=2.0 if day < 8 else 1.8)
        for day in range(16)
    ]
    series = series_of(sessions)
    file = io.BytesIO()
    draw(file, [series], change_points([series], ratio=True), ratio=True, kind="svg")
    assert "a: -10.0 % at a9a9a9a" in texts(file.getvalue())


def test_an_epoch_begun_by_the_last_session_is_named_within_its_panel() -> None:
    reason = "the kernels of the convolutions were fused with their adds " * 4
    every = [
        series_of(
            [
                make_session(
                    day, identity=replace(IDENTITY, batch=b), epoch=1 + (day == 9), reason=reason
                )
                for day in range(10)
            ]
        )
        for b in range(1, 6)
    ]
    svg = picture(every)
    labels = [text for text in texts(svg) if text.startswith("epoch 2: the kernels")]
    assert len(labels) == 5
    assert all(text.endswith("…") for text in labels)


def test_every_epoch_is_marked_and_the_newest_are_listed() -> None:
    sessions = [make_session(day, epoch=1 + day, reason=f"reason {day}") for day in range(11)]
    found = texts(picture([series_of(sessions)]))
    assert {str(epoch) for epoch in range(2, 12)} <= set(found)
    listed = [text for text in found if text.startswith("epoch ") and ":" in text]
    assert listed == [f"epoch {epoch}: reason {epoch - 1}" for epoch in range(4, 12)]


def test_sessions_that_agree_are_not_blown_up() -> None:
    blocks = (0.1, 0.1001) * 6
    sessions = [make_session(day, block_seconds=blocks) for day in range(3)]
    found = texts(picture([series_of(sessions)]))
    ticks = [float(text) for text in found if re.fullmatch(r"[0-9.]+", text)]
    assert max(ticks) - min(ticks) > 0.5  # of 100 ms


def test_a_long_device_name_is_wrapped_into_its_panel() -> None:
    device = "Processor with an unusually long name of many words, " * 3
    every = [
        series_of([make_session(0, identity=replace(IDENTITY, batch=b, device=device))])
        for b in range(1, 6)
    ]
    lines = [text for text in texts(picture(every)) if "unusually" in text]
    assert max(map(len, lines)) < 110
    assert not any(len(text) > 110 for text in texts(picture(every)))


def test_a_title_that_is_too_long_keeps_its_end() -> None:
    device = "a word " * 100
    one, two = (replace(IDENTITY, device=device, target=target) for target in ("cpu", "cpu-vnni"))
    every = group(
        Found(s, True, Path("x"), session_id(s))
        for s in (make_session(identity=one), make_session(identity=two))
    )
    found = texts(picture(list(every)))
    assert [text for text in found if "target" in text] == [
        line for line in found if line.endswith(("target cpu", "target cpu-vnni"))
    ]
    assert sum("word" in text for text in found) <= 6
    assert sum(text.endswith(" …") for text in found) == 2


def test_a_png_shows_the_colours_of_what_the_legend_names(stepped: Series) -> None:
    def count(series: Series, colour: tuple[int, int, int]) -> int:
        pixels = decode_image(picture([series], "png"), name="picture").reshape(-1, 3)
        return int((np.abs(pixels.astype(int) - colour).max(axis=1) <= 8).sum())

    blue, vermilion, grey = (0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00), (0x55, 0x55, 0x55)
    assert min(count(stepped, colour) for colour in (blue, vermilion, grey)) >= 5
    level = series_of([entry.session for entry in stepped.entries if entry.epoch == 1])
    assert count(level, blue) >= 5
    assert count(level, vermilion) == 0


def test_runs_that_were_not_accepted_are_hollow() -> None:
    sessions = [make_session(day) for day in range(4)]
    (series,) = group(
        Found(s, number < 2, Path("x"), session_id(s)) for number, s in enumerate(sessions)
    )
    found = texts(picture([series]))
    assert {"accepted session", "run that was not accepted"} <= set(found)


@pytest.mark.parametrize("count", [1, 3, 4, 7])
def test_there_is_a_panel_a_series(count: int) -> None:
    def session(batch: int, day: int) -> Session:
        return make_session(day, identity=replace(IDENTITY, batch=batch))

    every = [series_of([session(batch, day) for day in range(3)]) for batch in range(1, 1 + count)]
    found = texts(picture(every))
    assert sum(text.startswith("int8, batch ") for text in found) == count
    assert found.count("latency, ms a batch") == count


def test_one_session_is_drawn() -> None:
    assert "accepted session" in texts(picture([series_of([make_session()])]))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("hours", [0.01, 0.5, 5, 23, 50, 70, 100, 143, 145, 300, 1000, 9000, 50000])
def test_any_span_of_time_has_ticks_of_its_own(hours: float) -> None:
    later = (BEGIN + timedelta(hours=hours)).isoformat(timespec="seconds")
    series = series_of([make_session(0), make_session(1, recorded_at=later)])
    ticks = [text for text in texts(picture([series])) if re.match(r"[0-9]+-[0-9]+", text)]
    assert 2 <= len(ticks) <= 9
    assert len(set(ticks)) == len(ticks)


def test_a_large_svg_stays_small() -> None:
    sessions = [make_session(day % 365, 0.1 + 1e-6 * day) for day in range(2500)]
    assert len(picture([series_of(sessions)])) < 500_000


def test_the_same_sessions_give_the_same_picture(stepped: Series) -> None:
    assert picture([stepped], "png") == picture([stepped], "png")


def test_the_format_is_the_files_ending() -> None:
    assert picture_format(Path("a.PNG")) == "png"
    assert picture_format(Path("b/a.svg")) == "svg"
    for name in ("a.pdf", "png", ".png"):
        with pytest.raises(SettingsError, match=r"\.png or \.svg"):
            picture_format(Path(name))
