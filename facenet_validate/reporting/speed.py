"""What a run says of speeds: a line each for ratios, latencies and self-checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from facenet_validate.benchmarking.sessions import Session

MOST_STORED = 100
"""Stored sessions that a report keeps, the newest ones."""

_BESIDE = {"fp32": "FP32", "fp16": "FP16", "against": "the engine compared with"}


def speed_lines(measurements: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the lines of everything that was timed, in the order measured."""
    makers = {"speed": _speed, "latency": _latency, "self-check": _self_check}
    return [makers[m["name"]](m) for m in measurements if m["name"] in makers]


def stored_values(sessions: Sequence[Session]) -> list[dict[str, Any]]:
    """Return the stored sessions of an engine as JSON has them, oldest first."""
    ordered = sorted(sessions, key=lambda session: session.recorded())
    return [
        {
            "recorded_at": session.recorded_at,
            "epoch": session.epoch,
            "reason": session.reason,
            "latency_seconds": session.latency_seconds,
            "paired_ratio": session.paired_ratio,
        }
        for session in ordered[-MOST_STORED:]
    ]


def _speed(speed: Mapping[str, Any]) -> str:
    text = (
        f"speed {speed['precision']}, batch {speed['batch']}, {speed['scope']}: "
        f"{speed['fps']:.1f} images/s over {speed['blocks']} blocks"
    )
    if "ratio" in speed:
        low, high = (float(value) for value in speed["ratio_interval"])
        beside = _BESIDE[speed["beside"]]
        interval = f"{low:.3f} to {high:.3f}" if isfinite(high) else "too few quads for an interval"
        text += f", {speed['ratio']:.3f} × {beside}'s ({interval})"
    if again := len(speed["measured_again"]):
        causes = ", ".join(dict.fromkeys(speed["measured_again"]))
        text += f"; {again} disturbed quads measured again ({causes})"
    if speed["unsettled"]:
        text += "; block times had not settled when warming up ended"
    if speed["disturbance"]:
        text += f"; disturbed to the last: {speed['disturbance']}"
    return text


def _latency(times: Mapping[str, Any]) -> str:
    p99 = f", p99 {times['p99_ms']:.3f} ms" if "p99_ms" in times else ""
    text = (
        f"latency {times['precision']}, batch {times['batch']}, {times['clock']} clock: "
        f"p50 {times['p50_ms']:.3f} ms, p90 {times['p90_ms']:.3f} ms{p99} "
        f"over {times['batches']} batches"
    )
    if "enqueue_p50_ms" in times:
        text += (
            f", enqueue {times['enqueue_p50_ms']:.3f} ms ({times['enqueue_share']:.0%}), "
            f"{times['gpu_memory_bytes'] / 2**20:.0f} MiB of GPU memory"
        )
    if "latency_p50_ms" in times:
        p99 = f", p99 {times['latency_p99_ms']:.3f} ms" if "latency_p99_ms" in times else ""
        text += (
            f"; latency with copies, host clock: p50 {times['latency_p50_ms']:.3f} ms, "
            f"p90 {times['latency_p90_ms']:.3f} ms{p99}"
        )
    return f"{text}; {times['host_bound']}" if times.get("host_bound") else text


def _self_check(found: Mapping[str, Any]) -> str:
    return (
        f"self-check {found['precision']}: {found['false_failures']} false failures in "
        f"{found['comparisons']} comparisons, {found['inconclusive']} inconclusive"
    )
