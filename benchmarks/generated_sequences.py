"""Benchmark of whole trackers on many short generated sequences, to compare models that are near each other.

A labelled sequence is found or missed as a whole, so ten of them do not rank two similar models. Here are
as many scenes as asked for, of the kinds that training shows, from seeds that it never uses, at a
camera's size. All models see the same frames. A target counts where a third of it is in view and
its longer side has 12 px. Success AUC over frames; the share of them with a box that touches the target;
false alarms (share of the frames without the target that have a box) at the shipped thresholds; and the
success AUC left when boxes below a score are dropped, so that false alarms are as rare as named: for each
model its own score, so models whose scores mean different things can be compared. With `--solid`, scenes in
three dimensions.
Usage: .venv/bin/python benchmarks/generated_sequences.py [--model FILE ...] [--scenes N] [--photos DIR]
       [--solid] [--output FILE]
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

os.environ["OPENBLAS_NUM_THREADS"] = "1"
import numpy as np
from tqdm import tqdm

from pvm_perception import Tracker
from pvm_perception.commands.evaluate import write_csv
from pvm_perception.evaluation.evaluate import Shot, shot
from pvm_perception.evaluation.metrics import success_auc
from pvm_perception.shipped import default_model
from pvm_perception.streams.scenes.photos import load_photos
from pvm_perception.streams.scenes.scene import Scene
from pvm_perception.types import TARGETS, Frame, Truth

SIZE, FPS, FRAMES, SEED = (480, 640), 30.0, 24, 992
CASTS = (("green_ball",), ("stop_sign",), ())  # in turn
FAR, NEAR = (0.05, 0.13), (0.13, 0.5)  # height of the target as a share of the frame's; two thirds are far
VISIBLE, SIDE = 0.35, 12.0  # share of a target in view, and px, from which it should be found
RARE = (0.1, 0.05, 0.02, 0.01)  # shares of false alarms at which success is reported, too


def sequence(
    number: int, photos: list[np.ndarray] | None, solid: bool = False
) -> Iterator[tuple[Frame, set[str]]]:
    """Yield frames with all that is in view, and the targets too faint or too small to count."""
    sizes = NEAR if number // len(CASTS) % 3 == 2 else FAR
    made = (np.random.default_rng((SEED, number)), FRAMES, SIZE, photos)
    cast = CASTS[number % len(CASTS)]
    if solid:
        from pvm_perception.streams.scenes.solid.scene import SolidScene  # panda3d is optional

        scene = SolidScene(*made, supersample=1, cast=cast, sizes=sizes)
    else:
        scene = Scene(*made, supersample=1, cast=cast, calm=0.35, sizes=sizes, hardest=1.0)
    for k in range(FRAMES):
        image, truth = scene.render(k)
        boxes = Truth.boxes(truth)
        clear = {b.target for b in boxes if b.visible >= VISIBLE and max(b.w, b.h) >= SIDE}
        yield Frame(image, str(k), k / FPS, boxes), {b.target for b in boxes} - clear


def scores(shots: list[Shot]) -> dict[str, float]:
    """Return the measures of one model and one target."""
    seen, empty = ([s for s in shots if s.present is there] for there in (True, False))
    iou, score = (np.array([getattr(s, name) for s in seen]) for name in ("iou", "score"))
    alarms = np.array([s.score for s in empty])
    row = {
        "frames": len(shots),
        "with_target": len(seen),
        "auc": success_auc(iou),
        "found": float((iou > 0).mean()),
        "false_alarms": float((alarms >= 0).mean()),
    }
    for share in RARE:
        least = np.quantile(alarms, 1 - share)
        row[f"auc_at_{share}"] = success_auc(np.where(score > least, iou, 0))
    return row


def scene_arguments(description: str | None, scenes: int) -> argparse.ArgumentParser:
    """Return a parser of what benchmarks of models on so many generated scenes are asked for."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model",
        type=Path,
        nargs="+",
        default=[default_model()],
        help="model files to score side by side (default: the shipped one)",
    )
    parser.add_argument("--scenes", type=int, default=scenes, help="number of scenes (default: %(default)s)")
    parser.add_argument(
        "--photos",
        type=Path,
        help="folder of photographs for backgrounds, as `make train-data` collects them (default: none)",
    )
    return parser


def main() -> None:
    """Run models side by side and write the table."""
    parser = scene_arguments(__doc__, 180)
    parser.add_argument("--solid", action="store_true", help="make scenes in three dimensions; needs panda3d")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("build/generated_sequences.csv"),
        help="table to write (default: %(default)s)",
    )
    args = parser.parse_args()
    photos = load_photos(args.photos) if args.photos else None
    trackers = {model: Tracker(model=model) for model in args.model}
    shots: dict[tuple[Path, str], list[Shot]] = {(m, t): [] for m in trackers for t in TARGETS}
    for number in tqdm(range(args.scenes), unit="scene", disable=None):
        for tracker in trackers.values():
            tracker.reset()
        for frame, faint in sequence(number, photos, args.solid):
            for model, tracker in trackers.items():
                tracks = tracker.update(frame.image, frame.stamp)
                for target in set(TARGETS) - faint:
                    shots[model, target].append(shot(frame, target, tracks))
    rows = [
        {"model": model.name, "target": target}
        | {k: f"{v:.4f}" if isinstance(v, float) else v for k, v in scores(found).items()}
        for (model, target), found in shots.items()
    ]
    args.output.parent.mkdir(parents=True, exist_ok=True)
    write_csv(args.output, rows)
    for row in rows:
        print(" ".join(f"{k}={v}" for k, v in row.items()))


if __name__ == "__main__":
    main()
