"""pytest hooks, nothing else: they look after options, collection, outcomes and reports.

An installed plugin sees every project of its user. Outside a run of ours the hooks return at once,
and nothing heavy is imported here: numpy and the runtimes load inside fixtures.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, TypeAlias

import pytest

from facenet_validate.gates.records import verdict_of
from facenet_validate.gates.verdicts import Verdict
from facenet_validate.run.collecting import is_superfluous, parametrize, runs_ours, with_files
from facenet_validate.run.command_line import add_alias, add_options
from facenet_validate.run.header import header
from facenet_validate.run.judging import skip_what_cannot_run, skip_what_was_not_asked_for
from facenet_validate.run.outcomes import begin_try, finish_report
from facenet_validate.run.replaced import name_replacements
from facenet_validate.run.run import RUN
from facenet_validate.run.session import COLLECTED, ReportedSession, Stopping, refuse
from facenet_validate.run.start import is_active, run_of, validate

pytest_plugins = ["facenet_validate.fixtures.private", "facenet_validate.fixtures.public"]

Made: TypeAlias = "pytest.Item | pytest.Collector | list[pytest.Item | pytest.Collector] | None"
"""What collecting a name of a module comes to: for a function, a list of its tests."""

SESSION = pytest.StashKey[ReportedSession]()

_MARKERS = (
    "facenet_fps: times engines; runs last and not beside other workers",
    "facenet_judges(gate, ...): the gates a test judges; they say what it runs for, are not "
    "evaluated where its engine can be built but not run, and say why where an error ends the "
    "test first",
    "facenet_needs(option, ...): the test runs where these options are given, such as all_pairs",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    add_options(parser)


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(
    parser: pytest.Parser, args: list[str]
) -> Generator[None, None, None]:
    # With those of addopts and PYTEST_ADDOPTS, before pytest takes any away.
    asked = {argument.partition("=")[0] for argument in with_files(args)}
    yield
    add_alias(parser, asked)


def pytest_configure(config: pytest.Config) -> None:
    for marker in _MARKERS:
        config.addinivalue_line("markers", marker)
    if not hasattr(config, "workerinput") and not config.option.help and is_active(config):
        with refuse(config, pytest.UsageError):
            validate(run_of(config))


def pytest_report_header(config: pytest.Config) -> list[str]:
    return header(config.stash[RUN]) if RUN in config.stash else []


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    # Every fixture of ours stands on the run: what is wrong with it is told at collection.
    if runs_ours(metafunc):
        with refuse(metafunc.config, pytest.Collector.CollectError):
            parametrize(metafunc, run_of(metafunc.config))


@pytest.hookimpl(wrapper=True)
def pytest_pycollect_makeitem(
    collector: pytest.Module | pytest.Class,
) -> Generator[None, Made, Made]:
    made = yield
    if not isinstance(made, list):
        return made
    return [
        one
        for one in made
        if not isinstance(one, pytest.Function)
        or not is_superfluous(one, lambda: run_of(collector.config))
    ]


def pytest_itemcollected(item: pytest.Item) -> None:
    # pytest-benchmark's --benchmark-only looks for its fixture among the names of a test's.
    names = getattr(item, "fixturenames", [])
    if "facenet_timing" in names and item.config.pluginmanager.hasplugin("benchmark"):
        names.append("benchmark")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    config.stash[COLLECTED] = any(
        "facenet_gates" in getattr(item, "fixturenames", ()) for item in items
    )
    items.sort(key=lambda item: item.get_closest_marker("facenet_fps") is not None)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    name_replacements(report, getattr(report, "call", None))
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    begin_try(item)
    # Before any fixture: nothing is embedded for an engine that cannot run.
    if RUN in item.config.stash:
        run = item.config.stash[RUN]
        skip_what_was_not_asked_for(item, run)
        skip_what_cannot_run(item, run)


# Outermost: what other plugins make of a failure, such as xfail, is known when this one ends.
@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    name_replacements(report, call)
    finish_report(item, report, call)
    return report


def pytest_report_teststatus(
    report: pytest.CollectReport | pytest.TestReport,
) -> tuple[str, str, tuple[str, dict[str, bool]]] | None:
    if report.when not in ("call", "setup") or not report.skipped:
        return None
    verdict = verdict_of(getattr(report, "user_properties", []))
    if verdict is Verdict.INCONCLUSIVE:
        return "inconclusive", "i", ("INCONCLUSIVE", {"yellow": True})
    if verdict is Verdict.NOT_EVALUATED:
        return "not evaluated", "n", ("NOT EVALUATED", {"cyan": True})
    return None


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_machine_info(
    config: pytest.Config, machine_info: dict[str, Any]
) -> None:
    if RUN in config.stash:
        from facenet_validate.reporting.benchmarks import describe_machine

        describe_machine(machine_info, config.stash[RUN].report)


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    if SESSION in config.stash:
        config.stash[SESSION].summarise(terminalreporter)


# First: a conftest's own start may end the session, and an older report must not outlive that.
@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    config = session.config
    config.pluginmanager.register(Stopping(session), "facenet-stopping")
    if not hasattr(config, "workerinput"):
        config.stash[SESSION] = ReportedSession(config)
        config.pluginmanager.register(config.stash[SESSION], "facenet-session")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    config = session.config
    if hasattr(config, "workeroutput"):
        config.workeroutput["facenet_collected"] = config.stash.get(COLLECTED, None)
        if RUN in config.stash:
            config.workeroutput["facenet_report"] = config.stash[RUN].report.values()
    if SESSION in config.stash:
        config.stash[SESSION].finish(session)
