"""The public fixtures. Everything heavy is imported and built when a fixture first needs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from facenet_validate.judge import Gates, gates_for
from facenet_validate.run import Run, run_of
from facenet_validate.stopwatch import Timing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from facenet_validate.benchmarking.gpu import GpuWatch
    from facenet_validate.cache import Cache
    from facenet_validate.datasets.faces import AlignedFaces
    from facenet_validate.datasets.lfw import VerificationSet
    from facenet_validate.engines.builds import Artefact
    from facenet_validate.engines.built import BuildFacts
    from facenet_validate.engines.device.interface import Device
    from facenet_validate.engines.embedding import Embeddings
    from facenet_validate.engines.factory import EngineFactory
    from facenet_validate.engines.protocol import Engine, EngineInfo
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
    settings = facenet_run.settings
    return Cache(settings.cache, settings.rebuild, made_since=facenet_run.started)


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
def facenet_device() -> Iterator[Callable[[], Device]]:
    """The GPU, opened when it is first called for, and released at the end of the run."""
    with ExitStack() as stack:

        @cache
        def device() -> Device:
            from facenet_validate.engines.device.cuda import open_device

            return stack.enter_context(open_device())

        yield device


@pytest.fixture(scope="session")
def facenet_gpu_watch(facenet_run: Run) -> Iterator[Callable[[], GpuWatch | None]]:
    """What watches the GPU's clocks, power and other processes; None where engines need none."""
    with ExitStack() as stack:

        @cache
        def watch() -> GpuWatch | None:
            from facenet_validate.benchmarking.gpu import GpuWatch
            from facenet_validate.engines.device.driver import pci_bus_id

            if not facenet_run.backend.on_gpu or facenet_run.backend.unavailable:
                return None
            return stack.enter_context(GpuWatch(pci_bus_id()))

        yield watch


@pytest.fixture(scope="session")
def facenet_factory(
    facenet_run: Run,
    facenet_prepared: PreparedModel,
    facenet_calibration: Callable[[], AlignedFaces],
    facenet_cache: Cache,
    facenet_device: Callable[[], Device],
    facenet_gpu_watch: Callable[[], GpuWatch | None],
) -> EngineFactory:
    """What builds and loads engines of the prepared model on the run's backend."""
    from facenet_validate.engines.factory import Cpu, EngineFactory
    from facenet_validate.engines.tensorrt.options import BuildOptions

    return EngineFactory(
        backend=facenet_run.backend,
        model=facenet_prepared,
        target=facenet_run.target,
        calibration=facenet_calibration,
        cache=facenet_cache,
        plans=BuildOptions.for_batches(
            facenet_run.settings.batch_sizes,
            workspace_mib=facenet_run.settings.workspace,
            optimization_level=facenet_run.settings.optimization_level,
        ),
        cpu=Cpu(facenet_run.cpu.name, facenet_run.cpu.details(), facenet_run.threads),
        device=facenet_device,
        gpu_facts=lambda: watch.facts if (watch := facenet_gpu_watch()) else None,
        given=facenet_run.settings.engine,
    )


@pytest.fixture(scope="session")
def facenet_artefacts(
    facenet_run: Run, facenet_factory: EngineFactory
) -> Callable[[Precision], Artefact]:
    """What engines are loaded from, by precision; built, or taken from the cache."""

    @cache
    def artefact(precision: Precision) -> Artefact:
        found = facenet_factory.artefact(precision, facenet_run.progress.stage)
        facenet_run.facts.setdefault("engines", {})[precision] = {
            "sha256": found.digest,
            "graph_sha256": found.graph_digest,
            "path": str(found.path),
            "recipe": found.recipe,
            "cache": found.reason,
            "recipe_only": facenet_factory.recipe_only(precision),
        }
        return found

    return artefact


@pytest.fixture
def facenet_artefact(
    facenet_precision: Precision, facenet_artefacts: Callable[[Precision], Artefact]
) -> Artefact:
    """What the engine under test is loaded from."""
    return facenet_artefacts(facenet_precision)


@pytest.fixture
def facenet_build(facenet_artefact: Artefact, facenet_factory: EngineFactory) -> BuildFacts:
    """What was built, as far as it can be told without running it."""
    return facenet_factory.facts(facenet_artefact)


@pytest.fixture(scope="session")
def facenet_engines(
    facenet_run: Run,
    facenet_factory: EngineFactory,
    facenet_artefacts: Callable[[Precision], Artefact],
) -> Iterator[Callable[[Precision], Engine]]:
    """Engines under test by precision, loaded when first asked for."""
    with ExitStack() as stack:

        @cache
        def engine(precision: Precision) -> Engine:
            loaded = stack.enter_context(facenet_factory.engine(facenet_artefacts(precision)))
            facenet_run.facts["engines"][precision] |= {
                "runtime": loaded.info.runtime,
                "options": dict(loaded.info.options),
            }
            return loaded

        yield engine


@pytest.fixture(scope="session")
def facenet_fp32_engine(facenet_run: Run, facenet_factory: EngineFactory) -> Iterator[Engine]:
    """The prepared FP32 model on the run's backend, which speed is compared with."""
    with facenet_factory.engine(
        facenet_factory.built("fp32", facenet_run.progress.stage)
    ) as engine:
        yield engine


@pytest.fixture(scope="session")
def facenet_reference_engine(facenet_run: Run, facenet_factory: EngineFactory) -> Iterator[Engine]:
    """The prepared FP32 model on ONNX Runtime's CPU provider: what every engine is held against."""
    with facenet_factory.reference() as engine:
        facenet_run.facts["reference"] = {
            "sha256": engine.info.digest,
            "runtime": engine.info.runtime,
            "options": dict(engine.info.options),
        }
        yield engine


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

    known: dict[EngineInfo, Embeddings] = {}

    def embeddings(engine: Engine) -> Embeddings:
        info = engine.info
        what = f"{info.precision} engine on {info.backend} ({info.digest[:12]})"
        if info not in known:
            with facenet_run.progress.stage(f"embedding with the {what}") as report:
                known[info] = cached_embeddings(
                    engine,
                    facenet_faces,
                    facenet_run.settings.batch_size,
                    facenet_cache,
                    cpu=facenet_run.cpu_text,
                    progress=report,
                )
            origin = known[info].origin
            facenet_run.facts.setdefault("embeddings", {})[what] = origin
        try:
            check_embeddings(known[info].values, facenet_faces.names, what=what)
        except EngineError:
            facenet_run.failed.setdefault(info.precision, set()).add("the embedding check")
            raise
        return known[info]

    return embeddings


@pytest.fixture(scope="session")
def facenet_reference(
    facenet_reference_engine: Engine, facenet_embedder: Callable[[Engine], Embeddings]
) -> NDArray[np.float32]:
    """Embeddings ``(N, D)`` of the evaluation faces by the reference engine."""
    return facenet_embedder(facenet_reference_engine).values


@pytest.fixture
def facenet_embeddings(
    facenet_engine: Engine, facenet_embedder: Callable[[Engine], Embeddings]
) -> NDArray[np.float32]:
    """Embeddings ``(N, D)`` of the evaluation faces by the engine under test."""
    return facenet_embedder(facenet_engine).values


@pytest.fixture
def facenet_gates(
    request: pytest.FixtureRequest,
    facenet_run: Run,
    facenet_precision: Precision,
    facenet_factory: EngineFactory,
) -> Gates:
    """The limits in force for the engine under test, and the recorder of its gates."""
    return gates_for(
        request.node,
        facenet_run,
        facenet_precision,
        recipe_only=facenet_factory.recipe_only(facenet_precision),
    )


@pytest.fixture
def facenet_timing(
    request: pytest.FixtureRequest,
    facenet_run: Run,
    facenet_engine: Engine,
    facenet_batch_size: int,
    facenet_faces: AlignedFaces,
    facenet_prepared: PreparedModel,
    facenet_gates: Gates,
    facenet_gpu_watch: Callable[[], GpuWatch | None],
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
        lambda: request.getfixturevalue("facenet_fp32_engine"),
        batch,
        request,
        {
            **provenance_of(
                facenet_engine, facenet_prepared.entry.digest, facenet_run.settings.baselines
            ),
            **_gpu_provenance(facenet_gpu_watch()),
        },
        facenet_gates,
        facenet_gpu_watch,
    )


def _gpu_provenance(watch: GpuWatch | None) -> dict[str, str]:
    """Return the driver and the CUDA it supports; nothing where engines need no GPU."""
    if watch is None:
        return {}
    from facenet_validate.engines.device.driver import cuda_version

    return {"driver": watch.facts.driver or "unknown", "cuda": cuda_version()}
