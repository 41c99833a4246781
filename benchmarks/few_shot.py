"""How well a target is found that was shown in 1, 3, 10 or 20 boxes, compared with three simple methods.

Eight painted things, each the same in all of its clips; places, light, distance and what else is there
change; it is in view in most frames of each. Boxes are taught from clips of their own. `--data DIR` adds
real ones of the folder with the labelled data, whose boxes are found by colour or labelled: taught in the
first half of a clip, or of the pictures, and sought in the second; false alarms are counted on a clip without
them.

Every method gets the same boxes. The simple ones also get their threshold from the very clips that they are
measured on: 95 of 100 frames without the thing stay below it. CSRT cannot search: it starts where template
matching finds the thing in a clip's first frame.
Usage: .venv/bin/python benchmarks/few_shot.py [--kinds N] [--data DIR] [--output CSV]
"""

from __future__ import annotations

import argparse
import csv
import itertools
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
import cv2
import numpy as np
from real_things import REAL, Box, Shot, real
from tqdm import tqdm

from pvm_perception import Tracker
from pvm_perception.evaluation.metrics import overlap, success_auc
from pvm_perception.evaluation.peer_process import python_with_contrib
from pvm_perception.evaluation.peers import OpenCvTracker
from pvm_perception.streams.scenes import balls, objects, signs, street
from pvm_perception.streams.scenes.one_thing import one_thing
from pvm_perception.types import Truth

SIZE = (360, 480)  # of a painted frame
COUNTS = (1, 3, 10, 20)
FRAMES = 12  # of a clip
WITH, WITHOUT = 6, 4  # clips that are sought in
IN_VIEW = 7  # frames of a clip with the thing, at least
KINDS: dict[str, tuple[Callable, int]] = {  # painter, and the seed of the very thing
    "orange ball": (balls.other_ball, 36),
    "blue ball": (balls.other_ball, 37),
    "no-entry sign": (signs.other_sign, 1),
    "speed limit": (signs.other_sign, 4),
    "bottle": (objects.cylinder, 3),
    "car": (street.car, 2),
    "hand": (objects.skin, 1),
    "beacon": (street.beacon, 2),
}
LEAST_LIGHT = 50.0  # mean grey of a taught box: nobody shows a thing in the dark
WIDE = 160  # px: to this width pictures are brought for the simple methods
SCALES = (0.5, 0.8, 1.25)
WINDOWS = (14, 24, 40, 64)  # px of a window's longer side, for histograms
BINS = (8, 4)  # of hue and saturation
COLUMNS = ("method", "boxes", "kind", "frames", "auc", "found", "false_alarms", "frames_without")


def clip(kind: str, number: int, frames: int, present: bool) -> list[Shot]:
    """Return one painted clip."""
    painter, seed = KINDS[kind]
    cast = ("green_ball",) if present else ()
    rng = np.random.default_rng((list(KINDS).index(kind), number))
    scene = one_thing(painter, seed)(
        rng, frames, SIZE, None, supersample=1, cast=cast, calm=0.3, sizes=(0.12, 0.5), hardest=0.1
    )
    shots: list[Shot] = []
    for k in range(frames):
        image, truth = scene.render(k)
        rows = [r for r in truth if r[Truth.TARGET] >= 0 and r[Truth.VISIBLE] > 0.35]
        shots.append((image, [tuple(row[Truth.BOX].tolist()) for row in rows]))
    return shots


def sought(kind: str) -> list[list[Shot]]:
    """Return painted clips in which the thing is in view most of the time, and some without it."""
    drawn = (clip(kind, number, FRAMES, True) for number in itertools.count())
    with_it = (shots for shots in drawn if sum(bool(boxes) for _, boxes in shots) >= IN_VIEW)
    without = [clip(kind, 500 + k, FRAMES, False) for k in range(WITHOUT)]  # scenes of their own
    return [*itertools.islice(with_it, WITH), *without]


def brightness(image: np.ndarray, box: Box) -> float:
    """Return the mean grey of a box, 0..255."""
    x, y, w, h = (round(v) for v in box)
    return float(image[max(y, 0) : y + h, max(x, 0) : x + w].mean())


def taught(kind: str) -> list[tuple[np.ndarray, Box]]:
    """Return twenty boxes, wholly in view and in some light, the first five from clips of their own."""
    boxes: list[tuple[np.ndarray, Box]] = []
    number = 0
    while len(boxes) < max(COUNTS):
        shots = clip(kind, 1000 + number, 4, True)
        number += 1
        seen = [(i, b) for i, boxes in shots for b in boxes]
        inner = [(i, b) for i, b in seen if min(b[:2]) > 4 and b[0] + b[2] < SIZE[1] - 4]
        inner = [(i, b) for i, b in inner if brightness(i, b) > LEAST_LIGHT]
        boxes += inner[:1] if number <= 5 else inner
    return boxes[: max(COUNTS)]


def small(image: np.ndarray) -> tuple[np.ndarray, float]:
    """Return a picture of width `WIDE`, and how much smaller it is."""
    scale = WIDE / image.shape[1]
    return cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), scale


class Templates:
    """The best normalised correlation with any of the taught pictures, at several scales."""

    name = "template matching"

    def __init__(self, boxes: list[tuple[np.ndarray, Box]]) -> None:
        self.cuts = []
        for image, box in boxes:
            picture, scale = small(image)
            x, y, w, h = (round(v * scale) for v in box)
            self.cuts.append(picture[max(y, 0) : y + max(h, 4), max(x, 0) : x + max(w, 4)])

    def best(self, image: np.ndarray) -> tuple[float, Box]:
        """Return score and box of the best place."""
        picture, scale = small(image)
        found = (-1.0, (0.0, 0.0, 1.0, 1.0))
        for cut in self.cuts:
            for factor in SCALES:
                part = cv2.resize(cut, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
                h, w = part.shape[:2]
                if min(h, w) < 6 or h > picture.shape[0] or w > picture.shape[1]:
                    continue
                _, score, _, (x, y) = cv2.minMaxLoc(cv2.matchTemplate(picture, part, cv2.TM_CCOEFF_NORMED))
                if score > found[0]:
                    found = score, (x / scale, y / scale, w / scale, h / scale)
        return found


class Histograms:
    """The window whose histogram of hue and saturation is nearest to that of any taught box."""

    name = "colour histograms"

    def __init__(self, boxes: list[tuple[np.ndarray, Box]]) -> None:
        self.aspect = float(np.exp(np.mean([np.log(b[2] / b[3]) for _, b in boxes])))
        self.taught = []
        for image, box in boxes:
            picture, scale = small(image)
            x, y, w, h = (round(v * scale) for v in box)
            sums = self._sums(picture)
            self.taught.append(self._histogram(sums, np.array([[x, y, max(w, 4), max(h, 4)]]))[0])

    @staticmethod
    def _sums(picture: np.ndarray) -> np.ndarray:
        hsv = cv2.cvtColor(picture, cv2.COLOR_BGR2HSV)
        which = (hsv[..., 0] // (180 // BINS[0])).clip(0, BINS[0] - 1) * BINS[1] + hsv[..., 1] // 64
        planes = np.stack([which == k for k in range(BINS[0] * BINS[1])], axis=2).astype(np.float32)
        return np.pad(planes, ((1, 0), (1, 0), (0, 0))).cumsum(0).cumsum(1)

    @staticmethod
    def _histogram(sums: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        rows, cols = sums.shape[:2]
        left, top = boxes[:, 0].clip(0, cols - 1), boxes[:, 1].clip(0, rows - 1)
        right, low = (left + boxes[:, 2]).clip(0, cols - 1), (top + boxes[:, 3]).clip(0, rows - 1)
        counts = sums[low, right] - sums[top, right] - sums[low, left] + sums[top, left]
        return counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)

    def best(self, image: np.ndarray) -> tuple[float, Box]:
        """Return score and box of the best place."""
        picture, scale = small(image)
        sums = self._sums(picture)
        boxes = []
        for side in WINDOWS:
            w = round(side * min(1.0, self.aspect))
            h = round(side * min(1.0, 1 / self.aspect))
            if w > picture.shape[1] or h > picture.shape[0]:
                continue
            ys, xs = np.mgrid[
                0 : picture.shape[0] - h + 1 : max(h // 4, 2), 0 : picture.shape[1] - w + 1 : max(w // 4, 2)
            ]
            boxes.append(np.stack([xs, ys, np.full_like(xs, w), np.full_like(xs, h)], -1).reshape(-1, 4))
        places = np.concatenate(boxes)
        common = np.minimum(self._histogram(sums, places)[:, None], np.array(self.taught)[None]).sum(axis=2)
        best = int(common.max(axis=1).argmax())
        return float(common[best].max()), tuple(float(v / scale) for v in places[best])


def by_threshold(
    method: Templates | Histograms, clips: list[list[Shot]]
) -> Callable[[list[Shot]], Iterator[Box | None]]:
    """Return what reports a method's best place where its score is above that of frames without the thing."""
    found = {id(image): method.best(image) for shots in clips for image, _ in shots}
    empty = [found[id(i)][0] for shots in clips if not any(b for _, b in shots) for i, _ in shots]
    least = float(np.quantile(empty, 0.95))

    def run(shots: list[Shot]) -> Iterator[Box | None]:
        for image, _ in shots:
            score, box = found[id(image)]
            yield box if score > least else None

    return run


def by_csrt(templates: Templates) -> Callable[[list[Shot]], Iterator[Box | None]]:
    """Return what follows from the place where template matching finds the thing at first."""

    def run(shots: list[Shot]) -> Iterator[Box | None]:
        follower = OpenCvTracker("thing", "csrt")
        for k, (image, _) in enumerate(shots):
            if k == 0:
                box = templates.best(image)[1]
                follower.init(image, box)
                yield box
                continue
            tracks = follower.update(image)
            yield (tracks[0].x, tracks[0].y, tracks[0].w, tracks[0].h) if tracks else None

    return run


def by_shown(tracker: Tracker, kind: str) -> Callable[[list[Shot]], Iterator[Box | None]]:
    """Return what tracks a shown target."""
    tracker.targets = (kind,)

    def run(shots: list[Shot]) -> Iterator[Box | None]:
        tracker.reset()
        for k, (image, _) in enumerate(shots):
            tracks = tracker.update(image, k / 15)
            yield (tracks[0].x, tracks[0].y, tracks[0].w, tracks[0].h) if tracks else None

    return run


def measure(run: Callable[[list[Shot]], Iterator[Box | None]], clips: list[list[Shot]]) -> dict[str, float]:
    """Return success AUC over the frames with the thing, and false alarms over those without."""
    ious, alarms = [], []
    for shots in clips:
        for (_, truth), box in zip(shots, run(shots), strict=True):
            if truth:
                ious.append(float(overlap(np.array(box), np.array(truth)).max()) if box else 0.0)
            elif not any(b for _, b in shots):
                alarms.append(box is not None)
    return {
        "frames": len(ious),
        "auc": round(success_auc(np.array(ious)), 4),
        "found": round(float((np.array(ious) > 0).mean()), 4),
        "false_alarms": round(float(np.mean(alarms)), 4) if alarms else float("nan"),
        "frames_without": len(alarms),
    }


def methods(
    kind: str, boxes: list[tuple[np.ndarray, Box]], count: int, tracker: Tracker, clips: list[list[Shot]]
) -> dict[str, Callable]:
    """Return each method, taught the first `count` boxes; the tracker knows those before already."""
    known = dict(zip(tracker.shown.names, tracker.shown.boxes, strict=True)).get(kind, 0)
    for image, box in boxes[known:count]:
        tracker.teach(image, kind, box)
    templates = Templates(boxes[:count])
    found = {
        "shown": by_shown(tracker, kind),
        "template matching": by_threshold(templates, clips),
        "colour histograms": by_threshold(Histograms(boxes[:count]), clips),
    }
    return found | ({"CSRT": by_csrt(templates)} if python_with_contrib() else {})


def main() -> None:
    """Measure and write the table, line by line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--kinds",
        type=int,
        default=len(KINDS),
        help="how many of the painted things are shown (default: %(default)s)",
    )
    parser.add_argument("--data", type=Path, help="folder with the labelled data (default: no real things)")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path(__file__).with_suffix(".csv"),
        help="table to write (default: %(default)s)",
    )
    args = parser.parse_args()
    if not python_with_contrib():
        print("CSRT is left out: `make peers` installs it")
    with args.output.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        kinds = [*(REAL if args.data else ()), *list(KINDS)[: args.kinds]]
        for kind in tqdm(kinds, unit="kind", disable=None):
            if kind in KINDS:
                boxes = taught(kind)
                clips = sought(kind)
            else:
                boxes, clips = real(args.data, REAL[kind], max(COUNTS))
            tracker = Tracker()
            for count in COUNTS:
                begun = time.process_time()
                for name, run in methods(kind, boxes, count, tracker, clips).items():
                    row = {"method": name, "boxes": count, "kind": kind} | measure(run, clips)
                    table.writerow([row[c] for c in COLUMNS])
                    file.flush()
                tqdm.write(f"{kind}, {count} boxes: {time.process_time() - begun:.0f} s of processor time")


if __name__ == "__main__":
    main()
