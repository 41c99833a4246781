"""Which labelled frames of a sequence a model learns from, and on which it is examined."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

# of a sequence's labelled frames: from which to which share, in order; or one side of its hold-out
Part = tuple[float, float] | Literal["taught", "held out"]
SHARE = 0.2  # of the frames that are held out


def held_out_block(shown: Sequence[bool]) -> range:
    """Return the places of the frames to hold out: a fifth of them, in a row.

    In a row, because the frame beside one that was learnt from is almost the same. Of all such rows the one
    in which targets are shown as often as in the whole sequence, and so frames with and without one where
    there are both; of equals, the last.

    Parameters
    ----------
    shown
        Whether each frame, in the order of time, shows a target.
    """
    count = len(shown) - round((1 - SHARE) * len(shown))
    wanted = count * sum(shown) / max(len(shown), 1)  # frames with a target

    def unlike(first: int) -> tuple[int, float]:
        """Return how many kinds of frames the row lacks, and how far its share of targets is off."""
        here = sum(shown[first : first + count])
        lacking = (not here and any(shown)) + (here == count and not all(shown))
        return lacking, abs(here - wanted)

    first = min(reversed(range(len(shown) - count + 1)), key=unlike)
    return range(first, first + count)


def places(part: Part, shown: Sequence[bool]) -> list[int]:
    """Return the places of the frames that belong to a part of a sequence.

    Parameters
    ----------
    part
        "held out", "taught" for all others, or (from, to) as shares of the sequence, 0..1.
    shown
        As in `held_out_block`.
    """
    if isinstance(part, str):
        block = held_out_block(shown)
        return [k for k in range(len(shown)) if (k in block) == (part == "held out")]
    low, high = (round(share * len(shown)) for share in part)
    return list(range(low, high))
