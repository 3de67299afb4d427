"""The step `write`: what a session measured, as tables of docs/evidence/gpu.md."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from facenet_validate.base.files import write_whole
from gpu_session.session import Notes, Session, read_json

BEGIN, END = "<!-- session: begin -->", "<!-- session: end -->"
MEASURING = ("batch-64", "batches", "static", "others")
"""Steps that note rows."""


def write(session: Session) -> None:
    """Write the page's part between the markers anew."""
    with Notes(session.out / "write.json") as notes:
        before, rest = session.page.read_text(encoding="utf-8").split(BEGIN)
        text = f"{before}{BEGIN}\n{tables(session)}\n{END}{rest.split(END)[1]}"
        write_whole(session.page, text.encode())
        notes.put("says", session.page.name)


def tables(session: Session) -> str:
    """Return what was measured, in Markdown, and what could not be."""
    measured = {step: session.results(step) or {} for step in MEASURING}
    parts = [
        *_host(session.results("facts") or {}),
        _steps(session),
        _speed([row for one in measured.values() for row in one.get("rows", ())]),
        _agreement([row for one in measured.values() for row in one.get("agreement", ())]),
        *_problems(measured),
    ]
    text = "\n\n".join(part for part in parts if part)
    # The page is for everyone: it has no paths of the machine that measured.
    return text.replace(str(session.work), "WORK").replace(str(session.out), "OUT")


def _host(facts: dict[str, Any]) -> Iterator[str]:
    gpu, packages = facts.get("gpu", {}), facts.get("host", {}).get("packages", {})
    names = ("tensorrt-rtx-cu13-bindings", "tensorrt", "cuda-bindings", "pycuda", "onnxruntime")
    libraries = [f"{name} {packages[name]}" for name in names if name in packages]
    if gpu.get("name"):
        yield (
            f"{gpu['name']}, compute capability {gpu['compute capability']}, driver "
            f"{gpu['driver'] or 'unknown'}, CUDA {gpu['cuda of the driver']}. "
            f"{', '.join(libraries)}."
        )
    rtx = facts.get("rtx")
    if rtx is not None:
        word = "accepts this GPU" if rtx["accepted"] else f"does not accept this GPU: {rtx['why']}"
        yield f"TensorRT for RTX {rtx.get('version', '')} {word}."


def _steps(session: Session) -> str:
    told = (read_json(session.out / "session.json") or {"steps": {}})["steps"]
    lines = [
        (one["step"], one["status"], f"{one['seconds']:.0f}", _said(session, one["step"]))
        for one in told.values()
    ]
    return _table(("step", "ended", "seconds", "what it says"), lines)


def _said(session: Session, step: str) -> str:
    return str((session.results(step) or {}).get("says", ""))


def _speed(rows: list[dict[str, Any]]) -> str:
    columns = ("backend", "engine", "profile", "batch", "scope", "images/s", "p50 ms", "p90 ms")
    return _table(
        (*columns, "× FP16"),
        [
            (
                *(row["backend"], row["engine"], row["profile"], str(row["batch"]), row["scope"]),
                *(f"{row['fps']:,.0f}", f"{row['p50_ms']:.2f}", f"{row['p90_ms']:.2f}"),
                f"{row['ratio']:.2f}" if "ratio" in row else "",
            )
            for row in rows
        ],
    )


def _agreement(rows: list[dict[str, Any]]) -> str:
    return _table(
        ("engine", "batch", "faces", "row cosine min", "1st percentile", "mean"),
        [
            (
                row["engine"],
                str(row["batch"]),
                str(row["faces"]),
                *(f"{row[key]:.6f}" for key in ("min", "p1", "mean")),
            )
            for row in rows
        ],
    )


def _problems(measured: dict[str, dict[str, Any]]) -> Iterator[str]:
    lines = [
        f"- {step}: {' '.join(problem.split())}"
        for step, one in measured.items()
        for problem in one.get("problems", ())
    ]
    if lines:
        yield "What could not be measured:\n\n" + "\n".join(lines)


def _table(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """Return a table in Markdown; nothing without rows."""
    if not rows:
        return ""
    cells = [columns, tuple("---" for _ in columns), *rows]
    return "\n".join(
        "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in row) + " |"
        for row in cells
    )
