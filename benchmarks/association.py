"""Which box belongs to which track: this tracker beside ByteTrack and OC-SORT on the same detections.

Generated scenes in which balls of one colour and signs move about, cross, hide each other, leave and come
back; which target is which is exact. All take the detections of one run of the shipped tracker. HOTA, IDF1,
MOTA and switches of ids by TrackEval, means over the scenes. A target of which less than a third is in view
neither counts nor harms.
The other trackers run with their own thresholds and with ones that fit this network's scores; this one
with its own, which are chosen so that few frames without a target have a box, and with ones as low as theirs.
Usage: .venv/bin/python -m pip install --require-hashes --no-deps -r requirements/locked/association.txt
       .venv/bin/python benchmarks/association.py [--scenes N] [--photos DIR] [--output FILE]
"""

from __future__ import annotations

import argparse
import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ["OPENBLAS_NUM_THREADS"] = "1"
import numpy as np
from tqdm import tqdm

from pvm_perception import Tracker
from pvm_perception.commands.evaluate import write_csv
from pvm_perception.evaluation.boxes import FrameBoxes
from pvm_perception.evaluation.identity import track_measures
from pvm_perception.shipped import default_model
from pvm_perception.streams.scenes.photos import load_photos
from pvm_perception.streams.scenes.scene import Scene
from pvm_perception.streams.scenes.thing import Thing
from pvm_perception.types import TARGETS, Box, Detection, Frame, Track, Truth
from pvm_perception.vision.tracker import TrackManager
from pvm_perception.vision.tracker_settings import TrackerSettings

SIZE, FPS, FRAMES, SEED = (480, 640), 30.0, 75, 4_242
CASTS = (
    ("green_ball", "green_ball", "green_ball", "stop_sign"),
    ("green_ball", "green_ball", "stop_sign", "stop_sign"),
    ("stop_sign", "stop_sign", "stop_sign"),
)
SIZES = (0.09, 0.25)  # height of a target as a share of the frame's
SPEED = (0.022, 0.006)  # standard deviation in heights of the frame a frame: balls, signs
BACK = (8.0, 18.0)  # frames, over pi, in which a target turns back
VISIBLE = 1 / 3  # share of a target in view from which it counts
COLUMNS = ("hota", "mota", "idf1", "switches", "recall", "false_boxes")
Report = Callable[[Sequence[Detection]], list[Track]]


class Crossing(Scene):
    """A scene whose targets stay near each other and move to and fro."""

    def _target(self, name: str) -> list[Thing]:
        parts, rng = super()._target(name), self.rng
        place = rng.uniform(-0.3, 0.3, 2) * [self.cols / self.rows, 1.0]
        speed = rng.normal(0, SPEED[name == "stop_sign"], 2)
        off, span = place - next(p for p in parts if p.target >= 0).place, rng.uniform(*BACK)
        for part in parts:  # its shadow, pole and plates go with it
            part.place, part.velocity, part.span = part.place + off, speed, span
            part.fall, part.growth, part.floor = 0.0, 0.0, None
        return parts

    def frames_with_truth(self) -> Iterator[Frame]:
        """Yield its frames; each target has the same id in all of them."""
        for k in range(self.frames):
            image, truth = self.render(k)
            rows = [(n, row) for n, row in enumerate(truth.tolist()) if row[Truth.TARGET] >= 0]
            boxes = tuple(
                Box(
                    TARGETS[int(row[Truth.TARGET])],
                    *row[Truth.BOX],
                    visible=row[Truth.VISIBLE],
                    id=n,
                    weight=float(row[Truth.VISIBLE] >= VISIBLE),
                )
                for n, row in rows
            )
            yield Frame(image, str(k), k / FPS, boxes)


def rival(kind: type, **settings: Any) -> Report:
    """Return what one of the other trackers reports of each frame's detections, target by target."""
    import supervision as sv

    by_target: dict[str, Any] = {}

    def report(detections: Sequence[Detection]) -> list[Track]:
        tracks: list[Track] = []
        for n, target in enumerate(TARGETS):
            mine = [d for d in detections if d.target == target]
            found = sv.Detections(
                xyxy=np.array([(d.x, d.y, d.x + d.w, d.y + d.h) for d in mine], np.float32).reshape(-1, 4),
                confidence=np.array([d.score for d in mine], np.float32),
                class_id=np.full(len(mine), n),
            )
            if target not in by_target:
                by_target[target] = kind(frame_rate=FPS, **settings)
            kept = by_target[target].update(found)
            ids = kept.tracker_id if kept.tracker_id is not None else np.zeros(0, int)
            tracks += [
                Track(target, x0, y0, x1 - x0, y1 - y0, float(score), int(identity), "confirmed")
                for (x0, y0, x1, y1), score, identity in zip(
                    kept.xyxy.tolist(), kept.confidence, ids, strict=True
                )
                if identity >= 0
            ]
        return tracks

    return report


def own(**settings: float) -> Report:
    """Return what this tracker reports of each frame's detections with other settings than it ships with."""
    manager = TrackManager(TrackerSettings(**settings))
    return manager.update


def rivals() -> dict[str, Report]:
    """Return the other trackers by name, each fresh."""
    from trackers import ByteTrackTracker, OCSORTTracker

    fitted = {"high_conf_det_threshold": 0.3, "minimum_consecutive_frames": 2}
    return {
        "pvm_perception, thresholds as low": own(birth_score=0.2, keep_score=0.1),
        "ByteTrack": rival(ByteTrackTracker),
        "ByteTrack, thresholds fitted": rival(ByteTrackTracker, track_activation_threshold=0.4, **fitted),
        "OC-SORT": rival(OCSORTTracker),
        "OC-SORT, thresholds fitted": rival(OCSORTTracker, **fitted | {"minimum_iou_threshold": 0.1}),
    }


def measures(frames: list[FrameBoxes]) -> dict[str, float]:
    """Return `COLUMNS` of one target in one scene; recall and false boxes a frame at an overlap of 0.5."""
    tracks = track_measures(frames)
    hits = sum(int(f.hits.sum()) for f in frames)
    return tracks | {
        "switches": tracks["id_switches"],
        "recall": hits / max(sum(len(f.truth) for f in frames), 1),
        "false_boxes": (sum(len(f.boxes) for f in frames) - hits) / len(frames),
    }


def main() -> None:
    """Print each tracker's means and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model", type=Path, default=default_model(), help="model file (default: the shipped one)"
    )
    parser.add_argument("--scenes", type=int, default=48, help="number of scenes (default: %(default)s)")
    parser.add_argument(
        "--sizes",
        type=float,
        nargs=2,
        default=SIZES,
        metavar=("LEAST", "MOST"),
        help="heights of the targets as shares of the frame's (default: %(default)s)",
    )
    parser.add_argument(
        "--photos",
        type=Path,
        help="folder of photographs for backgrounds, as `make train-data` collects them (default: none)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("build/association.csv"),
        help="table to write (default: %(default)s)",
    )
    args = parser.parse_args()
    photos = load_photos(args.photos) if args.photos else None
    found: dict[tuple[str, str], list[dict[str, float]]] = {}
    for number in tqdm(range(args.scenes), desc="scenes"):
        rng, cast = np.random.default_rng((SEED, number)), CASTS[number % len(CASTS)]
        scene = Crossing(rng, FRAMES, SIZE, photos, 1, cast, 0.35, tuple(args.sizes), 0.5)
        tracker, others = Tracker(model=args.model), rivals()
        boxes: dict[tuple[str, str], list[FrameBoxes]] = {}
        for frame in scene.frames_with_truth():
            reported = {"pvm_perception": tracker.update(frame.image, frame.stamp)}
            reported |= {name: report(tracker.detections) for name, report in others.items()}
            for (name, tracks), target in itertools.product(reported.items(), set(cast)):
                boxes.setdefault((name, target), []).append(FrameBoxes.of(frame, target, tracks))
        for key, frames in boxes.items():
            found.setdefault(key, []).append(measures(frames))
    rows = []
    for (name, target), scenes in sorted(found.items(), key=lambda item: item[0][1]):
        means = {m: float(np.nanmean([each[m] for each in scenes])) for m in COLUMNS}
        rows.append(
            {"target": target, "tracker": name, "scenes": len(scenes)}
            | {m: f"{v:.3f}" for m, v in means.items()}
        )
        print(" ".join(f"{k}={v}" for k, v in rows[-1].items()), flush=True)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    write_csv(args.output, rows)


if __name__ == "__main__":
    main()
