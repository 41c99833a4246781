"""The tutorial's way to find a green ball or a stop sign: colour, shape of the contour, Kalman filter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from pvm_perception.evaluation.constant_velocity import ConstantVelocity, Rect
from pvm_perception.types import Track


@dataclass(frozen=True)
class Colour:
    """How a tutorial describes a target: HSV ranges (OpenCV's scale), then the shape of a contour."""

    ranges: tuple[tuple[tuple[int, int, int], tuple[int, int, int]], ...]
    shape: Callable[[np.ndarray], bool]


def is_round(contour: np.ndarray) -> bool:
    """Tell a disc by its circularity 4 pi area / perimeter^2: 1 for a circle, 0.79 a square."""
    perimeter = cv2.arcLength(contour, closed=True)
    return 4 * np.pi * cv2.contourArea(contour) > 0.7 * perimeter**2


def is_octagon(contour: np.ndarray) -> bool:
    """Tell an octagon by its corners, give or take two, and by how much of its box it fills.

    A regular octagon fills 0.83 of its box, a triangle 0.5, a square 1.
    """
    corners = cv2.approxPolyDP(contour, 0.02 * cv2.arcLength(contour, closed=True), closed=True)
    _, _, w, h = cv2.boundingRect(contour)
    return 6 <= len(corners) <= 10 and 0.65 < cv2.contourArea(contour) / (w * h) < 0.95


COLOURS = {
    "green_ball": Colour((((29, 70, 40), (85, 255, 255)),), is_round),
    "stop_sign": Colour((((0, 90, 50), (10, 255, 255)), ((170, 90, 50), (180, 255, 255))), is_octagon),
}


class ColourDetector:
    """The tutorial's way: HSV threshold, opening and closing, the largest contour of the right shape.

    A constant-velocity Kalman filter smooths the box, and carries it through frames without one.
    """

    least = 60.0  # px, area of a contour

    def __init__(self, target: str) -> None:
        self.target, self.colour = target, COLOURS.get(target)
        self.filter = ConstantVelocity()

    def detect(self, image: np.ndarray) -> Rect | None:
        """Return the largest box of the right colour and shape."""
        if self.colour is None:
            return None  # a target without a known colour
        hsv = cv2.cvtColor(cv2.GaussianBlur(image, (5, 5), 0), cv2.COLOR_BGR2HSV)
        mask: np.ndarray = np.zeros(image.shape[:2], np.uint8)
        for low, high in self.colour.ranges:
            mask = cv2.bitwise_or(mask, cv2.inRange(hsv, low, high))
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
        mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, kernel)
        mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, kernel)
        contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        good = [c for c in contours if cv2.contourArea(c) >= self.least and self.colour.shape(c)]
        if not good:
            return None
        x, y, w, h = cv2.boundingRect(max(good, key=cv2.contourArea))
        return x, y, w, h

    def update(self, image: np.ndarray) -> list[Track]:
        """Return the track of the target in the next frame, (H, W, 3) uint8, BGR; none or one."""
        box = self.filter.update(self.detect(image))
        sure = 1.0 - self.filter.gap / (self.filter.coast + 1)
        return [Track(self.target, *box, sure, 0)] if box else []
