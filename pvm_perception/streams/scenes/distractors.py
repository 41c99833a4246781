"""Everything that is neither target: look-alikes in colour or shape, and things that occlude."""

from __future__ import annotations

import cv2
import numpy as np

from pvm_perception.streams.scenes.objects import box, crown, cylinder, like_target, plant, rag, skin
from pvm_perception.streams.scenes.paint import (
    Rng,
    drawn,
    opaque,
    trim,
)
from pvm_perception.streams.scenes.plates import badge
from pvm_perception.streams.scenes.street import barrier, beacon, car, fence, lamp, post


def cutout(rng: Rng, picture: np.ndarray, size: int) -> np.ndarray:
    """Return the sprite of a thing cut out of a real picture.

    It is mirrored, toned, and now and then dyed in a colour that a target could have; what is as round as a
    ball is not dyed.

    Parameters
    ----------
    rng
        Draws how it is changed.
    picture
        (H, W, 4) uint8 BGR and alpha.
    size
        The most pixels that the sprite is high or wide.
    """
    scale = min(1.0, size / max(picture.shape[:2]))
    thing = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    if rng.random() < 0.5:
        thing = thing[:, ::-1]
    thing = thing.astype(np.float32) / 255
    bgr, alpha = thing[..., :3], thing[..., 3]
    bgr = bgr * rng.uniform(0.6, 1.2)
    aspect = max(alpha.shape) / min(alpha.shape)
    is_round = aspect < 1.3 and 0.68 < (alpha > 0.5).mean() < 0.88
    if not is_round and rng.random() < 0.2:
        grey = bgr.mean(axis=2, keepdims=True)
        usual = float((grey[..., 0] * alpha).sum() / max(alpha.sum(), 1e-6))
        bgr = grey * like_target(rng) / max(usual, 0.1)
    return trim(opaque(bgr, alpha))


# (painter, how often): a new look-alike is one function and one entry here
LOOK_ALIKES = (
    (box, 2.5),
    (cylinder, 3.0),
    (plant, 2.5),
    (crown, 3.0),
    (rag, 3.0),
    (barrier, 2.0),
    (fence, 1.5),
    (car, 1.5),
    (lamp, 0.7),
    (beacon, 1.2),
    (skin, 0.5),
    (post, 1.0),
    (badge, 2.5),
)
OCCLUDERS = ((post, 4.0), (plant, 2.0), (skin, 2.0), (box, 2.0), (rag, 1.0), (barrier, 1.0))


def pick(rng: Rng, table: tuple, size: int) -> np.ndarray:
    """Return a sprite by one of a table's painters, which are called with `rng` and `size`.

    Parameters
    ----------
    rng
        Draws the painter and what it paints.
    table
        Pairs of a painter and how often it is chosen, relative to the others.
    size
        The sprite's larger side, pixels, before its transparent border is cut off; some painters exceed it.
    """
    return drawn(rng, table)(rng, size)
