"""Sprites of objects and of greenery, in any colour or in a target's: boxes, cans, plants, rags, skin."""

from __future__ import annotations

import cv2
import numpy as np

from pvm_perception.streams.scenes.balls import green
from pvm_perception.streams.scenes.paint import (
    Rng,
    any_colour,
    blob,
    hsv,
    noise,
    opaque,
    polygon_mask,
    trim,
)
from pvm_perception.streams.scenes.signs import sign_red


def like_target(rng: Rng) -> np.ndarray:
    """Return a colour that a target could have, or any."""
    kind = rng.random()
    return green(rng) if kind < 0.4 else sign_red(rng) if kind < 0.75 else any_colour(rng)


def shaded(rng: Rng, colour: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the sprite of a mask that is filled with a colour and lit from one side.

    Parameters
    ----------
    rng
        Draws the light.
    colour
        (3,) BGR, 0..1.
    mask
        (h, w), 0..1.

    Returns
    -------
    ndarray
        (h, w, 4).
    """
    rows, cols = mask.shape
    angle = rng.uniform(0, 6.3)
    ramp = np.cos(angle) * np.linspace(-1, 1, cols)[None] + np.sin(angle) * np.linspace(-1, 1, rows)[:, None]
    shade = 1 + rng.uniform(0, 0.4) * ramp + rng.uniform(0, 0.15) * noise(rng, rows, cols, 0.4, 3)
    return opaque(colour * shade.astype(np.float32)[..., None], mask)


def box(rng: Rng, size: int) -> np.ndarray:
    """Return a cuboid with up to three faces; see `pick`."""
    colour = like_target(rng)
    sprite = np.zeros((size, size, 4), np.float32)
    top, side = rng.uniform(0, 0.35), rng.uniform(0, 0.35)
    w, h = 1 - side, rng.uniform(0.4, 1) - top
    h = max(h, 0.2)
    faces = [
        ([(0, top), (w, top), (w, top + h), (0, top + h)], rng.uniform(0.6, 1)),
        ([(0, top), (side, 0), (1, 0), (w, top)], rng.uniform(0.8, 1.3)),
        ([(w, top), (1, 0), (1, h), (w, top + h)], rng.uniform(0.3, 0.8)),
    ]
    for points, shade in faces:
        mask = polygon_mask((size, size), np.array(points) * (size - 1))
        face = shaded(rng, colour * np.float32(shade), mask)
        sprite = sprite * (1 - face[..., 3:]) + face
    return trim(sprite)


def cylinder(rng: Rng, size: int) -> np.ndarray:
    """Return a can, bottle, pot or post: shaded across, with or without a label; see `pick`."""
    width = rng.uniform(0.2, 0.8)
    x = np.linspace(-1, 1, size, dtype=np.float32)
    profile: np.ndarray = np.full(size, width, np.float32)
    if rng.random() < 0.5:  # a neck
        profile[: int(size * rng.uniform(0.15, 0.4))] *= rng.uniform(0.3, 0.7)
        profile = cv2.GaussianBlur(profile[:, None], (1, 9), 0)[:, 0]
    mask = np.clip((profile[:, None] - np.abs(x)[None]) * size / 2, 0, 1)
    across = np.clip(1 - (x[None] / profile[:, None] - rng.uniform(-0.5, 0.5)) ** 2, 0, 1)
    shade = rng.uniform(0.2, 0.6) + 0.6 * across
    if rng.random() < 0.5:  # as rough, or as mottled, as a ball can be
        grain = noise(rng, size, size, float(np.exp(rng.uniform(np.log(0.03), np.log(0.3)))), 2)
        shade = shade * (1 + rng.uniform(0.05, 0.35) * grain)
    picture = np.broadcast_to(like_target(rng), (size, size, 3)) * shade[..., None]
    if rng.random() < 0.4:
        top, height = rng.uniform(0.3, 0.7), rng.uniform(0.08, 0.25)
        rows = slice(int(top * size), int((top + height) * size))
        picture[rows] = any_colour(rng) * shade[rows][..., None]
    return trim(opaque(picture, mask))


def plant(rng: Rng, size: int) -> np.ndarray:
    """Return a clump of leaves, now and then in a pot; see `pick`."""
    sprite = np.zeros((size, size, 4), np.uint8)
    base = hsv(rng.uniform(60, 150), rng.uniform(0.3, 1), rng.uniform(0.3, 0.9))
    if rng.random() < 0.1:
        base = hsv(rng.uniform(0, 50), rng.uniform(0.4, 1), rng.uniform(0.3, 0.9))
    spread = rng.uniform(0.15, 0.28)
    for _ in range(int(rng.integers(25, 90))):
        at = size * (0.5 + spread * rng.standard_normal(2))
        colour = np.clip(base * rng.uniform(0.3, 1.3), 0, 1) * 255
        axes = (int(size * rng.uniform(0.03, 0.13)), int(size * rng.uniform(0.01, 0.05)) + 1)
        cv2.ellipse(
            sprite,
            tuple(at.astype(int).tolist()),
            axes,
            float(rng.uniform(0, 360)),
            0,
            360,
            [*map(float, colour), 255.0],
            -1,
            cv2.LINE_AA,
        )
    picture = sprite.astype(np.float32) / 255
    return trim(opaque(picture[..., :3], picture[..., 3]))


def crown(rng: Rng, size: int) -> np.ndarray:
    """Return a tree's crown, twigs or leaves with the sky between them, mostly on a trunk; see `pick`."""
    outline = polygon_mask((size, size), blob(rng, size, rng.uniform(0.05, 0.2)))
    fine = noise(rng, size, size, rng.uniform(0.03, 0.12), 3)
    clump = noise(rng, size, size, rng.uniform(0.15, 0.5), 2)
    dense = np.clip(1.5 * (fine + 0.7 * clump + rng.uniform(-0.5, 1.2)), 0, 1)
    if rng.random() < 0.5:  # bare, or in autumn
        colour = hsv(rng.uniform(0, 40), rng.uniform(0.1, 0.7), rng.uniform(0.2, 0.75))
    else:
        colour = hsv(rng.uniform(60, 140), rng.uniform(0.3, 0.9), rng.uniform(0.2, 0.75))
    light = 1 + rng.uniform(0.1, 0.4) * noise(rng, size, size, 0.05, 2)
    sprite = opaque(
        colour * np.clip(light, 0.2, 2)[..., None], cv2.GaussianBlur(outline, (0, 0), size / 30) * dense
    )
    if rng.random() < 0.7:
        trunk = np.zeros((size + size // 2, size, 4), np.float32)
        half = max(1, int(size * rng.uniform(0.02, 0.06)))
        trunk[size // 2 :, size // 2 - half : size // 2 + half] = [*(colour * 0.4), 1]
        trunk[:size] = trunk[:size] * (1 - sprite[..., 3:]) + sprite
        sprite = trunk
    return trim(sprite)


def rag(rng: Rng, size: int) -> np.ndarray:
    """Return a soft shape: a bag, a jacket, tape, a stone, a leaf, a patch of light; see `pick`."""
    mask = polygon_mask((size, size), blob(rng, size, rng.uniform(0.1, 0.5)))
    sprite = shaded(rng, like_target(rng), mask)
    stretch = rng.uniform(0.25, 1)
    rows, cols = (size, max(4, int(size * stretch)))
    if rng.random() < 0.5:
        rows, cols = cols, rows
    return trim(cv2.resize(sprite, (cols, rows), interpolation=cv2.INTER_AREA))


def skin(rng: Rng, size: int) -> np.ndarray:
    """Return a hand- or arm-like shape, for what holds and hides a ball; see `pick`."""
    sprite = np.zeros((size, size), np.uint8)
    wrist = np.array([0.5, 1.0])
    palm = np.array([0.5, 0.55])
    thick = rng.uniform(0.16, 0.26)
    cv2.line(
        sprite,
        (wrist * size).astype(int).tolist(),
        (palm * size).astype(int).tolist(),
        255,
        int(thick * size * 1.2),
        cv2.LINE_AA,
    )
    for angle in np.linspace(-0.9, 0.7, 5):
        tip = palm + 0.42 * np.array([np.sin(angle), -np.cos(angle)]) * rng.uniform(0.7, 1)
        cv2.line(
            sprite,
            (palm * size).astype(int).tolist(),
            (tip * size).astype(int).tolist(),
            255,
            max(2, int(0.09 * size)),
            cv2.LINE_AA,
        )
    tone = hsv(rng.uniform(12, 28), rng.uniform(0.25, 0.65), rng.uniform(0.25, 0.95))
    return trim(shaded(rng, tone, sprite.astype(np.float32) / 255))
