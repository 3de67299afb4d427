"""Engines built elsewhere: what they tell about themselves before anything is collected."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from facenet_validate.base.errors import ModelError, SettingsError
from facenet_validate.base.vocabulary import TARGETS, Precision, Target
from facenet_validate.models.file_kinds import kind_by_content, kind_by_name, missing
from facenet_validate.models.quantization.recipes import RECIPE_KEY
from facenet_validate.run.settings import Settings

if TYPE_CHECKING:
    import onnx

    from facenet_validate.cache import Cache
    from facenet_validate.engines.backends import Backend

_EXPECTED = "Expected an ONNX engine (.onnx) or a TensorRT plan."


@dataclass(frozen=True)
class GivenEngine:
    """What a given engine's file tells.

    Attributes
    ----------
    path : Path
        The file.
    precision : str or None
        None for a plan, which does not tell it before a device has loaded it; except one of our
        own cache, which has its build's facts beside it.
    target : str or None
        What its recipe is for, where it says so.
    backend : str or None
        The TensorRT library a plan was built with; None for an ONNX graph.
    version : str
        That library's.
    image_size, embedding_size : int or None
        What it reads and gives; None of a plan from elsewhere, which tells it on a device.
    """

    path: Path
    precision: Precision | None
    target: Target | None
    backend: str | None
    version: str = ""
    image_size: int | None = None
    embedding_size: int | None = None


def read_given(path: Path, origin: str) -> GivenEngine:
    """Look into an engine's file.

    Parameters
    ----------
    path : Path
        An ONNX graph or a TensorRT plan.
    origin : str
        Which option named it, for messages.

    Raises
    ------
    SettingsError
        If it is no file, or of another kind.
    ModelError
        If it is no engine that reads faces and gives embeddings, or repeats a part of its graph.
    """
    from facenet_validate.engines.tensorrt.validity import is_plan, read_header
    from facenet_validate.models.endless import check_ends
    from facenet_validate.models.exported.graph_view import own_inputs
    from facenet_validate.models.prepared import check_contract
    from facenet_validate.models.quantization.precision import infer_precision

    absent = missing(path)
    if absent:
        raise SettingsError(f"{origin}: {path}: {absent}. {_EXPECTED}")
    if is_plan(path):
        from facenet_validate.engines.tensorrt.plans import kept_plan, precision_of

        header, kept = read_header(path), kept_plan(path)
        if kept is None:
            return GivenEngine(path, None, None, header.backend, header.version)
        (faces,), (rows,) = kept.report.inputs, kept.report.outputs
        return GivenEngine(
            path,
            precision_of(kept.report),
            None,
            header.backend,
            header.version,
            faces.shape[-1],
            rows.shape[-1],
        )
    model = _engine_graph(path, origin)
    size = check_contract(model, str(path))
    check_ends(model, str(path))
    sides = own_inputs(model.graph)[0].type.tensor_type.shape.dim
    return GivenEngine(
        path,
        infer_precision(model),
        _told_target(model),
        None,
        image_size=sides[2].dim_value,
        embedding_size=size,
    )


def _engine_graph(path: Path, origin: str) -> onnx.ModelProto:
    from facenet_validate.models.prepared import load_onnx

    kind = kind_by_content(path)
    if kind is None:
        try:
            return load_onnx(path)
        except ModelError:
            kind = kind_by_name(path)
            if kind is None:
                raise
    raise SettingsError(f"{origin}: {path}: it looks like {kind.what}. {_EXPECTED} {kind.advice}")


def settings_for_given(settings: Settings, given: GivenEngine) -> Settings:
    """Return settings whose precision, backend and target are the given engine's own.

    Raises
    ------
    SettingsError
        If they contradict what was asked for.
    """
    origins = settings.origins
    asked = origins.get("facenet_precision")
    if given.precision is not None and asked and settings.precisions != (given.precision,):
        raise SettingsError(
            f"{asked}: {', '.join(settings.precisions)}, but {given.path.name} is "
            f"{given.precision}. Leave the precision out: a given engine's own is used."
        )
    if given.precision is None and (not asked or len(settings.precisions) != 1):
        raise SettingsError(
            f"{origins['facenet_engine']}: {given.path.name} is a TensorRT plan, which does not "
            "tell its precision before it runs. Name the one it was built in: --precision fp16 or "
            "--precision int8."
        )
    if given.precision is not None:
        settings = replace(settings, precisions=(given.precision,))
    return _with_target(_with_backend(settings, given), given)


def check_runnable(
    engines: Sequence[GivenEngine], model: Path | None, cache: Cache, backend: Backend
) -> None:
    """Check that given engines fit the model they are compared with, and run on the backend.

    A plan tells its sizes, and runs, on a device only, unless it lies in our cache.

    Parameters
    ----------
    model : Path or None
        The source model; None for the packaged one.

    Raises
    ------
    FacenetValidateError
        Naming the engine, and what it lacks.
    """
    from facenet_validate.engines.builds import check_fits
    from facenet_validate.engines.runnable import check_runs
    from facenet_validate.models.prepared import model_sizes

    told = [
        (engine, engine.image_size, engine.embedding_size)
        for engine in engines
        if engine.image_size is not None and engine.embedding_size is not None
    ]
    if not told:
        return
    try:
        sizes = model_sizes(model, cache)
    except ModelError:
        sizes = None  # what is wrong with the model is told where it is prepared
    for engine, side, size in told:
        if sizes is not None:
            check_fits(engine.path, side, size, sizes)
        if engine.backend is None and not (backend.builds_plans or backend.unavailable):
            check_runs(engine.path, backend.name, side, size)


def check_against(against: GivenEngine, backend: str) -> None:
    """Check that the run's backend can load the engine to compare with.

    Raises
    ------
    SettingsError
        If it is a plan of another backend.
    """
    if against.backend is not None and against.backend != backend:
        raise SettingsError(
            f"--facenet-against: {against.path.name} is a plan of {against.backend} "
            f"{against.version}, and the run's backend is {backend}. Both engines run on one "
            f"backend: name it with --facenet-backend {against.backend}."
        )


def _with_backend(settings: Settings, given: GivenEngine) -> Settings:
    if given.backend is None:
        return settings
    if settings.backend not in ("auto", given.backend):
        raise SettingsError(
            f"{settings.origins['facenet_backend']}: {settings.backend}, but {given.path.name} is "
            f"a plan of {given.backend} {given.version}. Leave the backend out: the plan's own is "
            "used."
        )
    origins = dict(settings.origins)
    origins.setdefault("facenet_backend", f"the plan {given.path.name}")
    return replace(settings, backend=given.backend, origins=origins)


def _with_target(settings: Settings, given: GivenEngine) -> Settings:
    target = given.target
    if target is None:
        return settings
    if target != "tensorrt" and settings.backend == "auto":
        # A recipe for CPUs runs on one, also on a machine with a GPU.
        origins = {**settings.origins, "facenet_backend": "the engine's recipe for CPUs"}
        settings = replace(settings, backend="onnxruntime", origins=origins)
    if settings.target not in ("auto", target):
        raise SettingsError(
            f"{settings.origins['facenet_target']}: {settings.target}, but the engine says that "
            f"its recipe is for {target}. Leave the target out: the engine's own is used."
        )
    origins = {**settings.origins, "facenet_target": "the engine's own recipe"}
    return replace(settings, target=target, origins=origins)


def _told_target(engine: onnx.ModelProto) -> Target | None:
    told = next((p.value for p in engine.metadata_props if p.key == RECIPE_KEY), None)
    try:
        found = json.loads(told).get("target") if told else None
    except (ValueError, AttributeError):
        return None
    return next((target for target in TARGETS if target == found), None)
