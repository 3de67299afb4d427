from __future__ import annotations

from pathlib import Path
from typing import IO, Any

import numpy as np
import onnx
import pytest

from facenet_validate.cli import main
from facenet_validate.datasets.images import encode_png
from facenet_validate.engines.device.opening import Bindings
from facenet_validate.gates.shipped import project_files
from facenet_validate.models.prepared import check_contract, load_onnx
from tests.models.exported.exporter_styles import classifier, fixed_batch, two_candidates
from tests.models.small_facenet import small_facenet


def test_init_copies_suites_and_gates(tmp_path: Path) -> None:
    assert main(["init", str(tmp_path / "project")]) == 0
    names = {path.relative_to(tmp_path / "project").as_posix() for path in tmp_path.rglob("*.*")}
    assert {"suites/test_accuracy.py", "suites/test_parity.py", "baselines/gates.toml"} <= names


def test_init_overwrites_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "baselines").mkdir()
    mine = tmp_path / "baselines" / "gates.toml"
    mine.write_text("mine")
    assert main(["init", str(tmp_path)]) == 2
    assert "gates.toml exists; nothing was copied" in capsys.readouterr().err
    assert mine.read_text() == "mine"
    assert not (tmp_path / "suites").exists()


def test_doctor_says_what_would_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    assert "INT8 target" in text
    assert "graph_final.pb" in text


def test_doctor_says_through_which_package_a_gpu_is_reached(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    opening = "facenet_validate.engines.device.opening"
    found = Bindings("cuda-bindings", "13.5.0", lambda _: pytest.fail("opened"))
    monkeypatch.setattr(f"{opening}.find_bindings", lambda: found)
    for why, text in (("", "cuda-bindings 13.5.0"), ("neither is", "neither is")):
        monkeypatch.setattr(f"{opening}.why_no_bindings", lambda why=why: why)
        assert main(["doctor"]) == 0
        assert f"{'CUDA bindings':18} {text}" in capsys.readouterr().out.splitlines()


def test_every_suite_is_copied() -> None:
    suites = {path.name for path in (Path(__file__).parents[1] / "suites").glob("*.py")}
    assert suites == {target.name for _, target in project_files() if target.parts[0] == "suites"}


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small model with a batch of 64, in the current folder; a cache beside it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FACENET_CACHE", str(tmp_path / "cache"))
    onnx.save(fixed_batch(64)(small_facenet()), "mine.onnx")
    return Path("mine.onnx")


def test_prepare_writes_a_proven_model(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prepare", str(source)]) == 0
    said = capsys.readouterr().out
    assert "fixed at 64; made dynamic" in said
    assert "max difference below 1e-0" in said
    assert "mine.prepared.onnx" in said
    assert check_contract(load_onnx(Path("mine.prepared.onnx")), "written") == 16


def test_prepare_overwrites_nothing(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("kept.onnx").write_text("kept")
    assert main(["prepare", str(source), "-o", "kept.onnx"]) == 2
    assert "kept.onnx exists; nothing was written" in capsys.readouterr().err
    assert Path("kept.onnx").read_text() == "kept"


def test_prepare_leaves_nothing_where_it_cannot_write(
    source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["prepare", str(source), "-o", "absent/out.onnx"]) == 2
    assert "out.onnx: cannot be written" in capsys.readouterr().err


def test_prepare_interrupted_while_it_writes_leaves_nothing(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(data: IO[bytes], file: IO[bytes]) -> None:
        file.write(data.read(100))
        raise KeyboardInterrupt

    monkeypatch.setattr("facenet_validate.commands.prepare.shutil.copyfileobj", interrupted)
    before = {*Path.cwd().iterdir(), Path.cwd() / "cache"}
    assert main(["prepare", str(source), "-o", "out.onnx"]) == 130
    assert set(Path.cwd().iterdir()) == before


@pytest.mark.parametrize("command", ["prepare", "inspect"])
@pytest.mark.parametrize("suffix", [".pb", ".onnx", ".pt"])
def test_a_file_that_may_not_be_read_is_one_line(
    command: str,
    suffix: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / f"mine{suffix}"
    path.write_bytes(b"secret")
    opened = Path.open

    def refused(self: Path, mode: str = "r", *args: Any, **kwargs: Any) -> IO[Any]:
        if self == path:
            raise PermissionError(13, "Permission denied", str(self))
        return opened(self, mode, *args, **kwargs)

    monkeypatch.setattr(Path, "open", refused)  # permissions do not stop root, who may run this
    assert main([command, str(path)]) == 2
    assert f"{path}: cannot be read (Permission denied)" in capsys.readouterr().err


@pytest.mark.parametrize("operator", ["Conv", "Gemm"])
def test_inspect_of_a_node_without_weights_is_one_line(
    operator: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = small_facenet()
    node = next(node for node in model.graph.node if node.op_type == operator)
    del node.input[1:]
    onnx.save(model, tmp_path / "broken.onnx")
    assert main(["inspect", str(tmp_path / "broken.onnx")]) == 2
    assert "has 1 inputs; expected at least 2" in capsys.readouterr().err


def test_prepare_proves_on_the_faces_of_a_folder(
    source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("faces").mkdir()
    for number in range(5):
        face = np.random.default_rng(number).integers(0, 256, (160, 160, 3)).astype(np.uint8)
        Path(f"faces/{number}.png").write_bytes(encode_png(face))
    assert main(["prepare", str(source), "--faces", "faces"]) == 0
    assert "over 5 faces and 4 random images" in capsys.readouterr().out
    Path("faces/4.png").write_bytes(encode_png(np.zeros((100, 90, 3), np.uint8)))
    assert main(["prepare", str(source), "--faces", "faces", "-o", "other.onnx"]) == 2
    assert "4.png: not 160×160 pixels, while of the 5 photos" in capsys.readouterr().err
    assert main(["prepare", str(source), "--faces", "nowhere", "-o", "other.onnx"]) == 2
    assert "--faces nowhere: no such folder" in capsys.readouterr().err
    Path("a file").touch()
    assert main(["prepare", str(source), "--faces", "a file", "-o", "other.onnx"]) == 2
    assert "--faces a file: it is a file. Expected a folder" in capsys.readouterr().err
    Path("empty").mkdir()
    assert main(["prepare", str(source), "--faces", "empty", "-o", "other.onnx"]) == 2
    assert "empty: 0 photos" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["prepare", "inspect"])
def test_a_file_that_is_no_model_is_one_line(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"\x3a\xff\xff\xff\xff\x0f")
    assert main([command, str(path)]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"facenet-validate: {path}: not an ONNX model")
    assert captured.err.count("\n") == 1
    assert not captured.out


def test_inspect_says_what_is_in_a_model(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(source)]) == 0
    said = capsys.readouterr().out
    for text in ("IR 8", "fp32", "16 values, the only output", "fixed at 64", "would take it"):
        assert text in said


def test_inspect_says_why_prepare_would_refuse(
    source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    onnx.save(classifier("Softmax")(small_facenet()), "classes.onnx")
    assert main(["inspect", "classes.onnx"]) == 0
    assert "would refuse it: classes.onnx: a classifier" in capsys.readouterr().out
    assert main(["inspect", "classes.onnx", "--output", "bottleneck"]) == 0
    assert "would take it" in capsys.readouterr().out
    onnx.save(two_candidates(small_facenet()), "two.onnx")
    assert main(["inspect", "two.onnx"]) == 0
    assert "embeddings [N, 16]; flatten [N, 20]" in capsys.readouterr().out


def test_inspect_knows_an_engine_graph(
    source: Path, prepared_onnx: onnx.ModelProto, capsys: pytest.CaptureFixture[str]
) -> None:
    from facenet_validate.models.quantization.precision import to_fp16

    onnx.save(to_fp16(prepared_onnx), "half.onnx")
    assert main(["inspect", "half.onnx"]) == 0
    said = capsys.readouterr().out
    assert "fp16: an engine graph already" in said
    assert "1,417,662,304 an image" in said
    assert "validate this one with --facenet-engine" in said


def test_inspect_reads_the_packaged_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "pretrained"]) == 0
    said = capsys.readouterr().out
    assert "TensorFlow frozen graph" in said
    assert "132 Conv2D" in said
    assert "512 values" in said
