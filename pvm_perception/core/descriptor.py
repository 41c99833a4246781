"""Descriptors: what a cell sees, in a few numbers that tell any two things apart, whatever they are.

A three-layer perceptron reads the codes and the picture around a cell. It was taught by thousands of things
of which each was seen several times, in other light, at other places and distances: descriptors of one thing
shall be alike, and unlike those of all else (`training.contrast`). So a new thing needs few examples. From
the hidden values it also guesses the box of what is at the cell.

Shapes: n cells, D values of codes and picture read at a cell.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np

from pvm_perception.core.backend import Floats
from pvm_perception.core.size import BOX_ANSWERS, DESCRIPTOR_HIDDEN, DESCRIPTOR_VALUES, READ

VALUES = slice(0, DESCRIPTOR_VALUES)  # among the values of a cell: the descriptor, of length 1,
HIDDEN = slice(DESCRIPTOR_VALUES, DESCRIPTOR_VALUES + DESCRIPTOR_HIDDEN)  # the hidden values,
GUESS = slice(HIDDEN.stop, READ)  # and the guess of the box, as `Cells` has its answers
LEAST_LENGTH = 1e-3  # of what is normalised


@dataclass(frozen=True)
class Descriptor:
    """The weights of a perceptron from codes and picture to descriptors.

    Attributes
    ----------
    w1, b1 : (D, DESCRIPTOR_HIDDEN) and (DESCRIPTOR_HIDDEN,) from what is read to hidden values, rectified
    w2, b2 : (DESCRIPTOR_HIDDEN, DESCRIPTOR_VALUES) and (DESCRIPTOR_VALUES,) to what is brought to length 1
    guess, b_guess : (DESCRIPTOR_HIDDEN, 4) and (4,) to the box
    """

    w1: Floats
    b1: Floats
    w2: Floats
    b2: Floats
    guess: Floats
    b_guess: Floats

    @staticmethod
    def drawn(width: int, seed: int = 0) -> Descriptor:
        """Return a perceptron that was taught nothing: random features of the codes, and no guess.

        Parameters
        ----------
        width
            D.
        seed
            Of its weights.
        """
        rng = np.random.default_rng(seed)
        hidden, values = DESCRIPTOR_HIDDEN, DESCRIPTOR_VALUES
        return Descriptor(
            rng.normal(0, width**-0.5, (width, hidden)).astype(np.float32),
            np.zeros(hidden, np.float32),
            rng.normal(0, hidden**-0.5, (hidden, values)).astype(np.float32),
            np.zeros(values, np.float32),
            np.zeros((hidden, BOX_ANSWERS - 1), np.float32),
            np.zeros(BOX_ANSWERS - 1, np.float32),
        )

    @staticmethod
    def of(tensors: Mapping[str, Floats], prefix: str = "") -> Descriptor:
        """Return the perceptron that tensors hold under the names of its attributes.

        Parameters
        ----------
        tensors
            By name.
        prefix
            Of the names.
        """
        return Descriptor(*(tensors[prefix + field.name] for field in fields(Descriptor)))

    def tensors(self, prefix: str = "") -> dict[str, Floats]:
        """Return its weights by name."""
        return {prefix + field.name: getattr(self, field.name) for field in fields(self)}

    def read(self, sums: Floats) -> Floats:
        """Return what cells read, (n, READ).

        Parameters
        ----------
        sums
            (n, DESCRIPTOR_HIDDEN) codes and picture times `w1`.
        """
        hidden = np.maximum(sums + self.b1, 0)  # (n, DESCRIPTOR_HIDDEN)
        values = hidden @ self.w2 + self.b2  # (n, DESCRIPTOR_VALUES)
        values /= np.maximum(np.linalg.norm(values, axis=1, keepdims=True), LEAST_LENGTH)
        return np.concatenate([values, hidden, hidden @ self.guess + self.b_guess], axis=1)
