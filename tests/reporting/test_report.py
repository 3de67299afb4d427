"""A run's facts: typed, and put together from workers of whom each knows a part."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import Any

import pytest

from facenet_validate.reporting.report import (
    AlignmentFacts,
    BaselineFacts,
    CalibrationFacts,
    EngineFacts,
    EnvironmentFacts,
    GalleryFacts,
    ModelFacts,
    RunReport,
    SetFacts,
    merged,
)

ENVIRONMENT = EnvironmentFacts(
    "0.2.0", "1.20", "onnxruntime", "1.20", "the default", "", "a CPU", "a CPU", "", 2, "cpu", "why"
)
POORER = SetFacts("staff", "staff.csv", 60, 80, 20, "a" * 64)
ALIGNMENT = AlignmentFacts("mtcnn", "b" * 64, undetected=["Anna_0001"])
ALIGNED = replace(POORER, alignment=ALIGNMENT)
BUILT = EngineFacts("c" * 64, "d" * 64, "model.onnx", recipe="8 bits", cache="hit")


def _full() -> RunReport:
    """Return a report in which every part is known."""
    return RunReport(
        settings={"precisions": ["int8"], "scope": "auto"},
        gates_file="gates.toml",
        environment=ENVIRONMENT,
        dataset=POORER,
        alignment=ALIGNMENT,
        sets={"staff": ALIGNED},
        gallery=GalleryFacts(100, 30),
        calibration=CalibrationFacts(512, "e" * 64),
        model=ModelFacts("model.pb", "f" * 64, "a" * 64, 512, 160, "proven", "hit"),
        engines={"int8": replace(BUILT, runtime="onnxruntime 1.20", options={"a": "b"})},
        reference=EngineFacts("a" * 64),
        against=EngineFacts("b" * 64, precision="fp16"),
        embeddings={"int8 engine": "embedded now"},
        baselines=[BaselineFacts("int8 b64", "stored", failed=False)],
    )


def test_a_report_comes_back_from_its_values_whole() -> None:
    full = _full()
    assert RunReport.from_values(json.loads(json.dumps(full.values()))) == full
    assert all(full.values().values()), "every part of the report is tried here"
    assert RunReport.from_values({}) == RunReport()


CASES: dict[str, tuple[Any, Any, Any]] = {
    "a text that is empty": ("", "known", "known"),
    "nothing": (None, POORER, POORER),
    "a list that is empty": ([], ["Anna_0001"], ["Anna_0001"]),
    "a part of a part": (POORER, ALIGNED, ALIGNED),
    "an engine before it was loaded": (
        {"int8": BUILT},
        {"int8": replace(BUILT, runtime="onnxruntime 1.20")},
        {"int8": replace(BUILT, runtime="onnxruntime 1.20")},
    ),
    "another set": ({"a": POORER}, {"b": POORER}, {"a": POORER, "b": POORER}),
}


@pytest.mark.parametrize("case", CASES)
def test_what_the_first_does_not_know_the_second_adds(case: str) -> None:
    first, second, expected = CASES[case]
    assert merged(first, second) == expected


@pytest.mark.parametrize("case", CASES)
def test_the_order_of_workers_does_not_matter(case: str) -> None:
    first, second, expected = CASES[case]
    assert merged(second, first) == expected


def test_of_two_values_the_first_stands() -> None:
    assert merged(replace(BUILT, cache="miss"), BUILT).cache == "miss"
    assert merged({"a": 1}, {"a": 2}) == {"a": 1}
    assert (merged(0, 3), merged(False, True)) == (0, False), "0 and no are known"


def test_a_report_takes_from_another_what_it_does_not_know() -> None:
    for begun in (RunReport(), RunReport(environment=ENVIRONMENT, sets={"staff": POORER})):
        begun.merge(_full())
        assert begun == _full()
    full = _full()
    full.merge(RunReport())
    assert full == _full()


WORKERS = """
import os
from pathlib import Path

import pytest

from facenet_validate.reporting.report import EngineFacts, SetFacts, AlignmentFacts
from facenet_validate.run.run import RUN

BUILT = dict(sha256="c" * 64, recipe="8 bits", cache="hit", options={{"a": "b"}})
STAFF = dict(name="staff", title="staff.csv", pairs=60, images=80, people=20, pairs_sha256="a" * 64)
RICH = os.environ.get("PYTEST_XDIST_WORKER") == "{rich}"
FIRST = os.environ.get("PYTEST_XDIST_WORKER") == "{first}"
ORDER = []
# Open for reading too, so that neither side waits for the other to open it.
PIPE = os.open("first has told", os.O_RDWR)


@pytest.fixture(scope="session", autouse=True)
def facts(request):
    report = request.config.stash[RUN].report
    report.engines["int8"] = EngineFacts(**BUILT, runtime="onnxruntime 1.20" if RICH else None)
    alignment = AlignmentFacts("mtcnn", "b" * 64) if RICH else None
    report.sets["staff"] = SetFacts(**STAFF, alignment=alignment)
    if RICH:
        report.embeddings["int8 engine"] = "embedded now"


def pytest_sessionfinish(session):
    if hasattr(session.config, "workerinput") and not FIRST:
        Path(session.config.rootpath, "first has told").open().readline()


@pytest.hookimpl(trylast=True)
def pytest_testnodedown(node):
    ORDER.append(node.gateway.id)
    os.write(PIPE, b"now the others\\n")
    Path("order").write_text(" ".join(ORDER))
"""

JUDGED = """
import pytest


@pytest.mark.parametrize("number", range(4))
def test_mine(facenet_gates, number):
    facenet_gates.check(facenet_gates.hold("parity.cosine_min", 0.99))
"""


@pytest.mark.parametrize("rich", ["gw0", "gw1"], ids=["richer first", "poorer first"])
def test_a_poorer_worker_hides_nothing_of_a_richer_one(
    light_project: pytest.Pytester, rich: str
) -> None:
    """Worker 0 reports first, and in one case it knows less."""
    conftest = light_project.path / "conftest.py"
    conftest.write_text(conftest.read_text() + WORKERS.format(rich=rich, first="gw0"))
    os.mkfifo(light_project.path / "first has told")
    light_project.makepyfile(JUDGED)
    result = light_project.runpytest_inprocess(
        "-n2", "--dist=each", "--precision=fp32", "--facenet-report=report"
    )
    assert result.ret == pytest.ExitCode.OK, result.stdout.str()
    assert (light_project.path / "order").read_text() == "gw0 gw1"
    document = json.loads((light_project.path / "report" / "results.json").read_text())
    assert document["engines"]["int8"]["runtime"] == "onnxruntime 1.20"
    assert document["engines"]["int8"]["options"] == {"a": "b"}
    assert document["sets"]["staff"]["alignment"]["aligner"] == "mtcnn"
    assert document["embeddings"] == {"int8 engine": "embedded now"}
