"""Things that nobody made: pieces of photographs, cut out in some shape."""

from __future__ import annotations

import cv2
import numpy as np

from pvm_perception.streams.scenes.paint import Rng, opaque, trim

SHARE = (0.08, 0.5)  # of the photograph's shorter side that a piece takes
ROUND, SQUARE = 1.2, 8.0  # exponents of the superellipse that it is cut along
LOBES = range(2, 6)  # around a piece that is not cut smoothly
DYED = 0.35  # of the pieces have another hue than the photograph


def piece(rng: Rng, photo: np.ndarray, size: int) -> np.ndarray:
    """Return the sprite of a piece of a photograph.

    Parameters
    ----------
    rng
        Draws place, shape and colour.
    photo
        (H, W, 3) uint8 BGR.
    size
        Its larger side, pixels.
    """
    side = min(photo.shape[:2]) * np.exp(rng.uniform(*np.log(SHARE)))
    stretch = np.exp(rng.uniform(-0.3, 0.3))
    rows, cols = (
        int(np.clip(side * by, 8, most))
        for by, most in zip((1 / stretch, stretch), photo.shape[:2], strict=True)
    )
    top, left = int(rng.integers(photo.shape[0] - rows + 1)), int(rng.integers(photo.shape[1] - cols + 1))
    scale = size / max(rows, cols)
    picture = cv2.resize(
        photo[top : top + rows, left : left + cols],
        (max(4, round(cols * scale)), max(4, round(rows * scale))),
        interpolation=cv2.INTER_AREA,
    )
    if rng.random() < DYED:
        hsv = cv2.cvtColor(picture, cv2.COLOR_BGR2HSV).astype(np.float32)
        hsv[..., 0] = (hsv[..., 0] + rng.uniform(0, 180)) % 180
        hsv[..., 1] = np.clip(hsv[..., 1] * rng.uniform(0.7, 2.5), 0, 255)
        picture = cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2BGR)
    return trim(opaque(picture.astype(np.float32) / 255, _shape(rng, *picture.shape[:2])))


def _shape(rng: Rng, rows: int, cols: int) -> np.ndarray:
    """Return the alpha of a piece, (rows, cols) float32."""
    y, x = np.linspace(-1, 1, rows)[:, None], np.linspace(-1, 1, cols)[None]
    power = np.exp(rng.uniform(np.log(ROUND), np.log(SQUARE)))
    radius = (np.abs(x) ** power + np.abs(y) ** power) ** (1 / power)
    edge = 0.95 * np.ones_like(radius)
    if rng.random() < 0.6:
        around = np.arctan2(y, x)
        for lobes in LOBES:
            edge -= rng.uniform(0, 0.12) * (1 + np.cos(lobes * around + rng.uniform(0, 2 * np.pi)))
    alpha: np.ndarray = np.clip((edge - radius) * max(rows, cols) / 4 + 0.5, 0, 1).astype(np.float32)
    return alpha
