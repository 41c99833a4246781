"""What a sleep is worth at home: a tracker lives in a place, sleeps there, and sees it again.

Each home has a background, a light and a target of its own, seen in painted scenes full of look-alikes. A
memory is filled by living in it; after a sleep, scenes of the same home that were not lived in tell what was
gained, and those of the two homes after it what was forgotten: success AUC, false alarms and forecast error
over copying's, with the model before and after.
Usage: .venv/bin/python benchmarks/homes.py [--homes N] [--minutes M] [--output FILE]
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
import cv2
import numpy as np
from days import SIZE, Seen, live, marks, write
from tqdm import tqdm

from pvm_perception import Tracker
from pvm_perception.errors import PvmError
from pvm_perception.living.moments import MomentMemory
from pvm_perception.living.recorder import Recorder
from pvm_perception.living.replay import recall
from pvm_perception.living.sleep import SleepOptions, sleep
from pvm_perception.shipped import default_model
from pvm_perception.streams.scenes import balls, signs
from pvm_perception.streams.scenes.backgrounds import background
from pvm_perception.streams.scenes.scene import Scene
from pvm_perception.streams.scenes.thing import Thing
from pvm_perception.types import TARGETS, Truth

FIRST = 200  # seed of the first home
SCENE, SIZES, HARDEST = 90, (0.06, 0.3), 0.9  # frames of a scene; the targets' heights; light, blur and noise
MEMORY = 200.0  # MB
TEXTURE = 96  # px of the target's picture


class HomeScene(Scene):
    """A scene before the background of a home, with its target."""

    def __init__(self, home: int, *some: Any) -> None:
        self._home = home
        super().__init__(*some)

    def _background(self, rows: int, cols: int, photos: Any) -> np.ndarray:
        return background(np.random.default_rng(self._home), rows, cols, photos)

    def _target(self, name: str) -> list[Thing]:
        low, high = SIZES
        size = float(np.exp(self.rng.uniform(np.log(low), np.log(high))))
        own = np.random.default_rng(self._home + 7)
        if name == "green_ball":
            return self._ball(balls.ball(own, True, TEXTURE), size, 0)
        return self._sign(signs.stop_sign(own, TEXTURE), size, TEXTURE, 1)


@dataclass(frozen=True)
class Home:
    """A home: even seeds have a ball, odd ones a stop sign, three scenes of four show it."""

    seed: int

    @property
    def target(self) -> str:
        """What lives there."""
        return TARGETS[self.seed % 2]

    @cached_property
    def light(self) -> np.ndarray:
        """The light in blue, green and red, (3,)."""
        rng = np.random.default_rng(self.seed + 3)
        return np.float32(rng.uniform(0.35, 1.1) * rng.uniform(0.8, 1.2, 3))

    def scenes(self, first: int, count: int) -> Iterator[Seen]:
        """Yield the frames of scenes."""
        for n in range(count):
            cast = (self.target,) if n % 4 != 3 else ()
            rng = np.random.default_rng((self.seed, first + n))
            scene = HomeScene(self.seed, rng, SCENE, SIZE, None, 1, cast, 0.5, SIZES, HARDEST)
            for k in range(SCENE):
                image, truth = scene.render(k)
                image = np.clip(image * self.light, 0, 255).astype(np.uint8)
                boxes = {t: truth[truth[:, Truth.TARGET] == i, Truth.BOX] for i, t in enumerate(TARGETS)}
                yield image, boxes, k == 0

    def held_back(self, scenes: int) -> Iterator[Seen]:
        """Yield the frames of scenes that nobody lived in."""
        yield from self.scenes(1_000_000, scenes)


def night(home: Home, minutes: float, lived: int, held_back: int) -> dict[str, Any]:
    """Live in a home, sleep and see it again; return a row of the table."""
    others = [Home(home.seed + k) for k in (1, 2)]
    row: dict[str, Any] = {"home": home.seed, "target": home.target}
    with tempfile.TemporaryDirectory() as folder:
        recorder = Recorder(MomentMemory(folder, MEMORY), patient=True)
        live(home.scenes(0, lived), Tracker(), recorder)
        recorder.close()
        moments = recall(MomentMemory(folder))
        row |= {"moments": len(moments), "with_boxes": sum(any(m.known.boxes) for m in moments)}
        try:
            outcome = sleep(SleepOptions(Path(folder), minutes))
            words, path = outcome.words(), outcome.path or default_model()
        except PvmError as error:
            words, path = str(error).replace(folder, ""), default_model()
        for when, model in (("before", default_model()), ("after", path)):
            found = [marks(model, place, held_back) for place in (home, *others)]
            for measure in ("auc", "false_alarms", "forecast_over_copy"):
                row[f"{measure}_{when}"] = found[0][measure]
            for measure in ("auc", "false_alarms"):
                row[f"{measure}_elsewhere_{when}"] = round(float(np.mean([f[measure] for f in found[1:]])), 4)
    return row | {"sleep": words}


def main() -> None:
    """Live in the homes and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--homes", type=int, default=8, help="number of homes (default: %(default)s)")
    parser.add_argument(
        "--first", type=int, default=FIRST, help="seed of the first home (default: %(default)s)"
    )
    parser.add_argument(
        "--minutes",
        type=float,
        default=2.0,
        help="minutes of each sleep, without its exam (default: %(default)s)",
    )
    parser.add_argument(
        "--lived", type=int, default=10, help="scenes of 90 frames lived in (default: %(default)s)"
    )
    parser.add_argument(
        "--held-back", type=int, default=4, help="scenes seen before and after (default: %(default)s)"
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("benchmarks/homes.csv"),
        help="table to write, as CSV (default: %(default)s)",
    )
    args = parser.parse_args()
    cv2.setNumThreads(1)
    rows = []
    for seed in tqdm(range(args.first, args.first + args.homes), unit="home", disable=None):
        rows.append(night(Home(seed), args.minutes, args.lived, args.held_back))
        write(rows, args.output)  # a run that is cut short


if __name__ == "__main__":
    main()
