from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from facenet_validate.errors import SettingsError
from facenet_validate.settings import OPTIONS, Given, Settings, gather, resolve

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
    assert not found.rebuild


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
    assert _settings({"facenet_pairs": ["a.csv,b.csv", "/c.csv"]}).pairs == (
        Path("/invocation/a.csv"), Path("/invocation/b.csv"), Path("/c.csv"),
    )  # fmt: skip
    assert _settings({}, {}, {"facenet_pairs": "a.csv"}).pairs == (Path("/ini/a.csv"),)


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
