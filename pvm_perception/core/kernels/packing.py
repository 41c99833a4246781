"""Sources and weights as the CPU's products read them, `products.h`: in words of 32 bits.

A word is a float32, or two neighbouring 16-bit integers where the processor multiplies such pairs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pvm_perception.core.backend import Floats

DEEP, MOST_PIECES = 640, 64  # words, and rows, of a unit that are multiplied at a time; as in products.h
LARGEST = 2**14 - 1  # of a row's integers, either way; as in products.h
LARGEST_WEIGHT, LARGEST_SUM = 2**15 - 1, 2**31 - 1


@dataclass(frozen=True)
class Range:
    """The range of a source's values.

    Attributes
    ----------
    most
        The largest value, either way.
    largest
        The integer that stands for it.
    of_norm
        Whether the root of a row's summed squares is at most that, too.
    """

    most: float
    largest: int = LARGEST
    of_norm: bool = False

    @property
    def steps(self) -> float:
        """How many integers there are to 1."""
        return self.largest / self.most


SCALED = Range(LARGEST)  # of rows that are integers by a scale of their own


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

    def together(self, width: int) -> int:
        """Return how many rows of a source of some width are multiplied at a time."""
        return min(max(DEEP // self.pitch(width), 1), MOST_PIECES)

    def weights(self, w: Floats, width: int, held: Range, gain: float) -> tuple[np.ndarray, Floats]:
        """Return weights as words (rows, columns), and what an integer of a sum counts in each column.

        Parameters
        ----------
        w
            (pieces * width, N) by which so many rows of the source are multiplied.
        width, held
            Of the source: of a row, and of its values.
        gain
            Of the link over which the source is read.
        """
        pieces, n, words = len(w) // width, w.shape[1], self.pitch(width)
        rows, wide = words * (2 if self.pairs else 1), -(-n // self.lanes) * self.lanes
        padded = np.zeros((pieces, rows, wide))
        padded[:, :width, :n] = w.reshape(pieces, width, n) * float(gain)
        if not self.pairs:
            return padded.reshape(-1, wide).astype(np.float32), np.ones(wide, np.float32)
        # a sum is at most a row's norm times that of its weights (Cauchy-Schwarz), or its largest value times
        # the sum of theirs; rounding adds half a step to each value
        if held.of_norm:
            weight, rounding, largest = np.sqrt((padded**2).sum(1)), rows**0.5 / 2, held.largest + rows**0.5
        else:
            weight, rounding, largest = np.abs(padded).sum(1), rows / 2, held.largest
        together = self.together(width)
        heaviest = np.max([weight[k : k + together].sum(0) for k in range(0, pieces, together)], axis=0)
        room = LARGEST_SUM / largest - together * rounding
        scale = np.maximum(heaviest / room, np.abs(padded).max((0, 1)) / LARGEST_WEIGHT)
        scale[scale == 0] = 1
        integers = np.rint(padded / scale).astype(np.int16)
        paired = integers.reshape(pieces * words, 2, wide).transpose(0, 2, 1)  # two rows side by side
        return np.ascontiguousarray(paired), (scale / held.steps).astype(np.float32)
