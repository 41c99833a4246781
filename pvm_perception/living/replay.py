"""Moments lived through again, beside painted scenes: the clips that a sleep learns from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pvm_perception.core.config import HierarchyConfig
from pvm_perception.errors import PvmError
from pvm_perception.living.lessons import Labels, labels, lesson
from pvm_perception.living.moments import MomentMemory, read_moment, shrunk
from pvm_perception.living.timer import Timer
from pvm_perception.streams.generated import Clip, make_clip
from pvm_perception.types import Truth

STREAMS = 8  # clips side by side
PAINTED = 0.5  # share of the clips that are painted scenes
KEPT = 128  # painted clips that are kept and come again
ANEW = 0.5  # share of the painted clips that are painted anew until so many are kept
PLACES, SIDE = 64, 320  # moments whose pictures are backgrounds of painted scenes, at most so many px wide


@dataclass(frozen=True, eq=False)
class Remembered:
    """A moment on the disk, and what is believed to be known of it.

    Attributes
    ----------
    path : its file
    frames : how many it has
    known : its labels
    place : (h, w, 3) uint8, its first picture, small
    """

    path: Path
    frames: int
    known: Labels
    place: np.ndarray


def recall(memory: MomentMemory) -> list[Remembered]:
    """Return what can be read of a memory, oldest first; the pictures stay on the disk."""
    return [
        Remembered(path, len(moment.images), labels(moment), shrunk(moment.images[0], SIDE)[0])
        for path, moment in memory.moments()
    ]


@dataclass(frozen=True)
class Step:
    """One frame of all clips side by side.

    Attributes
    ----------
    begins : whether the clips begin with it
    images : (B, H, W, 3) uint8
    motion, ahead : (B, 4) as `Hierarchy.step` takes them
    truth : (B, M, Truth.COLUMNS)
    lived : (B,) whether the clip is of a moment
    """

    begins: bool
    images: np.ndarray
    motion: np.ndarray
    ahead: np.ndarray
    truth: np.ndarray
    lived: np.ndarray


class Replay:
    """Draws clips: of moments, and painted ones.

    Parameters
    ----------
    moments
        Those to learn from; one that is gone when it is drawn is left out.
    config
        Of the network.
    rng
        Draws them.

    Attributes
    ----------
    known : the moments of which something is believed to be known
    """

    def __init__(
        self, moments: Sequence[Remembered], config: HierarchyConfig, rng: np.random.Generator
    ) -> None:
        self._moments, self._config, self._rng = list(moments), config, rng
        self.known = [m for m in moments if not m.known.empty]
        self._frames = min(m.frames for m in moments)
        self._places = [m.place for m in moments[:: -(-len(moments) // PLACES)]]
        self._painted: list[Clip] = []

    def steps(self, labelled: bool, timer: Timer) -> Iterator[Step]:
        """Yield frames of clips while the timer goes on.

        Parameters
        ----------
        labelled
            Whether moments are drawn of which something is known,
            those that teach more oftener.
        timer
            Counts the steps.
        """
        while True:
            lived = self._rng.random(STREAMS) >= PAINTED
            clips = [self._lived(labelled) if alive else self._paint() for alive in lived]
            truth = _side_by_side([c.truth for c in clips], self._frames)
            for k in range(self._frames):
                if not timer.goes_on():
                    return
                images, motion = (np.stack([getattr(c, n)[k] for c in clips]) for n in ("images", "motion"))
                ahead = np.stack([c.ahead()[k] for c in clips])
                yield Step(k == 0, images, np.nan_to_num(motion), ahead, truth[k], lived)

    def _lived(self, labelled: bool) -> Clip:
        """Return a moment as a clip."""
        size, rng, targets = (self._config.height, self._config.width), self._rng, self._config.targets
        while some := self.known if labelled else self._moments:
            # targets in balance, however often each is seen at this place
            wanted = targets[int(rng.integers(len(targets)))]
            some = [m for m in some if labelled and wanted in m.known.targets] or some
            worth = np.array([m.known.worth if labelled else 1.0 for m in some])
            moment = some[int(rng.choice(len(some), p=worth / worth.sum()))]
            try:
                return lesson(read_moment(moment.path), moment.known, size, targets, rng)
            except PvmError:  # the memory is full, and the robot remembers something else now
                for kept in (self.known, self._moments):
                    if moment in kept:
                        kept.remove(moment)
        return self._paint()

    def _paint(self) -> Clip:
        """Return a painted clip, half of them before pictures of the place."""
        rng = self._rng
        if self._painted and (len(self._painted) == KEPT or rng.random() >= ANEW):
            return self._painted[int(rng.integers(len(self._painted)))]
        size, places = (self._config.height, self._config.width), self._places if rng.random() < 0.5 else None
        clip = make_clip(int(rng.integers(2**62)), self._frames, size, places)
        clip.truth[clip.truth[..., Truth.TARGET] >= len(self._config.targets)] = Truth.NONE
        self._painted.append(clip)
        return clip


def _side_by_side(truths: Sequence[np.ndarray], frames: int) -> np.ndarray:
    """Return the truth of clips (T, M, COLUMNS) each as (T, B, M, COLUMNS)."""
    rows = max(t.shape[1] for t in truths)
    truth = np.full((frames, len(truths), rows, truths[0].shape[2]), -1, np.float32)
    for b, some in enumerate(truths):
        truth[:, b, : some.shape[1]] = some[:frames]
    return truth
