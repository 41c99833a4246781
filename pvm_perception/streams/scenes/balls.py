"""Balls of many makes: a lit sphere with a texture that lies on it. Green ones are targets."""

from __future__ import annotations

import cv2
import numpy as np

from pvm_perception.streams.scenes.paint import Rng, any_colour, hsv, noise, opaque


def green(rng: Rng) -> np.ndarray:
    """Return a ball's green, from a tennis ball's yellow-green to bottle green."""
    kind = rng.random()
    if kind < 0.2:  # tennis felt, optic yellow-green
        return hsv(rng.uniform(66, 80), rng.uniform(0.45, 0.95), rng.uniform(0.6, 1.0))
    if kind < 0.41:  # lime
        return hsv(rng.uniform(78, 105), rng.uniform(0.6, 1.0), rng.uniform(0.45, 1.0))
    if kind < 0.7:
        return hsv(rng.uniform(100, 150), rng.uniform(0.5, 1.0), rng.uniform(0.35, 1.0))
    if kind < 0.92:  # dark, or in the shade on a bright day
        return hsv(rng.uniform(85, 165), rng.uniform(0.45, 1.0), rng.uniform(0.15, 0.42))
    return hsv(rng.uniform(140, 168), rng.uniform(0.4, 0.9), rng.uniform(0.4, 0.95))


def not_green(rng: Rng) -> np.ndarray:
    """Return another ball's colour; the neighbours of green and plain orange are common."""
    kind = rng.random()
    if kind < 0.3:
        return hsv(rng.uniform(12, 40), rng.uniform(0.6, 1.0), rng.uniform(0.5, 1.0))
    if kind < 0.45:
        return hsv(rng.uniform(44, 54), rng.uniform(0.5, 1.0), rng.uniform(0.6, 1.0))
    if kind < 0.6:
        return hsv(rng.uniform(-12, 8), rng.uniform(0.6, 1.0), rng.uniform(0.3, 1.0))
    if kind < 0.75:
        return hsv(rng.uniform(190, 250), rng.uniform(0.4, 1.0), rng.uniform(0.3, 1.0))
    if kind < 0.92:  # from black, which a dark green ball resembles in the shade
        return np.repeat(np.float32(rng.uniform(0.02, 1.0)), 3)
    return hsv(rng.uniform(260, 340), rng.uniform(0.3, 1.0), rng.uniform(0.3, 1.0))


def almost_green(rng: Rng) -> np.ndarray:
    """Return a colour that a green ball has in other light: yellow, turquoise, or none."""
    kind = rng.random()
    if kind < 0.5:
        return hsv(rng.uniform(46, 56), rng.uniform(0.5, 1.0), rng.uniform(0.4, 1.0))
    if kind < 0.75:
        return hsv(rng.uniform(184, 205), rng.uniform(0.4, 1.0), rng.uniform(0.3, 1.0))
    return np.repeat(np.float32(rng.uniform(0.02, 0.5)), 3)


def ball(rng: Rng, is_green: bool, size: int) -> np.ndarray:
    """Return the sprite of one ball.

    Parameters
    ----------
    rng
        Draws its make and its light.
    is_green
        Whether it is a target.
    size
        Its diameter, pixels.
    """
    axis = (np.arange(size, dtype=np.float32) + 0.5) / size * 2 - 1
    x, y = axis[None, :], axis[:, None]
    radius = np.sqrt(x * x + y * y)
    z = np.sqrt(np.clip(1 - radius**2, 0, 1))
    alpha = np.clip((1 - radius) * size / 2, 0, 1)
    base = green(rng) if is_green else not_green(rng)
    albedo, shine = coat(rng, base, x, y, z, is_green)

    light = rng.standard_normal(3)
    light[1] = -abs(light[1]) - 0.25  # mostly from above
    light[2] = abs(light[2]) * 0.8 + 0.1
    light /= np.linalg.norm(light)
    ambient = rng.uniform(0.15, 0.85)
    lambert = x * light[0] + y * light[1] + z * light[2]
    lambert = np.clip(lambert * rng.uniform(0.7, 1) + rng.uniform(0, 0.25), 0, 1)
    shade = ambient + (1 - ambient) * lambert
    shade *= 1 - rng.uniform(0, 0.45) * (1 - z) ** 2  # darker towards the rim
    picture = albedo * shade[..., None]
    under = np.clip(y, 0, 1)[..., None] ** 2 * rng.uniform(0, 0.35)
    picture += under * any_colour(rng) * (0.4 * base + 0.6)  # light that the ground throws back
    if shine > 0:
        half = light + [0, 0, 1]
        half /= np.linalg.norm(half)
        gloss = np.clip(x * half[0] + y * half[1] + z * half[2], 0, 1)
        picture += (shine * gloss ** rng.uniform(12, 140))[..., None]
        if rng.random() < 0.25:  # a window mirrored
            at = rng.uniform(-0.5, 0.3, 2)
            pane = (abs(x - at[0]) < rng.uniform(0.05, 0.2)) & (abs(y - at[1]) < 0.15)
            picture += (pane * shine * 0.5)[..., None]
    sprite = opaque(picture, alpha)
    if is_green and rng.random() < 0.06:  # glass and soap: the scene shines through the middle
        sprite *= (1 - rng.uniform(0.1, 0.35) * z)[..., None]
    return sprite


def coat(
    rng: Rng, base: np.ndarray, x: np.ndarray, y: np.ndarray, z: np.ndarray, is_green: bool
) -> tuple[np.ndarray, float]:
    """Return what a ball's surface is made of.

    Parameters
    ----------
    rng
        Draws its kind and its colours.
    base
        (3,) BGR, 0..1, of most of it.
    x, y, z
        Places on the unit sphere: right (1, S), down (S, 1), towards the eye (S, S).
    is_green
        Whether the ball is a target, which must stay mostly green.

    Returns
    -------
    albedo, shine
        (S, S, 3), 0..1; how glossy it is, 0..1.
    """
    size = z.shape[0]
    q, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    u, v, w = (q[k, 0] * x + q[k, 1] * y + q[k, 2] * z for k in range(3))
    albedo: np.ndarray = np.broadcast_to(base, (size, size, 3)).astype(np.float32)
    kind = rng.random()
    shine = rng.choice([0.0, rng.uniform(0.05, 0.3), rng.uniform(0.3, 0.9)])
    other: np.ndarray = (
        any_colour(rng) if rng.random() < 0.5 else np.repeat(np.float32(rng.choice([0.05, 0.95])), 3)
    )
    mask = None
    if kind < 0.4:
        pass  # plain
    elif kind < 0.55:  # felt with a seam
        seam = np.abs(u * u - v * v - 0.6 * w * np.sign(rng.standard_normal()))
        mask, other = (seam < rng.uniform(0.05, 0.1)), np.array([0.85, 0.95, 0.9], np.float32)
        albedo = albedo * (1 + 0.12 * noise(rng, size, size, 0.06, 2))[..., None]
        shine = 0.0
    elif kind < 0.64:  # bands
        mask = np.abs(u - rng.uniform(-0.4, 0.4)) < rng.uniform(0.04, 0.18)
    elif kind < 0.7:  # dots or holes
        k = rng.uniform(3, 7)
        mask = np.sin(k * u + 1) * np.sin(k * v + 2) * np.sin(k * w) > rng.uniform(0.35, 0.6)
    elif kind < 0.78:  # shades of the same colour
        mask, other = np.sin(rng.uniform(2, 9) * u) > 0, base * rng.uniform(0.55, 1.25)
    elif kind < 0.86:  # a print
        mask = (np.abs(u) < rng.uniform(0.1, 0.5)) & (np.abs(v) < 0.14) & (w > 0) & (np.sin(30 * u) > -0.4)
    elif kind < 0.93:  # dirt
        mask = noise(rng, size, size, 0.25, 3) > rng.uniform(0.8, 1.6)
        other = base * 0.3 + np.array([0.1, 0.15, 0.2], np.float32)
    elif not is_green:  # football, basketball
        k = 4.5
        mask = np.minimum(np.abs(np.sin(k * u)), np.minimum(np.abs(v), np.abs(w))) < 0.08
        if rng.random() < 0.5:
            mask = np.sin(k * u) * np.sin(k * v) * np.sin(k * w) > 0.3
        other = np.array([0.05, 0.05, 0.05], np.float32)
    if mask is not None:
        soft = cv2.GaussianBlur(mask.astype(np.float32), (3, 3), 0)[..., None]
        if is_green and soft.mean() > 0.45:
            soft = soft * 0.4  # a green ball is mostly green
        albedo = albedo * (1 - soft) + other * soft
    return albedo, float(shine)


def other_ball(rng: Rng, size: int) -> np.ndarray:
    """Return a ball of another colour; see `pick`."""
    return ball(rng, False, size)
