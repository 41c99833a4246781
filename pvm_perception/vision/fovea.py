"""Where to look a second time: a window of higher resolution that follows, verifies and searches.

The window fixates: it stays where it is while what it looks at lies well inside it, since every
saccade costs the network its memory of the place.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from pvm_perception.types import Detection, Track
from pvm_perception.vision.frame import View

GOAL = 52.0  # network px that a target's longer side should have in the window
COMFORT = (30.0, 80.0)  # and may have before the window changes its scale
GAIN = 1.5  # a window must enlarge by at least this to be worth a look
MOST = 2.0  # times that a source pixel may be enlarged
SEARCH = 2.0  # enlargement of the windows that scan the frame
NEAR_SHARE = 0.7  # of the closer look in a joint score; a logistic fit on generated scenes says so
DWELL = 4  # frames that one of several tracks is looked at before the next
UNSEEN = 0.3  # of a score that the closer look did not confirm


class Fovea:
    """Chooses the window of each frame.

    Attributes
    ----------
    view : the window of this frame; None where a second look would show no more
    moved : whether it differs from the frame before's
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget where it looked."""
        self.view: View | None = None
        self.moved = False
        self._place = self._turn = self._stay = 0
        self._attended: int | None = None
        self._visited: list[tuple[float, float]] = []
        self._glimpses: list[Detection] = []  # of the windows since it last followed a hint

    def note_detections(self, near: Sequence[Detection]) -> None:
        """Take what the window showed, source px: a hint for the windows to come."""
        self._glimpses += near

    def choose(self, whole: View, tracks: Sequence[Track], hints: Sequence[Detection]) -> View | None:
        """Choose the window for the next frame.

        Parameters
        ----------
        whole
            The view of the whole frame.
        tracks
            What is believed present, as expected at that frame; source px.
        hints
            Sights of this frame; source px.
        """
        before = self.view
        small = [t for t in tracks if _worth(whole, max(t.w, t.h))]
        if small:
            self._glimpses = []
            self.view = self._follow(whole, small)
        elif tracks and before is not None:
            # what is large is seen well already: the search for more rests every second frame
            self._attended = self.view = None
        else:
            self._attended = None
            new = [h for h in (*hints, *self._glimpses) if not any(_touch(h, t) for t in tracks)]
            self.view = self._search(whole, sorted(new, key=lambda h: -h.score))
        self.moved = self.view is not None and self.view != before
        return self.view

    def _follow(self, whole: View, tracks: list[Track]) -> View:
        ids = [t.id for t in tracks]
        if self._attended not in ids:
            self._attended, self._stay = ids[0], 0
        elif len(ids) > 1 and self._stay >= DWELL:
            self._attended = ids[(ids.index(self._attended) + 1) % len(ids)]
            self._stay = 0
        self._stay += 1
        t = tracks[ids.index(self._attended)]
        return self._at(whole, t.x + t.w / 2, t.y + t.h / 2, max(t.w, t.h))

    def _at(self, whole: View, x: float, y: float, side: float) -> View:
        """Return the present window if (x, y) and `side` sit well in it, else one around them."""
        v = self.view
        if v is not None and COMFORT[0] <= side * v.scale <= COMFORT[1]:
            near_x = abs(x - v.x - v.width / 2) < v.width / 2 - 0.75 * side
            near_y = abs(y - v.y - v.height / 2) < v.height / 2 - 0.75 * side
            if near_x and near_y:
                return v
        return View.window(_size(whole), whole.network, (x, y), _scale(side))

    def _search(self, whole: View, hints: Sequence[Detection]) -> View | None:
        """Return the next window of the search: hints, best first, and the frame's tiles in turn."""
        scale = min(SEARCH * whole.scale, MOST)
        if scale < GAIN * whole.scale:
            return None
        self._turn += 1
        if self._turn % 2:
            self._glimpses = []
            for hint in hints:
                x, y, side = hint.x + hint.w / 2, hint.y + hint.h / 2, max(hint.w, hint.h)
                fresh = all(abs(x - a) + abs(y - b) > side for a, b in self._visited)
                if fresh and _worth(whole, side):
                    self._visited = [*self._visited[-5:], (x, y)]
                    return View.window(_size(whole), whole.network, (x, y),
                                       _scale(side))
        tiles = _tiles(whole, scale)
        self._place = (self._place + 1) % len(tiles)
        return tiles[self._place]


def _scale(side: float) -> float:
    """Return the scale that brings a target's longer side to a good size."""
    return min(GOAL / max(side, 1.0), MOST)


def _worth(whole: View, side: float) -> bool:
    """Return whether a window would enlarge it enough to be worth a look."""
    return _scale(side) >= GAIN * whole.scale


def _size(whole: View) -> tuple[int, int]:
    return whole.height, whole.width  # the whole view covers the source


def _tiles(whole: View, scale: float) -> list[View]:
    """Return windows that cover the frame at a scale, with some overlap."""
    rows, cols = whole.network[0] / scale, whole.network[1] / scale  # source px of a window
    down, right = (max(1, -(-int(1.2 * n) // max(int(k), 1)))
                   for n, k in ((whole.height, rows), (whole.width, cols)))
    centres = [((j + 0.5) / right * whole.width, (i + 0.5) / down * whole.height)
               for i in range(down) for j in range(right)]
    views = [View.window(_size(whole), whole.network, c, scale) for c in centres]
    return list(dict.fromkeys(views))


def merge(far: Sequence[Detection], near: Sequence[Detection], view: View, whole: View
          ) -> list[Detection]:
    """Join the sights of the whole frame and of the window, all in source px.

    What lies well inside the window and has a size that it shows well was seen twice: the closer
    look's box counts, and its score decides with the other's; what only the distant look saw
    there loses most of its score. What the window's edge cuts is not the window's to tell.
    """
    result, left = [], [d for d in near if _room(d, view, whole) > 1.5 / view.scale]
    for d in far:
        side = max(d.w, d.h)
        twin = max((n for n in left if n.target == d.target and _touch(n, d)),
                   key=lambda n: n.score, default=None)
        if twin is not None:
            left.remove(twin)
            score = d.score ** (1 - NEAR_SHARE) * twin.score**NEAR_SHARE
            box = twin if twin.score > 0.3 * d.score else d
            result.append(dataclasses.replace(box, score=score))
        elif _room(d, view, whole) > 0.25 * side and 10 < side * view.scale < 90:
            result.append(dataclasses.replace(d, score=UNSEEN * d.score))
        else:
            result.append(d)
    return sorted(result + left, key=lambda d: -d.score)


def _touch(a: Detection, b: Detection) -> bool:
    """Return whether two boxes name the same thing: centres near, sizes alike."""
    side = (max(a.w, a.h) + max(b.w, b.h)) / 2
    apart = max(abs(a.x + a.w / 2 - b.x - b.w / 2), abs(a.y + a.h / 2 - b.y - b.h / 2))
    return apart < 0.5 * side and 0.33 < (a.w * a.h) / max(b.w * b.h, 1e-9) < 3


def _room(d: Detection, view: View, whole: View) -> float:
    """Return how far a box is from the nearest edge of the window that is not the frame's own."""
    inner = [float("inf")]
    if view.x > 0:
        inner.append(d.x - view.x)
    if view.y > 0:
        inner.append(d.y - view.y)
    if view.x + view.width < whole.width:
        inner.append(view.x + view.width - d.x - d.w)
    if view.y + view.height < whole.height:
        inner.append(view.y + view.height - d.y - d.h)
    return min(inner)
