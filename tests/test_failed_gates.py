"""A gate that failed has failed, whatever becomes of its test; reports and exit code agree."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from typing import Any

import pytest

FAILS_ONCE = """
from pathlib import Path


def test_mine(facenet_gates):
    tries = Path("tries")
    count = int(tries.read_text()) if tries.exists() else 0
    tries.write_text(str(count + 1))
    facenet_gates.check(facenet_gates.hold("parity.cosine_min", 0.9 if count == 0 else 0.99))
"""

FAILS = """
import pytest


{mark}
def test_mine(facenet_gates):
    facenet_gates.check(
        facenet_gates.hold("parity.cosine_min", 0.9),
        facenet_gates.hold("parity.cosine_mean", 0.999),
    )
"""

SWALLOWED = """
import contextlib

import pytest


@pytest.fixture
def in_set_up(facenet_gates):
    with contextlib.suppress(BaseException):
        facenet_gates.check(facenet_gates.hold("parity.cosine_min", 0.9))


@pytest.fixture
def in_teardown(facenet_gates):
    yield
    with contextlib.suppress(BaseException):
        facenet_gates.check(facenet_gates.hold("parity.cosine_min", 0.9))


{test}
"""

XFAIL = "@pytest.mark.xfail(reason='known', strict={strict})"

FLAKY = "@pytest.mark.flaky(reruns={reruns})"

CASES = {
    "rerun_then_passes": FAILS_ONCE.replace(
        "def test_mine", "import pytest\n\n\n@pytest.mark.flaky(reruns=1)\ndef test_mine"
    ),
    "rerun_never_passes": FAILS.format(mark=FLAKY.format(reruns=2)),
    "xfail": FAILS.format(mark=XFAIL.format(strict=False)),
    "xfail_strict": FAILS.format(mark=XFAIL.format(strict=True)),
    "xfail_of_one_exception": FAILS.format(
        mark="@pytest.mark.xfail(raises=BaseException, strict=True)"
    ),
    "xfail_and_rerun": FAILS.format(mark=XFAIL.format(strict=True) + "\n" + FLAKY.format(reruns=1)),
    "swallowed": SWALLOWED.format(
        test="""
def test_mine(facenet_gates):
    try:
        facenet_gates.check(facenet_gates.hold("parity.cosine_min", 0.9))
    except BaseException:
        pass
"""
    ),
    "swallowed_then_skipped": SWALLOWED.format(
        test="""
def test_mine(facenet_gates):
    with contextlib.suppress(BaseException):
        facenet_gates.check(facenet_gates.hold("parity.cosine_min", 0.9))
    pytest.skip("not today")
"""
    ),
    "swallowed_then_expected_to_fail": SWALLOWED.format(
        test="""
def test_mine(facenet_gates):
    with contextlib.suppress(BaseException):
        facenet_gates.check(facenet_gates.hold("parity.cosine_min", 0.9))
    pytest.xfail("known")
"""
    ),
    "expected_by_pytest_raises": SWALLOWED.format(
        test="""
def test_mine(facenet_gates):
    with pytest.raises(pytest.fail.Exception):
        facenet_gates.check(facenet_gates.hold("parity.cosine_min", 0.9))
"""
    ),
    "swallowed_in_set_up": SWALLOWED.format(test="def test_mine(in_set_up): pass"),
    "swallowed_in_teardown": SWALLOWED.format(test="def test_mine(in_teardown): pass"),
    "a_fixture_asked_for_by_name": """
import contextlib


def test_mine(request, facenet_precision):
    gates = request.getfixturevalue("facenet_gates")
    with contextlib.suppress(BaseException):
        gates.check(gates.hold("parity.cosine_min", 0.9))
""",
}


def _run(
    project: pytest.Pytester, *arguments: str
) -> tuple[pytest.RunResult, dict[str, Any], ET.Element]:
    result = project.runpytest_subprocess(
        "--precision=fp32", "--facenet-report=report", "--junitxml=junit.xml", *arguments
    )
    document = json.loads((project.path / "report" / "results.json").read_text())
    suite = ET.parse(project.path / "junit.xml").getroot().find("testsuite")
    assert suite is not None
    return result, document, suite


@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["one process", "xdist"])
def test_a_gate_that_failed_fails_its_test_and_the_run(
    light_project: pytest.Pytester, workers: tuple[str, ...]
) -> None:
    light_project.makepyfile(**{f"test_{case}": source for case, source in CASES.items()})
    result, document, suite = _run(light_project, *workers)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert (document["verdict"], document["exit_status"]) == ("fail", 1)
    result.stdout.fnmatch_lines(["verdict: FAIL*"])
    properties = {item.get("name"): item.get("value") for item in suite.iter("property")}
    assert properties["facenet.verdict"] == "fail"
    failures = {
        case.get("classname", "").removeprefix("test_"): [
            found.text for kind in ("failure", "error") for found in case.iter(kind)
        ]
        for case in suite.iter("testcase")
    }
    # A test that failed in teardown alone is an error of JUnit's; every other is one failure.
    assert {case: len(texts) for case, texts in failures.items()} == dict.fromkeys(CASES, 1)
    assert all("parity.cosine_min" in (text or "") for (text,) in failures.values())
    failed = {
        gate["test"].split(".")[0].removeprefix("test_")
        for gate in document["gates"]
        if gate["verdict"] == "fail"
    }
    assert failed == set(CASES)


@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["one process", "xdist"])
def test_a_gate_has_one_record_a_try(
    light_project: pytest.Pytester, workers: tuple[str, ...]
) -> None:
    light_project.makepyfile(test_mine=FAILS.format(mark=""))
    _, document, _ = _run(light_project, "--reruns=2", *workers)
    judged = [gate["gate"] for gate in document["gates"] if gate["verdict"] != "not run"]
    assert sorted(judged) == ["parity.cosine_mean"] * 3 + ["parity.cosine_min"] * 3


def test_a_gate_that_passed_at_last_says_in_which_try_it_failed(
    light_project: pytest.Pytester,
) -> None:
    light_project.makepyfile(test_mine=FAILS_ONCE)
    result, document, suite = _run(light_project, "--reruns=1")
    assert result.ret == document["exit_status"] == pytest.ExitCode.TESTS_FAILED
    assert (document["verdict"], suite.get("failures")) == ("fail", "1")
    found = [
        (gate["try"], gate["verdict"])
        for gate in document["gates"]
        if gate["gate"] == "parity.cosine_min"
    ]
    assert found == [(1, "fail"), (2, "pass")]
    result.stdout.fnmatch_lines(["*in try 1 of 2*", "*change its limit in gates.toml*"])


def test_what_broke_before_a_verdict_may_be_run_again(light_project: pytest.Pytester) -> None:
    light_project.makepyfile(
        test_mine="""
        from pathlib import Path

        import pytest

        from facenet_validate.base.errors import DatasetError


        def count():
            tries = Path("tries")
            found = int(tries.read_text()) if tries.exists() else 0
            tries.write_text(str(found + 1))
            return found


        def test_mine(facenet_gates):
            if count() == 0:
                raise DatasetError("the disk was away for a moment")
            facenet_gates.check(facenet_gates.hold("parity.cosine_min", 0.99))


        def test_after_it(facenet_gates):
            facenet_gates.check(facenet_gates.hold("parity.cosine_mean", 0.999))
        """
    )
    result, document, suite = _run(light_project, "--reruns=1")
    assert result.ret == pytest.ExitCode.OK
    assert (suite.get("failures"), suite.get("errors")) == ("0", "0")
    assert document["errors"] == []
    judged = {gate["gate"]: gate["verdict"] for gate in document["gates"]}
    assert (judged["parity.cosine_min"], judged["parity.cosine_mean"]) == ("pass", "pass")


def test_inconclusive_that_fails_is_not_expected_to_fail(light_project: pytest.Pytester) -> None:
    light_project.makepyfile(
        test_mine="""
        import pytest

        from facenet_validate.gates.verdicts import GateResult, Verdict


        @pytest.mark.xfail
        def test_mine(facenet_gates):
            facenet_gates.check(
                GateResult("accuracy.paired_drop", Verdict.INCONCLUSIVE, 0.0, 0.01)
            )
        """
    )
    result, document, _ = _run(light_project, "--facenet-inconclusive=fail")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert document["verdict"] == "fail"


def test_a_required_set_that_is_not_judged_is_told_to_junit_too(
    light_project: pytest.Pytester,
) -> None:
    gates = light_project.path / "baselines" / "gates.toml"
    gates.write_text(gates.read_text() + "[gates.synthetic.any.any]\naccuracy.acc = 0.9\n")
    gates.write_text(gates.read_text().replace("schema = 1", "schema = 1\nrequire = ['synthetic']"))
    light_project.makepyfile(
        test_mine="""
        def test_mine(facenet_gates):
            facenet_gates.check(facenet_gates.hold("parity.cosine_min", 0.99))
        """
    )
    result, document, suite = _run(light_project)
    properties = {item.get("name"): item.get("value") for item in suite.iter("property")}
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert document["verdict"] == properties["facenet.verdict"] == "fail"


WIDER = """
import contextlib

import pytest

LEFT = []


@pytest.fixture(scope="{scope}", autouse=True)
def at_the_end():
    yield
    with contextlib.{how}:
        for gates in LEFT:
            gates.check(gates.hold("parity.cosine_min", 0.9))


class TestMine:
    def test_first(self, facenet_gates):
        facenet_gates.check(facenet_gates.hold("parity.cosine_mean", 0.999))
        LEFT.append(facenet_gates)

    {mark}
    def test_second(self, facenet_precision): pass
"""


@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["one process", "xdist"])
@pytest.mark.parametrize("scope", ["class", "module"])
@pytest.mark.parametrize("how", ["suppress(BaseException)", "nullcontext()"])
def test_a_gate_recorded_after_its_own_test_ended_is_not_lost(
    light_project: pytest.Pytester, scope: str, how: str, workers: tuple[str, ...]
) -> None:
    light_project.makepyfile(
        test_mine=WIDER.format(scope=scope, how=how, mark="@pytest.mark.xfail")
    )
    result, document, suite = _run(light_project, *workers)
    assert result.ret == document["exit_status"] == pytest.ExitCode.TESTS_FAILED
    assert document["verdict"] == "fail"
    assert int(suite.get("failures", 0)) + int(suite.get("errors", 0)) >= 1
    failed = [gate["gate"] for gate in document["gates"] if gate["verdict"] == "fail"]
    assert failed == ["parity.cosine_min"]


def test_a_run_cut_off_with_exit_status_zero_is_a_fail(light_project: pytest.Pytester) -> None:
    light_project.makepyfile(
        test_mine="""
        import contextlib

        import pytest


        def test_mine(facenet_gates):
            with contextlib.suppress(BaseException):
                facenet_gates.check(facenet_gates.hold("parity.cosine_min", 0.9))
            pytest.exit("enough", returncode=0)
        """
    )
    result, document, _ = _run(light_project)
    assert result.ret == document["exit_status"] == pytest.ExitCode.TESTS_FAILED
    assert document["verdict"] == "fail"
