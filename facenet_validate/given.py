"""Engines built elsewhere: what they tell about themselves before anything is collected."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from facenet_validate.errors import SettingsError
from facenet_validate.models.quantization.recipes import RECIPE_KEY, TARGETS, Precision, Target
from facenet_validate.settings import Settings

if TYPE_CHECKING:
    import onnx


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
    """

    path: Path
    precision: Precision | None
    target: Target | None
    backend: str | None
    version: str = ""


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
        If it is no file.
    ModelError
        If it is no engine that reads faces and gives embeddings.
    """
    from facenet_validate.engines.tensorrt.validity import is_plan, read_header
    from facenet_validate.models.prepared import check_contract, load_onnx
    from facenet_validate.models.quantization.precision import infer_precision

    if not path.is_file():
        found = "it is a folder" if path.is_dir() else "no such file"
        raise SettingsError(
            f"{origin}: {path}: {found}. Expected an ONNX engine or a TensorRT plan."
        )
    if is_plan(path):
        from facenet_validate.engines.tensorrt.plans import kept_plan, precision_of

        header, kept = read_header(path), kept_plan(path)
        precision = None if kept is None else precision_of(kept.report)
        return GivenEngine(path, precision, None, header.backend, header.version)
    model = load_onnx(path)
    check_contract(model, str(path))
    return GivenEngine(path, infer_precision(model), _told_target(model), None)


def settings_for_given(settings: Settings) -> Settings:
    """Return settings whose precision, backend and target are the given engine's own.

    Raises
    ------
    FacenetValidateError
        If they contradict what was asked for, or the file is no engine.
    """
    if settings.engine is None:
        return settings
    origins = settings.origins
    given = read_given(settings.engine, origins["facenet_engine"])
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
