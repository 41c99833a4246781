"""Where things and the camera of a solid scene are, from frame to frame.

Metres; x to the right, y ahead and z up of the ground under the camera at the middle of the clip.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np

from pvm_perception.streams.scenes.paint import Rng
from pvm_perception.streams.scenes.scene import TURN_SPEED
from pvm_perception.streams.scenes.thing import TURNS_BACK, there_and_back
from pvm_perception.vision.motion import DEPTH

HEIGHTS = (0.1, 1.6)  # m, of the camera


@dataclass
class Thing:
    """A ball or a plate: where it is at the middle of the clip, and where it goes."""

    node: Any
    place: np.ndarray  # (3,) m: to the right, ahead and up of the ground under the camera
    extent: np.ndarray  # (2,) m, across and high
    turned: np.ndarray  # (3, 3), its axes in rows
    share: float = 1.0  # of the square in which a plate lies
    velocity: np.ndarray = field(default_factory=lambda: np.zeros(2))  # m a frame, over the ground
    hop: tuple[float, float, float] | None = None  # how high it bounces, in how many frames, begun
    shadow: Any = None
    flat: bool = False
    span: float = 30.0  # see `there_and_back`

    def pose(self, k: float) -> np.ndarray:
        """Return the pose (4, 4) at `k` frames from the middle; in rows its axes and its place."""
        k = there_and_back(k, self.span)
        pose, turned = np.eye(4), self.turned
        pose[3, :3] = self.place
        pose[3, :2] += self.velocity * k
        if self.hop:
            height, frames, begun = self.hop
            phase = (k / frames + begun) % 1
            pose[3, 2] = self.extent[1] / 2 + 4 * height * phase * (1 - phase)
        if self.velocity.any():  # it rolls
            way = np.array([-self.velocity[1], self.velocity[0], 0.0]) * k / (self.extent[1] / 2)
            turned = turned @ cv2.Rodrigues(way)[0].T
        pose[:3, :3] = self.extent[[0, 0, 1], None] * turned
        return pose

    def whole(self, k: float, eye: np.ndarray, focal: float) -> float:
        """Return how many pixels it would take if nothing hid it and the frame did not end.

        Parameters
        ----------
        k
            Frame, counted as `pose` does.
        eye
            (4, 4) pose of the camera: rows to the right, ahead and up, and its place, m.
        focal
            Focal length, pixels.
        """
        pose = self.pose(k)
        if self.flat:
            half = 0.5 * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
            corners = half[:, :1] * pose[0, :3] + half[:, 1:] * pose[2, :3] + pose[3, :3]
            at = (corners - eye[3, :3]) @ eye[:3, :3].T
            x, y = focal * at[:, 0] / at[:, 1].clip(0.05), focal * at[:, 2] / at[:, 1].clip(0.05)
            return self.share * 0.5 * abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1)))
        at = eye[:3, :3] @ (pose[3, :3] - eye[3, :3])
        far = float(at @ at)
        sine, cosine = self.extent[0] ** 2 / 4 / far, at[1] ** 2 / far  # squared; an ellipse is seen
        return float(np.pi * focal**2 * sine * (1 - sine) ** 0.5 / max(cosine - sine, 1e-3) ** 1.5)


class Drive:
    """Where the camera is: it drives, curves, turns in place, shakes, or stands still.

    Parameters
    ----------
    rng
        Draws it.
    frames
        Number of frames.
    focal
        Focal length in view heights.
    turns
        Probability that the camera turns steadily, as on a robot that turns in place.
    """

    def __init__(self, rng: Rng, frames: int, focal: float, turns: float) -> None:
        self.frames, self.span = frames, rng.uniform(*TURNS_BACK)
        self.height, self.pitch = self.drawn(rng)
        self.roll = rng.normal(0, 0.04)
        way = rng.random()
        self.curve = 0.0 if way < 0.5 else rng.normal(0, 0.012) / focal
        if rng.random() < turns:
            self.curve = rng.choice([-1, 1]) * rng.uniform(*TURN_SPEED) / focal
        self.rate = 0.0 if way > 0.75 else rng.normal(0.004, 0.014)  # of the distance `near`, a frame
        self.near = DEPTH
        self.nod = rng.normal(0, 0.003) * (rng.random() < 0.3)
        shake = rng.exponential(0.004) * (rng.random() < 0.6) / focal
        self.shaken = rng.standard_normal((3, frames + 1)) * shake * [[1], [1], [0.5]]

    @staticmethod
    def drawn(rng: Rng) -> tuple[float, float]:
        """Draw a camera's height and pitch."""
        return float(np.exp(rng.uniform(*np.log(HEIGHTS)))), float(rng.normal(-0.12, 0.14))

    def pose(self, k: float) -> np.ndarray:
        """Return the pose (4, 4) at `k` frames from the middle: right, forward, up, and the place."""
        at = np.arange(self.frames + 1) - self.frames / 2
        yaw, nod, roll = (np.interp(k, at, shaken) for shaken in self.shaken)
        k = there_and_back(k, self.span)
        turned = self.curve * k
        chord = np.clip(self.rate * self.span, -0.5, 0.5) / self.span * self.near * k
        chord *= np.sinc(turned / 2 / np.pi)
        yaw, pitch, roll = yaw + turned, self.pitch + nod + self.nod * k, self.roll + roll
        c, s, slope, level = np.cos(yaw), np.sin(yaw), np.sin(pitch), np.cos(pitch)
        right, forward = np.array([c, -s, 0.0]), np.array([s * level, c * level, slope])
        up = np.array([-s * slope, -c * slope, level])
        pose = np.eye(4)
        pose[:3, :3] = [
            np.cos(roll) * right - np.sin(roll) * up,
            forward,
            np.sin(roll) * right + np.cos(roll) * up,
        ]
        pose[3, :3] = [chord * np.sin(turned / 2), chord * np.cos(turned / 2), self.height]
        return pose


def seen_at(eye: np.ndarray, places: np.ndarray, focal: float) -> np.ndarray:
    """Return where places are seen.

    Parameters
    ----------
    eye
        (4, 4) pose of the camera: rows to the right, ahead and up, and its place, m.
    places
        (n, 3) x, y, z, m.
    focal
        Focal length in view heights.

    Returns
    -------
    ndarray
        (n, 2) to the right and down of the picture's middle, in view heights.
    """
    across, ahead, up = eye[:3, :3] @ (places - eye[3, :3]).T
    return focal * np.stack([across, -up], axis=1) / ahead.clip(0.05)[:, None]


def moved_between(before: np.ndarray, now: np.ndarray, focal: float) -> tuple[float, float, float, float]:
    """Return what a camera's motion does to the far background, and how far it went ahead.

    Parameters
    ----------
    before, now
        (4, 4) the camera's poses, a row for each of its axes (right, ahead, up) and one for its place, m.
    focal
        Focal length over the picture's height.

    Returns
    -------
    tuple of float
        Shift to the right and down, shares of the picture's height; roll, radians; way ahead, m.
    """
    turn = before[:3, :3] @ now[:3, :3].T  # rows: where its axes are now
    across, ahead, up = turn[1]
    right, down = focal * np.array([across, -up]) / ahead
    roll = np.arctan2(turn[2, 0] - turn[0, 2], turn[0, 0] + turn[2, 2])
    return right, down, roll, (now[3, :3] - before[3, :3]) @ before[1, :3]
