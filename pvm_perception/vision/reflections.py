"""Reflections: a faint double of a thing straight below it, in a wet road or a polished floor."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import cv2
import numpy as np

from pvm_perception.core.backend import Images
from pvm_perception.types import Detection

ALIGNED = 0.35  # sides that a reflection's centre may lie to the left or right of the thing's
OVERLAP = 0.2  # share of its height that its box may cover of the reflection's
ALIKE = 0.6  # difference of their areas, as a logarithm
FAINT = 0.5  # share of the thing's contrast below which its double is a reflection
AS_SURE = 0.5  # share of the reflection's score that the thing's must exceed
KEPT = 0.2  # factor of a reflection's score


def discount_reflections(image: Images, found: Sequence[Detection]) -> list[Detection]:
    """Lower the score of what is the reflection of something else that was found.

    Level ground shows a thing once more, straight below it, as large and far fainter: no second thing that
    stands on the ground shows itself like that.

    Parameters
    ----------
    image
        (H, W, 3) BGR.
    found
        All detections of the image, source px.

    Returns
    -------
    list of Detection
        As many as in `found`, best first.
    """
    result = list(found)
    for low, thing in _stacked(found):
        if _contrast(image, found[low]) < FAINT * _contrast(image, found[thing]):
            result[low] = dataclasses.replace(found[low], score=KEPT * found[low].score)
    return sorted(result, key=lambda d: -d.score)


def _stacked(found: Sequence[Detection]) -> list[tuple[int, int]]:
    """Return (lower, upper) of those of one target and size that lie straight above one another."""
    if len(found) < 2:
        return []
    x, y, w, h, score = np.array([(d.x, d.y, d.w, d.h, d.score) for d in found]).T  # (n,) each
    names = np.array([d.target for d in found])
    middle, side, area = x + w / 2, np.maximum(w, h), np.log(w * h)
    stacked = (  # (n, n), by lower and upper
        (names[:, None] == names)
        & (y + (1 - OVERLAP) * h <= y[:, None])
        & (score > AS_SURE * score[:, None])
        & (np.abs(middle[:, None] - middle) < ALIGNED * (side[:, None] + side) / 2)
        & (np.abs(area[:, None] - area) < ALIKE)
    )
    return [(int(low), int(upper)) for low, upper in np.argwhere(stacked)]


def _contrast(image: Images, d: Detection) -> float:
    """Return the standard deviation of the colours in a box, mean of the channels."""
    top, left = max(int(d.y), 0), max(int(d.x), 0)
    part = image[top : max(int(d.y + d.h), top + 1), left : max(int(d.x + d.w), left + 1)]  # (h, w, 3)
    return float(cv2.meanStdDev(part)[1].mean()) if part.size else 0.0
