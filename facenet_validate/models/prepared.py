"""Source model → prepared model: canonical ONNX, proven to be the source, kept in the cache."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facenet_validate.base.digests import file_digest, short
from facenet_validate.base.errors import ModelError
from facenet_validate.base.versions import (
    distribution_version,
    graph_tools,
    onnxruntime_version,
    platform_text,
)
from facenet_validate.cache import Cache, Entry
from facenet_validate.models.sizes import ModelSizes
from facenet_validate.models.sources import (
    RawModel,
    SourceModel,
    check_kind,
    model_digest,
    raw_model,
    source_model,
    suffix_of,
)

if TYPE_CHECKING:
    import numpy as np
    import onnx
    from numpy.typing import NDArray

    from facenet_validate.models.exported.anatomy import Anatomy
    from facenet_validate.models.proof import Proof

    Faces = NDArray[np.uint8] | Callable[[], NDArray[np.uint8]]

__all__ = [
    "PreparedModel",
    "SourceModel",
    "check_contract",
    "load_onnx",
    "prepare",
    "source_model",
]

CONVERTER_VERSION = 4
"""Changes when a converted model may change for the same source."""

PROOF_VERSION = 1
"""Changes when the way a prepared model is proven does."""

_ANATOMY = "facenet_validate.anatomy"
_STEPS = 4


@dataclass(frozen=True)
class PreparedModel:
    """Canonical ONNX: ``input`` float32 ``[N, 3, H, H]`` → ``embeddings`` float32 ``[N, D]``.

    Attributes
    ----------
    source : SourceModel
        Where it came from.
    entry : Entry
        The ONNX file in the cache.
    embedding_size : int
        D.
    image_size : int
        H.
    proof : Proof
        What shows that it is the source.
    anatomy : tuple of (str, str)
        What was found in the source and why, by subject.
    """

    source: SourceModel
    entry: Entry
    embedding_size: int
    image_size: int
    proof: Proof
    anatomy: tuple[tuple[str, str], ...]

    @property
    def sizes(self) -> ModelSizes:
        """What it reads and gives."""
        return ModelSizes(self.source.name, self.image_size, self.embedding_size)


def prepared_inputs(
    source: SourceModel, input_name: str | None, output_name: str | None
) -> dict[str, Any]:
    """Return what a prepared model depends on."""
    inputs = {
        "source model": source.digest,
        "converter": f"{CONVERTER_VERSION}, {graph_tools()}",
        "platform": platform_text(),
    }
    if suffix_of(source.path) in (".pt", ".pth"):
        inputs["exporter"] = f"torch {distribution_version('torch') or 'absent'}"
    if input_name is not None:
        inputs["input"] = input_name
    if output_name is not None:
        inputs["output"] = output_name
    return inputs


def prepare(
    source: SourceModel,
    cache: Cache,
    *,
    input_name: str | None = None,
    output_name: str | None = None,
    faces: Faces | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> PreparedModel:
    """Convert a source model to the prepared model and prove it, or take it from the cache.

    Parameters
    ----------
    source : SourceModel
        From `source_model`.
    input_name, output_name : str, optional
        The image input and the embedding's tensor, where the source leaves a choice.
    faces : ndarray of shape (N, 160, 160, 3), uint8, or callable giving it, optional
        Aligned faces to prove the model on; drawn ones by default.
    progress : callable, optional
        Called with (steps done, steps in all) of a conversion.

    Raises
    ------
    ModelError
        If the file is of no known kind, is no FaceNet, leaves a choice, changes meanwhile, or the
        prepared model gives other embeddings than the source.
    """
    check_kind(source.path)
    inputs = prepared_inputs(source, input_name, output_name)

    def report(done: int) -> None:
        if progress is not None:
            progress(done, _STEPS)

    @functools.cache  # whoever comes first needs it: the conversion, or a proof on other faces
    def converted() -> tuple[RawModel, onnx.ModelProto, Anatomy]:
        report(0)
        raw = raw_model(source.path, input_name=input_name, output_name=output_name)
        _check_unchanged(source)
        report(1)
        from facenet_validate.models.exported.canonical import canonical

        model, anatomy = canonical(
            raw.model,
            source=str(source.path),
            input_name=input_name,
            output_name=output_name if suffix_of(source.path) == ".onnx" else None,
        )
        report(2)
        return raw, model, anatomy

    proving = _Proving(source, cache, faces() if callable(faces) else faces, converted, report)

    def build(path: Path) -> None:
        _, model, anatomy = converted()
        model.metadata_props.add(key=_ANATOMY, value=json.dumps(anatomy.lines()))
        path.write_bytes(model.SerializeToString(deterministic=True))
        proving.proof(path, file_digest(path))  # or nothing is kept

    entry = cache.get_or_build("prepared", inputs, "model.onnx", build)
    return _read(source, entry, proving.proof(entry.path, entry.digest))


@dataclass
class _Proving:
    """Proves a prepared model beside its source, once; the proof is a cache entry of its own.

    The model's bytes are the same whatever faces it was proven on.
    """

    source: SourceModel
    cache: Cache
    faces: NDArray[np.uint8] | None
    converted: Callable[[], tuple[RawModel, onnx.ModelProto, Anatomy]]
    report: Callable[[int], None]
    found: Proof | None = None

    def proof(self, path: Path, digest: str) -> Proof:
        """Return the proof of a prepared model in a file."""
        from facenet_validate.models.proof import Proof, drawn_faces

        if self.found is None:
            faces = drawn_faces() if self.faces is None else self.faces
            inputs = {
                "prepared": digest,
                "source model": self.source.digest,
                "faces": sha256(f"{faces.shape}".encode() + faces.tobytes()).hexdigest(),
                "proof": str(PROOF_VERSION),
                "run by": _runtimes(suffix_of(self.source.path)),
            }
            entry = self.cache.get_or_build(
                "proof", inputs, "proof.json", lambda out: self._prove(path, faces, out)
            )
            self.found = Proof.from_json(entry.path.read_text())
        return self.found

    def _prove(self, path: Path, faces: NDArray[np.uint8], out: Path) -> None:
        from facenet_validate.models.proof import prove

        raw, _, anatomy = self.converted()
        run_source, how = raw.runner(anatomy)
        self.report(3)
        name = str(self.source.path)
        proof = prove(load_onnx(path), run_source, source=name, source_run=how, faces=faces)
        _check_unchanged(self.source)  # some runners read the file again
        out.write_text(proof.to_json())
        self.report(4)


def _runtimes(suffix: str) -> str:
    """Return who runs a prepared model and a source, and who resizes the faces."""
    import cv2

    by = [f"onnxruntime {onnxruntime_version()}", f"opencv {cv2.__version__}"]
    if suffix in (".pt", ".pth"):
        by.append(f"torch {distribution_version('torch') or 'absent'}")
    return ", ".join(by)


def _check_unchanged(source: SourceModel) -> None:
    """Check that a source is still the file whose digest was taken."""
    found = model_digest(source.path)
    if found != source.digest:
        raise ModelError(
            f"{source.path}: it changed while it was read (sha256 {short(source.digest)} → "
            f"{short(found)}). Run it again once the file is written."
        )


def _read(source: SourceModel, entry: Entry, proof: Proof) -> PreparedModel:
    model = load_onnx(entry.path)
    kept = {prop.key: prop.value for prop in model.metadata_props}
    return PreparedModel(
        source,
        entry,
        check_contract(model, str(source.path)),
        int(model.graph.input[0].type.tensor_type.shape.dim[2].dim_value),
        proof,
        tuple((subject, text) for subject, text in json.loads(kept[_ANATOMY])),
    )


def load_onnx(path: Path) -> onnx.ModelProto:
    """Read an ONNX file; see `facenet_validate.models.exported.onnx_file.load_onnx`."""
    from facenet_validate.models.exported import onnx_file

    return onnx_file.load_onnx(path)


def check_contract(model: onnx.ModelProto, source: str) -> int:
    """Check input and output of a model and return its embedding size D.

    Raises
    ------
    ModelError
        If there is not one float32 input ``[N, 3, H, H]`` with dynamic N, or not one float32 output
        ``[N, D]``.
    """
    import onnx

    from facenet_validate.models.exported.graph_view import (
        declared_shape,
        own_inputs,
        shape_text,
        type_name,
    )

    how_to = f"write it that way: facenet-validate prepare {source} -o NEW.onnx."
    inputs = own_inputs(model.graph)
    for role, values in (("input", inputs), ("output", list(model.graph.output))):
        if len(values) != 1:
            names = ", ".join(value.name for value in values)
            raise ModelError(
                f"{source}: {len(values)} {role}s ({names}); expected one. "
                f"{_one_edge(role, values, source)}"
            )
        kind = values[0].type.tensor_type.elem_type
        if kind != onnx.TensorProto.FLOAT:
            how = "Export it with FLOAT ones: faces as (x − 127.5) / 128, embeddings as they are."
            if kind in (onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE):
                how = "Export it with FLOAT ones (keep_io_types=True where it is made FP16), or "
                how += how_to
            raise ModelError(
                f"{source}: {role} {values[0].name!r} is {type_name(kind)}; expected FLOAT. {how}"
            )
    shape = declared_shape(inputs[0])
    planes = len(shape) == 4 and shape[1] == 3 and not isinstance(shape[0], int)
    if not planes or shape[2] != shape[3] or not isinstance(shape[2], int):
        raise ModelError(
            f"{source}: input {inputs[0].name!r} has shape {shape_text(shape)}; expected "
            "[N, 3, H, H], such as [N, 3, 160, 160], with a dynamic N: RGB faces in planes. Export "
            f"it that way, or {how_to}"
        )
    output = declared_shape(model.graph.output[0])
    if len(output) != 2 or not isinstance(output[1], int):
        raise ModelError(
            f"{source}: output {model.graph.output[0].name!r} has shape {shape_text(output)}; "
            f"expected [N, D]: one embedding a face. Export it that way, or {how_to}"
        )
    return output[1]


def _one_edge(role: str, values: Sequence[onnx.ValueInfoProto], source: str) -> str:
    """Return what to do about a graph of several inputs or outputs, or of none."""
    from facenet_validate.models.exported.graph_view import declared_shape

    if role == "input" or not values:
        return "Export it for inference: the image in, the embedding out."
    rows = [value.name for value in values if len(declared_shape(value)) == 2]
    name = rows[0] if len(rows) == 1 else "NAME"
    return (
        "Write it with the embedding alone: facenet-validate prepare "
        f"{source} -o NEW.onnx --output {name}."
    )
