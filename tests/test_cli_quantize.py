"""``facenet-validate quantize``, on a small network."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from facenet_validate.cache import Cache
from facenet_validate.cli import main
from facenet_validate.commands.tuning import PAIRED
from facenet_validate.datasets.images import encode_png
from facenet_validate.gates.limits import GatesFile
from facenet_validate.models.network import int8_share
from facenet_validate.models.prepared import check_contract, load_onnx
from facenet_validate.models.quantization.half_around import has_half_scales
from facenet_validate.models.quantization.precision import infer_precision
from tests.datasets.odd_sets import picture, write, write_set
from tests.models.small_facenet import small_facenet


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five hundred pictures of 160×160."""
    folder = tmp_path_factory.mktemp("faces")
    random = np.random.default_rng(0)
    for index in range(500):
        small = random.integers(0, 256, (10, 10, 3), dtype=np.uint8)
        picture = np.repeat(np.repeat(small, 16, axis=0), 16, axis=1)
        (folder / f"Other_{index:04d}.png").write_bytes(encode_png(picture))
    return folder


@pytest.fixture
def source(tmp_path: Path, shared_cache: Cache, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    # A search takes what another one has measured from the cache.
    monkeypatch.setenv("FACENET_CACHE", str(shared_cache.root))
    # Where it is set, its photos would be aligned in every test.
    monkeypatch.delenv("FACENET_LFW", raising=False)
    onnx.save(small_facenet(), "mine.onnx")
    return Path("mine.onnx")


def test_an_int8_graph_says_how_it_was_made(
    source: Path, faces: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["quantize", str(source), "--calibration", str(faces), "--target", "tensorrt"]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "INT8 for tensorrt: symmetric S8" in said
    assert "FP16 around" in said
    assert f"500 faces in {faces}" in said
    model = load_onnx(Path("mine.int8-tensorrt.onnx"))
    assert check_contract(model, "written") == 16
    assert int8_share(model) > 0.9
    recipe = json.loads({p.key: p.value for p in model.metadata_props}["facenet_validate.recipe"])
    assert recipe["target"] == "tensorrt"
    assert recipe["around"] == "fp16"
    assert has_half_scales(model)
    assert recipe["images"] == 500
    assert len(recipe["calibration"]) == len(recipe["prepared"]) == 64
    first = Path("mine.int8-tensorrt.onnx").read_bytes()
    assert main([*command, "-o", "again.onnx"]) == 0
    assert Path("again.onnx").read_bytes() == first


def test_fp32_around_int8_is_written_on_request(
    source: Path, faces: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["quantize", str(source), "--calibration", str(faces), "--target", "tensorrt"]
    assert main([*command, "--around", "fp32"]) == 0
    assert "FP32 around" in capsys.readouterr().out
    model = load_onnx(Path("mine.int8-tensorrt.onnx"))
    assert not has_half_scales(model)
    told = json.loads({p.key: p.value for p in model.metadata_props}["facenet_validate.recipe"])
    assert "around" not in told, "FP32 was the one choice once, and was not told"


def test_an_fp16_graph_needs_no_faces(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["quantize", str(source), "--precision", "fp16"]) == 0
    assert infer_precision(load_onnx(Path("mine.fp16.onnx"))) == "fp16"
    assert "mine.fp16.onnx" in capsys.readouterr().out


def test_tuning_ranks_stores_and_spares_what_it_must(
    source: Path, faces: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["quantize", str(source), "--calibration", str(faces), "--tune"]
    command += ["--target", "tensorrt", "--cosine", "0.99995", "-o", "tuned.onnx"]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "\nreached: mean row cosine 0.9999" in said
    stored = json.loads(Path("tuned.tuning.json").read_text())
    assert {block["name"] for block in stored["blocks"]} >= {"stem", "residual 01"}
    assert stored["check"]["reached"] is True
    assert len(stored["recipe"]["keep"]) > 0
    assert infer_precision(load_onnx(Path("tuned.onnx"))) == "int8"


def test_a_target_out_of_reach_writes_the_ranking_and_no_graph(
    source: Path, faces: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["quantize", str(source), "--calibration", str(faces), "--tune"]
    command += ["--target", "tensorrt", "--cosine", "0.99999999", "-o", "tuned.onnx"]
    assert main(command) == 2
    said = capsys.readouterr()
    assert "NOT REACHED" in said.out
    assert "the target was not reached" in said.err
    assert Path("tuned.tuning.json").is_file()
    assert not Path("tuned.onnx").exists()


@pytest.mark.parametrize("delta", [0.5, 1e-9])
def test_the_paired_gate_is_judged_on_the_pairs(
    delta: float,
    source: Path,
    faces: Path,
    small_set: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    gates = GatesFile(Path(), (), {("lfw", "any", "any"): {PAIRED: delta, "build.int8_share": 0.5}})
    monkeypatch.setattr("facenet_validate.commands.quantize.shipped_gates", lambda: gates)
    command = ["quantize", str(source), "--calibration", str(faces), "--lfw", str(small_set)]
    code = main([*command, "--tune", "--paired", "--target", "tensorrt", "-o", "tuned.onnx"])
    said = capsys.readouterr().out
    assert code == (0 if delta == 0.5 else 2)
    assert ("\nreached: pass" in said) == (delta == 0.5)
    assert "of 72 pairs" in said


def test_odd_files_of_the_evaluation_set_are_told(
    source: Path, faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_set(tmp_path / "lfw")
    write(folder, "Anna/Anna_0001_surgical.png", picture(91))
    write(folder, "stray.png", picture(92))
    write(folder, "Anna/Anna_0009.png", (folder / "Anna" / "Anna_0001.png").read_bytes())
    write(folder, "Zoe/Zoe_0009.png", (folder / "Ben" / "Ben_0001.png").read_bytes())
    command = ["quantize", str(source), "--calibration", str(faces), "--lfw", str(folder)]
    assert main([*command, "--target", "tensorrt"]) == 0
    said = capsys.readouterr().out
    assert "used for nothing: 2 (Anna/Anna_0001_surgical.png, stray.png)" in said
    assert "counted once: 1 (Anna_0009)" in said
    assert "under two people: 1 (Ben_0001 = Zoe_0009)" in said
    assert "not calibrated on: 1 (Zoe)" in said


def test_photos_of_a_set_are_calibrated_on_without_whom_the_pairs_show(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_set(tmp_path / "lfw")
    for number in range(500):
        write(folder, f"P{number}/P{number}_0001.png", picture(1000 + number))
    command = ["quantize", str(source), "--lfw", str(folder), "--target", "tensorrt"]
    assert main([*command, "-o", "clean.onnx"]) == 0
    # Other names for evaluation photos, and photos of nobody known.
    write(folder, "Anna/Anna_0002_masked.png", picture(91))
    write(folder, "000_rejected/Dan_0001.png", picture(92))
    write(folder, "000_copy/000_copy_0001.png", (folder / "Ben" / "Ben_0001.png").read_bytes())
    write(folder, "P7/P7_0002.png", (folder / "P7" / "P7_0001.png").read_bytes())
    write(folder, "P8/._P8_0001.png", b"resource fork")
    assert main([*command, "-o", "odd.onnx"]) == 0
    assert Path("odd.onnx").read_bytes() == Path("clean.onnx").read_bytes()


def test_nothing_is_overwritten(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.fp16.onnx").write_text("mine")
    assert main(["quantize", str(source), "--precision", "fp16"]) == 2
    assert "mine.fp16.onnx exists; nothing was written" in capsys.readouterr().err
    assert Path("mine.fp16.onnx").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--precision", "fp16", "--tune"], "--tune and --keep are for --precision int8"),
        (["--precision", "fp16", "--around", "fp16"], "--around is for --precision int8"),
        (["--target", "cpu", "--around", "fp32"], "--around means nothing to the target cpu"),
        (["--paired"], "--paired goes with --tune and --lfw"),
        (["--percentile", "12"], "expected 90 to 100"),
        (["--cosine", "1.5"], "expected a mean row cosine below 1"),
        (["--calibration", "nowhere"], "nowhere: no such folder"),
        (["--calibration", "FACES", "--keep", "no such node"], "keeps 'no such node'"),
        (["-o", "nowhere/out.onnx"], "nowhere: no folder that can be written to"),
    ],
)
def test_wrong_use_is_one_line(
    arguments: list[str],
    says: str,
    source: Path,
    faces: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    named = [str(faces) if argument == "FACES" else argument for argument in arguments]
    assert main(["quantize", str(source), *named]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert says in error
    assert not list(Path().glob("mine.*.onnx"))
