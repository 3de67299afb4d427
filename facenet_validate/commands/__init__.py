"""The commands of ``facenet-validate``: one module each, listed here for the parser."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from facenet_validate.base.paths import named_path
from facenet_validate.base.progress import Progress
from facenet_validate.commands.output import tell
from facenet_validate.commands.parsing import (
    NamesPath,
    NamesPaths,
    decimal,
    epoch,
    percentage,
    positive,
)
from facenet_validate.run.settings import default_cache


@dataclass(frozen=True)
class Command:
    """A command of the command line.

    Attributes
    ----------
    name : str
        What the user types; its module in this package has ``run(arguments)``.
    help : str
        One line.
    arguments : callable
        Adds the command's arguments to its parser.
    """

    name: str
    help: str
    arguments: Callable[[argparse.ArgumentParser], None]

    def run(self, arguments: argparse.Namespace) -> None:
        """Run the command; its module is imported only now."""
        import_module(f"{__name__}.{self.name}").run(arguments)


def _source(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source",
        metavar="SRC",
        nargs="?",
        default="pretrained",
        help="a frozen graph .pb, an .onnx of any exporter, a facenet-pytorch .pt; default: "
        "pretrained, the packaged model",
    )
    parser.add_argument(
        "--input", metavar="NAME", help="the image input, where the source has several"
    )
    parser.add_argument(
        "--output", metavar="NAME", help="the embedding: an output, or any tensor of the graph"
    )


def _prepare(parser: argparse.ArgumentParser) -> None:
    _source(parser)
    parser.add_argument(
        "-o",
        dest="out",
        metavar="OUT",
        action=NamesPath,
        help="where to write; default: SRC.prepared.onnx in the current folder",
    )
    parser.add_argument(
        "--faces",
        metavar="DIR",
        action=NamesPath,
        help="prove the model on the aligned face photos in this folder, not on drawn ones",
    )
    parser.add_argument(
        "--cache", metavar="DIR", action=NamesPath, help="default: the plugin's, or FACENET_CACHE"
    )


def _quantize(parser: argparse.ArgumentParser) -> None:
    from facenet_validate.base.vocabulary import TARGETS
    from facenet_validate.models.quantization.recipes import AROUND, METHODS

    _source(parser)
    parser.add_argument(
        "--precision", choices=("int8", "fp16"), default="int8", help="default: int8"
    )
    parser.add_argument(
        "--target",
        choices=("auto", *TARGETS),
        default="auto",
        help="what the INT8 graph is for; default: this CPU",
    )
    parser.add_argument(
        "-o",
        dest="out",
        metavar="OUT",
        action=NamesPath,
        help="where to write; default: SRC.int8-TARGET.onnx or SRC.fp16.onnx",
    )
    photos = parser.add_argument_group("faces to calibrate on; drawn ones by default")
    photos.add_argument(
        "--calibration", metavar="DIR", action=NamesPath, help="at least 500 aligned faces, 160×160"
    )
    photos.add_argument(
        "--lfw",
        metavar="DIR",
        action=NamesPath,
        help="a verification set: its photos of people outside the pairs, aligned here",
    )
    recipe = parser.add_argument_group("the recipe")
    recipe.add_argument("--method", choices=METHODS, default="percentile", help="of the ranges")
    recipe.add_argument("--percentile", type=decimal, default=99.999, help="default: 99.999")
    recipe.add_argument(
        "--keep", metavar="NODE", action="append", default=[], help="leave in floating point"
    )
    recipe.add_argument(
        "--around",
        choices=AROUND,
        help="the floating point around INT8 for TensorRT; default: fp16",
    )
    search = parser.add_argument_group("the search for what to leave in floating point")
    search.add_argument(
        "--tune",
        action="store_true",
        help="rank blocks and nodes, spare as few as reach the target",
    )
    search.add_argument(
        "--cosine", type=decimal, default=0.9995, help="mean row cosine to reach; default: 0.9995"
    )
    search.add_argument(
        "--paired",
        action="store_true",
        help="reach the paired accuracy gate on the pairs of --lfw instead",
    )
    parser.add_argument(
        "--cache", metavar="DIR", action=NamesPath, help="default: the plugin's, or FACENET_CACHE"
    )


def _engine_options(parser: argparse.ArgumentParser) -> None:
    """Add what a command asks of an engine that was built elsewhere."""
    from facenet_validate.base.vocabulary import PRECISIONS
    from facenet_validate.engines.backends import BACKEND_NAMES

    parser.add_argument(
        "--backend",
        choices=("auto", *BACKEND_NAMES),
        help="what runs the engine; also FACENET_BACKEND; default: auto",
    )
    parser.add_argument(
        "--precision", choices=PRECISIONS, help="of a plan, which does not tell its own"
    )


def _diagnose(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "engine", metavar="ENGINE", help="an ONNX graph, or a TensorRT plan you trust"
    )
    parser.add_argument(
        "--against",
        metavar="MODEL",
        help="the FP32 source model it should be; default: the pretrained 20180408-102900",
    )
    faces = parser.add_argument_group("faces to try it on; by default those of the run's set")
    faces.add_argument(
        "--faces", metavar="DIR", action=NamesPath, help="aligned face photos in this folder"
    )
    faces.add_argument("--lfw", metavar="DIR", help="a verification set; also FACENET_LFW")
    _engine_options(parser)
    parser.add_argument(
        "--full", action="store_true", help="try more, also where the engine agrees with the model"
    )
    parser.add_argument("--json", action="store_true", help="write JSON, with every node")
    parser.add_argument("--cache", metavar="DIR", help="default: the plugin's, or FACENET_CACHE")


def _embed(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "set",
        metavar="SET",
        action=NamesPath,
        help="a folder of photos, or of a folder for each person; LFW's too",
    )
    parser.add_argument(
        "--engine",
        metavar="FILE",
        required=True,
        help="an ONNX graph, or a TensorRT plan you trust",
    )
    parser.add_argument(
        "--model", metavar="MODEL", help="its FP32 source model; default: the pretrained one"
    )
    parser.add_argument(
        "--out",
        metavar="DIR",
        action=NamesPath,
        help="a new folder, or one to go on with; default: SET.embeddings in the current folder",
    )
    parser.add_argument(
        "--shard-rows", metavar="N", type=positive, default=4096, help="photos of a shard: 4096"
    )
    parser.add_argument(
        "--batch", metavar="N", type=positive, default=64, help="photos that run at once: 64"
    )
    _engine_options(parser)
    parser.add_argument(
        "--ray",
        action="store_true",
        help="embed with Ray Data, here or on the cluster of RAY_ADDRESS",
    )
    parser.add_argument(
        "--workers",
        metavar="N",
        type=positive,
        help="engines that Ray holds; default: one a GPU, else one a host",
    )
    parser.add_argument("--cache", metavar="DIR", help="default: the plugin's, or FACENET_CACHE")


def _cache(parser: argparse.ArgumentParser) -> None:
    folder = argparse.ArgumentParser(add_help=False)
    folder.add_argument(
        "--cache", metavar="DIR", action=NamesPath, help="default: the plugin's, or FACENET_CACHE"
    )
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("list", parents=[folder], help="what is kept, of which size and age")
    explain = actions.add_parser("explain", parents=[folder], help="what made an entry miss")
    explain.add_argument(
        "entry",
        metavar="KIND[/KEY]",
        nargs="?",
        help="an entry by its key's first digits; default: the two newest of each kind",
    )
    actions.add_parser(
        "verify", parents=[folder], help="check all digests; exit with 1 where one is wrong"
    )
    prune = actions.add_parser(
        "prune", parents=[folder], help="remove leftovers, damaged and old versions' entries"
    )
    prune.add_argument("--older-than", metavar="30d", help="also what was not used for so long")
    prune.add_argument(
        "--keep-bytes", metavar="20G", help="also what was used longest ago, beyond this size"
    )
    prune.add_argument("--dry-run", action="store_true", help="only say what would go")
    clear = actions.add_parser("clear", parents=[folder], help="remove everything that is kept")
    clear.add_argument("kind", metavar="KIND", nargs="?", help="of one kind only")
    clear.add_argument("--yes", action="store_true", help="do it")


def _fetch(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dataset", choices=("lfw",), help="Labeled Faces in the Wild, 230 MB")
    parser.add_argument(
        "--photos",
        choices=("funneled", "original"),
        default="funneled",
        help="default: funneled, the nearest to deep-funneled that has a published digest",
    )
    parser.add_argument(
        "--to", metavar="DIR", action=NamesPath, help="a new folder; default: one in the cache"
    )
    parser.add_argument(
        "--mirror",
        metavar="URL",
        help="address below which the files lie by name; also FACENET_LFW_MIRROR",
    )
    parser.add_argument(
        "--cache", metavar="DIR", action=NamesPath, help="default: the plugin's, or FACENET_CACHE"
    )


def _history(parser: argparse.ArgumentParser) -> None:
    chosen = argparse.ArgumentParser(add_help=False)
    chosen.add_argument(
        "--source",
        metavar="PATH",
        action=NamesPaths,
        default=[],
        help="a .jsonl baseline, a JSON file of pytest-benchmark, a results.json, or a folder that "
        "holds any of them at any depth; repeatable; default: ./baselines and ./.benchmarks",
    )
    asked = chosen.add_argument_group("of these, only")
    asked.add_argument("--precision", choices=("fp32", "fp16", "int8"))
    asked.add_argument("--batch", metavar="N", type=positive, help="images in a batch")
    asked.add_argument("--backend", metavar="NAME", help="onnxruntime, tensorrt, tensorrt-rtx")
    asked.add_argument("--device", metavar="TEXT", help="a part of the device's name")
    asked.add_argument("--since", metavar="DATE", help="recorded then or later: 2026-01-31")
    asked.add_argument("--epoch", metavar="N", type=epoch)
    asked.add_argument(
        "--limit", metavar="N", type=positive, help="the newest so many of each series"
    )
    written = argparse.ArgumentParser(add_help=False)
    written.add_argument("--force", action="store_true", help="replace a file that exists")
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser(
        "list", parents=[chosen], help="the sessions of each series, and its change points"
    )
    show = actions.add_parser("show", parents=[chosen], help="one session whole")
    show.add_argument("id", metavar="ID", help="its first digits, latest, or a file of one session")
    compare = actions.add_parser(
        "compare",
        parents=[chosen],
        help="is B slower than A? exits with 0: no, 1: yes, 2: error, 3: inconclusive",
    )
    for side, what in (("A", "before"), ("B", "after")):
        compare.add_argument(
            side.lower(),
            metavar=side,
            help=f"{what}: an id, latest, latest~N, epoch:N, commit:PREFIX, or a file",
        )
    compare.add_argument(
        "--allow",
        metavar="PERCENT",
        type=percentage,
        default=3.0,
        help="how much slower B may be; default: 3",
    )
    plot = actions.add_parser(
        "plot", parents=[chosen, written], help="a picture of the series over time"
    )
    plot.add_argument(
        "-o",
        dest="out",
        metavar="FILE",
        action=NamesPath,
        required=True,
        help="ends in .png or .svg",
    )
    plot.add_argument("--ratio", action="store_true", help="the speed beside FP32's, not latency")
    export = actions.add_parser(
        "export", parents=[chosen, written], help="the sessions as CSV, a row each"
    )
    export.add_argument(
        "-o", dest="out", metavar="FILE", action=NamesPath, help="default: standard output"
    )


def _report(parser: argparse.ArgumentParser) -> None:
    parser.usage = (
        "facenet-validate report DIR\n"
        "       facenet-validate report compare A B [--out FILE.html]\n"
        "       facenet-validate report merge A B ... --out DIR [--expect NAME ...]"
    )
    parser.add_argument(
        "what",
        metavar="DIR",
        nargs="+",
        help="write report.html of a report again; compare: exits with 1 where a gate is worse in "
        "B; merge: the runs of several machines into one verdict; exits with 1 where it is a fail, "
        "or where they contradict each other",
    )
    parser.add_argument(
        "--out",
        metavar="PATH",
        action=NamesPath,
        help="of compare: a page to write too; of merge: a new folder",
    )
    parser.add_argument(
        "--expect",
        metavar="NAME",
        nargs="+",
        default=[],
        help="of merge: the names of all folders that must be there; one that is not is a fail",
    )


def _gates(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True)
    propose = actions.add_parser(
        "propose",
        help="limits with margins from the reports of healthy engines, as a diff of gates.toml",
    )
    propose.add_argument(
        "reports",
        metavar="DIR",
        nargs="+",
        help="a folder of --facenet-report, or its results.json",
    )
    propose.add_argument(
        "--gates",
        metavar="FILE",
        action=NamesPath,
        help="default: the nearest baselines/gates.toml, here or above",
    )
    propose.add_argument(
        "--write", action="store_true", help="change the file too; by default nothing is written"
    )


def _verify(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder", metavar="DIR", action=NamesPath, help="embeddings that embed wrote"
    )
    parser.add_argument(
        "--against",
        metavar="DIR",
        action=NamesPath,
        help="the same photos by the engine that made the stored templates",
    )
    parser.add_argument(
        "--threshold", metavar="T", type=decimal, help="squared L2 of an operating point"
    )
    parser.add_argument(
        "--work",
        metavar="FOLDER",
        action=NamesPath,
        help="keep what was compared there: stopped and started again, it goes on",
    )
    parser.add_argument(
        "--ray", action="store_true", help="compare on Ray, here or on the cluster of RAY_ADDRESS"
    )
    parser.add_argument(
        "--workers", metavar="N", type=positive, help="threads, or tasks of Ray, at a time"
    )
    parser.add_argument("--json", action="store_true", help="write JSON, with every digit")


COMMANDS = (
    Command(
        "prepare", "convert a model to the prepared model, and prove that it is the same", _prepare
    ),
    Command(
        "inspect",
        "say what a model consists of, and whether it can be prepared; or what is in a .bin set",
        _source,
    ),
    Command("quantize", "make an FP16 or INT8 graph of a model", _quantize),
    Command("diagnose", "say why an engine is not its model: exits with 1 if it is not", _diagnose),
    Command("embed", "embed any number of photos into a folder of shards", _embed),
    Command("verify", "all pairs and identification of embeddings in shards", _verify),
    Command("fetch", "download a verification set", _fetch),
    Command("cache", "say what the cache holds, check it, make room", _cache),
    Command("report", "a report's page again, two reports side by side, several as one", _report),
    Command("gates", "limits from what was measured, as a diff of gates.toml", _gates),
    Command("history", "the measured sessions over time: list, compare, plot", _history),
)


def source_path(source: str) -> Path | None:
    """Return the file of a source, None for the packaged model.

    Raises
    ------
    SettingsError
        If it is no path, or the system refuses to look at it.
    """
    return None if source == "pretrained" else named_path(source, "SRC")


def variable_path(variable: str) -> Path | None:
    """Return the path in an environment variable; None where it is not set, or empty.

    Raises
    ------
    SettingsError
        If it is no path, or the system refuses to look at it.
    """
    text = os.environ.get(variable)
    return named_path(text, variable) if text else None


def cache_root(given: Path | None) -> Path:
    """Return the cache folder: the one named, else the plugin's default.

    Raises
    ------
    SettingsError
        If the system refuses to look at it.
    """
    return given or variable_path("FACENET_CACHE") or default_cache()


def progress() -> Progress:
    """Return progress: a bar on a terminal, else lines on standard error."""
    return Progress(_to_stderr, interactive=sys.stdout.isatty())


def _to_stderr(line: str) -> None:
    tell(f"{line}\n")


def table(rows: list[tuple[str, str]]) -> str:
    """Return (subject, text) rows as aligned lines."""
    width = max(len(subject) for subject, _ in rows)
    return "\n".join(f"{subject:{width}}  {text}" for subject, text in rows) + "\n"
