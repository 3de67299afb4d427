from __future__ import annotations

import os
from pathlib import Path

import pytest

from facenet_validate.base.errors import BaselineError
from facenet_validate.base.vocabulary import PRECISIONS, TARGETS
from facenet_validate.gates import catalogue
from facenet_validate.gates.limits import read_gates

SHIPPED = Path(__file__).parents[2] / "baselines" / "gates.toml"


def _read(tmp_path: Path, text: str) -> object:
    path = tmp_path / "gates.toml"
    path.write_text(text)
    return read_gates(path)


def test_a_named_table_goes_before_any(tmp_path: Path) -> None:
    path = tmp_path / "gates.toml"
    path.write_text(
        "schema = 1\n"
        "[gates.any.int8.any]\nparity.cosine_mean = 0.1\nparity.cosine_p1 = 0.1\n"
        "[gates.any.int8.cpu]\nparity.cosine_mean = 0.2\n"
        "[gates.lfw.any.any]\nparity.cosine_mean = 0.3\n"
    )
    gates = read_gates(path)
    assert gates.limits("synthetic", "int8", "cpu-vnni")["parity.cosine_mean"] == 0.1
    assert gates.limits("synthetic", "int8", "cpu")["parity.cosine_mean"] == 0.2
    assert gates.limits("lfw", "int8", "cpu") == {
        "parity.cosine_p1": 0.1,
        "parity.cosine_mean": 0.3,
    }
    assert gates.limits("lfw", "fp16", "cpu") == {"parity.cosine_mean": 0.3}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("schema = 2", "schema 2; expected 1"),
        ("schema = 1\n[gates.lfw.int4.any]\n", "'int4' is unknown"),
        ("schema = 1\n[gates.megaface.int8.any]\n", "'megaface' is unknown"),
        ("schema = 1\n[gates.lfw.int8.tpu]\n", "'tpu' is unknown"),
        ("schema = 1\n[gates.any.any.any]\nparity.cosine_max = 1\n", "'parity.cosine_max'"),
        ("schema = 1\n[gates.any.any.any]\nparity.cosine_min = 'high'\n", "no number"),
        ("schema = 1\n[gates.any.any.any]\nparity = 1\n", "not a table"),
        ("schema = 1\nrequire = ['imagenet']", "imagenet"),
        ("schema = 1\nsets = 'staff'", "sets: 'staff'"),
        ("schema = 1\nsets = ['lfw']", "sets: 'lfw'"),
        ("schema = 1\nsets = ['Our Staff']", "sets: 'Our Staff'"),
        ("schema = 1\nsets = ['staff']\n[gates.stuff.any.any]\n", "'stuff' is unknown"),
        ("schema = ", "gates.toml"),
    ],
)
def test_what_nobody_would_evaluate_is_refused(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(BaselineError) as error:
        _read(tmp_path, text)
    assert says in str(error.value)


def test_sets_of_one_s_own_have_limits_once_they_are_named(tmp_path: Path) -> None:
    path = tmp_path / "gates.toml"
    path.write_text(
        "schema = 1\nsets = ['staff']\nrequire = ['staff']\n"
        "[gates.staff.any.any]\naccuracy.acc = 0.9\n"
    )
    gates = read_gates(path)
    assert gates.require == ("staff",)
    assert gates.limits("staff", "int8", "cpu") == {"accuracy.acc": 0.9}
    assert gates.limits("lfw", "int8", "cpu") == {}


def test_a_missing_file_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(BaselineError, match="facenet-validate init"):
        read_gates(tmp_path / "gates.toml")


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("target", TARGETS)
def test_shipped_gates_judge_every_engine_on_lfw(precision: str, target: str) -> None:
    limits = read_gates(SHIPPED).limits("lfw", precision, target)
    only = {
        "performance.fp32_ratio": precision == "int8" and target != "tensorrt",
        "performance.fp16_ratio": precision == "int8" and target == "tensorrt",
        "build.int8_share": precision == "int8",
        "build.half_share": precision == "fp16",
        "build.size": precision != "fp32",
        "build.inputs": target == "tensorrt",
        "contract.half_headroom": precision == "fp16",
        "contract.precision_share": precision != "fp32" and target == "tensorrt",
    }
    every = {gate for gate in catalogue.names() if only.get(gate, True)}
    assert set(limits) == every - {"contract.colour"}


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("target", TARGETS)
def test_shipped_gates_judge_every_engine_on_orl_photos(precision: str, target: str) -> None:
    gates = read_gates(SHIPPED)
    limits, on_lfw = (gates.limits(name, precision, target) for name in ("orl", "lfw"))
    identification = {gate for gate in on_lfw if gate.startswith("identification.")}
    assert set(limits) == set(on_lfw) - identification | {"contract.colour"}
    assert 0.9 < limits["contract.colour"] < 0.99


def test_shipped_gates_hold_int8_to_its_targets_on_lfw() -> None:
    for target in TARGETS:
        limits = read_gates(SHIPPED).limits("lfw", "int8", target)
        assert limits["parity.cosine_mean"] >= 0.9985
        assert limits["accuracy.acc"] >= 0.986
        assert limits["accuracy.paired_drop"] <= 0.003
        assert limits["build.int8_share"] >= 0.95
    assert read_gates(SHIPPED).limits("lfw", "int8", "tensorrt")["parity.cosine_p1"] >= 0.997


# --- whatever stands in the file, or in its place, is one clear line ------------------------------

HEAD = "schema = 1\n"
LIMIT = "[gates.any.any.any]\nparity.cosine_min = "
ONE = {"parity.cosine_min": 1.0}


def _refusal(path: Path) -> str:
    """Return what is said of a file; a file that is read, or any other error, is none."""
    try:
        found: object = read_gates(path)
    except Exception as error:
        found = error
    assert isinstance(found, BaselineError), repr(found)[:500]
    said = str(found)
    assert str(path) in said
    assert "\n" not in said
    assert len(said) < 1500
    return said


@pytest.mark.parametrize(
    ("text", "unknown", "near"),
    [
        (HEAD + "requires = ['lfw']\n", "requires", "require"),
        (HEAD + "required = ['lfw']\n", "required", "require"),
        (HEAD + "Require = ['lfw']\n", "Require", "require"),
        (HEAD + "[gate.any.any.any]\nparity.cosine_min = 1\n", "gate", "gates"),
        (HEAD + "[Gates.any.any.any]\n", "Gates", "gates"),
        (HEAD + "[[gate]]\n", "gate", "gates"),
        (HEAD + "gate.any.any.any.parity.cosine_min = 1\n", "gate", "gates"),
        (HEAD + "set = ['staff']\n", "set", "sets"),
        (HEAD + "foo = 1\n", "foo", ""),
        (HEAD + "'' = 1\n", "", ""),
        (HEAD + f"{'x' * 3000} = 1\n", "xxx", ""),
        (HEAD + "require = ['lwf']\n", "lwf", "lfw"),
        (HEAD + "[gates.lwf.any.any]\n", "lwf", "lfw"),
        (HEAD + "[gates.lfw.int.any]\n", "int", "int8"),
        (HEAD + "[gates.lfw.int8.cpu_vnni]\n", "cpu_vnni", "cpu-vnni"),
        (HEAD + LIMIT.replace("cosine", "cosin") + "1\n", "parity.cosin_min", "parity.cosine_min"),
    ],
)  # fmt: skip
def test_a_key_nobody_reads_is_refused_with_the_nearest_that_is_read(
    tmp_path: Path, text: str, unknown: str, near: str
) -> None:
    (tmp_path / "gates.toml").write_text(text)
    said = _refusal(tmp_path / "gates.toml")
    assert f"'{unknown}" in said
    assert "is unknown; expected one of" in said
    assert (f"Did you mean '{near}'?" in said) == bool(near)


@pytest.mark.parametrize(
    "schema", ["true", "1.0", "'1'", "[1]", "0", "2", "1979-05-27", "0x" + "f" * 4000, "inf"]
)
def test_a_schema_is_the_number_one(tmp_path: Path, schema: str) -> None:
    (tmp_path / "gates.toml").write_text(f"schema = {schema}\n{LIMIT}1\n")
    assert "expected 1" in _refusal(tmp_path / "gates.toml")


@pytest.mark.parametrize(
    "limit",
    ["inf", "-inf", "nan", "true", "'0.9'", "[1]", "{}", "1e999", "9" * 4000, "9" * 5000,
     "0x" + "f" * 4000, "1_0" * 1500, "07:32:00"],
    ids=lambda limit: limit[:10],
)  # fmt: skip
def test_a_limit_is_a_finite_number(tmp_path: Path, limit: str) -> None:
    (tmp_path / "gates.toml").write_text(f"{HEAD}{LIMIT}{limit}\n")
    _refusal(tmp_path / "gates.toml")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (HEAD + "<<<<<<< HEAD\n=======\n>>>>>>> x\n", "line 2 is the mark of a merge"),
        (HEAD + "require = []\n=======\n", "line 3 is the mark of a merge"),
        (HEAD + "\n\n||||||| base\n", "line 4 is the mark of a merge"),
        (HEAD + ">>>>>>> feature\n", "delete the marker lines"),
        (HEAD + "x = " + "[" * 4000, "too many brackets"),
        (HEAD + "x = " + "{a=" * 1000, "too many brackets"),
        (HEAD + "[gates.any.any]\nany = 1\n", "any.any.any is 1; expected a table"),
        (HEAD + "gates = 1\n", "gates is 1; expected a table"),
        (HEAD + "[[gates.any.any.any]]\n", "expected a table"),
        (HEAD + "[gates.any.any.any]\n'parity.cosine_min' = 1\n", "without quotation marks"),
        (HEAD + LIMIT + "1\nparity.cosine_min = 2\n", "Cannot overwrite"),
        (HEAD + "[gates.any.any.any]\n" * 2, "twice"),
        (HEAD + HEAD, "Cannot overwrite"),
        (HEAD + "require = 'lfw'\n", "require is 'lfw'; expected a list"),
        (HEAD + "require = [['lfw']]\n", "is unknown"),
        (HEAD + "require = [true]\n", "True is unknown"),
        (HEAD + "require = {lfw = true}\n", "expected a list"),
        (HEAD + "sets = [1]\n", "sets: 1"),
        (HEAD + f"sets = [{'[' * 200}{']' * 200}]\n", "sets: "),
        (HEAD + ".".join(["gates", *"a" * 2000]) + " = 1\n", "is unknown"),
        (HEAD + ".".join("a" * 3000) + " = 1\n", "line 2 is longer than"),
        (HEAD + "\0", "NUL"),
        ("", "no schema"),
    ],
    ids=lambda text: text[:30],
)  # fmt: skip
def test_what_is_wrong_with_a_file_is_one_line(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "gates.toml").write_text(text)
    assert says in _refusal(tmp_path / "gates.toml")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("schema = 1\n# café\n".encode("latin-1"), "not UTF-8 (line 2)"),
        ("schema = 1\n".encode("utf-16"), "not UTF-8"),
        (b"\xff" * 100, "not UTF-8"),
        (b"schema = 1\n" + b"# more\n" * 100_000, "larger than 64 KiB"),
    ],
    ids=["Latin-1", "UTF-16", "bytes", "large"],
)
def test_bytes_that_are_no_text_are_one_line(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "gates.toml").write_bytes(content)
    assert says in _refusal(tmp_path / "gates.toml")


def _place(path: Path, kind: str) -> None:
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to({"device": "/dev/zero", "loop": path.name, "dangling": "nowhere"}[kind])


# Not a pipe and not /dev/zero: the code before would read them for ever.
@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("folder", "it is a folder"),
        ("loop", "Too many levels of symbolic links"),
        ("dangling", "No such file"),
    ],
)
def test_what_is_no_file_is_one_line(tmp_path: Path, kind: str, says: str) -> None:
    _place(tmp_path / "gates.toml", kind)
    assert says in _refusal(tmp_path / "gates.toml")


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_never_ends_is_not_opened(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _place(tmp_path / "gates.toml", kind)

    def opened(self: Path, *arguments: object, **keywords: object) -> None:
        raise AssertionError(f"{self} was opened")

    monkeypatch.setattr(Path, "open", opened)
    monkeypatch.setattr("io.open", opened)
    assert "it is not a regular file" in _refusal(tmp_path / "gates.toml")


@pytest.mark.parametrize("name", ["x" * 300, "a\0b"], ids=["long", "NUL"])
def test_a_name_that_is_none_is_one_line(tmp_path: Path, name: str) -> None:
    try:
        found: object = read_gates(tmp_path / name / "gates.toml")
    except Exception as error:
        found = error
    assert isinstance(found, BaselineError)
    assert "cannot be read" in str(found)
    assert len(str(found)) < 1000


def test_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    (tmp_path / "gates.toml").write_bytes(b"\xef\xbb\xbf" + f"{HEAD}{LIMIT}0.5\n".encode())
    try:
        found: object = read_gates(tmp_path / "gates.toml").limits("lfw", "int8", "cpu")
    except BaselineError as error:
        found = error
    assert found == {"parity.cosine_min": 0.5}


@pytest.mark.parametrize(
    ("text", "require", "limits"),
    [
        (HEAD + "[gates]\n", (), {}),
        (HEAD + "[gates.any]\n[gates.lfw.int8]\n[gates.lfw.int8.any]\n", (), {}),
        (HEAD + "[gates.any.any.any.parity]\n", (), {}),
        (HEAD + "require = []\nsets = []\n", (), {}),
        (HEAD + "require = ['lfw', 'lfw']\n", ("lfw",), {}),
        (HEAD + "gates.any.any.any.parity.cosine_min = 1\n", (), ONE),
        (HEAD + "gates = {any = {any = {any = {parity = {cosine_min = 1}}}}}\n", (), ONE),
        (HEAD + "[gates.any.any.any.parity]\ncosine_min = 1\n", (), ONE),
        (HEAD + "['gates'.\"any\".any.any]\nparity.cosine_min = 1\n", (), ONE),
        (HEAD.replace("\n", "\r\n") + "[gates]\r\n", (), {}),
        ("schema = 0x1\n", (), {}),
    ],
    ids=lambda text: str(text)[:40],
)  # fmt: skip
def test_every_way_to_write_the_same_is_read(
    tmp_path: Path, text: str, require: tuple[str, ...], limits: dict[str, float]
) -> None:
    (tmp_path / "gates.toml").write_bytes(text.encode())
    gates = read_gates(tmp_path / "gates.toml")
    assert gates.require == require
    assert gates.limits("lfw", "int8", "cpu") == limits


def test_a_further_set_has_limits_of_accuracy_alone(tmp_path: Path) -> None:
    text = "schema = 1\nsets = ['staff']\n[gates.staff.any.any]\nparity.cosine_min = 0.9\n"
    with pytest.raises(BaselineError, match="cosine_min is not judged on a --facenet-pairs"):
        _read(tmp_path, text)
