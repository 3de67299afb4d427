"""Count the package's code by room, of the working tree or of a git revision.

    python docs/evidence/count_lines.py                     # the working tree
    python docs/evidence/count_lines.py --rev 9bdf271       # a revision
    python docs/evidence/count_lines.py --since 9bdf271     # and how much it changed since another

A room is a folder at the top of the package. A line of code has code on it: it is not blank, and
neither a comment nor a docstring alone. ``suites/`` and ``tests/`` are not in the package's sum.
"""

from __future__ import annotations

import argparse
import ast
import io
import subprocess
import tarfile
import tokenize
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

PACKAGE = "facenet_validate"
OTHERS = ("suites", "tests")
COLUMNS = ("modules", "lines", "code")
NO_CODE = (
    *(tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE),
    *(tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER),
)


def sources(rev: str | None) -> Iterator[tuple[Path, str]]:
    """Yield every Python file, as its path below the repository's top and its text."""
    top = Path(__file__).resolve().parents[2]
    folders = (PACKAGE, *OTHERS)
    if rev is None:
        for path in (path for folder in folders for path in (top / folder).rglob("*.py")):
            yield path.relative_to(top), path.read_text(encoding="utf-8")
        return
    command = ["git", "-C", str(top), "archive", rev, "--", *folders]
    archive = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        for member in files:
            file = files.extractfile(member) if member.name.endswith(".py") else None
            if file is not None:
                yield Path(member.name), file.read().decode()


def code_lines(text: str) -> int:
    """Return how many lines of a module have code on them."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in NO_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        match node:  # a docstring, be it of a module, a class, a function or an attribute
            case ast.Expr(value=ast.Constant(value=str()), lineno=first, end_lineno=int(last)):
                lines.difference_update(range(first, last + 1))
    return len(lines)


def count(rev: str | None, without: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """Return `COLUMNS` of every room, of the package, and of what is beside it."""
    found: defaultdict[str, tuple[int, ...]] = defaultdict(lambda: (0, 0, 0))
    for path, text in sources(rev):
        if any(path.is_relative_to(left_out) for left_out in without):
            continue
        rows = [f"{path.parts[0]}/"]
        if path.parts[0] == PACKAGE:
            rows = [f"{path.parts[1]}/" if path.parts[2:] else "(root)", PACKAGE]
        for row in rows:
            more = (1, len(text.splitlines()), code_lines(text))
            found[row] = tuple(a + b for a, b in zip(found[row], more, strict=True))
    return found


def table(rows: Iterable[tuple[str, ...]]) -> str:
    """Return rows of texts in aligned columns, the first to the left."""
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows
    )


def main() -> None:
    """Print the table that the command line asks for."""
    parser = argparse.ArgumentParser(description="Count the package's code by room.")
    parser.add_argument("--rev", help="git revision; the working tree by default")
    parser.add_argument("--since", metavar="REV", help="git revision to compare with")
    left_out = "file or folder to leave out"
    parser.add_argument("--without", metavar="PATH", action="append", default=[], help=left_out)
    asked = parser.parse_args()
    now = count(asked.rev, asked.without)
    before = count(asked.since, asked.without) if asked.since else {}
    last = ["(root)", PACKAGE, *(f"{folder}/" for folder in OTHERS)]
    rooms = [*sorted((now.keys() | before.keys()) - set(last)), *last]
    if asked.since:
        rows = [("", *(text for name in COLUMNS for text in (f"{name} before", "now", "change")))]
    else:
        rows = [("", *COLUMNS)]
    for room in rooms:
        then, counts = before.get(room, (0, 0, 0)), now.get(room, (0, 0, 0))
        values = [(str(b),) if not asked.since else (str(a), str(b), f"{b - a:+d}")
                  for a, b in zip(then, counts, strict=True)]  # fmt: skip
        rows.append((room, *(text for cell in values for text in cell)))
    print(table(rows))  # noqa: T201  a command's output


if __name__ == "__main__":
    main()
