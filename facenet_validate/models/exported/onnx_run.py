"""ONNX Runtime's run of a source model as it is: what its prepared model is compared with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from facenet_validate.base.errors import ModelError
from facenet_validate.models.exported.anatomy import ImageInput
from facenet_validate.models.exported.simplification import remedy
from facenet_validate.models.proof import Runner


def onnx_runner(
    path: Path, model: onnx.ModelProto, image: ImageInput, output: str
) -> tuple[Runner, str]:
    """Return ONNX Runtime's run of a source as it is, and what it is called.

    Nothing is optimised. A fixed batch is fed full, padded with the rows it has; an interleaved
    input gets interleaved faces. Other inputs, which the embedding does not depend on, get zeros.

    Parameters
    ----------
    path : Path
        The source's own file.
    model : onnx.ModelProto
        The file as parsed: run instead where the embedding is no output of the file, or the
        installed ONNX Runtime is older than the file's IR version.
    image, output
        Where faces go in and embeddings come out.
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    providers = ["CPUExecutionProvider"]
    batch = image.batch
    how = f"onnxruntime {ort.__version__}'s run of the source, not optimised"
    if output in {value.name for value in model.graph.output}:
        try:
            session = ort.InferenceSession(str(path), options, providers=providers)
        except Exception as error:  # ONNX Runtime has one class an error code
            if "IR version" not in str(error):
                raise _cannot_run(path, error) from None
            how += ", its IR version lowered"
            session = _parsed_session(path, model, output, options)
    else:
        how += f", {output} made an output"
        session = _parsed_session(path, model, output, options)
    if batch is not None:
        how += f", in batches of {batch}"
    others = _zeros(session, image.name, path)

    def run(images: NDArray[np.float32]) -> NDArray[np.float32]:
        step = batch or len(images)
        given = images if image.layout == "NCHW" else images.transpose(0, 2, 3, 1)
        rows = []
        for start in range(0, len(given), step):
            part = np.resize(given[start : start + step], (step, *given.shape[1:]))
            try:
                values = session.run([output], {image.name: part, **others})[0]
            except Exception as error:  # ONNX Runtime has one class an error code
                raise _cannot_run(path, error) from None
            rows.append(np.asarray(values).reshape(step, -1)[: len(given) - start])
        return np.concatenate(rows)

    return run, how


_NUMPY: dict[str, Any] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(bool)": np.bool_,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
}


def _zeros(session: Any, image: str, path: Path) -> dict[str, NDArray[Any]]:
    """Return what the inputs that are not the image are fed."""
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


def _parsed_session(path: Path, model: onnx.ModelProto, output: str, options: Any) -> Any:
    import onnxruntime as ort
    from onnx import TensorProto, helper

    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    copied.ir_version = min(copied.ir_version, 8)
    if output not in {value.name for value in copied.graph.output}:
        copied.graph.output.append(helper.make_tensor_value_info(output, TensorProto.FLOAT, None))
    try:
        return ort.InferenceSession(
            copied.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # ONNX Runtime has one class an error code
        raise _cannot_run(path, error) from None


def _cannot_run(path: Path, error: Exception) -> ModelError:
    import onnxruntime as ort

    return ModelError(
        f"{path}: the installed onnxruntime {ort.__version__} cannot run the source to compare "
        f"with: {str(error).strip().splitlines()[0][:300]}. Expected a model it runs. "
        f"{remedy(error)}"
    )
