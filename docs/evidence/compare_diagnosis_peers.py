"""Five planted faults, given to Polygraphy, to ONNX Runtime's debug tools, and to our diagnosis.

    python -m venv PEERS && PEERS/bin/pip install polygraphy onnx-graphsurgeon onnxruntime onnx
    python docs/evidence/compare_diagnosis_peers.py --lfw DIR --work DIR --peers-python FILE

Each fault is planted into the pretrained model's graph, and every tool gets that graph, the sound
one, and the same 16 aligned faces of LFW. What each says, and the processor seconds that it takes,
are written between the markers in docs/evidence/diagnosis_peers.md. Lines are copied as printed;
paths are cut to the file's name. FILE is PEERS/bin/python.
"""

from __future__ import annotations

import argparse
import copy
import math
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from measure_gates import say, write_lines, write_table
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from peers_of_diagnosis import Fault, Images, Polygraphy, Said, onnxruntime_tools
from pretrained_engines import PretrainedEngines

from facenet_validate.base.preprocessing import standardize
from facenet_validate.base.vocabulary import Precision
from facenet_validate.cache import Cache
from facenet_validate.datasets.faces import AlignedFaces
from facenet_validate.datasets.layout import find_layout
from facenet_validate.datasets.lfw import load_set
from facenet_validate.diagnosis import diagnosing
from facenet_validate.diagnosis.case import Case
from facenet_validate.diagnosis.telling import numbers, one_line, words
from facenet_validate.engines.onnxruntime.engine import OnnxRuntimeEngine
from facenet_validate.models.prepared import load_onnx

PAGE = Path(__file__).with_name("diagnosis_peers.md")
PEERS = ("polygraphy", "onnxruntime", "onnx")
FACES, CALIBRATED_ON = 16, 32
SEED = 0


# -- planting --------------------------------------------------------------------------------------


def planted(sound: onnx.ModelProto, folder: Path, calibration: NDArray[np.uint8]) -> list[Fault]:
    """Write the five graphs."""
    convolutions = [node for node in sound.graph.node if node.op_type == "Conv"]
    first, middle = convolutions[0], convolutions[len(convolutions) // 2]
    random = np.random.default_rng(SEED)

    def written(name: str, change: Callable[[onnx.GraphProto], None]) -> Path:
        changed = copy.deepcopy(sound)
        change(changed.graph)
        onnx.save(changed, folder / f"{name}.onnx")
        return folder / f"{name}.onnx"

    def twice(graph: onnx.GraphProto) -> None:
        weight = _constant(graph, first.input[1])
        bias = _constant(graph, first.input[2])
        _put(graph, first.input[1], weight / 128)
        _put(graph, first.input[2], bias - 127.5 / 128 * weight.sum(axis=(1, 2, 3)))

    def shuffled(graph: onnx.GraphProto) -> None:
        _put(graph, middle.input[1], random.permutation(_constant(graph, middle.input[1])))

    def colours(graph: onnx.GraphProto) -> None:
        _put(graph, first.input[1], _constant(graph, first.input[1])[:, ::-1])

    return [
        Fault(written("colours", colours), "red and blue exchanged in the first weights"),
        Fault(written("twice", twice), "a second standardization folded into the first weights"),
        Fault(
            _quantised(folder, calibration),
            "INT8 by ONNX Runtime, calibrated on faces of 0 to 255",
            "int8",
            ("--compare", "cosine_similarity", "--cosine-similarity-threshold", "0.98"),
            (
                "--onnx-exclude-outputs",
                "*_QuantizeLinear_Output",
                "*_DequantizeLinear_Output",
                "*/bias",
            ),
            # By default a graph that cannot be compared fails too: names in Q/DQ pairs are new.
            ("--fail-regex", r"min required: [\d.]+\) \| FAILED"),
        ),
        Fault(written("layer", shuffled), f"weights of {middle.name} in another order"),
        Fault(written("norm", _without_norm), "the L2 norm missing"),
    ]


def _constant(graph: onnx.GraphProto, name: str) -> NDArray[np.float32]:
    return numpy_helper.to_array(next(one for one in graph.initializer if one.name == name))


def _put(graph: onnx.GraphProto, name: str, values: NDArray[Any]) -> None:
    place = next(one for one in graph.initializer if one.name == name)
    place.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values, np.float32), name))


def _without_norm(graph: onnx.GraphProto) -> None:
    output = graph.output[0].name
    last = next(node for node in graph.node if output in node.output)
    embedding = last.input[0]
    kept = [n for n in graph.node if not n.name.startswith(output)]
    del graph.node[:]
    graph.node.extend([*kept, helper.make_node("Identity", [embedding], [output], name=output)])


def _quantised(folder: Path, calibration: NDArray[np.uint8]) -> Path:
    """Quantise by ONNX Runtime with 7-bit weights, whose sums saturate on no CPU."""
    from onnxruntime.quantization import CalibrationDataReader, quantize_static

    raw = calibration.transpose(0, 3, 1, 2).astype(np.float32)

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._batches = iter(np.array_split(raw, len(raw) // 8))

        def get_next(self) -> dict[str, Images] | None:
            batch = next(self._batches, None)
            return None if batch is None else {"input": batch}

    out = folder / "calibration.onnx"
    quantize_static(
        str(folder / "reference.onnx"), str(out), Reader(), per_channel=True, reduce_range=True
    )
    return out


# -- ours ------------------------------------------------------------------------------------------


def ours(
    engines: PretrainedEngines, faces: NDArray[np.uint8], names: tuple[str, ...], fault: Fault
) -> Said:
    """Ask our diagnosis, with every experiment."""

    def loaded(path: Path, precision: Precision) -> OnnxRuntimeEngine:
        return OnnxRuntimeEngine(
            path,
            digest=path.stem,
            precision=precision,
            artefact=path.name,
            device=engines.cpu.name,
            threads=engines.cpu.cores,
            target=engines.target,
        )

    # A limit by the clock would tell how busy the machine is.
    diagnosing.FULL_SECONDS = math.inf
    begun = time.process_time()
    with (
        loaded(fault.path, fault.precision) as engine,
        loaded(fault.path.with_name("reference.onnx"), "fp32") as reference,
    ):
        case = Case(engine, reference, engines.model, faces, names, fault.path)
        found = diagnosing.diagnose(case, full=True)
    seconds = time.process_time() - begun
    lines = f"{words(found)}\n{numbers(found)}".splitlines()
    return Said(one_line(found), tuple(lines), seconds)


# -- the page --------------------------------------------------------------------------------------


def main() -> None:
    """Plant, ask, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lfw", type=Path, required=True, metavar="DIR")
    parser.add_argument("--work", type=Path, required=True, metavar="DIR", help="cache folder")
    parser.add_argument("--peers-python", type=Path, required=True, metavar="FILE")
    parser.add_argument("--only", nargs="*", metavar="NAME", help="faults; nothing is written")
    arguments = parser.parse_args()
    # The interpreter of a virtual environment is a link, which must not be followed.
    python = arguments.peers_python.absolute()
    with tempfile.TemporaryDirectory() as name:
        _compare(arguments, python, Path(name))


def _compare(arguments: argparse.Namespace, python: Path, folder: Path) -> None:
    engines = PretrainedEngines(Cache(arguments.work))
    found = load_set(
        find_layout(arguments.lfw), name="lfw", title="LFW", calibration_images=CALIBRATED_ON
    )
    rows = np.linspace(0, len(found.names) - 1, FACES).astype(int).tolist()
    names = tuple(found.names[row] for row in rows)
    faces = _loaded(engines.aligned(names, tuple(found.paths[row] for row in rows)))
    others = _loaded(engines.aligned(found.calibration_names, found.calibration_paths))
    sound = load_onnx(engines.model.entry.path)
    onnx.save(sound, folder / "reference.onnx")
    faults = [
        fault
        for fault in planted(sound, folder, others)
        if arguments.only is None or fault.path.stem in arguments.only
    ]
    polygraphy = Polygraphy(python.with_name("polygraphy"), folder, standardize(faces))
    table, seconds, printed = [], [], []
    for fault in faults:
        asked = {
            "Polygraphy, embeddings": polygraphy.outputs(fault),
            "Polygraphy, every tensor": polygraphy.tensors(fault),
            "Polygraphy, `debug reduce`": polygraphy.reduced(fault),
            "ONNX Runtime's debug tools": onnxruntime_tools(python, folder, fault),
            "facenet_validate": ours(engines, faces, names, fault),
        }
        table.append([fault.planted, *(said.short for said in asked.values())])
        seconds.append([fault.planted, *(f"{said.seconds:.0f}" for said in asked.values())])
        printed += [f"**{fault.planted}**", ""]
        for tool, said in asked.items():
            printed += [f"{tool}:", "", "```text", *said.lines, "```", ""]
        say("\n".join([*table[-1], *printed[-60:]]))
    if arguments.only is None:
        head = ["planted", *asked]
        write_table(PAGE, "says", head, table)
        write_table(PAGE, "seconds", head, seconds)
        write_lines(PAGE, "printed", printed[:-1])
        write_lines(PAGE, "versions", [f"Peers: {_versions(python)}."])


def _loaded(faces: AlignedFaces) -> NDArray[np.uint8]:
    return faces.load(np.arange(len(faces.names)))


def _versions(python: Path) -> str:
    """Return the versions of the peers."""
    program = "from importlib.metadata import version as v; import sys; "
    program += "print(', '.join(f'{n} {v(n)}' for n in sys.argv[1:]))"
    return subprocess.run(
        [str(python), "-c", program, *PEERS], capture_output=True, text=True, check=True
    ).stdout.strip()


if __name__ == "__main__":
    main()
