"""The streams that a network trains on: clips one after another, the hardest of them again."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pvm_perception.streams.generated import Clip
from pvm_perception.training.pool import ClipPool
from pvm_perception.training.replay import Replay

MOTION_SHARE = 0.5  # of the clips, given with the camera's motion; the others are a robot without odometry
UNKNOWN_SHARE = (0.0, 0.5)  # what share of a change of speed such a robot does not know of
AHEAD_SHARE = 0.8  # of the clips with motion, in which the robot knows about the motion ahead at all


class Frames(NamedTuple):
    """One frame of each stream.

    Attributes
    ----------
    images : (B, H, W, 3) uint8, BGR
    boxes : (B, M, 7) truth, rows as `Truth`
    motion : (B, 4) of the camera since the frame before; zeros where the robot has no odometry
    ahead : (B, 4) until the next frame, as far as the robot knows it; NaN where it does not
    new : (B,) whether a clip begins
    """

    images: np.ndarray
    boxes: np.ndarray
    motion: np.ndarray
    ahead: np.ndarray
    new: np.ndarray


class Streams:
    """B streams of clips that start at different moments; the hardest clips come again.

    Parameters
    ----------
    pool
        Gives new clips.
    batch
        Number of streams, B.
    rng
        Draws the first positions, which clips come with motion, and which hard clips come again.
    replay
        Share of the clips that are hard ones seen before, 0 to 1.
    """

    def __init__(self, pool: ClipPool, batch: int, rng: np.random.Generator, replay: float = 0.0) -> None:
        self.pool, self.replay = pool, Replay(replay, rng.spawn(1)[0])
        self.clips = [pool.clip() for _ in range(batch)]
        self.positions = [int(rng.integers(len(clip.images))) for clip in self.clips]
        self.rng = rng
        self.with_motion, self.knows_ahead = np.zeros((2, batch), bool)
        self.unknown_share = np.zeros(batch)
        for b in range(batch):
            self._draw_robot(b)
        self.seen = [0] * batch  # how often each clip was seen to its end before
        self.errors: list[list[float]] = [[] for _ in range(batch)]  # of each clip's frames so far

    def next(self) -> Frames:
        """Return the next frame of each stream."""
        new = np.zeros(len(self.clips), bool)
        for b, clip in enumerate(self.clips):
            if self.positions[b] >= len(clip.images):
                self._change(b)
                self.positions[b], new[b] = 0, True
                self._draw_robot(b)
        now = list(zip(self.clips, self.positions, strict=True))
        self.positions = [k + 1 for k in self.positions]
        motion = np.nan_to_num(np.stack([clip.motion[k] for clip, k in now]))  # (B, 4)
        motion[~self.with_motion] = 0
        images = np.stack([clip.images[k] for clip, k in now])
        return Frames(images, np.stack([clip.truth[k] for clip, k in now]), motion, self._ahead(now), new)

    def _draw_robot(self, b: int) -> None:
        """Draw what the robot of stream `b`'s clip knows of its own motion."""
        self.with_motion[b] = self.rng.random() < MOTION_SHARE
        self.knows_ahead[b] = self.rng.random() < AHEAD_SHARE
        self.unknown_share[b] = self.rng.uniform(*UNKNOWN_SHARE)

    def _ahead(self, now: list[tuple[Clip, int]]) -> np.ndarray:
        """Return what the robots take for their motion to the next frame, (B, 4); NaN: it is not known."""
        ahead = np.stack([now[b][0].ahead(share)[now[b][1]] for b, share in enumerate(self.unknown_share)])
        ahead[~(self.with_motion & self.knows_ahead)] = np.nan
        return ahead

    def _change(self, b: int) -> None:
        """Give stream `b` its next clip, an old one or a new one."""
        if self.errors[b]:
            self.replay.judge(self.clips[b], float(np.mean(self.errors[b])), self.seen[b] + 1)
        self.errors[b] = []
        self.clips[b], self.seen[b] = self.replay.draw() or (self.pool.clip(), 0)

    def learnt(self, errors: np.ndarray) -> None:
        """Record the readout's loss (B,) at each stream's frame of the last `next`."""
        for recorded, error in zip(self.errors, errors, strict=True):
            recorded.append(float(error))
