"""A new gate is a row of the catalogue, a limit and a test; nothing else."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET

import pytest

from docs.reference.generate import gates_table
from facenet_validate.gates import catalogue

ROW = """
from facenet_validate.gates import catalogue
from facenet_validate.gates.catalogue import Gate

TOY = Gate("contract.toy", "what the toy observes", "ceiling")
catalogue.CATALOGUE = (*catalogue.CATALOGUE, TOY)
"""

LIMIT = "contract.toy = 0.5\n"

TEST = """
import pytest

from facenet_validate import Observed


@pytest.mark.facenet_judges("contract.toy")
@pytest.mark.parametrize("value", [{values}])
def test_toy(facenet_gates, value):
    facenet_gates.check(Observed("contract.toy", value))
"""


@pytest.fixture
def project(light_project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    # The project's conftest adds the row to this process's catalogue.
    monkeypatch.setattr(catalogue, "CATALOGUE", catalogue.CATALOGUE)
    conftest = light_project.path / "conftest.py"
    conftest.write_text(conftest.read_text() + ROW)
    gates = light_project.path / "baselines" / "gates.toml"
    gates.write_text(gates.read_text() + LIMIT)
    return light_project


def test_it_is_in_every_report(project: pytest.Pytester) -> None:
    project.makepyfile(TEST.format(values="0.25"))
    result = project.runpytest_inprocess(
        "--precision=fp32", "--facenet-report=report", "--junitxml=junit.xml"
    )
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["*contract.toy *fp32 *0.25 *0.5 *pass*"])
    document = json.loads((project.path / "report" / "results.json").read_text())
    assert document["gate_titles"]["contract.toy"] == "what the toy observes"
    (gate,) = [gate for gate in document["gates"] if gate["gate"] == "contract.toy"]
    assert (gate["verdict"], gate["observed"], gate["limit"]) == ("pass", 0.25, 0.5)
    properties = [
        json.loads(item.get("value", ""))
        for item in ET.parse(project.path / "junit.xml").getroot().iter("property")
        if item.get("name") == "facenet.gate:contract.toy"
    ]
    assert [one["verdict"] for one in properties] == ["pass"]
    last = gates_table(catalogue.CATALOGUE).splitlines()[-1]
    assert last.startswith("| `contract.toy` | what the toy observes | ceiling |")


def test_its_limit_fails_a_value_above_it(project: pytest.Pytester) -> None:
    project.makepyfile(TEST.format(values="0.75"))
    result = project.runpytest_inprocess("--precision=fp32")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*contract.toy *fp32 *0.75 *0.5 *fail*", "verdict: FAIL*"])


def test_without_its_test_it_is_not_run(project: pytest.Pytester) -> None:
    project.makepyfile(TEST.format(values=""))
    project.runpytest_inprocess("--precision=fp32").stdout.fnmatch_lines(
        ["*contract.toy *not run*"]
    )


def test_without_its_row_its_limit_is_refused(
    project: pytest.Pytester,
) -> None:
    (project.path / "conftest.py").unlink()
    project.makepyfile(TEST.format(values="0.25"))
    result = project.runpytest_inprocess("--precision=fp32")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*'contract.toy' is unknown; expected one of *"])
