"""The peers of our diagnosis: how `compare_diagnosis_peers.py` asks them, and what they print."""

from __future__ import annotations

import re
import resource
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facenet_validate.base.vocabulary import Precision

ORT_TOOLS = Path(__file__).with_name("debug_tools_of_onnxruntime.py")
FEW = 2
"""Faces on which peers look at every tensor. They write and read them whole: 40 MB a face."""

Images = NDArray[np.float32]


@dataclass(frozen=True)
class Fault:
    """A graph with a planted fault.

    Attributes
    ----------
    path : Path
        The graph. Its tensors have the names of the sound one.
    planted : str
        What is wrong with it.
    precision : str
        Of the graph.
    alike : tuple of str
        Arguments with which Polygraphy compares: its default tolerance is for FP32.
    unlike : tuple of str
        Arguments that leave out tensors which the sound graph does not have.
    failing : tuple of str
        Arguments that say what a failure of a reduced graph is.
    """

    path: Path
    planted: str
    precision: Precision = "fp32"
    alike: tuple[str, ...] = ()
    unlike: tuple[str, ...] = ()
    failing: tuple[str, ...] = ()


@dataclass(frozen=True)
class Said:
    """What a tool said.

    Attributes
    ----------
    short : str
        For the table.
    lines : tuple of str
        As printed.
    seconds : float
        Of processors.
    """

    short: str
    lines: tuple[str, ...]
    seconds: float


class Polygraphy:
    """Polygraphy's command line, by its own guide: compare, compare every tensor, reduce."""

    def __init__(self, command: Path, folder: Path, batch: Images) -> None:
        self.command, self.folder = command, folder
        for name, faces in (("all", batch), ("few", batch[:FEW])):
            np.save(folder / f"{name}.npy", faces)
            feed = f"yield {{'input': np.load({str(folder / f'{name}.npy')!r})}}"
            text = f"import numpy as np\n\n\ndef load_data():\n    {feed}\n"
            (folder / f"{name}.py").write_text(text)
        self._reference("all", "outputs-all.json")
        self._reference("few", "tensors-few.json", "--onnx-outputs", "*")
        self._run("data", "merge", "inputs-few.json", "tensors-few.json", "-o", "fed-few.json")

    def _reference(self, faces: str, out: str, *more: str) -> None:
        feed = ("--data-loader-script", f"{faces}.py", "--save-inputs", f"inputs-{faces}.json")
        self._run("run", "reference.onnx", "--onnxrt", *feed, *more, "--save-outputs", out)

    def _run(self, *arguments: str) -> tuple[list[str], float]:
        command = [str(self.command), *arguments]
        if "--check" not in arguments:
            command += ["--log-format", "no-colors"]
        return _processed(command, self.folder)

    def outputs(self, fault: Fault) -> Said:
        """Compare the embeddings."""
        lines, seconds = self._compared(fault.path.name, "inputs-all.json", "outputs-all.json")
        needed = next(one for one in lines if "Minimum Required Tolerance" in one)
        ((_, verdict),) = _verdicts([one for one in lines if one != needed])
        found = re.search(r"abs=([\d.e+-]+)", needed)
        short = f"{'FAILED' if 'FAILED' in verdict else 'PASSED'}, abs {found and found[1]}"
        return Said(short, (needed, verdict, *_last(lines)), seconds)

    def tensors(self, fault: Fault) -> Said:
        """Compare every tensor."""
        lines, seconds = self._compared(
            fault.path.name,
            "inputs-few.json",
            "tensors-few.json",
            *("--onnx-outputs", "*", *fault.unlike, *fault.alike),
        )
        verdicts = _verdicts(lines)
        failed = [(name, line) for name, line in verdicts if "FAILED" in line]
        first = f"first `{failed[0][0]}`" if failed else "none fails"
        short = f"{len(failed)} of {len(verdicts)} fail, {first}"
        return Said(short, (*(line for _, line in failed[:1]), *_last(lines)), seconds)

    def _compared(
        self, graph: str, inputs: str, outputs: str, *more: str
    ) -> tuple[list[str], float]:
        return self._run(
            *("run", graph, "--onnxrt", "--load-inputs", inputs, "--load-outputs", outputs, *more)
        )

    def reduced(self, fault: Fault) -> Said:
        """Reduce the graph to the nodes that fail when they are fed with the sound tensors."""
        fixed, small = f"fixed-{fault.path.name}", f"reduced-{fault.path.name}"
        shape = f"input:[{FEW},3,160,160]"
        _, before = self._run(
            "surgeon", "sanitize", fault.path.name, "-o", fixed, "--override-input-shapes", shape
        )
        check = (str(self.command), "run", "polygraphy_debug.onnx", "--onnxrt")
        fed = ("--load-inputs", "fed-few.json")
        lines, seconds = self._run(
            *("debug", "reduce", fixed, "-o", small, "--mode", "bisect", *fed, "--log-format"),
            *(
                "no-colors",
                *fault.failing,
                "--check",
                *check,
                *fed,
                "--load-outputs",
                "tensors-few.json",
            ),
            *fault.alike,
        )
        end = [one for one in lines if "iteration(s) | Passed" in one] + _last(lines)
        if not (self.folder / small).exists():
            return Said("no graph left", tuple(end), before + seconds)
        nodes, after = self._run("inspect", "model", small, "--show", "layers")
        left = [one.strip() for one in nodes if re.match(r"\s*Node \d+ ", one)]
        short = f"{len(left)} nodes left" + (f": `{left[0].split('|')[-1].strip()}`")
        return Said(short, (*end, *left), before + seconds + after)


def onnxruntime_tools(python: Path, folder: Path, fault: Fault) -> Said:
    """Ask ONNX Runtime's quantization debug tools."""
    command = [str(python), str(ORT_TOOLS), "reference.onnx", fault.path.name, "few.npy"]
    lines, seconds = _processed(command, folder)
    matched = [one.split(": ")[1].split()[0] for one in lines if one.startswith("create_")]
    first = next((one.split()[-1] for one in lines if "first that differs" in one), None)
    worst = next((one.strip() for one in lines if "xmodel_err" in one), None)
    short = f"{matched[0]} tensors and {matched[1]} weights matched"
    short += f", worst {' '.join(worst.split()[1:3])} at `{worst.split()[-1]}`" if worst else ""
    return Said(f"{short}; by hand: first `{first}`", tuple(lines), seconds)


def _processed(command: Sequence[str], folder: Path) -> tuple[list[str], float]:
    """Run a command; return its lines, and the processor seconds it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = subprocess.run(
        command,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return found.stdout.replace(f"{folder}/", "").splitlines(), seconds


def _last(lines: Sequence[str]) -> list[str]:
    """Return the line that ends a command of Polygraphy's, without the command that it repeats."""
    return [
        one.split(" | Command")[0]
        for one in lines
        if "] PASSED | Run" in one or "] FAILED | Run" in one
    ][-1:]


def _verdicts(lines: Sequence[str]) -> list[tuple[str, str]]:
    """Return each compared tensor, in Polygraphy's order, with the line that passes or fails it."""
    found, name = [], ""
    for line in lines:
        compared = re.search(r"Comparing Output: '([^']+)'", line)
        if compared:
            name = compared[1]
        elif name and ("FAILED" in line or "PASSED" in line):
            found.append((name, line))
            name = ""
    return found
