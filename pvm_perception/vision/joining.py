"""One list of candidates from what two eyes see: which name the same thing, and which eye is believed."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from pvm_perception.types import Candidate, Track
from pvm_perception.vision.frame import View

NEAR_SHARE = 0.7  # weight of the second eye in a joint score, from a logistic fit on generated scenes
NEAR_BOX = 0.3  # share of the first eye's score that the second's must exceed for its box to be taken
# What is fast is smeared, and smears are boxed better where they are small: where the second eye's window has
# just moved, the first eye has this share of the box.
FAR_BOX = 0.3
UNSEEN = 0.3  # factor of a score that the second eye should have confirmed and did not
CUT = 1.5  # network px from the window's edge within which its candidates are taken to be cut off
INSIDE = 0.25  # sides that a box must lie inside of the window for the second eye to have to see it
SHOWN_WELL = (10.0, 90.0)  # network px of a side that the second eye sees well
SAME_PLACE = 0.5  # sides that two boxes' centres may be apart and name the same thing
SAME_AREA = (0.33, 3.0)  # and the ratio that their areas may have


def merge(
    far: Sequence[Candidate], near: Sequence[Candidate], view: View, whole: View, fresh: bool = False
) -> list[Candidate]:
    """Join both eyes' candidates, all in source px.

    A thing that lies well inside the window and has a size that it shows well is seen by both eyes: the
    second one's box counts, or in a fresh window most of it, and the scores are joined; a candidate of the
    first eye alone loses most of its score there. A candidate that the window's edge cuts is left to the
    first eye.

    Parameters
    ----------
    far, near
        The candidates of the first eye and of the second.
    view, whole
        What the second eye saw, and the view of the whole frame.
    fresh
        Whether the second eye has no past in its window.
    """
    result: list[Candidate] = []
    left = [d for d in near if _inset(d, view, whole) > CUT / view.scale]
    for d in far:
        twin = max((n for n in left if same_thing(n, d)), key=lambda n: n.score, default=None)
        if twin is not None:
            left.remove(twin)
            score = d.score ** (1 - NEAR_SHARE) * twin.score**NEAR_SHARE
            box = _between(twin, d, FAR_BOX * fresh) if twin.score > NEAR_BOX * d.score else d
            result.append(dataclasses.replace(box, score=score))
        elif shows_well(view, d, whole):
            result.append(dataclasses.replace(d, score=UNSEEN * d.score))
        else:
            result.append(d)
    return sorted(result + left, key=lambda d: -d.score)


def _between(a: Candidate, b: Candidate, share: float) -> Candidate:
    """Return `a` with a box that lies that share of the way to `b`'s."""
    sides = {k: (1 - share) * getattr(a, k) + share * getattr(b, k) for k in ("x", "y", "w", "h")}
    return dataclasses.replace(a, **sides)


def touch(a: Candidate, b: Candidate | Track) -> bool:
    """Tell whether two boxes name the same thing: their centres are near, their sizes alike.

    Parameters
    ----------
    a, b
        In pixels of the same image.
    """
    near = SAME_PLACE * (max(a.w, a.h) + max(b.w, b.h)) / 2
    if abs(a.x + a.w / 2 - b.x - b.w / 2) >= near or abs(a.y + a.h / 2 - b.y - b.h / 2) >= near:
        return False  # mostly: hundreds of pairs are compared in a frame
    areas = (a.w * a.h) / max(b.w * b.h, 1e-9)
    return SAME_AREA[0] < areas < SAME_AREA[1]


def same_thing(a: Candidate, b: Candidate | Track) -> bool:
    """Tell whether two boxes name the same thing as the same target; see `touch`."""
    return a.target == b.target and touch(a, b)


def shows_well(window: View, d: Candidate, whole: View) -> bool:
    """Tell whether a closer eye must see what is in a box: it lies well inside of the window, in a good size.

    Parameters
    ----------
    window, whole
        What the closer eye sees, and the view of the whole frame.
    d
        Source px.
    """
    side = max(d.w, d.h)
    inside = _inset(d, window, whole) > INSIDE * side
    return inside and SHOWN_WELL[0] < side * window.scale < SHOWN_WELL[1]


def _inset(d: Candidate, view: View, whole: View) -> float:
    """Return how far a box is from the nearest edge of the window that is not the frame's own, source px."""
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
