"""Samples in pages are right: limits are read, commands are understood, suites pass.

What is not here: CONTRIBUTING.md's examples, which were typed into a copy; fixtures' lines of use
(``test_fixtures.py``); the tutorial, which ``tox -e docs`` runs.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import onnx
import pytest

from facenet_validate.base.errors import FacenetValidateError
from facenet_validate.cache import Cache
from facenet_validate.cli import _parser
from facenet_validate.commands.parsing import refuse_empty
from facenet_validate.gates.limits import read_gates
from tests.models.small_facenet import small_facenet
from tests.test_docs import _FENCED, CHANGELOG, DOCS, PAGES

SUITES_PAGE = DOCS / "guide" / "suites.md"
SAMPLE_LIMITS = """
schema = 1
[gates.any.any.any]
contract.batch_invariance = 1e-5
robustness.blur = 0.5
"""


def blocks(page: Path, *kinds: str) -> list[str]:
    """Return the blocks of a page that are of these kinds."""
    found = _FENCED.findall(page.read_text("utf-8"))
    return [body for _, kind, body in found if kind in kinds]


def commands(text: str) -> list[str]:
    """Return the ``facenet-validate`` commands of a block, without what pipes and comments add.

    ``[-o OUT]`` is an option that may be given; ``…`` stands for a command.
    """
    joined = re.sub(r"\[(-.*?)\]", r"\1", text.replace("\\\n", " "))
    found = re.findall(r"(?:^|&& |\$ )(facenet-validate [^#\n|&>…]+)", joined, re.MULTILINE)
    return [command.strip() for command in found if command.strip() != "facenet-validate"]


def not_understood(command: str) -> str:
    """Return why the command line refuses a command; an empty text where it does not."""
    _, *words = shlex.split(command)
    try:
        refuse_empty(words)
        _parser().parse_args(words)
    except (SystemExit, FacenetValidateError) as error:
        return f"{command}: {error}"
    return ""


def test_limits_in_pages_are_read(tmp_path: Path) -> None:
    samples = [text for page in sorted(DOCS.rglob("*.md")) for text in blocks(page, "toml")]
    assert len(samples) > 1
    for text in samples:
        path = tmp_path / "gates.toml"
        path.write_text(text if "schema" in text else f"schema = 1\n{text}", "utf-8")
        read_gates(path)


def test_commands_in_pages_are_understood(capsys: pytest.CaptureFixture[str]) -> None:
    given = [
        command
        for page in PAGES
        if page != CHANGELOG  # it tells commands of versions before
        for text in blocks(page, "sh", "console", "text", "")
        for command in commands(text)
    ]
    assert len(given) > 20
    assert [why for command in given if (why := not_understood(command))] == []


def test_a_command_that_is_wrong_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    (command,) = commands("cd x && facenet-validate quantize a.onnx --targget cpu  # a comment\n")
    assert command == "facenet-validate quantize a.onnx --targget cpu"
    assert not_understood(command)
    assert not_understood("facenet-validate doctr")


def test_suites_of_the_guide_pass(
    pytester: pytest.Pytester,
    tmp_path: Path,
    small_set: Path,
    shared_cache: Cache,
    all_imported: None,
) -> None:
    onnx.save(small_facenet(160), tmp_path / "small.onnx")
    (pytester.path / "baselines").mkdir()
    (pytester.path / "baselines" / "gates.toml").write_text(SAMPLE_LIMITS)
    samples = blocks(SUITES_PAGE, "python")
    pytester.makepyfile(**{f"test_sample_{row}": text for row, text in enumerate(samples)})
    result = pytester.runpytest_inprocess(
        "--precision=fp16",
        f"--facenet-model={tmp_path / 'small.onnx'}",
        f"--facenet-lfw={small_set}",
        f"--facenet-cache={shared_cache.root}",
    )
    result.assert_outcomes(passed=len(samples))
    assert len(samples) > 1
