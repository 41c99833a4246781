"""From a readout's score to the probability that its box is right."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pvm_perception.errors import PvmError
from pvm_perception.types import Candidate, Detection

LARGEST_EXPONENT = 700.0  # of exp, in double precision
NAME, DOUBT = "calibration", "doubt_by_size"  # entries of a model's history
# sides of a box, px of the network's input that shows the whole frame: from which its size makes it doubtful,
# and beyond which no more so, for none was fitted there
SMALL, LARGEST = 8.0, 48.0


@dataclass(frozen=True)
class Calibration:
    """p = 1 / (1 + exp(-(slope * log(s / (1 - s)) + offset - doubt * largeness + evidence))).

    s is a score in 0..1. Platt's sigmoid (1999) over the log odds of the score. A large target that is one
    scores near 1, so that a large box of a middling score is mostly wrong: `largeness` times the target's own
    doubt is what its size speaks against it. `training.calibrate` fits all on generated scenes when a model
    was trained; without a fit, p = s. Evidence is what speaks for a box besides the readout, in log odds, see
    `surprise.Surprise.evidence`.

    Attributes
    ----------
    slope, offset : of all targets
    doubt : by target; those without, as what was shown in a few boxes, have none
    hears_evidence : not while the sigmoid itself is fitted
    """

    slope: float = 1.0
    offset: float = 0.0
    doubt: Mapping[str, float] = field(default_factory=dict)
    hears_evidence: bool = True

    @staticmethod
    def of(history: dict[str, Any]) -> Calibration:
        """Return the calibration of a model's history; raise PvmError if it holds no such numbers."""
        pair, doubt = history.get(NAME, (1.0, 0.0)), history.get(DOUBT, {})
        numbers = _finite(pair)
        if len(numbers) != 2 or numbers[0] <= 0:
            raise PvmError(f"the model's {NAME} is {pair!r}; it must be a slope above 0 and an offset")
        is_table = isinstance(doubt, dict)
        doubts = _finite(doubt.values()) if is_table else []
        if not is_table or len(doubts) != len(doubt) or min(doubts, default=0.0) < 0:
            raise PvmError(f"the model's {DOUBT} is {doubt!r}; it must be a number of 0 or more by target")
        return Calibration(numbers[0], numbers[1], dict(zip(doubt, doubts, strict=True)))

    def entries(self) -> dict[str, Any]:
        """Return what a model's history keeps of this; `of` reads it."""
        return {NAME: [self.slope, self.offset], DOUBT: dict(self.doubt)}

    def detection(self, candidate: Candidate, scale: float, evidence: float = 0.0) -> Detection:
        """Return a candidate with the probability that its box is right in its score's place.

        Parameters
        ----------
        candidate
            With the readout's score; source px.
        scale
            Px of the network's input that shows the whole frame, for each source px.
        evidence
            Log odds for the box from elsewhere than the readout.
        """
        c, heard = candidate, evidence if self.hears_evidence else 0.0
        doubt = self.doubt.get(c.target, 0.0) * largeness(math.sqrt(c.w * c.h) * scale)
        return Detection(c.target, c.x, c.y, c.w, c.h, self.probability(c.score, heard - doubt), heard, doubt)

    def probability(self, score: float, evidence: float = 0.0) -> float:
        """Return the probability for a score in 0..1.

        Parameters
        ----------
        score
            The readout's.
        evidence
            Log odds from elsewhere.
        """
        s = min(max(score, 1e-6), 1 - 1e-6)
        log_odds = self.slope * math.log(s / (1 - s)) + self.offset + evidence
        return 1 / (1 + math.exp(min(-log_odds, LARGEST_EXPONENT)))


def _finite(values: Any) -> list[float]:
    """Return values as finite numbers; nothing where one of them is none."""
    try:
        numbers = [float(value) for value in values]
    except (TypeError, ValueError, OverflowError):  # an int may be larger than any float
        return []
    return numbers if all(map(math.isfinite, numbers)) else []


def largeness(side: float) -> float:
    """Return how large a box is, from 0 on: the square of the logarithm of its side over `SMALL`.

    Parameters
    ----------
    side
        The root of its area, px of the network's input that shows the whole frame.
    """
    return math.log(min(max(side, SMALL), LARGEST) / SMALL) ** 2
