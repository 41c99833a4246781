"""Worker processes that render training clips without end into shared memory.

Each worker owns one shared block of clip slots. It fills a slot, names it on a queue, and gets it
back when the learner has copied the clip out, so that no more is ever rendered ahead than fits.
"""

from __future__ import annotations

import multiprocessing as mp
import os
import queue
import signal
from dataclasses import dataclass
from multiprocessing import shared_memory
from pathlib import Path

import cv2
import numpy as np

from pvm_perception.core.config import MOTION_VALUES
from pvm_perception.errors import PvmError
from pvm_perception.streams.simulated import Clip, make_clip
from pvm_perception.streams.stills import load_stills, still_clip

MAX_TRUTH = 4  # boxes per frame that a clip can hold


@dataclass(frozen=True)
class ClipRecipe:
    """What the workers render; `seed` and the clip's number fix each clip.

    Attributes
    ----------
    size : (rows, cols) of the frames
    shortest, longest : frames per clip; see `draw_length`
    photos : folder of photographs for backgrounds, or None
    stills : folders of labelled stills, of which every third clip is made, if there are any
    stills_part : from which to which share of each folder's stills; None = all
    """

    size: tuple[int, int]
    shortest: int = 6
    longest: int = 12
    photos: str | None = None
    seed: int = 0
    stills: tuple[str, ...] = ()
    stills_part: tuple[float, float] | None = None


def draw_length(rng: np.random.Generator, shortest: int, longest: int) -> int:
    """Draw a clip's number of frames, such that each octave of lengths gives as many frames.

    Short clips bring many scenes; a state that runs on for long is another thing to learn, for its
    codes come to be made of their own past.
    """
    return int(1 / rng.uniform(1 / (longest + 1), 1 / shortest))


def _slot_arrays(memory: shared_memory.SharedMemory, recipe: ClipRecipe, slots: int
                 ) -> Clip:
    """View a block as the images, truth and motion of many clips, (slots, T, ...) each."""
    shape = (slots, recipe.longest, *recipe.size, 3)
    images = np.ndarray(shape, np.uint8, memory.buf)
    truth = np.ndarray((slots, recipe.longest, MAX_TRUTH, 6), np.float32, memory.buf,
                       offset=images.nbytes)
    motion = np.ndarray((slots, recipe.longest, MOTION_VALUES), np.float32, memory.buf,
                        offset=images.nbytes + truth.nbytes)
    return Clip(images, truth, motion)


def _render(name: str, recipe: ClipRecipe, slots: int, first: int, stride: int,
            free: mp.Queue, ready: mp.Queue) -> None:
    """Worker: render clips `first`, `first + stride`, ... until told to stop (None)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(5)
    cv2.setNumThreads(1)
    photos = None
    if recipe.photos:
        from pvm_perception.streams.scenes.photos import load_photos

        photos = load_photos(recipe.photos)
    stills = [s for folder in recipe.stills for s in load_stills(folder, recipe.stills_part)]
    memory = shared_memory.SharedMemory(name)
    block = _slot_arrays(memory, recipe, slots)
    number = first
    while (slot := free.get()) is not None:
        rng = np.random.default_rng((recipe.seed, number))
        length = draw_length(rng, recipe.shortest, recipe.longest)
        if stills and number % 3 == 0:
            clip = still_clip(rng, length, recipe.size, stills)
        else:
            clip = make_clip(int(rng.integers(2**62)), length, recipe.size, photos=photos)
        block.images[slot, :length] = clip.images
        block.truth[slot, :length] = -1
        rows = min(MAX_TRUTH, clip.truth.shape[1])
        block.truth[slot, :length, :rows] = clip.truth[:, :rows]
        block.motion[slot, :length] = clip.motion
        ready.put((slot, length))
        number += stride
    del block
    memory.close()


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
    """

    def __init__(self, recipe: ClipRecipe, workers: int = 1, first: int = 0,
                 slots: int = 48) -> None:
        if recipe.photos and not Path(recipe.photos).is_dir():
            raise PvmError(f"no folder of photographs at {recipe.photos}; run `make train-data` "
                           "or leave --photos out")
        context = mp.get_context("spawn")
        size = slots * recipe.longest * (int(np.prod(recipe.size)) * 3 + MAX_TRUTH * 24
                                         + MOTION_VALUES * 4)
        self.clips = first
        self._workers = []
        for k in range(workers):
            memory = shared_memory.SharedMemory(create=True, size=size)
            free = context.Queue()
            for slot in range(slots):
                free.put(slot)
            ready = context.Queue()
            process = context.Process(
                target=_render, daemon=True,
                args=(memory.name, recipe, slots, first + k, workers, free, ready))
            process.start()
            self._workers.append((process, memory, free, ready,
                                  _slot_arrays(memory, recipe, slots)))
        self._turn = 0

    def clip(self) -> Clip:
        """Return the next clip, copied.

        Workers take turns, so the order of clips does not depend on their speed.
        """
        process, _, free, ready, block = self._workers[self._turn]
        self._turn = (self._turn + 1) % len(self._workers)
        while True:
            try:
                slot, length = ready.get(timeout=5)
                break
            except queue.Empty:
                if not process.is_alive():
                    raise PvmError("a scene worker stopped; its error is above") from None
        clip = Clip(*(part[slot, :length].copy()
                      for part in (block.images, block.truth, block.motion)))
        free.put(slot)
        self.clips += 1
        return clip

    def close(self) -> None:
        """Stop the workers and give the memory back."""
        for process, memory, free, _, arrays in self._workers:
            free.put(None)
            process.join(timeout=5)
            if process.is_alive():
                process.terminate()
                process.join()
            del arrays
            memory.unlink()
        self._workers = []
