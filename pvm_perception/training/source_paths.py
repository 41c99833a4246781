"""Where the material of a training run lies, and what share of the clips is made of what."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pvm_perception.errors import PvmError
from pvm_perception.streams.hold_out import Part

# the kinds of clips, and their usual shares where what they are made of is given; the rest is painted
SHARES = {"stills": 1 / 3, "pasted": 0.0, "video": 0.2, "negatives": 0.1, "turning": 0.0}
NEEDS = {"stills": "stills", "pasted": "stills", "video": "video", "negatives": "negatives"}  # or nothing


@dataclass(frozen=True)
class SourcePaths:
    """Where the material of a training run lies, beside what is painted.

    Attributes
    ----------
    stills : folders of labelled stills
    stills_part : of each folder's stills, as `streams.hold_out` has it; None = all
    video : folders of frames, video files and bags, of which nothing is known
    negatives : the same, known to hold no target
    shares : (kind, share) of the clips, for kinds whose share is not that of `SHARES`
    """

    stills: tuple[str, ...] = ()
    stills_part: Part | None = None
    video: tuple[str, ...] = ()
    negatives: tuple[str, ...] = ()
    shares: tuple[tuple[str, float], ...] = ()

    def kinds(self) -> dict[str, float]:
        """Return the share of each kind of clips; the rest is painted in the usual way.

        Raises
        ------
        PvmError
            A kind that does not exist, one whose material is not given, or more than all.
        """
        wanted = dict(self.shares)
        for kind, share in wanted.items():
            if kind not in SHARES:
                raise PvmError(f"there are no clips of kind {kind!r}; kinds are {', '.join(SHARES)}")
            if share and not self._has(kind):
                raise PvmError(f"a share of {kind} clips needs --{NEEDS[kind]}")
        found = {kind: wanted.get(kind, usual) for kind, usual in SHARES.items() if self._has(kind)}
        total = sum(found.values())
        if min(found.values(), default=0) < 0 or not math.isfinite(total) or total > 1 + 1e-9:
            raise PvmError(f"shares of clips must be from 0 to 1 and together at most 1, not {total:g}")
        return found

    def _has(self, kind: str) -> bool:
        """Whether there is what clips of a kind are made of."""
        return kind not in NEEDS or bool(getattr(self, NEEDS[kind]))
