"""Pictures of the closed loop's floors and walls, painted at random."""

from __future__ import annotations

import cv2
import numpy as np

from pvm_perception.streams.scenes.paint import Rng, noise
from pvm_perception.streams.scenes.signs import WHITE


def grey(rng: Rng, low: float, high: float) -> np.ndarray:
    """Return a grey (3,) BGR, mostly a warm one.

    Parameters
    ----------
    rng
        Draws it.
    low, high
        Its least and its greatest brightness, 0..1.
    """
    return (rng.uniform(low, high) * np.array([rng.uniform(0.85, 1), 0.97, 1.0])).astype(np.float32)


def surface(rng: Rng, colour: np.ndarray, size: tuple[int, int], contrast: float = 0.12) -> np.ndarray:
    """Return a picture of a stained surface, (rows, cols, 3) BGR in 0..1.

    Parameters
    ----------
    rng
        Draws the stains.
    colour
        (3,) BGR, 0..1.
    size
        (rows, cols), pixels.
    contrast
        Of the stains; 0 for none.
    """
    stains = 1 + contrast * (noise(rng, *size, 0.3, 6) + 0.5 * rng.standard_normal(size, np.float32))
    return np.clip(colour * stains[..., None], 0, 1)


def slabs(rng: Rng, colour: np.ndarray, count: int) -> np.ndarray:
    """Return paving with joints, (1024, 1024, 3) BGR in 0..1.

    Parameters
    ----------
    rng
        Draws each slab's shade.
    colour
        (3,) BGR, 0..1.
    count
        Slabs along either side.
    """
    size = 1024
    picture = surface(rng, colour, (size, size), 0.08)
    shades = rng.uniform(0.88, 1.08, (count, count)).astype(np.float32)
    picture *= cv2.resize(shades, (size, size), interpolation=cv2.INTER_NEAREST)[..., None]
    for k in range(count):
        at = k * size // count
        picture[at : at + 6] *= 0.6
        picture[:, at : at + 6] *= 0.6
    return picture


def masonry(rng: Rng) -> np.ndarray:
    """Return a wall: bricks in rows, or plaster of some pale colour with a darker foot."""
    size = 1024
    if rng.random() < 0.5:
        colour = np.array([rng.uniform(0.6, 0.8), rng.uniform(0.7, 0.85), rng.uniform(0.75, 0.9)], np.float32)
        return surface(rng, colour, (size, size), 0.06)
    rows, per_row = 20, 8
    picture = surface(
        rng, np.array([0.3, 0.38, 0.6], np.float32) * np.float32(rng.uniform(0.7, 1.1)), (size, size), 0.12
    )
    high, wide = size / rows, size / per_row
    for r in range(rows):
        top, bottom = round(r * high), round((r + 1) * high)
        for c in range(per_row + 1):
            left = round((c - 0.5 * (r % 2)) * wide)
            picture[top:bottom, max(left, 0) : max(left + round(wide), 0)] *= rng.uniform(0.8, 1.1)
            picture[top:bottom, max(left, 0) : max(left + 6, 0)] = 0.6
        picture[top : top + 6] = 0.6
    return np.clip(picture, 0, 1)


def road(rng: Rng) -> np.ndarray:
    """Return 18 m of asphalt along the picture's width, with white lines at its sides."""
    picture = surface(rng, grey(rng, 0.22, 0.32), (128, 2048), 0.15)
    picture[4:10] = picture[-10:-4] = WHITE * 0.85
    return picture


def png(picture: np.ndarray) -> bytes:
    """Return a BGR picture, uint8 or in 0..1, as PNG."""
    if picture.dtype != np.uint8:
        picture = (picture * 255).round().astype(np.uint8)
    return cv2.imencode(".png", picture)[1].tobytes()
