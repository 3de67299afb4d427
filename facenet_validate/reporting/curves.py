"""Small panels of curves side by side, as SVG that needs no plotting library."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _HEIGHT = 260, 190
_LEFT, _TOP, _RIGHT, _BOTTOM = 44, 28, 10, 24
_HEAD = 44
_COLUMNS = 4
_COLOURS = ("#444444", "#d55e00", "#0072b2", "#009e73")
_DASHES = ("none", "5 3", "2 2", "7 2 2 2")


@dataclass(frozen=True)
class Curve:
    """A named curve.

    Attributes
    ----------
    name : str
    across, values : tuple of float
        Of its points, of one length.
    """

    name: str
    across: tuple[float, ...]
    values: tuple[float, ...]


@dataclass(frozen=True)
class Panel:
    """Curves in one frame, below a title."""

    title: str
    curves: tuple[Curve, ...]


def curves_svg(title: str, panels: Sequence[Panel]) -> str:
    """Draw panels side by side, all with one scale.

    Parameters
    ----------
    title : str
        Above them all.
    panels : sequence of Panel
        At least one. Their curves have the same names.

    Returns
    -------
    str
        An SVG document.

    Raises
    ------
    ValueError
        Without panels.
    """
    if not panels:
        raise ValueError("a picture of no panels")
    every = [curve for panel in panels for curve in panel.curves]
    low, high = min(min(one.values) for one in every), max(max(one.values) for one in every)
    low, high = (low, high) if high > low else (low - 0.5, high + 0.5)
    first, last = min(min(one.across) for one in every), max(max(one.across) for one in every)
    columns = min(_COLUMNS, len(panels))
    width, height = columns * _WIDTH, _HEAD + -(-len(panels) // columns) * _HEIGHT

    def x(value: float) -> float:
        return _LEFT + (value - first) / max(last - first, 1e-9) * (_WIDTH - _LEFT - _RIGHT)

    def y(value: float) -> float:
        return _TOP + (high - value) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="11">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="8" y="18" font-size="14">{escape(title)}</text>',
        *_legend([one.name for one in panels[0].curves]),
    ]
    for place, panel in enumerate(panels):
        row, column = divmod(place, columns)
        parts.append(f'<g transform="translate({column * _WIDTH} {_HEAD + row * _HEIGHT})">')
        parts.append(f'<text x="{_LEFT}" y="{_TOP - 8}">{escape(panel.title)}</text>')
        for value in (low, (low + high) / 2, high):
            parts.append(
                f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(value):.1f}" '
                f'y2="{y(value):.1f}" stroke="#dddddd"/>'
                f'<text x="{_LEFT - 5}" y="{y(value) + 4:.1f}" text-anchor="end">{value:.3f}'
                "</text>"
            )
        parts += [
            f'<text x="{x(value):.1f}" y="{_HEIGHT - 8}" text-anchor="middle">{value:g}</text>'
            for value in panel.curves[0].across
        ]
        for number, one in enumerate(panel.curves):
            points = " ".join(
                f"{x(a):.1f},{y(v):.1f}" for a, v in zip(one.across, one.values, strict=True)
            )
            parts.append(f'<polyline points="{points}" fill="none" {_stroke(number)}/>')
        parts.append("</g>")
    return "\n".join([*parts, "</svg>", ""])


def _legend(names: Sequence[str]) -> list[str]:
    return [
        f'<line x1="{8 + 120 * number}" x2="{36 + 120 * number}" y1="34" y2="34" '
        f'{_stroke(number)}/><text x="{42 + 120 * number}" y="38">{escape(name)}</text>'
        for number, name in enumerate(names)
    ]


def _stroke(number: int) -> str:
    colour, dashes = _COLOURS[number % len(_COLOURS)], _DASHES[number % len(_DASHES)]
    return f'stroke="{colour}" stroke-width="2" stroke-dasharray="{dashes}"'
