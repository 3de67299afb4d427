"""The pages say what is there: links lead somewhere, paths and names of the code exist."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from facenet_validate.run.replaced import FIXTURES, MODULES

REPOSITORY = Path(__file__).parents[1]
DOCS = REPOSITORY / "docs"
CHANGELOG = REPOSITORY / "CHANGELOG.md"
PAGES = (
    REPOSITORY / "README.md",
    REPOSITORY / "CONTRIBUTING.md",
    CHANGELOG,
    *sorted(DOCS.rglob("*.md")),
)

GENERATED = {
    DOCS / "reference" / f"{name}.md" for name in ("exit-codes", "fixtures", "gates", "options")
}
"""Pages that are written from the code, and held by tests of their own."""

MADE_BY_EXAMPLES = {
    "facenet_validate/commands/catalogue.py",
    "facenet_validate/datasets/jsonl_pairs.py",
    "facenet_validate/engines/opencv/backend.py",
    "facenet_validate/engines/opencv/engine.py",
    "tests/test_memory_order_gate.py",
}
"""Files that a reader of CONTRIBUTING.md makes."""

IN_A_WHEEL = {"facenet_validate/_project/baselines/gates.toml"}
"""Files that packaging makes."""

KEYS = {"facenet_validate.anatomy", "facenet_validate.engines.opencv"}
"""Names that are no code here: of a model's metadata, and of CONTRIBUTING.md's example."""

_LINK = re.compile(r"(?<!!)\[[^\]\[]*\]\(([^)\s]+)\)")
_FENCED = re.compile(r"^( *)```(\w*)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
_PATH = re.compile(
    r"(?<![\w/.-])((?:facenet_validate|suites|tests|docs|baselines|\.ci)/[\w./-]*[\w/])(?![\w*<…])"
)
_DOTTED = re.compile(r"(?<![\w/.])facenet_validate(?:\.[A-Za-z_]\w*)+")
_FILE_ENDINGS = {".py", ".md", ".toml", ".ini"}

every_page = pytest.mark.parametrize(
    "page", PAGES, ids=[path.relative_to(REPOSITORY).as_posix() for path in PAGES]
)
every_page_of_today = pytest.mark.parametrize(
    "page",
    [path for path in PAGES if path != CHANGELOG],  # it tells names of versions before
    ids=[path.relative_to(REPOSITORY).as_posix() for path in PAGES if path != CHANGELOG],
)


def broken_links(text: str, page: Path) -> list[str]:
    """Return the relative links of a page that lead to no file, or to no heading of it."""
    found = []
    for link in _LINK.findall(_FENCED.sub("", text)):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if target.exists():
            there = not anchor or anchor in _anchors(target.read_text(encoding="utf-8"))
        else:
            there = target in GENERATED
        found += [] if there else [link]
    return found


def _anchors(text: str) -> Iterator[str]:
    """Yield the anchors of a page's headings, as code hosts make them."""
    for heading in re.findall(r"^#+ +(.+)$", _FENCED.sub("", text), re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        kept = re.sub(r"[^\w\- ]", "", plain.strip().lower())
        yield kept.replace(" ", "-")


def missing_paths(text: str) -> list[str]:
    """Return the paths of the repository that a text names and that are not there."""
    return [
        path
        for path in dict.fromkeys(_PATH.findall(text))
        if path not in MADE_BY_EXAMPLES | IN_A_WHEEL
        and REPOSITORY / path not in GENERATED
        and (Path(path).suffix in _FILE_ENDINGS or path.endswith("/"))
        and not (REPOSITORY / path).exists()
    ]


def unresolved_names(text: str) -> list[str]:
    """Return the dotted names below ``facenet_validate`` that a text names and nothing has."""
    names = [name for name in dict.fromkeys(_DOTTED.findall(text)) if name not in KEYS]
    return [name for name in names if not _resolves(name)]


def _resolves(name: str) -> bool:
    parts = name.split(".")
    if parts[-1] == "py" or f"{'/'.join(parts)}.py" in MADE_BY_EXAMPLES:
        return True
    for cut in range(len(parts), 0, -1):
        try:
            found: object = import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for part in parts[cut:]:
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
        return True
    return False


def unknown_imports(code: str) -> list[str]:
    """Return what a block of code imports of the package, and the package does not have."""
    return [
        f"{node.module}.{alias.name}"
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.ImportFrom)
        and (node.module or "").split(".")[0] == "facenet_validate"
        and f"{(node.module or '').replace('.', '/')}.py" not in MADE_BY_EXAMPLES
        for alias in node.names
        if not _resolves(f"{node.module}.{alias.name}")
    ]


@every_page
def test_every_link_leads_somewhere(page: Path) -> None:
    assert broken_links(page.read_text(encoding="utf-8"), page) == []


@every_page_of_today
def test_every_path_is_there(page: Path) -> None:
    assert missing_paths(page.read_text(encoding="utf-8")) == []


@every_page_of_today
def test_every_name_is_there(page: Path) -> None:
    assert unresolved_names(page.read_text(encoding="utf-8")) == []


@every_page_of_today
def test_examples_import_what_is_there(page: Path) -> None:
    blocks = _FENCED.findall(page.read_text(encoding="utf-8"))
    whole = [
        code
        for _, kind, code in blocks
        if kind == "python" and code.startswith(('"', "from", "import"))
    ]
    assert [name for code in whole for name in unknown_imports(code)] == []


@pytest.mark.parametrize(
    "page", sorted(DOCS.rglob("*.md")), ids=lambda page: f"{page.parent.name}/{page.stem}"
)
def test_every_page_is_found_from_the_index(page: Path) -> None:
    indices = (DOCS / "README.md", DOCS / "evidence" / "README.md")
    linked = {
        (index.parent / link.partition("#")[0]).resolve()
        for index in indices
        for link in _LINK.findall(index.read_text(encoding="utf-8"))
    }
    assert page in {*linked, *indices}


@pytest.mark.parametrize(
    "script", sorted((DOCS / "evidence").rglob("*.py")), ids=lambda script: script.name
)
def test_every_measuring_script_is_told_of_beside_its_figures(script: Path) -> None:
    pages = [page.read_text(encoding="utf-8") for page in (DOCS / "evidence").glob("*.md")]
    assert any(script.relative_to(REPOSITORY).as_posix() in text for text in pages)


def test_pages_and_scripts_named_in_the_code_are_there() -> None:
    files = [
        *(REPOSITORY / "facenet_validate").rglob("*.py"),
        *(REPOSITORY / "suites").rglob("*.py"),
        *DOCS.rglob("*.py"),
        REPOSITORY / "baselines" / "gates.toml",
        REPOSITORY / "pyproject.toml",
        REPOSITORY / "tox.ini",
        REPOSITORY / ".ci" / "run",
    ]
    named = {file: missing_paths(file.read_text(encoding="utf-8")) for file in files}
    assert {file: paths for file, paths in named.items() if paths} == {}


def test_what_is_not_there_is_found() -> None:
    """The checks themselves see a planted error of each kind."""
    page = DOCS / "README.md"
    planted = "[a](guide/nothing.md) [b](guide/models.md#nothing) [c](guide/models.md#sources)"
    assert broken_links(planted, page) == ["guide/nothing.md", "guide/models.md#nothing"]
    assert missing_paths("run `docs/evidence/measure_nothing.py`") == [
        "docs/evidence/measure_nothing.py"
    ]
    assert unresolved_names("`facenet_validate.gates.catalogue.row`, `facenet_validate.judge`") == [
        "facenet_validate.judge"
    ]
    code = "from facenet_validate import Gates, Judge\nfrom facenet_validate.gates import catalogue"
    assert unknown_imports(code) == ["facenet_validate.Judge"]


def test_the_changelog_has_every_name_that_went() -> None:
    rows = CHANGELOG.read_text(encoding="utf-8")
    for name, instead in FIXTURES.items():
        assert f"| fixture `{name}` | {instead} |" in rows
    for name, instead in MODULES.items():
        assert f"| module `facenet_validate.{name}` | {instead} |" in rows
