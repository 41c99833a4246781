"""Draw the pictures of docs/prediction.md: what the shipped model expects of generated scenes, and what came.

Usage: .venv/bin/python scripts/draw_prediction.py [--model FILE] [--output DIR]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from pvm_perception import Tracker
from pvm_perception.evaluation.forecast import HORIZONS
from pvm_perception.streams.scenes.scene import Scene
from pvm_perception.vision.draw import WHITE, colour_map, colour_wheel, write
from pvm_perception.vision.frame import View

ROOT = Path(__file__).resolve().parent.parent
SIZE, FRAMES = (480, 640), 24
SCENES = ((43, "stop_sign", 1.0), (47, "stop_sign", 1.0), (44, "green_ball", 0.0))  # seed, cast, turns
MOMENT = 14  # frame after which the forecasts are drawn
TILE, HEAD, GAP = (320, 240), 24, 6  # px
TOP = 8.0  # surprise drawn as the brightest: squared error over the expected one
ROUGH = 0.15  # the same of a model without a forecast by moves: error, black to white


def scene_images(seed: int, target: str, turns: float) -> list[np.ndarray]:
    """Return the frames of a generated scene, (H, W, 3) uint8 BGR.

    Parameters
    ----------
    seed
        Number of the scene.
    target
        What is in it.
    turns
        How fast the camera turns, as `Scene` takes it.
    """
    scene = Scene(
        np.random.default_rng((9_127, seed)),
        FRAMES,
        SIZE,
        None,
        supersample=2,
        cast=(target,),
        sizes=(0.15, 0.3),
        hardest=0.2,
        turns=turns,
    )
    return [scene.render(k)[0] for k in range(FRAMES)]


def tile(image: np.ndarray, words: str) -> np.ndarray:
    """Return a picture of TILE's size below a line that names it.

    Parameters
    ----------
    image
        (H, W, 3) uint8 BGR.
    words
        What the line says.
    """
    head = np.full((HEAD, TILE[0], 3), 32, np.uint8)
    write(head, words, (6, HEAD - 7), WHITE, 0.45)
    picture = np.vstack([head, cv2.resize(image, TILE, interpolation=cv2.INTER_CUBIC)])
    return cv2.copyMakeBorder(picture, 0, GAP, 0, GAP, cv2.BORDER_CONSTANT, value=WHITE)


def shown(tracker: Tracker, values: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Return what belongs to units, (rows, cols, ...), for each pixel of the input that shows the frame.

    Parameters
    ----------
    tracker
        Whose network the units are of.
    values
        (rows, cols, ...) of units, which cover the network's input, bars included.
    image
        (H, W, 3), the frame.
    """
    view = View.fit(image.shape[:2], (tracker.config.height, tracker.config.width))
    rows, cols = view.shown
    large = cv2.resize(values, view.network[::-1], interpolation=cv2.INTER_NEAREST)
    return large[view.top : view.top + rows, view.left : view.left + cols]


def draw(model: Path | None) -> tuple[np.ndarray, np.ndarray]:
    """Return two pictures: a row for each scene, and the frames that the last scene's end is foreseen as."""
    rows = []
    for seed, target, turns in SCENES:
        tracker, images = Tracker(model=model), scene_images(seed, target, turns)
        for image in images[: MOMENT + 1]:
            tracker.update(image)
        expected = tracker.foresee(max(HORIZONS))
        small = [cv2.resize(i, expected[0].shape[1::-1], interpolation=cv2.INTER_AREA) for i in images]
        moves = tracker.moves()
        tracker.update(images[MOMENT + 1])
        surprise = colour_map(shown(tracker, tracker.surprise(), images[0]), ROUGH if moves is None else TOP)
        row = [
            tile(small[MOMENT], "the frame"),
            tile(expected[0], "what it expects next"),
            tile(small[MOMENT + 1], "what came"),
            tile(surprise, "surprise"),
        ]
        if moves is not None:
            row.append(tile(colour_wheel(shown(tracker, moves, images[0])), "the moves that it chose"))
        rows.append(np.hstack(row))
    ahead = [
        np.hstack([tile(pictures[k], f"{words}, {k} ahead") for k in HORIZONS])
        for words, pictures in (("expected", [None, *expected]), ("came", small[MOMENT:]))
    ]
    return np.vstack(rows), np.vstack(ahead)


def main() -> None:
    """Write both pictures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, help="model file instead of the shipped one")
    parser.add_argument("--output", type=Path, default=ROOT / "docs", help="folder for the pictures")
    args = parser.parse_args()
    for name, picture in zip(("prediction", "foresight"), draw(args.model), strict=True):
        cv2.imwrite(str(args.output / f"{name}.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, 85])


if __name__ == "__main__":
    main()
