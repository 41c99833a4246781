"""Every box counts: precision, recall and false boxes over all that was reported, not the best box alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from pvm_perception.evaluation.metrics import average_precision, overlap
from pvm_perception.types import Box, Frame, Track

HIT = 0.5  # overlap from which a box counts as right
TOUCH = 0.1  # overlap below which a box has nothing to do with a target
APPROACH = 1.5  # growth of the longer side, last quarter over first quarter, of a target that comes nearer


@dataclass(frozen=True)
class FrameBoxes:
    """All boxes of one target in one frame; source px.

    Attributes
    ----------
    frame : the frame's name
    boxes : (n, 5) what was reported: x, y, w, h, score
    ids : (n,) its track ids
    truth : (m, 4) labelled boxes: x, y, w, h
    instances : (m,) which of the sequence's targets each of them is
    """

    frame: str
    boxes: np.ndarray
    ids: np.ndarray
    truth: np.ndarray
    instances: np.ndarray

    @staticmethod
    def of(frame: Frame, target: str, tracks: Iterable[Track]) -> FrameBoxes:
        """Take a labelled frame's truth and what was reported of it.

        A label of weight 0 is no target, and what touches it and is not right is left out: neither counts.

        Parameters
        ----------
        frame
            With its true boxes, pixels; those without an id of their own are numbered by their order.
        target
            Whose boxes are compared.
        tracks
            Reported of the frame; of all targets.
        """
        mine = [t for t in tracks if t.target == target]
        labels = [b for b in frame.boxes or () if b.target == target]
        true, doubtful = ([b for b in labels if (b.weight > 0) is sure] for sure in (True, False))
        found = FrameBoxes(
            frame.name,
            np.array([(t.x, t.y, t.w, t.h, t.score) for t in mine], float).reshape(-1, 5),
            np.array([t.id for t in mine], int),
            _rectangles(true),
            np.array([k if b.id is None else b.id for k, b in enumerate(true)], int),
        )
        near = (overlap(found.boxes[:, None, :4], _rectangles(doubtful)[None]) >= TOUCH).any(axis=1)
        counts = found.hits | ~near
        return replace(found, boxes=found.boxes[counts], ids=found.ids[counts])

    @property
    def overlaps(self) -> np.ndarray:
        """(n, m) overlap of each reported box with each target."""
        return overlap(self.boxes[:, None, :4], self.truth[None])

    @property
    def hits(self) -> np.ndarray:
        """(n,) bool, whether each reported box is right.

        As in COCO (Lin et al. 2014): boxes in the order of their scores, each takes the target that it
        overlaps most of those still free; what finds none, a second box on a target among them, is false.
        """
        overlaps, right = self.overlaps, np.zeros(len(self.boxes), bool)
        for k in np.argsort(-self.boxes[:, 4], kind="stable"):
            if overlaps.shape[1] and overlaps[k].max() >= HIT:
                right[k] = True
                overlaps[:, overlaps[k].argmax()] = -1
        return right

    @property
    def strays(self) -> np.ndarray:
        """(n,) bool, whether each reported box touches no target.

        The background error of TIDE (Bolya et al. 2020, "A General Toolbox for Identifying Object
        Detection Errors").
        """
        return np.asarray((self.overlaps < TOUCH).all(axis=1))


def scores_and_hits(frames: Iterable[FrameBoxes]) -> tuple[np.ndarray, np.ndarray]:
    """Return the score of every box, and whether it was right; both (boxes,)."""
    frames = list(frames)
    return (
        np.concatenate([np.zeros(0), *(f.boxes[:, 4] for f in frames)]),
        np.concatenate([np.zeros(0, bool), *(f.hits for f in frames)]),
    )


def box_measures(frames: Iterable[FrameBoxes]) -> dict[str, float]:
    """Return what all boxes of these frames come to.

    Returns
    -------
    dict
        `precision_50`, `recall_50`: of all reported boxes and of all targets, the share that is right and
        the share that is found, at overlap 0.5; `ap_50`: average precision there, over the scores of
        what was reported; `false_boxes`: boxes that are not right, for each frame; `stray_boxes`: those
        that touch no target, for each frame; `stray_frames`: share of frames with one.
        NaN where there is nothing to divide by.
    """
    frames = list(frames)
    scores, hits = scores_and_hits(frames)
    strays = np.array([f.strays.sum() for f in frames])
    true = sum(len(f.truth) for f in frames)
    return {
        "precision_50": _share(hits.sum(), len(hits)),
        "recall_50": _share(hits.sum(), true),
        "ap_50": average_precision(scores, hits, true),
        "false_boxes": _share((~hits).sum(), len(frames)),
        "stray_boxes": _share(strays.sum(), len(frames)),
        "stray_frames": _share((strays > 0).sum(), len(frames)),
    }


def first_detection(frames: Iterable[FrameBoxes]) -> dict[str, float]:
    """Return how large a target that comes nearer was when it came into view, and when it was found.

    Returns
    -------
    dict
        `start_px`, `first_px`: the longer side of the largest target on the first frame with one, and on
        the first frame with a right box; source px. NaN where the target does not come nearer, and where
        it is never found.
    """
    seen = [(f, max(f.truth[:, 2:].max(axis=1))) for f in frames if len(f.truth)]
    sides, quarter = [side for _, side in seen], max(len(seen) // 4, 1)
    if not seen or np.median(sides[-quarter:]) < APPROACH * np.median(sides[:quarter]):
        return {"start_px": float("nan"), "first_px": float("nan")}
    first = next((side for f, side in seen if f.hits.any()), float("nan"))
    return {"start_px": float(sides[0]), "first_px": float(first)}


def _rectangles(boxes: list[Box]) -> np.ndarray:
    return np.array([(b.x, b.y, b.w, b.h) for b in boxes], float).reshape(-1, 4)


def _share(part: float, whole: float) -> float:
    return float(part) / whole if whole else float("nan")
