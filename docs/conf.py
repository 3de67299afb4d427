"""The documentation as a site: the pages as they are, and no page of its own.

    sphinx-build -W --keep-going -n -c docs . build/site

The repository is the source folder, so a link leads to the same page here and on a code host. The
order of the pages is that of the tables in ``docs/README.md`` and ``docs/evidence/README.md``.
"""

from __future__ import annotations

import posixpath
import re
import shutil
from importlib import metadata
from pathlib import Path

from sphinx.application import Sphinx

project = "facenet_validate"
release = metadata.version("facenet-validate")
html_title = f"{project} {release}"
root_doc = "README"
include_patterns = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs/**.md"]
exclude_patterns = [".*", "build", "dist"]
extensions = ["myst_parser"]
# Anchors of headings down to the fourth level, named as code hosts name them.
myst_heading_anchors = 4
myst_enable_extensions = ["deflist"]
smartquotes = False  # an option's two hyphens are no dash
html_theme = "furo"
html_static_path = ["site.css"]
html_css_files = ["site.css"]
html_copy_source = False

INDEX = Path(__file__).with_name("README.md")
"""The page that lists all others, a table a section."""

ABOUT = ("docs/README", "docs/evidence/README", "CONTRIBUTING", "CHANGELOG")
"""Pages of the last section of the navigation."""

_SECTION = re.compile(r"^\*\*(\w+)\*\*: ", re.MULTILINE)
_ROW = re.compile(r"^\| \[[^]]+\]\(([^)#]+)\.md\)", re.MULTILINE)


def toctree(docnames: list[str], caption: str = "") -> str:
    """Return a hidden table of contents, as MyST writes it."""
    lines = [f":caption: {caption}"] if caption else []
    pages = [f"/{docname}" for docname in docnames]
    return "\n".join(["", "```{toctree}", ":hidden:", *lines, "", *pages, "```", ""])


def listed(text: str, folder: str) -> list[str]:
    """Return the pages that the rows of a page's tables begin with."""
    return [posixpath.normpath(posixpath.join(folder, page)) for page in _ROW.findall(text)]


def navigation(docname: str, text: str) -> str:
    """Return the tables of contents that a page brings; empty for most."""
    if docname == root_doc:
        _, *parts = _SECTION.split(INDEX.read_text("utf-8"))
        sections = zip(parts[::2], parts[1::2], strict=True)
        trees = [toctree(listed(rows, "docs"), caption) for caption, rows in sections]
        return "".join([*trees, toctree(list(ABOUT), "About")])
    if docname == "docs/evidence/README":
        return toctree(listed(text, "docs/evidence"))
    return ""


def _add_navigation(_: Sphinx, docname: str, source: list[str]) -> None:
    source[0] += navigation(docname, source[0])


def _copy_front_page(app: Sphinx, error: Exception | None) -> None:
    """Hosts of sites look for ``index.html``."""
    if error is None and app.builder.format == "html":
        folder = Path(app.outdir)
        shutil.copyfile(folder / f"{root_doc}.html", folder / "index.html")


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect what is above to Sphinx's events."""
    app.connect("source-read", _add_navigation)
    app.connect("build-finished", _copy_front_page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
