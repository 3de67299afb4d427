"""The page as one file of HTML that needs no other: no network, no script."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from functools import cache, partial
from importlib import resources
from typing import TYPE_CHECKING, Any

from facenet_validate.reporting.page.document import page_of
from facenet_validate.reporting.page.parts import Cell

if TYPE_CHECKING:
    from jinja2 import Environment

Pictures = Callable[[str], bytes | None]
"""A picture's path beside ``results.json`` → a JPEG or PNG; None where there is none."""


def render(values: Mapping[str, Any], pictures: Pictures = lambda _: None) -> str:
    """Return the page of a report.

    Parameters
    ----------
    values : mapping
        What ``results.json`` holds.
    pictures : callable
        Reads a picture that the values name; the page holds what it returns.

    Returns
    -------
    str
        HTML. The same values and pictures give the same page.
    """
    embedded = partial(_data_uri, pictures)
    return _templates().get_template("report.html.j2").render(page=page_of(values), uri=embedded)


def render_template(name: str, **values: Any) -> str:
    """Return a page of another template of this folder, in the same style."""
    return _templates().get_template(name).render(**values)


@cache
def _templates() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    made = Environment(
        loader=PackageLoader("facenet_validate.reporting.page", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = resources.files("facenet_validate.reporting.page").joinpath("style.css")
    made.globals["style"] = Markup(style.read_text("utf-8"))  # noqa: S704 (a file of ours)
    made.filters["exact"] = _exact
    made.tests["cell"] = lambda value: isinstance(value, Cell)
    return made


def _exact(cell: Cell) -> str:
    """Return a number as JSON writes it: nothing is lost."""
    return json.dumps(cell.value)


def _data_uri(pictures: Pictures, path: str) -> str:
    """Return a picture as an address that holds it; empty where it cannot be had."""
    content = pictures(path) if path else None
    if content is None:
        return ""
    kind = "png" if content.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"
