"""What PyTorch's two exporters write of the real network becomes the same prepared model."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from facenet_pytorch import InceptionResnetV1
from numpy.typing import NDArray
from onnx import helper
from torch.onnx import TrainingMode

from facenet_validate.base.errors import ModelError
from facenet_validate.cache import Cache
from facenet_validate.datasets.synthetic import proof_faces
from facenet_validate.models.prepared import PreparedModel, prepare, source_model

# The exporters warn of what is old or unusual: the point of some tests.
pytestmark = pytest.mark.filterwarnings("ignore")

Faces = NDArray[np.float32]
TOLERANCE = 1e-5


class Cut(torch.nn.Module):
    """The network, ended after one of its layers."""

    def __init__(self, network: InceptionResnetV1, end: str) -> None:
        super().__init__()
        self.network = network
        self.end = end

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for name, layer in self.network.named_children():
            x = layer(x.flatten(1) if name == "last_linear" else x)
            if name == self.end:
                break
        return x


@dataclass(frozen=True)
class Export:
    """One way to write the network.

    Attributes
    ----------
    exporter : str
        ``torchscript`` or ``dynamo``.
    batch : int or None
        Fixed, or dynamic.
    end : str
        ``norm``, or the layer it ends with.
    opset : int
        As asked for.
    options : dict
        Further arguments of ``torch.onnx.export``.
    """

    exporter: str
    batch: int | None = 64
    end: str = "norm"
    opset: int = 18
    options: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        batch = "dynamic" if self.batch is None else self.batch
        options = "".join(f"-{name}={value}" for name, value in self.options.items())
        return f"{self.exporter}-{batch}-{self.end}-opset{self.opset}{options}"

    def write(self, network: InceptionResnetV1, path: Path) -> Path:
        """Export; unnamed tensors where the batch is fixed, as scripts of 2020 do."""
        module = (network if self.end == "norm" else Cut(network, self.end)).eval()
        arguments = dict(self.options)
        if self.exporter == "dynamo":
            arguments = {"external_data": False, "verbose": False} | arguments
            if self.batch is None:
                arguments["dynamic_shapes"] = ({0: torch.export.Dim.DYNAMIC},)
        elif self.batch is None:
            arguments |= {"input_names": ["faces"], "output_names": ["out"]}
            arguments["dynamic_axes"] = {"faces": {0: "batch"}, "out": {0: "batch"}}
        faces = torch.zeros(self.batch or 2, 3, 160, 160)
        torch.onnx.export(
            module,
            (faces,),
            str(path),
            dynamo=self.exporter == "dynamo",
            opset_version=self.opset,
            **arguments,
        )
        return path


# The oldest and newest each accepts; dynamo writes 18 when asked for less.
OPSETS = {"torchscript": (9, 23), "dynamo": (18, 26)}

EXPORTS = [
    *(
        Export(exporter, batch, end, opset)
        for exporter, opsets in OPSETS.items()
        for batch in (64, None)
        for end in ("norm", "last_bn")
        for opset in opsets
    ),
    *(Export(exporter, batch, "avgpool_1a") for exporter in OPSETS for batch in (64, None)),
    Export("torchscript", 64, "norm", 11),
    Export("torchscript", None, "norm", 17, {"do_constant_folding": False}),
    Export("torchscript", None, "norm", 13, {"training": TrainingMode.PRESERVE}),
    Export("torchscript", 64, "last_bn", 14, {"training": TrainingMode.PRESERVE}),
    Export("torchscript", None, "norm", 9, {"keep_initializers_as_inputs": True}),
    Export("dynamo", None, "norm", 18, {"optimize": False}),
    Export("dynamo", 64, "last_bn", 18, {"optimize": False}),
    Export("dynamo", 64, "norm", 18, {"keep_initializers_as_inputs": True}),
    Export("dynamo", None, "norm", 18, {"external_data": True}),
]


@pytest.fixture(scope="session")
def torch_pooled(real_network: InceptionResnetV1, drawn_batch: Faces) -> Faces:
    """What PyTorch computes up to the pool, normalised."""
    with torch.no_grad():
        pooled = Cut(real_network, "avgpool_1a")(torch.from_numpy(drawn_batch)).flatten(1)
        return np.asarray(torch.nn.functional.normalize(pooled).numpy())


@pytest.fixture
def prepared_from(tmp_path: Path) -> Callable[[Path], PreparedModel]:
    """Prepare a source; the proof and the contract hold."""

    def prepare_one(source: Path) -> PreparedModel:
        ready = prepare(source_model(source), Cache(tmp_path / "cache"), faces=proof_faces())
        assert ready.proof.bound <= TOLERANCE
        model = onnx.load(ready.entry.path)
        assert [value.name for value in model.graph.input] == ["input"]
        assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param
        return ready

    return prepare_one


def _embed(ready: PreparedModel, faces: Faces) -> Faces:
    session = onnxruntime.InferenceSession(str(ready.entry.path))
    return np.asarray(session.run(["embeddings"], {"input": faces})[0])


@pytest.mark.parametrize("export", EXPORTS, ids=str)
def test_an_export_becomes_the_network_it_was(
    export: Export,
    real_network: InceptionResnetV1,
    prepared_from: Callable[[Path], PreparedModel],
    drawn_batch: Faces,
    torch_embeddings: Faces,
    torch_pooled: Faces,
    tmp_path: Path,
) -> None:
    ready = prepared_from(export.write(real_network, tmp_path / "exported.onnx"))
    expected = torch_pooled if export.end == "avgpool_1a" else torch_embeddings
    embeddings = _embed(ready, drawn_batch)
    assert embeddings.shape == expected.shape
    assert np.abs(embeddings - expected).max() <= TOLERANCE
    found = dict(ready.anatomy)
    assert found["layout"].startswith("planes (NCHW)")
    assert found["batch"] == ("dynamic" if export.batch is None else "fixed at 64; made dynamic")
    assert f"{expected.shape[1]} values" in found["embedding"]
    assert found["normalisation"].startswith("L2" if export.end == "norm" else "none found")
    pooled = export.end == "avgpool_1a"
    assert found["parameters"] == ("22,549,808" if pooled else "23,467,824")
    assert found["multiply-adds"].startswith("1,416,744,800" if pooled else "1,417,662,304")


class Interleaved(torch.nn.Module):
    """The network for images as they are decoded: (N, H, W, 3)."""

    def __init__(self, network: InceptionResnetV1) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.network(x.permute(0, 3, 1, 2))
        return y


def test_an_export_that_reads_interleaved_pixels_is_turned(
    real_network: InceptionResnetV1,
    prepared_from: Callable[[Path], PreparedModel],
    drawn_batch: Faces,
    torch_embeddings: Faces,
    tmp_path: Path,
) -> None:
    path = tmp_path / "nhwc.onnx"
    torch.onnx.export(
        Interleaved(real_network).eval(),
        (torch.zeros(2, 160, 160, 3),),
        str(path),
        dynamo=False,
        opset_version=17,
    )
    ready = prepared_from(path)
    assert dict(ready.anatomy)["layout"].startswith("interleaved pixels (NHWC)")
    assert np.abs(_embed(ready, drawn_batch) - torch_embeddings).max() <= TOLERANCE


def test_exports_differ_as_their_names_say(real_network: InceptionResnetV1, tmp_path: Path) -> None:
    def written(export: Export) -> onnx.ModelProto:
        path = export.write(real_network, tmp_path / "exported.onnx")
        return onnx.load(path, load_external_data=False)

    def batch_norms(model: onnx.ModelProto) -> int:
        return sum(node.op_type == "BatchNormalization" for node in model.graph.node)

    assert written(Export("torchscript", opset=9)).opset_import[0].version == 9
    kept = Export("torchscript", options={"training": TrainingMode.PRESERVE})
    assert batch_norms(written(kept)) == 112
    assert batch_norms(written(Export("dynamo", options={"optimize": False}))) == 112
    outside = written(Export("dynamo", options={"external_data": True}))
    assert any(tensor.external_data for tensor in outside.graph.initializer)
    assert (tmp_path / "exported.onnx.data").is_file()


def test_a_saved_checkpoint_becomes_the_network_it_was(
    real_network: InceptionResnetV1,
    prepared_from: Callable[[Path], PreparedModel],
    drawn_batch: Faces,
    torch_embeddings: Faces,
    tmp_path: Path,
) -> None:
    torch.save(real_network.state_dict(), tmp_path / "real.pt")
    ready = prepared_from(tmp_path / "real.pt")
    assert "PyTorch" in ready.proof.source_run
    assert np.abs(_embed(ready, drawn_batch) - torch_embeddings).max() <= TOLERANCE


def test_a_checkpoint_with_a_weight_that_is_no_number_is_refused(
    real_state: dict[str, Any], tmp_path: Path
) -> None:
    weights = real_state["last_linear.weight"].clone()
    weights[3, 4] = float("nan")
    torch.save(real_state | {"last_linear.weight": weights}, tmp_path / "nan.pt")
    with pytest.raises(ModelError, match="the source itself gives NaN or infinity"):
        prepare(source_model(tmp_path / "nan.pt"), Cache(tmp_path / "cache"), faces=proof_faces())


@pytest.mark.parametrize("exporter", OPSETS)
def test_a_classifier_is_refused(exporter: str, real_state: dict[str, Any], tmp_path: Path) -> None:
    network = InceptionResnetV1(classify=True, num_classes=40)
    network.load_state_dict(real_state, strict=False)
    path = Export(exporter).write(network.eval(), tmp_path / "classifier.onnx")
    with pytest.raises(ModelError, match="classifier"):
        prepare(source_model(path), Cache(tmp_path / "cache"), faces=proof_faces())


def test_an_export_in_training_mode_is_refused(
    real_network: InceptionResnetV1, tmp_path: Path
) -> None:
    network = copy.deepcopy(real_network).train()
    path = tmp_path / "training.onnx"
    torch.onnx.export(
        network,
        (torch.rand(2, 3, 160, 160),),
        str(path),
        dynamo=False,
        opset_version=17,
        training=TrainingMode.TRAINING,
        do_constant_folding=False,
    )
    kept = [node for node in onnx.load(path).graph.node if node.op_type == "BatchNormalization"]
    assert all(helper.get_node_attr_value(node, "training_mode") for node in kept)
    with pytest.raises(ModelError):
        prepare(source_model(path), Cache(tmp_path / "cache"), faces=proof_faces())
