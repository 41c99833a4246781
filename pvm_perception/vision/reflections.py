"""Reflections: a faint double of a thing straight below it, in a wet road or a polished floor."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import cv2

from pvm_perception.core.backend import Images
from pvm_perception.types import Detection

ALIGNED = 0.35  # sides that a reflection's centre may lie to the left or right of the thing's
OVERLAP = 0.2  # share of its height that its box may cover of the reflection's
ALIKE = 0.6  # difference of their areas, as a logarithm
FAINT = 0.5  # share of the thing's contrast below which its double is a reflection
AS_SURE = 0.5  # share of the reflection's score that the thing's must exceed
WEAK = 0.01  # score of what no track begins with or goes on with: not worth a comparison
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
    result = []
    for low in found:
        things = [d for d in found if d.score > AS_SURE * low.score] if low.score > WEAK else []
        if any(_stands_over(d, low) and _fainter(image, low, d) for d in things):
            low = dataclasses.replace(low, score=KEPT * low.score)
        result.append(low)
    return sorted(result, key=lambda d: -d.score)


def _stands_over(d: Detection, low: Detection) -> bool:
    """Tell whether a detection lies straight above another one of the same target and size."""
    side = (max(d.w, d.h) + max(low.w, low.h)) / 2
    return (
        d.target == low.target
        and d.y + (1 - OVERLAP) * d.h <= low.y
        and abs(d.x + d.w / 2 - low.x - low.w / 2) < ALIGNED * side
        and abs(math.log(d.w * d.h / (low.w * low.h))) < ALIKE
    )


def _fainter(image: Images, low: Detection, thing: Detection) -> bool:
    """Tell whether a box has far less contrast than another one."""
    return _contrast(image, low) < FAINT * _contrast(image, thing)


def _contrast(image: Images, d: Detection) -> float:
    """Return the standard deviation of the colours in a box, mean of the channels."""
    top, left = max(int(d.y), 0), max(int(d.x), 0)
    part = image[top : max(int(d.y + d.h), top + 1), left : max(int(d.x + d.w), left + 1)]  # (h, w, 3)
    return float(cv2.meanStdDev(part)[1].mean()) if part.size else 0.0
