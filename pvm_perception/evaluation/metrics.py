"""Measures of tracking, each with its source. Boxes are x, y, w, h; scores 0..1."""

from __future__ import annotations

import numpy as np

STEPS = np.linspace(0, 1, 101)  # overlap thresholds of the success curve
FRAME_RATE = 30.0  # frames a second


def overlap(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the intersection over union of boxes, 0..1.

    Parameters
    ----------
    a, b
        (..., 4) x, y, w, h of one unit; their leading axes broadcast.
    """
    low = np.maximum(a[..., :2], b[..., :2])
    high = np.minimum(a[..., :2] + a[..., 2:4], b[..., :2] + b[..., 2:4])
    both = np.clip(high - low, 0, None).prod(axis=-1)
    union = a[..., 2:4].prod(axis=-1) + b[..., 2:4].prod(axis=-1) - both
    return both / np.maximum(union, 1e-9)


def success_curve(ious: np.ndarray) -> np.ndarray:
    """Return the share of frames whose overlap exceeds each threshold of `STEPS`, (101,).

    OTB (Wu, Lim & Yang 2013, "Online Object Tracking: A Benchmark", section 4.1). A frame with a
    target and no box counts with overlap 0.
    """
    ious = np.asarray(ious, float)
    return np.array([(ious > s).mean() if len(ious) else 0.0 for s in STEPS])


def success_auc(ious: np.ndarray) -> float:
    """Return the area under the success curve over overlap 0..1 (OTB)."""
    return float(np.trapezoid(success_curve(ious), STEPS))


def precision_at(errors: np.ndarray, limit: float) -> float:
    """Return the share of frames whose centre error is small enough.

    Parameters
    ----------
    errors
        (frames,) px; infinite where there is no box.
    limit
        The largest error that is small enough, px; OTB takes 20 px.
    """
    errors = np.asarray(errors, float)
    return float((errors <= limit).mean()) if len(errors) else 0.0


def normalised_precision(errors: np.ndarray) -> float:
    """Return the area under the precision curve of centre errors in units of the box, 0..0.5.

    TrackingNet (Mueller et al. 2018, section 5.2): the error is divided by the labelled width and
    height; the area is scaled to 0..1.
    """
    errors = np.asarray(errors, float)
    limits = np.linspace(0, 0.5, 51)
    curve = [(errors <= k).mean() if len(errors) else 0.0 for k in limits]
    return float(np.trapezoid(curve, limits) / 0.5)


def long_term(ious: np.ndarray, scores: np.ndarray, present: np.ndarray) -> dict[str, float]:
    """Return VOT long-term precision, recall and F at the score threshold with the best F.

    Lukezic et al. 2018, "Now you see me: evaluating performance in long-term visual tracking":
    precision is the mean overlap over frames with a box, recall over frames with a target; on
    a frame without a target a box has overlap 0.

    Parameters
    ----------
    ious, scores, present
        (frames,) overlap, score of the box (-1: none), whether the target is in view.
    """
    best = {"precision": 0.0, "recall": 0.0, "f": 0.0}
    total = max(int(present.sum()), 1)
    for threshold in np.unique(scores[scores >= 0]):
        reported = scores >= threshold
        good = float(ious[reported & present].sum())
        precision, recall = good / max(int(reported.sum()), 1), good / total
        f = 2 * precision * recall / max(precision + recall, 1e-12)
        if f > best["f"]:
            best = {"precision": precision, "recall": recall, "f": f}
    return best


def presence(reported: np.ndarray, present: np.ndarray) -> dict[str, float]:
    """Return how well the presence of a target is reported, over frames.

    Parameters
    ----------
    reported
        (frames,) bool, whether a box was reported.
    present
        (frames,) bool, whether the target was in view.

    Returns
    -------
    dict
        `presence_f1`, NaN where no frame has the target; `false_alarms`, the share of frames without the
        target on which a box was reported; `false_alarms_per_minute`, how often one began in a minute of such
        frames at `FRAME_RATE`: a flicker and a steady error differ in it. The last two are NaN where every
        frame has the target.
    """
    both = float((reported & present).sum())
    absent, false = int((~present).sum()), reported & ~present
    began = int(false[:1].sum()) + int((false[1:] & ~false[:-1]).sum())
    return {
        "presence_f1": 2 * both / max(float(reported.sum() + present.sum()), 1.0)
        if present.any()
        else float("nan"),
        "false_alarms": float(false.sum()) / absent if absent else float("nan"),
        "false_alarms_per_minute": began * 60 * FRAME_RATE / absent if absent else float("nan"),
    }


def average_precision(scores: np.ndarray, hits: np.ndarray, total: int) -> float:
    """Return the area under the curve of precision against recall, over all boxes together.

    Everingham et al. 2015, "The PASCAL Visual Object Classes Challenge: A Retrospective", section 3.4.1:
    at each recall the best precision at that recall or more counts.

    Parameters
    ----------
    scores, hits
        (boxes,) score of each, and whether it is right.
    total
        Number of targets; NaN where there is none.
    """
    if not total:
        return float("nan")
    right = np.asarray(hits, bool)[np.argsort(-np.asarray(scores, float), kind="stable")]
    precision = np.cumsum(right) / np.arange(1, len(right) + 1)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    return float(best[right].sum() / total)


def reliability(scores: np.ndarray, hits: np.ndarray, bins: int = 10) -> np.ndarray:
    """Return how often boxes of a score are right, by score in equal steps.

    Parameters
    ----------
    scores
        (boxes,), 0..1.
    hits
        (boxes,), whether each was right.
    bins
        Number of steps.

    Returns
    -------
    ndarray
        (bins, 3) mean score, share of hits, number of boxes; an empty bin has NaN means.
    """
    scores, hits = np.asarray(scores, float), np.asarray(hits, float)
    which = np.minimum((scores * bins).astype(int), bins - 1)
    rows = np.full((bins, 3), np.nan)
    for k in range(bins):
        mine = which == k
        rows[k, 2] = mine.sum()
        if mine.any():
            rows[k, :2] = scores[mine].mean(), hits[mine].mean()
    return rows


def calibration_error(scores: np.ndarray, hits: np.ndarray, bins: int = 10) -> float:
    """Return the expected calibration error (Guo et al. 2017): |hits - score|, weighted by boxes.

    Parameters
    ----------
    scores, hits, bins
        As for `reliability`.

    Returns
    -------
    float
        0..1; NaN where there are no boxes.
    """
    rows = reliability(scores, hits, bins)
    full = rows[:, 2] > 0
    if not full.any():
        return float("nan")
    return float((np.abs(rows[full, 1] - rows[full, 0]) * rows[full, 2]).sum() / rows[:, 2].sum())
