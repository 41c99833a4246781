"""What signs of all kinds share: wear, a view from the side, a picture; and round badges that are no ball."""

from __future__ import annotations

import cv2
import numpy as np

from pvm_perception.streams.scenes.paint import Rng, hsv, noise, opaque, tilt, trim

WHITE = np.array([0.95, 0.95, 0.95], np.float32)


def wear(rng: Rng, sprite: np.ndarray) -> None:
    """Put dirt, stickers and glare on a sprite.

    Parameters
    ----------
    rng
        Draws them.
    sprite
        (H, W, 4), changed in place.
    """
    rows, cols = sprite.shape[:2]
    if rng.random() < 0.5:
        dirt = 1 - np.clip(noise(rng, rows, cols, 0.5, 4) - rng.uniform(-0.2, 1), 0, 1) * rng.uniform(0, 0.5)
        sprite[..., :3] *= dirt[..., None]
    if rng.random() < 0.5:  # sheen
        angle = rng.uniform(0, 6.3)
        ramp = (
            np.cos(angle) * np.linspace(-1, 1, cols)[None] + np.sin(angle) * np.linspace(-1, 1, rows)[:, None]
        )
        sprite[..., :3] *= (1 + rng.uniform(0, 0.35) * ramp.astype(np.float32))[..., None]
    if rng.random() < 0.15:  # retro-reflection or low sun: washed out
        sprite[..., :3] += rng.uniform(0.05, 0.3) * sprite[..., 3:]
    if rng.random() < 0.12:
        at = (rng.uniform(0.25, 0.75, 2) * [cols, rows]).astype(int)
        side = max(2, int(rng.uniform(0.04, 0.12) * rows))
        cv2.rectangle(
            sprite,
            tuple(map(int, at)),
            tuple(map(int, at + side)),
            [*map(float, rng.uniform(0, 1, 3)), 1.0],
            -1,
        )
        sprite[..., :3] = np.minimum(sprite[..., :3], sprite[..., 3:] * 1.5)


def turned(rng: Rng, sprite: np.ndarray, straight: float) -> np.ndarray:
    """Return a plate as seen from the side; a share of them from the front.

    Parameters
    ----------
    rng
        Draws the angles.
    sprite
        (H, W, 4) as seen from the front.
    straight
        That share, 0 to 1.
    """
    yaw = rng.normal(0, 0.35) if rng.random() < 0.8 else rng.uniform(-1.05, 1.05)
    roll = rng.normal(0, 0.06) if rng.random() < 0.85 else rng.normal(0, 0.3)
    if straight and rng.random() < straight:
        yaw = roll = 0.0
    return trim(tilt(sprite, float(np.clip(yaw, -1.1, 1.1)), float(rng.normal(0, 0.12)), float(roll)))


def pictogram(rng: Rng, canvas: np.ndarray, radius: float, colour: np.ndarray) -> None:
    """Draw an arrow or some other picture in strokes into the middle of a canvas.

    Parameters
    ----------
    rng
        Draws which.
    canvas
        (N, N, 3), changed in place.
    radius
        Of the picture, pixels.
    colour
        (3,) of the strokes.
    """
    ink, middle = [float(c) for c in colour], np.array(canvas.shape[:2]) // 2
    if rng.random() < 0.5:
        tip = rng.uniform(-0.6, 0.6, 2) * radius
        start, end = (tuple((middle + way * tip).astype(int).tolist()) for way in (-1, 1))
        cv2.arrowedLine(canvas, start, end, ink, max(1, int(0.18 * radius)), cv2.LINE_AA, 0, 0.4)
    else:
        points = middle + rng.uniform(-0.55, 0.55, (int(rng.integers(4, 9)), 2)) * radius
        cv2.polylines(canvas, [points.astype(np.int32)], False, ink, max(1, int(0.11 * radius)), cv2.LINE_AA)


def badge_green(rng: Rng) -> np.ndarray:
    """Return a green or teal that round signs have."""
    return hsv(rng.uniform(110, 185), rng.uniform(0.5, 1), rng.uniform(0.2, 0.8))


def badge(rng: Rng, size: int) -> np.ndarray:
    """Return a round green sign with a white picture, most of them on a white board: no ball.

    Parameters
    ----------
    rng
        Draws its colours, its picture and its wear.
    size
        The sprite's side, pixels.
    """
    big = size * 2
    centre, radius = (big // 2, big // 2), big * rng.uniform(0.3, 0.48)
    white = WHITE * np.float32(rng.uniform(0.75, 1.05))
    canvas = np.empty((big, big, 3), np.float32)
    canvas[:] = white
    mask = np.ones((big, big), np.uint8)
    if rng.random() < 0.3:
        mask[:] = 0
        cv2.circle(mask, centre, int(min(radius * rng.uniform(1.0, 1.15), big * 0.49)), 1, -1, cv2.LINE_AA)
    cv2.circle(canvas, centre, int(radius), badge_green(rng).tolist(), -1, cv2.LINE_AA)
    for _ in range(int(rng.integers(1, 4))):
        pictogram(rng, canvas, radius * rng.uniform(0.6, 1.0), white)
    sprite = cv2.resize(opaque(canvas, mask.astype(np.float32)), (size, size), interpolation=cv2.INTER_AREA)
    wear(rng, sprite)
    return turned(rng, sprite, 0.0)
