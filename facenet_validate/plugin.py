"""pytest hooks, nothing else: they look after options, collection, outcomes and reports.

An installed plugin sees every project of its user. Outside a run of ours the hooks return at once,
and nothing heavy is imported here: numpy and the runtimes load inside fixtures.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

import pytest

from facenet_validate.base.errors import FacenetValidateError
from facenet_validate.base.wording import refusal
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
from facenet_validate.gates.records import gates_of, verdict_of
from facenet_validate.gates.verdicts import Verdict
from facenet_validate.reporting.header import header
from facenet_validate.run.collecting import PARAMETERS, is_ours_in, with_files
from facenet_validate.run.judging import judged_by, skip_what_cannot_run
from facenet_validate.run.outcomes import begin_try, explain, hold_to_gates
from facenet_validate.run.run import RUN, is_active, run_of, validate
from facenet_validate.run.session import COLLECTED, ReportedSession, Stopping, report_usage_error
from facenet_validate.run.settings import OPTIONS, Option

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

SESSION = pytest.StashKey[ReportedSession]()


def pytest_addoption(parser: pytest.Parser) -> None:
    for option in OPTIONS:
        _add(parser, option, option.flag)
        parser.addini(option.name, option.help, type="string", default=None)


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(
    parser: pytest.Parser, args: list[str]
) -> Generator[None, None, None]:
    # With those of addopts and PYTEST_ADDOPTS, before pytest takes any away.
    asked = {argument.partition("=")[0] for argument in with_files(args)}
    yield
    # Someone's own project may have a --precision: then ours goes by its long name alone. A
    # conftest that is read later may add one too, so ours is there only where it is asked for.
    taken = {name for group in _groups(parser) for opt in group.options for name in opt.names()}
    for option in OPTIONS:
        if option.alias in asked - taken:
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
        "engine can be built but not run, and say why where an error ends the test first",
    )
    is_worker = hasattr(config, "workerinput")
    if is_worker or config.option.help or not is_active(config):
        return
    try:
        validate(run_of(config))
    except (FacenetValidateError, OSError) as error:
        message = _message(error)
        report_usage_error(config, message)
        raise pytest.UsageError(message) from None


def _message(error: FacenetValidateError | OSError) -> str:
    return f"facenet: {refusal(error)}" if isinstance(error, OSError) else str(error)


def pytest_report_header(config: pytest.Config) -> list[str]:
    return header(config.stash[RUN]) if RUN in config.stash else []


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    parameters = {name for name in (*PARAMETERS, "facenet_run") if is_ours_in(metafunc, name)}
    # Every fixture of ours stands on the run: what is wrong with it is told at collection.
    if not parameters:
        return
    try:
        run = run_of(metafunc.config)
        settings, sets = run.settings, run.set_names
    except (FacenetValidateError, OSError) as error:
        message = _message(error)
        if not hasattr(metafunc.config, "workerinput"):
            report_usage_error(metafunc.config, message)
        raise pytest.Collector.CollectError(message) from None
    against = () if settings.against is None else ("against",)
    values: dict[str, Sequence[Any]] = {
        "facenet_precision": settings.precisions,
        "facenet_batch_size": settings.batch_sizes,
        "facenet_set": sets,
        "facenet_compared_with": ("reference", *against),
        "facenet_timed_beside": ("fp32", *against),
    }
    for name in PARAMETERS:
        if name in parameters:
            is_size = name == "facenet_batch_size"
            metafunc.parametrize(
                name,
                values[name],
                indirect=name == "facenet_set",
                scope="session",
                ids=[f"b{size}" for size in values[name]] if is_size else None,
            )


def pytest_itemcollected(item: pytest.Item) -> None:
    # pytest-benchmark's --benchmark-only looks for its fixture among the names of a test's.
    names = getattr(item, "fixturenames", [])
    if "facenet_timed_beside" in names and item.config.pluginmanager.hasplugin("benchmark"):
        names.append("benchmark")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    config.stash[COLLECTED] = any(
        "facenet_gates" in getattr(item, "fixturenames", ()) for item in items
    )
    items.sort(key=lambda item: item.get_closest_marker("facenet_fps") is not None)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    begin_try(item)
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


# Outermost: what other plugins make of a failure, such as xfail, is known when this one ends.
@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    names = getattr(item, "fixturenames", ())
    ours = any(name.startswith("facenet_") for name in names)
    if ours and call.excinfo is not None:
        explain(item, report, call.excinfo.value)
    hold_to_gates(item, report)
    # Travels with the report to the controller: other tests' failures are not ours to report.
    judging = "facenet_gates" in names or bool(gates_of(item.user_properties))
    vars(report)["facenet"] = judging
    if judging and not report.passed and RUN in item.config.stash:
        vars(report)["facenet_judges"] = judged_by(item, item.config.stash[RUN])
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
            config.workeroutput["facenet_facts"] = config.stash[RUN].facts
    if SESSION in config.stash:
        config.stash[SESSION].finish(session)
