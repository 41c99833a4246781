"""Real things to be shown in a few boxes, from the labelled data: most are found by their colour."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from pvm_perception.streams.files import FolderStream
from pvm_perception.types import Frame

Box = tuple[float, float, float, float]
Shot = tuple[np.ndarray, list[Box]]  # an image, and where the thing is in it; it may be there several times


@dataclass(frozen=True)
class Real:
    """A real thing, and how its boxes are found.

    Attributes
    ----------
    folder : its pictures, in the folder with the data
    low, high : its hue, saturation and value, as OpenCV has them; None: `labels.csv` says where it is
    aspect : width over height from which to which a region of the colour is the thing, and the whole of it
    stills : whether the pictures have nothing to do with each other
    """

    folder: str
    low: tuple[int, int, int] | None = None
    high: tuple[int, int, int] = (179, 255, 255)
    aspect: tuple[float, float] = (0.1, 10.0)
    stills: bool = False


REAL = {
    "real orange ball": Real("real/neg_orange_ball_bounce", (5, 150, 120), (22, 255, 255)),
    "yellow football": Real("train/msl_robocup_yellow_ball", stills=True),
    "blue cube": Real("negatives/neg_cones_cubes_frc", (112, 95, 40), (130, 255, 255), (0.55, 1.6), True),
    "toy frog": Real("negatives/neg_green_toy_frog", (40, 150, 80), (75, 255, 255)),
    "red cup": Real("negatives/neg_red_cups", (165, 130, 90), (179, 255, 255), (0.3, 0.75)),
    "red flower": Real("negatives/neg_red_flower", (0, 180, 150), (8, 255, 255)),
}
EMPTY = "real/neg_no_entry_signs"  # none of them is in these pictures
LEAST_AREA = 0.0018  # of a region of a thing's colour, as a share of the picture's
CLOSED = 9  # px: gaps of a region that are closed
LOOKS = 3  # at each still


def real(data: Path, thing: Real, count: int) -> tuple[list[tuple[np.ndarray, Box]], list[list[Shot]]]:
    """Return boxes of a thing to teach, and clips to seek it in.

    Parameters
    ----------
    data
        Folder with the labelled data.
    thing
        What is taught in the first half of its pictures and sought in the second, and in a clip without it.
    count
        How many boxes.
    """
    shots = [(frame.image, _boxes(frame, thing)) for frame in FolderStream(data / thing.folder)]
    half = len(shots) // 2
    largest = [(i, max(boxes, key=lambda b: b[2] * b[3])) for i, boxes in shots[:half] if boxes]
    order = np.linspace(0, len(largest) - 1, count).round().astype(int)
    spread = np.argsort(np.arange(len(order)) * 7 % len(order), kind="stable")  # the first few lie apart
    sought = [shots[half:]]
    if thing.stills:  # the last of some looks counts
        sought = [[*[(image, [])] * (LOOKS - 1), (image, boxes)] for image, boxes in shots[half:] if boxes]
    empty: list[Shot] = [(frame.image, []) for frame in FolderStream(data / EMPTY)]
    return [largest[order[k]] for k in spread], [*sought, empty]


def _boxes(frame: Frame, thing: Real) -> list[Box]:
    """Return where a real thing is in a picture."""
    if thing.low is None:
        return [(b.x, b.y, b.w, b.h) for b in frame.boxes or () if b.target == "other_ball"]
    mask = cv2.inRange(cv2.cvtColor(frame.image, cv2.COLOR_BGR2HSV), thing.low, thing.high)
    mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((CLOSED, CLOSED), np.uint8))
    stats = cv2.connectedComponentsWithStats(mask)[2][1:]
    seen = stats[stats[:, cv2.CC_STAT_AREA] > LEAST_AREA * mask.size]
    low, high = thing.aspect
    return [(x, y, w, h) for x, y, w, h in seen[:, :4].astype(float).tolist() if low < w / h < high]
