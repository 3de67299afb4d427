"""Suites copied from 0.1.0 are told, in one line, what took the place of what they use."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec

import pytest

from docs.reference.generate import fixtures
from facenet_validate.run.replaced import FIXTURES, METHODS, MODULES, NAMES

ANEW = "facenet-validate init DIR copies the suites of this version."

# The imports and a signature of each of its suites.
SUITES_OF_0_1_0 = {
    "accuracy": """
from facenet_validate.datasets.faces import AlignedFaces
from facenet_validate.datasets.lfw import Gallery, VerificationSet
from facenet_validate.engines.protocol import Engine
from facenet_validate.fixtures.judging import ScoredEmbeddings
from facenet_validate.judge import Gates
from facenet_validate.metrics.all_pairs import compare_all_pairs
from facenet_validate.metrics.bootstrap import bootstrap_identities
from facenet_validate.metrics.delong import delong_paired
from facenet_validate.metrics.paired import compare_decisions, non_inferiority
from facenet_validate.metrics.parity import compare_embeddings
from facenet_validate.metrics.power import minimum_detectable_drop
from facenet_validate.metrics.view2 import View2, evaluate_embeddings
from facenet_validate.reporting.verification import (
    all_pairs_values,
    pairs_worth_seeing,
    view2_values,
)
from facenet_validate.run import Run
from facenet_validate.verdicts import not_evaluated


def test_no_accuracy_lost(
    facenet_engine: Engine,
    facenet_compared_engine: Engine,
    facenet_compared_with: str,
    facenet_set: VerificationSet,
    facenet_set_faces: object,
    facenet_scored: ScoredEmbeddings,
    facenet_views: object,
    facenet_gates: Gates,
    facenet_run: Run,
) -> None: ...
""",
    "build": """
from facenet_validate.engines.built import BuildFacts
from facenet_validate.judge import Gates
from facenet_validate.models.prepared import PreparedModel
from facenet_validate.models.quantization.recipes import PRECISIONS
from facenet_validate.verdicts import GateResult, not_evaluated


def test_build(
    facenet_build: BuildFacts, facenet_prepared: PreparedModel, facenet_gates: Gates
) -> None: ...
""",
    "contract": """
from facenet_validate.datasets.faces import AlignedFaces
from facenet_validate.datasets.images import standardize
from facenet_validate.engines.protocol import Engine
from facenet_validate.engines.tensorrt.artefacts import loaded_shares
from facenet_validate.engines.tensorrt.engine import TensorRtEngine
from facenet_validate.judge import Gates
from facenet_validate.models.prepared import PreparedModel, load_onnx
from facenet_validate.models.quantization.half_range import half_range
from facenet_validate.verdicts import GateResult, not_evaluated


def test_signature(
    facenet_engine: Engine, facenet_prepared: PreparedModel, facenet_gates: Gates
) -> None: ...
""",
    "parity": """
from facenet_validate.datasets.faces import AlignedFaces
from facenet_validate.datasets.lfw import VerificationSet
from facenet_validate.judge import Gates
from facenet_validate.metrics.parity import compare_embeddings, compare_pairs
from facenet_validate.metrics.verification import evaluate, pair_distances


def test_parity(
    facenet_embeddings: object,
    facenet_reference: object,
    facenet_faces: AlignedFaces,
    facenet_dataset: VerificationSet,
    facenet_gates: Gates,
) -> None: ...
""",
    "performance": """
from facenet_validate.benchmarking.paired_ratio import PairedRatio, ratio_floor, slow_down
from facenet_validate.judge import Gates
from facenet_validate.stopwatch import Other, Timing
from facenet_validate.verdicts import GateResult, not_evaluated


def test_speed(facenet_timing: Timing, facenet_gates: Gates, facenet_timed_beside: Other) -> None:
    ...
""",
}

FIXTURES_OF_0_1_0 = """
    against_engine artefact artefacts batch_size build cache calibration compared_engine
    compared_with dataset device embedder embeddings engine engines faces factory fp32_engine
    gallery gallery_embeddings gates gpu_watch precision prepared reference reference_engine run
    scored self_check set set_faces sets timed_beside timing views
"""

METHOD = """
def test_{name}(facenet_gates):
    facenet_gates.check(facenet_gates.{name}("parity.cosine_min", 0.99))
"""


def _imported() -> list[tuple[str, str]]:
    """Return what the suites of 0.1.0 import from the package: module and name."""
    return sorted(
        {
            (str(node.module), name.name)
            for source in SUITES_OF_0_1_0.values()
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.ImportFrom)
            for name in node.names
        }
    )


def _is_there(module: str, name: str) -> bool:
    try:
        return hasattr(import_module(module), name)
    except ImportError:
        return False


def _told(project: pytest.Pytester, files: Mapping[str, str]) -> dict[str, list[str]]:
    """Run files, and return the lines in which each of them fails."""
    project.makepyfile(**{f"test_{name}": source for name, source in files.items()})
    ran = project.inline_run(
        "--precision=fp32", "--continue-on-collection-errors", "-p", "no:randomly"
    )
    reports = [
        *ran.getreports("pytest_collectreport"),
        *ran.getreports("pytest_runtest_logreport"),
    ]
    return {
        report.nodeid.split(".py")[0].removeprefix("test_"): report.longreprtext.splitlines()
        for report in reports
        if report.failed
    }


def test_every_suite_says_what_to_do(light_project: pytest.Pytester) -> None:
    told = _told(light_project, SUITES_OF_0_1_0)
    assert set(told) == set(SUITES_OF_0_1_0)
    for lines in told.values():
        (line,) = lines
        assert " of 0.1.0. See facenet_validate" in line
        assert line.endswith(ANEW)


def test_every_name_that_is_gone_says_where_to_look(light_project: pytest.Pytester) -> None:
    imports = {f"facenet_validate.{module}": "Anything" for module in MODULES}
    gone = {
        f"import_{number}": (f"from {module} import {name}\n", module)
        for number, (module, name) in enumerate([*imports.items(), *_imported()])
        if not _is_there(module, name)
    }
    gone |= {name: (f"def test_it({name}): pass\n", FIXTURES[name]) for name in FIXTURES}
    gone |= {name: (METHOD.format(name=name), METHODS[name]) for name in METHODS}
    told = _told(light_project, {name: source for name, (source, _) in gone.items()})
    assert set(told) == set(gone)
    for name, (_, says) in gone.items():
        (line,) = told[name]
        assert says in line
        assert line.endswith(ANEW)


def test_the_name_of_a_module_that_is_still_there_says_where_it_is(
    light_project: pytest.Pytester,
) -> None:
    split = [name.rpartition(".") for name in NAMES]
    sources = {
        f"{number}": f"from facenet_validate.{module} import {name}\n"
        for number, (module, _, name) in enumerate(split)
    }
    told = _told(light_project, sources)
    for lines, place in zip(told.values(), NAMES.values(), strict=True):
        assert f"See {place}; {ANEW}" in " ".join(lines)


def test_what_is_told_to_be_gone_is_gone() -> None:
    assert set(FIXTURES).isdisjoint(fixtures())
    assert [name for name in MODULES if _has_module(f"facenet_validate.{name}")] == []
    split = [name.rpartition(".") for name in NAMES]
    there = [
        (module, name) for module, _, name in split if _is_there(f"facenet_validate.{module}", name)
    ]
    assert there == []


def test_every_fixture_of_0_1_0_is_there_or_told() -> None:
    names = {f"facenet_{name}" for name in FIXTURES_OF_0_1_0.split()}
    assert len(names) == 35, "31 fixtures and 4 parameters"
    assert names == set(FIXTURES) | (names & set(fixtures()))


@pytest.mark.parametrize("place", sorted({*MODULES.values(), *NAMES.values()}))
def test_a_place_that_is_told_is_there(place: str) -> None:
    module, _, names = place.partition(":")
    found = import_module(module.split(",")[0])
    for name in names.replace(" and", ",").split(","):
        assert not name or hasattr(found, name.strip())


def _has_module(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def test_an_error_that_is_no_old_name_is_left_alone(light_project: pytest.Pytester) -> None:
    told = _told(
        light_project,
        {
            "theirs": "import no_such_module\n",
            "ours": "from facenet_validate.gates.verdicts import no_such_name\n",
            "fixture": "def test_it(no_such_fixture): pass\n",
            "attribute": "def test_it(): object().at_least\n",
            "own": "def test_it():\n    try: import facenet_validate.judge\n"
            "    except ImportError as error: raise RuntimeError('ask Ann') from error\n",
            "namesake": "class Gates: pass\ndef test_it(): Gates().at_least\n",
        },
    )
    assert len(told) == 6
    assert "No module named 'no_such_module'" in "".join(told["theirs"])
    assert "fixture 'no_such_fixture' not found" in "".join(told["fixture"])
    assert "AttributeError" in "".join(told["attribute"])
    assert "AttributeError" in "".join(told["namesake"])
    assert "RuntimeError: ask Ann" in "".join(told["own"])
    assert "no_such_name of facenet_validate.gates.verdicts is not in this version" in "".join(
        told["ours"]
    )
    assert not any("of 0.1.0" in "".join(lines) for lines in told.values())
