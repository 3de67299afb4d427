"""Pairs to look at: those whose decision changed, and the hardest ones."""

from __future__ import annotations

from facenet_validate.reporting.page.model import Face, Gallery, Pair
from facenet_validate.reporting.page.parts import Line, Part
from facenet_validate.reporting.photos import MOST_PAIRS, order_shown

_TITLES = {
    "changed": "Pairs whose decision changed",
    "hardest_genuine": "Hardest pairs of one person",
    "hardest_impostor": "Hardest pairs of two people",
}


def galleries(measured: Part) -> tuple[Gallery, ...]:
    """Return the galleries of a measurement ``paired comparison``.

    Of pairs whose decision changed, those furthest from the threshold come first.
    """
    found = []
    for key, title in _TITLES.items():
        every = list(measured["worth_seeing"][key])
        pairs = [every[place] for place in order_shown(key, [one.value for one in every])]
        if not pairs:
            continue
        shown = tuple(_pair(pair) for pair in pairs[:MOST_PAIRS])
        words: Line = ()
        if len(pairs) > MOST_PAIRS:
            words = ("The forty pairs furthest from the threshold; the file has all of them.",)
        found.append(Gallery(title, words, shown))
    return tuple(found)


def _pair(pair: Part) -> Pair:
    faces = tuple(
        Face(pair[side].cell(), pair[f"{side}_picture"].text) for side in ("left", "right")
    )
    right, before = pair["correct"].value, pair["reference_correct"].value
    now = "decides rightly" if right else "decides wrongly"
    then = "rightly too" if right and before else "rightly" if before else "wrongly"
    then = "wrongly too" if not right and not before else then
    words: Line = (
        f"The engine {now}, FP32 {then}. Distance ",
        pair["distance"].cell(),
        ", FP32's ",
        pair["reference_distance"].cell(),
        ", threshold ",
        pair["threshold"].cell(),
        ". Pair ",
        pair["pair"].cell(),
        ", fold ",
        pair["fold"].cell(),
        ".",
    )
    return Pair(
        faces=(faces[0], faces[1]),
        kind="one person" if pair["same"].value else "two people",
        words=words,
        mark="known as mislabelled" if pair["known_as_mislabelled"].value else "",
    )
