from __future__ import annotations

from pathlib import Path

import pytest

from facenet_validate.cli import main, project_files


def test_init_copies_suites_and_gates(tmp_path: Path) -> None:
    assert main(["init", str(tmp_path / "project")]) == 0
    names = {path.relative_to(tmp_path / "project").as_posix() for path in tmp_path.rglob("*.*")}
    assert {"suites/test_accuracy.py", "suites/test_parity.py", "baselines/gates.toml"} <= names


def test_init_overwrites_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "baselines").mkdir()
    mine = tmp_path / "baselines" / "gates.toml"
    mine.write_text("mine")
    assert main(["init", str(tmp_path)]) == 2
    assert "gates.toml exists; nothing was copied" in capsys.readouterr().err
    assert mine.read_text() == "mine"
    assert not (tmp_path / "suites").exists()


def test_doctor_says_what_would_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    assert "INT8 target" in text
    assert "graph_final.pb" in text


def test_every_suite_is_copied() -> None:
    suites = {path.name for path in (Path(__file__).parents[1] / "suites").glob("*.py")}
    assert suites == {target.name for _, target in project_files() if target.parts[0] == "suites"}
