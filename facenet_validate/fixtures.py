"""The public fixtures. Everything heavy is imported and built when a fixture first needs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from facenet_validate.judge import Gates
from facenet_validate.reporting.records import Subject
from facenet_validate.run import Run, run_of
from facenet_validate.stopwatch import Timing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from facenet_validate.cache import Cache
    from facenet_validate.datasets.faces import AlignedFaces
    from facenet_validate.datasets.lfw import VerificationSet
    from facenet_validate.engines.embedding import Embeddings
    from facenet_validate.engines.protocol import Engine
    from facenet_validate.models.prepared import PreparedModel
    from facenet_validate.models.quantization.recipes import Precision


PROOF_FACES = 8


@pytest.fixture(scope="session")
def facenet_run(request: pytest.FixtureRequest) -> Run:
    """Settings, machine and facts of this run."""
    return run_of(request.config)


@pytest.fixture(scope="session")
def facenet_cache(facenet_run: Run) -> Cache:
    """The cache of engines, faces and embeddings."""
    from facenet_validate.cache import Cache, check_writable

    check_writable(facenet_run.settings.cache)
    return Cache(facenet_run.settings.cache, facenet_run.settings.rebuild)


@pytest.fixture(scope="session")
def facenet_prepared(
    facenet_run: Run, facenet_dataset: VerificationSet, facenet_cache: Cache
) -> PreparedModel:
    """The prepared model: canonical ONNX made from the source model, proven on the set's faces."""
    import numpy as np

    from facenet_validate.models.prepared import prepare, source_model

    source = source_model(facenet_run.settings.model)
    few = slice(0, PROOF_FACES)
    faces = facenet_run.aligned(
        facenet_cache, facenet_dataset.names[few], facenet_dataset.paths[few], "aligning"
    )
    with facenet_run.progress.stage("preparing the model") as report:
        prepared = prepare(
            source,
            facenet_cache,
            faces=lambda: faces.load(np.arange(len(faces.names))),
            progress=report,
        )
    facenet_run.facts["model"] = {
        "source": prepared.source.name,
        "source_sha256": prepared.source.digest,
        "prepared_sha256": prepared.entry.digest,
        "embedding_size": prepared.embedding_size,
        "image_size": prepared.image_size,
        "proof": prepared.proof.text(),
        "cache": prepared.entry.reason,
    }
    return prepared


@pytest.fixture(scope="session")
def facenet_dataset(facenet_run: Run, facenet_cache: Cache) -> VerificationSet:
    """The verification set: LFW where it was given, else the synthetic faces."""
    from facenet_validate.datasets.layout import find_layout
    from facenet_validate.datasets.lfw import load_set

    folder = facenet_run.settings.lfw
    if folder is not None:
        name, title = "lfw", f"LFW in {folder}"
    else:
        folder = _synthetic_folder(facenet_run, facenet_cache)
        name, title = "synthetic", f"synthetic faces ({folder})"
    found = load_set(
        find_layout(folder),
        name=name,
        title=title,
        calibration_images=facenet_run.settings.calibration_images,
    )
    facenet_run.facts["dataset"] = {
        "name": found.name,
        "title": found.title,
        "pairs": len(found.same),
        "images": len(found.names),
        "people": found.people,
        "pairs_sha256": found.pairs_digest,
        "calibration_images": len(found.calibration_names),
    }
    return found


def _synthetic_folder(run: Run, cache: Cache) -> Path:
    from facenet_validate.datasets.synthetic_cache import synthetic_folder

    with run.progress.stage("drawing synthetic faces") as report:
        return synthetic_folder(cache, report)


@pytest.fixture(scope="session")
def facenet_faces(
    facenet_run: Run, facenet_dataset: VerificationSet, facenet_cache: Cache
) -> AlignedFaces:
    """The evaluation photos as aligned faces, rows in the order of the data set's names."""
    found = facenet_run.aligned(
        facenet_cache, facenet_dataset.names, facenet_dataset.paths, "aligning evaluation photos"
    )
    facenet_run.facts["alignment"] = {
        "faces_sha256": found.digest,
        "undetected": list(found.undetected),
        "several_faces": len(found.several),
    }
    return found


@pytest.fixture(scope="session")
def facenet_calibration(
    facenet_run: Run,
    facenet_dataset: VerificationSet,
    facenet_faces: AlignedFaces,
    facenet_cache: Cache,
) -> Callable[[], AlignedFaces]:
    """Aligned faces of people outside the evaluation pairs, when called."""
    from facenet_validate.datasets.faces import check_disjoint

    @cache
    def calibration() -> AlignedFaces:
        facenet_run.check_calibration(len(facenet_dataset.calibration_names))
        found = facenet_run.aligned(
            facenet_cache,
            facenet_dataset.calibration_names,
            facenet_dataset.calibration_paths,
            "aligning calibration photos",
        )
        check_disjoint(found, facenet_faces)
        facenet_run.facts["calibration"] = {
            "images": len(found.names),
            "faces_sha256": found.digest,
        }
        return found

    return calibration


@pytest.fixture(scope="session")
def facenet_engines(
    facenet_run: Run,
    facenet_prepared: PreparedModel,
    facenet_calibration: Callable[[], AlignedFaces],
    facenet_cache: Cache,
) -> Iterator[Callable[[Precision], Engine]]:
    """Engines by precision, built or taken from the cache when first asked for."""
    from facenet_validate.engines.builds import build_artefact, given_artefact, load_engine

    loaded: dict[str, Engine] = {}
    given = facenet_run.settings.engine

    with ExitStack() as stack:

        def engine(precision: Precision, *, built_here: bool = False) -> Engine:
            elsewhere = given is not None and not built_here
            key = f"{precision} given" if elsewhere else precision
            if key not in loaded:
                if given is not None and not built_here:
                    artefact = given_artefact(given, precision, facenet_prepared)
                else:
                    with facenet_run.progress.stage(f"building {precision}") as report:
                        artefact = build_artefact(
                            precision,
                            facenet_prepared,
                            facenet_run.target,
                            facenet_calibration,
                            facenet_cache,
                            progress=report,
                        )
                loaded[key] = stack.enter_context(
                    load_engine(
                        artefact,
                        device=facenet_run.cpu.name,
                        threads=facenet_run.threads,
                        target=facenet_run.target,
                    )
                )
                facenet_run.facts.setdefault("engines", {})[key] = {
                    "sha256": artefact.digest,
                    "recipe": artefact.recipe,
                    "cache": artefact.reason,
                    "runtime": loaded[key].info.runtime,
                    "options": dict(loaded[key].info.options),
                    "recipe_only": loaded[key].info.recipe_only,
                }
            return loaded[key]

        yield engine


@pytest.fixture(scope="session")
def facenet_fp32_engine(facenet_engines: Callable[..., Engine]) -> Engine:
    """The prepared FP32 model on ONNX Runtime's CPU provider: the reference engine."""
    return facenet_engines("fp32", built_here=True)


@pytest.fixture
def facenet_engine(facenet_precision: Precision, facenet_engines: Callable[..., Engine]) -> Engine:
    """The engine under test."""
    return facenet_engines(facenet_precision)


@pytest.fixture(scope="session")
def facenet_embedder(
    facenet_run: Run, facenet_faces: AlignedFaces, facenet_cache: Cache
) -> Callable[[Engine], Embeddings]:
    """Embeddings of the evaluation faces by an engine, checked before any metric sees them."""
    from facenet_validate.engines.embedding import cached_embeddings
    from facenet_validate.errors import EngineError
    from facenet_validate.metrics.verification import check_embeddings

    known: dict[str, Embeddings] = {}

    def embeddings(engine: Engine) -> Embeddings:
        what = f"{engine.info.precision} engine ({engine.info.digest[:12]})"
        if engine.info.digest not in known:
            with facenet_run.progress.stage(f"embedding with the {what}") as report:
                known[engine.info.digest] = cached_embeddings(
                    engine,
                    facenet_faces,
                    facenet_run.settings.batch_size,
                    facenet_cache,
                    cpu=facenet_run.cpu_text,
                    progress=report,
                )
            origin = known[engine.info.digest].origin
            facenet_run.facts.setdefault("embeddings", {})[what] = origin
        try:
            check_embeddings(known[engine.info.digest].values, facenet_faces.names, what=what)
        except EngineError:
            facenet_run.failed.setdefault(engine.info.precision, set()).add("the embedding check")
            raise
        return known[engine.info.digest]

    return embeddings


@pytest.fixture(scope="session")
def facenet_reference(
    facenet_fp32_engine: Engine, facenet_embedder: Callable[[Engine], Embeddings]
) -> NDArray[np.float32]:
    """Embeddings ``(N, D)`` of the evaluation faces by the reference engine."""
    return facenet_embedder(facenet_fp32_engine).values


@pytest.fixture
def facenet_embeddings(
    facenet_engine: Engine, facenet_embedder: Callable[[Engine], Embeddings]
) -> NDArray[np.float32]:
    """Embeddings ``(N, D)`` of the evaluation faces by the engine under test."""
    return facenet_embedder(facenet_engine).values


@pytest.fixture
def facenet_gates(
    request: pytest.FixtureRequest, facenet_run: Run, facenet_engine: Engine
) -> Gates:
    """The limits in force for the engine under test, and the recorder of its gates."""
    subject = Subject(
        precision=facenet_engine.info.precision,
        target=facenet_run.target,
        dataset=facenet_run.dataset_name,
        recipe_only=facenet_engine.info.recipe_only,
        batch=(
            request.getfixturevalue("facenet_batch_size")
            if "facenet_batch_size" in request.fixturenames
            else None
        ),
    )
    limits = facenet_run.gates.limits(subject.dataset, subject.precision, subject.target)
    return Gates(
        limits,
        subject,
        request.node.user_properties,
        facenet_run.settings.inconclusive,
        facenet_run.failed.setdefault(subject.precision, set()),
    )


@pytest.fixture
def facenet_timing(
    request: pytest.FixtureRequest,
    facenet_run: Run,
    facenet_engine: Engine,
    facenet_engines: Callable[..., Engine],
    facenet_batch_size: int,
    facenet_faces: AlignedFaces,
    facenet_prepared: PreparedModel,
    facenet_gates: Gates,
) -> Timing:
    """Timing of the engine under test at one batch size, on real faces."""
    import numpy as np

    from facenet_validate.benchmarking.measure import provenance_of
    from facenet_validate.datasets.images import standardize

    def batch() -> NDArray[np.float32]:
        rows = np.arange(facenet_batch_size) % len(facenet_faces.names)
        return standardize(facenet_faces.load(rows), facenet_prepared.image_size)

    return Timing(
        facenet_run,
        facenet_engine,
        lambda: facenet_engines("fp32", built_here=True),
        batch,
        request,
        provenance_of(
            facenet_engine, facenet_prepared.entry.digest, facenet_run.settings.baselines
        ),
        facenet_gates,
    )
