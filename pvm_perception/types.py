"""The few records that travel between rooms: Frame and its Header, Box, Detection, Track."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

TARGETS = ("green_ball", "stop_sign")


@dataclass(frozen=True)
class Box:
    """A labelled box: pixels of the image it belongs to, top-left origin; `visible` is 0..1.

    `id` tells several of one target apart over time; None where the labels do not.
    """

    target: str
    x: float
    y: float
    w: float
    h: float
    visible: float = 1.0
    id: int | None = None


class Truth:
    """Columns of the true boxes that a network learns from: arrays (..., M, COLUMNS) float32.

    Each row is one target in view, in pixels of the image it belongs to. A row whose TARGET is
    NONE is empty.
    """

    TARGET = 0  # which target: its index in the network's list of targets
    X, Y, W, H = 1, 2, 3, 4  # the box: its top left corner and size
    BOX = slice(1, 5)  # all four of them
    VISIBLE = 5  # the share of the target that nothing hides, 0..1
    COLUMNS = 6
    NONE = -1

    @staticmethod
    def boxes(rows: np.ndarray, targets: Sequence[str] = TARGETS) -> tuple[Box, ...]:
        """Return the boxes of one image's rows (M, COLUMNS), which name their targets by index."""
        return tuple(Box(targets[int(row[Truth.TARGET])], *map(float, row[Truth.X:]))
                     for row in rows if row[Truth.TARGET] >= 0)


@dataclass(frozen=True)
class Header:
    """The header of the recorded message that a frame came in, exact to the nanosecond.

    `logged` is the time of recording, in nanoseconds.
    """

    sec: int
    nanosec: int
    frame_id: str
    logged: int


@dataclass(frozen=True)
class Frame:
    """One image of a stream with its stamp and, where known, the truth.

    Attributes
    ----------
    image : (H, W, 3) uint8, BGR
    name : the image's file name for a folder, the index from 0 (as text) otherwise
    stamp : seconds, or None where the source has no clock
    boxes : the truth, empty = known to hold no target; None = unknown
    header : of the message, where the source is a bag
    motion : (4,) float32, what the camera's own motion since the frame before did to the picture, as
        `vision.motion` defines it; None where the source does not tell
    """

    image: np.ndarray
    name: str
    stamp: float | None = None
    boxes: tuple[Box, ...] | None = None
    header: Header | None = None
    motion: np.ndarray | None = None


@dataclass(frozen=True)
class Detection:
    """One readout of one frame: a box in source pixels and a presence score 0..1."""

    target: str
    x: float
    y: float
    w: float
    h: float
    score: float


@dataclass(frozen=True)
class Track:
    """A target believed present: box in source pixels, score 0..1, stable id, state.

    `state` is "confirmed" (seen now) or "coasting" (carried through a gap).
    """

    target: str
    x: float
    y: float
    w: float
    h: float
    score: float
    id: int
    state: str = field(default="confirmed")
