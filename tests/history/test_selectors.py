from __future__ import annotations

from pathlib import Path

import pytest

from facenet_validate.base.errors import SettingsError
from facenet_validate.history.selectors import select
from facenet_validate.history.series import Filter, Series, group
from facenet_validate.history.sources import Found, session_id
from tests.history.sessions import make_session, report_file, series_of


@pytest.fixture(scope="module")
def series() -> Series:
    return series_of([make_session(day, epoch=1 + day // 3) for day in range(6)])


def days(selector: str, series: Series, wanted: Filter | None = None) -> list[int]:
    found = select(selector, [series], wanted or Filter()).entries
    return [entry.when.day - 1 for entries in found.values() for entry in entries]


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("latest", [5]),
        ("latest~0", [5]),
        ("latest~5", [0]),
        ("latest~6", []),
        ("epoch:2", [3, 4, 5]),
        ("epoch:7", []),
        ("commit:a3a3", [2]),  # 161 + 2 in hexadecimal
        ("commit:ffff", []),
    ],
)
def test_selectors(selector: str, expected: list[int], series: Series) -> None:
    assert days(selector, series) == expected


def test_an_id_is_found_by_its_first_digits(series: Series) -> None:
    entry = series.entries[2]
    assert days(entry.short_id, series) == [2]
    assert days(entry.id, series) == [2]


@pytest.mark.parametrize(
    "selector", ["zzz", "latest~", "latest~-1", "epoch:", "epoch:x", "commit:a3", "a3", ""]
)
def test_what_is_no_selector_is_refused(
    selector: str, series: Series, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match="expected an id, latest, latest~N"):
        select(selector, [series], Filter())


def test_an_unknown_id_and_one_of_several_are_refused() -> None:
    sessions = [make_session(day) for day in range(2)]
    twins = group(Found(s, True, Path("x"), f"abcd{session_id(s)[4:]}") for s in sessions)
    with pytest.raises(SettingsError, match=r"2 sessions .* Give more digits"):
        select("abcd", twins, Filter())
    with pytest.raises(SettingsError, match="no session has this id"):
        select("0123", twins, Filter())


def test_a_file_is_read_and_filtered(tmp_path: Path, series: Series) -> None:
    path = report_file(tmp_path, make_session(20), make_session(21))
    assert days(str(path), series) == [20, 21]
    assert days(str(path), series, Filter(limit=1)) == [21]
    assert days(str(path), series, Filter(precision="fp16")) == []


def test_what_cannot_be_read_of_a_file_is_told(tmp_path: Path, series: Series) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text("{\n")
    (problem,) = select(str(path), [series], Filter()).problems
    assert problem.where == f"{path}:1"


def test_an_epoch_is_what_was_accepted() -> None:
    """A run of a branch that nobody accepted is not what a machine is held to."""
    sessions = [make_session(day) for day in range(4)]
    mixed = group(
        Found(s, accepted, Path("x"), session_id(s))
        for s, accepted in zip(sessions, (True, False, True, False), strict=True)
    )
    assert days("epoch:1", mixed[0]) == [0, 2]
    assert days("epoch:1", series_of(sessions, accepted=False)) == [0, 1, 2, 3]


def test_newest_epochs(series: Series) -> None:
    everything = select("commit:a1a1", [series], Filter())
    both = {series.identity: series.entries}
    newest = type(everything)("x", both).newest_epochs().entries[series.identity]
    assert [entry.epoch for entry in newest] == [2, 2, 2]
