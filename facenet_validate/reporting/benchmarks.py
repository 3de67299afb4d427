"""What pytest-benchmark's own files are told of the machine."""

from __future__ import annotations

from typing import Any

from facenet_validate.reporting.report import RunReport

_UNSTABLE = ("hz_actual", "hz_actual_friendly")
"""The clock at one moment: it makes pytest-benchmark take a host for another one."""


def describe_machine(machine_info: dict[str, Any], report: RunReport) -> None:
    """Add what engines run on to ``machine_info``, and take out what differs from run to run."""
    cpu = machine_info.get("cpu")
    if isinstance(cpu, dict):
        for name in _UNSTABLE:
            cpu.pop(name, None)
    environment = report.environment
    assert environment is not None
    machine_info["facenet"] = {
        "device": environment.device,
        "cpu_details": environment.cpu_details,
        "backend": environment.backend,
        "backend_version": environment.backend_version,
        "threads": environment.threads,
        "target": environment.target,
    }
