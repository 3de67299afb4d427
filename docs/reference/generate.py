"""Write the tables of the reference pages, and the schema of results.json, from the code.

    python docs/reference/generate.py

A table stands between the lines ``<!-- begin NAME -->`` and ``<!-- end NAME -->`` of a page. What
stands around it is written by hand. A test holds that the committed pages have these tables.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from facenet_validate.fixtures import public
from facenet_validate.gates import catalogue
from facenet_validate.reporting.schema import results_schema
from facenet_validate.run.options import OPTIONS

HERE = Path(__file__).parent
SCHEMA = HERE / "results.schema.json"

EXIT_CODES = {
    0: (
        "no gate failed. Read the verdict line: *inconclusive* and *partial* exit with 0 too",
        "done",
    ),
    1: (
        "the verdict is *fail*: a gate failed in any try, or something broke before a verdict",
        "`cache verify` found a damaged entry; `history compare` found a regression; `diagnose` "
        "found that the engine is not its model; `report compare` found a gate that is worse; the "
        "verdict of `report merge` is a fail, or its reports contradict each other",
    ),
    2: (
        "interrupted; `results.json` is written, and its verdict is *fail*",
        "wrong use, or a model that is refused; one line says what (130: interrupted)",
    ),
    3: ("pytest broke internally", "`history compare` is inconclusive"),
    4: ("a wrong option, path or `gates.toml`; one line says what", ""),
    5: ("no test was collected", ""),
    6: ("more warnings than pytest's `--max-warnings` allows", ""),
}
"""Exit code → what it means of ``pytest suites/`` and of ``facenet-validate``."""

_NEEDS = {
    "fp16": "an FP16 engine",
    "int8": "an INT8 engine",
    "below fp32": "FP16 or INT8",
    "against": "`--facenet-against`",
    "self_check": "`--facenet-self-check`",
    "rebuilds": "`--facenet-rebuilds`",
    "threshold": "`--facenet-threshold`",
    "groups": "a set that names groups",
    "robustness": "not `--facenet-robustness off`",
    "full robustness": "`--facenet-robustness full`",
}
_PER = {"engine": "engine", "set": "engine and set", "batch": "engine and batch size"}
_BESIDE = {
    "reference": "the FP32 reference",
    "fp32": "FP32",
    "fp16": "FP16",
    "against": "that engine",
    "": "",
}


def gates_table(gates: Iterable[catalogue.Gate]) -> str:
    """Return the table of gates, a row a gate, in the order given."""
    head = ("gate", "what it observes", "limit is a", "judged once for each", "beside")
    rows = [
        (
            f"`{gate.name}`",
            gate.observes,
            gate.bound + (f" above {gate.above:g}" if gate.above is not None else ""),
            _PER[gate.per],
            _BESIDE[gate.beside],
            ", ".join(_NEEDS[need] for need in gate.needs),
            "left out" if gate.optional else "not evaluated",
            "yes" if gate.diagnosed else "",
            gate.measures,
        )
        for gate in gates
    ]
    return _table((*head, "needs", "without a limit", "diagnosed", "proposed"), rows)


def options_table() -> str:
    """Return the table of options, in the order of ``pytest --help``."""
    rows = [
        (
            " or ".join(
                f"`{flag} {option.metavar}`" if option.metavar else f"`{flag}`"
                for flag in (option.alias, option.flag)
                if flag
            ),
            f"`{option.variable}`",
            f"`{option.name}`",
            option.help,
        )
        for option in OPTIONS
    ]
    return _table(("option", "variable", "ini key", "meaning"), rows)


def exit_codes_table() -> str:
    """Return the table of exit codes."""
    rows = [(str(code), *texts) for code, texts in EXIT_CODES.items()]
    return _table(("code", "`pytest suites/`", "`facenet-validate`"), rows)


def fixtures() -> Mapping[str, str]:
    """Return the public fixtures by name, each with its docstring."""
    found: dict[str, Any] = {
        name: value
        for name, value in vars(public).items()
        if name.startswith("facenet_") and not inspect.ismodule(value)
    }
    return {name: inspect.getdoc(value.__wrapped__) or "" for name, value in found.items()}


def example(docstring: str) -> str:
    """Return the code of a docstring's ``Example::`` block; empty where there is none."""
    _, _, block = docstring.partition("Example::\n")
    return inspect.cleandoc(block)


def fixtures_list() -> str:
    """Return a section a fixture: what it gives, and its lines of use."""
    sections = []
    for name, docstring in fixtures().items():
        text = docstring.partition("Example::")[0].strip().replace("``", "`")
        sections.append(f"## {name}\n\n{text}\n\n```python\n{example(docstring)}\n```")
    return "\n\n".join(sections)


BLOCKS: Mapping[str, Callable[[], str]] = {
    "gates": lambda: gates_table(catalogue.CATALOGUE),
    "options": options_table,
    "exit codes": exit_codes_table,
    "fixtures": fixtures_list,
}


def with_tables(page: str) -> str:
    """Return a page with each of its tables as the code has it."""

    def filled(match: re.Match[str]) -> str:
        name = match["name"]
        return f"<!-- begin {name} -->\n\n{BLOCKS[name]()}\n\n<!-- end {name} -->"

    return re.sub(
        r"<!-- begin (?P<name>.+?) -->.*?<!-- end (?P=name) -->", filled, page, flags=re.DOTALL
    )


def schema_text() -> str:
    """Return the schema of ``results.json`` as its file has it."""
    return json.dumps(results_schema(), indent=1) + "\n"


def pages() -> list[Path]:
    """Return the pages that have tables."""
    return [path for path in sorted(HERE.glob("*.md")) if "<!-- begin " in path.read_text("utf-8")]


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    cells = ([cell.replace("|", "\\|") for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def main() -> None:
    """Write every page, and the schema."""
    SCHEMA.write_text(schema_text(), "utf-8")
    for path in pages():
        path.write_text(with_tables(path.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main()
