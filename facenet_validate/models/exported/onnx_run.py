"""ONNX Runtime's run of a source model as it is: the prepared model is compared with it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto, helper

from facenet_validate.base.errors import ModelError
from facenet_validate.models.exported.image_input import ImageInput
from facenet_validate.models.exported.simplification import remedy
from facenet_validate.models.onnx_session import cpu_session, reason, rows_in_batches
from facenet_validate.models.proof import Runner


def onnx_runner(
    path: Path, model: onnx.ModelProto, image: ImageInput, output: str
) -> tuple[Runner, str]:
    """Return ONNX Runtime's run of a source as it is, and what that run is called.

    Nothing is optimised. A fixed batch is fed full, padded with the rows it has; an interleaved
    input gets interleaved faces. All other inputs get zeros: the embedding does not depend on them.

    Parameters
    ----------
    path : Path
        The source's own file.
    model : onnx.ModelProto
        The file as parsed. It is run instead of the file where the embedding is no output of the
        file, or the installed ONNX Runtime is older than the file's IR version.
    image, output
        Where faces go in and embeddings come out.
    """
    how = f"onnxruntime {ort.__version__}'s run of the source, not optimised"
    if output not in {value.name for value in model.graph.output}:
        how += f", {output} made an output"
        session = _parsed_session(path, model, output)
    else:
        try:
            session = cpu_session(path, optimisation="none")
        except Exception as error:  # ONNX Runtime has one class an error code
            if "IR version" not in str(error):
                raise _cannot_run(path, error) from None
            how += ", its IR version lowered"
            session = _parsed_session(path, model, output)
    if image.batch is not None:
        how += f", in batches of {image.batch}"
    others = _zeros(session, image.name, path)

    def run_batch(faces: NDArray[np.float32]) -> Any:
        try:
            return session.run([output], {image.name: faces, **others})[0]
        except Exception as error:  # ONNX Runtime has one class an error code
            raise _cannot_run(path, error) from None

    def run(images: NDArray[np.float32]) -> NDArray[np.float32]:
        return rows_in_batches(run_batch, image.laid_out(images), image.batch or len(images))

    return run, how


_NUMPY: dict[str, Any] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(bool)": np.bool_,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
}


def _zeros(session: Any, image: str, path: Path) -> dict[str, NDArray[Any]]:
    """Return zeros for every input but the image."""
    fed = {}
    for value in session.get_inputs():
        if value.name == image:
            continue
        if value.type not in _NUMPY:
            raise ModelError(
                f"{path}: input {value.name!r} is {value.type}, which cannot be fed to compare "
                "with. Export the model with the image as its only input."
            )
        sides = [side if isinstance(side, int) else 1 for side in value.shape]
        fed[value.name] = np.zeros(sides, _NUMPY[value.type])
    return fed


def _parsed_session(path: Path, model: onnx.ModelProto, output: str) -> Any:
    copied = copy.deepcopy(model)
    copied.ir_version = min(copied.ir_version, 8)
    if output not in {value.name for value in copied.graph.output}:
        copied.graph.output.append(helper.make_tensor_value_info(output, TensorProto.FLOAT, None))
    try:
        return cpu_session(copied, optimisation="none")
    except Exception as error:  # ONNX Runtime has one class an error code
        raise _cannot_run(path, error) from None


def _cannot_run(path: Path, error: Exception) -> ModelError:
    return ModelError(
        f"{path}: the installed onnxruntime {ort.__version__} cannot run the source to compare "
        f"with: {reason(error)}. Expected a model it runs. {remedy(error)}"
    )
