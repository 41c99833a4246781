"""The few records that the packages hand to each other: Frame and its Header, Box, Detection, Track."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

TARGETS = ("green_ball", "stop_sign")


@dataclass(frozen=True)
class Box:
    """A labelled box: pixels of the image it belongs to, top-left origin; `visible` is 0..1.

    `id` tells several of one target apart over time; None where the labels do not. `weight` says how
    much the label counts in learning: 1 = it is the target; 0 = it may be or not, so that neither finding
    nor missing it is an error.
    """

    target: str
    x: float
    y: float
    w: float
    h: float
    visible: float = 1.0
    id: int | None = None
    weight: float = 1.0


class Truth:
    """Columns of the true boxes that a network learns from: arrays (..., M, COLUMNS) float32.

    Each row is one target in view, in pixels of the image it belongs to. A row whose TARGET is
    NONE is empty. A row of WEIGHT 0 is a place where the target may be or not.
    """

    TARGET = 0  # which target: its index in the network's list of targets
    X, Y, W, H = 1, 2, 3, 4  # the box: its top left corner and size
    BOX = slice(1, 5)  # all four of them
    VISIBLE = 5  # the share of the target that nothing hides, 0..1
    WEIGHT = 6  # how much the row counts in learning, 0..1, as in `Box`
    COLUMNS = 7
    NONE = -1
    IN_VIEW = 4  # rows for what is seen in one frame

    @staticmethod
    def boxes(rows: npt.NDArray[np.float32], targets: Sequence[str] = TARGETS) -> tuple[Box, ...]:
        """Return the boxes of one image's rows (M, COLUMNS), which name their targets by index.

        Parameters
        ----------
        rows
            (M, COLUMNS), of which unused ones hold `NONE`.
        targets
            Names by the index that the rows hold.
        """
        return tuple(
            Box(targets[int(t)], x, y, w, h, visible, weight=weight)
            for t, x, y, w, h, visible, weight in rows.tolist()
            if t >= 0
        )

    @staticmethod
    def rows(boxes: Sequence[Box], targets: Sequence[str] = TARGETS) -> npt.NDArray[np.float32]:
        """Return the rows (IN_VIEW, COLUMNS) of one image's boxes.

        Things of other names were looked at and are no target: they have no row.

        Parameters
        ----------
        boxes
            At most IN_VIEW of them, in network pixels.
        targets
            Names; the rows hold a name's index.
        """
        rows = np.full((Truth.IN_VIEW, Truth.COLUMNS), Truth.NONE, np.float32)
        for n, b in enumerate([b for b in boxes if b.target in targets][: Truth.IN_VIEW]):
            rows[n] = [targets.index(b.target), b.x, b.y, b.w, b.h, b.visible, b.weight]
        return rows

    @staticmethod
    def unknown(size: tuple[int, int], targets: Sequence[str] = TARGETS) -> npt.NDArray[np.float32]:
        """Return rows (targets, COLUMNS) for an image of (rows, cols) of which nothing is known.

        They say that each target may be anywhere. Rows of what is known to be there still count.

        Parameters
        ----------
        size
            Rows and columns of the image, px.
        targets
            Names of those that may be there.
        """
        return np.array([[t, 0, 0, size[1], size[0], 1, 0] for t in range(len(targets))], np.float32)


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
    ahead : (4,) float32, the same from this frame to the next, as far as the robot knew then
    """

    image: npt.NDArray[np.uint8]
    name: str
    stamp: float | None = None
    boxes: tuple[Box, ...] | None = None
    header: Header | None = None
    motion: npt.NDArray[np.float32] | None = None
    ahead: npt.NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Candidate:
    """A box that the readout proposes, in source pixels.

    `score` is the readout's own, 0..1: it puts candidates in order, but is no probability.
    """

    target: str
    x: float
    y: float
    w: float
    h: float
    score: float


@dataclass(frozen=True)
class Detection:
    """A box seen in one frame, in source pixels; `score` is the probability that it is right, 0..1.

    `evidence` is what surprise says for it, `doubt` what its size says against it, in log odds; the score
    holds both already.
    """

    target: str
    x: float
    y: float
    w: float
    h: float
    score: float
    evidence: float = 0.0
    doubt: float = 0.0


@dataclass(frozen=True)
class Track:
    """A target believed present: box in source pixels, score 0..1, stable id, state.

    `state` is "confirmed" (seen now), "coasting" (carried through a gap), or, of what is never reported,
    "tentative" (not believed yet).
    """

    target: str
    x: float
    y: float
    w: float
    h: float
    score: float
    id: int
    state: str = field(default="confirmed")
