"""Targets cut out of labelled stills: sprites of real balls and signs, for scenes in other places."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from pvm_perception.streams.scenes.balls import green, not_green
from pvm_perception.streams.scenes.light import linear
from pvm_perception.streams.scenes.paint import Rng, hsv, opaque, trim
from pvm_perception.types import Box

LEAST = 24  # px: a target whose shorter side is smaller is not worth cutting out
SIDE = 128  # px, the longer side of a sprite at the most
# how long a box is over its width, and how much of it the target fills: what is far from a disc or an octagon
# is partly hidden, blurred, seen from the side, or not cut out well
SHAPES = {
    "green_ball": ((0.8, 1.25), (0.66, 0.86)),
    "stop_sign": ((0.75, 1.35), (0.66, 0.92)),
    "other_ball": ((0.75, 1.35), (0.62, 0.86)),
}
GREENS, MAYBE = (58.0, 168.0), (48.0, 186.0)  # degrees of hue: green to anybody; to somebody
SMOOTH = 0.95  # of the area of a target's convex hull, least: what is ragged was not cut out well
COLOURED = 0.18  # saturation, least: a sign's back and an overexposed ball are no use


class Labelled(Protocol):
    """A picture with boxes, such as `stills.Still`."""

    @property
    def path(self) -> Path:
        """Where the picture lies."""

    @property
    def boxes(self) -> tuple[Box, ...]:
        """What is labelled in it."""

    def read(self) -> np.ndarray:
        """Return the picture, (H, W, 3) uint8 BGR."""


@dataclass(frozen=True)
class Cutting:
    """A target cut out of a picture.

    Attributes
    ----------
    target : as it is labelled
    sprite : (h, w, 4) float32, BGR premultiplied with alpha
    level : mean linear light of the picture that it was cut from, 0..1
    """

    target: str
    sprite: np.ndarray
    level: float


def cut_out(stills: Iterable[Labelled]) -> list[Cutting]:
    """Return what can be cut out cleanly of labelled stills: whole targets, large enough and round."""
    found = []
    for still in stills:
        if not any(_worth(b) for b in still.boxes):
            continue
        picture = still.read()
        level = float(linear(cv2.resize(picture, (64, 64), interpolation=cv2.INTER_AREA)).mean())
        for box in filter(_worth, still.boxes):
            sprite = _cut(picture, box)
            if sprite is not None:
                found.append(Cutting(box.target, sprite, level))
    return found


def _worth(box: Box) -> bool:
    """Tell whether a box is of a kind, a size and a shape that can be cut out."""
    if box.target not in SHAPES or box.visible < 1 or box.weight < 1 or min(box.w, box.h) < LEAST:
        return False
    low, high = SHAPES[box.target][0]
    return low < box.h / box.w < high


def _cut(picture: np.ndarray, box: Box) -> np.ndarray | None:
    """Return the sprite of one target; None where the border of the picture or its own is unclear."""
    rows, cols = picture.shape[:2]
    margin = 0.12 * max(box.w, box.h)
    if min(box.x, box.y, cols - box.x - box.w, rows - box.y - box.h) < 1:
        return None  # cut by the border
    x0, y0 = int(max(box.x - margin, 0)), int(max(box.y - margin, 0))
    x1, y1 = int(min(box.x + box.w + margin, cols)) + 1, int(min(box.y + box.h + margin, rows)) + 1
    part, scale = picture[y0:y1, x0:x1], min(1.0, SIDE / max(box.w, box.h))
    part = cv2.resize(part, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    centre = ((box.x - x0 + box.w / 2) * scale, (box.y - y0 + box.h / 2) * scale)
    half = (box.w / 2 * scale, box.h / 2 * scale)
    mask = np.full(part.shape[:2], cv2.GC_BGD, np.uint8)
    outline = _octagon if box.target == "stop_sign" else _ellipse
    for share, label in ((1.06, cv2.GC_PR_BGD), (0.98, cv2.GC_PR_FGD), (0.75, cv2.GC_FGD)):
        cv2.fillPoly(mask, [np.round(outline(centre, half, share)).astype(np.int32)], label)
    cv2.setRNGSeed(1)  # its clusters are drawn; the same sprites come out each time
    whole = (0, 0, *mask.shape[::-1])  # is not read where a mask is given
    cv2.grabCut(part, mask, whole, np.zeros((1, 65)), np.zeros((1, 65)), 3, cv2.GC_INIT_WITH_MASK)
    alpha = ((mask == cv2.GC_FGD) | (mask == cv2.GC_PR_FGD)).astype(np.uint8)
    alpha = cv2.morphologyEx(alpha, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    low, high = SHAPES[box.target][1]
    if not low < alpha.sum() / (box.w * box.h * scale * scale) < high or not _whole(part, alpha):
        return None
    alpha = cv2.erode(alpha, np.ones((3, 3), np.uint8))  # the outermost pixels show the place, too
    soft = np.clip(cv2.GaussianBlur(alpha.astype(np.float32), (0, 0), 1.0) * 1.2 - 0.1, 0, 1)
    return trim(opaque(part.astype(np.float32) / 255, soft))


def _whole(part: np.ndarray, alpha: np.ndarray) -> bool:
    """Tell whether what was cut out is in one piece, without dents, and has a colour."""
    outlines, _ = cv2.findContours(alpha, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outline = max(outlines, key=cv2.contourArea)
    hull = cv2.contourArea(cv2.convexHull(outline))
    mean = np.array(cv2.mean(part, alpha)[:3], np.float32)[None, None] / 255
    coloured = cv2.cvtColor(mean, cv2.COLOR_BGR2HSV)[0, 0, 1] > COLOURED
    return bool(coloured and cv2.contourArea(outline) > SMOOTH * hull)


def _ellipse(centre: tuple[float, float], half: tuple[float, float], share: float) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    return np.array(centre) + share * np.array(half) * np.stack([np.cos(angle), np.sin(angle)], 1)


def _octagon(centre: tuple[float, float], half: tuple[float, float], share: float) -> np.ndarray:
    angle = np.pi / 8 + np.arange(8) * np.pi / 4
    corners = np.stack([np.cos(angle), np.sin(angle)], 1) / np.cos(np.pi / 8)
    return np.array(centre) + share * np.array(half) * corners


def hue_of(sprite: np.ndarray) -> float:
    """Return the hue of a sprite's mean colour, degrees."""
    mean = sprite[..., :3].sum(axis=(0, 1)) / max(float(sprite[..., 3].sum()), 1e-6)
    return float(cv2.cvtColor(mean.astype(np.float32)[None, None], cv2.COLOR_BGR2HSV)[0, 0, 0])


def greenness(hue: float) -> float | None:
    """Return how much "green ball" counts for a ball of a hue: 1, 0 = opinions differ; None = not green."""
    if GREENS[0] <= hue <= GREENS[1]:
        return 1.0
    return 0.0 if MAYBE[0] <= hue <= MAYBE[1] else None


def recoloured(rng: Rng, sprite: np.ndarray, is_green: bool) -> np.ndarray:
    """Return a ball in another colour; its light, its texture and its dirt stay.

    It is turned round the colour circle as a whole, so that what has another colour on the ball keeps one.

    Parameters
    ----------
    rng
        Draws the colour.
    sprite
        (S, S', 4) of the ball.
    is_green
        Whether the colour is a target's.
    """
    wanted = (green if is_green else not_green)(rng)
    h, s, v = cv2.cvtColor(wanted[None, None], cv2.COLOR_BGR2HSV)[0, 0]
    alpha = np.maximum(sprite[..., 3:], 1e-3)
    picture = cv2.cvtColor(np.clip(sprite[..., :3] / alpha, 0, 1), cv2.COLOR_BGR2HSV)
    solid = sprite[..., 3] > 0.5
    middle = [float(np.median(picture[..., k][solid])) for k in (1, 2)] if solid.any() else [1.0, 1.0]
    picture[..., 0] = (picture[..., 0] - hue_of(sprite) + h) % 360
    picture[..., 1] = np.clip(picture[..., 1] * (s / max(middle[0], 0.05)), 0, 1)
    picture[..., 2] = np.clip(picture[..., 2] * (v / max(middle[1], 0.05)), 0, 1)
    return opaque(cv2.cvtColor(picture, cv2.COLOR_HSV2BGR), sprite[..., 3])


def tinted(rng: Rng, sprite: np.ndarray) -> np.ndarray:
    """Return a sprite in slightly other light: another white balance.

    Parameters
    ----------
    rng
        Draws the light.
    sprite
        (S, S', 4).
    """
    cast = hsv(rng.uniform(0, 360), rng.uniform(0, 0.12), 1.0)
    return np.concatenate([sprite[..., :3] * np.float32(cast / cast.mean()), sprite[..., 3:]], axis=2)
