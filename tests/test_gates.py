from __future__ import annotations

from pathlib import Path

import pytest

from facenet_validate.errors import BaselineError
from facenet_validate.gates import GATES, read_gates
from facenet_validate.models.quantization.recipes import PRECISIONS, TARGETS

SHIPPED = Path(__file__).parents[1] / "baselines" / "gates.toml"


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
        "build.int8_share": precision == "int8",
        "build.half_share": precision == "fp16",
        "build.size": precision != "fp32",
        "build.inputs": target == "tensorrt",
        "contract.half_headroom": precision == "fp16",
        "contract.precision_share": precision != "fp32" and target == "tensorrt",
    }
    assert set(limits) == {gate for gate in GATES if only.get(gate, True)}


def test_shipped_gates_hold_int8_to_its_targets_on_lfw() -> None:
    for target in TARGETS:
        limits = read_gates(SHIPPED).limits("lfw", "int8", target)
        assert limits["parity.cosine_mean"] >= 0.9985
        assert limits["accuracy.acc"] >= 0.986
        assert limits["accuracy.paired_drop"] <= 0.003
        assert limits["build.int8_share"] >= 0.95
    assert read_gates(SHIPPED).limits("lfw", "int8", "tensorrt")["parity.cosine_p1"] >= 0.997
