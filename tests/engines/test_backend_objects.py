"""Every backend answers every question, and nothing outside engines/ asks which one it is."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from numpy.typing import NDArray

import facenet_validate
from facenet_validate.base.errors import EngineError, SettingsError
from facenet_validate.base.vocabulary import PRECISIONS, TARGETS
from facenet_validate.cache import Cache
from facenet_validate.engines.backend import Backend, BuildRequest, Cpu, EngineContext
from facenet_validate.engines.backends import BACKEND_NAMES, BACKENDS, choose_backend
from facenet_validate.engines.device.interface import Device, GpuAddress, GpuIdentity
from facenet_validate.engines.device.probe import Gpu, gpu
from facenet_validate.engines.factory import EngineFactory
from facenet_validate.engines.gpu_backend import GpuBackend
from facenet_validate.engines.onnxruntime.cuda_backend import OnnxRuntimeCuda
from facenet_validate.engines.protocol import Engine, Scope
from facenet_validate.models.prepared import PreparedModel

ROOM = Path(facenet_validate.__file__).parent
SUITES = ROOM.parent / "suites"
KINDS = {"on_gpu", "builds_plans", "is_gpu", "is_cpu"}
"""Names that would tell what kind a backend is, for somebody else to branch on."""

NO_GPU = Gpu(lambda: "there is no driver", lambda: "", lambda: "")
A_GPU = Gpu(lambda: "", lambda: "8.9", lambda: "")

every_backend = pytest.mark.parametrize("kind", BACKENDS, ids=BACKEND_NAMES)


def _outside() -> list[Path]:
    files = [*ROOM.rglob("*.py"), *SUITES.rglob("*.py")]
    return sorted(path for path in files if ROOM / "engines" not in path.parents)


def _branches(source: str) -> list[str]:
    """Return the expressions of a module that ask which backend or engine it has."""
    return [
        ast.unparse(node)
        for node in ast.walk(ast.parse(source))
        if (isinstance(node, ast.Compare) and _asks_the_name(node))
        or (isinstance(node, ast.Call) and _asks_the_class(node))
        or (isinstance(node, ast.Attribute) and node.attr in KINDS)
    ]


def _asks_the_name(node: ast.Compare) -> bool:
    sides = [node.left, *node.comparators]
    known = {part.value for part in ast.walk(node) if isinstance(part, ast.Constant)}
    texts = [ast.unparse(side) for side in sides]
    return any(re.search(r"\bbackend\.name$", text) for text in texts) or (
        any(re.search(r"\bbackend$", text) for text in texts) and bool(known & {*BACKEND_NAMES})
    )


def _asks_the_class(node: ast.Call) -> bool:
    asked = ast.unparse(node.func) in ("isinstance", "issubclass") and len(node.args) == 2
    kinds = r"Engine\b|Backend\b|TensorRt|OnnxRuntime|OpenVino"
    return asked and re.search(kinds, ast.unparse(node.args[1])) is not None


def test_nothing_outside_engines_asks_which_backend_it_has() -> None:
    found = {path: _branches(path.read_text()) for path in _outside()}
    assert {path: branches for path, branches in found.items() if branches} == {}


@pytest.mark.parametrize(
    "planted",
    [
        "if run.backend.name == 'x': pass",
        "y = engine.info.backend in ('tensorrt', 'tensorrt-rtx')",
        "isinstance(engine, TensorRtEngine)",
        "isinstance(backend, (int, GpuBackend))",
        "z = 1 if backend.on_gpu else 2",
    ],
)
def test_a_planted_branch_is_found(planted: str) -> None:
    assert len(_branches(planted)) == 1


def test_a_backends_module_is_imported_in_engines_alone() -> None:
    """import-linter holds it too; a name in a text, as of what moved, is no import."""
    folders = {kind.__module__.split(".")[2] for kind in BACKENDS}
    own = re.compile(
        rf"^ *(?:from|import) facenet_validate\.engines\.({'|'.join(folders)})\b", re.M
    )
    assert [path for path in _outside() if own.search(path.read_text())] == []


def test_backends_are_told_apart_by_their_names() -> None:
    assert len(set(BACKEND_NAMES)) == len(BACKENDS)
    for name in BACKEND_NAMES:
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)


@every_backend
def test_a_backend_is_a_whole_one(kind: type[Backend]) -> None:
    """It says everything that has no default; nothing is misspelled beside the protocol."""
    assert not inspect.isabstract(kind)
    assert kind.install
    assert kind.distributions
    assert kind.scopes
    assert {*kind.scopes} <= {*get_args(Scope)}
    questions = {*dir(Backend), *Backend.__annotations__, *dir(GpuBackend)}
    assert {name for name in vars(kind) if not name.startswith("_")} <= questions


@every_backend
def test_a_backend_keeps_to_the_questions_signatures(kind: type[Backend]) -> None:
    for name, asked in vars(Backend).items():
        function = getattr(asked, "__func__", asked)
        if inspect.isfunction(function) and not name.startswith("__"):
            answer = inspect.getattr_static(kind, name)
            answered = getattr(answer, "__func__", answer)
            assert inspect.signature(answered) == inspect.signature(function), name


@every_backend
def test_a_backend_answers_before_collection(
    kind: type[Backend], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = tmp_path / "mine.onnx"
    graph.write_bytes(b"\x08\x08")
    monkeypatch.setattr(kind, "installed_version", classmethod(lambda _: "1.0"))
    assert kind.own_engine(graph) is None
    backend = choose_backend(kind.name, "--facenet-backend", A_GPU)
    assert isinstance(backend, kind)
    assert (backend.version, backend.why) == ("1.0", "asked for by --facenet-backend")
    assert backend.cannot_run == ""
    assert kind.installation("").startswith("1.0")
    assert kind.installation("there is no driver").startswith("1.0")
    target, why = backend.choose_target("auto", "default", frozenset())
    assert target in TARGETS
    assert why
    backend.check_options({}, "auto")
    backend.check_options({"facenet_scope": "--facenet-scope"}, backend.scopes[-1])
    backend.check_file(graph)
    try:
        for precision in PRECISIONS:
            for one in TARGETS:
                assert isinstance(backend.recipe_only(precision, one), bool)
    except EngineError as error:  # a backend may ask its library what this machine computes in
        pytest.skip(str(error))
    assert not backend.recipe_only("fp32", target)


@every_backend
def test_a_backend_that_cannot_run_here_still_answers(
    kind: type[Backend], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kind, "installed_version", classmethod(lambda _: "1.0"))
    backend = choose_backend(kind.name, "FACENET_BACKEND", NO_GPU)
    assert backend.unavailable in ("", "there is no driver")
    assert backend.unavailable == "" or backend.name in backend.cannot_run
    assert backend.device_name("the CPU") == "the CPU"
    assert backend.watched_gpu() is None
    assert backend.setup_text(4) in ("; 4 threads", "")
    assert isinstance(backend.artefact_lines("fp16", "engine.plan"), list)


@pytest.fixture
def context(prepared: PreparedModel, tmp_path: Path) -> EngineContext:
    """What engines of the packaged model are made from and run on, without a GPU."""

    def no_device() -> Device:
        raise AssertionError("a backend on a CPU asked for the GPU")

    cache, request = Cache(tmp_path / "cache"), BuildRequest((1, 2))
    return EngineContext(prepared, "cpu", cache, request, Cpu("the CPU", "details", 2), no_device)


@every_backend
def test_a_backend_that_runs_here_makes_an_engine_that_answers(
    kind: type[Backend], context: EngineContext, prepared: PreparedModel
) -> None:
    backend = choose_here(kind)
    factory = EngineFactory(backend, context, calibration=NoFaces)
    artefact = factory.from_recipe("fp32")
    facts = factory.facts(artefact)
    assert (facts.problems, facts.differing) == ((), ())
    given = backend.supplied(prepared.entry.path, "fp32", context)
    assert (given.supplied, given.digest) == (True, artefact.digest)
    backend.check_runs(given.path, prepared.image_size, prepared.embedding_size)
    drawn: NDArray[np.float64] = np.random.default_rng(0).standard_normal((2, 3, 160, 160))
    batch = drawn.astype(np.float32)
    with factory.engine(artefact) as engine, factory.reference() as reference:
        assert engine.scopes == backend.scopes
        assert (engine.info.backend, engine.info.device) == (backend.name, "the CPU")
        assert engine.info.recipe_only is factory.recipe_only("fp32")
        np.testing.assert_allclose(engine.run(batch), reference.run(batch), atol=1e-4)
        times = engine.batch_times(batch, 3)
        assert times.seconds.shape == (3,)
        computed = engine.computed_precision(prepared)
        assert bool(computed.untold) != bool(computed.shares)
        for scope in engine.scopes:
            work = engine.work(batch, scope)
            assert (work.batch, work.scope, work.images % 2) == (2, scope, 0)
    with pytest.raises(EngineError, match="was closed"):
        engine.run(batch)


def test_onnxruntimes_cuda_provider_is_described_without_opening_a_device(
    context: EngineContext, prepared: PreparedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu_of_driver = GpuIdentity("NVIDIA Fake", "8.9", 46, 2**33)
    address = GpuAddress("0000:17:00.0", "")
    for name, answer in {"gpu_identity": gpu_of_driver, "gpu_address": address}.items():
        monkeypatch.setattr(
            f"facenet_validate.engines.device.driver.{name}", lambda answer=answer: answer
        )
    backend = OnnxRuntimeCuda("1.0", "a test")
    artefact = backend.supplied(prepared.entry.path, "fp32", context)
    info = backend.info(artefact, context, ())
    assert (info.device, info.device_details) == (gpu_of_driver.name, gpu_of_driver.details())
    assert backend.device_name("the CPU") == gpu_of_driver.name
    assert backend.watched_gpu() == address


def choose_here(kind: type[Backend]) -> Backend:
    """Return a backend as a run here has it; skip where it is not installed or cannot run."""
    if not kind.installed_version():
        pytest.skip(f"{kind.name} is not installed: {kind.install}")
    backend = choose_backend(kind.name, "a test", gpu())
    if issubclass(kind, GpuBackend):
        pytest.skip("its engines need a GPU: tests/gpu, tests/test_runs_on_a_fake_gpu.py")
    return backend


class NoFaces:
    """Stands for faces that must not be asked for."""

    names = ()
    digest = ""

    def load(self, rows: NDArray[np.intp]) -> NDArray[np.uint8]:
        raise AssertionError(f"{len(rows)} faces were asked for")


@every_backend
@pytest.mark.parametrize(
    "option", ["facenet_workspace", "facenet_optimization_level", "facenet_profile"]
)
def test_an_option_of_the_command_line_that_means_nothing_is_refused(
    kind: type[Backend], option: str
) -> None:
    backend = kind("1.0", "a test")
    if option in kind.build_options:
        backend.check_options({option: "--x"}, "auto")
        return
    with pytest.raises(SettingsError) as error:
        backend.check_options({option: "--x"}, "auto")
    assert str(error.value) == (
        f"--x means nothing to {kind.name}; expected a TensorRT backend. Leave it out, or name one "
        "with --facenet-backend."
    )
    backend.check_options({option: "FACENET_X"}, "auto")


def test_a_scope_that_no_engine_of_the_backend_times_is_refused() -> None:
    backend = BACKENDS[0]("1.0", "a test")
    with pytest.raises(SettingsError, match="--y means nothing to onnxruntime; expected a GPU"):
        backend.check_options({"facenet_scope": "--y"}, "device")
    backend.check_options({"facenet_scope": "--y"}, "end-to-end")


def test_the_backend_that_auto_falls_back_to_runs_everywhere() -> None:
    assert BACKENDS[0].why_not_here(NO_GPU) == ""
    assert BACKENDS[0].installed_version()


def test_a_gpu_backend_takes_tensorrts_recipes_alone() -> None:
    for kind in BACKENDS:
        if not issubclass(kind, GpuBackend):
            continue
        backend = kind("1.0", "a test")
        assert backend.choose_target("auto", "x", frozenset()) == (
            "tensorrt",
            f"the backend is {kind.name}",
        )
        with pytest.raises(SettingsError, match=r"--facenet-target: cpu-vnni, but .* for a GPU"):
            backend.choose_target("cpu-vnni", "--facenet-target", frozenset())


def test_an_engine_class_has_everything_an_engine_is_asked_for() -> None:
    from facenet_validate.engines.onnxruntime.cuda_engine import OnnxRuntimeCudaEngine
    from facenet_validate.engines.onnxruntime.engine import OnnxRuntimeEngine
    from facenet_validate.engines.openvino.engine import OpenVinoEngine
    from facenet_validate.engines.tensorrt.engine import TensorRtEngine

    asked = {name for name in vars(Engine) if not name.startswith("_")} - {"info"}
    classes: tuple[Any, ...] = (
        OnnxRuntimeEngine, OpenVinoEngine, OnnxRuntimeCudaEngine, TensorRtEngine,
    )  # fmt: skip
    for engine in classes:
        assert asked - {"input", "output"} <= {*dir(engine)}


def test_listing_the_backends_imports_no_library() -> None:
    heavy = [
        "numpy", "onnx", "onnxruntime", "tensorrt", "tensorrt_rtx", "openvino", "pycuda", "cuda",
    ]  # fmt: skip
    script = (
        "import sys, facenet_validate.engines.backends\n"
        f"print(sorted({{*{heavy!r}}} & {{*sys.modules}}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=300
    )
    assert done.stdout.strip() == "[]"
