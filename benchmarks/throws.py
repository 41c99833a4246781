"""Benchmark of small fast balls: one is thrown across a still or hand-held camera's picture, whole tracker.

A ball of 16 to 40 px flies before a wall, a poster or a place of many things, in eight to two dozen frames
from side to side of a picture of 640 x 360: so it moves one to four diameters a frame, and is a streak where
the shutter is slow. In every third scene the ball is of another colour: a box is a false alarm. With
`--stills` the balls are cut out of labelled pictures, of which a network should not have learnt.
Success AUC over the frames in which a third of the ball is in view; the share of them with a box that
touches it; how much smaller boxes are than the streak; the median frames from coming into view to the first
box; false alarms in frames without a green ball.
Usage: .venv/bin/python benchmarks/throws.py [--model FILE ...] [--scenes N] [--photos DIR]
       [--stills DIR --stills-part FROM TO] [--output FILE]
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ["OPENBLAS_NUM_THREADS"] = "1"
import numpy as np
from generated_sequences import scene_arguments
from tqdm import tqdm

from pvm_perception import Tracker
from pvm_perception.commands.evaluate import write_csv
from pvm_perception.evaluation.boxes import FrameBoxes
from pvm_perception.evaluation.metrics import success_auc
from pvm_perception.streams.scenes import balls
from pvm_perception.streams.scenes.backgrounds import background
from pvm_perception.streams.scenes.photos import load_photos
from pvm_perception.streams.scenes.real_targets import cut_out
from pvm_perception.streams.scenes.scene import Scene
from pvm_perception.streams.scenes.thing import Thing
from pvm_perception.streams.stills import load_stills
from pvm_perception.types import Box, Frame, Track, Truth

SIZE, FPS, FRAMES, SEED = (360, 640), 30.0, 24, 7_070
BALL, TARGET = "green_ball", 0
PIXELS = (16.0, 40.0)  # of a ball
CROSSING = (8.0, 24.0)  # frames from side to side
OPEN = (0.15, 0.7)  # how long the shutter is, of the time of a frame
HAND_HELD = 0.15  # how much half of the cameras move
POSTERS = 0.7  # share of the places that are photographs
VISIBLE = 0.35  # share of a ball in view from which it should be found
RIGHT = 0.3  # overlap from which a box's size is compared with the streak's


class Throw(Scene):
    """A scene in which every ball is thrown across the picture.

    Parameters
    ----------
    rng
        Draws everything.
    photos
        As for `Scene`.
    is_green
        Whether the ball is a target.
    sprites
        Real balls, (S, S, 4) float32 each, to take instead of painted ones.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        photos: Sequence[np.ndarray] | None,
        is_green: bool,
        sprites: Sequence[np.ndarray],
    ) -> None:
        self.is_green, self.sprites = is_green, sprites
        calm = HAND_HELD * float(rng.random() < 0.5)
        super().__init__(rng, FRAMES, SIZE, photos, 1, (BALL,), calm, hardest=0.35, throws=1.0)
        if not is_green:
            self.things = [dataclasses.replace(thing, target=-1) for thing in self.things]

    def _background(self, rows: int, cols: int, photos: Sequence[np.ndarray]) -> np.ndarray:
        return background(self.rng, rows, cols, photos, real=self.rng.random() < POSTERS)

    def _target(self, name: str) -> list[Thing]:
        low, high = (px / SIZE[0] for px in PIXELS)
        size = float(np.exp(self.rng.uniform(np.log(low), np.log(high))))
        if self.sprites and self.is_green:
            sprite = self.sprites[int(self.rng.integers(len(self.sprites)))].copy()
        else:
            sprite = balls.ball(self.rng, self.is_green, 48)
        return self._ball(sprite, size, TARGET)

    def _thrown(self, parts: list[Thing], size: float) -> list[Thing]:
        rng = self.thrower
        self.has_throw, self.opened = True, rng.uniform(*OPEN)
        across = (SIZE[1] / SIZE[0] + 2 * size) / rng.uniform(*CROSSING) * rng.choice([-1, 1])
        flight: dict[str, Any] = {
            "velocity": np.array([across, rng.normal(0, 0.02)]),
            "place": np.array([rng.normal(0, 0.2), rng.uniform(-0.35, 0.2)]),
            "fall": rng.uniform(0, 0.004),
            "floor": None,
            "span": 1e6,
        }
        return [dataclasses.replace(parts[-1], **flight)]  # its shadow falls elsewhere


def sequence(
    number: int, photos: Sequence[np.ndarray] | None, sprites: Sequence[np.ndarray]
) -> Iterator[tuple[Frame, list[Box]]]:
    """Yield each frame and the balls in it that should be found."""
    scene = Throw(np.random.default_rng((SEED, number)), photos, number % 3 != 2, sprites)
    for k in range(FRAMES):
        image, truth = scene.render(k)
        seen = [b for b in Truth.boxes(truth) if b.target == BALL]
        clear = [b for b in seen if b.visible >= VISIBLE and b.weight > 0]
        yield Frame(image, str(k), k / FPS, tuple(seen)), clear


class Tally:
    """What one model found of all throws."""

    def __init__(self) -> None:
        self.overlaps: list[float] = []
        self.sides: list[float] = []  # of the boxes that are about right, over the truth's
        self.waits: list[int] = []  # frames from in view to found; FRAMES where it never was
        self.alarms: list[bool] = []
        self._scene: list[bool] = []  # whether it was found, by frame of this scene with a ball

    def begin(self) -> None:
        """Take note that another scene begins."""
        self._scene = []

    def end(self) -> None:
        """Take note that a scene ends."""
        if self._scene:
            self.waits.append(self._scene.index(True) if any(self._scene) else FRAMES)

    def add(self, tracks: Sequence[Track], frame: Frame, clear: Sequence[Box]) -> None:
        """Count one frame's boxes."""
        found = FrameBoxes.of(dataclasses.replace(frame, boxes=tuple(clear)), BALL, tracks)
        if not frame.boxes:
            self.alarms.append(bool(len(found.boxes)))
        if not clear:
            return
        best = float(found.overlaps.max(initial=0.0))
        self.overlaps.append(best)
        self._scene.append(best > 0)
        if best > RIGHT:
            box, truth = np.unravel_index(found.overlaps.argmax(), found.overlaps.shape)
            self.sides.append(float(found.boxes[box, 2:4].max() / found.truth[truth, 2:4].max()))

    def row(self) -> dict[str, str]:
        """Return the measures."""
        return {
            "frames": str(len(self.overlaps)),
            "auc": f"{success_auc(np.array(self.overlaps)):.3f}",
            "found": f"{np.mean(np.array(self.overlaps) > 0):.3f}",
            "side": f"{np.median(self.sides) if self.sides else np.nan:.2f}",
            "frames_to_first": f"{np.median(self.waits):.0f}",
            "false_alarms": f"{np.mean(self.alarms):.3f}",
        }


def main() -> None:
    """Run models side by side and write the table."""
    parser = scene_arguments(__doc__, 60)
    parser.add_argument("--stills", type=Path, help="folder of labelled pictures of green balls to cut out")
    parser.add_argument(
        "--stills-part",
        type=float,
        nargs=2,
        default=(0.9, 1.0),
        metavar=("FROM", "TO"),
        help="part of these pictures by name (default: 0.9 1.0)",
    )
    parser.add_argument(
        "--output", type=Path, default=Path("build/throws.csv"), help="table to write (default: %(default)s)"
    )
    args = parser.parse_args()
    photos = load_photos(args.photos) if args.photos else None
    stills = load_stills(args.stills, tuple(args.stills_part)) if args.stills else []
    sprites = [c.sprite for c in cut_out(stills) if c.target == BALL]
    trackers = {model: (Tracker(model=model), Tally()) for model in args.model}
    for number in tqdm(range(args.scenes), unit="throw", disable=None):
        for tracker, tally in trackers.values():
            tracker.reset()
            tally.begin()
        for frame, clear in sequence(number, photos, sprites):
            for tracker, tally in trackers.values():
                tally.add(tracker.update(frame.image, frame.stamp), frame, clear)
        for _, tally in trackers.values():
            tally.end()
    balls_are = "cut out" if sprites else "painted"
    rows = [{"model": m.name, "balls": balls_are} | tally.row() for m, (_, tally) in trackers.items()]
    for row in rows:
        print(" ".join(f"{k}={v}" for k, v in row.items()))
    args.output.parent.mkdir(parents=True, exist_ok=True)
    write_csv(args.output, rows)


if __name__ == "__main__":
    main()
