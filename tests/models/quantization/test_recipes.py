from __future__ import annotations

from facenet_validate.base.vocabulary import TARGETS
from facenet_validate.models.quantization.recipes import choose_target, int8_recipe


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
