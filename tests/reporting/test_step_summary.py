"""What GitHub Actions shows beside a job."""

from __future__ import annotations

from pathlib import Path

import pytest

FAILS = """
def test_mine(facenet_gates):
    facenet_gates.check(facenet_gates.hold("parity.cosine_min", 0.9, "worst: <Anna|0001>"))
"""


@pytest.fixture
def summary(
    light_project: pytest.Pytester, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    light_project.makepyfile(test_mine=FAILS)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    return tmp_path / "summary.md"


def test_it_names_the_cause_and_what_to_do_above_the_failures(
    light_project: pytest.Pytester, summary: Path
) -> None:
    told = {"precision": "fp32", "text": "red and blue are exchanged", "advice": "Feed RGB."}
    measure = f"facenet_gates.measure('diagnosis', {told | {'explains': True}})"
    light_project.makepyfile(
        test_mine=FAILS.replace("facenet_gates.check", f"{measure}\n    facenet_gates.check")
    )
    light_project.runpytest_inprocess("--precision=fp32")
    text = summary.read_text()
    cause = "- why FP32 differs: red and blue are exchanged. What to do: Feed RGB."
    assert text.index(cause) < text.index("- fail: parity.cosine")


@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["one process", "xdist"])
def test_it_names_what_failed_below_what_other_steps_wrote(
    light_project: pytest.Pytester, summary: Path, workers: tuple[str, ...]
) -> None:
    summary.write_text("# Of another step\n")
    light_project.runpytest_inprocess("--precision=fp32", *workers)
    lines = summary.read_text().splitlines()
    assert lines[0] == "# Of another step"
    assert lines[1] == "## FaceNet validation: fail"
    assert lines[3] == "FP32 may not replace the reference: parity.cosine\\_min fails."
    assert (
        "- fail: parity.cosine\\_min, fp32 on synthetic: 0.9 observed, limit 0.98; "
        "worst: \\<Anna\\|0001\\>"
    ) in lines
    assert lines.count("| gate | engine | observed | limit | verdict | detail |") == 1
    assert "| parity.cosine\\_min | fp32 | 0.9 | 0.98 | fail | worst: \\<Anna\\|0001\\> |" in lines


def test_a_file_that_cannot_be_written_is_told(
    light_project: pytest.Pytester, summary: Path
) -> None:
    summary.mkdir()
    result = light_project.runpytest_inprocess("--precision=fp32")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["verdict: FAIL*", "GITHUB_STEP_SUMMARY: */summary.md was not *"])


def test_a_run_without_tests_of_ours_writes_none(
    light_project: pytest.Pytester, summary: Path
) -> None:
    light_project.makepyfile(test_mine="def test_other(): pass")
    light_project.runpytest_inprocess()
    assert not summary.exists()
