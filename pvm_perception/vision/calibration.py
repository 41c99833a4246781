"""From a readout's score to the probability that its box is right."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from pvm_perception.errors import PvmError
from pvm_perception.types import Candidate, Detection

LARGEST_EXPONENT = 700.0  # of exp, in double precision
NAME = "calibration"  # the entry of a model's history


@dataclass(frozen=True)
class Calibration:
    """p = 1 / (1 + exp(-(slope * log(s / (1 - s)) + offset + evidence))) for a score s in 0..1.

    Platt's sigmoid (1999) over the log odds of the score. `training.calibrate` fits it on
    generated scenes when a model was trained; without a fit, p = s. Evidence is what speaks for a box
    besides the readout, in log odds, see `surprise.Surprise.evidence`.
    """

    slope: float = 1.0
    offset: float = 0.0
    hears_evidence: bool = True  # not while the sigmoid itself is fitted

    @staticmethod
    def of(history: dict[str, Any]) -> Calibration:
        """Return the calibration of a model's history; raise PvmError if it is no pair of numbers."""
        pair = history.get(NAME, (1.0, 0.0))
        try:
            slope, offset = map(float, pair)
        except (TypeError, ValueError, OverflowError):  # an int may be larger than any float
            slope = offset = math.nan
        if not (math.isfinite(slope) and math.isfinite(offset) and slope > 0):
            raise PvmError(f"the model's {NAME} is {pair!r}; it must be a slope above 0 and an offset")
        return Calibration(slope, offset)

    def detection(self, candidate: Candidate, evidence: float = 0.0) -> Detection:
        """Return a candidate with the probability that its box is right in its score's place.

        Parameters
        ----------
        candidate
            With the readout's score.
        evidence
            Log odds for the box from elsewhere than the readout.
        """
        c, heard = candidate, evidence if self.hears_evidence else 0.0
        return Detection(c.target, c.x, c.y, c.w, c.h, self.probability(c.score, heard), heard)

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
