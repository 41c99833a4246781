"""The faint double of a thing, straight below it, is its reflection; nothing else loses by it."""

import numpy as np
import pytest

from pvm_perception.types import Detection
from pvm_perception.vision.reflections import discount_reflections

UPPER = Detection("stop_sign", 100, 40, 60, 60, 0.9)
LOWER = Detection("stop_sign", 104, 300, 56, 58, 0.8)


def painted(*sprites):
    """Return a grey picture with boxes of stripes in it, each of a contrast of 0..255."""
    image = np.full((480, 640, 3), 90, np.uint8)
    for d, contrast in sprites:
        rows, cols = (slice(int(a), int(a + b)) for a, b in ((d.y, d.h), (d.x, d.w)))
        image[rows, cols][::4] = 90 + contrast
    return image


def scores(image, *found):
    return {d.x: d.score for d in discount_reflections(image, found)}


def test_a_faint_double_below_is_a_reflection():
    left = scores(painted((UPPER, 150), (LOWER, 30)), UPPER, LOWER)
    assert left[UPPER.x] == UPPER.score
    assert left[LOWER.x] < 0.25 * LOWER.score


def test_best_comes_first():
    found = discount_reflections(painted((UPPER, 150), (LOWER, 30)), [LOWER, UPPER])
    assert [d.x for d in found] == [UPPER.x, LOWER.x]


@pytest.mark.parametrize(
    "other",
    [
        Detection("stop_sign", 400, 300, 56, 58, 0.8),  # to the right
        Detection("stop_sign", 104, 300, 20, 20, 0.8),  # far smaller
        Detection("green_ball", 104, 300, 56, 58, 0.8),  # another target
        Detection("stop_sign", 104, 60, 56, 58, 0.8),  # the same place
    ],
)
def test_what_stands_elsewhere_is_none(other):
    assert scores(painted((UPPER, 150), (other, 30)), UPPER, other)[other.x] == other.score


def test_two_things_of_like_contrast_on_shelves_stay():
    assert scores(painted((UPPER, 150), (LOWER, 120)), UPPER, LOWER)[LOWER.x] == LOWER.score


def test_a_doubtful_thing_above_explains_nothing():
    faint = Detection("stop_sign", 100, 40, 60, 60, 0.1)
    assert scores(painted((faint, 150), (LOWER, 30)), faint, LOWER)[LOWER.x] == LOWER.score


def test_boxes_at_and_beyond_the_border_are_taken():
    at = Detection("stop_sign", 630.2, 479.5, 9.6, 0.4, 0.5)
    assert scores(painted(), UPPER, at)[at.x] == at.score
