"""Graded recurrence that learns: how strongly each context link speaks to its layer.

A link's codes are multiplied by its gain before they are weighted, so the weights' gradient tells the gain's:
dL/d(log gain) is the sum over the link's weights of weight times gradient. It is the logarithm that moves, by
the slope over its running size, so that a gain never changes its sign; a link that is cut (gain 0) stays cut.
"""

from __future__ import annotations

import dataclasses
import math
import reprlib
from collections.abc import Mapping
from types import ModuleType

import numpy as np

from pvm_perception.core.algebra import Gradient, Outer
from pvm_perception.core.backend import Array, to_numpy
from pvm_perception.core.config import HierarchyConfig
from pvm_perception.core.config_parts import MOST_GAIN, Link
from pvm_perception.core.layer_inputs import LayerInputs
from pvm_perception.errors import PvmError

DECAY = 0.998  # of a slope's running mean square
LEAST = 0.01  # gain below which no link falls by learning: from 0 none would come back


class LinkGains:
    """The gains of a network's context links, and how they learn.

    Parameters
    ----------
    config
        The network's.
    layers
        By name, the inputs of the layers; their gains are changed.
    xp
        Array module of the weights.
    """

    def __init__(self, config: HierarchyConfig, layers: Mapping[str, LayerInputs], xp: ModuleType) -> None:
        self.config, self.layers, self.xp = config, layers, xp
        self._squares = {name: np.zeros(len(inputs.gains)) for name, inputs in layers.items()}
        self._steps = dict.fromkeys(layers, 0)

    def slopes(self, name: str, w1: Array, gradient: Gradient) -> Array:
        """Return dL/d(log gain) of a layer's context links, (links,), in the order of its `gains`.

        Parameters
        ----------
        name
            Of the layer.
        w1
            Its weights, (D, N) or, of own weights, (U, D, N), before they change.
        gradient
            Of w1.
        """
        inputs = self.layers[name]
        found = dict.fromkeys(inputs.gains, self.xp.zeros((), np.float32))
        for link, part in inputs.context:
            w = w1[..., part.rows, :]
            if isinstance(gradient, Outer):
                found[link] = found[link] + self.xp.vdot(
                    gradient.x[..., part.rows] @ w, gradient.d
                )  # (U, B, N)
            else:
                found[link] = found[link] + self.xp.vdot(w, gradient[part.rows])
        return self.xp.stack(list(found.values()))

    def learn(self, name: str, w1: Array, gradient: Gradient, rate: float) -> None:
        """Change the gains of one layer's links by its weights' gradient.

        Parameters
        ----------
        name, w1, gradient
            As for `slopes`. A gradient that is not finite changes nothing.
        rate
            Learning rate of the gains' logarithms.
        """
        inputs = self.layers[name]
        if not inputs.gains:
            return
        slopes = to_numpy(self.slopes(name, w1, gradient)).astype(np.float64)
        if not np.isfinite(slopes).all():
            return
        self._steps[name] += 1
        squares = self._squares[name]
        squares += (1 - DECAY) * (slopes**2 - squares)
        sizes = np.sqrt(squares / (1 - DECAY ** self._steps[name])) + 1e-12
        for (link, gain), step in zip(list(inputs.gains.items()), rate * slopes / sizes, strict=True):
            if gain > 0:
                inputs.gains[link] = min(max(gain * math.exp(-step), LEAST), MOST_GAIN)

    def learnt_config(self) -> HierarchyConfig:
        """Return the network's configuration with the gains as they are now: what a model file holds."""
        now: dict[Link, float] = {k: g for inputs in self.layers.values() for k, g in inputs.gains.items()}
        links = tuple(dataclasses.replace(k, gain=now.get(k, k.gain)) for k in self.config.links)
        return dataclasses.replace(self.config, links=links)


def graded(
    config: HierarchyConfig, gains: Mapping[str, float], speed: float | None = None
) -> HierarchyConfig:
    """Return a configuration with other gains.

    Parameters
    ----------
    config
        Whose links are graded.
    gains
        By kind of link, as "lateral"; links of other kinds keep theirs.
    speed
        Learning rate of the gains over that of the weights; None keeps it.

    Raises
    ------
    PvmError
        It has no context link of that kind, or a gain is out of range.
    """
    kinds = {k.kind for k in config.links} - {"feedforward"}
    for kind in gains:
        if kind not in kinds:
            raise PvmError(
                f"no context link is {reprlib.repr(kind)}; this network has {', '.join(sorted(kinds))}"
            )
    links = tuple(dataclasses.replace(k, gain=float(gains.get(k.kind, k.gain))) for k in config.links)
    learning = config.learning if speed is None else dataclasses.replace(config.learning, gain_speed=speed)
    return dataclasses.replace(config, links=links, learning=learning)
