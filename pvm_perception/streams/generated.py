"""Generated scenes: short clips for training, an endless stream for demo and `simulate`; exact boxes.

Every clip is a scene of its own (`scenes.scene`), fixed by one seed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from pvm_perception.streams.scenes.scene import EVERY_CAST, Scene
from pvm_perception.types import Frame, Truth
from pvm_perception.vision.frame import BAR

THROWS = 0.25  # share of the balls of training clips that are thrown
TURNS = 0.2  # share of the training clips seen from a robot that turns
ASPECTS = (4 / 3, 16 / 9, 16 / 9, 1.0, 1.2, 9 / 16, 3 / 4, 3 / 2)


@dataclass(frozen=True)
class Clip:
    """A scene's frames with all that is known of them.

    Attributes
    ----------
    images : (T, H, W, 3) uint8, BGR
    truth : (T, M, Truth.COLUMNS) float32, the true boxes as `types.Truth` lays them out
    motion : (T, 4) float32, what the camera's motion did to the picture, as `Hierarchy.step` takes it; NaN in
        frames where it is not known
    """

    images: np.ndarray
    truth: np.ndarray
    motion: np.ndarray

    def ahead(self, unknown_share: float = 0.0) -> np.ndarray:
        """Return the motion from each frame to the next, (T, 4); see `motion_to_next`."""
        return motion_to_next(self.motion, unknown_share)


def motion_to_next(motion: np.ndarray, unknown_share: float = 0.0) -> np.ndarray:
    """Return the motion from each frame to the next, (T, 4); NaN where it is not known, as at the last.

    Parameters
    ----------
    motion
        (T, 4) up to each frame.
    unknown_share
        What share of a change of speed a robot does not know of: half of it where all that it knows is the
        speed at the frame's stamp, none of it where odometry comes until the next frame.
    """
    coming = np.concatenate([motion[1:], np.full_like(motion[:1], np.nan)])
    return coming + np.float32(unknown_share) * (motion - coming)


def make_clip(
    seed: int,
    frames: int,
    size: tuple[int, int] = (144, 192),
    photos: Sequence[np.ndarray] | None = None,
    turns: float = TURNS,
    solid: bool = False,
    scene: Callable[..., Scene] | None = None,
) -> Clip:
    """Render one training clip, wholly fixed by `seed` (and the photographs).

    Parameters
    ----------
    seed
        Any non-negative integer.
    frames
        T.
    size
        (rows, cols) of the network's input; sources of other aspects lie between grey bars, as
        `vision.frame.network_input` puts them.
    photos
        BGR photographs for backgrounds.
    turns
        Probability that the camera turns fast.
    solid
        Render a scene in three dimensions (`scenes.solid`), which needs panda3d.
    scene
        Makes the scene, in place of `Scene` and with the same arguments.
    """
    rng = np.random.default_rng(seed)
    rows, cols = size
    aspect = float(rng.choice(ASPECTS)) if rng.random() < 0.6 else cols / rows
    height, width = min(rows, round(cols / aspect)), min(cols, round(rows * aspect))
    top, left = (rows - height) // 2, (cols - width) // 2
    shown = (scene or _kind(solid))(rng, frames, (height, width), photos, turns=turns)
    images, rendered = np.full((frames, rows, cols, 3), BAR, np.uint8), []
    for k in range(frames):
        images[k, top : top + height, left : left + width], seen = shown.render(k)
        rendered.append(seen)
    truth = np.stack(rendered)  # (T, M, Truth.COLUMNS)
    truth[:, :, Truth.X] += np.where(truth[:, :, Truth.TARGET] >= 0, left, 0)
    truth[:, :, Truth.Y] += np.where(truth[:, :, Truth.TARGET] >= 0, top, 0)
    motion = np.stack([shown.motion(k) for k in range(frames)])
    motion[:, :2] *= np.array([width / cols, height / rows], np.float32)
    return Clip(images, truth, motion)


def _kind(solid: bool) -> Callable[..., Any]:
    """Return what makes a clip's scenes."""
    if not solid:
        return partial(Scene, throws=THROWS)
    from pvm_perception.streams.scenes.solid.scene import SolidScene  # panda3d is optional

    return SolidScene


class SimulatedStream:
    """An endless stream of simulated frames with truth, for the demo and `simulate`.

    Scenes of a few seconds follow each other; every one holds a ball, a sign, both, or neither.

    Parameters
    ----------
    seed
        Fixes every pixel.
    size
        (rows, cols).
    fps
        Frames a second, for the stamps.
    frames
        Stop after so many; None never stops.
    seconds
        How long each scene lasts.
    sizes
        Least and largest height of a target as a share of the frame's.
    hardest
        From 0 to 1, how bad light and lens may be; training clips go up to 1.
    """

    name = "simulated"

    def __init__(
        self,
        seed: int = 0,
        size: tuple[int, int] = (480, 640),
        fps: float = 30.0,
        frames: int | None = None,
        seconds: float = 3.0,
        sizes: tuple[float, float] = (0.1, 0.6),
        hardest: float = 0.3,
    ) -> None:
        self.sizes, self.hardest = sizes, hardest
        self.seed, self.size, self.fps, self.length = seed, size, fps, frames
        self.scene_frames = max(2, round(seconds * fps))

    def __iter__(self) -> Iterator[Frame]:
        index = number = 0
        while True:
            rng = np.random.default_rng((self.seed, number))
            scene = Scene(
                rng,
                self.scene_frames,
                self.size,
                None,
                supersample=1,
                cast=EVERY_CAST[number % 4 if number % 8 < 7 else 0],
                calm=0.15,
                sizes=self.sizes,
                hardest=self.hardest,
            )
            for k in range(self.scene_frames):
                if self.length is not None and index >= self.length:
                    return
                image, truth = scene.render(k)
                boxes = tuple(b for b in Truth.boxes(truth) if b.visible >= 0.25)
                yield Frame(image, str(index), index / self.fps, boxes)
                index += 1
            number += 1
