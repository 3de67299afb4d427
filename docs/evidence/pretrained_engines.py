"""Engines of the pretrained model on this machine's CPU, for the scripts beside this file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facenet_validate.base.machine import cpu_identity
from facenet_validate.base.vocabulary import Precision
from facenet_validate.cache import Cache
from facenet_validate.datasets.faces import AlignedFaces, faces_of
from facenet_validate.datasets.synthetic import proof_faces
from facenet_validate.engines.artefacts import build_artefact
from facenet_validate.engines.embedding import cached_embeddings
from facenet_validate.engines.onnxruntime.engine import OnnxRuntimeEngine
from facenet_validate.models.prepared import prepare, source_model
from facenet_validate.models.quantization.recipes import choose_target


class PretrainedEngines:
    """The prepared model, and ONNX Runtime's engines of it."""

    def __init__(self, cache: Cache) -> None:
        self.cache = cache
        self.cpu = cpu_identity()
        self.target, _ = choose_target(self.cpu.flags)
        self.model = prepare(source_model(None), cache, faces=proof_faces())

    def aligned(self, names: tuple[str, ...], paths: tuple[Path, ...]) -> AlignedFaces:
        """Return photos as aligned faces."""
        return faces_of(names, paths, self.cache, workers=self.cpu.cores)

    def embedded(
        self, precision: Precision, calibration: AlignedFaces, faces: AlignedFaces
    ) -> NDArray[np.float32]:
        """Return embeddings (N, D) of faces by an engine that is calibrated on others."""
        artefact = build_artefact(
            precision, self.model, self.target, lambda: calibration, self.cache
        )
        with OnnxRuntimeEngine(
            artefact.path,
            digest=artefact.digest,
            precision=artefact.precision,
            artefact=artefact.recipe,
            device=self.cpu.name,
            threads=self.cpu.cores,
            target=self.target,
        ) as engine:
            return cached_embeddings(engine, faces, 64, self.cache, cpu=self.cpu.name).values
