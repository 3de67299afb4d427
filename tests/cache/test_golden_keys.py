"""What every cache key is made of, held to what version 0.1.0 made it of.

A changed key is a cache that misses: models are converted, engines built and photos aligned again.
``golden_keys.json`` has the inputs of every entry as 0.1.0 wrote them. What depends on the machine
is pinned (versions, platform, CPU), or stands in angle brackets (the digest of a computed file).
One entry differs from 0.1.0 by intent: embeddings of ONNX Runtime's CUDA provider also name how
cuDNN searches its algorithms.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import sys
from collections.abc import Mapping
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from facenet_validate.base.digests import file_digest
from facenet_validate.base.machine import cpu_identity
from facenet_validate.base.vocabulary import TARGETS
from facenet_validate.cache import Cache
from facenet_validate.cli import main
from facenet_validate.datasets.face_store import FaceStore
from facenet_validate.datasets.faces import already_aligned, faces_of
from facenet_validate.datasets.synthetic import proof_faces, render_photo
from facenet_validate.datasets.synthetic_cache import synthetic_folder
from facenet_validate.datasets.verification_set import VerificationSet
from facenet_validate.engines.artefacts import build_artefact
from facenet_validate.engines.backend import Backend, BuildRequest, Cpu, EngineContext
from facenet_validate.engines.embedding import Flipped, cached_embeddings
from facenet_validate.engines.factory import EngineFactory
from facenet_validate.engines.onnxruntime.cuda_backend import OnnxRuntimeCuda
from facenet_validate.engines.protocol import Engine, EngineInfo, TensorInfo
from facenet_validate.engines.tensorrt.backend import TensorRt
from facenet_validate.engines.tensorrt.library import describe_library, find_library
from facenet_validate.engines.tensorrt.options import BuildOptions
from facenet_validate.engines.tensorrt.plans import cached_plan
from facenet_validate.models.prepared import (
    PreparedModel,
    model_sizes,
    prepare,
    prepared_inputs,
    source_model,
)
from facenet_validate.models.sources import SourceModel, onnx_digest
from tests.datasets.odd_sets import PAIRS, load, picture, write, write_set
from tests.engines.device.fake_device import FakeDevice
from tests.engines.tensorrt.fake_tensorrt import FakeTensorRT
from tests.models.small_facenet import EMBEDDING, SIZE, small_facenet

GOLDEN = json.loads(Path(__file__).with_name("golden_keys.json").read_text(encoding="utf-8"))

VERSIONS = {"onnx": "1.2.3", "onnxruntime": "4.5.6", "torch": "7.8.9", "tensorrt": "10.13.3.9"}
CPU = """processor : 0
model name : A CPU
cpu family : 6
model : 7
stepping : 8
flags : fpu avx2
"""

Found = list[dict[str, Any]]
"""Entries: ``kind``, ``file`` and the ``inputs`` of the key."""


@pytest.fixture(autouse=True)
def _pinned(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Give every machine the same versions, platform and CPU."""
    real = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: VERSIONS.get(name) or real(name))
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(cv2, "__version__", "3.2.1")
    monkeypatch.setattr(onnxruntime, "__version__", VERSIONS["onnxruntime"])
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    (tmp_path / "machine" / "proc").mkdir(parents=True)
    (tmp_path / "machine" / "proc" / "cpuinfo").write_text(CPU)
    monkeypatch.setattr(cpu_identity, "__defaults__", (tmp_path / "machine",))
    monkeypatch.delenv("FACENET_LFW", raising=False)


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "mine.onnx"
    onnx.save(small_facenet(), path)
    return path


@pytest.fixture
def prepared(source: Path, cache: Cache) -> PreparedModel:
    return prepare(source_model(source), cache, faces=np.zeros((4, 160, 160, 3), np.uint8))


KEPT = """{
 "digest": "35e72d98d626c54337e8f796e753da7bc404396fc9988ff2bb1aa850213da7c3",
 "files": {
  "model.onnx": {
   "sha256": "eef93e1d14482804277fca0172464032d1a4fdbcc338524059fa1e861454ad4d",
   "size": 5
  }
 },
 "inputs": {
  "model": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
  "platform": "\\u00e9",
  "recipe": {
   "bits": 7,
   "keep": []
  }
 },
 "kind": "int8",
 "main": "model.onnx",
 "schema": 2
}"""
"""An entry's manifest as 0.1.0 wrote it."""


class Faces:
    """Half a thousand grey faces of a known digest."""

    digest = "f" * 64
    names = tuple(map(str, range(500)))

    def load(self, rows: NDArray[np.intp]) -> NDArray[np.uint8]:
        faces = np.zeros((len(rows), 160, 160, 3), np.uint8)
        faces[:] = (rows % 256)[:, None, None, None]
        return faces


def _canonical(inputs: Mapping[str, Any]) -> str:
    return json.dumps(inputs, sort_keys=True, separators=(",", ":"))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _entries(cache: Cache, stand_ins: Mapping[str, str]) -> Found:
    """Return what a cache holds, digests of computed files replaced by their names.

    The digest of the canonical text of an entry's inputs is checked to be the entry's place.
    """
    found = []
    names = dict(stand_ins)
    paths = sorted(cache.root.glob("v2/*/*/manifest.json"))
    known = [(path, json.loads(path.read_text(encoding="utf-8"))) for path in paths]
    for _, manifest in known:
        names[manifest["files"][manifest["main"]]["sha256"]] = f"<{manifest['kind']}>"
    for path, manifest in known:
        text = _canonical(manifest["inputs"])
        assert path.parts[-3:-1] == (manifest["kind"], _sha256(text))
        for digest, name in names.items():
            text = text.replace(digest, name)
        inputs = json.loads(text)
        found.append({"kind": manifest["kind"], "file": manifest["main"], "inputs": inputs})
    return _in_order(found)


def _in_order(found: Found) -> Found:
    return sorted(found, key=_canonical)


def _hold(case: str, found: Found) -> None:
    """Check that these are the entries that 0.1.0 would have made."""
    assert [_canonical(one) for one in _in_order(found)] == list(map(_canonical, GOLDEN[case]))


def test_an_entry_that_0_1_0_wrote_is_a_hit(cache: Cache) -> None:
    key = "76d3c7d97f4656f154ed8df935437a34ba03c668824992993215f1d4d647de7c"
    folder = f"v2/int8/{key}"
    write(cache.root, f"{folder}/manifest.json", KEPT.encode())
    graph = write(cache.root, f"{folder}/model.onnx", b"graph")
    inputs = {"recipe": {"keep": (), "bits": 7}, "platform": "é", "model": "a" * 64}
    entry = cache.get_or_build("int8", inputs, "model.onnx", Path.touch)
    assert (entry.hit, entry.path, entry.key) == (True, graph, key)
    anew = Cache(cache.root / "anew").get_or_build("int8", inputs, "model.onnx", _write_graph)
    assert anew.path.with_name("manifest.json").read_text() == KEPT, "and written as it was"


def _write_graph(path: Path) -> None:
    path.write_bytes(b"graph")


RUN = """
def test_embeddings(facenet_embeddings, facenet_reference, _facenet_embedder, facenet_engine):
    _facenet_embedder.embeddings(facenet_engine, flipped=True)
"""


def test_a_run_on_the_cpu(
    pytester: pytest.Pytester, source: Path, cache: Cache, tmp_path: Path
) -> None:
    """From the model's file to embeddings, by the fixtures of a run."""
    people = [f"Other_{number:03d}" for number in range(500)]
    for number, name in enumerate(people):
        write(tmp_path / "lfw", f"{name}/{name}_0001.png", picture(1000 + number))
    folder = write_set(tmp_path / "lfw", pairs=PAIRS)
    pytester.makepyfile(RUN)
    (pytester.path / "baselines").mkdir()
    (pytester.path / "baselines" / "gates.toml").write_text("schema = 1\n")
    result = pytester.runpytest_inprocess(
        f"--facenet-model={source}",
        f"--facenet-lfw={folder}",
        f"--facenet-cache={cache.root}",
        "--facenet-backend=onnxruntime",
        "--facenet-target=cpu-vnni",
        "--facenet-batch-size=2",
        "--precision=fp32,fp16,int8",
    )
    result.assert_outcomes(passed=3)
    found = load(folder)
    few = already_aligned(found.names[:8], found.paths[:8])
    pixels = few.load(np.arange(len(few.names)))
    faces = already_aligned(found.names, found.paths)
    stand_ins = {
        file_digest(source): "<source model>",
        hashlib.sha256(f"{pixels.shape}".encode() + pixels.tobytes()).hexdigest(): "<pixels>",
        faces.digest: "<faces>",
        Flipped(faces).digest: "<flipped faces>",
        _calibration(found): "<calibration>",
    }
    _hold("a run on the CPU", _entries(cache, stand_ins))


def _calibration(found: VerificationSet) -> str:
    return already_aligned(found.calibration_names, found.calibration_paths).digest


def test_graphs_of_every_recipe(prepared: PreparedModel, cache: Cache) -> None:
    for target in TARGETS:
        build_artefact("int8", prepared, target, Faces, cache, around="fp32")
    build_artefact("fp16", prepared, "cpu", Faces, cache)
    _hold("graphs", _entries(cache, {prepared.source.digest: "<source model>"}))


def test_a_graph_with_fp16_around_int8_has_a_key_of_its_own(
    prepared: PreparedModel, cache: Cache
) -> None:
    """It is the default for TensorRT since, and shares no entry with what 0.1.0 wrote."""
    for around in (None, "fp16"):
        made = build_artefact("int8", prepared, "tensorrt", Faces, cache, around=around)
    assert made.reason.startswith("hit")
    (entry,) = (one for one in _entries(cache, {}) if one["kind"] == "int8")
    recipe = entry["inputs"]["recipe"]
    changed = {"around": "fp16", "placement": "operands and concatenated"}
    (before,) = (
        one["inputs"]["recipe"]
        for one in GOLDEN["graphs"]
        if one["kind"] == "int8" and one["inputs"]["recipe"]["target"] == "tensorrt"
    )
    assert recipe == before | changed


def test_a_prepared_model_in_other_ways() -> None:
    """A PyTorch checkpoint depends on its exporter, a choice of edges on their names."""
    checkpoint = SourceModel(Path("mine.PT"), "mine", "a" * 64)
    graph = SourceModel(Path("mine.pb"), "mine", "b" * 64)
    inputs = [
        prepared_inputs(checkpoint, None, None),
        prepared_inputs(graph, None, "embeddings"),
        prepared_inputs(replace(graph, path=Path("mine.onnx")), "image", "rows"),
    ]
    found = [{"kind": "prepared", "file": "model.onnx", "inputs": one} for one in inputs]
    _hold("prepared models", found)


def test_the_sizes_of_a_model_come_from_its_prepared_model(
    prepared: PreparedModel, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facenet_validate.models.prepared.raw_model", None)
    sizes = model_sizes(prepared.source.path, cache)
    assert (sizes.image_size, sizes.embedding_size) == (SIZE, EMBEDDING)


def test_the_faces_of_a_proof_are_four_drawn_ones(source: Path, cache: Cache) -> None:
    prepare(source_model(source), cache, faces=proof_faces())
    drawn = np.stack([render_photo(person, 0) for person in range(4)])
    pixels = hashlib.sha256(b"(4, 160, 160, 3)" + drawn.tobytes()).hexdigest()
    (path,) = cache.root.glob("v2/proof/*/manifest.json")
    assert json.loads(path.read_text())["inputs"]["faces"] == pixels


def test_plans(tmp_path: Path, cache: Cache) -> None:
    """With the timing cache that their builds leave."""
    device = FakeDevice().identity
    graph = tmp_path / "graph.onnx"
    onnx.save(small_facenet(), graph)
    tensorrt = describe_library(FakeTensorRT("10.13.3.9"), "tensorrt")
    rtx = describe_library(FakeTensorRT("11.4.0.12"), "tensorrt-rtx")
    rtx = replace(rtx, features=replace(rtx.features, compute_capabilities=True))
    usual = BuildOptions((1, 8))
    options = BuildOptions.of(BuildRequest((8,), workspace_mib=64, optimization_level=2))
    digest = onnx_digest(graph)
    cached_plan(tensorrt, graph, digest, usual, cache, precision="int8", gpu=device)
    cached_plan(tensorrt, graph, digest, options, cache, precision="fp16", gpu=device)
    cached_plan(rtx, graph, digest, usual, cache, precision="fp32", gpu=device)
    cached_plan(rtx, graph, digest, usual, Cache(tmp_path / "b"), precision="fp32", gpu=None)
    found = _entries(cache, {digest: "<graph>"})
    assert _entries(Cache(tmp_path / "b"), {digest: "<graph>"})[0] in found, "made without a GPU"
    _hold("plans", found)


class GpuEngine:
    """Stands for an engine that a GPU runs: what it is, and any embeddings."""

    input = TensorInfo("input", "float32", ("N", 3, SIZE, SIZE))
    output = TensorInfo("embeddings", "float32", ("N", EMBEDDING))

    def __init__(self, *_: object, info: EngineInfo, kernels: object = None) -> None:
        del kernels
        self.info = info

    def run_many(self, batches: Any) -> Any:
        return (np.ones((len(batch), EMBEDDING), np.float32) for batch in batches)


def _engine(backend: Backend, prepared: PreparedModel, cache: Cache) -> Engine:
    context = EngineContext(
        model=prepared,
        target="tensorrt",
        cache=cache,
        request=BuildRequest((2,)),
        cpu=Cpu("A CPU", "details", 2),
        device=FakeDevice,
    )
    factory = EngineFactory(backend, context, Faces)
    return factory.engine(factory.artefact("fp16"))


def test_embeddings_of_engines_on_a_gpu(
    prepared: PreparedModel,
    cache: Cache,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", FakeTensorRT("10.13.3.9"))
    request.addfinalizer(find_library.cache_clear)
    for name in ("onnxruntime.cuda_engine.OnnxRuntimeCudaEngine", "tensorrt.engine.TensorRtEngine"):
        monkeypatch.setattr(f"facenet_validate.engines.{name}", GpuEngine)
    identity = FakeDevice().identity
    monkeypatch.setattr("facenet_validate.engines.device.driver.gpu_identity", lambda: identity)
    backends = (OnnxRuntimeCuda("4.5.6", "asked for"), TensorRt("10.13.3.9", "asked for"))
    for backend in backends:
        engine = _engine(backend, prepared, cache)
        cached_embeddings(engine, Faces(), 64, cache, cpu="A CPU, flags 01234567")
    found = _entries(cache, {prepared.source.digest: "<source model>"})
    _hold("a GPU", [entry for entry in found if entry["kind"] in ("embeddings", "plan")])


def test_the_digest_of_mirrored_faces() -> None:
    expected = "4cd4f19cc58b27628083181b303535118253ab2508d97304d63359db5536c88e"
    assert Flipped(Faces()).digest == expected


def test_the_digest_of_a_set_of_photos(tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.png" for name in "ab"]
    for seed, path in enumerate(paths):
        path.write_bytes(picture(seed))
    a, b = map(file_digest, paths)
    text = f'{{"aligner":"none","decoder":"opencv 3.2.1","photos":[["a","{a}"],["ö","{b}"]]}}'
    faces = already_aligned(["a", "ö"], paths)
    assert faces.digest == _sha256(text.replace("ö", "\\u00f6"))
    assert faces.part([0]).digest == _sha256(text.replace(f',["ö","{b}"]', ""))


@pytest.mark.parametrize(
    ("side", "aligner"),
    [
        (320, "mtcnn-margin32-160-2-opencv-3.2.1-onnxruntime-4.5.6"),
        (4112, "mtcnn-margin32-160-2-reduced-16-opencv-3.2.1-onnxruntime-4.5.6"),
    ],
)
def test_a_face_that_was_aligned_by_0_1_0_is_found(
    side: int, aligner: str, tmp_path: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facenet_validate.datasets.alignment.align_all", None)
    photo = tmp_path / "a.png"
    photo.write_bytes(picture(0, side))
    digest, png = file_digest(photo), picture(1)
    header = (
        f'{{"photo": "{digest}", "sha256": "{hashlib.sha256(png).hexdigest()}", '
        '"crop": [1.0, 2.0, 3.0, 4.0], "boxes": [[1.5, 2.0, 3.0, 4.0]], "checked": true}\n'
    )
    write(cache.root, f"faces/{aligner}/{digest[:2]}/{digest}.face", header.encode() + png)
    faces = faces_of(["a"], [photo], cache, workers=1)
    assert faces.read(0) == png
    text = f'{{"aligner":"{aligner}","decoder":"opencv 3.2.1","photos":[["a","{digest}"]]}}'
    assert faces.digest == _sha256(text)
    store = FaceStore(cache.root / "again")
    stored = FaceStore(cache.root / "faces" / aligner).get(digest)
    assert stored is not None
    store.put(digest, stored)
    (path,) = cache.root.glob("again/*/*.face")
    assert path.read_bytes() == header.encode() + png, "and written as it was"


def test_faces_that_were_drawn_by_0_1_0_are_found(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facenet_validate.datasets.synthetic_cache.write_synthetic_faces", None)
    folder = cache.root / "synthetic" / "synthetic-1-174-people-opencv-3.2.1"
    photo = write(folder, "A/A_0001.png", picture(0))
    (folder / "SHA256SUMS").write_text(f"{file_digest(photo)}  A/A_0001.png\n")
    assert synthetic_folder(cache) == folder


def test_the_digest_of_a_model_with_weights_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "mine.onnx"
    onnx.save(
        small_facenet(), path, save_as_external_data=True, location="weights", size_threshold=256
    )
    graph, weights = file_digest(path), file_digest(tmp_path / "weights")
    assert onnx_digest(path) == _sha256(
        f'{{"model":"{graph}","weights":{{"weights":"{weights}"}}}}'
    )


def test_losses_that_were_measured_by_tuning(
    source: Path, cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faces = [
        write(tmp_path / "faces", f"Other_{number:03d}.png", picture(number))
        for number in range(500)
    ]
    taken = []

    def digest(inputs: Mapping[str, Any]) -> str:
        taken.append(dict(inputs))
        return _sha256(_canonical(inputs))

    monkeypatch.setattr("facenet_validate.commands.quantize.inputs_digest", digest)
    command = ["quantize", str(source), "--cache", str(cache.root), "--target", "tensorrt"]
    command += ["--calibration", str(tmp_path / "faces"), "--tune", "--cosine", "0.9"]
    command += ["--around", "fp32"]
    assert main([*command, "-o", str(tmp_path / "out.onnx")]) == 0
    (inputs,) = taken
    assert [path.name for path in cache.root.glob("tuning/*.jsonl")] == [
        f"{_sha256(_canonical(inputs))}.jsonl"
    ]
    assert re.fullmatch("[0-9a-f]{64}", inputs["graph"])
    names = [path.stem for path in faces]
    assert inputs["calibration"] == already_aligned(names, faces).digest
    inputs |= {"graph": "<graph>", "calibration": "<calibration>"}
    _hold("tuning", [{"kind": "tuning", "file": ".jsonl", "inputs": inputs}])
