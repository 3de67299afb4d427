"""The plugin in projects that are not ours: as if it were not installed, unless it is asked for."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.closed_folders import close_folder

WITHOUT_US = ("-p", "no:facenet_validate")
QUICK = "-p no:hypothesispytest"
"""Hypothesis is loaded anew in every run of a run; that takes longer than all else."""

Make = Callable[[Path, pytest.MonkeyPatch], None]


def _content(content: bytes) -> Make:
    def make(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (folder / "baselines").mkdir()
        (folder / "baselines" / "gates.toml").write_bytes(content)

    return make


def _pipe(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "baselines").mkdir()
    os.mkfifo(folder / "baselines" / "gates.toml")


def _device(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "baselines").mkdir()
    (folder / "baselines" / "gates.toml").symlink_to("/dev/zero")


def _folder_for_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "baselines" / "gates.toml").mkdir(parents=True)


def _file_for_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "baselines").write_text("theirs")


def _looping_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "baselines").symlink_to("baselines")


def _looping_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "baselines").mkdir()
    (folder / "baselines" / "gates.toml").symlink_to("gates.toml")


def _closed_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _content(b"schema = 1\n[gates]\n")(folder, monkeypatch)
    close_folder(folder / "baselines", monkeypatch)


def _closed_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _content(b"schema = 1\n[gates]\n")(folder, monkeypatch)
    gates = folder / "baselines" / "gates.toml"
    opened = Path.open

    def refused(self: Path, *arguments: object, **keywords: object) -> object:
        if self == gates:
            raise PermissionError(13, "Permission denied", str(self))
        return opened(self, *arguments, **keywords)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", refused)
    monkeypatch.setattr(Path, "read_text", lambda self, *a, **k: refused(self).read())  # type: ignore[attr-defined]


# What lies at baselines/gates.toml, and what our message says of it where we are asked.
NOT_OURS: dict[str, tuple[Make, str]] = {
    "another TOML": (_content(b"[limits]\nspeed = 3\n"), "no schema"),
    "a schema alone": (_content(b"schema = 7\n"), "schema 7"),
    "gates alone": (_content(b"[gates]\nopen = true\n"), "no schema"),
    "no TOML": (_content(b"gates: [open, shut]\n"), "Expected '=' after a key"),
    "a merge conflict": (_content(b"<<<<<<< HEAD\nschema = 1\n"), "line 1 is the mark of a merge"),
    "bytes": (_content(b"\xff\xfe\x00\x01"), "not UTF-8"),
    "NUL characters": (_content(b"\0" * 100), "NUL characters"),
    "deep": (_content(b"x = " + b"[" * 4000), "too many brackets"),
    "large": (_content(b"# more\n" * 100_000), "larger than"),
    "a pipe": (_pipe, "not a regular file"),
    "a device": (_device, "not a regular file"),
    "a folder for the file": (_folder_for_file, "it is a folder"),
    "a loop for the folder": (_looping_folder, "Too many levels of symbolic links"),
    "a loop for the file": (_looping_file, "Too many levels of symbolic links"),
    "a folder that is closed": (_closed_folder, "Permission denied"),
    "a file that is closed": (_closed_file, "Permission denied"),
}


@pytest.fixture
def theirs(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """Somebody else's project, whose test passes."""
    monkeypatch.setenv("PYTEST_ADDOPTS", QUICK)
    pytester.makepyfile(test_theirs="def test_theirs(): pass")
    return pytester


def _compare(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    """Run with us and without, and check that nothing differs for the user."""
    ours = pytester.runpytest_inprocess(*arguments)
    without = pytester.runpytest_inprocess(*WITHOUT_US, *arguments)
    said = ours.stdout.str() + ours.stderr.str()
    assert ours.ret == without.ret, said
    assert ours.parseoutcomes() == without.parseoutcomes(), said
    _says_nothing_of_ours(ours)
    return ours


def _says_nothing_of_ours(result: pytest.RunResult) -> None:
    said = result.stdout.str() + result.stderr.str()
    assert "facenet:" not in said
    assert "gates" not in said


@pytest.mark.parametrize("place", ["root", "above"])
@pytest.mark.parametrize("kind", [*NOT_OURS, "a file for the folder"])
def test_a_file_that_is_not_ours_is_left_alone(
    theirs: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, kind: str, place: str
) -> None:
    make = NOT_OURS[kind][0] if kind in NOT_OURS else _file_for_folder
    make(theirs.path, monkeypatch)
    if place == "above":
        inner = theirs.mkdir("inner")
        (theirs.path / "test_theirs.py").rename(inner / "test_theirs.py")
        (inner / "pytest.ini").write_text("[pytest]\n")
        monkeypatch.chdir(inner)
    # By its name: pytest itself looks into the folders beside it else.
    result = theirs.runpytest_inprocess("test_theirs.py")
    _says_nothing_of_ours(result)
    assert (result.ret, result.parseoutcomes()) == (pytest.ExitCode.OK, {"passed": 1})


@pytest.mark.parametrize("kind", NOT_OURS)
def test_where_we_are_asked_it_is_an_error_before_collection(
    theirs: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    make, says = NOT_OURS[kind]
    make(theirs.path, monkeypatch)
    result = theirs.runpytest_inprocess("test_theirs.py", "--facenet-batch-size=1")
    assert result.ret == pytest.ExitCode.USAGE_ERROR, result.stdout.str()
    lines = [line for line in result.errlines if line]
    assert len(lines) == 1, lines
    assert "baselines/gates.toml" in lines[0]
    assert says in lines[0]


@pytest.mark.parametrize("kind", NOT_OURS)
def test_a_test_that_uses_a_fixture_of_ours_fails_at_collection(
    theirs: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    make, says = NOT_OURS[kind]
    make(theirs.path, monkeypatch)
    names = ("facenet_run", "facenet_faces", "facenet_engine")
    theirs.makepyfile(**{f"test_{name}": f"def test_ours({name}): pass" for name in names})
    result = theirs.runpytest_inprocess(*(f"test_{name}.py" for name in names))
    text = result.stdout.str()
    assert result.ret == pytest.ExitCode.INTERRUPTED, text
    assert "Traceback" not in text
    # Once for each file, as pytest's summary repeats a part.
    found = text.partition("short test summary info")[0].split("ERROR collecting ")[1:]
    assert len(found) == len(names)
    for one in found:
        assert "baselines/gates.toml" in one
        assert says in one


def test_a_file_of_ours_makes_the_run_ours(theirs: pytest.Pytester) -> None:
    (theirs.path / "baselines").mkdir()
    (theirs.path / "baselines" / "gates.toml").write_text("schema = 1\n[gates]\n")
    theirs.runpytest_inprocess().stdout.fnmatch_lines(["facenet: gates *baselines/gates.toml*"])
    (theirs.path / "baselines" / "gates.toml").write_text("schema = 1\n[gates]\n[foo]\n")
    result = theirs.runpytest_inprocess()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "'foo' is unknown" in result.stderr.str()


@pytest.mark.parametrize(
    "argument",
    [
        "x" * 300,
        "x" * 300 + "::test_it",
        "x" * 5000,
        "nowhere",
        "nowhere::test_it",
        "test_theirs.py::test_theirs",
        "test_theirs.py::nothing",
        "test_theirs.py/inside",
        "loop/inside",
    ],
)
def test_any_argument_is_as_without_us(theirs: pytest.Pytester, argument: str) -> None:
    (theirs.path / "loop").symlink_to("loop")
    _compare(theirs, argument)


def test_an_argument_with_a_nul_is_no_path(
    theirs: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No shell can pass one; a caller of ``pytest.main`` can."""
    from facenet_validate.run.start import project_root

    config = theirs.parseconfig()
    monkeypatch.setattr(config, "args", ["a\0b"])
    assert project_root(config) == config.rootpath


# --- --precision ----------------------------------------------------------------------------------

THEIR_PRECISION = """
def pytest_addoption(parser):
    parser.addoption("--precision", default="theirs")
"""


def test_a_conftest_that_is_read_late_may_have_a_precision(theirs: pytest.Pytester) -> None:
    deep = theirs.path / "inner" / "deep"
    deep.mkdir(parents=True)
    (deep / "conftest.py").write_text(THEIR_PRECISION)
    (deep / "test_deep.py").write_text("def test_deep(): pass")
    result = _compare(theirs)
    assert result.ret == pytest.ExitCode.OK
    result.assert_outcomes(passed=2)


def test_an_early_conftest_s_precision_has_its_value(theirs: pytest.Pytester) -> None:
    theirs.makeconftest(THEIR_PRECISION)
    theirs.makepyfile(
        test_theirs="def test_it(request): assert request.config.option.precision == 'fp16'"
    )
    _compare(theirs, "--precision=fp16").assert_outcomes(passed=1)
    _compare(theirs, "--precision", "fp16").assert_outcomes(passed=1)


@pytest.mark.parametrize("where", ["line", "line apart", "PYTEST_ADDOPTS", "addopts"])
def test_ours_is_there_wherever_it_is_asked_for(
    theirs: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    arguments = {"line": ["--precision=int4"], "line apart": ["--precision", "int4"]}.get(where, [])
    if where == "PYTEST_ADDOPTS":
        monkeypatch.setenv(where, f"{QUICK} --precision int4")
    if where == "addopts":
        theirs.makeini("[pytest]\naddopts = --precision=int4\n")
    result = theirs.runpytest_inprocess(*arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "--precision: 'int4'; expected one of fp32, fp16, int8" in result.stderr.str()


PROPERTIES = """
def test_numbers(record_property): record_property(1, 2)
def test_none(record_property): record_property(None, 2)
def test_no_record_of_ours(record_property): record_property('facenet.gate:x', 'y')
def test_another_record(record_property): record_property('facenet.gate:x', '[1]')
def test_no_pairs(request): request.node.user_properties.append('x')
"""


def test_properties_of_their_tests_may_be_anything(theirs: pytest.Pytester) -> None:
    theirs.makepyfile(test_theirs=PROPERTIES)
    _compare(theirs).assert_outcomes(passed=5)


NAMES = (
    "facenet_precision",
    "facenet_batch_size",
    "facenet_set",
    "facenet_compared_with",
    "facenet_timed_beside",
    "facenet_run",
)


def test_fixtures_and_parameters_of_theirs_may_have_our_names(pytester: pytest.Pytester) -> None:
    source = "import pytest\n"
    for name in NAMES:
        source += f"""

class Test_{name}:
    @pytest.fixture
    def {name}(self): return 3

    def test_a(self, {name}): assert {name} == 3


@pytest.mark.parametrize("{name}", [1, 2])
def test_{name}_as_a_parameter({name}): assert {name} in (1, 2)


@pytest.mark.parametrize(("other", "{name}"), [(1, 2)])
def test_{name}_beside_another(other, {name}): assert {name} == 2
"""
    pytester.makepyfile(source)
    pytester.runpytest_inprocess().assert_outcomes(passed=4 * len(NAMES))


def test_the_alias_may_stand_in_a_file_of_arguments(pytester: pytest.Pytester) -> None:
    (pytester.path / "arguments.txt").write_text("--precision=fp64\n")
    pytester.makepyfile("def test_theirs(): pass")
    result = pytester.runpytest_inprocess("@arguments.txt")
    result.stderr.fnmatch_lines(["ERROR: --precision: 'fp64'; expected one of *"])
