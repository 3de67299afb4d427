"""facenet-pytorch checkpoints (``.pt``): raw ONNX by PyTorch's exporter, and PyTorch's own run.

Everything here needs PyTorch, the extra ``torch``; it is imported when a checkpoint is read.
"""

from __future__ import annotations

import re
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from numpy.typing import NDArray

from facenet_validate.base.errors import ModelError
from facenet_validate.base.vocabulary import INPUT_NAME, OUTPUT_NAME

if TYPE_CHECKING:
    import torch

INSTALL_HINT = 'pip install "facenet-validate[torch]"'

# Older releases let a crafted file corrupt memory or run code in spite of weights_only
# (CVE-2025-32434, CVE-2026-24747).
OLDEST_TORCH = "2.10"

# The network's weights are 94 MB and its classifier head some 20 MB.
LARGEST_FILE = 2 * 2**30

IMAGE_SIZE = 160
OPSET = 17


def export_checkpoint(path: Path) -> onnx.ModelProto:
    """Export a checkpoint's network with ``torch.onnx``.

    Parameters
    ----------
    path : Path
        A state dict of facenet-pytorch's ``InceptionResnetV1``.

    Returns
    -------
    onnx.ModelProto
        ``input`` float32 (N, 3, 160, 160), standardized RGB → ``embeddings`` float32 (N, D),
        L2-normalised, with dynamic N.

    Raises
    ------
    ModelError
        If PyTorch is missing or too old, or the file is no such state dict.
    """
    network = _load(path)

    import torch

    faces = torch.zeros(2, 3, IMAGE_SIZE, IMAGE_SIZE)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        # The exporter that needs PyTorch alone calls itself deprecated.
        warnings.simplefilter("ignore")
        exported = Path(folder) / "model.onnx"
        torch.onnx.export(
            network,
            (faces,),
            str(exported),
            dynamo=False,
            opset_version=OPSET,
            input_names=[INPUT_NAME],
            output_names=[OUTPUT_NAME],
            dynamic_axes={INPUT_NAME: {0: "N"}, OUTPUT_NAME: {0: "N"}},
        )
        return onnx.load(exported)


def checkpoint_runner(path: Path) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """Return PyTorch's own run of a checkpoint's network.

    Parameters
    ----------
    path : Path
        A state dict of facenet-pytorch's ``InceptionResnetV1``.

    Returns
    -------
    Callable
        Standardized RGB faces (N, 3, H, W) float32 → embeddings (N, D) float32, L2-normalised.

    Raises
    ------
    ModelError
        If PyTorch is missing or too old, or the file is no such state dict.
    """
    network = _load(path)

    import torch

    def run(faces: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.no_grad():
            return np.asarray(network(torch.tensor(faces)).numpy(), dtype=np.float32)

    return run


def _load(path: Path) -> torch.nn.Module:
    """Return the network with the checkpoint's weights."""
    state = _read_state(path)

    from facenet_validate.models.checkpoint.network import inception_resnet_v1

    found = {name: _describe(value) for name, value in state.items()}
    linear = re.fullmatch(r"float32 \[(\d+), 1792\]", found.get("last_linear.weight", ""))
    network = inception_resnet_v1(int(linear[1]) if linear else 512)
    start = network.state_dict()
    counters = {name: value for name, value in start.items() if _is_counter(name)}
    expected = {k: _describe(value) for k, value in start.items() if k not in counters}
    unlike = [
        f"{name} is {found.get(name, 'absent')}, expected {expected.get(name, 'absent')}"
        for name in expected | found
        if found.get(name) != expected.get(name)
    ]
    if unlike:
        more = f"; and {len(unlike) - 3} more" if len(unlike) > 3 else ""
        raise ModelError(
            f"model {path}: not the weights of facenet-pytorch's InceptionResnetV1 "
            f"({len(expected)} tensors expected, {len(found)} found): {'; '.join(unlike[:3])}"
            f"{more}. Check which network was saved; another one comes as an ONNX export."
        )
    network.load_state_dict(state | counters)
    return network


def _read_state(path: Path) -> dict[str, Any]:
    """Return a file's tensors by name, without the classifier head and counters of training."""
    try:
        import torch
    except ImportError:
        raise ModelError(
            f"model {path}: a .pt is read by PyTorch, which is not installed. Run: {INSTALL_HINT}"
        ) from None
    if torch.__version__ < OLDEST_TORCH:
        raise ModelError(
            f"model {path}: PyTorch {torch.__version__} does not read checkpoints safely; "
            f"expected {OLDEST_TORCH} or newer. Run: {INSTALL_HINT}"
        )
    try:
        _check_size(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the checks below refuse what it warns of
            content = torch.load(path, map_location="cpu", weights_only=True)
    except ModelError:
        raise
    except Exception as error:  # a broken pickle raises whatever its opcodes run into
        raise ModelError(
            f"model {path}: {_refused(error)}. Expected a state dict of facenet-pytorch's "
            "InceptionResnetV1: save it with torch.save(model.state_dict(), path)."
        ) from None
    for wrapper in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping):
        raise ModelError(
            f"model {path}: holds a {type(content).__name__}; expected a state dict of "
            "facenet-pytorch's InceptionResnetV1. Save it with torch.save(model.state_dict(), "
            "path)."
        )
    state = {str(name).removeprefix("module."): value for name, value in content.items()}
    return {
        name: value
        for name, value in state.items()
        if not name.startswith("logits.") and not _is_counter(name)
    }


def _check_size(path: Path) -> None:
    """Refuse files that would fill the memory; the size of an archive is its unpacked one."""
    size = path.stat().st_size
    if size <= LARGEST_FILE and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
    if size > LARGEST_FILE:
        raise ModelError(
            f"model {path}: holds {size / 2**30:.1f} GiB; expected the state dict of an "
            f"Inception-ResNet-v1, 0.1 GiB (at most {LARGEST_FILE / 2**30:.0f} are read)."
        )


def _describe(value: Any) -> str:
    """Return a description of a tensor: ``float32 [32, 3, 3, 3]``, and anything unusual."""
    import torch

    if not isinstance(value, torch.Tensor):
        return f"a {type(value).__name__}"
    dtype, layout, device = (
        str(part).removeprefix("torch.") for part in (value.dtype, value.layout, value.device)
    )
    described = f"{dtype} {list(value.shape)}"
    if (layout, device) != ("strided", "cpu"):
        return f"{described} ({layout}, {device})"
    # A small file may claim a huge tensor that repeats a few numbers.
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        return f"{described} (expanded)"
    return described


def _is_counter(name: str) -> bool:
    return name.endswith(".num_batches_tracked")


def _refused(error: Exception) -> str:
    """Return what PyTorch refused. PyTorch's own message advises to read the file unsafely."""
    pickled = re.search(r"GLOBAL (\S+)", str(error))
    if pickled:
        return f"holds a pickled {pickled[1]}, and only tensors are read"
    if "TorchScript" in str(error):
        return "is a TorchScript archive"
    return f"cannot be read ({type(error).__name__}): cut short, or not written by torch.save"
