"""The page of a report in a real browser: the system's Chromium, driven by Playwright.

    tox -e browser

axe-core comes from the npm registry into a folder outside the repository; FACENET_AXE names its
``axe.min.js``. FACENET_SCREENSHOTS names a folder for pictures of the pages, to be looked at.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from facenet_validate.reporting.page.writing import write_page
from tests.reporting.page.documents import document

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
# Read now: tests run without variables of ours.
AXE = os.environ.get("FACENET_AXE", "")
SCREENSHOTS = os.environ.get("FACENET_SCREENSHOTS", "")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SIZES = {"desk": (1200, 900), "phone": (360, 740)}
HANGS = 600_000.0

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="the system has no Chromium")


def _passing() -> dict[str, Any]:
    """Return a report of a run that passed: what failed in the whole one is taken out."""
    values = document()
    values["measurements"] = [one for one in values["measurements"] if one["name"] != "diagnosis"]
    values["gates"] = [one for one in values["gates"] if one["verdict"] == "pass"]
    values |= {
        "verdict": "pass",
        "sentence": "INT8 may replace FP32: parity and accuracy hold.",
        "counts": {"pass": len(values["gates"])},
    }
    return values


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The page of a run that failed, with photos, and of one that passed."""
    failed, random = document(), np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("failed")
    (folder / "pictures").mkdir()
    cv2.imwrite(
        str(folder / "pictures" / "face.jpg"),
        random.integers(0, 255, (128, 128, 3), dtype=np.uint8),
    )
    (paired,) = [one for one in failed["measurements"] if one["name"] == "paired comparison"]
    for pair in paired["worth_seeing"]["changed"]:
        pair |= {"left_picture": "pictures/face.jpg", "right_picture": "pictures/face.jpg"}
    return {
        "fail": write_page(folder, failed),
        "pass": write_page(tmp_path_factory.mktemp("passed"), _passing()),
    }


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS, timeout=HANGS)
        yield made
        made.close()


@pytest.fixture(params=["fail", "pass"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["light", "dark"])
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=list(SIZES))
def size(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def page(browser: Any, pages: dict[str, Path], kind: str, scheme: str, size: str) -> Iterator[Any]:
    """A page that is open; at the end nothing was asked for and nothing said on the console."""
    width, height = SIZES[size]
    # The page forbids scripts, which axe-core is.
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, bypass_csp=True
    )
    context.set_default_timeout(HANGS)
    made, asked, said = context.new_page(), [], []
    made.on("request", lambda request: asked.append(request.url))
    made.on("console", lambda message: said.append(message.text))
    made.on("pageerror", lambda error: said.append(str(error)))
    made.goto(pages[kind].as_uri())
    yield made
    context.close()
    outside = [url for url in asked if not url.startswith("data:")]
    assert outside == [pages[kind].as_uri()]
    assert said == []


def test_it_fits_the_screen(page: Any, kind: str, scheme: str, size: str) -> None:
    page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    if SCREENSHOTS:
        page.screenshot(path=Path(SCREENSHOTS) / f"{kind}-{scheme}-{size}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size][0]
    drawings = page.evaluate(
        "[...document.querySelectorAll('svg')].map(one => one.getBoundingClientRect().width)"
    )
    assert len(drawings) > 10
    assert min(drawings) > 250


def test_the_colours_are_those_of_the_scheme(page: Any, scheme: str) -> None:
    red, green, blue = (
        int(one)
        for one in page.evaluate("getComputedStyle(document.body).backgroundColor")[4:-1].split(",")
    )
    assert (red + green + blue > 600) is (scheme == "light")


def test_axe_core_finds_nothing(page: Any) -> None:
    if not AXE or not Path(AXE).is_file():
        pytest.skip("axe-core is absent: FACENET_AXE names its axe.min.js")
    page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    page.add_script_tag(path=AXE)
    found = page.evaluate(
        "axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', "
        "'best-practice']})"
    )
    told = [
        {"rule": one["id"], "help": one["help"], "at": [n["html"][:200] for n in one["nodes"][:3]]}
        for one in found["violations"]
    ]
    assert told == [], json.dumps(told, indent=1)
    assert "color-contrast" in {one["id"] for one in found["passes"]}


@pytest.mark.parametrize("size", ["desk"], indirect=True)
@pytest.mark.parametrize("scheme", ["light"], indirect=True)
def test_everything_is_reached_by_keyboard(page: Any) -> None:
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.evaluate("document.activeElement.getBoundingClientRect().left") >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("location.hash") == "#gates"
    page.keyboard.press("Tab")
    # Every link, fold and scrolling table has its turn; a fold opens by Enter.
    waiting = page.evaluate(
        "[...document.querySelectorAll('#gates summary')].filter(one => "
        "!one.parentElement.open && one.checkVisibility()).length"
    )
    opened = 0
    for _ in range(400):
        if page.evaluate("document.activeElement.tagName") == "SUMMARY" and not page.evaluate(
            "document.activeElement.parentElement.open"
        ):
            page.keyboard.press("Enter")
            opened += 1
        if page.evaluate("document.activeElement === document.body"):
            break
        page.keyboard.press("Tab")
    assert opened >= waiting > 0


@pytest.mark.parametrize("kind", ["fail"], indirect=True)
@pytest.mark.parametrize("scheme", ["light"], indirect=True)
def test_the_first_screen_says_what_failed_and_what_to_do(page: Any, size: str) -> None:
    height = SIZES[size][1] * (1 if size == "desk" else 1.6)
    for words in ("INT8 may not replace FP32", "red and blue are exchanged", "Feed the engine RGB"):
        box = page.get_by_text(words).first.bounding_box()
        assert box["y"] + box["height"] <= height, words
