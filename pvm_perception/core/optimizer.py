"""Update rules over a flat dictionary of weights, and their running average for use."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import ModuleType

import numpy as np

from pvm_perception.core.algebra import Gradient, Outer, Scratch
from pvm_perception.core.backend import Array
from pvm_perception.core.config import Learning

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # quintic steps towards singular values of 1
CACHED = 1 << 16  # values that are worked on together
FORGOTTEN = 1 / 4096  # share of a gradient in the momentum from which it counts as nothing
MOST_FACTORS = 26  # of a momentum kept as factors: with more, multiplying them out costs more
MUON_SCALE = 0.2  # makes a step as large, root mean square, as one of Adam's usually is


def orthogonalised(g: Array, xp: ModuleType, steps: int = 5, out: Array | None = None) -> Array:
    """Return a gradient with its singular values brought close to 1.

    Newton-Schulz as in Muon (Jordan et al. 2024), worked out on the small Gram matrix alone: the iterates
    stay products of g with a polynomial of it.

    Parameters
    ----------
    g
        (D, N) of shared weights.
    xp
        Array module.
    steps
        Newton-Schulz iterations.
    out
        Memory for the result (D, N); None takes new memory.
    """
    tall = g if g.shape[0] >= g.shape[1] else g.T
    a, b, c = NEWTON_SCHULZ
    gram = tall.T @ tall  # (N, N)
    size = xp.sqrt(xp.trace(gram)) + np.float32(1e-12)  # stays on the device
    gram /= size * size
    eye = xp.eye(len(gram), dtype=np.float32)
    total = a * eye + b * gram + c * (gram @ gram)
    for _ in range(steps - 1):
        now = total @ gram @ total  # this iterate's Gram matrix; all factors commute
        total = total @ (a * eye + b * now + c * (now @ now))
    total /= size  # symmetric: it may stand on either side
    return xp.matmul(g, total, out=out) if tall is g else xp.matmul(total, g, out=out)


class Optimizer:
    """Adam (Kingma & Ba 2015), Muon, or gradient descent with momentum, with a clip of the norm.

    Muon makes the step of a weight matrix orthogonal, so that rare directions of what a unit
    reads are learnt as fast as common ones; biases, forecasts and the readout's head go by Adam.

    Momentum over own weights, with few streams, is kept as the factors of the last gradients:
    their products, made anew in each step, never leave the cache, while a momentum as large as
    the weights would have to come from memory and go back.

    The state lives in `state`, a flat dictionary of arrays like the weights, so that a
    checkpoint holds it as it is.

    Parameters
    ----------
    weights
        By name; they are changed by `update`.
    learning
        The rule and its settings.
    xp
        Array module of the weights.
    streams
        Streams whose gradients come at each step; they decide whether factors are kept.
    """

    def __init__(
        self, weights: dict[str, Array], learning: Learning, xp: ModuleType, streams: int = 1
    ) -> None:
        self.xp, self.learning = xp, learning
        self.steps = 0
        self.by_muon = {
            name
            for name, w in weights.items()
            if learning.optimizer == "muon" and w.ndim == 2 and not name.endswith(".w2")
        }
        self.streams, self.ages = streams, 0  # gradients that the factors hold
        if learning.optimizer == "momentum":
            self.ages = 1 + math.ceil(math.log(FORGOTTEN, max(learning.momentum, FORGOTTEN)))
        factors = self.ages * streams
        self.by_factors = {name for name, w in weights.items() if w.ndim == 3 and 0 < factors <= MOST_FACTORS}
        self.state = {
            f"m.{name}": xp.zeros_like(w) for name, w in weights.items() if name not in self.by_factors
        }
        for name in self.by_factors:
            units, d, n = weights[name].shape
            self.state |= {
                f"x.{name}": xp.zeros((units, factors, d), np.float32),
                f"d.{name}": xp.zeros((units, factors, n), np.float32),
            }
        if learning.optimizer != "momentum":
            self.state |= {
                f"v.{name}": xp.zeros_like(w) for name, w in weights.items() if name not in self.by_muon
            }
        if learning.average:
            self.state |= {f"average.{name}": w.copy() for name, w in weights.items()}
        self._scratch = Scratch(max(w.size for w in weights.values()), xp)

    def update(self, weights: dict[str, Array], gradients: Mapping[str, Gradient], rate: float) -> float:
        """Change the weights in place along their gradients.

        A gradient that is not finite changes nothing: one bad frame must not cost a model.

        Parameters
        ----------
        weights
            By name, as the optimizer was made for them.
        gradients
            By name: an array of the weights' shape, or `Outer` where each unit has its own weights. The
            arrays may hold anything afterwards.
        rate
            Learning rate of this step.

        Returns
        -------
        float
            The norm of all gradients before the clip; infinite where one was not finite.
        """
        o = self.learning
        square = float(
            sum(g.square() if isinstance(g, Outer) else self.xp.vdot(g, g) for g in gradients.values())
        )  # one wait for a GPU
        if not np.isfinite(square):
            return float("inf")
        norm = square**0.5
        clip = min(1.0, o.clip / norm) if o.clip and norm else 1.0
        self.steps += 1
        for name, g in gradients.items():
            if clip != 1.0:
                g *= np.float32(clip)
            self._move(name, weights[name], g, rate)
        if o.average:
            decay = np.float32(min(o.average, (1 + self.steps) / (10 + self.steps)))
            for name, w in weights.items():
                average = self.state[f"average.{name}"]
                part = self.xp.subtract(w, average, out=self._scratch(*w.shape))
                part *= 1 - decay
                average += part
        return norm

    def _move(self, name: str, w: Array, g: Gradient, rate: float) -> None:
        """Change one weight array along its gradient, and keep its moments."""
        if isinstance(g, Outer):
            if name in self.by_factors:
                self._move_by_factors(name, w, g, rate)
                return
            g = g.dense()
        xp, m = self.xp, self.state[f"m.{name}"]
        if name in self.by_muon:
            m *= np.float32(0.95)
            m += g
            step = xp.multiply(m, np.float32(0.95), out=self._scratch(*w.shape))
            g += step  # Nesterov's look ahead
            orthogonalised(g, xp, out=step)
            step *= np.float32(rate * MUON_SCALE * max(g.shape) ** 0.5)
            if self.learning.decay:  # its steps have one size: nothing else bounds the weights
                w *= np.float32(1 - rate * self.learning.decay)
            w -= step
        elif self.learning.optimizer == "momentum":
            # many weights do not fit the cache: all that happens to some of them happens at once
            for some in self._parts(w):
                part, step = m[some], g[some]
                part *= np.float32(self.learning.momentum)
                part += step
                xp.multiply(part, np.float32(rate), out=step)
                w[some] -= step
        else:
            v, part = self.state[f"v.{name}"], self._scratch(*w.shape)
            xp.subtract(g, m, out=part)
            part *= np.float32(0.1)
            m += part
            g *= g
            g -= v
            g *= np.float32(0.002)
            v += g
            fix = (1 - 0.998**self.steps) ** 0.5 / (1 - 0.9**self.steps)
            xp.sqrt(v, out=g)
            g += np.float32(1e-8)
            xp.divide(m, g, out=part)
            part *= np.float32(rate * fix)
            w -= part

    def _parts(self, w: Array) -> list[slice]:
        """Cut an array along its first axis into parts that the cache holds; a GPU takes it whole."""
        some = max(1, CACHED * len(w) // w.size) if self.xp is np else len(w)
        return [slice(k, k + some) for k in range(0, len(w), some)]

    def _move_by_factors(self, name: str, w: Array, g: Outer, rate: float) -> None:
        """Go one step of momentum: sum over ages of momentum**age times x (U, D) times d (U, N)."""
        x, d = self.state[f"x.{name}"], self.state[f"d.{name}"]  # (U, F, D), (U, F, N)
        d *= np.float32(self.learning.momentum)
        oldest = self.steps % self.ages * self.streams
        newest = slice(oldest, oldest + self.streams)
        x[:, newest], d[:, newest] = g.x, g.d
        ahead = d * np.float32(rate)
        for some in self._parts(w):
            w[some] -= x[some].swapaxes(1, 2) @ ahead[some]  # (some, D, N)

    def averaged(self, weights: dict[str, Array]) -> dict[str, Array]:
        """Return the averaged weights (the weights themselves when no average is kept)."""
        return {name: self.state.get(f"average.{name}", w) for name, w in weights.items()}

    def moments(self) -> list[Array]:
        """Return the moments that may be averaged over copies of a network.

        A momentum kept as factors is left out: the product of two means is not the mean of the
        products. It forgets within a few steps anyway.
        """
        return [v for name, v in self.state.items() if name.startswith(("m.", "v."))]

    def averages(self) -> list[Array]:
        """Return the averaged weights where they are kept."""
        return [v for name, v in self.state.items() if name.startswith("average.")]
