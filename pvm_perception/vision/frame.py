"""Any image to the network's input and boxes back to source pixels; for training and node alike."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from pvm_perception.errors import PvmError

BAR = 114  # grey of the bars beside an image of another aspect; training scenes use the same


TO_BGR = {1: cv2.COLOR_GRAY2BGR, 4: cv2.COLOR_BGRA2BGR}  # by number of channels


def as_bgr(image: np.ndarray) -> np.ndarray:
    """Return a picture as BGR, (H, W, 3) uint8, from that or (H, W), (H, W, 1), (H, W, 4) uint8.

    Raises
    ------
    PvmError
        It is none of these.
    """
    if (
        not isinstance(image, np.ndarray)
        or image.dtype != np.uint8
        or image.ndim not in (2, 3)
        or 0 in image.shape
        or (image.ndim == 3 and image.shape[2] not in (1, 3, 4))
    ):
        found = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image)
        raise PvmError(
            "an image must be a uint8 array, (H, W, 3) in BGR order, (H, W) or (H, W, 1) in grey, "
            f"or (H, W, 4) in BGRA order, not {found}"
        )
    channels = 1 if image.ndim == 2 else image.shape[2]
    if channels == 3:
        return image
    return cv2.cvtColor(np.ascontiguousarray(image), TO_BGR[channels])


@dataclass(frozen=True)
class View:
    """Which rectangle of a source image the network sees, and where in its input it lies.

    x_network = (x_source - x) * scale + left.

    Attributes
    ----------
    scale : network px per source px
    x, y, width, height : the rectangle, source px
    left, top : its corner in the network's input
    network : (rows, cols) of the network's input
    """

    scale: float
    x: int
    y: int
    width: int
    height: int
    left: int
    top: int
    network: tuple[int, int]

    @staticmethod
    def fit(source: tuple[int, int], network: tuple[int, int]) -> View:
        """Return the view of a whole (rows, cols) source, centred in a (rows, cols) input.

        Parameters
        ----------
        source
            Rows and columns of the image.
        network
            Rows and columns of the network's input.
        """
        scale = min(network[0] / source[0], network[1] / source[1])
        return View.window(source, network, (source[1] / 2, source[0] / 2), scale)

    @staticmethod
    def window(
        source: tuple[int, int], network: tuple[int, int], centre: tuple[float, float], scale: float
    ) -> View:
        """Return the view around `centre` (x, y) at a scale, moved so that it lies in the source.

        Parameters
        ----------
        source
            Rows and columns of the image.
        network
            Rows and columns of the network's input.
        centre
            x, y in the image, px, that the window is around.
        scale
            Network pixels for each pixel of the image.
        """
        height = min(source[0], max(1, round(network[0] / scale)))
        width = min(source[1], max(1, round(network[1] / scale)))
        x = min(max(round(centre[0] - width / 2), 0), source[1] - width)
        y = min(max(round(centre[1] - height / 2), 0), source[0] - height)
        rows, cols = _shown(width, height, scale, network)
        return View(scale, x, y, width, height, (network[1] - cols) // 2, (network[0] - rows) // 2, network)

    @property
    def shown(self) -> tuple[int, int]:
        """(rows, cols) of the network's input that the rectangle fills; the rest is bars."""
        return _shown(self.width, self.height, self.scale, self.network)

    @property
    def filled(self) -> tuple[int, int, int, int]:
        """(top, left, rows, cols) of the network's input that the rectangle fills; the rest is bars."""
        return (self.top, self.left, *self.shown)

    def cut(self, image: np.ndarray) -> np.ndarray:
        """Return the rectangle of a source image (H, W, 3): a view of its pixels."""
        return image[self.y : self.y + self.height, self.x : self.x + self.width]

    def to_source(self, boxes: np.ndarray) -> np.ndarray:
        """Map (..., 4) boxes x, y, w, h from network to source pixels."""
        boxes = np.asarray(boxes, np.float64)
        return (boxes - [self.left, self.top, 0, 0]) / self.scale + [self.x, self.y, 0, 0]

    def to_network(self, boxes: np.ndarray) -> np.ndarray:
        """Map (..., 4) boxes x, y, w, h from source to network pixels."""
        boxes = np.asarray(boxes, np.float64)
        return (boxes - [self.x, self.y, 0, 0]) * self.scale + [self.left, self.top, 0, 0]


def _shown(width: int, height: int, scale: float, network: tuple[int, int]) -> tuple[int, int]:
    return (min(network[0], max(1, round(height * scale))), min(network[1], max(1, round(width * scale))))


def network_input(
    image: np.ndarray,
    view: View,
    out: np.ndarray | None = None,
    scratch: dict[tuple[int, int], np.ndarray] | None = None,
) -> np.ndarray:
    """Return the network's input for a BGR image: cut, resized by area, grey bars beside it.

    Parameters
    ----------
    image
        (H, W, 3) uint8 of the size that `view` was made for.
    view
        From `View.fit` or `View.window`.
    out
        Memory for the answer; None takes new.
    scratch
        Memory on the way there, by (rows, cols), which is kept here for the next frame.

    Returns
    -------
    (rows, cols, 3) uint8
    """
    rows, cols = view.shown
    cut = view.cut(image)
    scratch = {} if scratch is None else scratch
    while cut.shape[0] % (2 * rows) == 0 and cut.shape[1] % (2 * cols) == 0:
        # an even number of pixels to each: halving comes to the same, and OpenCV is fast at it
        half = cut.shape[0] // 2, cut.shape[1] // 2
        cut = scratch[half] = cv2.resize(cut, half[::-1], scratch.get(half), interpolation=cv2.INTER_AREA)
    canvas = np.empty((*view.network, 3), np.uint8) if out is None else out
    if (rows, cols) != view.network:
        canvas[...] = BAR
    cv2.resize(
        cut,
        (cols, rows),
        canvas[view.top : view.top + rows, view.left : view.left + cols],
        interpolation=cv2.INTER_AREA if view.scale < 1 else cv2.INTER_LINEAR,
    )
    return canvas
