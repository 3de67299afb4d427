"""The recipes for CI: what they run is right, and a repository with one sees a regression."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from facenet_validate.cli import main
from facenet_validate.models.prepared import PreparedModel
from facenet_validate.run.options import OPTIONS
from tests.reporting.small_reports import gate, report, write

RECIPES = Path(__file__).parents[1] / "docs" / "guide" / "ci"
WORKFLOW = Path(".github", "workflows", "facenet.yml")

_FLAG = re.compile(r"--(?:facenet-[\w-]+|precision)\b")
_VARIABLE = re.compile(r"\bFACENET_[A-Z0-9_]+\b")


ONE_MACHINE = ["github.yml", "github-gpu.yml", "gitlab-ci.yml", "Jenkinsfile"]
SEVERAL_MACHINES = ["github-matrix.yml", "gitlab-matrix.yml"]


@pytest.mark.parametrize("name", [*ONE_MACHINE, *SEVERAL_MACHINES])
def test_every_option_of_a_recipe_is_one(name: str) -> None:
    text = (RECIPES / name).read_text()
    flags = {option.flag for option in OPTIONS} | {option.alias for option in OPTIONS}
    variables = {option.variable for option in OPTIONS}
    assert set(_FLAG.findall(text)) <= flags
    assert set(_VARIABLE.findall(text)) <= variables
    plain = re.sub(r"reports/(\$RUN|\$\{\{ matrix\.run \}\})", "report", " ".join(text.split()))
    assert "--facenet-report report --junitxml report/junit.xml" in plain


@pytest.mark.parametrize("name", SEVERAL_MACHINES)
def test_the_verdict_is_of_every_run_of_a_matrix(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The recipe's own command; then the same where a machine left no report."""
    text = " ".join((RECIPES / name).read_text().split())
    runs = re.findall(r"\b(?:run|RUN): ([a-z][a-z0-9]*-[\w-]+)", text)
    (merge,) = re.findall(r"-validate (report merge .*? --expect(?: [a-z0-9]+-[\w-]+)+)", text)
    monkeypatch.chdir(tmp_path)
    for run in runs:
        write(Path("reports", run), report(gate("parity.cosine_min", "pass")))

    def merged(*present: str) -> int:
        folders = " ".join(f"reports/{run}" for run in present)
        try:
            return main(shlex.split(merge.replace("reports/*", folders)))
        except SystemExit as ended:
            return int(ended.code or 0)
        finally:
            shutil.rmtree("report")

    assert len(runs) == 3
    assert merged(*runs) == 0
    assert merged(*runs[1:]) == 1
    assert f"{runs[0]}: there is no report" in capsys.readouterr().out


def test_init_writes_the_workflow_beside_suites_that_stay(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", str(tmp_path)]) == 0
    gates = tmp_path / "baselines" / "gates.toml"
    gates.write_text("mine")
    assert main(["init", str(tmp_path), "--ci", "github"]) == 0
    assert "stay as they are" in capsys.readouterr().out
    assert gates.read_text() == "mine"
    assert (tmp_path / WORKFLOW).read_bytes() == (RECIPES / "github.yml").read_bytes()
    assert main(["init", str(tmp_path), "--ci", "github"]) == 2
    assert "facenet.yml exists; nothing was copied" in capsys.readouterr().err


def test_a_repository_with_it_catches_a_regression(
    project: pytest.Pytester, prepared_small: PreparedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The workflow's own command, on an engine whose first convolution lost every other channel."""
    assert main(["init", str(project.path), "--ci", "github"]) == 0
    graph = onnx.load(prepared_small.entry.path)
    first = next(node for node in graph.graph.node if node.op_type == "Conv").input[1]
    weights = next(one for one in graph.graph.initializer if one.name == first)
    kept = np.array(numpy_helper.to_array(weights))
    kept[::2] = 0
    weights.CopyFrom(numpy_helper.from_array(kept, first))
    onnx.save(graph, project.path / "pruned.onnx")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(project.path / "summary.md"))
    monkeypatch.setenv("FACENET_ENGINE", "pruned.onnx")
    (line,) = re.findall(r"run: (pytest .*)", (project.path / WORKFLOW).read_text())
    _, *arguments = shlex.split(line.replace(" --precision int8", ""))
    result = project.runpytest_inprocess(*arguments, "-k", "parity")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    summary = (project.path / "summary.md").read_text()
    assert "may not replace" in summary
    assert "- fail: parity.cosine\\_mean" in summary
    assert (project.path / "report" / "results.json").is_file()
    assert (project.path / "report" / "junit.xml").is_file()
