"""Sources and weights as the CPU's products read them, `products.h`: in words of 32 bits.

A word is a float32, or two neighbouring 16-bit integers where the processor multiplies such pairs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pvm_perception.core.backend import Floats

DEEP, MOST_PIECES = 640, 64  # words, and rows, of a unit that are multiplied at a time; as in products.h
LARGEST = 8191  # of a source's integers, either way; as in products.h
LARGEST_WEIGHT, LARGEST_SUM = 2**15 - 1, 2**31 - 1


@dataclass(frozen=True)
class Packing:
    """How a build of the CPU's kernels has its words.

    Attributes
    ----------
    lanes
        Words of a vector: rows of weights are whole vectors.
    pairs
        Whether a word is two integers.
    """

    lanes: int
    pairs: bool

    def pitch(self, width: int) -> int:
        """Return how many words hold so many values."""
        return -(-width // 2) if self.pairs else width

    def steps(self, most: float) -> float:
        """Return how many integers there are to 1 in a source of values that are `most` at most."""
        return LARGEST / most

    def together(self, width: int) -> int:
        """Return how many rows of a source of some width are multiplied at a time."""
        return min(max(DEEP // self.pitch(width), 1), MOST_PIECES)

    def weights(self, w: Floats, width: int, gain: float, most: float) -> tuple[np.ndarray, Floats]:
        """Return weights as words (rows, columns), and what an integer of a sum counts in each column.

        Parameters
        ----------
        w
            (pieces * width, N) by which so many rows of the source are multiplied.
        width
            Of the source.
        gain
            Of the link over which the source is read.
        most
            Of the source's values, either way; of integers, `LARGEST`.
        """
        pieces, n = len(w) // width, w.shape[1]
        each = 2 if self.pairs else 1  # values of a word
        words, wide = self.pitch(width), -(-n // self.lanes) * self.lanes
        padded = np.zeros((pieces, words * each, wide))
        padded[:, :width, :n] = w.reshape(pieces, width, n) * float(gain)
        if not self.pairs:
            return padded.reshape(-1, wide).astype(np.float32), np.ones(wide, np.float32)
        together = self.together(width)
        begins = range(0, pieces, together)
        sizes = np.abs(padded)
        heaviest = np.max([sizes[k : k + together].sum((0, 1)) for k in begins], axis=0)  # (wide,)
        # rounding adds half a step to each weight at most
        room = LARGEST_SUM / LARGEST - together * words * each / 2
        scale = np.maximum(heaviest / room, sizes.max((0, 1)) / LARGEST_WEIGHT)
        scale[scale == 0] = 1
        steps = np.rint(padded / scale).astype(np.int16)
        paired = steps.reshape(pieces * words, 2, wide).transpose(0, 2, 1)  # two rows side by side
        return np.ascontiguousarray(paired), (scale * most / LARGEST).astype(np.float32)
