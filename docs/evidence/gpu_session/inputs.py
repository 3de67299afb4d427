"""What a session reads that needs no GPU to make: graphs, faces, and the embeddings to expect.

``WORK/inputs.json``
    Which files there are, and what they were made with.
``WORK/model.onnx``
    The prepared model, FP32; also the suites' source model.
``WORK/faces.npz``
    Drawn faces, and their embeddings on ONNX Runtime's CPU provider.
``WORK/cache/``
    Graphs as the suites look for them, and the suites' drawn faces.
``WORK/local/``
    Plans, and what was needed on the way. It need not travel.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facenet_validate.base.digests import file_digest
from facenet_validate.base.preprocessing import standardize
from facenet_validate.base.versions import graph_tools, platform_text
from facenet_validate.base.vocabulary import Precision
from facenet_validate.cache import Cache, Entry
from facenet_validate.datasets.faces import already_aligned
from facenet_validate.datasets.layout import find_layout
from facenet_validate.datasets.lfw import load_set
from facenet_validate.datasets.synthetic import proof_faces
from facenet_validate.datasets.synthetic_cache import synthetic_folder
from facenet_validate.engines.artefacts import build_artefact, fp16_graph
from facenet_validate.models.onnx_session import cpu_session
from facenet_validate.models.prepared import PreparedModel, load_onnx, prepare, source_model
from facenet_validate.models.proof import Proof
from facenet_validate.models.quantization.recipes import Around
from facenet_validate.models.sources import SourceModel
from gpu_session.session import Notes, Session, read_json, write_json

FACES = 256
"""How many faces are compared, and timed as the largest batch."""

CALIBRATION = 512


@dataclass(frozen=True)
class Variant:
    """An engine of a session.

    Attributes
    ----------
    name : str
        Short, for files.
    title : str
        For people.
    precision : str
        Whose limits it is judged by.
    """

    name: str
    title: str
    precision: Precision


FP16 = Variant("fp16", "FP16", "fp16")
INT8 = Variant("int8", "INT8, FP16 around it", "int8")
INT8_FLOAT = Variant("int8-float", "INT8, FP32 around it", "int8")
FP32 = Variant("fp32", "FP32", "fp32")
VARIANTS = (FP16, INT8, INT8_FLOAT, FP32)
"""In order of worth; the first is what the others are timed beside."""


@dataclass(frozen=True)
class Inputs:
    """The prepared inputs of a session.

    Attributes
    ----------
    work : Path
        Their folder.
    told : dict
        Of ``inputs.json``.
    """

    work: Path
    told: dict[str, Any]

    @property
    def model(self) -> PreparedModel:
        """The prepared model, known by its sizes; its file may have stayed behind."""
        path, digest = self.work / "model.onnx", self.told["digest"]
        return PreparedModel(
            SourceModel(path, "prepared", digest),
            Entry(path, digest, "", hit=True, reason="made by the step `prepare`"),
            self.told["embedding_size"],
            self.told["image_size"],
            Proof(0.0, 0, 0, "proven when it was prepared"),
            (),
        )

    def graph(self, variant: Variant) -> Path:
        """Return a variant's graph, made of another one where its file stayed behind.

        Raises
        ------
        FileNotFoundError
            If neither its file nor what it is made of is there.
        """
        path: Path = self.work / self.told["graphs"][variant.name]
        if not path.is_file():
            path = self.work / "local" / f"{variant.name}.onnx"
        if not path.is_file():
            if variant.name not in _MADE_OF:
                raise FileNotFoundError(
                    f"{self.told['graphs'][variant.name]} stayed behind: carry it."
                )
            make, source = _MADE_OF[variant.name]
            content = make(self.graph(source))
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
        return path

    def faces(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return standardized faces ``(N, 3, H, H)`` and FP32's embeddings ``(N, D)``."""
        with np.load(self.work / "faces.npz") as kept:
            return standardize(kept["faces"], self.told["image_size"]), kept["embeddings"]


def made_with() -> str:
    """Return what graphs are made with here, on which the suites' names of them depend."""
    return f"{graph_tools()}, {platform_text()}"


def read_inputs(session: Session) -> Inputs:
    """Return what was prepared.

    Raises
    ------
    FileNotFoundError
        If nothing was.
    """
    told = read_json(session.work / "inputs.json")
    if told is None:
        raise FileNotFoundError(
            f"{session.work} has no inputs.json: run --steps prepare first, on any machine."
        )
    return Inputs(session.work, told)


def prepare_inputs(
    session: Session, source: Path | None = None, photos: Path | None = None
) -> None:
    """Make everything that a session reads. It needs no GPU, and minutes of a CPU.

    Parameters
    ----------
    source : Path, optional
        The model; by default the pretrained one.
    photos : Path, optional
        Faces in LFW's layout; by default drawn ones, which may go anywhere.
    """
    work = session.work
    local, kept = Cache(work / "local"), Cache(work / "cache")
    first = prepare(source_model(source), local, faces=proof_faces())
    shutil.copyfile(first.entry.path, work / "model.onnx")
    # The suites will prepare this file: what they make of it is what they look for in the cache.
    model = prepare(source_model(work / "model.onnx"), kept, faces=proof_faces())
    folder = photos or synthetic_folder(kept)
    found = load_set(
        find_layout(folder), name="synthetic", title="", calibration_images=CALIBRATION
    )
    calibration = already_aligned(found.calibration_names, found.calibration_paths)

    def graph(precision: Precision, around: Around | None = None) -> Path:
        return build_artefact(
            precision, model, "tensorrt", lambda: calibration, kept, around=around
        ).graph

    graphs = {
        "fp16": graph("fp16"),
        "int8": graph("int8"),
        "int8-float": graph("int8", "fp32"),
        "fp32": work / "model.onnx",
    }
    _write_faces(work / "faces.npz", model, already_aligned(found.names, found.paths).load)
    write_json(
        work / "inputs.json",
        {
            "graphs": {name: path.relative_to(work).as_posix() for name, path in graphs.items()},
            "digest": file_digest(work / "model.onnx"),
            "embedding_size": model.embedding_size,
            "image_size": model.image_size,
            "made with": made_with(),
        },
    )


def prepare_step(session: Session) -> None:
    """Make the inputs, build their plans once where RTX is, and tell how large they are."""
    from gpu_session.speed import build_here

    with Notes(session.out / "prepare.json") as notes:
        prepare_inputs(session)
        build_here(session, notes)
        sizes = {
            name: round(_bytes(session.work / name) / 1e6, 1)
            for name in sorted(path.name for path in session.work.iterdir())
        }
        parts = {
            path.relative_to(session.work).as_posix(): round(_bytes(path) / 1e6, 1)
            for path in sorted((session.work / "cache").glob("v*/*"))
        }
        notes.put("megabytes", sizes | parts)
        notes.put("says", ", ".join(f"{name} {size} MB" for name, size in sizes.items()))


def _write_faces(
    path: Path, model: PreparedModel, load: Callable[[NDArray[np.intp]], NDArray[np.uint8]]
) -> None:
    faces = load(np.arange(FACES))
    session = cpu_session(model.entry.path)
    batch = standardize(faces, model.image_size)
    pieces = [session.run(None, {"input": part})[0] for part in np.array_split(batch, 8)]
    np.savez_compressed(path, faces=faces, embeddings=np.concatenate(pieces))


def _bytes(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


_MADE_OF: dict[str, tuple[Callable[[Path], bytes], Variant]] = {
    "fp16": (lambda model: fp16_graph(load_onnx(model)), FP32),
}
"""What a graph is made of where its file stayed behind."""
