from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from facenet_validate.base.errors import ModelError
from facenet_validate.datasets.synthetic import proof_faces
from facenet_validate.models.exported.canonical import canonical
from facenet_validate.models.exported.onnx_run import onnx_runner
from facenet_validate.models.proof import Proof, Runner, prove
from tests.models.exported import exporter_styles as styles
from tests.models.small_facenet import SIZE, small_facenet

FACES = proof_faces()


@pytest.fixture(scope="module")
def small() -> onnx.ModelProto:
    return small_facenet()


def _runner(
    model: onnx.ModelProto, folder: Path, output: str | None = None
) -> tuple[onnx.ModelProto, Runner, str]:
    path = folder / "given.onnx"
    path.write_bytes(model.SerializeToString())
    prepared, anatomy = canonical(model, source="given.onnx", output_name=output)
    run, how = onnx_runner(path, model, anatomy.image, anatomy.embedding.name)
    return prepared, run, how


@pytest.mark.parametrize(
    ("style", "says"),
    [
        (styles.fixed_batch(64), "in batches of 64"),
        (styles.fixed_batch(1), "in batches of 1"),
        (styles.nhwc_input, "not optimised"),
        (styles.without_norm, "not optimised"),
        (styles.ending_at_the_pool, "not optimised"),
        (styles.ir_three, "not optimised"),
        (styles.extra_outputs, "not optimised"),
    ],
)
def test_a_prepared_model_is_proven_beside_the_source_as_it_is(
    style: styles.Style, says: str, small: onnx.ModelProto, tmp_path: Path
) -> None:
    prepared, run, how = _runner(style(small), tmp_path)
    proof = prove(prepared, run, source="given.onnx", source_run=how, faces=FACES)
    assert proof.bound <= 1e-6
    assert (proof.faces, proof.random) == (4, 4)
    assert says in proof.source_run


def test_an_inner_tensor_is_run_as_an_output(small: onnx.ModelProto, tmp_path: Path) -> None:
    prepared, run, how = _runner(styles.classifier("Softmax")(small), tmp_path, "bottleneck")
    assert (
        "bottleneck made an output"
        in prove(prepared, run, source="m", source_run=how, faces=FACES).text()
    )


def test_other_inputs_are_fed(small: onnx.ModelProto, tmp_path: Path) -> None:
    model = onnx.ModelProto()
    model.CopyFrom(small)
    model.graph.input.append(helper.make_tensor_value_info("phase_train", TensorProto.BOOL, []))
    model.graph.node.append(helper.make_node("Not", ["phase_train"], ["inference"]))
    model.graph.output.append(helper.make_tensor_value_info("inference", TensorProto.BOOL, []))
    prepared, run, how = _runner(model, tmp_path)
    assert prove(prepared, run, source="m", source_run=how, faces=FACES).bound <= 1e-6


def _weight(model: onnx.ModelProto, name: str) -> Any:
    (tensor,) = (t for t in model.graph.initializer if t.name == name)
    return tensor


@pytest.mark.parametrize("name", ["stem/a/bias", "bottleneck/weight", "block8/up/weight"])
def test_a_model_whose_weights_differ_is_refused(
    name: str, small: onnx.ModelProto, tmp_path: Path
) -> None:
    prepared, run, how = _runner(small, tmp_path)
    weight = _weight(prepared, name)
    values = numpy_helper.to_array(weight).copy()
    values.flat[0] += 1e-2
    weight.CopyFrom(numpy_helper.from_array(values, name))
    with pytest.raises(ModelError, match=r"(face|random image) \d of 4 faces .* differs by"):
        prove(prepared, run, source="given.onnx", source_run=how, faces=FACES)


def test_the_worst_image_is_named(small: onnx.ModelProto, tmp_path: Path) -> None:
    prepared, run, how = _runner(small, tmp_path)

    def wrong(images: NDArray[np.float32]) -> NDArray[np.float32]:
        rows = np.array(run(images))
        rows[6, 0] += 0.01
        return rows

    with pytest.raises(ModelError, match="random image 2 of"):
        prove(prepared, wrong, source="given.onnx", source_run=how, faces=FACES)


@pytest.mark.parametrize(
    ("value", "says"), [(np.nan, "NaN or infinity"), (np.inf, "NaN or infinity"), (0.0, "zeros")]
)
def test_rows_without_a_direction_are_the_sources_own(
    value: float, says: str, small: onnx.ModelProto, tmp_path: Path
) -> None:
    prepared, run, how = _runner(small, tmp_path)

    def broken(images: NDArray[np.float32]) -> NDArray[np.float32]:
        rows = np.array(run(images))
        rows[1] = value
        return rows

    with pytest.raises(ModelError, match=rf"source itself gives {says}.* for face 1 of"):
        prove(prepared, broken, source="given.onnx", source_run=how, faces=FACES)


def test_a_source_that_tells_no_images_apart_is_refused(
    small: onnx.ModelProto, tmp_path: Path
) -> None:
    blind = onnx.ModelProto()
    blind.CopyFrom(small)
    weight = _weight(blind, "bottleneck/weight")
    values = numpy_helper.to_array(weight) * np.float32(1e-6)
    weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    prepared, run, how = _runner(blind, tmp_path)
    with pytest.raises(ModelError, match="nearly the same embedding for all of 4 faces"):
        prove(prepared, run, source="given.onnx", source_run=how, faces=FACES)


def test_a_model_whose_rows_depend_on_the_batch_is_refused(
    small: onnx.ModelProto, tmp_path: Path
) -> None:
    prepared, run, how = _runner(small, tmp_path)
    norm = next(n for n in prepared.graph.node if n.op_type == "ReduceSum")
    axes = _weight(prepared, norm.input[1])
    axes.CopyFrom(numpy_helper.from_array(np.array([0, 1], np.int64), axes.name))
    with pytest.raises(ModelError, match="is not the source"):
        prove(prepared, run, source="given.onnx", source_run=how, faces=FACES)


def test_a_model_for_one_batch_size_is_refused(small: onnx.ModelProto, tmp_path: Path) -> None:
    _, run, how = _runner(small, tmp_path)
    fixed = styles.fixed_batch(8)(small)  # of exactly as many images as there are
    fixed.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "N"
    with pytest.raises(ModelError, match="does not run in batches of 1, 3 and more"):
        prove(fixed, run, source="given.onnx", source_run=how, faces=FACES)


def test_faces_of_another_size_are_resized(small: onnx.ModelProto, tmp_path: Path) -> None:
    prepared, run, how = _runner(small, tmp_path)
    seen = []

    def watched(images: NDArray[np.float32]) -> NDArray[np.float32]:
        seen.append(images.shape)
        return run(images)

    faces = np.random.default_rng(0).integers(0, 256, (6, 160, 160, 3)).astype(np.uint8)
    proof = prove(prepared, watched, source="m", source_run=how, faces=faces)
    assert seen == [(10, 3, SIZE, SIZE)]
    assert proof.faces == 6
    with pytest.raises(ModelError, match="3 faces to prove the model on; expected at least 4"):
        prove(prepared, run, source="m", source_run=how, faces=faces[:3])


def test_a_proof_is_stored_and_read_back() -> None:
    proof = Proof(1e-7, 4, 4, "OpenCV's run")
    assert Proof.from_json(proof.to_json()) == proof
    assert "below 1e-07 over 4 faces" in proof.text()


def test_a_model_is_proven_on_the_first_drawn_people() -> None:
    assert FACES.shape == (4, 160, 160, 3)
    assert FACES.dtype == np.uint8
    digest = hashlib.sha256(f"{FACES.shape}".encode() + FACES.tobytes()).hexdigest()
    assert (
        digest == "04c1031c239b7d23eac7e28f96690ebb4f24ef3223eb8e2232130714013417a6"
    )  # part of the key of every proof
