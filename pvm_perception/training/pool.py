"""Worker processes that render training clips without end into shared memory.

Each worker owns one shared ring of frames. It writes a clip, names its place on a queue, and gets the
place back when the learner has copied the clip out, so that no more is ever rendered ahead than fits.
"""

from __future__ import annotations

import itertools
import math
import multiprocessing as mp
import os
import queue
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pvm_perception import signals
from pvm_perception.core.config import MOTION_VALUES
from pvm_perception.errors import PvmError
from pvm_perception.streams.generated import Clip
from pvm_perception.training.source_paths import SourcePaths
from pvm_perception.training.sources import Sources
from pvm_perception.types import TARGETS, Truth

MAX_TRUTH = Truth.IN_VIEW + len(TARGETS)  # rows per frame that a clip can hold
FRAMES = 512  # that a worker may render ahead: 31 MB at 160 x 128
LOOK = 5.0  # seconds of waiting after which learner and worker see whether the other still lives


@dataclass(frozen=True)
class ClipRecipe:
    """What the workers render; `seed` and the clip's number fix each clip.

    Attributes
    ----------
    size : (rows, cols) of the frames
    shortest, longest : frames per clip; see `draw_length`
    photos : folder of photographs for backgrounds, or None
    solid : share of the painted scenes that are scenes in three dimensions
    paths : what else clips are made of
    """

    size: tuple[int, int]
    shortest: int
    longest: int
    photos: str | None = None
    seed: int = 0
    solid: float = 0.0
    paths: SourcePaths = field(default_factory=SourcePaths)


def draw_length(rng: np.random.Generator, shortest: int, longest: int) -> int:
    """Draw a clip's number of frames, such that each octave of lengths gives as many frames.

    Short clips bring many scenes; a state that runs on for long is another thing to learn, for its
    codes come to be made of their own past.

    Parameters
    ----------
    rng
        Draws it.
    shortest, longest
        Frames, both included.
    """
    return int(1 / rng.uniform(1 / (longest + 1), 1 / shortest))


def render(recipe: ClipRecipe, number: int, sources: Sources | None = None) -> Clip:
    """Render one clip of a recipe.

    Parameters
    ----------
    recipe
        What clips are made of.
    number
        Of the clip; together with the recipe's seed it decides all that is drawn.
    sources
        The recipe's, loaded already; None loads them.
    """
    rng = np.random.default_rng((recipe.seed, number))
    length = draw_length(rng, recipe.shortest, recipe.longest)
    sources = sources or Sources(recipe.paths, recipe.photos)
    return sources.clip(rng, (recipe.seed, number), length, recipe.size, recipe.solid)


class _Ring:
    """Memory for frames, one after the other, in which each clip lies in one piece."""

    def __init__(self, memory: Any, recipe: ClipRecipe, frames: int) -> None:
        shapes = (
            ((frames, *recipe.size, 3), np.uint8),
            ((frames, MAX_TRUTH, Truth.COLUMNS), np.float32),
            ((frames, MOTION_VALUES), np.float32),
        )
        self.frames, self.next, place, parts = frames, 0, 0, []
        for shape, kind in shapes:
            size = math.prod(shape)
            parts.append(np.frombuffer(memory, kind, size, place).reshape(shape))
            place += parts[-1].nbytes
        self.images, self.truth, self.motion = parts

    @staticmethod
    def bytes(recipe: ClipRecipe, frames: int) -> int:
        """Return how much memory so many frames take."""
        return frames * (math.prod(recipe.size) * 3 + MAX_TRUTH * Truth.COLUMNS * 4 + MOTION_VALUES * 4)

    def place(self, length: int) -> tuple[int, int]:
        """Return where the next clip begins, and the frames that it takes with what it skips."""
        skipped = self.frames - self.next if self.next + length > self.frames else 0
        begin = (self.next + skipped) % self.frames
        self.next = begin + length
        return begin, length + skipped

    def write(self, begin: int, clip: Clip) -> None:
        some = slice(begin, begin + len(clip.images))
        self.images[some], self.motion[some] = clip.images, clip.motion
        self.truth[some] = Truth.NONE
        rows = min(MAX_TRUTH, clip.truth.shape[1])
        self.truth[some, :rows] = clip.truth[:, :rows]

    def read(self, begin: int, length: int) -> Clip:
        some = slice(begin, begin + length)
        return Clip(self.images[some].copy(), self.truth[some].copy(), self.motion[some].copy())


def _work(
    memory: Any, recipe: ClipRecipe, frames: int, first: int, stride: int, free: mp.Queue, ready: mp.Queue
) -> None:
    """Worker: render clips `first`, `first + stride`, ... until it receives None."""
    signals.handle(signal.SIG_IGN)  # sent to all: the learner ends in good order first
    os.nice(5)
    cv2.setNumThreads(1)
    sources = Sources(recipe.paths, recipe.photos)
    ring, free_frames = _Ring(memory, recipe, frames), frames
    for number in itertools.count(first, stride):
        clip = render(recipe, number, sources)
        begin, taken = ring.place(len(clip.images))
        while free_frames < taken or not free.empty():
            given = _given_back(free)
            if given is None:
                return
            free_frames += given
        ring.write(begin, clip)
        free_frames -= taken
        ready.put((begin, len(clip.images), taken))


def _given_back(free: mp.Queue) -> int | None:
    """Return how many frames the learner gives back, or None when it wants no more, or was killed."""
    while True:
        try:
            return free.get(timeout=LOOK)
        except queue.Empty:
            parent = mp.parent_process()
            if parent is None or not parent.is_alive():
                return None


class ClipPool:
    """Rendered clips on tap.

    Parameters
    ----------
    recipe
        What to render.
    workers
        Number of processes.
    first
        Number of the first clip, so that a resumed training goes on with new scenes.
    part
        (rank, ranks): of all clips from `first` on, dealt out in turn, render those of one rank.

    Attributes
    ----------
    clips : number of the next clip, less the rank
    """

    def __init__(
        self, recipe: ClipRecipe, workers: int = 1, first: int = 0, part: tuple[int, int] = (0, 1)
    ) -> None:
        if recipe.photos and not Path(recipe.photos).is_dir():
            raise PvmError(
                f"no folder of photographs at {recipe.photos}; run `make train-data` or leave --photos out"
            )
        if recipe.solid:
            from pvm_perception.streams.scenes.solid.renderer import panda

            panda()  # if it is missing, this fails here and not in a worker
        context = mp.get_context("spawn")
        frames = max(FRAMES, 2 * recipe.longest)  # what a clip skips at the end is less than a clip
        rank, self.ranks = part
        self.clips = first
        self._workers = []
        for k in range(workers):
            # a file without a name: it goes with the last process, however that one ends
            memory = context.RawArray("B", _Ring.bytes(recipe, frames))
            free, ready = context.Queue(), context.Queue()
            process = context.Process(
                target=_work,
                daemon=True,
                args=(
                    memory,
                    recipe,
                    frames,
                    first + rank + k * self.ranks,
                    workers * self.ranks,
                    free,
                    ready,
                ),
            )
            process.start()
            self._workers.append((process, free, ready, _Ring(memory, recipe, frames)))
        self._turn = 0

    def clip(self) -> Clip:
        """Return the next clip, copied.

        Workers take turns, so the order of clips does not depend on their speed.
        """
        process, free, ready, ring = self._workers[self._turn]
        self._turn = (self._turn + 1) % len(self._workers)
        while True:
            try:
                begin, length, taken = ready.get(timeout=LOOK)
                break
            except queue.Empty:
                if not process.is_alive():
                    raise PvmError("a scene worker stopped; its error is above") from None
        clip = ring.read(begin, length)
        free.put(taken)
        self.clips += self.ranks
        return clip

    def close(self) -> None:
        """Stop the workers and give the memory back."""
        for process, free, _, _ in self._workers:
            free.put(None)
            process.join(timeout=LOOK)
            if process.is_alive():
                process.kill()
                process.join()
        self._workers = []
