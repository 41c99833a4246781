"""From detections over time to tracks: birth and death with hysteresis, ids that survive a gap."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import numpy as np

from pvm_perception.core.backend import Floats
from pvm_perception.types import Detection, Track
from pvm_perception.vision.assignment import assign
from pvm_perception.vision.track_state import Belief, CameraTurn, Followed, encoded
from pvm_perception.vision.tracker_settings import TrackerSettings

# motion of a track's box
SPEED_GAIN = (0.1, 0.8)  # share of a small, and of a large, error of the expected place that becomes speed
TURN = 0.3  # error of the expected place, in sides of the box, that is a large one
PLACE_POWER = 6  # how many times the share of the newest detection in a track's size counts for its place
RESIZED = 0.2  # error of the expected log size from which the newest detection's is taken as it is
GROWTH_GAIN = 0.05  # share of an error of the expected log size that becomes growth
SPEED_KEPT = 0.95  # factor of the speed per frame: moving things slow down
SPEED_KEPT_UNSEEN = 0.8  # the same per frame without a detection
LONGEST_STEP = 3.0  # frames that a box is moved on to meet the next one; after a gap its speed says little
# which detection belongs to which track; distances are in sides of the box
FAINT = 0.25  # share of keep_score below which a detection is left out
FAINT_REACH = 0.3  # share of the reach for a detection of score 0
SEEN = 0.25  # score of a detection from which a track reaches as far as it can
LEAP = 5.0  # reach of a track seen once, in the frame before, for a detection that no other takes
SCORE_BONUS = 0.5  # distance by which a certain detection is preferred to an impossible one
SHAPE_WEIGHT = 0.3  # distance that a factor of e in width or height is worth
SAME = 0.5  # distance from a track below which a detection founds no other track
# birth and death
EVIDENCE_LOST = 0.6  # how much of `smoothing` the evidence decays with, per frame without a detection
FIRST_SIGHT = 0.5  # share of the first detection's score in a new track's evidence, if smoothing were 0
UNBORN_GAP = 1.0  # frames without a detection after which a track is forgotten that was never reported
CROWD = 2  # tracks of one target that are followed, in times of max_instances
SAME_ASPECT = 0.02  # difference of two images' aspects, as a logarithm, that rounding may make
PROVEN = 0.6  # evidence that a track must have reached once for `keep_score` to hold, and not `birth_score`
PATIENCE = 2.0  # frames that the second eye still follows a track without a detection


class TrackManager:
    """Associates each frame's detections with the tracks so far.

    Detections go to the tracks of their target so that as many as can have one, and the sum of the
    distances, in sides of the boxes, is least. A track's evidence is a running mean of its detections'
    scores: a single detection founds no track that is reported unless it is nearly certain, and a single miss
    ends none that was proven. What never was, look-alikes above all, is reported no longer than its evidence
    would bear a new track.

    Parameters
    ----------
    settings
        None takes the defaults. May be replaced between frames.
    """

    def __init__(self, settings: TrackerSettings | None = None) -> None:
        self.settings = settings or TrackerSettings()
        self._next = 1
        self._memory: list[Followed] = []
        self._size: tuple[int, int] | None = None  # (rows, cols) of the last image
        self._turn = CameraTurn()

    def reset(self) -> None:
        """Forget all tracks; ids go on, so that no id is ever given twice."""
        self._memory, self._size, self._turn = [], None, CameraTurn()

    def keep_targets(self, targets: Collection[str]) -> None:
        """Forget the tracks of all other targets."""
        self._memory = [m for m in self._memory if m.target in targets]

    def follow_size(self, size: tuple[int, int]) -> None:
        """Take a new size (rows, cols) of the images.

        Tracks move with the scale. Where the aspect changes as well, it is not known which part of the
        old image the new one shows: tracks end.
        """
        before, self._size = self._size, size
        if before is None or before == size:
            return
        down, right = size[0] / before[0], size[1] / before[1]
        if abs(math.log(right / down)) < SAME_ASPECT:
            self.rescale(right, down)
        else:
            self._memory = []

    def rescale(self, right: float, down: float) -> None:
        """Move all tracks with an image whose width and height change by these factors.

        Parameters
        ----------
        right
            New width over the old one.
        down
            New height over the old one.
        """
        for m in self._memory:
            x, y, log_w, log_h = m.box
            m.box = [x * right, y * down, log_w + math.log(right), log_h + math.log(down)]
            m.speed = [m.speed[0] * right, m.speed[1] * down, *m.speed[2:]]

    def turn(self, motion: Sequence[float] | Floats | None, periods: float = 1.0) -> None:
        """Take the camera's own motion in the time to come: tracks are expected where it carries them.

        Parameters
        ----------
        motion, periods
            As for `CameraTurn`.
        """
        old, self._turn = self._turn, CameraTurn(motion, periods)
        if old.known == self._turn.known:
            return
        for m in self._memory:  # all speed is a track's own while the camera's is unknown
            before, now = (turn.at(m.box[0], m.box[1], self._size) for turn in (old, self._turn))
            m.speed = [m.speed[0] + before[0] - now[0], m.speed[1] + before[1] - now[1], *m.speed[2:]]

    def _turned(self, m: Followed) -> tuple[float, float]:
        """Return how the camera's motion moves what is at a track's place, px right and down per frame."""
        return self._turn.at(m.box[0], m.box[1], self._size)

    def cut(self) -> None:
        """Take note that another scene comes now: what is not seen in it is no longer reported."""
        self.update(None, self.settings.coast + 1)

    def update(self, detections: Sequence[Detection] | None, dt: float = 1.0) -> list[Track]:
        """Take one frame's detections.

        Parameters
        ----------
        detections
            Of all targets; None where a frame is missing.
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
            m.box = m.ahead(min(dt, LONGEST_STEP), self._turned(m))
        left = sorted(detections or (), key=lambda d: -d.score)
        left = [d for d in left if d.score >= s.keep_score * FAINT]
        pairs = self._pairs(left)
        for m, detection in zip(self._memory, pairs, strict=True):
            if detection is not None:
                self._support(m, left[detection], dt)
                continue
            m.gap += dt
            m.score *= (1 - s.smoothing * EVIDENCE_LOST) ** dt
            m.speed = [v * SPEED_KEPT_UNSEEN**dt for v in m.speed]
        for k, d in enumerate(left):
            if k not in pairs:
                self._found(d)
        self._bury()
        for m in self._memory:
            m.proven = m.proven or m.score >= PROVEN
            m.born = m.score >= s.birth_score or (m.born and m.proven)
            m.known = m.known or m.born
        return self.report()

    def _pairs(self, detections: list[Detection]) -> list[int | None]:
        """Return each track's detection, by index: as many as can have one, as near as can be together."""
        costs = np.full((len(self._memory), len(detections)), np.inf)
        # what is hardly seen is a track's only where the track is expected
        shares = [min(FAINT_REACH + (1 - FAINT_REACH) * d.score / SEEN, 1.0) for d in detections]
        for i, m in enumerate(self._memory):
            reach = m.reach(self._turned(m))
            for j, (d, share) in enumerate(zip(detections, shares, strict=True)):
                if d.target == m.target and (far := self._distance(m, d)) < share * reach:
                    costs[i, j] = far - SCORE_BONUS * d.score
        found = dict(assign(costs))
        found |= self._leaps(detections, found)
        return [found.get(i) for i in range(len(self._memory))]

    def _leaps(self, detections: list[Detection], found: dict[int, int]) -> dict[int, int]:
        """Return pairs of what was seen once, in the frame before, with detections that no other track takes.

        It may be thrown: then it is where nothing was expected.
        """
        young = [i for i, m in enumerate(self._memory) if i not in found and m.seen == 1 and not m.gap]
        left = [j for j, d in enumerate(detections) if j not in found.values() and d.score >= SEEN]
        if not young or not left:
            return {}
        costs = np.full((len(self._memory), len(detections)), np.inf)
        for i in young:
            m = self._memory[i]
            for j in left:
                d = detections[j]
                if d.target == m.target and (far := self._distance(m, d)) < LEAP:
                    costs[i, j] = far
        return dict(assign(costs))

    @staticmethod
    def _distance(m: Followed, d: Detection) -> float:
        x, y, w, h = encoded(d)
        side = math.exp((m.box[2] + m.box[3] + w + h) / 4)
        shape = abs(w - m.box[2]) + abs(h - m.box[3])
        return math.hypot(x - m.box[0], y - m.box[1]) / side + SHAPE_WEIGHT * shape

    def _support(self, m: Followed, d: Detection, dt: float) -> None:
        miss = [n - b for n, b in zip(encoded(d), m.box, strict=True)]
        size = self.settings.box_smoothing
        place = 1 - (1 - size) ** PLACE_POWER
        # sizes change slowly: what detections of them differ by is mostly noise, unless it is much
        sizes = [size + (1 - size) * min(abs(e) / RESIZED, 1.0) for e in miss[2:]]
        shares = [place, place, *sizes]
        old = (1 - min(m.gap, 2) / 2) * (1 - 1 / m.seen)  # after a gap, and when new, the old box says little
        m.box = [b + (1 - (1 - a) * old) * e for b, a, e in zip(m.box, shares, miss, strict=True)]
        if dt > 0:
            # small errors of the expected place are the readout's noise, large ones a change of motion
            side = math.exp((m.box[2] + m.box[3]) / 2)
            moved = min(math.hypot(miss[0], miss[1]) / (TURN * side), 1.0)
            move = SPEED_GAIN[0] + (SPEED_GAIN[1] - SPEED_GAIN[0]) * moved
            gain = (move, move, GROWTH_GAIN, GROWTH_GAIN)
            m.speed = [SPEED_KEPT * v + g * e / dt for v, g, e in zip(m.speed, gain, miss, strict=True)]
        m.score += self.settings.smoothing * (d.score - m.score)
        m.gap = 0.0
        m.seen += 1

    def _found(self, d: Detection) -> None:
        """Begin a track with a detection that belongs to none."""
        s = self.settings
        same = [m for m in self._memory if m.target == d.target]
        if any(self._distance(m, d) < SAME for m in same):
            return  # another peak of what is tracked already
        # a first detection counts less than one that was confirmed
        score = d.score * (FIRST_SIGHT + (1 - FIRST_SIGHT) * s.smoothing)
        if d.score < s.keep_score:
            return
        if len(same) >= CROWD * s.max_instances:
            least = min(same, key=lambda m: m.score)
            if not least.gap or least.score >= score:
                return
            self._memory.remove(least)
        self._memory.append(Followed(self._next, d.target, encoded(d), [0.0] * 4, score))
        self._next += 1

    def _bury(self) -> None:
        s = self.settings
        self._memory = [m for m in self._memory if m.gap <= (s.max_gap if m.known else UNBORN_GAP)]

    def beliefs(self) -> list[Belief]:
        """Return all that is followed, best first."""
        found = [Belief(m.target, m.id, m.score, m.gap, m.born) for m in self._memory]
        return sorted(found, key=lambda b: -b.evidence)

    def _has_left(self, m: Followed) -> bool:
        """Tell whether a track is not seen and its centre lies outside of the image."""
        if m.gap == 0 or self._size is None:
            return False
        rows, cols = self._size
        return not (0 <= m.box[0] <= cols and 0 <= m.box[1] <= rows)

    def report(self, ahead: float = 0.0, tentative: bool = False) -> list[Track]:
        """Return the tracks as they are, or as expected `ahead` frames later.

        Parameters
        ----------
        ahead
            Frames; may be a fraction.
        tentative
            Whether tracks are among them that are not yet believed, for the second eye to decide.
        """
        s = self.settings
        coast = max(s.coast, PATIENCE) if tentative else s.coast
        shown = [
            m
            for m in self._memory
            if (m.born or tentative) and m.gap <= coast and m.score >= s.keep_score and not self._has_left(m)
        ]
        tracks: list[Track] = []
        count: dict[str, int] = {}
        for m in sorted(shown, key=lambda m: -m.score):
            count[m.target] = count.get(m.target, 0) + 1
            if count[m.target] <= s.max_instances:
                x, y, w, h = m.ahead(ahead, self._turned(m))
                w, h = math.exp(w), math.exp(h)
                state = "tentative" if not m.born else "confirmed" if m.gap == 0 else "coasting"
                tracks.append(
                    Track(m.target, x - w / 2, y - h / 2, w, h, min(max(m.score, 0.0), 1.0), m.id, state)
                )
        return tracks
