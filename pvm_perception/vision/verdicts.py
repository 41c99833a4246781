"""What the closer eyes said of the first eye's candidates holds while they look elsewhere.

A look-alike that only the first eye takes for a target is found out as soon as a closer eye sees it; but the
closer eyes cannot stay with it. Without a memory of what they said it would count again at the next frame.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from pvm_perception.types import Candidate, Track
from pvm_perception.vision.frame import View
from pvm_perception.vision.joining import same_thing, shows_well

REFUTED = 0.4  # share of the first eye's score left by a closer look, below which that look refutes it
HOLDS = 5  # frames that it holds without another look


@dataclasses.dataclass(frozen=True)
class _Verdict:
    """A refuted candidate.

    Attributes
    ----------
    place : where it was seen last
    share : of its score that the closer look left
    left : frames that this still holds
    """

    place: Candidate
    share: float
    left: int


class Verdicts:
    """The candidates that closer looks refuted, followed from frame to frame."""

    def __init__(self) -> None:
        self._held: list[_Verdict] = []

    def reset(self) -> None:
        """Forget all."""
        self._held = []

    def hold(
        self,
        far: Sequence[Candidate],
        found: Sequence[Candidate],
        windows: Sequence[View],
        whole: View,
        tracks: Sequence[Track],
    ) -> list[Candidate]:
        """Lower the scores of what was refuted before and no closer eye sees now.

        Parameters
        ----------
        far
            The first eye's candidates of the frame, source px.
        found
            The same joined with the closer eyes'.
        windows
            What the closer eyes saw of the frame.
        whole
            The view of the whole frame.
        tracks
            What is believed present: no verdict is held against it.

        Returns
        -------
        list of Candidate
            As many as in `found`, best first.
        """
        before = [dataclasses.replace(v, left=v.left - 1) for v in self._held if v.left > 0]
        result, self._held = [], []
        believed = [t for t in tracks if t.state != "tentative"]
        seen = [d for d in far if any(shows_well(w, d, whole) for w in windows)]
        for c in found:
            known = next((v for v in before if same_thing(v.place, c)), None)
            if known:
                before.remove(known)
            elif not any(same_thing(d, c) for d in seen):  # most candidates
                result.append(c)
                continue
            twin = next((d for d in far if same_thing(d, c)), None)
            if twin is None or any(same_thing(c, t) for t in believed):
                known = None
            elif twin in seen:
                refuted = c.score < REFUTED * twin.score
                known = _Verdict(c, c.score / twin.score, HOLDS) if refuted else None
            elif known:
                known = dataclasses.replace(known, place=c)
                c = dataclasses.replace(c, score=known.share * c.score)
            if known:
                self._held.append(known)
            result.append(c)
        self._held += before  # what no candidate was at in this frame
        return sorted(result, key=lambda c: -c.score)
