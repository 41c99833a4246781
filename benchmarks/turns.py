"""What the robot's own motion is worth to the whole tracker: a camera that turns by stops and starts.

A ball or a sign lies in a place of many things, 4 to 20 % of the frame's height; the camera turns as on a
robot, most of the time by stops and starts, at 15 frames a second and 640 x 480. The same frames are tracked
without odometry; with the motion up to each frame and the speed at its stamp; and with odometry whose turns
are 30 % too small, as of a lens that nobody calibrated. Success AUC; of what is expected one frame later,
against the next frame's truth; the share of targets found; false boxes a frame; MOTA's id switches in a
hundred frames (NaN without TrackEval).
Usage: .venv/bin/python benchmarks/turns.py [--model FILE ...] [--scenes N] [--photos DIR] [--output FILE]
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

os.environ["OPENBLAS_NUM_THREADS"] = "1"
import numpy as np
from generated_sequences import scene_arguments
from tqdm import tqdm

from pvm_perception import Tracker
from pvm_perception.commands.evaluate import write_csv
from pvm_perception.evaluation.boxes import FrameBoxes, box_measures
from pvm_perception.evaluation.identity import track_measures
from pvm_perception.evaluation.metrics import success_auc
from pvm_perception.streams.generated import motion_to_next
from pvm_perception.streams.scenes.photos import load_photos
from pvm_perception.streams.scenes.scene import Scene
from pvm_perception.training.validate import SPEED_KNOWN
from pvm_perception.types import Frame, Truth

SIZE, FPS, FRAMES, SEED = (480, 640), 15.0, 30, 8_080
CASTS = (("green_ball",), ("stop_sign",))
VISIBLE = 0.35  # share of a target in view from which it should be found
KNOWN = {"nothing": 0.0, "motion and speed": 1.0, "the same, 30 % too small": 0.7}  # factor of the motion


def sequence(number: int, photos: Sequence[np.ndarray] | None) -> Iterator[Frame]:
    """Yield the frames of a scene, with the targets that should be found and the camera's motion."""
    scene = Scene(
        np.random.default_rng((SEED, number)),
        FRAMES,
        SIZE,
        photos,
        supersample=1,
        cast=CASTS[number % len(CASTS)],
        calm=0.5,
        sizes=(0.04, 0.2),
        hardest=0.4,
        turns=1.0,
        stops=0.8,
    )
    motion = np.stack([scene.motion(k) for k in range(FRAMES)])  # (T, 4)
    ahead = motion_to_next(motion, SPEED_KNOWN)
    for k in range(FRAMES):
        image, truth = scene.render(k)
        clear = tuple(b for b in Truth.boxes(truth) if b.visible >= VISIBLE)
        known = (motion[k] if k else None, ahead[k] if 0 < k < FRAMES - 1 else None)
        yield Frame(image, str(k), k / FPS, clear, None, *known)


def odometry_of(frame: Frame, factor: float) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return the motion up to a frame and ahead as odometry of such a factor tells it, 0: none is there."""
    motion, ahead = (None if m is None or not factor else factor * m for m in (frame.motion, frame.ahead))
    return motion, ahead


def measures(shown: Sequence[FrameBoxes], later: Sequence[FrameBoxes]) -> dict[str, float]:
    """Return the measures of a target, by frame: of what was reported, and of what was expected then."""
    best, expected = (
        np.concatenate([f.overlaps.max(axis=0, initial=0.0) for f in some if len(f.truth)])
        for some in (shown, later)
    )
    return {
        "targets": float(len(best)),
        "auc": success_auc(best),
        "auc_later": success_auc(expected),
        "found": float((best > 0).mean()),
        "false_boxes": box_measures(shown)["false_boxes"],
    }


def main() -> None:
    """Track all scenes in each way and write the table."""
    parser = scene_arguments(__doc__, 60)
    parser.add_argument(
        "--output", type=Path, default=Path("build/turns.csv"), help="table to write (default: %(default)s)"
    )
    args = parser.parse_args()
    photos = load_photos(args.photos) if args.photos else None
    trackers = {model: Tracker(model=model) for model in args.model}
    seen: dict[tuple[Path, str], tuple[list[FrameBoxes], list[FrameBoxes], list[float]]] = {
        (model, known): ([], [], []) for model in trackers for known in KNOWN
    }
    for number in tqdm(range(args.scenes), unit="scene", disable=None):
        (target,) = CASTS[number % len(CASTS)]
        frames = list(sequence(number, photos))
        for (model, known), (shown, later, switches) in seen.items():
            tracker, begun = trackers[model], len(shown)
            tracker.reset()
            for k, frame in enumerate(frames):
                motions = odometry_of(frame, KNOWN[known])
                tracks = tracker.update(frame.image, frame.stamp, *motions)
                shown.append(FrameBoxes.of(frame, target, tracks))
                if k + 1 < len(frames):
                    coming = replace(frames[k + 1], image=frame.image)
                    later.append(FrameBoxes.of(coming, target, tracker.forecast(1.0)))
            switches.append(track_measures(shown[begun:])["id_switches"])
    rows = []
    for (model, known), (shown, later, switches) in seen.items():
        row = measures(shown, later)
        row["switches_of_100"] = 100 * float(np.nansum(switches)) / len(shown)
        rows.append({"model": model.name, "motion": known} | {k: f"{v:.4g}" for k, v in row.items()})
        print(" ".join(f"{k}={v}" for k, v in rows[-1].items()))
    args.output.parent.mkdir(parents=True, exist_ok=True)
    write_csv(args.output, rows)


if __name__ == "__main__":
    main()
