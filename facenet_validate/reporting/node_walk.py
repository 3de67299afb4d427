"""A picture of a walk over nodes: signal over noise along the network, where it jumps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from facenet_validate.diagnosis.diagnosis import NodeDifference, Walk

WIDTH, HEIGHT = 1100, 420

_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 16, 56, 96
_LOW, _HIGH = -10.0, 60.0
"""Decibels at the bottom and at the top; what lies beyond is drawn at the edge."""

_STEP = 10

# Okabe and Ito's palette, whose colours the colour-blind tell apart; the lines differ too.
_TOGETHER, _ALONE, _JUMP, _INK, _PALE = "#0072B2", "#E69F00", "#D55E00", "#333333", "#DDDDDD"


def walk_picture(walk: Walk) -> str:
    """Return an SVG of a walk: a point a node, in the network's order, and the blocks below.

    Parameters
    ----------
    walk : Walk
        With nodes. Where it has a jump, a vertical line marks it.

    Raises
    ------
    ValueError
        Without nodes.
    """
    if not walk.nodes:
        raise ValueError("a picture of no nodes")
    parts = [*_axes(), *_blocks(walk.nodes), *_legend(), *_curves(walk.nodes), *_jump(walk)]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
            f'viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="11">',
            f"<title>{escape(f'SQNR by node, {walk.source}')}</title>",
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
            *parts,
            "</svg>",
            "",
        ]
    )


def _x(place: float, count: int) -> float:
    return _LEFT + (WIDTH - _LEFT - _RIGHT) * (place + 0.5) / count


def _y(decibels: float) -> float:
    share = (min(max(decibels, _LOW), _HIGH) - _LOW) / (_HIGH - _LOW)
    return HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * share


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, more: str = "") -> str:
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"{more}/>'
    )


def _text(x: float, y: float, text: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{_INK}"{more}>{escape(text)}</text>'


def _axes() -> Iterator[str]:
    for decibels in range(int(_LOW), int(_HIGH) + 1, _STEP):
        height = _y(decibels)
        yield _line(_LEFT, height, WIDTH - _RIGHT, height, _PALE)
        yield _text(_LEFT - 8, height + 4, str(decibels), ' text-anchor="end"')
    middle = (_y(_LOW) + _y(_HIGH)) / 2
    turned = f' text-anchor="middle" transform="rotate(-90 14 {middle:.1f})"'
    yield _text(14, middle, "SQNR, dB", turned)


def _blocks(nodes: Sequence[NodeDifference]) -> Iterator[str]:
    """Yield a line where a block begins, and its name below, slanted."""
    before = None
    for place, node in enumerate(nodes):
        if node.block == before:
            continue
        before = node.block
        x, low = _x(place - 0.5, len(nodes)), _y(_LOW)
        yield _line(x, _y(_HIGH), x, low + 6, _PALE)
        turned = f' transform="rotate(50 {x:.1f} {low + 16:.1f})"'
        yield _text(x, low + 16, node.block, turned)


def _legend() -> Iterator[str]:
    for x, colour, dash, meaning in (
        (_LEFT, _TOGETHER, "", "the whole engine, up to this node"),
        (_LEFT + 260, _ALONE, ' stroke-dasharray="4 3"', "the node alone, fed with FP32's tensors"),
    ):
        yield _line(x, 20, x + 28, 20, colour, f' stroke-width="2"{dash}')
        yield _text(x + 36, 24, meaning)


def _curves(nodes: Sequence[NodeDifference]) -> Iterator[str]:
    together = [(place, node.sqnr) for place, node in enumerate(nodes)]
    alone = [
        (place, node.local_sqnr) for place, node in enumerate(nodes) if node.local_sqnr is not None
    ]
    for values, colour, dash in (
        (alone, _ALONE, ' stroke-dasharray="4 3"'),
        (together, _TOGETHER, ""),
    ):
        points = " ".join(f"{_x(p, len(nodes)):.1f},{_y(value):.1f}" for p, value in values)
        yield (
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"{dash}/>'
        )


def _jump(walk: Walk) -> Iterator[str]:
    if walk.jump is None:
        return
    place = next(p for p, node in enumerate(walk.nodes) if node.node == walk.jump.node)
    x = _x(place, len(walk.nodes))
    yield _line(x, _TOP - 14, x, _y(_LOW), _JUMP, ' stroke-width="2"')
    side = ' text-anchor="end"' if x > WIDTH / 2 else ""
    offset = -6 if x > WIDTH / 2 else 6
    yield _text(x + offset, _TOP - 6, f"jump: {walk.jump.node}", side)
