"""The options of a run: a row has the flag, the variable, the ini key and the help of one."""

from __future__ import annotations

from dataclasses import dataclass

from facenet_validate.base.threshold import METRICS
from facenet_validate.base.vocabulary import PRECISIONS, TARGETS
from facenet_validate.engines.backend import PROFILES
from facenet_validate.engines.backends import BACKEND_NAMES
from facenet_validate.models.quantization.recipes import AROUND, MINIMUM_CALIBRATION_IMAGES

PROTOCOLS = ("plain", "davidsandberg")
SETS = ("orl", "synthetic")
SCOPES = ("auto", "device", "end-to-end")
DIAGNOSES = ("auto", "off", "full")
CALIBRATION_IMAGES = 512


@dataclass(frozen=True)
class Option:
    """An option with its flags, ini key and variable.

    Attributes
    ----------
    name : str
        Ini key; the variable is the same in capitals.
    help : str
        One line.
    flag : str
        On the command line.
    metavar : str or None
        Placeholder in ``--help``; None for a switch.
    repeated : bool
        Whether the flag may be given several times.
    alias : str or None
        A shorter flag, where no other plugin has it.
    """

    name: str
    help: str
    flag: str = ""
    metavar: str | None = None
    repeated: bool = False
    alias: str | None = None

    @property
    def variable(self) -> str:
        """The environment variable's name."""
        return self.name.upper()


def _option(
    name: str,
    metavar: str | None,
    text: str,
    *,
    repeated: bool = False,
    alias: str | None = None,
) -> Option:
    return Option(name, text, "--" + name.replace("_", "-"), metavar, repeated, alias)


def _choice(*values: str) -> str:
    return f"{{{','.join(values)}}}"


OPTIONS: tuple[Option, ...] = (
    _option(
        "facenet_precision",
        _choice(*PRECISIONS),
        "precisions to validate; comma-separated or repeated (default: fp16,int8)",
        repeated=True,
        alias="--precision",
    ),
    _option(
        "facenet_backend",
        _choice("auto", *BACKEND_NAMES),
        "what runs the engines (default: auto: TensorRT where it and a GPU are, else the CPU)",
    ),
    _option(
        "facenet_target",
        _choice("auto", *TARGETS),
        "what INT8 recipes are made for (default: auto, by the CPU's flags)",
    ),
    _option(
        "facenet_int8_around",
        _choice(*AROUND),
        "the floating point around INT8 in a recipe for TensorRT (default: fp16)",
    ),
    _option(
        "facenet_model",
        "PATH",
        "source model, .pb, .onnx or .pt (default: the pretrained 20180408-102900)",
    ),
    _option(
        "facenet_engine",
        "PATH",
        "validate this engine, built elsewhere: an ONNX graph, or a TensorRT plan you trust",
    ),
    _option(
        "facenet_calibration",
        "{set,faces:DIR,packaged}",
        "what INT8 is calibrated on: photos of the data set (default), aligned faces in a folder, "
        "or the faces this package draws",
    ),
    _option(
        "facenet_calibration_images",
        "N",
        "photos of the set's other people INT8 is calibrated on (default: "
        f"{CALIBRATION_IMAGES}, and at least {MINIMUM_CALIBRATION_IMAGES} unless fewer are asked "
        "for)",
    ),
    _option(
        "facenet_lfw", "DIR", "folder with pairs.txt and LFW's photos (default: see --facenet-set)"
    ),
    _option(
        "facenet_set",
        _choice("auto", *SETS),
        "what is judged on without --facenet-lfw: ORL's photos, or faces drawn here (default: "
        "auto: the photos where the extra pretrained has installed them)",
    ),
    _option(
        "facenet_pairs",
        "[NAME=]FILE",
        "a further verification set: a CSV left,right,same[,fold][,group] beside its photos, or an "
        "InsightFace .bin",
        repeated=True,
    ),
    _option(
        "facenet_protocol",
        _choice(*PROTOCOLS),
        "how pairs are scored: squared L2 (default), or flips, mean subtracted, angle",
    ),
    _option(
        "facenet_threshold",
        "T",
        "the threshold production decides at: FMR and FNMR there are judged",
    ),
    _option(
        "facenet_metric",
        _choice(*METRICS),
        "what the threshold is of: squared L2 distance (default), L2 distance, or cosine "
        "similarity, of unit embeddings",
    ),
    _option("facenet_all_pairs", None, "also compare every pair of photos of the people in pairs"),
    _option(
        "facenet_against",
        "PATH",
        "compare with this engine too: its decisions and its speed",
    ),
    _option(
        "facenet_require",
        "NAME",
        "fail if this data set's gates are not evaluated: lfw, or a --facenet-pairs set",
        repeated=True,
    ),
    _option(
        "facenet_batch_size",
        "N[,N]",
        "batch sizes to time; the first one embeds (default: 64)",
        repeated=True,
    ),
    _option(
        "facenet_workspace",
        "MIB",
        "memory a layer of a TensorRT engine may work in (default: all there is)",
    ),
    _option(
        "facenet_optimization_level",
        "{0..5}",
        "how long TensorRT looks for faster kernels (default: TensorRT's own, 3)",
    ),
    _option(
        "facenet_profile",
        _choice(*PROFILES),
        "which batches a TensorRT plan takes: all up to each batch size (default), or those sizes "
        "alone",
    ),
    _option(
        "facenet_scope",
        _choice(*SCOPES),
        "what is timed: inputs resident on the GPU, or copied in and out (default: device where "
        "there is one)",
    ),
    _option(
        "facenet_self_check",
        "N",
        "also compare every engine's speed with itself, N times: how often it would fail falsely",
    ),
    _option("facenet_cache", "DIR", "where engines, faces and embeddings are kept"),
    _option("facenet_rebuild", None, "build everything anew, whatever the cache holds"),
    _option("facenet_baselines", "DIR", "gates.toml and stored sessions (default: ROOT/baselines)"),
    _option(
        "facenet_update_baselines",
        "{all,missing,accept}",
        "record timing sessions: in all baselines, in those with too few, or as a new epoch",
    ),
    _option("facenet_reason", "TEXT", "why a new epoch is accepted; required with accept"),
    _option(
        "facenet_inconclusive", "{warn,fail}", "what an inconclusive gate does (default: warn)"
    ),
    _option(
        "facenet_diagnose",
        _choice(*DIAGNOSES),
        "where a gate shows that an engine differs, find out why (default: auto); full tries more, "
        "and on engines that pass too",
    ),
    _option("facenet_report", "DIR", "write results.json there; the previous one is kept"),
)
