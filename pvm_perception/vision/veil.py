"""A bright veil over a frame, as of fog, dust or a dirty lens, and the curve that lifts it.

Through a veil even what is black looks bright. Where the share t of the light comes through, and the veil
itself is as bright as A, the light L of a place was (L - A) / t + A before (He, Sun & Tang 2009, "Single
image haze removal using dark channel prior"). Here t is one number for the whole frame, told by its darkest
places, since nearly every frame has something black, or of one strong colour, in view.
"""

from __future__ import annotations

import cv2
import numpy as np

from pvm_perception.core.backend import Images

GAMMA = 2.2  # of the camera's values over light
SAMPLE = 80  # px along a frame's longer side that are looked at, at least
EXTREME = 0.005  # share of the pixels beyond what counts as darkest and as brightest
DARK = (0.05, 0.1)  # light of the darkest place from which there is a veil, and from which it is all veil
STRENGTH = 0.95  # share of the veil that is lifted: a little of it shows how far away things are
LEAST_LIGHT = 0.2  # share of the light that comes through at least: beyond it, noise is all that is left
LEAST_NEAR = 0.5  # the same in a window, which may show nothing but a bright wall
SLIGHT = 0.98  # share of the light that comes through where a veil is not worth the work
NEW = 0.3  # share of a frame in what is known of the veil
JUMP = 0.05  # change of the darkest light from which it is another scene
_LIGHT = ((np.arange(256) / 255) ** GAMMA).astype(np.float32)  # of each value of a picture


class Veil:
    """The veil over the frames of a stream.

    Parameters
    ----------
    least
        The share of the light that comes through at least.

    Attributes
    ----------
    light : the share of the light that came through in the last frame; 1 without a veil
    """

    def __init__(self, least: float = LEAST_LIGHT) -> None:
        self._least = least
        self.reset()

    def reset(self) -> None:
        """Forget all frames so far."""
        self._known: np.ndarray | None = None  # (2,) light of the darkest and of the brightest places
        self.light = 1.0

    def look(self, image: Images) -> np.ndarray | None:
        """Return the curve that lifts the veil of the next frame, (256,) uint8; None where there is none.

        Parameters
        ----------
        image
            (H, W, 3) uint8, BGR.
        """
        step = max(max(image.shape[:2]) // SAMPLE, 1)
        blue, green, red = np.moveaxis(image[::step, ::step], 2, 0)
        darker, brighter = np.minimum(np.minimum(blue, green), red), np.maximum(np.maximum(blue, green), red)
        new = np.array([_level(darker, EXTREME), _level(brighter, 1 - EXTREME)])
        if self._known is None or abs(new[0] - self._known[0]) > JUMP:
            self._known = new
        self._known = self._known + NEW * (new - self._known)
        darkest, brightest = self._known.tolist()
        veiled = min(max((darkest - DARK[0]) / (DARK[1] - DARK[0]), 0.0), 1.0)
        self.light = max(1 - STRENGTH * veiled * darkest / max(brightest, DARK[1]), self._least)
        if self.light > SLIGHT:
            self.light = 1.0
            return None
        before = np.clip((_LIGHT - brightest) / self.light + brightest, 0, 1)
        return (255 * before ** (1 / GAMMA) + 0.5).astype(np.uint8)

    def lift(self, image: Images) -> Images:
        """Return the next frame (H, W, 3) without its veil; itself where there is none."""
        curve = self.look(image)
        return image if curve is None else cv2.LUT(image, curve).astype(np.uint8, copy=False)


def _level(values: np.ndarray, share: float) -> float:
    """Return the light that a share of the values (uint8) does not exceed."""
    k = round(share * (values.size - 1))
    return float(_LIGHT[np.partition(values, k, axis=None)[k]])
