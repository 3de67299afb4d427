"""Checkpoints as facenet-pytorch saves them, and files that are none."""

from __future__ import annotations

import pickle
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from facenet_pytorch import InceptionResnetV1
from numpy.typing import NDArray

from facenet_validate.base.errors import ModelError
from facenet_validate.models.checkpoint import reading as torch_checkpoint
from facenet_validate.models.checkpoint.network import inception_resnet_v1
from facenet_validate.models.checkpoint.reading import checkpoint_runner, export_checkpoint

State = dict[str, Any]


def _randomised(network: torch.nn.Module) -> State:
    """Weights that leave nothing at its default, so that no tensor can be exchanged unnoticed."""
    draw = torch.Generator().manual_seed(7)
    state: State = network.state_dict()
    for name, value in state.items():
        if value.ndim == 0:
            continue
        noise = torch.rand(value.shape, generator=draw)
        if value.ndim > 1:
            value.copy_((noise - 0.5) * (12 / value[0].numel()) ** 0.5)
        else:
            value.copy_(noise + 0.5 if name.endswith(("var", "bn.weight")) else noise - 0.5)
    return state


def test_the_network_has_the_names_and_shapes_of_the_real_class() -> None:
    shapes = {name: value.shape for name, value in InceptionResnetV1().state_dict().items()}
    ours = inception_resnet_v1(512).state_dict()
    assert {name: value.shape for name, value in ours.items()} == shapes


@pytest.mark.parametrize("size", [160, 128])
def test_the_network_computes_what_the_real_class_does(size: int) -> None:
    real = InceptionResnetV1().eval()
    ours = inception_resnet_v1(512)
    ours.load_state_dict(_randomised(real))
    faces = torch.rand(3, 3, size, size, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.no_grad():
        expected = real(faces)
        assert (expected[0] - expected[1]).abs().max() > 1e-4  # the faces do make a difference
        assert (ours(faces) - expected).abs().max() <= 1e-6


def test_torch_network_with_the_real_weights_is_the_pretrained_one(
    prepared_onnx: Any, torch_embeddings: NDArray[np.float32], drawn_batch: NDArray[np.float32]
) -> None:
    session = onnxruntime.InferenceSession(prepared_onnx.SerializeToString())
    embeddings = session.run(None, {"input": drawn_batch})[0]
    assert np.abs(embeddings - torch_embeddings).max() <= 1e-5


def _plain(state: State) -> Any:
    return state


def _wrapped_and_parallel(state: State) -> Any:
    return {"epoch": 3, "state_dict": {f"module.{name}": value for name, value in state.items()}}


def _with_classifier_and_counters(state: State) -> Any:
    head = {"logits.weight": torch.zeros(10575, 512), "logits.bias": torch.zeros(10575)}
    return {"model": state | head | {"last_bn.num_batches_tracked": torch.tensor(9)}}


@pytest.mark.parametrize("form", [_plain, _wrapped_and_parallel, _with_classifier_and_counters])
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_checkpoint_runs_as_the_real_class_does(
    form: Callable[[State], Any],
    zipped: bool,
    real_state: State,
    torch_embeddings: NDArray[np.float32],
    drawn_batch: NDArray[np.float32],
    tmp_path: Path,
) -> None:
    path = tmp_path / "real.pt"
    torch.save(form(real_state), path, _use_new_zipfile_serialization=zipped)
    embeddings = checkpoint_runner(path)(drawn_batch)
    assert embeddings.dtype == np.float32
    assert np.abs(embeddings - torch_embeddings).max() <= 1e-6


def test_export_of_a_checkpoint_is_the_same_network_for_any_batch(
    real_state: State,
    torch_embeddings: NDArray[np.float32],
    drawn_batch: NDArray[np.float32],
    tmp_path: Path,
) -> None:
    torch.save(real_state, tmp_path / "real.pt")
    model = export_checkpoint(tmp_path / "real.pt")
    session = onnxruntime.InferenceSession(model.SerializeToString())
    for count in (16, 1):
        embeddings = session.run(["embeddings"], {"input": drawn_batch[:count]})[0]
        assert np.abs(embeddings - torch_embeddings[:count]).max() <= 1e-5


def test_a_128d_checkpoint_gives_128_numbers(
    drawn_batch: NDArray[np.float32], tmp_path: Path
) -> None:
    torch.save(_randomised(inception_resnet_v1(128)), tmp_path / "small.pt")
    assert checkpoint_runner(tmp_path / "small.pt")(drawn_batch[:2]).shape == (2, 128)


def _without_a_layer(state: State) -> Any:
    return {name: value for name, value in state.items() if "repeat_2.9" not in name}


def _of_another_shape(state: State) -> Any:
    return state | {"conv2d_1a.conv.weight": torch.zeros(32, 1, 3, 3)}


def _half(state: State) -> Any:
    return {name: value.half() for name, value in state.items()}


def _claiming_more_than_it_holds(state: State) -> Any:
    return state | {"last_linear.weight": torch.zeros(1).expand(2**40, 1792)}


@pytest.mark.parametrize(
    ("form", "says"),
    [
        (_without_a_layer, "repeat_2.9.branch0.conv.weight is absent, expected float32 [128, 896"),
        (_of_another_shape, "is float32 [32, 1, 3, 3], expected float32 [32, 3, 3, 3]"),
        (_half, "is float16 [32, 3, 3, 3], expected float32"),
        (_claiming_more_than_it_holds, "is float32 [1099511627776, 1792] (expanded), expected"),
        (lambda state: state | {"epoch": 3}, "epoch is a int, expected absent"),
        (
            lambda state: {"conv1.weight": torch.zeros(10, 3, 3, 3)},
            "(602 tensors expected, 1 found): conv2d_1a.conv.weight is absent",
        ),
        (lambda state: list(state.values()), "holds a list; expected a state dict"),
        (
            lambda state: InceptionResnetV1(),
            "holds a pickled facenet_pytorch.models.inception_resnet_v1.InceptionResnetV1",
        ),
    ],
)
def test_other_contents_are_refused(
    form: Callable[[State], Any], says: str, real_state: State, tmp_path: Path
) -> None:
    path = tmp_path / "other.pt"
    torch.save(form(real_state), path)
    with pytest.raises(ModelError) as error:
        export_checkpoint(path)
    assert says in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


class _Hostile:
    """Unpickled without weights_only, it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return Path.mkdir, (self.folder,)


def test_a_hostile_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    torch.save({"conv2d_1a.conv.weight": _Hostile(tmp_path / "made")}, tmp_path / "zipped.pt")
    (tmp_path / "bare.pt").write_bytes(pickle.dumps(_Hostile(tmp_path / "made"), protocol=2))
    for name in ("zipped.pt", "bare.pt"):
        with pytest.raises(ModelError, match=r"torch\.save\(model\.state_dict"):
            checkpoint_runner(tmp_path / name)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"\x80\x02", b"PK\x03\x04"])
def test_files_that_are_no_checkpoint_are_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "no.pt").write_bytes(content)
    with pytest.raises(ModelError, match=r"cannot be read \(\w+\): cut short"):
        checkpoint_runner(tmp_path / "no.pt")


def test_a_truncated_checkpoint_is_refused(real_state: State, tmp_path: Path) -> None:
    torch.save(real_state, tmp_path / "cut.pt")
    whole = (tmp_path / "cut.pt").read_bytes()
    (tmp_path / "cut.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match=r"cannot be read \(\w+\): cut short"):
        checkpoint_runner(tmp_path / "cut.pt")


def test_a_file_too_large_is_refused_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("read"))
    with (tmp_path / "large.pt").open("wb") as sparse:
        sparse.truncate(torch_checkpoint.LARGEST_FILE + 1)
    with (
        zipfile.ZipFile(tmp_path / "packed.pt", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file,
        file.open("archive/data/0", "w", force_zip64=True) as member,
    ):
        for _ in range(2**11 + 1):
            member.write(bytes(2**20))
    for name in ("large.pt", "packed.pt"):
        with pytest.raises(ModelError, match=r"holds 2\.0 GiB"):
            checkpoint_runner(tmp_path / name)


@pytest.mark.filterwarnings("ignore:.*deprecated")
def test_a_torchscript_archive_is_refused(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.script(torch.nn.ReLU()), tmp_path / "script.pt")
    with pytest.raises(ModelError, match="is a TorchScript archive"):
        checkpoint_runner(tmp_path / "script.pt")


def test_missing_torch_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ModelError, match=r"facenet-validate\[torch\]"):
        export_checkpoint(tmp_path / "any.pt")


def test_a_torch_that_reads_unsafely_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "__version__", type(torch.__version__)("2.9.1+cpu"))
    with pytest.raises(ModelError, match=r"2\.9\.1\+cpu does not read checkpoints safely"):
        export_checkpoint(tmp_path / "any.pt")
