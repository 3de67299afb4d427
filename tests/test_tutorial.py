"""The tutorial's runner: it fails where a command fails, and where the output is another."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs.tutorial.run import PAGE, TutorialError, first_missing, main, steps
from facenet_validate.run.options import OPTIONS

GOOD = """
# A page

```sh
mkdir project
cd project
export COLOUR=blue
```

Then:

```sh
printf 'one\\ntwo 2.5\\nthree   words here\\n'
```

```text
two 7
…
three words …
```

<!-- exits with 3 -->
```sh
test "$COLOUR" = blue
test "$(basename "$PWD")" = project
exit 3
```
"""


def ran(page: str, folder: Path) -> int:
    path = folder / "page.md"
    path.write_text(page, "utf-8")
    work = folder / "work"
    work.mkdir()
    return main([str(path), "--work", str(work)])


def test_a_page_that_says_what_happens(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ran(GOOD, tmp_path) == 0
    assert capsys.readouterr().out.count("processors  line ") == 3
    assert (tmp_path / "work" / "project").is_dir()
    assert (tmp_path / "work" / "facenet_validate" / "pyproject.toml").is_file()


@pytest.mark.parametrize(
    ("instead_of", "written", "told"),
    [
        ("mkdir project\n", "mkdir project\nfalse\n", "ended with 1, expected 0"),
        ("exit 3", "exit 0", "ended with 0, expected 3"),
        ("exits with 3", "exits with 4", "ended with 3, expected 4"),
        ("two 7", "two words", "not printed, or not in this order:\ntwo words"),
        ("two 7\n…\nthree words …", "three words …\ntwo 7", "in this order:\ntwo 7"),
        ("COLOUR=blue", "COLOUR=red", "ended with 1, expected 3"),
    ],
    ids=["a command", "no failure", "exit code", "output", "order", "variable"],
)
def test_another_end_is_told(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    instead_of: str,
    written: str,
    told: str,
) -> None:
    assert ran(GOOD.replace(instead_of, written), tmp_path) == 1
    assert told in capsys.readouterr().out


def test_settings_of_the_user_do_not_reach_the_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACENET_LFW", "/data/lfw")
    monkeypatch.setenv("PYTEST_ADDOPTS", "--collect-only")
    page = '```sh\ntest -z "$FACENET_LFW$PYTEST_ADDOPTS"\ntest -n "$FACENET_CACHE"\n```\n'
    assert ran(page, tmp_path) == 0


@pytest.mark.parametrize(
    ("expected", "printed", "same"),
    [
        ("acc 0.98 pass", "  acc   0.97312 pass", True),
        ("acc 0.98 pass", "acc none pass", False),
        ("int8 1e-05", "int8 7.3e-08", True),
        ("int8", "int4", False),
        ("verdict: …", "verdict: FAIL (1)", True),
        ("verdict: FAIL", "verdict: FAIL (1)", False),
        ("verdict: FAIL", "\x1b[31mverdict: FAIL\x1b[0m", True),
        ("a.b", "a-b", False),
    ],
)
def test_what_counts_as_the_same_line(expected: str, printed: str, *, same: bool) -> None:
    assert (first_missing([expected], printed) is None) is same


def test_a_text_block_needs_commands() -> None:
    with pytest.raises(TutorialError, match="line 3: a text block without commands"):
        steps("# A page\n\n```text\nverdict\n```\n")


def test_the_tutorial_has_options_that_are_there() -> None:
    commands = " ".join(step.commands for step in steps(PAGE.read_text("utf-8")))
    named = {word.partition("=")[0] for word in commands.split() if word.startswith("--facenet-")}
    assert named
    assert named <= {option.flag for option in OPTIONS}
