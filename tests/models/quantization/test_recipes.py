from __future__ import annotations

import pytest

from facenet_validate.base.errors import SettingsError
from facenet_validate.base.vocabulary import TARGETS, Target
from facenet_validate.models.quantization.recipes import (
    AROUND,
    check_around,
    choose_target,
    int8_recipe,
)


def test_targets_follow_the_flags() -> None:
    assert choose_target({"avx2", "fma"}) == ("cpu", "the CPU has no VNNI")
    assert choose_target({"avx2", "avx512_vnni"}) == ("cpu-vnni", "the CPU has avx512_vnni")
    assert choose_target({"avx_vnni"})[0] == "cpu-vnni"
    assert choose_target({"asimddp"})[0] == "cpu-vnni"


def test_every_target_has_a_recipe_of_its_own() -> None:
    assert [int8_recipe(target).target for target in TARGETS] == list(TARGETS)
    assert len({str(int8_recipe(target).inputs()) for target in TARGETS}) == len(TARGETS)


def test_a_recipe_is_told_in_a_line() -> None:
    text = int8_recipe("tensorrt").text(512)
    assert text.startswith("INT8 for tensorrt: symmetric S8")
    assert "percentile 99.999 over 512 images" in text
    assert "why" not in int8_recipe("tensorrt").inputs()
    assert text.count("FP16 around") == 1


def test_fp16_around_is_tensorrts_own_and_fp32_is_the_recipe_that_was() -> None:
    assert int8_recipe("tensorrt") == int8_recipe("tensorrt", "fp16")
    half, full = int8_recipe("tensorrt").inputs(), int8_recipe("tensorrt", "fp32").inputs()
    assert half.pop("around") == "fp16"
    assert {name for name in full if full[name] != half[name]} == {"placement"}
    assert "around" not in full, "or entries of its cache key would miss"
    assert "FP32 around" in int8_recipe("tensorrt", "fp32").text(512)


@pytest.mark.parametrize("target", ["cpu", "cpu-vnni"])
def test_a_target_of_a_cpu_has_no_choice(target: Target) -> None:
    for around in AROUND:
        assert int8_recipe(target, around) == int8_recipe(target)
    assert "around" not in int8_recipe(target).text(512)
    with pytest.raises(SettingsError) as error:
        check_around(target, "--x")
    assert str(error.value) == (
        f"--x means nothing to the target {target}: integer kernels of a CPU have FP32 around "
        "them. Leave it out, or choose the target tensorrt."
    )
    check_around("tensorrt", "--x")
