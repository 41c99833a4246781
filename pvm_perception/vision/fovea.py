"""The fovea: where in the frame two closer eyes look, at a higher resolution.

The second eye's window follows tracks that are small in the whole view, verifies candidates, those at
surprising places first, and else searches the frame tile by tile. It fixates: the window stays where it is
while its target lies well inside, since each move costs the eye its recurrent state. A third eye searches,
too: beside the second, and on while that follows, so that one small thing in view does not hide the next.
Where something pops out of a calm frame, as a ball thrown before a wall, it looks there first.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

from pvm_perception.types import Candidate, Track
from pvm_perception.vision.frame import View
from pvm_perception.vision.joining import touch
from pvm_perception.vision.surprise import Surprise

# where the window is put
GOAL = 52.0  # network px that a target's longer side should have in the window
COMFORT = (30.0, 80.0)  # network px that it may have before the window changes its scale
MARGIN = 0.75  # sides of the target that must lie between its centre and the window's edge
GAIN = 1.5  # enlargement over the whole view from which a window is worth its time
MAX_ENLARGEMENT = 2.0  # largest scale of a window, network px per source px
DWELL = 4  # frames that one of several tracks is followed before the next
SEARCH = 2.0  # enlargement over the whole view of the windows that search the frame
SPOT = 4.0  # enlargement over the whole view of a window at a place that pops out
TILE_OVERLAP = 1.2  # how many times the search's tiles cover the frame along each axis
SURPRISE_BONUS = 0.1  # score of a hint that the frame's most surprising place is worth
VISITED = 6  # verified places that are remembered, so that others come first


@dataclass(frozen=True)
class Glance:
    """What the third eye does in a frame.

    Attributes
    ----------
    view : its window
    new : whether it looks elsewhere than in the frame before
    counts : whether what it sees counts; where not, it has no past in that window yet
    """

    view: View
    new: bool
    counts: bool


class Search:
    """The windows of an eye that looks for what is not tracked yet: around hints, and the tiles in turn.

    Attributes
    ----------
    verifies : whether the last window is around a hint
    """

    def __init__(self, step: int = 1) -> None:
        self.verifies, self._step = False, step  # to the next tile: 1 or -1, so that two eyes meet at few
        self._place = self._turn = 0
        self._visited: list[tuple[float, float]] = []
        self._glimpses: list[Candidate] = []  # of the windows since it last verified a candidate

    def note(self, near: Sequence[Candidate]) -> None:
        """Remember what the eye saw, source px: the next windows may verify it."""
        self._glimpses += near

    def forget(self) -> None:
        """Forget what was noted: the windows that follow are of something else."""
        self._glimpses = []

    def choose(
        self,
        whole: View,
        tracks: Sequence[Track],
        hints: Sequence[Candidate],
        surprise: Surprise | None = None,
    ) -> View | None:
        """Choose the next window; None where it would show no more than the whole view.

        Its parameters are explained there: see `Fovea.choose`.
        """
        scale = min(SEARCH * whole.scale, MAX_ENLARGEMENT)
        if scale < GAIN * whole.scale:
            return None
        new = [h for h in (*hints, *self._glimpses) if not any(touch(h, t) for t in tracks)]
        self._turn += 1
        self.verifies = False
        if self._turn % 2:
            self._glimpses = []
            for hint in sorted(new, key=lambda h: -self._promise(h, surprise)):
                x, y, side = hint.x + hint.w / 2, hint.y + hint.h / 2, max(hint.w, hint.h)
                fresh = all(abs(x - a) + abs(y - b) > side for a, b in self._visited)
                if fresh and _worth(whole, side):
                    self._visited = [*self._visited[1 - VISITED :], (x, y)]
                    self.verifies = True
                    return View.window(_size(whole), whole.network, (x, y), _scale(side))
        tiles = _tiles(whole, scale)
        self._place = (self._place + self._step) % len(tiles)
        return tiles[self._place]

    @staticmethod
    def _promise(hint: Candidate, surprise: Surprise | None) -> float:
        """Return how much a hint deserves a closer look."""
        return hint.score + (SURPRISE_BONUS * surprise.at(hint) if surprise else 0.0)


class Fovea:
    """Chooses the closer eyes' windows of each frame.

    Attributes
    ----------
    view : the window of the last frame; None where there was none
    moved : whether it differs from the window before
    beside : what the third eye does in this frame; None where it rests
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all windows so far."""
        self.view: View | None = None
        self.beside: Glance | None = None
        self.moved = False
        self._stay = 0
        self._attended: int | None = None
        self._doubted = False  # whether the third one looked at what is not sure, since it last searched
        self._popped: tuple[float, float] | None = None  # the last spot that the third one looked at
        self._search, self._search_beside = Search(), Search(-1)

    def note_candidates(self, near: Sequence[Candidate]) -> None:
        """Remember the second eye's candidates, source px: the next windows may verify them."""
        self._search.note(near)

    def note_beside(self, near: Sequence[Candidate]) -> None:
        """Remember the third eye's candidates, source px, in the same way."""
        self._search_beside.note(near)

    def choose(
        self,
        whole: View,
        tracks: Sequence[Track],
        hints: Sequence[Candidate],
        surprise: Surprise | None = None,
    ) -> View | None:
        """Choose the window of a frame; None where a second eye would see no more than the first.

        Parameters
        ----------
        whole
            The view of the whole frame.
        tracks
            What is believed present, as expected in this frame; source px.
        hints
            The first eye's candidates in this frame; source px.
        surprise
            Where the first eye is surprised in this frame; None where it had no forecast.
        """
        before = self.view
        small = [t for t in tracks if _worth(whole, max(t.w, t.h))]
        if small:
            self._search.forget()
            self.view = self._follow(whole, [t for t in small if t.state == "confirmed"] or small)
        elif tracks and before is not None:
            # a large target is seen well by the first eye: the search for more rests every second frame
            self._attended = self.view = None
        else:
            self._attended = None
            self.view = self._search.choose(whole, tracks, hints, surprise)
        self.moved = self.view is not None and self.view != before
        return self.view

    def choose_beside(
        self,
        whole: View,
        tracks: Sequence[Track],
        hints: Sequence[Candidate],
        surprise: Surprise | None = None,
    ) -> Glance | None:
        """Choose the third eye's window; None where it rests. Called after `choose`: see `Fovea.choose`.

        It looks at what pops out of the frame; else it searches while the second eye does, or follows
        something, and in between looks at what is not sure.
        At a tile it stays for two frames, since it has no past at the first one. What is around a hint may
        have moved away by then: there it looks twice at once.
        """
        before, self.beside = self.beside, None
        if self._attended is None and self.view is None:
            return None
        doubtful = [t for t in tracks if not self.leaves_alone(t) and _worth(whole, max(t.w, t.h))]
        if doubtful and not self._doubted:
            self._doubted, self._popped = True, None
            view = self._around(whole, max(doubtful, key=lambda t: t.score), before.view if before else None)
            self.beside = Glance(view, before is None or view != before.view, True)
            return self.beside
        spot = surprise.spot() if surprise else None
        if spot == self._popped:
            spot = None  # a lamp that blinks has every second frame, no more
        self._doubted, self._popped = False, spot
        if spot is not None:
            scale = min(SPOT * whole.scale, MAX_ENLARGEMENT)
            self.beside = Glance(View.window(_size(whole), whole.network, spot, scale), True, True)
        elif before is not None and not before.counts:
            self.beside = Glance(before.view, False, True)
        elif (window := self._search_beside.choose(whole, tracks, hints, surprise)) is not None:
            self.beside = Glance(window, True, self._search_beside.verifies)
        return self.beside

    @property
    def windows(self) -> list[View]:
        """What the closer eyes see in this frame, where that counts."""
        second = [self.view] if self.view is not None else []
        return second + ([self.beside.view] if self.beside is not None and self.beside.counts else [])

    def leaves_alone(self, track: Track) -> bool:
        """Tell whether the third eye must not judge a track: it is sure, or the second eye follows it."""
        return track.state == "confirmed" or track.id == self._attended

    def _follow(self, whole: View, tracks: list[Track]) -> View:
        ids = [t.id for t in tracks]
        if self._attended not in ids:
            self._attended, self._stay = ids[0], 0
        elif len(ids) > 1 and self._stay >= DWELL:
            self._attended = ids[(ids.index(self._attended) + 1) % len(ids)]
            self._stay = 0
        self._stay += 1
        return self._around(whole, tracks[ids.index(self._attended)], self.view)

    @staticmethod
    def _around(whole: View, track: Track, before: View | None) -> View:
        """Return the window of the frame before if a track sits well in it, else one around the track."""
        x, y, side = track.x + track.w / 2, track.y + track.h / 2, max(track.w, track.h)
        if before is not None and COMFORT[0] <= side * before.scale <= COMFORT[1]:
            near_x = abs(x - before.x - before.width / 2) < before.width / 2 - MARGIN * side
            near_y = abs(y - before.y - before.height / 2) < before.height / 2 - MARGIN * side
            if near_x and near_y:
                return before
        return View.window(_size(whole), whole.network, (x, y), _scale(side))


def _scale(side: float) -> float:
    """Return the scale that brings a target's longer side to a good size."""
    return min(GOAL / max(side, 1.0), MAX_ENLARGEMENT)


def _worth(whole: View, side: float) -> bool:
    """Return whether a window would enlarge a target of this side enough to be worth its time."""
    return _scale(side) >= GAIN * whole.scale


def _size(whole: View) -> tuple[int, int]:
    return whole.height, whole.width  # the whole view covers the source


@functools.lru_cache(maxsize=4)
def _tiles(whole: View, scale: float) -> list[View]:
    """Return windows that cover the frame at a scale, with some overlap."""
    rows, cols = whole.network[0] / scale, whole.network[1] / scale  # source px of a window
    down, right = (
        max(1, -(-int(TILE_OVERLAP * n) // max(int(k), 1)))
        for n, k in ((whole.height, rows), (whole.width, cols))
    )
    centres = [
        ((j + 0.5) / right * whole.width, (i + 0.5) / down * whole.height)
        for i in range(down)
        for j in range(right)
    ]
    views = [View.window(_size(whole), whole.network, c, scale) for c in centres]
    return list(dict.fromkeys(views))
