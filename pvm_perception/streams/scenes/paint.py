"""Brushes that the scene's parts share: noise, colours, sprites.

A sprite is an (S, S', 4) float32 picture, BGR premultiplied with alpha, all in 0..1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

Rng = np.random.Generator


def drawn(rng: Rng, table: Sequence[tuple[Any, float]]) -> Any:
    """Draw an entry of a table.

    Parameters
    ----------
    rng
        Draws it.
    table
        Pairs of an entry and how often it is drawn, relative to the others.
    """
    share = np.array([weight for _, weight in table])
    return table[int(rng.choice(len(table), p=share / share.sum()))][0]


def hsv(hue: float, saturation: float, value: float) -> np.ndarray:
    """Return a BGR colour (3,) in 0..1.

    Parameters
    ----------
    hue
        Degrees; any number, as the circle repeats.
    saturation, value
        0..1.
    """
    sector = (hue % 360) / 60
    rise = np.abs((sector + np.array([2.0, 4.0, 0.0])) % 6 - 3) - 1  # blue, green, red
    return (value * (1 - saturation * (1 - np.clip(rise, 0, 1)))).astype(np.float32)


def any_colour(rng: Rng) -> np.ndarray:
    """Return some BGR colour; dull ones are as common as vivid ones."""
    return hsv(rng.uniform(0, 360), rng.beta(1.2, 1.8), rng.uniform(0.1, 1.0))


def noise(rng: Rng, rows: int, cols: int, coarse: float, octaves: int = 4, channels: int = 1) -> np.ndarray:
    """Return smooth noise of about unit spread.

    Parameters
    ----------
    rng
        Draws it.
    rows, cols
        Size, pixels.
    coarse
        Size of the largest blobs, as a share of the picture's longer side.
    octaves
        How many sizes of blobs are added up, each less than half of the one before.
    channels
        Independent pictures; for one the last axis is left out.

    Returns
    -------
    ndarray
        (rows, cols[, channels]) float32.
    """
    total = np.zeros((rows, cols, channels) if channels > 1 else (rows, cols), np.float32)
    size, strength, power = max(rows, cols) * coarse, 1.0, 0.0
    for _ in range(octaves):
        shape = (max(2, round(rows / size) + 1), max(2, round(cols / size) + 1), channels)
        coarse_grid = rng.standard_normal(shape, np.float32)
        grid = cv2.resize(coarse_grid, (cols, rows), interpolation=cv2.INTER_CUBIC)
        total += strength * grid.reshape(total.shape)
        power += strength**2
        size, strength = size / 2.3, strength * 0.62
        if size < 1.2:
            break
    return total / np.float32(power**0.5)


def opaque(bgr: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Return the sprite of a picture and its mask.

    Parameters
    ----------
    bgr
        (S, S', 3) in 0..1; brighter values are cut at 1.5.
    alpha
        (S, S'), cut to 0..1.
    """
    a = np.clip(alpha, 0, 1).astype(np.float32)[..., None]
    return np.concatenate([np.clip(bgr, 0, 1.5).astype(np.float32) * a, a], axis=2)


def polygon_mask(size: tuple[int, int], points: np.ndarray) -> np.ndarray:
    """Return an anti-aliased mask of a polygon, (rows, cols) float32 in 0..1.

    Parameters
    ----------
    size
        (rows, cols).
    points
        (n, 2) corners x, y, pixels.
    """
    mask = np.zeros(size, np.uint8)
    cv2.fillPoly(mask, [np.round(points * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    return mask.astype(np.float32) / 255


def put_text(
    canvas: np.ndarray,
    text: str,
    at: tuple[int, int],
    font: int,
    scale: float,
    colour: np.ndarray,
    thickness: int,
) -> None:
    """Write on a BGR picture in 0..1; OpenCV itself writes on 8-bit pictures only.

    Parameters
    ----------
    canvas
        (H, W, 3) float32 BGR in 0..1, which is written on.
    text
        What is written.
    at
        x, y of the lower left corner of the text, pixels.
    font
        Of OpenCV's.
    scale
        Factor of the font's size.
    colour
        (3,) BGR in 0..1.
    thickness
        Of the strokes, pixels.
    """
    mask = np.zeros(canvas.shape[:2], np.uint8)
    cv2.putText(mask, text, at, font, scale, 255, thickness, cv2.LINE_AA)
    alpha = mask.astype(np.float32)[..., None] / 255
    canvas += alpha * (np.asarray(colour, np.float32) - canvas)


def put_heavy_text(
    canvas: np.ndarray, text: str, box: tuple[float, float, float, float], weight: int, colour: np.ndarray
) -> None:
    """Fill a box with words in a heavy type.

    Parameters
    ----------
    canvas
        (H, W, 3) float32 BGR in 0..1, which is written on.
    text
        What is written.
    box
        x, y, w, h, pixels.
    weight
        Of the type, 300 to 900.
    colour
        (3,) BGR in 0..1.
    """
    big = np.zeros((130, 110 * len(text) + 20, 3), np.uint8)
    if hasattr(cv2, "FontFace"):  # OpenCV 5 has a typeface of its own
        cv2.putText(big, text, (8, 100), (255, 255, 255), cv2.FontFace("sans"), 100, weight)
    else:
        cv2.putText(
            big, text, (20, 100), cv2.FONT_HERSHEY_SIMPLEX, 3.5, (255,) * 3, weight // 30, cv2.LINE_AA
        )
    mask = trim(np.repeat(big[..., :1], 4, axis=2))[..., 0]
    x, y, w, h = (max(1, round(v)) for v in box)
    alpha = cv2.resize(mask, (w, h), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    part = canvas[y : y + h, x : x + w]
    part += alpha[..., None] * (np.asarray(colour, np.float32) - part)


def blob(rng: Rng, size: int, roughness: float = 0.25, corners: int = 24) -> np.ndarray:
    """Return a closed random outline, (corners, 2) x, y in pixels.

    Parameters
    ----------
    rng
        Draws it.
    size
        Side of the square that it fills, pixels.
    roughness
        How far it departs from a circle, as a share of the radius; 0 is a circle.
    corners
        How many.
    """
    angle = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    radius = np.ones(corners)
    for k in range(1, 5):
        radius += roughness / k * rng.standard_normal() * np.cos(k * angle + rng.uniform(0, 6.3))
    radius = np.clip(radius, 0.25, None)
    radius *= 0.48 / radius.max()
    return size * (0.5 + radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1))


def tilt(sprite: np.ndarray, yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Return a flat sprite seen in perspective; its size stays.

    Parameters
    ----------
    sprite
        (S, S', 4).
    yaw, pitch, roll
        Radians: about the upright axis, the horizontal axis, and the line of sight.
    """
    rows, cols = sprite.shape[:2]
    half = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], np.float64)
    cy, sy, cp, sp = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
    x = half[:, 0] * cy
    z = half[:, 0] * sy + half[:, 1] * sp * cy
    y = half[:, 1] * cp
    depth = 4.0 / (4.0 + z)
    x, y = x * depth, y * depth
    cr, sr = np.cos(roll), np.sin(roll)
    corners = np.stack([x * cr - y * sr, x * sr + y * cr], 1)
    corners *= 0.98 / max(np.abs(corners).max(), 1e-6)
    target = ((corners + 1) * [cols / 2, rows / 2]).astype(np.float32)
    source = ((half + 1) * [cols / 2, rows / 2]).astype(np.float32)
    matrix = cv2.getPerspectiveTransform(source, target)
    return cv2.warpPerspective(
        sprite, matrix, (cols, rows), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT
    )


def trim(sprite: np.ndarray) -> np.ndarray:
    """Cut a sprite to what is visible of it."""
    mask = sprite[..., 3] > 0.02
    rows, cols = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return sprite
    return sprite[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]
