from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import IO

import pytest

from facenet_validate.base.errors import SettingsError
from facenet_validate.history.export import COLUMNS, check_free, write_csv, write_file
from tests.history.sessions import make_session, series_of


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_a_row_a_session_reads_back_bit_for_bit() -> None:
    session = make_session(
        0, 0.1 / 3, reason='quoted "reason",\nof two lines', provenance={"commit": "c", "gcc": "13"}
    )
    series = series_of([session, make_session(1, 0.05, paired_ratio=None, paired_interval=None)])
    file = io.StringIO()
    assert write_csv(file, [series]) == 2
    first, second = rows(file.getvalue())
    assert tuple(first) == COLUMNS
    assert float(first["latency_seconds"]) == session.latency_seconds
    assert float(first["fps"]) == 8 / session.latency_seconds
    low, high = series.entries[0].interval
    assert (float(first["latency_low_seconds"]), float(first["latency_high_seconds"])) == (
        low,
        high,
    )
    assert first["reason"] == session.reason
    assert first["shape"] == "8x3x160x160"
    assert first["accepted"] == "true"
    assert first["provenance_commit"] == "c"
    assert first["provenance_other"] == '{"gcc": "13"}'
    assert (first["fp32_ratio"], first["fp32_ratio_low"]) == ("2.0", "1.97")
    assert (second["fp32_ratio"], second["fp32_ratio_high"]) == ("", "")
    assert float(second["latency_to_epoch_median"]) == pytest.approx(0.05 / ((0.1 / 3 + 0.05) / 2))


def test_columns_are_in_the_documentation() -> None:
    text = (Path(__file__).parents[2] / "docs/guide/history.md").read_text(encoding="utf-8")
    for name in COLUMNS:
        if not name.startswith("provenance_"):
            assert f"`{name}`" in text


def test_a_file_is_whole_or_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("old")

    def fails(file: IO[bytes]) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    def succeeds(file: IO[bytes]) -> None:
        file.write(b"new")

    with pytest.raises(SettingsError, match="No space left"):
        write_file(path, fails)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    write_file(path, succeeds)
    assert path.read_text() == "new"


def test_an_existing_file_is_replaced_only_by_force(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    check_free(path, force=False)
    path.touch()
    with pytest.raises(SettingsError, match="--force replaces it"):
        check_free(path, force=False)
    check_free(path, force=True)
    with pytest.raises(SettingsError, match="no file"):
        check_free(tmp_path, force=True)


@pytest.mark.parametrize(
    ("name", "why"), [("file/x.csv", "Not a directory"), (f"{'n' * 256}.csv", "name too long")]
)
def test_a_name_that_cannot_be_is_told(tmp_path: Path, name: str, why: str) -> None:
    (tmp_path / "file").touch()
    check_free(tmp_path / name, force=True)
    with pytest.raises(SettingsError, match=f"cannot be written .*{why}"):
        write_file(tmp_path / name, lambda file: None)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_longest_name_is_written(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 255)
    write_file(path, lambda file: None)
    assert path.is_file()


def test_a_folder_that_cannot_be_searched_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, *arguments: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    for method in ("open", "unlink", "stat"):
        monkeypatch.setattr(Path, method, refuse)
    check_free(tmp_path / "x.csv", force=True)
    with pytest.raises(SettingsError, match="Permission denied"):
        write_file(tmp_path / "x.csv", lambda file: None)


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be written"):
        write_file(tmp_path / "no/x.csv", lambda file: None)
