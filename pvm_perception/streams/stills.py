"""Labelled stills under a moving virtual camera: real texture, and motion for nothing.

A crop that drifts, zooms and shakes over each picture, blurred as it moves; its boxes are cut at the crop's
border. Under the same camera `streams.footage` shows clips that move by themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from pvm_perception.errors import PvmError
from pvm_perception.streams.files import FolderStream
from pvm_perception.streams.generated import Clip
from pvm_perception.streams.groundtruth import NAMES
from pvm_perception.streams.hold_out import Part
from pvm_perception.streams.scenes.light import Camera, Light, line_kernel, linear
from pvm_perception.types import Box, Frame, Truth
from pvm_perception.vision.compressed_image import read_image
from pvm_perception.vision.motion import unknown_depth, view_motion

LEAST_VISIBLE = 0.25  # a box cut further than this is not given as a stream's truth


class Pictures(Protocol):
    """What a virtual camera moves over: one picture, or consecutive frames, with boxes in their pixels."""

    @property
    def boxes(self) -> tuple[Box, ...]:
        """The boxes, in pixels of the pictures."""

    def pictures(self) -> Sequence[np.ndarray]:
        """Return what the camera sees, frame by frame; the last one stays."""


@dataclass(frozen=True)
class Still:
    """One picture's file with its boxes in its pixels; read when it is shown, they may be many."""

    path: Path
    boxes: tuple[Box, ...]

    def read(self) -> np.ndarray:
        """Return the picture, (H, W, 3) uint8 BGR."""
        return read_image(self.path)

    def pictures(self) -> Sequence[np.ndarray]:
        """Return what the camera sees, frame by frame; the last one stays."""
        return [self.read()]


def load_stills(folder: str | Path, part: Part | None = None) -> list[Still]:
    """Return the labelled pictures of a folder (images and groundtruth.csv) that can be read.

    Parameters
    ----------
    folder
        As for `files.FolderStream`.
    part
        Of them, as `hold_out` has it; None takes all.

    Raises
    ------
    PvmError
        No labels, no image, or none that is labelled.

    Things whose names begin with `other_` keep their boxes: they are worth looking at, and no target.
    """
    stream = FolderStream(_existing(Path(folder)), part=part)
    if stream.truth is None:
        raise PvmError(f"no {' or '.join(NAMES)} in {folder}; stills need their boxes")
    stills = [Still(stream.folder / f.name, f.boxes) for f in stream if f.boxes is not None]
    if not stills:
        raise PvmError(f"no image in {folder} is named in its labels")
    return stills


def _existing(folder: Path) -> Path:
    if not folder.is_dir():
        raise PvmError(f"{folder} is not a folder")
    return folder


class VirtualCamera:
    """A camera that moves over one still for some frames; `render` gives a frame and its boxes.

    Parameters
    ----------
    rng
        Draws how it moves, the light and the lens.
    still
        The pictures, all of one size.
    frames
        How many it takes.
    size
        (rows, cols) of its frames.
    moves
        Let it drift, zoom, shake and turn; else it keeps to one part of the picture.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        still: Pictures,
        frames: int,
        size: tuple[int, int],
        moves: bool = True,
    ) -> None:
        self.pictures, self.boxes, self.size, self.frames = still.pictures(), still.boxes, size, frames
        rows, cols = self.pictures[0].shape[:2]
        whole = min(cols / size[1], rows / size[0])  # source px per frame px, all in view
        self.zoom = whole * rng.uniform(0.35, 1.0)
        self.zoom_rate = rng.normal(0, 0.008)
        margin = np.array([cols, rows]) - self.zoom * np.array(size[::-1])
        self.middle = np.array([cols, rows]) / 2 + rng.uniform(-0.5, 0.5, 2) * margin
        if still.boxes and rng.random() < 0.8:  # mostly with the target in view
            b = still.boxes[int(rng.integers(len(still.boxes)))]
            reach = self.zoom * np.array(size[::-1]) * 0.5
            self.middle = np.array([b.x + b.w / 2, b.y + b.h / 2]) + rng.uniform(-1, 1, 2) * reach
        self.drift = rng.normal(0, 0.008, 2) * size[0] * self.zoom
        self.shake = rng.standard_normal((frames, 2)) * rng.exponential(0.004) * size[0] * self.zoom
        self.angle, self.turn = rng.normal(0, 0.05), rng.normal(0, 0.003)
        self.shutter = rng.uniform(0.1, 0.9) if rng.random() < 0.5 else 0.0
        if not moves:
            self.zoom_rate = self.angle = self.turn = 0.0
            self.drift, self.shake = self.drift * 0, self.shake * 0
        self.mirror = rng.random() < 0.5 and not any("sign" in b.target for b in still.boxes)
        hard = rng.uniform(0, 0.6)
        self.light, self.camera = Light(rng, *size, hard), Camera(rng, hard)
        self.depth = unknown_depth(rng.spawn(1)[0])

    def _view(self, index: int) -> np.ndarray:
        """Return the 2 x 3 matrix from the still's pixels to those of frame `index`."""
        k = index - self.frames / 2
        angle = self.angle + self.turn * k
        c, s = np.cos(angle), np.sin(angle)
        rows, cols = self.size
        reach = np.array([abs(c) * cols + abs(s) * rows, abs(s) * cols + abs(c) * rows]) / 2
        half = np.array(self.pictures[0].shape[1::-1]) / 2
        # it stays inside: what would show beyond the border are mirrored targets without a box
        zoom = min(self.zoom * np.exp(self.zoom_rate * k), *(half / reach))
        room = half - zoom * reach
        centre = self.middle + self.drift * k + self.shake[index % self.frames]
        centre = np.clip(centre, half - room, half + room)
        matrix = np.array([[c, -s, 0], [s, c, 0]]) / zoom
        matrix[:, 2] = np.array([cols, rows]) / 2 - matrix[:, :2] @ centre
        if self.mirror:
            matrix[0] *= -1
            matrix[0, 2] += cols
        return matrix

    def motion(self, index: int) -> np.ndarray:
        """Return the camera's motion since the frame before, as `scenes.scene.Scene.motion` does."""
        if index == 0:
            return np.zeros(4, np.float32)
        moved = view_motion(self._view(index - 1), self._view(index), self.size)
        moved[3] *= self.depth
        return moved

    def render(self, index: int) -> tuple[np.ndarray, tuple[Box, ...]]:
        """Return frame `index`, (H, W, 3) uint8, and the boxes in it."""
        matrix, (rows, cols) = self._view(index), self.size
        scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
        source, extra = self.pictures[min(index, len(self.pictures) - 1)], 1.0
        while scale * extra < 0.5:  # halve first, so that the warp skips no pixel
            source = cv2.resize(source, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
            extra *= 2
        warp = matrix.copy()
        warp[:, :2] *= extra
        image = cv2.warpAffine(
            source, warp, (cols, rows), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
        )
        image, smear = linear(image), self._smear(index)
        if np.abs(smear).max() > 1:
            image = cv2.filter2D(image, -1, line_kernel(*smear), borderType=cv2.BORDER_REPLICATE)
        image = self.camera.develop(image, self.light.at_frame(index))
        boxes = [_moved(b, matrix, self.size, smear) for b in self.boxes]
        return image, tuple(b for b in boxes if b is not None)

    def _smear(self, index: int) -> np.ndarray:
        """Return how far the middle of the picture moves while the shutter is open, (2,) px."""
        if index == 0 or not self.shutter:
            return np.zeros(2)
        return self.motion(index)[:2] * self.size[::-1] * self.shutter


def _moved(b: Box, matrix: np.ndarray, size: tuple[int, int], smear: np.ndarray) -> Box | None:
    """Return a box as the camera sees it, with its blur, cut at the border; None if nothing is left."""
    corners = np.array([[x, y, 1.0] for x in (b.x, b.x + b.w) for y in (b.y, b.y + b.h)])
    centre = matrix @ np.array([b.x + b.w / 2, b.y + b.h / 2, 1.0])
    # targets are round: a turned box keeps its size, which the turned corners would exceed
    scale = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    sides = np.minimum(np.array([b.w, b.h]) * scale, np.ptp(corners @ matrix.T, axis=0))
    blur = np.abs(smear)  # its box ends where a quarter of its highest opacity is left
    half = (np.maximum(sides, blur) + np.minimum(sides, blur) / 2) / 2
    low, high = np.maximum(centre - half, 0), np.minimum(centre + half, size[::-1])
    area = float(np.prod(np.maximum(high - low, 0)))
    share = area / max(float(np.prod(2 * half)), 1e-9)
    if share <= 0:
        return None
    return Box(
        b.target,
        float(low[0]),
        float(low[1]),
        float(high[0] - low[0]),
        float(high[1] - low[1]),
        b.visible * min(share, 1.0),
        b.id,
        b.weight,
    )


def still_clip(rng: np.random.Generator, frames: int, size: tuple[int, int], stills: Sequence[Still]) -> Clip:
    """Return a training clip of one still, laid out as by `simulated.make_clip`.

    Parameters
    ----------
    rng
        Draws the still and how the camera moves.
    frames
        Number of frames K.
    size
        (rows, cols) of the pictures.
    stills
        Of which one is taken; at least one.
    """
    camera = VirtualCamera(rng, stills[int(rng.integers(len(stills)))], frames, size)
    images = np.empty((frames, *size, 3), np.uint8)
    truth = []
    for k in range(frames):
        images[k], boxes = camera.render(k)
        truth.append(Truth.rows(boxes))
    return Clip(images, np.stack(truth), np.stack([camera.motion(k) for k in range(frames)]))


class StillsStream:
    """An endless stream from labelled stills; each stays for some seconds.

    Parameters
    ----------
    stills
        From `load_stills`.
    seed, size, fps, frames, seconds
        As in `simulated.SimulatedStream`.
    """

    name = "stills"

    def __init__(
        self,
        stills: Sequence[Still],
        seed: int = 0,
        size: tuple[int, int] = (480, 640),
        fps: float = 30.0,
        frames: int | None = None,
        seconds: float = 2.0,
    ) -> None:
        self.stills, self.seed, self.size, self.fps = stills, seed, size, fps
        self.length, self.scene_frames = frames, max(2, round(seconds * fps))

    def __iter__(self) -> Iterator[Frame]:
        index = number = 0
        while True:
            rng = np.random.default_rng((self.seed, number))
            still = self.stills[int(rng.integers(len(self.stills)))]
            camera = VirtualCamera(rng, still, self.scene_frames, self.size)
            for k in range(self.scene_frames):
                if self.length is not None and index >= self.length:
                    return
                image, boxes = camera.render(k)
                seen = tuple(b for b in boxes if b.visible >= LEAST_VISIBLE)
                yield Frame(image, str(index), index / self.fps, seen)
                index += 1
            number += 1
