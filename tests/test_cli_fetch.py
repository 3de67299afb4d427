"""``facenet-validate fetch lfw`` as a user types it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from facenet_validate.cli import main
from facenet_validate.commands import fetch
from facenet_validate.datasets.download import downloaded_lfw
from facenet_validate.datasets.sums import SUMS
from tests.datasets.test_download import LIST, PHOTOS, Server, serving


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A mirror, which has other files than LFW's own."""
    monkeypatch.setattr(fetch, "LISTS", (LIST,))
    monkeypatch.setattr(fetch, "ARCHIVES", {"funneled": PHOTOS, "original": PHOTOS})
    with serving(Server()) as mirror:
        yield mirror


def test_fetching_says_where_it_is_and_what_comes_next(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["fetch", "lfw", "--cache", str(tmp_path), "--mirror", server.address]
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert str(tmp_path / "lfw" / "funneled") in said
    assert "finds it in this cache by itself" in said
    assert downloaded_lfw(tmp_path) == tmp_path / "lfw" / "funneled"
    assert main(arguments) == 0
    assert "was there; every digest checked" in capsys.readouterr().out


def test_a_folder_of_one_s_own_and_a_mirror_by_variable(
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(fetch.MIRROR, server.address)
    assert main(["fetch", "lfw", "--to", str(tmp_path / "faces")]) == 0
    assert f"--facenet-lfw {tmp_path / 'faces'}" in capsys.readouterr().out
    assert (tmp_path / "faces" / SUMS).is_file()


def test_what_cannot_be_fetched_is_one_line_and_exit_code_2(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["fetch", "lfw", "--cache", str(tmp_path), "--mirror", "ftp://nowhere"]
    assert main(arguments) == 2
    said = capsys.readouterr().err.splitlines()
    assert len([line for line in said if line.startswith("facenet-validate: ")]) == 1


def test_a_run_takes_the_downloaded_photos_where_none_are_named(
    project: pytest.Pytester, small_set: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facenet_validate.run.start.carries", lambda photos: False)
    folder = project.path / "cache" / "lfw" / "funneled"
    shutil.copytree(small_set, folder)
    monkeypatch.delenv("FACENET_LFW")
    arguments = ("suites", "--collect-only", "--facenet-cache=cache")
    project.runpytest_inprocess(*arguments).stdout.fnmatch_lines(["*data set synthetic faces*"])
    (folder / SUMS).touch()
    project.runpytest_inprocess(*arguments).stdout.fnmatch_lines(
        [f"facenet: data set LFW in {folder}, 72 pairs"]
    )
