"""Fixtures of the project's own tests: the real model, and a small set of drawn faces."""

from __future__ import annotations

import os
import pkgutil
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import numpy as np

# An in-process run forgets the modules that it was first to import. A second import of these is
# refused by numpy, and scipy then takes a sparse matrix of the first import for no matrix.
import numpy.fft
import onnx
import pytest
import scipy.sparse.csgraph  # noqa: F401
from filelock import FileLock
from hypothesis import HealthCheck, settings
from numpy.typing import NDArray

import facenet_validate
from facenet_validate.base.preprocessing import standardize
from facenet_validate.cache import Cache
from facenet_validate.cli import main
from facenet_validate.datasets.images import encode_png
from facenet_validate.datasets.synthetic import proof_faces, render_photo
from facenet_validate.models.prepared import PreparedModel, load_onnx, prepare, source_model
from tests.models.small_facenet import small_facenet

REPOSITORY = Path(__file__).parents[1]
PEOPLE = 12
CALIBRATION_PEOPLE = 26
PHOTOS = 4

# How long an example takes says how busy the machine is.
settings.register_profile("any load", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any load")


@pytest.fixture(autouse=True)
def _no_facenet_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """A developer's own settings must not reach the runs that tests start."""
    for name in os.environ:
        if name.startswith("FACENET_") and name != "FACENET_LFW":
            monkeypatch.delenv(name)
    # The summaries of runs that tests start are not the job's.
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)


@pytest.fixture(autouse=True)
def _no_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes long is told how far it is; what takes long is up to the machine."""
    monkeypatch.setattr("facenet_validate.base.progress._PATIENCE", 1e9)


@pytest.fixture
def pytester(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """pytest's own, whose runs know neither a worker that starts them nor a terminal's width.

    Their tests run in their files' order: who shuffles these tests has not asked for those.
    """
    for name in os.environ:
        if name.startswith("PYTEST_XDIST_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p no:randomly")
    return pytester


@pytest.fixture(scope="session")
def lfw_folder() -> Path:
    """The LFW folder a developer names."""
    folder = os.environ.get("FACENET_LFW")
    if not folder:
        pytest.skip("needs LFW: set FACENET_LFW to its folder")
    return Path(folder)


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all tests of a run, whichever worker they are in."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def shared_cache(shared_folder: Path) -> Cache:
    """One cache for all tests that only read what is built into it."""
    return Cache(shared_folder / "cache")


@pytest.fixture(scope="session")
def prepared(shared_cache: Cache) -> PreparedModel:
    """The pretrained model, prepared."""
    return prepare(source_model(None), shared_cache, faces=proof_faces())


@pytest.fixture(scope="session")
def prepared_onnx(prepared: PreparedModel) -> onnx.ModelProto:
    """The prepared model's graph; copy it before changing it."""
    return load_onnx(prepared.entry.path)


@pytest.fixture(scope="session")
def drawn_faces() -> NDArray[np.uint8]:
    """Sixteen drawn faces (16, 160, 160, 3) of as many people."""
    return np.stack([render_photo(person, 0) for person in range(16)])


@pytest.fixture(scope="session")
def drawn_batch(drawn_faces: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The drawn faces as the model reads them."""
    return standardize(drawn_faces)


@pytest.fixture(scope="session")
def small_set(shared_folder: Path) -> Path:
    """A verification set in LFW's layout: 72 pairs of 12 people in two folds, 26 others."""
    folder = shared_folder / "set"
    with FileLock(shared_folder / "set.lock"):
        if not (folder / "pairs.txt").exists():  # it is written last
            _draw_set(folder)
    return folder


def _draw_set(folder: Path) -> None:
    for person in range(PEOPLE + CALIBRATION_PEOPLE):
        name = f"Person_{person:02d}"
        (folder / name).mkdir(parents=True, exist_ok=True)
        for photo in range(PHOTOS):
            png = encode_png(render_photo(person, photo))
            (folder / name / f"{name}_{photo + 1:04d}.png").write_bytes(png)
    (folder / "pairs.txt").write_text(_pairs())


def _pairs() -> str:
    half = PEOPLE // 2
    lines = [f"2\t{half * 3}"]
    for fold in range(2):
        people = range(fold * half, (fold + 1) * half)
        lines += [f"Person_{p:02d}\t1\t{photo}" for p in people for photo in (2, 3, 4)]
        lines += [
            f"Person_{p:02d}\t{photo}\tPerson_{fold * half + (p + 1 - fold * half) % half:02d}\t2"
            for p in people
            for photo in (1, 3, 4)
        ]
    return "\n".join(lines) + "\n"


@pytest.fixture
def copy_of(tmp_path: Path) -> Callable[[Path], Path]:
    """Copy a folder, to damage the copy."""
    import shutil

    def copy(folder: Path) -> Path:
        return Path(shutil.copytree(folder, tmp_path / "copy"))

    return copy


LIGHT_GATES = """
schema = 1
[gates.any.any.any]
parity.cosine_min = 0.98
parity.cosine_mean = 0.995
accuracy.paired_drop = 0.01
"""

LIGHT_CONFTEST = """
from types import SimpleNamespace

import pytest


@pytest.fixture(scope="session")
def _facenet_factory():
    return SimpleNamespace(recipe_only=lambda precision: False)
"""


@pytest.fixture
def light_project(
    pytester: pytest.Pytester, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> pytest.Pytester:
    """A project with gates of its own and no engine: its tests record what they like."""
    (pytester.path / "baselines").mkdir()
    (pytester.path / "baselines" / "gates.toml").write_text(LIGHT_GATES)
    pytester.makeconftest(LIGHT_CONFTEST)
    monkeypatch.setenv("FACENET_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("FACENET_LFW", raising=False)
    monkeypatch.setenv("FACENET_SET", "synthetic")
    monkeypatch.setenv("FACENET_DIAGNOSE", "off")  # there is no engine
    return pytester


# --- whole runs -----------------------------------------------------------------------------------

FEW_PAIRS_GATES = """
schema = 1
[gates.any.any.any]
build.problems = 0
contract.signature = 0
contract.non_finite = 0
contract.norm_error_max = 1e-5
contract.black_image = 1e-5
contract.batch_sizes = 0
contract.batch_invariance = 1e-5
contract.order_invariance = 1e-5
contract.equal_rows = 1e-5
contract.collapse = 0.5
contract.repeatability = 0
contract.reload = 0
contract.input_refused = 0
contract.two_threads = 1e-5
contract.two_engines = 1e-5
contract.given_back = 0
performance.stored = 1.03
contract.timed_outputs = 1e-5
parity.cosine_min = 0.98
parity.cosine_p1 = 0.99
parity.cosine_mean = 0.995
accuracy.acc = 0.6
accuracy.auc = 0.7
accuracy.paired_drop = 0.05
accuracy.mixed_drop = 0.05
"""


@pytest.fixture(scope="session")
def all_imported() -> None:
    """Every module of ours, and what they import.

    A run in this process forgets the modules that it was the first to import. An extension module
    such as numpy's cannot be imported a second time.
    """
    for name in ("fft", "linalg", "ma", "polynomial", "random"):
        import_module(f"numpy.{name}")
    for name in ("figure", "backends.backend_svg", "ticker"):
        import_module(f"matplotlib.{name}")
    for module in pkgutil.walk_packages(facenet_validate.__path__, "facenet_validate."):
        with suppress(ImportError):  # PyTorch's and a GPU's libraries may be absent
            import_module(module.name)


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small network as a source model: runs with it take a second, and judge nothing real."""
    path = tmp_path_factory.mktemp("model") / "small.onnx"
    onnx.save(small_facenet(), path)
    return path


@pytest.fixture
def small_onnx() -> onnx.ModelProto:
    """The small network's graph, of the test's own."""
    return small_facenet()


@pytest.fixture(scope="session")
def prepared_small(small_model: Path, shared_cache: Cache) -> PreparedModel:
    """The small network, prepared."""
    return prepare(source_model(small_model), shared_cache, faces=proof_faces())


@pytest.fixture
def project(
    pytester: pytest.Pytester,
    shared_cache: Cache,
    small_set: Path,
    small_model: Path,
    all_imported: None,
    monkeypatch: pytest.MonkeyPatch,
) -> pytest.Pytester:
    """A user's project with our suites, on the small set and the small network.

    Its runs can be made in this process. Outside CI, where too few stored sessions may fail. Why a
    gate fails is found out only in the tests that are about it.
    """
    assert main(["init", str(pytester.path)]) == 0
    (pytester.path / "baselines" / "gates.toml").write_text(FEW_PAIRS_GATES)
    monkeypatch.setenv("FACENET_CACHE", str(shared_cache.root))
    monkeypatch.setenv("FACENET_LFW", str(small_set))
    monkeypatch.setenv("FACENET_CALIBRATION_IMAGES", "100")
    monkeypatch.setenv("FACENET_MODEL", str(small_model))
    monkeypatch.setenv("FACENET_ROBUSTNESS", "off")  # a thousand pictures, which few tests need
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("FACENET_DIAGNOSE", "off")
    return pytester
