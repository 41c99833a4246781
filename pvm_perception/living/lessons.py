"""What moments teach: clips for a network, with the tracker's own sure boxes as labels.

A box is a label where its track lasted and was sure once: then its faint frames show the target where it is
hard to see. A box of a track that came and went within the moment is no target: there, and nowhere else,
absence is taught. Of all other places nothing is said, so that a place without targets does not teach that
there are none anywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pvm_perception.living.moments import Moment
from pvm_perception.streams.generated import Clip
from pvm_perception.types import Box, Track, Truth
from pvm_perception.vision.frame import View, network_input
from pvm_perception.vision.motion import seen_through
from pvm_perception.vision.veil import Veil

LASTED = 15  # frames that a track must have been believed before a moment, in it and after it together
SURE = 0.8  # score that it must have reached once
FAINT = 1.2  # a label counts as much as its track's score lies below this, when lessons are drawn
FLARE = 4  # frames that a track lasts at the most that is taken for a false alarm
MARGIN = 12.0  # network px around a false alarm where absence is taught, too
MIRRORED, CLOSE = 0.5, 0.5  # how often a clip is seen so
GROWTH = (1.0, 2.5)  # how much larger than in the whole frame a close look shows it
ROWS = 8  # of truth in a frame


@dataclass(frozen=True)
class Labels:
    """What is believed to be known of a moment: by frame the boxes of targets, and false alarms.

    Attributes
    ----------
    boxes, alarms : by frame
    worth : how much there is to learn from it: the more, the fainter what is known to be there
    """

    boxes: list[list[Box]]
    alarms: list[list[Box]]
    worth: float = 1.0

    @property
    def targets(self) -> set[str]:
        """Names of the targets that have a box."""
        return {b.target for boxes in self.boxes for b in boxes}

    @property
    def empty(self) -> bool:
        """Whether nothing at all is known."""
        return not any(self.boxes) and not any(self.alarms)


def labels(moment: Moment) -> Labels:
    """Return the labels of a moment, from its tracks."""
    runs: dict[int, list[Track]] = {}
    for tracks in moment.tracks:
        for t in tracks:
            runs.setdefault(t.id, []).append(t)
    sure = {
        i
        for i, run in runs.items()
        if moment.before.get(i, 0) + len(run) + moment.after.get(i, 0) >= LASTED
        and max(moment.best.get(i, 0.0), *(t.score for t in run)) >= SURE
    }
    flares = {
        i
        for i, run in runs.items()
        if len(run) <= FLARE and not moment.before.get(i, 0) and not moment.after.get(i, 0)
    }

    def boxes(ids: set[int]) -> list[list[Box]]:
        return [
            [Box(t.target, t.x, t.y, t.w, t.h) for t in tracks if t.id in ids] for tracks in moment.tracks
        ]

    worth = sum(FAINT - t.score for i in sure | flares for t in runs[i])
    return Labels(boxes(sure), boxes(flares), worth)


def lesson(
    moment: Moment, known: Labels, size: tuple[int, int], targets: Sequence[str], rng: np.random.Generator
) -> Clip:
    """Return a moment as a clip to learn from, as the whole frame or a close look shows it, mirrored or not.

    Parameters
    ----------
    moment, known
        The moment and its labels.
    size
        (rows, cols) of the network's input.
    targets
        The network's.
    rng
        Draws how it is seen.
    """
    source = moment.images[0].shape[:2]
    view = View.fit(source, size)
    boxes = [b for some in known.boxes for b in some]
    if boxes and rng.random() < CLOSE:
        b = boxes[int(rng.integers(len(boxes)))]
        centre = b.x + b.w / 2, b.y + b.h / 2
        view = View.window(source, size, centre, view.scale * float(rng.uniform(*GROWTH)))
    veil = Veil()  # lifted as the eyes do it
    images = np.stack([network_input(veil.lift(image), view) for image in moment.images])
    truth = np.stack(
        [_rows(b, a, view, targets) for b, a in zip(known.boxes, known.alarms, strict=True)]
    )  # (T, ROWS, COLUMNS)
    motion = np.full((len(images), 4), np.nan, np.float32)
    for k, moved in enumerate(moment.motion):
        if moved is not None:
            motion[k] = seen_through(view, np.asarray(moved, np.float32), source)
    if rng.random() < MIRRORED:
        images, truth, motion = _mirrored(images, truth, motion)
    return Clip(images, truth, motion)


def _rows(boxes: list[Box], alarms: list[Box], view: View, targets: Sequence[str]) -> np.ndarray:
    """Return a frame's truth (ROWS, COLUMNS): the boxes, and what is unknown."""
    height, width = view.network
    rows: list[list[float]] = []
    for name in dict.fromkeys(targets):
        t = targets.index(name)
        alarm = next((b for b in alarms if b.target == name), None)
        if alarm is None:
            rows.append([t, 0, 0, width, height, 1, 0])
            continue
        x, y, w, h = _place(alarm, view)
        x, y, w, h = x - MARGIN, y - MARGIN, w + 2 * MARGIN, h + 2 * MARGIN
        around = (
            (0.0, 0.0, x, height),
            (x + w, 0.0, width - x - w, height),
            (0.0, 0.0, width, y),
            (0.0, y + h, width, height - y - h),
        )
        rows += [[t, *some, 1, 0] for some in around if min(some[2:]) > 0]
    for b in boxes:
        if b.target in targets:
            rows.append([targets.index(b.target), *_place(b, view), 1, b.weight])
    found = np.full((ROWS, Truth.COLUMNS), Truth.NONE, np.float32)
    some = rows[-ROWS:]
    found[: len(some)] = np.array(some, np.float32).reshape(-1, Truth.COLUMNS)
    return found


def _place(box: Box, view: View) -> tuple[float, float, float, float]:
    x, y, w, h = view.to_network(np.array([box.x, box.y, box.w, box.h])).tolist()
    return x, y, w, h


def _mirrored(
    images: np.ndarray, truth: np.ndarray, motion: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a clip as in a mirror: left is right."""
    truth, motion = truth.copy(), motion.copy()
    real = truth[..., Truth.TARGET] >= 0
    flipped = images.shape[2] - truth[..., Truth.X] - truth[..., Truth.W]
    truth[..., Truth.X] = np.where(real, flipped, truth[..., Truth.X])
    motion[:, 0] *= -1  # the shift to the right
    motion[:, 2] *= -1  # and the roll
    return np.ascontiguousarray(images[:, :, ::-1]), truth, motion
