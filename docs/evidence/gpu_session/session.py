"""What every step is given: its folders, and a file of results that is whole at any moment."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from facenet_validate.base.files import write_whole

ROOT = Path(__file__).parents[3]
"""The checkout."""

RTX: Literal["tensorrt-rtx"] = "tensorrt-rtx"


@dataclass(frozen=True)
class Session:
    """Where a session reads and writes.

    Attributes
    ----------
    work : Path
        What `prepare` made, and engines built since.
    out : Path
        Results: a JSON file and a log for each step, and what the steps save beside them.
    page : Path
        The page that `write` writes a table into.
    """

    work: Path
    out: Path
    page: Path = ROOT / "docs" / "evidence" / "gpu.md"

    def results(self, step: str) -> dict[str, Any] | None:
        """Return what a step wrote, also when it was ended half way; None where it never ran."""
        return read_json(self.out / f"{step}.json")

    def refusal(self) -> str:
        """Return why TensorRT for RTX cannot be used here; empty if it can, or was not tried."""
        facts = self.results("facts")
        if facts is None:
            return ""
        rtx = facts.get("rtx", {"accepted": False, "why": "the step `facts` did not come so far"})
        return "" if rtx["accepted"] else str(rtx["why"])


class Notes:
    """The results of a step, written whole after each change: an ended step keeps what it noted.

    Parameters
    ----------
    path : Path
        The JSON file. Its ``finished`` is true once the step has come to its end.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._values: dict[str, Any] = {}

    def put(self, key: str, value: Any) -> None:
        """Set a value."""
        self._values[key] = value
        self._write(finished=False)

    def add(self, key: str, value: Any) -> None:
        """Append to a list."""
        self.put(key, [*self._values.get(key, ()), value])

    def problem(self, what: str, error: Exception) -> None:
        """Note what could not be done; the step goes on."""
        self.add("problems", f"{what}: {error}")

    def __enter__(self) -> Self:
        self._write(finished=False)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._write(finished=kind is None)

    def _write(self, *, finished: bool) -> None:
        write_json(self._path, {"finished": finished, **self._values})


def read_json(path: Path) -> dict[str, Any] | None:
    """Return the values of a JSON file; None where there is none."""
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return found


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write a JSON file in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, (json.dumps(values, indent=1, ensure_ascii=False) + "\n").encode())
