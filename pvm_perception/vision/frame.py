"""Any image to the network's input and boxes back to source pixels; for training and node alike."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

BAR = 114  # grey of the bars beside an image of another aspect; training scenes use the same


@dataclass(frozen=True)
class View:
    """Where a source image lies in the network's input: x_network = x_source * scale + left."""

    scale: float
    left: int
    top: int
    width: int
    height: int
    network: tuple[int, int]

    @staticmethod
    def fit(source: tuple[int, int], network: tuple[int, int]) -> View:
        """Return the largest centred view of a (rows, cols) source in a (rows, cols) input."""
        scale = min(network[0] / source[0], network[1] / source[1])
        height = max(1, round(source[0] * scale))
        width = max(1, round(source[1] * scale))
        return View(scale, (network[1] - width) // 2, (network[0] - height) // 2, width, height,
                    network)

    def to_source(self, boxes: np.ndarray) -> np.ndarray:
        """Map (..., 4) boxes x, y, w, h from network to source pixels."""
        boxes = np.asarray(boxes, np.float64)
        shift = np.array([self.left, self.top, 0, 0])
        return (boxes - shift) / self.scale

    def to_network(self, boxes: np.ndarray) -> np.ndarray:
        """Map (..., 4) boxes x, y, w, h from source to network pixels."""
        return np.asarray(boxes, np.float64) * self.scale + [self.left, self.top, 0, 0]


def network_input(image: np.ndarray, view: View) -> np.ndarray:
    """Return the network's input for a BGR image: resized by area, grey bars beside it.

    Parameters
    ----------
    image
        (H, W, 3) uint8 of the size that `view` was made for.
    view
        From `View.fit`.

    Returns
    -------
    (rows, cols, 3) uint8
    """
    shrinks = view.scale < 1
    small = cv2.resize(image, (view.width, view.height),
                       interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    if small.shape[:2] == view.network:
        return small
    canvas = np.full((*view.network, 3), BAR, np.uint8)
    canvas[view.top:view.top + view.height, view.left:view.left + view.width] = small
    return canvas
