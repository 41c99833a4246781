"""Sprites of what stands at a street: barriers, fences, cars, lamps, beacons and posts."""

from __future__ import annotations

import cv2
import numpy as np

from pvm_perception.streams.scenes.balls import other_ball
from pvm_perception.streams.scenes.objects import like_target, shaded
from pvm_perception.streams.scenes.paint import (
    Rng,
    any_colour,
    hsv,
    noise,
    opaque,
    polygon_mask,
    trim,
)
from pvm_perception.streams.scenes.signs import sign_red


def barrier(rng: Rng, size: int) -> np.ndarray:
    """Return a striped board, post or cone: red or orange and white; see `pick`."""
    colour = sign_red(rng) if rng.random() < 0.5 else hsv(rng.uniform(8, 28), 0.95, 0.9)
    rows, cols = size, size
    x, y = np.meshgrid(np.arange(cols), np.arange(rows))
    slant = rng.choice([-1.0, 0.0, 1.0])
    stripes = (
        np.sin(
            (x * rng.choice([0.0, 1.0]) + slant * y + 1e-3 * y) * 2 * np.pi / (size * rng.uniform(0.2, 0.6))
        )
        > 0
    )
    if rng.random() < 0.4:
        stripes = np.sin(y * 2 * np.pi / (size * rng.uniform(0.25, 0.6))) > 0
    picture = np.where(stripes[..., None], colour, np.array([0.9, 0.9, 0.9], np.float32))
    if rng.random() < 0.35:  # a cone
        mask = polygon_mask((size, size), np.array([[0.42, 0], [0.58, 0], [0.85, 1], [0.15, 1]]) * size)
    else:
        mask = np.zeros((size, size), np.float32)
        half = rng.uniform(0.08, 0.3) / 2
        if rng.random() < 0.5:
            mask[int(size * (0.5 - half)) : int(size * (0.5 + half)) + 1] = 1
        else:
            mask[:, int(size * (0.5 - half)) : int(size * (0.5 + half)) + 1] = 1
    return trim(opaque(picture * rng.uniform(0.5, 1.0), mask))


def fence(rng: Rng, size: int) -> np.ndarray:
    """Return a row of panels along a road: red or orange, with white plates, rails or writing; see `pick`."""
    rows, cols = max(8, int(size * rng.uniform(0.2, 0.5))), size
    colour = sign_red(rng) if rng.random() < 0.6 else hsv(rng.uniform(5, 25), 0.9, 0.85)
    white = np.array([0.9, 0.9, 0.9], np.float32) * np.float32(rng.uniform(0.6, 1.05))
    picture = np.empty((rows, cols, 3), np.float32)
    picture[:] = colour
    mask = np.ones((rows, cols), np.float32)
    panel = max(5, int(cols / rng.uniform(1, 6)))
    for x in range(0, cols, panel):
        wide = int(panel * rng.uniform(0.3, 0.7))
        top, bottom = int(rows * rng.uniform(0.05, 0.3)), int(rows * rng.uniform(0.4, 0.95))
        if rng.random() < 0.8:
            picture[top:bottom, x + panel // 6 : x + panel // 6 + wide] = white
        mask[int(rows * 0.6) :, x : x + max(1, panel // 8)] = 0
    if rng.random() < 0.5:
        mask[int(rows * rng.uniform(0.3, 0.5)) : int(rows * 0.55)] = 0
    return trim(
        shaded(rng, np.array([1, 1, 1], np.float32), mask)
        * np.concatenate([picture, np.ones((rows, cols, 1), np.float32)], axis=2)
    )


def car(rng: Rng, size: int) -> np.ndarray:
    """Return a car, from the side or from behind; red and green ones are common; see `pick`."""
    sprite = np.zeros((size, size, 4), np.float32)

    def lay(points: list, colour: np.ndarray) -> None:
        nonlocal sprite
        part = shaded(rng, colour, polygon_mask((size, size), np.array(points) * (size - 1)))
        sprite = sprite * (1 - part[..., 3:]) + part

    paint, dark = like_target(rng), np.array([0.12, 0.1, 0.08], np.float32)
    if rng.random() < 0.5:
        lay(
            [
                (0.02, 0.55),
                (0.2, 0.5),
                (0.3, 0.35),
                (0.7, 0.35),
                (0.82, 0.5),
                (0.98, 0.55),
                (0.98, 0.72),
                (0.02, 0.72),
            ],
            paint,
        )
        lay([(0.27, 0.5), (0.34, 0.38), (0.66, 0.38), (0.76, 0.5)], dark)
        for x in (0.22, 0.78):
            lay([(x + 0.08 * np.cos(a), 0.72 + 0.08 * np.sin(a)) for a in np.linspace(0, 6.28, 12)], dark)
    else:
        lay([(0.2, 0.2), (0.8, 0.2), (0.9, 0.5), (0.9, 0.85), (0.1, 0.85), (0.1, 0.5)], paint)
        lay([(0.24, 0.24), (0.76, 0.24), (0.84, 0.46), (0.16, 0.46)], dark)
        for x in (0.12, 0.76):
            lay([(x, 0.52), (x + 0.12, 0.52), (x + 0.12, 0.62), (x, 0.62)], hsv(rng.uniform(-5, 10), 1, 1))
        lay([(0.12, 0.85), (0.28, 0.85), (0.28, 0.95), (0.12, 0.95)], dark)
        lay([(0.72, 0.85), (0.88, 0.85), (0.88, 0.95), (0.72, 0.95)], dark)
    return trim(sprite)


def lamp(rng: Rng, size: int) -> np.ndarray:
    """Return a traffic light, signal or lamp: round lenses in a case, some on a post; see `pick`."""
    lenses = int(rng.choice([1, 2, 3], p=[0.25, 0.2, 0.55]))
    pitch = size // lenses  # from lens to lens; the case is as wide
    case = hsv(rng.uniform(30, 160), rng.uniform(0, 0.7), rng.uniform(0.02, 0.3))
    if rng.random() < 0.2:
        case = any_colour(rng)
    wide, radius = int(pitch * rng.uniform(0.8, 1.0)), pitch * rng.uniform(0.28, 0.4)
    sprite = np.zeros((size, size, 4), np.float32)
    left = (size - wide) // 2
    sprite[: pitch * lenses, left : left + wide] = [*case, 1]
    lit = int(rng.choice(3, p=[0.35, 0.15, 0.5]))
    y, x = np.mgrid[:size, :size].astype(np.float32) + 0.5
    first = int(rng.integers(4 - lenses))  # of red, amber, green
    for k in range(lenses):
        on = first + k == lit
        hue = (rng.uniform(-10, 12), rng.uniform(30, 52), rng.uniform(110, 172))[first + k]
        bright = rng.uniform(0.6, 1.0) if on else rng.uniform(0.08, 0.35)
        colour = hsv(hue, rng.uniform(0.5, 1.0), bright)
        far = np.hypot(x - size / 2, y - (k + 0.5) * pitch) / radius
        glass = np.clip((1 - far) * radius / 1.5 + 0.5, 0, 1)[..., None]
        glow = rng.uniform(0, 0.6) * on * np.exp(-((far / rng.uniform(0.4, 0.9)) ** 2))
        light = colour * np.float32(1 - rng.uniform(0, 0.4) * far.clip(0, 1)[..., None])
        if rng.random() < 0.3:  # of many small lights, or behind a patterned glass
            step = max(2.0, radius / rng.uniform(2, 5))
            grid = np.sin(x * 2 * np.pi / step) * np.sin(y * 2 * np.pi / step)
            light = light * (1 + 0.35 * grid[..., None])
        sprite[..., :3] = sprite[..., :3] * (1 - glass) + glass * (light + glow[..., None])
        if rng.random() < 0.4:  # a visor throws its shade on the glass
            top = glass[..., 0] * np.clip((-y + (k + 0.5) * pitch) / radius - rng.uniform(0, 0.7), 0, 1)
            sprite[..., :3] *= 1 - 0.8 * top[..., None]
    sprite = opaque(sprite[..., :3], sprite[..., 3])
    if rng.random() < 0.3:
        sprite = np.ascontiguousarray(sprite.transpose(1, 0, 2))  # lies
    elif rng.random() < 0.5:
        half, high = max(1, size // 24), int(size * rng.uniform(0.3, 1.0))
        stem = np.zeros((high, size, 4), np.float32)
        stem[:, size // 2 - half : size // 2 + half] = [*(case * 0.8), 1]
        sprite = np.concatenate([sprite, stem])
    return trim(sprite)


def beacon(rng: Rng, size: int) -> np.ndarray:
    """Return a warning lamp: a round coloured glass on a board, post or plate; see `pick`."""
    sprite = np.zeros((size, size, 4), np.float32)
    hue = rng.choice(
        [rng.uniform(35, 50), rng.uniform(8, 35), rng.uniform(-10, 8), 220.0], p=[0.5, 0.3, 0.15, 0.05]
    )
    lit = rng.uniform(0.65, 1.0)
    glass = other_ball(rng, size // 2)
    light = glass[..., :3].max(axis=2, keepdims=True) * np.float32(0.5) + np.float32(0.5)
    glass[..., :3] = glass[..., 3:] * light * hsv(hue, rng.uniform(0.7, 1.0), lit)
    foot = barrier(rng, size) if rng.random() < 0.5 else post(rng, size)
    foot = cv2.resize(foot, (max(3, int(size * rng.uniform(0.1, 0.5))), size - size * 2 // 5))
    left = (size - foot.shape[1]) // 2
    sprite[-foot.shape[0] :, left : left + foot.shape[1]] = foot
    high = int(size // 2 * rng.uniform(0.85, 1.1))  # rarely as round as a ball
    glass = cv2.resize(glass, (size // 2, min(high, size)))
    x = (size - glass.shape[1]) // 2 + int(rng.uniform(-0.1, 0.1) * size)
    part = sprite[: glass.shape[0], x : x + glass.shape[1]]
    part[...] = part * (1 - glass[..., 3:]) + glass
    if rng.random() < 0.6:  # what holds the glass
        base = int(glass.shape[0] * rng.uniform(0.75, 0.95))
        sprite[base : glass.shape[0] + 1, size * 3 // 8 : size * 5 // 8] = [
            *(hsv(hue, 0.8, 0.6 * lit) * rng.uniform(0, 1)),
            1,
        ]
    return trim(sprite)


def post(rng: Rng, size: int) -> np.ndarray:
    """Return a post, trunk, person-like or wall-like thing that something can pass behind; see `pick`."""
    colour = any_colour(rng) * np.float32(rng.uniform(0.3, 1))
    width = rng.uniform(0.08, 0.6)
    mask = np.zeros((size, size), np.float32)
    mask[:, int(size * (0.5 - width / 2)) : int(size * (0.5 + width / 2)) + 1] = 1
    sprite = shaded(rng, colour, mask)
    sprite[..., :3] *= (1 + 0.25 * noise(rng, size, size, rng.uniform(0.05, 0.5), 3))[..., None]
    return trim(np.clip(sprite, 0, 1))
