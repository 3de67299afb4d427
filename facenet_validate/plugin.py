"""pytest hooks, nothing else: they look after options, collection, outcomes and reports.

An installed plugin sees every project of its user. Outside a run of ours the hooks return at once,
and nothing heavy is imported here: numpy and the runtimes load inside fixtures.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest
from _pytest.junitxml import xml_key

from facenet_validate.errors import CacheError, DatasetError, FacenetValidateError, ModelError
from facenet_validate.fixtures import (
    facenet_against_engine,
    facenet_artefact,
    facenet_artefacts,
    facenet_build,
    facenet_cache,
    facenet_calibration,
    facenet_compared_engine,
    facenet_dataset,
    facenet_device,
    facenet_embedder,
    facenet_embeddings,
    facenet_engine,
    facenet_engines,
    facenet_faces,
    facenet_factory,
    facenet_fp32_engine,
    facenet_gallery,
    facenet_gallery_embeddings,
    facenet_gates,
    facenet_gpu_watch,
    facenet_prepared,
    facenet_reference,
    facenet_reference_engine,
    facenet_run,
    facenet_scored,
    facenet_self_check,
    facenet_set,
    facenet_set_faces,
    facenet_sets,
    facenet_timing,
    facenet_views,
)
from facenet_validate.judge import skip_what_cannot_run
from facenet_validate.reporting.header import header
from facenet_validate.reporting.records import gates_of, measurements_of, merged, verdict_of
from facenet_validate.reporting.results import Results
from facenet_validate.run import RUN, is_active, run_of, validate
from facenet_validate.settings import OPTIONS, Option
from facenet_validate.verdicts import Verdict

__all__ = [
    "facenet_against_engine",
    "facenet_artefact",
    "facenet_artefacts",
    "facenet_build",
    "facenet_cache",
    "facenet_calibration",
    "facenet_compared_engine",
    "facenet_dataset",
    "facenet_device",
    "facenet_embedder",
    "facenet_embeddings",
    "facenet_engine",
    "facenet_engines",
    "facenet_faces",
    "facenet_factory",
    "facenet_fp32_engine",
    "facenet_gallery",
    "facenet_gallery_embeddings",
    "facenet_gates",
    "facenet_gpu_watch",
    "facenet_prepared",
    "facenet_reference",
    "facenet_reference_engine",
    "facenet_run",
    "facenet_scored",
    "facenet_self_check",
    "facenet_set",
    "facenet_set_faces",
    "facenet_sets",
    "facenet_timing",
    "facenet_views",
]

RESULTS = pytest.StashKey[Results]()
SAID = pytest.StashKey[set[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    for option in OPTIONS:
        _add(parser, option, option.flag)
        parser.addini(option.name, option.help, type="string", default=None)


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(parser: pytest.Parser) -> Generator[None, None, None]:
    yield
    # Someone's own project may have a --precision: then ours goes by its long name alone.
    taken = {name for group in _groups(parser) for opt in group.options for name in opt.names()}
    for option in OPTIONS:
        if option.alias is not None and option.alias not in taken:
            _add(parser, option, option.alias)


def _add(parser: pytest.Parser, option: Option, flag: str) -> None:
    keywords: dict[str, Any] = {"dest": option.name, "default": None, "help": option.help}
    if option.metavar is None:
        keywords |= {"action": "store_const", "const": "true"}
    else:
        action = "append" if option.repeated else "store"
        keywords |= {"action": action, "metavar": option.metavar}
    parser.getgroup("facenet", "validation of FaceNet engines").addoption(flag, **keywords)


def _groups(parser: Any) -> list[Any]:
    return [parser._anonymous, *parser._groups]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "facenet_fps: times engines; runs last and not beside other workers"
    )
    config.addinivalue_line(
        "markers",
        "facenet_judges(gate, ...): the gates a test judges; they are not evaluated where its "
        "engine can be built but not run",
    )
    config.stash[RESULTS] = Results()
    config.stash[SAID] = set()
    is_worker = hasattr(config, "workerinput")
    if is_worker or config.option.help or not is_active(config):
        return
    try:
        validate(run_of(config))
    except FacenetValidateError as error:
        raise pytest.UsageError(str(error)) from None


def pytest_report_header(config: pytest.Config) -> list[str]:
    return header(config.stash[RUN]) if RUN in config.stash else []


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    ours = {
        "facenet_precision",
        "facenet_batch_size",
        "facenet_set",
        "facenet_compared_with",
        "facenet_timed_beside",
    }
    parameters = ours & set(metafunc.fixturenames)
    if not parameters:
        return
    try:
        run = run_of(metafunc.config)
        settings, sets = run.settings, run.set_names
    except FacenetValidateError as error:
        raise pytest.Collector.CollectError(str(error)) from None
    if "facenet_precision" in parameters:
        metafunc.parametrize("facenet_precision", settings.precisions, scope="session")
    if "facenet_batch_size" in parameters:
        sizes = settings.batch_sizes
        metafunc.parametrize(
            "facenet_batch_size", sizes, scope="session", ids=[f"b{size}" for size in sizes]
        )
    if "facenet_set" in parameters:
        metafunc.parametrize("facenet_set", sets, indirect=True, scope="session")
    against = () if settings.against is None else ("against",)
    if "facenet_compared_with" in parameters:
        metafunc.parametrize("facenet_compared_with", ("reference", *against), scope="session")
    if "facenet_timed_beside" in parameters:
        metafunc.parametrize("facenet_timed_beside", ("fp32", *against), scope="session")


def pytest_itemcollected(item: pytest.Item) -> None:
    # pytest-benchmark's --benchmark-only looks for its fixture among the names of a test's.
    names = getattr(item, "fixturenames", [])
    if "facenet_timed_beside" in names and item.config.pluginmanager.hasplugin("benchmark"):
        names.append("benchmark")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    config.stash[RESULTS].collected = any(
        "facenet_gates" in getattr(item, "fixturenames", ()) for item in items
    )
    items.sort(key=lambda item: item.get_closest_marker("facenet_fps") is not None)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    # Before any fixture: nothing is embedded for an engine that cannot run.
    names = getattr(item, "fixturenames", ())
    if RUN not in item.config.stash:
        return
    run = item.config.stash[RUN]
    if "facenet_gallery" in names and not run.settings.all_pairs:
        pytest.skip("compares all pairs of photos where --facenet-all-pairs is given")
    if "facenet_self_check" in names and not run.settings.self_check:
        pytest.skip("compares an engine's speed with itself where --facenet-self-check is given")
    if "facenet_engine" in names:
        skip_what_cannot_run(item, run)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    # Travels with the report to the controller: other tests' failures are not ours to report.
    vars(report)["facenet"] = "facenet_gates" in getattr(item, "fixturenames", ())
    ours = any(name.startswith("facenet_") for name in getattr(item, "fixturenames", ()))
    if ours and call.excinfo is not None and isinstance(call.excinfo.value, FacenetValidateError):
        message = str(call.excinfo.value)
        said = item.config.stash[SAID]
        # One cause breaks many tests: its message is printed in full once.
        report.longrepr = (
            f"(the same error as above) {message[:70]}…" if message in said else message
        )
        said.add(message)
        if isinstance(call.excinfo.value, DatasetError | ModelError | CacheError):
            # What every test stands on is broken: the rest would only say so again.
            item.session.shouldfail = f"facenet: {type(call.excinfo.value).__name__}, see above"
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

        describe_machine(machine_info, config.stash[RUN])


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config
) -> None:
    from facenet_validate.reporting.summary import write_summary

    results = config.stash[RESULTS]
    if RUN in config.stash and (results.touched or results.unmet):
        write_summary(terminalreporter, config.stash[RUN], results, exitstatus)


class Collector:
    """Keeps what the tests' reports carry; on the controller of a parallel run only."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        # A worker that crashed leaves a report of its own making, which may hide one of ours.
        crashed = str(report.when) == "???"
        if not getattr(report, "facenet", crashed):
            return
        self.config.stash[RESULTS].add(
            report.nodeid,
            report.when or "",
            gates_of(report.user_properties),
            measurements_of(report.user_properties),
            report.longreprtext if report.failed else "",
        )

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, exitstatus: int) -> None:
        # JUnit's file is written at the session's end too, and knows only what it was told before.
        results = self.config.stash[RESULTS]
        xml = self.config.stash.get(xml_key, None)
        if xml is not None and RUN in self.config.stash and results.touched:
            from facenet_validate.reporting.summary import suite_properties

            told = suite_properties(self.config.stash[RUN], results, int(exitstatus))
            for name, value in told.items():
                xml.add_global_property(name, value)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        del error
        facts = getattr(node, "workeroutput", {}).get("facenet_facts")
        if facts and RUN in self.config.stash:
            known = self.config.stash[RUN].facts
            for key, value in facts.items():
                known[key] = merged(known.get(key, {}), value)


def pytest_sessionstart(session: pytest.Session) -> None:
    if not hasattr(session.config, "workerinput"):
        session.config.pluginmanager.register(Collector(session.config), "facenet-collector")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    config = session.config
    if RUN not in config.stash:
        return
    run, results = config.stash[RUN], config.stash[RESULTS]
    if hasattr(config, "workeroutput"):
        config.workeroutput["facenet_facts"] = run.facts
        return
    if config.option.collectonly or not (results.touched or results.collected):
        return
    from facenet_validate.reporting.summary import (
        record_sessions,
        unmet_requirements,
        write_report,
    )

    recorded = record_sessions(run, results, int(session.exitstatus))
    if not recorded and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    results.unmet = unmet_requirements(run, results)
    if results.unmet and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    if run.settings.report is not None:
        try:
            write_report(run, results, int(session.exitstatus))
        except OSError as error:
            # The terminal's summary is still to come, and with it every other result.
            results.report_error = f"{run.settings.report}: {error.strerror}"
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
