"""The picture of a walk over nodes."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from facenet_validate.diagnosis.diagnosis import NodeDifference, Walk
from facenet_validate.reporting.node_walk import HEIGHT, WIDTH, walk_picture

SVG = "{http://www.w3.org/2000/svg}"


def _node(name: str, block: str, sqnr: float, alone: float | None) -> NodeDifference:
    return NodeDifference(name, "Conv", block, alone, None, sqnr, 0.9)


NODES = (
    _node("a", "stem", 200.0, 200.0),
    _node("b<c", "block35 1", 30.0, None),
    _node("d", "block35 1", -200.0, -3.0),
)


def _drawn(walk: Walk) -> ElementTree.Element:
    return ElementTree.fromstring(walk_picture(walk))


def test_every_node_is_a_point_and_every_block_has_its_name() -> None:
    root = _drawn(Walk("by added outputs", NODES))
    alone, together = (line.attrib["points"].split() for line in root.iter(f"{SVG}polyline"))
    assert (len(together), len(alone)) == (3, 2)
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert texts.count("stem") == texts.count("block35 1") == 1
    assert not any(text and text.startswith("jump") for text in texts)


def test_points_lie_inside_whatever_the_values() -> None:
    root = _drawn(Walk("by added outputs", NODES))
    for line in root.iter(f"{SVG}polyline"):
        for point in line.attrib["points"].split():
            x, y = map(float, point.split(","))
            assert 0 < x < WIDTH
            assert 0 < y < HEIGHT


def test_the_jump_is_marked_with_its_name() -> None:
    root = _drawn(Walk("by added outputs", NODES, jump=NODES[1]))
    assert "jump: b<c" in [text.text for text in root.iter(f"{SVG}text")]


def test_a_walk_without_nodes_has_no_picture() -> None:
    with pytest.raises(ValueError, match="no nodes"):
        walk_picture(Walk(untold="no graph"))
