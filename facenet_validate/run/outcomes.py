"""What a test's gates make of its report: a gate that failed in any try has failed.

Other plugins run a test again (``--reruns``), expect its failure (``xfail``), or the test itself
catches the failure. None of them accepts a failed gate: an accepted failure is a changed limit in
``gates.toml``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from facenet_validate.base.errors import CacheError, DatasetError, FacenetValidateError, ModelError
from facenet_validate.gates.records import gates_of, measurement_property
from facenet_validate.reporting.terminal import failure_table
from facenet_validate.run.collecting import judged_by
from facenet_validate.run.run import RUN

TRY = pytest.StashKey[int]()
"""How often the test was started."""

_RUNNING = pytest.StashKey[pytest.Item]()
_FAILED = pytest.StashKey[bool]()  # whether a report of this try said so
_SAID = pytest.StashKey[dict[str, str]]()  # message → the test whose report has it in full


def running_properties(item: pytest.Item) -> tuple[list[tuple[str, Any]], int]:
    """Return the user properties of the test that runs now, and the number of its try.

    Parameters
    ----------
    item : pytest.Item
        The test that asks, which may have ended.
    """
    running = item.session.stash.get(_RUNNING, item)
    return running.user_properties, running.stash.get(TRY, 1)


def record_measurement(session: pytest.Session, name: str, values: Mapping[str, Any]) -> None:
    """Record a measurement that no gate judges with the test that runs now."""
    running = session.stash.get(_RUNNING, None)
    if running is not None:
        running.user_properties.append(measurement_property(name, values))


def begin_try(item: pytest.Item) -> None:
    """Count a try of a test, before its set-up."""
    item.session.stash[_RUNNING] = item
    item.stash[TRY] = item.stash.get(TRY, 0) + 1
    item.stash[_FAILED] = False


def finish_report(
    item: pytest.Item, report: pytest.TestReport, call: pytest.CallInfo[None]
) -> None:
    """Make a report of a test say what its gates and our errors make of it."""
    names = getattr(item, "fixturenames", ())
    if call.excinfo is not None and any(name.startswith("facenet_") for name in names):
        explain(item, report, call.excinfo.value)
    hold_to_gates(item, report)
    # Travels with the report to the controller: other tests' failures are not ours to report.
    judging = "facenet_gates" in names or bool(gates_of(item.user_properties))
    vars(report)["facenet"] = judging
    if judging and not report.passed and RUN in item.config.stash:
        vars(report)["facenet_judges"] = judged_by(item, item.config.stash[RUN])


def hold_to_gates(item: pytest.Item, report: pytest.TestReport) -> None:
    """Make a report a failure where a gate of its test has failed and it does not say so."""
    failing = [gate for gate in gates_of(item.user_properties) if gate["fails"]]
    attempt = item.stash.get(TRY, 1)
    now = [gate for gate in failing if gate["try"] == attempt]
    overlooked = {
        # A failure of an earlier try waits for the test itself, unless that will not be run.
        "setup": bool(now) or report.skipped,
        "call": True,
        "teardown": not item.stash.get(_FAILED, False),
    }
    if failing and not report.failed and overlooked[report.when or "call"]:
        report.outcome = "failed"
        report.longrepr = _overlooked(now or failing, attempt)
        vars(report).pop("wasxfail", None)
    if report.failed:
        item.stash[_FAILED] = True


def _overlooked(gates: Sequence[Mapping[str, Any]], attempt: int) -> str:
    first = gates[0]
    tries = "" if first["try"] == attempt else f", in try {first['try']} of {attempt}"
    heading = f"{first['precision']} ({first['target']}) on {first['dataset']}: fail{tries}"
    shown = [gate for gate in gates if gate["try"] == first["try"]]
    return (
        f"{failure_table(shown, heading=heading)}\n\nA gate that failed in any try has failed, "
        "whatever xfail, a rerun or an except clause makes of it. To accept the value, change its "
        "limit in gates.toml."
    )


def explain(item: pytest.Item, report: pytest.TestReport, error: BaseException) -> None:
    """Print an error of ours without a traceback, and in full only once.

    One cause breaks many tests. Where every test stands on what is broken, the report says so in
    ``facenet_stop``: the rest of the run would only repeat it.
    """
    if not isinstance(error, FacenetValidateError) or not report.failed:
        return
    message = str(error)
    vars(report)["facenet_error"] = message
    first = item.session.stash.setdefault(_SAID, {}).setdefault(message, item.nodeid)
    repeated = first != item.nodeid
    report.longrepr = f"(the same error as above) {message[:70]}…" if repeated else message
    if isinstance(error, DatasetError | ModelError | CacheError):
        vars(report)["facenet_stop"] = type(error).__name__
