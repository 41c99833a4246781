"""What of a stream is worth remembering: what looks new, where a track begins or ends, and sure tracks.

A track that was sure is remembered wherever its box has moved on or grown: so the places where the target is
hard to see are remembered, too, and a sleep can learn from them. The fuller the memory, the seldomer.
Frames are copied only while a moment is recorded; a thread encodes and writes, so that no frame waits.
"""

from __future__ import annotations

import contextlib
import math
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from pvm_perception.errors import PvmError
from pvm_perception.evaluation.metrics import overlap
from pvm_perception.living.lessons import SURE
from pvm_perception.living.moments import Moment, MomentMemory, nearest, shrunk, thumbnail
from pvm_perception.types import Track

FRAMES = 8  # of a moment
AFTER = 8  # frames that a moment waits for to learn which tracks go on
LOOK_EVERY = 8  # frames between looks for what is new
FULL = 20  # times as many frames lie at least between two moments where the memory is full
NEW = 0.06  # distance to the most similar moment from which a picture is new, of full range
NEWS = 0.02  # the same, where a track began or ended since the last look
MOVED = 0.5  # overlap with where a sure track was remembered last, below which it is remembered again
WAITING = 2  # moments that may wait for the disk; more are dropped


class Recorder:
    """Chooses moments of a tracker's stream for a memory and writes them beside the stream.

    Parameters
    ----------
    memory
        Where to.
    complain
        Called with a line, from the writing thread, when a moment cannot be written; once in a row.
    patient
        Whether the stream waits for the disk, as one from a file can; else moments are dropped.

    Attributes
    ----------
    dropped : moments that were left out because the disk is slow or full
    last_new : when something new was seen last, monotonic seconds
    """

    def __init__(
        self,
        memory: MomentMemory,
        complain: Callable[[str], None] = lambda _line: None,
        patient: bool = False,
    ) -> None:
        self.memory, self._complain, self._patient = memory, complain, patient
        self.dropped, self.last_new = 0, time.monotonic()
        self._held: dict[int, int] = {}  # for how many frames in a row each track was believed
        self._best: dict[int, float] = {}  # its highest score in these
        self._places: dict[int, np.ndarray] = {}  # its box when it was remembered last
        self._known: frozenset[int] = frozenset()  # tracks at the last look
        self._count, self._since = LOOK_EVERY, 0  # frames since the last look, and the last moment
        self._shape: tuple[int, ...] = ()  # of the frames of the open moment
        self._open: Moment | None = None  # in recording
        self._whole: Moment | None = None  # waits for what comes after it, for so many frames
        self._left = 0
        self._recent: deque[np.ndarray] = deque(maxlen=4)  # what the memory may not have yet, as thumbnails
        self._waiting: queue.Queue[Moment | None] = queue.Queue(WAITING)
        self._thread = threading.Thread(target=self._write, name="memory", daemon=True)
        self._thread.start()

    def see(
        self,
        image: np.ndarray,
        stamp: float | None,
        motion: Sequence[float] | np.ndarray | None,
        tracks: Sequence[Track],
        surprise: float,
    ) -> None:
        """Take a frame of the stream, and what the tracker made of it.

        Parameters
        ----------
        image
            (H, W, 3) uint8 BGR; copied where it is kept.
        stamp, motion
            As `Tracker.update` takes them.
        tracks
            What it returned.
        surprise
            Mean surprise of the frame.
        """
        ids = {t.id for t in tracks}
        self._held = {i: self._held.get(i, 0) + 1 for i in ids}
        self._best = {t.id: max(t.score, self._best.get(t.id, 0.0)) for t in tracks}
        self._places = {i: box for i, box in self._places.items() if i in ids}
        self._count, self._since = self._count + 1, self._since + 1
        self._follow(ids)
        if self._open is None and self._count >= LOOK_EVERY:
            self._count = 0
            if self._new(image, frozenset(ids)) or self._moved(tracks):
                held = {i: n - 1 for i, n in self._held.items()}
                self._open, self._shape, self._since = Moment([], [], [], [], [], held), image.shape, 0
                self._places = {t.id: np.array([t.x, t.y, t.w, t.h]) for t in tracks}
        if self._open is None:
            return
        if image.shape != self._shape:
            self._open = None  # another camera, or another size
            return
        small, scale = shrunk(image)
        boxes = [replace(t, x=t.x * scale, y=t.y * scale, w=t.w * scale, h=t.h * scale) for t in tracks]
        self._open.images.append(small)
        self._open.stamps.append(math.nan if stamp is None else float(stamp))
        self._open.motion.append(None if motion is None else [float(v) for v in motion])
        self._open.tracks.append(boxes)
        self._open.surprise.append(float(surprise))
        self._open.best.update(self._best)
        if len(self._open.images) == FRAMES:
            self._whole, self._open, self._left = self._open, None, AFTER

    def _follow(self, ids: set[int]) -> None:
        """Learn from a frame which tracks of the last whole moment go on; after some, the moment is kept."""
        if self._whole is None:
            return
        self._whole.best.update(self._best)
        for i in ids:
            self._whole.after[i] = self._whole.after.get(i, 0) + 1
        self._left -= 1
        if self._left == 0:
            self._hand_over()

    def forget_stream(self) -> None:
        """Drop the moment that is being recorded: the stream begins anew."""
        self._hand_over()
        self._open, self._held, self._best, self._places = None, {}, {}, {}

    def _new(self, image: np.ndarray, ids: frozenset[int]) -> bool:
        """Whether a picture is unlike all that is remembered."""
        news, self._known = ids != self._known, ids
        thumb = thumbnail(image)
        novelty = min(self.memory.novelty(thumb), nearest(list(self._recent), thumb))
        if novelty > NEW:
            self.last_new = time.monotonic()
        new = novelty > (NEWS if news else NEW) and not self._crowded
        if new:
            self._recent.append(thumb)
        return new

    @property
    def _crowded(self) -> bool:
        """Whether the last moment is too near, for how full the memory is."""
        return self._since < LOOK_EVERY * FULL * self.memory.megabytes / self.memory.size

    def _moved(self, tracks: Sequence[Track]) -> bool:
        """Whether a track was sure, and is not where it was when it was remembered last."""
        sure = [t for t in tracks if self._best[t.id] >= SURE]
        return not self._crowded and any(
            t.id not in self._places
            or float(overlap(np.array([t.x, t.y, t.w, t.h]), self._places[t.id])) < MOVED
            for t in sure
        )

    def _hand_over(self) -> None:
        """Give the last whole moment to the thread."""
        moment, self._whole = self._whole, None
        if moment is None:
            return
        try:
            self._waiting.put(moment, block=self._patient)
        except queue.Full:
            self.dropped += 1

    def _write(self) -> None:
        """Write what comes, on the thread."""
        good = True
        while (moment := self._waiting.get()) is not None:
            try:
                self.memory.add(moment)
                good = True
            except (PvmError, OSError) as error:
                self.dropped += 1
                if good:
                    self._complain(f"a moment is not remembered: {error}")
                good = False

    def close(self, patience: float = 5.0) -> None:
        """Write what waits, and end the thread; wait at most `patience` seconds for it."""
        self._hand_over()
        with contextlib.suppress(queue.Full):
            self._waiting.put(None, timeout=patience)
        self._thread.join(patience)
