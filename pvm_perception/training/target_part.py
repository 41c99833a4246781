"""Learning of one target alone: whether it is there, by the part of a readout that nothing else hears.

A network that grew (`core/growth.py`) has units in its readout that nobody hears. Where one target's
presence alone learns, they become its own: codes and boxes stay, and the other targets' answers stay as they
are, but for what the readout's memory tells them of this target's last answers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import ModuleType
from typing import cast

import numpy as np

from pvm_perception.core.algebra import Gradient
from pvm_perception.core.backend import Array, Mask, to_numpy
from pvm_perception.core.config import HierarchyConfig, Learning
from pvm_perception.core.hierarchy import Hierarchy
from pvm_perception.core.optimizer import Optimizer
from pvm_perception.core.size import BOX_ANSWERS
from pvm_perception.errors import PvmError
from pvm_perception.types import TARGETS

READOUT = "readout."  # the beginning of its weights' names
READOUT_ALONE = ("readout", *TARGETS)  # what may learn while codes and forecast stay


def optimizer_for(network: Hierarchy, learns: str, streams: int) -> Optimizer:
    """Return what moves the weights of a network that learn.

    Parameters
    ----------
    network
        The network.
    learns
        What learns; where it is a target's name, the part of its presence alone.
    streams
        Streams whose gradients come at each step.
    """
    settings = (network.weights, network.config.learning, network.xp, streams)
    if learns not in TARGETS:
        return Optimizer(*settings)
    return PartOptimizer(*settings, own_part(network.config, network.weights, learns))


def own_part(config: HierarchyConfig, weights: Mapping[str, Array], target: str) -> dict[str, Mask]:
    """Return which columns of the readout's weights serve one target's presence alone.

    Parameters
    ----------
    config, weights
        The network.
    target
        Its name.

    Returns
    -------
    dict
        By weight, (N,) True where a column feeds nothing that any other answer is made of.

    Raises
    ------
    PvmError
        If the network does not know the target, or its readout is none of boxes.
    """
    if target not in config.targets or config.readout.kind != "box":
        raise PvmError(f"this network's readout has no part for {target!r} that could learn alone")
    answers = np.zeros(len(config.targets) * BOX_ANSWERS, bool)  # (A,)
    answers[config.targets.index(target) * BOX_ANSWERS] = True  # presence; the rest is its box
    part = {"w2": answers, "b2": answers}
    heard = to_numpy(weights[f"{READOUT}w2"])  # (G, A)
    if config.readout.mixing:
        mixing = (heard[:, ~answers] == 0).all(axis=1)  # (G,)
        part |= {"mix": mixing, "b_mix": mixing}
        answers, heard = mixing, to_numpy(weights[f"{READOUT}mix"])  # (G,), (H, G)
    hidden = (heard[:, ~answers] == 0).all(axis=1)  # (H,)
    rest = (name.removeprefix(READOUT) for name in weights if name.startswith(READOUT))
    part |= {name: hidden for name in rest if name not in part}
    return {READOUT + name: columns for name, columns in part.items()}


class PartOptimizer(Optimizer):
    """An optimizer that moves only some columns of some weights.

    Parameters
    ----------
    weights, learning, xp, streams
        As for `Optimizer`.
    part
        By weight, (N,) True for the columns that learn; all other weights stay as they are.
    """

    def __init__(
        self,
        weights: dict[str, Array],
        learning: Learning,
        xp: ModuleType,
        streams: int,
        part: Mapping[str, Mask],
    ) -> None:
        # without decay, which would shrink all weights; a gradient of zeros moves none
        super().__init__(weights, dataclasses.replace(learning, decay=0.0), xp, streams)
        self._rest = {name: xp.asarray(np.flatnonzero(~columns)) for name, columns in part.items()}

    def update(self, weights: dict[str, Array], gradients: Mapping[str, Gradient], rate: float) -> float:
        """Change the part along its gradients; see `Optimizer.update`."""
        # cells share the readout's weights, so its gradients are arrays
        found = {name: cast(Array, gradients[name]) for name in self._rest}
        for name, rest in self._rest.items():
            found[name][..., rest] = 0
        return super().update(weights, found, rate)
