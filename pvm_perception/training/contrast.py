"""Learning of descriptors: those of one thing shall be alike, and unlike those of all else.

Of each thing of a batch two cells are drawn, from two scenes. The descriptor of the one shall be nearer to
that of the other than to those of all other things and of places that hold none (InfoNCE, van den Oord et al.
2018, arXiv 1807.03748, of normalised descriptors). The hidden values learn to guess the box of what is there.

Shapes: B things, 2 B cells with a thing, first those of one scene of each, then those of another; n cells
without.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pvm_perception.core.algebra import Gradient
from pvm_perception.core.backend import Floats
from pvm_perception.core.config import Learning
from pvm_perception.core.descriptor import LEAST_LENGTH, Descriptor
from pvm_perception.core.optimizer import Optimizer

TEMPERATURE = 0.1  # of the likenesses, which are cosines
BOX_WEIGHT = 0.3  # of the box's error beside the contrast
SURE_OF_BOX = 0.2  # error of a box's answer up to which it counts squared
DECAY = 1e-4  # of the matrices, per step and unit of the full rate
LEARNING = Learning(clip=0.0, average=0.999)
RISE = 200  # steps until the full rate


class Contrast:
    """A descriptor that learns.

    Parameters
    ----------
    descriptor
        As it begins.
    """

    def __init__(self, descriptor: Descriptor) -> None:
        self.weights = {name: w.copy() for name, w in descriptor.tensors().items()}
        self._optimizer = Optimizer(self.weights, LEARNING, np)

    @property
    def averaged(self) -> Descriptor:
        """The descriptor with the running average of its weights, which is what is used later."""
        return Descriptor.of(self._optimizer.averaged(self.weights))

    def learn(
        self, read: Floats, thing: npt.NDArray[np.integer], box: Floats, rate: float
    ) -> tuple[float, float]:
        """Go one step; return the contrast's loss, and the mean error of the boxes' answers.

        Parameters
        ----------
        read
            (2 B + n, D) what cells read: codes and picture around them.
        thing
            (B,) which things they are; one may be there more than once.
        box
            (2 B, 4) what the cells should answer about its box.
        rate
            Of the step.
        """
        loss, error, gradients = self.gradients(read, thing, box)
        for name in ("w1", "w2", "guess"):
            self.weights[name] *= np.float32(1 - DECAY * rate)
        found: dict[str, Gradient] = dict(gradients)
        self._optimizer.update(self.weights, found, rate)
        return loss, error

    def gradients(
        self, read: Floats, thing: npt.NDArray[np.integer], box: Floats
    ) -> tuple[float, float, dict[str, Floats]]:
        """Return the contrast's loss, the boxes' mean error, and the gradients of all weights by name.

        Parameters
        ----------
        read, thing, box
            As for `learn`.
        """
        w, b = self.weights, len(thing)
        sums = read @ w["w1"] + w["b1"]  # (2 B + n, hidden)
        hidden = np.maximum(sums, 0)
        values = hidden @ w["w2"] + w["b2"]  # (2 B + n, V)
        length = np.maximum(np.linalg.norm(values, axis=1, keepdims=True), LEAST_LENGTH)
        described = values / length
        one, rest = described[:b], described[b:]  # (B, V), (B + n, V)
        alike = one @ rest.T / np.float32(TEMPERATURE)  # (B, B + n)
        same = thing[:, None] == thing
        np.fill_diagonal(same, False)
        alike[:, :b][same] = -np.inf  # another cell of the same thing is neither the one sought nor unlike it
        alike -= alike.max(axis=1, keepdims=True)
        share = np.exp(alike)
        share /= share.sum(axis=1, keepdims=True)
        loss = -float(np.log(np.maximum(share[:, :b].diagonal(), 1e-12)).mean())

        share[np.arange(b), np.arange(b)] -= 1
        share /= np.float32(b * TEMPERATURE)
        d = np.concatenate([share @ rest, share.T @ one])  # (2 B + n, V), of the descriptors
        d = (d - described * (described * d).sum(axis=1, keepdims=True)) / length  # of the values
        seen = hidden[: 2 * b]  # (2 B, hidden)
        away = seen @ w["guess"] + w["b_guess"] - box  # (2 B, 4)
        d_box = np.clip(away / SURE_OF_BOX, -1, 1) * np.float32(BOX_WEIGHT / (2 * b))
        d_hidden = d @ w["w2"].T  # (2 B + n, hidden)
        d_hidden[: 2 * b] += d_box @ w["guess"].T
        d_hidden *= sums > 0
        gradients = {
            "w1": read.T @ d_hidden,
            "b1": d_hidden.sum(axis=0),
            "w2": hidden.T @ d,
            "b2": d.sum(axis=0),
            "guess": seen.T @ d_box,
            "b_guess": d_box.sum(axis=0),
        }
        return loss, float(np.abs(away).mean()), gradients


def rate_at(step: int, steps: int, rate: float) -> float:
    """Return the learning rate of a step: it rises, and falls along half a cosine.

    Parameters
    ----------
    step, steps
        Which step, and how many there are.
    rate
        The highest.
    """
    return rate * min(1.0, step / RISE) * 0.5 * (1 + np.cos(np.pi * step / steps))
