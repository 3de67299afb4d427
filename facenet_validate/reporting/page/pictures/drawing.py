"""Drawings for a page: SVG whose colours are the page's, light and dark."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawn

# matplotlib knows no variables of CSS: it draws with colours that stand for them.
_VARIABLES = {
    "#010203": "ink",
    "#010204": "faint",
    "#010205": "line",
    "#010206": "engine",
    "#010207": "reference",
    "#010208": "genuine",
    "#010209": "impostor",
    "#01020a": "fail",
}
_COLOURS = {name: colour for colour, name in _VARIABLES.items()}

INK, FAINT, LINE = _COLOURS["ink"], _COLOURS["faint"], _COLOURS["line"]
ENGINE, REFERENCE, LIMIT = _COLOURS["engine"], _COLOURS["reference"], _COLOURS["fail"]
GENUINE, IMPOSTOR = _COLOURS["genuine"], _COLOURS["impostor"]

WIDTH, HEIGHT = 5.0, 3.1
"""Inches of a picture: on a phone its letters are still read."""

_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "font.size": 10.0,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.titlesize": 10.0,
    "axes.titlecolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "text.color": INK,
    "text.parse_math": False,
    "legend.frameon": False,
    "legend.fontsize": 9.0,
    "lines.linewidth": 1.8,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}


@dataclass
class Canvas:
    """A drawing under way; ``svg`` holds it once it is closed."""

    name: str
    drawn: Drawn
    svg: str = ""

    @property
    def axes(self) -> Axes:
        """The only panel."""
        return self.panels(1, 1)[0]

    def panels(self, rows: int, columns: int, **options: Any) -> list[Axes]:
        """Return new panels, row by row."""
        return list(self.drawn.subplots(rows, columns, squeeze=False, **options).flat)

    def legend(self, *, columns: int = 2) -> None:
        """Write what the lines of the first panel stand for, above all panels."""
        handles, labels = self.drawn.axes[0].get_legend_handles_labels()
        self.drawn.legend(handles, labels, loc="outside upper left", ncols=columns)


@contextmanager
def canvas(name: str, width: float = WIDTH, height: float = HEIGHT) -> Iterator[Canvas]:
    """Give a canvas to draw on.

    Parameters
    ----------
    name : str
        The picture's id in the page: ids within the drawing begin with it.
    width, height : float
        In inches.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    style: Any = {**_STYLE, "svg.hashsalt": name}  # Any: its type lists every setting by name
    with mpl.rc_context(style):
        made = Canvas(name, Figure((width, height), layout="constrained"))
        yield made
        made.svg = _svg(made.drawn, name)


def _svg(drawn: Drawn, name: str) -> str:
    file = io.BytesIO()
    # No date within: the same values give the same page.
    drawn.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    text = file.getvalue().decode()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    text = re.sub(r' xmlns(:\w+)?="[^"]*"', "", text).replace("xlink:href", "href")
    text = re.sub(r' (version|clip-rule)="[^"]*"', "", text)
    text = re.sub(r'(id=")', rf"\1{name}-", text)
    text = re.sub(r'(href="#|url\(#)', rf"\1{name}-", text)
    text = re.sub(r"font: ([^';\"]*?\d(?:\.\d+)?px) [^;\"]*", r"font: \1 var(--font)", text)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, f"var(--{variable})")
    labels = f'role="img" aria-labelledby="{name}-title" aria-describedby="{name}-words"'
    return text.replace("<svg", f"<svg {labels}", 1).replace("\n", " ").strip()


def plain_ticks(axis: Any) -> None:
    """Write the marks of a logarithmic axis as decimal numbers, one a decade."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(numticks=7))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
