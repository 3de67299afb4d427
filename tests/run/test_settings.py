from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from facenet_validate.base.errors import SettingsError
from facenet_validate.base.threshold import Threshold
from facenet_validate.run.options import OPTIONS, Option
from facenet_validate.run.settings import Given, OwnSet, Settings, gather, resolve

ROOT = Path("/project")


def _settings(
    command_line: Mapping[str, object] | None = None,
    environment: dict[str, str] | None = None,
    ini: dict[str, str] | None = None,
) -> Settings:
    given = gather(
        (command_line or {}).get,
        environment or {},
        (ini or {}).get,
        invocation=Path("/invocation"),
        ini_folder=Path("/ini"),
    )
    return resolve(given, root=ROOT)


def test_defaults() -> None:
    found = _settings()
    assert found.precisions == ("fp16", "int8")
    assert found.batch_sizes == (64,)
    assert found.baselines == ROOT / "baselines"
    assert found.lfw is None
    assert found.pairs == ()
    assert found.protocol == "plain"
    assert found.int8_around is None
    assert found.profile == "dynamic"
    assert not found.rebuild


@pytest.mark.parametrize("mode", ["auto", "off", "full"])
def test_when_to_diagnose(mode: str) -> None:
    assert _settings().diagnose == "auto"
    assert _settings({"facenet_diagnose": mode}).diagnose == mode
    assert _settings({}, {"FACENET_DIAGNOSE": mode}).diagnose == mode
    assert _settings({}, {}, {"facenet_diagnose": mode}).diagnose == mode


def test_another_way_to_diagnose_is_refused() -> None:
    told = "--facenet-diagnose: 'always'; expected one of auto, off, full"
    with pytest.raises(SettingsError, match=re.escape(told)):
        _settings({"facenet_diagnose": "always"})


def test_command_line_goes_before_environment_before_ini() -> None:
    line = {"facenet_precision": ["fp32"]}
    environment = {"FACENET_PRECISION": "fp16"}
    ini = {"facenet_precision": "int8"}
    assert _settings(line, environment, ini).precisions == ("fp32",)
    assert _settings({}, environment, ini).precisions == ("fp16",)
    assert _settings({}, {}, ini).precisions == ("int8",)


def test_relative_paths_start_where_they_were_written() -> None:
    assert _settings({"facenet_lfw": "lfw"}).lfw == Path("/invocation/lfw")
    assert _settings({}, {"FACENET_LFW": "lfw"}).lfw == Path.cwd() / "lfw"
    assert _settings({}, {}, {"facenet_lfw": "../lfw"}).lfw == Path("/lfw")


def test_further_sets_are_paths_each_from_where_it_was_written() -> None:
    found = _settings({"facenet_pairs": ["a.csv,b.csv", "/c.csv"]}).pairs
    assert [one.path for one in found] == [
        Path("/invocation/a.csv"), Path("/invocation/b.csv"), Path("/c.csv"),
    ]  # fmt: skip
    assert _settings({}, {}, {"facenet_pairs": "a.csv"}).pairs == (OwnSet(Path("/ini/a.csv")),)


def test_further_sets_may_be_given_names(tmp_path: Path) -> None:
    assert _settings({"facenet_pairs": ["LFW112=sets/lfw.bin,b=/c=d.csv"]}).pairs == (
        OwnSet(Path("/invocation/sets/lfw.bin"), "lfw112"), OwnSet(Path("/c=d.csv"), "b"),
    )  # fmt: skip
    # A path may have the sign, in a name that is no set's or in that of a file that is there.
    assert _settings({"facenet_pairs": ["../a=b.csv"]}).pairs == (OwnSet(Path("/a=b.csv")),)
    path = tmp_path / "lr=3" / "pairs.csv"
    path.parent.mkdir()
    path.touch()
    assert _settings({"facenet_pairs": [str(path)]}).pairs == (OwnSet(path),)
    given = Given("lr=3/pairs.csv", "--facenet-pairs", tmp_path)
    assert resolve({"facenet_pairs": given}, root=ROOT).pairs == (OwnSet(path),)
    with pytest.raises(SettingsError, match="--facenet-pairs is empty; expected a path"):
        _settings({"facenet_pairs": ["staff="]})


def test_lists_may_be_repeated_or_comma_separated() -> None:
    assert _settings({"facenet_precision": ["int8", "fp32,int8"]}).precisions == ("fp32", "int8")
    assert _settings({"facenet_batch_size": ["1,8", "64"]}).batch_sizes == (1, 8, 64)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("facenet_precision", ["int4"], "--precision: 'int4'; expected one of fp32, fp16, int8"),
        ("facenet_precision", [""], "expected one of"),
        ("facenet_backend", "cuda", "expected one of auto, onnxruntime"),
        ("facenet_batch_size", ["0"], "between 1 and 4096"),
        ("facenet_batch_size", ["x"], "'x'"),
        (
            "facenet_int8_around",
            "int8",
            "--facenet-int8-around: 'int8'; expected one of fp16, fp32",
        ),
        ("facenet_profile", "fixed", "--facenet-profile: 'fixed'; expected one of dynamic, static"),
        ("facenet_rebuild", "maybe", "true or false"),
        ("facenet_inconclusive", "ignore", "one of warn, fail"),
        ("facenet_update_baselines", "accept", "needs --facenet-reason"),
        ("facenet_reason", "faster", "goes with"),
    ],
)
def test_wrong_values_are_quoted(name: str, value: object, says: str) -> None:
    with pytest.raises(SettingsError) as error:
        _settings({name: value})
    assert says in str(error.value)


def test_a_wrong_variable_is_named_as_one() -> None:
    with pytest.raises(SettingsError, match="FACENET_BATCH_SIZE: 'x'"):
        _settings({}, {"FACENET_BATCH_SIZE": "x"})


def test_every_option_has_one_variable_and_one_key() -> None:
    assert len({option.variable for option in OPTIONS}) == len(OPTIONS)
    assert all(option.name.startswith("facenet_") for option in OPTIONS)


def test_origins_tell_where_values_came_from() -> None:
    found = _settings({"facenet_lfw": "x"}, {"FACENET_CACHE": "y"})
    assert found.origins == {"facenet_lfw": "--facenet-lfw", "facenet_cache": "FACENET_CACHE"}
    assert Given("x", "--facenet-lfw", Path("/invocation")).folder == Path("/invocation")


# --- empty values, as shell variables that are not set give ---------------------------------------

VALUED = [option for option in OPTIONS if option.metavar is not None]
LISTED = [option for option in OPTIONS if option.repeated]
NUMBERS = [o for o in OPTIONS if o.metavar in ("N", "N[,N]", "MIB", "{0..5}")]


def _name(option: Option) -> str:
    return option.name


def _said(*sources: Mapping[str, object]) -> str:
    """Return the one line that is said; no error, and any other than ours, is none."""
    try:
        found: object = _settings(*sources)  # type: ignore[arg-type]
    except Exception as error:
        found = error
    assert isinstance(found, SettingsError), repr(found)
    assert "\n" not in str(found)
    assert len(str(found)) < 500
    return str(found)


@pytest.mark.parametrize("text", ["", " ", "\t"])
@pytest.mark.parametrize("option", VALUED, ids=_name)
def test_an_empty_value_is_refused(option: Option, text: str) -> None:
    flag = option.alias or option.flag
    for value in [[text]] if option.repeated else [text]:
        assert _said({option.name: value}).startswith(f"{flag} is empty; expected ")
    # As -o facenet_require="$REQUIRED" gives.
    said = _said({}, {}, {option.name: text})
    assert said.startswith(f"ini {option.name} is empty; expected ")
    assert "Leave the option out, or give a value" in said


@pytest.mark.parametrize("option", VALUED, ids=_name)
def test_a_variable_that_is_blank_is_refused_and_an_empty_one_not_set(option: Option) -> None:
    assert _said({}, {option.variable: "  "}).startswith(f"{option.variable} is empty")
    assert _settings({}, {option.variable: ""}) == _settings()


@pytest.mark.parametrize("values", [["x", ""], ["", "x"], ["x,"], [",x"], ["x,,y"], [","]])
@pytest.mark.parametrize("option", LISTED, ids=_name)
def test_an_empty_item_is_refused(option: Option, values: list[str]) -> None:
    """Else ``--facenet-require "$SET,lfw"`` would require less than was meant."""
    assert "item is empty" in _said({option.name: values})


@pytest.mark.parametrize("option", VALUED, ids=_name)
def test_of_two_values_the_last_one_counts_also_where_it_is_empty(option: Option) -> None:
    if not option.repeated:
        assert "is empty" in _said({option.name: ""}, {option.variable: "fp32"})


@pytest.mark.parametrize("text", ["9" * 5000, "0" * 5000, "1" + "0" * 20, "-1", "+1", "1.0", "１"])
@pytest.mark.parametrize("option", NUMBERS, ids=_name)
def test_a_number_that_is_none_of_those_allowed_is_one_line(option: Option, text: str) -> None:
    if option.metavar == "{0..5}" and text == "0" * 5000:
        assert _settings({option.name: text}).optimization_level == 0
        return
    value: object = [text] if option.repeated else text
    assert "expected" in _said({option.name: value})


@pytest.mark.parametrize("option", VALUED, ids=_name)
def test_any_long_value_is_one_short_line(option: Option) -> None:
    text = "9" * 5000
    value: object = [text] if option.repeated else text
    if option.name in ("facenet_require", "facenet_reason"):
        return  # any text is one; whether there is such a set is asked later
    _said({option.name: value})


def test_a_threshold_is_in_its_metric() -> None:
    assert _settings().threshold is None
    assert _settings({"facenet_threshold": "1.1"}).threshold == Threshold(1.1, "squared-l2")
    cosine = _settings({"facenet_threshold": "-0.2"}, {"FACENET_METRIC": "cosine"}).threshold
    assert cosine == Threshold(-0.2, "cosine")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"facenet_threshold": "4.5"}, "a number from 0 to 4, squared-l2"),
        (
            {"facenet_threshold": "1.1", "facenet_metric": "cosine"},
            "'1.1'; expected a number from -1 to 1, cosine",
        ),
        ({"facenet_threshold": "nan"}, "'nan'; expected a number"),
        ({"facenet_threshold": "1_0e-1"}, "'1_0e-1'; expected a number"),
        ({"facenet_metric": "cosine"}, "expected --facenet-threshold T beside it"),
        ({"facenet_metric": "angle"}, "'angle'; expected one of squared-l2, l2, cosine"),
    ],
)
def test_a_threshold_out_of_range_is_quoted(given: dict[str, str], says: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(says)):
        _settings(given)


def test_faces_to_calibrate_on() -> None:
    assert _settings().calibration == "set"
    assert _settings({"facenet_calibration": "packaged"}).calibration == "packaged"
    found = _settings({}, {}, {"facenet_calibration": "faces:mine"}).calibration
    assert found == Path("/ini/mine")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"facenet_calibration": "faces:"}, "'faces:'; expected set, packaged or faces:DIR"),
        ({"facenet_calibration": "mine"}, "'mine'; expected set, packaged or faces:DIR"),
        (
            {"facenet_calibration": "packaged", "facenet_calibration_images": "100"},
            "--facenet-calibration-images says how many photos of the data set",
        ),
    ],
)
def test_other_faces_to_calibrate_on_are_refused(given: dict[str, str], says: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(says)):
        _settings(given)
