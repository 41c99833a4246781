"""Update rules over a flat dictionary of weights, and their running average for use."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

from pvm_perception.core.config import Learning

Array = Any


class Optimizer:
    """Adam (Kingma & Ba 2015) or gradient descent with momentum, with a clip of the norm.

    The state lives in `state`, a flat dictionary of arrays like the weights, so that a
    checkpoint holds it as it is.
    """

    def __init__(self, weights: dict[str, Array], learning: Learning, xp: ModuleType) -> None:
        self.xp, self.learning = xp, learning
        self.steps = 0
        moments = ("m", "v") if learning.optimizer == "adam" else ("m",)
        self.state = {f"{k}.{name}": xp.zeros_like(w)
                      for k in moments for name, w in weights.items()}
        if learning.average:
            self.state |= {f"average.{name}": w.copy() for name, w in weights.items()}

    def update(self, weights: dict[str, Array], gradients: dict[str, Array], rate: float) -> float:
        """Change `weights` in place along `gradients`; return the gradient's norm before the clip.

        A gradient that is not finite changes nothing: one bad frame must not cost a model.
        """
        xp, o = self.xp, self.learning
        square = sum(float(xp.vdot(g, g)) for g in gradients.values())
        if not np.isfinite(square):
            return float("inf")
        norm = square**0.5
        clip = min(1.0, o.clip / norm) if o.clip and norm else 1.0
        self.steps += 1
        for name, g in gradients.items():
            if clip != 1.0:
                g = g * np.float32(clip)
            m = self.state[f"m.{name}"]
            if o.optimizer == "momentum":
                m *= np.float32(o.momentum)
                m += g
                weights[name] -= np.float32(rate) * m
                continue
            v = self.state[f"v.{name}"]
            m += np.float32(0.1) * (g - m)
            v += np.float32(0.002) * (g * g - v)
            fix = (1 - 0.998**self.steps) ** 0.5 / (1 - 0.9**self.steps)
            weights[name] -= np.float32(rate * fix) * m / (xp.sqrt(v) + np.float32(1e-8))
        if o.average:
            decay = np.float32(min(o.average, (1 + self.steps) / (10 + self.steps)))
            for name, w in weights.items():
                average = self.state[f"average.{name}"]
                average += (1 - decay) * (w - average)
        return norm

    def averaged(self, weights: dict[str, Array]) -> dict[str, Array]:
        """Return the averaged weights (the weights themselves when no average is kept)."""
        return {name: self.state.get(f"average.{name}", w) for name, w in weights.items()}
