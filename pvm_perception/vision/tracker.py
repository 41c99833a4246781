"""Readouts over time to tracks: birth and death with hysteresis, ids that survive a gap."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pvm_perception.core.settings import check, setting
from pvm_perception.types import Detection, Track

PATIENCE = 2.0  # frames that a closer look goes on where there is nothing to see any more
SPEED_GAIN = (0.1, 0.8)  # share of a little, and of a large, surprise in place taken for speed
TURN = 0.3  # surprise in place, in sides of the box, that is a large one
GROWTH_GAIN = 0.05  # share of a surprise in log size that is taken for growth
SPEED_KEPT = 0.95  # per frame: what moved will slow down
LONGEST_STEP = 3.0  # frames that a box is moved on to meet the next one; after a gap its speed says little


@dataclass(frozen=True)
class TrackerSettings:
    """How readouts become tracks."""

    birth_score: float = setting(0.4, "evidence from which a track is born", low=0.0, high=1.0)
    keep_score: float = setting(0.3, "evidence below which a track is no longer reported",
                                low=0.0, high=1.0)
    smoothing: float = setting(0.35, "share of the newest readout in a track's evidence",
                               low=0.05, high=1.0)
    box_smoothing: float = setting(0.9, "share of the newest readout in a track's box",
                                   low=0.05, high=1.0)
    max_gap: float = setting(8.0, "frames that a track is remembered while nothing supports it",
                             low=0.0, high=300.0)
    coast: float = setting(1.0, "frames that an unsupported track is still reported", low=0.0,
                           high=60.0)
    max_instances: int = setting(3, "tracks of one target at a time", low=1, high=8)

    def __post_init__(self) -> None:
        check(self)


@dataclass
class _Memory:
    """A track on its way: centre and size with their speeds per frame, and its evidence."""

    id: int
    target: str
    box: list[float]  # centre x, centre y, log w, log h
    speed: list[float]
    score: float
    gap: float = 0.0
    born: bool = False

    def ahead(self, dt: float) -> list[float]:
        return [b + s * dt for b, s in zip(self.box, self.speed, strict=True)]


def _encode(d: Detection) -> list[float]:
    return [d.x + d.w / 2, d.y + d.h / 2, math.log(max(d.w, 0.5)), math.log(max(d.h, 0.5))]


class TrackManager:
    """Associates the readouts of each frame with what was there before.

    A readout belongs to the remembered track of its target that it lies nearest to, in units of
    the boxes' size. Evidence is a running mean of scores: one loud frame is not yet a track
    unless it is very loud, one silent frame does not end one.
    """

    def __init__(self, settings: TrackerSettings | None = None) -> None:
        self.settings = settings or TrackerSettings()
        self._next = 1
        self._memory: list[_Memory] = []

    def reset(self) -> None:
        """Forget all tracks; ids go on, so that no id is ever given twice."""
        self._memory = []

    def update(self, detections: Sequence[Detection] | None, dt: float = 1.0) -> list[Track]:
        """Take one frame's readouts.

        Parameters
        ----------
        detections
            Candidates of all targets with their scores; None where a frame is missing.
        dt
            Time since the last frame, in usual frame periods.

        Returns
        -------
        list of Track
            What is believed present, best first.
        """
        dt = min(max(dt, 0.0), 100.0)
        s = self.settings
        for m in self._memory:
            m.box = m.ahead(min(dt, LONGEST_STEP))
        left = sorted(detections or (), key=lambda d: -d.score)
        left = [d for d in left if d.score >= s.keep_score / 4]
        free = list(self._memory)
        for m in sorted(self._memory, key=lambda m: -m.score):
            near = [(self._distance(m, d), i) for i, d in enumerate(left)
                    if d.target == m.target]
            near = [(far - 0.5 * left[i].score, i) for far, i in near if far < 1.5 + 0.2 * m.gap]
            if near:
                self._support(m, left.pop(min(near)[1]), dt)
                free.remove(m)
        for m in free:
            m.gap += dt
            m.score *= (1 - s.smoothing * 0.6) ** dt
            m.speed = [v * 0.8**dt for v in m.speed]
        for d in left:
            self._conceive(d)
        self._bury()
        return self.report()

    @staticmethod
    def _distance(m: _Memory, d: Detection) -> float:
        x, y, w, h = _encode(d)
        side = math.exp((m.box[2] + m.box[3] + w + h) / 4)
        shape = abs(w - m.box[2]) + abs(h - m.box[3])
        return math.hypot(x - m.box[0], y - m.box[1]) / side + 0.3 * shape

    def _support(self, m: _Memory, d: Detection, dt: float) -> None:
        new, a = _encode(d), self.settings.box_smoothing
        a = a + (1 - a) * min(m.gap, 2) / 2  # after a gap the old box says little
        miss = [n - b for n, b in zip(new, m.box, strict=True)]
        m.box = [b + a * e for b, e in zip(m.box, miss, strict=True)]
        if dt > 0:
            # little surprises are the readout's noise, large ones say that it moves otherwise
            side = math.exp((m.box[2] + m.box[3]) / 2)
            moved = min(math.hypot(miss[0], miss[1]) / (TURN * side), 1.0)
            move = SPEED_GAIN[0] + (SPEED_GAIN[1] - SPEED_GAIN[0]) * moved
            gain = (move, move, GROWTH_GAIN, GROWTH_GAIN)
            m.speed = [SPEED_KEPT * v + g * e / dt
                       for v, g, e in zip(m.speed, gain, miss, strict=True)]
        m.score += self.settings.smoothing * (d.score - m.score)
        m.gap = 0.0

    def _conceive(self, d: Detection) -> None:
        s = self.settings
        same = [m for m in self._memory if m.target == d.target]
        if any(self._distance(m, d) < 0.5 for m in same):
            return  # another peak of what is tracked already
        if d.score < s.keep_score or len(same) >= 2 * s.max_instances:
            return
        # a first sight counts less than one that was seen again
        self._memory.append(_Memory(self._next, d.target, _encode(d), [0.0] * 4,
                                    d.score * (0.5 + 0.5 * s.smoothing)))
        self._next += 1

    def _bury(self) -> None:
        s = self.settings
        self._memory = [m for m in self._memory if m.gap <= (s.max_gap if m.born else 1.0)]

    def report(self, ahead: float = 0.0, tentative: bool = False) -> list[Track]:
        """Return the tracks as they are, or as expected `ahead` frames later.

        With `tentative`, also those that are not yet believed: what a closer look should decide.
        """
        s = self.settings
        for m in self._memory:
            m.born = m.born or m.score >= s.birth_score
        coast = max(s.coast, PATIENCE) if tentative else s.coast
        alive = sorted((m for m in self._memory
                        if (m.born or tentative) and m.gap <= coast and m.score >= s.keep_score),
                       key=lambda m: -m.score)
        tracks, count = [], {}
        for m in alive:
            count[m.target] = count.get(m.target, 0) + 1
            if count[m.target] <= s.max_instances:
                x, y, w, h = m.ahead(ahead)
                w, h = math.exp(w), math.exp(h)
                state = "confirmed" if m.gap == 0 else "coasting"
                tracks.append(Track(m.target, x - w / 2, y - h / 2, w, h,
                                    min(max(m.score, 0.0), 1.0), m.id, state))
        return tracks
