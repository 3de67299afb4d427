"""Every path that a user can name, in every option and command: one clear line, no traceback.

Both tables go over what the options and the parser list, so that a new one is tried as well.
"""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import onnx
import pytest

from facenet_validate.base.errors import FacenetValidateError
from facenet_validate.cache import Cache
from facenet_validate.cli import main
from facenet_validate.run.options import OPTIONS, Option
from facenet_validate.run.settings import OwnSet, Settings, gather, resolve
from tests.closed_folders import close_folder
from tests.models.small_facenet import small_facenet

PATH_OPTIONS = [option for option in OPTIONS if option.metavar in ("PATH", "DIR", "[NAME=]FILE")]
EXPECTED = {
    "cache", "model", "engine", "against", "lfw", "pairs", "baselines", "report", "picture",
}  # fmt: skip

Place = Callable[[str], str]

# What the system says of a path, or why it is none.
KINDS = {
    "below a closed folder": "Permission denied",
    "a long name": "File name too long",
    "a long name of few characters": "File name too long",
    "a loop of links": "Too many levels of symbolic links",
    "a NUL": "NUL",
    "not UTF-8": "not UTF-8",
    "a user who does not exist": "~user exists",
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Make one of the kinds and return its path."""
    closed = tmp_path / "closed"
    (closed / "inner").mkdir(parents=True)
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").write_text("a file")
    close_folder(closed, monkeypatch)
    paths = {
        "below a closed folder": f"{closed}/inner",
        "the closed folder": f"{closed}",
        "a long name": f"{tmp_path}/{'x' * 300}",
        "a long name of few characters": f"{tmp_path}/{'é' * 200}",
        "a loop of links": f"{tmp_path}/loop/x",
        "a NUL": f"{tmp_path}/a\0b",
        "not UTF-8": f"{tmp_path}/caf\udce9",
        "a user who does not exist": "~nobody-of-this-name/x",
        "below a file": f"{tmp_path}/file/x",
    }
    return paths.__getitem__


def test_every_path_option_is_tried() -> None:
    assert {option.name.removeprefix("facenet_") for option in PATH_OPTIONS} == EXPECTED


# --- the options of pytest ------------------------------------------------------------------------


def _settings(option: Option, text: str, source: str) -> Settings:
    value: object = [text] if option.repeated and source == "flag" else text
    given = gather(
        ({option.name: value} if source == "flag" else {}).get,
        {option.variable: text} if source == "variable" else {},
        ({option.name: text} if source == "ini" else {}).get,
        invocation=Path("/"),
        ini_folder=Path("/"),
    )
    return resolve(given, root=Path("/project"))


def _line(call: Callable[[], object]) -> str:
    """Return the one line of an error of ours; anything else that comes of it fails the test."""
    try:
        found: object = call()
    except Exception as error:
        found = error
    assert isinstance(found, FacenetValidateError), repr(found)
    said = str(found)
    assert "\n" not in said
    assert len(said) < 500
    said.encode()
    return said


@pytest.mark.parametrize("source", ["flag", "variable", "ini"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("option", PATH_OPTIONS, ids=lambda option: option.name)
def test_a_path_that_cannot_be_is_one_line(
    place: Place, option: Option, kind: str, source: str
) -> None:
    said = _line(lambda: _settings(option, place(kind), source))
    names = {"flag": option.flag, "variable": option.variable, "ini": f"ini {option.name}"}
    assert said.startswith(f"{names[source]}: ")
    assert KINDS[kind] in said


@pytest.mark.parametrize("source", ["flag", "variable", "ini"])
@pytest.mark.parametrize("option", PATH_OPTIONS, ids=lambda option: option.name)
def test_the_home_folder_is_expanded_wherever_a_path_is_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, option: Option, source: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    found = getattr(_settings(option, "~/x", source), option.name.removeprefix("facenet_"))
    assert found in (tmp_path / "x", (OwnSet(tmp_path / "x", ""),))


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project of ours with a test that needs nothing."""
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p no:hypothesispytest")
    monkeypatch.setenv("FACENET_CACHE", str(pytester.path / "cache"))
    (pytester.path / "baselines").mkdir()
    (pytester.path / "baselines" / "gates.toml").write_text("schema = 1\n[gates]\n")
    pytester.makepyfile("def test_nothing(): pass")
    return pytester


@pytest.mark.parametrize("kind", [*KINDS, "the closed folder", "below a file"])
@pytest.mark.parametrize("option", PATH_OPTIONS, ids=lambda option: option.name)
def test_a_run_ends_before_collection_with_one_line(
    project: pytest.Pytester, place: Place, option: Option, kind: str
) -> None:
    result = project.runpytest_inprocess(f"{option.flag}={place(kind)}")
    said = result.stdout.str() + result.stderr.str()
    assert result.ret == pytest.ExitCode.USAGE_ERROR, said
    lines = [line for line in result.errlines if line]
    assert len(lines) == 1, said
    assert lines[0].startswith("ERROR: ")
    assert "INTERNALERROR" not in said
    assert "Traceback" not in said


@pytest.mark.parametrize("source", ["variable", "ini"])
@pytest.mark.parametrize("option", PATH_OPTIONS, ids=lambda option: option.name)
def test_so_it_does_wherever_the_path_is_written(
    project: pytest.Pytester,
    place: Place,
    monkeypatch: pytest.MonkeyPatch,
    option: Option,
    source: str,
) -> None:
    path = place("below a closed folder")
    # A developer's variable would go before the ini file.
    for other in PATH_OPTIONS:
        monkeypatch.delenv(other.variable, raising=False)
    if source == "variable":
        monkeypatch.setenv(option.variable, path)
    else:
        project.makeini(f"[pytest]\n{option.name} = {path}\n")
    result = project.runpytest_inprocess()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    (line,) = [line for line in result.errlines if line]
    assert f"{path}: cannot be looked at (Permission denied)" in line


# --- the arguments of the commands ----------------------------------------------------------------

PATH_METAVARS = {"DIR", "OUT", "FILE", "PATH", "SRC"}


def _parser() -> argparse.ArgumentParser:
    """Return the parser that `main` makes."""
    found: list[argparse.ArgumentParser] = []

    def parse(parser: argparse.ArgumentParser, *arguments: object) -> None:
        found.append(parser)
        raise SystemExit

    with pytest.MonkeyPatch.context() as patch, contextlib.suppress(SystemExit):
        patch.setattr(argparse.ArgumentParser, "parse_args", parse)
        main([])
    return found[0]


def _leaves(
    parser: argparse.ArgumentParser, words: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], argparse.ArgumentParser]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, inner in action.choices.items():
                yield from _leaves(inner, (*words, name))
            return
    yield words, parser


def _required(parser: argparse.ArgumentParser, but: argparse.Action) -> list[str]:
    """Return what a command cannot do without."""
    words: list[str] = []
    for action in parser._actions:
        if action is but:
            continue
        if action.dest == "source" and not action.option_strings:
            words.append("../small.onnx")
        elif action.required:
            words += action.option_strings[:1]
            words.append(next(iter(action.choices)) if action.choices else "latest.png")
    return words


def _named(action: argparse.Action, text: str) -> list[str]:
    return [action.option_strings[-1], text] if action.option_strings else [text]


COMMANDS = [
    (words, parser, action)
    for words, parser in _leaves(_parser())
    for action in parser._actions
    if action.metavar in PATH_METAVARS or isinstance(action.default, Path)
]
VALUES = [
    (words, parser, action)
    for words, parser in _leaves(_parser())
    for action in parser._actions
    if action.nargs != 0
]


def _id(value: object) -> str:
    if isinstance(value, tuple):
        return " ".join(value)
    if isinstance(value, argparse.Action):
        return (value.option_strings or [value.dest])[-1]
    return "" if isinstance(value, argparse.ArgumentParser) else str(value)


def test_every_command_with_a_path_is_tried() -> None:
    names = {words for words, _, _ in COMMANDS}
    for command in ("prepare", "inspect", "quantize", "fetch", "init"):
        assert (command,) in names
    assert {words[1] for words in names if words[0] == "cache"} == {
        "list", "explain", "verify", "prune", "clear",
    }  # fmt: skip
    assert {words[1] for words in names if words[0] == "history"} >= {"list", "plot", "export"}


@pytest.fixture
def run(
    tmp_path: Path,
    shared_cache: Cache,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[[list[str]], tuple[int, str]]:
    """Run a command in an empty folder; return its exit code and what it said on standard error."""
    onnx.save(small_facenet(), tmp_path / "small.onnx")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("FACENET_CACHE", str(shared_cache.root))

    def call(arguments: list[str]) -> tuple[int, str]:
        try:
            code = main(arguments)
        except SystemExit as ended:
            code = int(ended.code or 0)
        except Exception as error:
            pytest.fail(f"{type(error).__name__}: {error}")
        return code, capsys.readouterr().err

    return call


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("words", "parser", "action"), COMMANDS, ids=_id)
def test_a_command_says_in_one_line_what_is_wrong_with_a_path(
    run: Callable[[list[str]], tuple[int, str]],
    place: Place,
    words: tuple[str, ...],
    parser: argparse.ArgumentParser,
    action: argparse.Action,
    kind: str,
) -> None:
    code, said = run([*words, *_required(parser, action), *_named(action, place(kind))])
    assert code == 2, said
    assert said.startswith("facenet-validate: ")
    assert said.count("\n") == 1
    assert KINDS[kind] in said
    assert len(said) < 500


@pytest.mark.parametrize("kind", ["the closed folder", "below a file"])
@pytest.mark.parametrize(("words", "parser", "action"), COMMANDS, ids=_id)
def test_a_command_says_in_one_line_what_it_cannot_use(
    run: Callable[[list[str]], tuple[int, str]],
    place: Place,
    words: tuple[str, ...],
    parser: argparse.ArgumentParser,
    action: argparse.Action,
    kind: str,
) -> None:
    code, said = run([*words, *_required(parser, action), *_named(action, place(kind))])
    listed = words[0] == "cache" and kind == "the closed folder"
    assert code == (0 if listed and words[1] in ("list", "verify", "prune") else 2), said
    assert said.splitlines()[-1].startswith("facenet-validate: ")
    assert "Traceback" not in said


@pytest.mark.parametrize("text", ["", "  "])
@pytest.mark.parametrize(("words", "parser", "action"), VALUES, ids=_id)
def test_an_empty_argument_is_refused(
    run: Callable[[list[str]], tuple[int, str]],
    words: tuple[str, ...],
    parser: argparse.ArgumentParser,
    action: argparse.Action,
    text: str,
) -> None:
    code, said = run([*words, *_required(parser, action), *_named(action, text)])
    assert code == 2
    assert " is empty: leave it out, or give a value." in said
    assert said.count("\n") == 1
    if action.option_strings:
        assert action.option_strings[-1] in said
    if action.option_strings and action.option_strings[-1].startswith("--"):
        code, said = run(
            [*words, *_required(parser, action), f"{action.option_strings[-1]}={text}"]
        )
        assert code == 2
        assert f"{action.option_strings[-1]} is empty" in said


def _is_number(action: argparse.Action) -> bool:
    named = action.type is not None and action.type is not Path
    return named or action.metavar in ("30d", "20G", "A", "B", "ID", "KIND[/KEY]")


@pytest.mark.parametrize(
    ("words", "parser", "action"), [value for value in VALUES if _is_number(value[2])], ids=_id
)
@pytest.mark.parametrize("form", ["{}", "{}d", "latest~{}", "epoch:{}", "-{}", "1e{}"])
def test_a_number_of_5000_digits_is_one_line(
    run: Callable[[list[str]], tuple[int, str]],
    words: tuple[str, ...],
    parser: argparse.ArgumentParser,
    action: argparse.Action,
    form: str,
) -> None:
    number = form.format("9" * 5000)
    code, said = run([*words, *_required(parser, action), *_named(action, number)])
    assert code == 2, said[:500]
    assert "Traceback" not in said
    assert said.splitlines()[-1].startswith("facenet-validate")


@pytest.mark.parametrize("variable", ["FACENET_CACHE", "FACENET_LFW"])
@pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"a NUL"}))  # no variable holds one
def test_variables_are_read_as_arguments_are(
    run: Callable[[list[str]], tuple[int, str]],
    place: Place,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    kind: str,
) -> None:
    monkeypatch.setenv(variable, place(kind))
    paired = ["--paired", "--tune"] if variable == "FACENET_LFW" else []
    code, said = run(["quantize", "../small.onnx", *paired])
    assert code == 2
    assert said.startswith(f"facenet-validate: {variable}: ")
    assert KINDS[kind] in said


@pytest.mark.parametrize("variable", ["FACENET_CACHE", "FACENET_LFW"])
def test_the_home_folder_is_expanded_in_variables_and_arguments(
    run: Callable[[list[str]], tuple[int, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv(variable, "~/there")
    if variable == "FACENET_CACHE":
        (tmp_path / "home" / "there").mkdir(parents=True)
        assert run(["cache", "list"]) == (0, "")
        assert run(["cache", "list", "--cache=~/there"]) == (0, "")
    else:
        code, said = run(
            ["quantize", "../small.onnx", "--tune", "--paired", "--calibration", "nowhere"]
        )
        assert code == 2
        assert f"{tmp_path / 'home' / 'there'}: no such folder" in said
    assert not Path("~").exists()


def test_an_empty_variable_is_not_set(
    run: Callable[[list[str]], tuple[int, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACENET_CACHE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    (tmp_path / "xdg" / "facenet_validate").mkdir(parents=True)
    assert run(["cache", "list"]) == (0, "")
    assert os.environ["FACENET_CACHE"] == ""
