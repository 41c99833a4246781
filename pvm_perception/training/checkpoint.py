"""What a training run starts from, and what it writes: models, and checkpoints to go on from."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from pvm_perception.core.backend import to_numpy
from pvm_perception.core.config import PRESETS, HierarchyConfig, preset
from pvm_perception.core.growth import fits_in, grown
from pvm_perception.core.hierarchy import Hierarchy
from pvm_perception.core.model_file import OPTIMIZER, load_model, save_model
from pvm_perception.core.optimizer import Optimizer

COUNTS = ("steps", "frames", "seconds", "clips")  # of training behind a model


def load_start(path: Path) -> tuple[HierarchyConfig, dict[str, np.ndarray], dict[str, Any]]:
    """Return configuration, weights and history of a model or a checkpoint to go on from.

    A model that is older than its preset grows: new weights are zero where they meet old ones. The
    weights include the optimizer's state, if the file has it.
    """
    config, weights, history = load_model(path, optimizer=True)
    wider = _grown_preset(config)
    if wider != config:
        tqdm.write(
            f"{path} is older than its preset {wider.name!r} is now: the network grows", file=sys.stderr
        )
    return wider, grown(config, weights, wider), history


def _grown_preset(config: HierarchyConfig) -> HierarchyConfig:
    """Return the preset of the model's name, if it has grown since; else the model's own."""
    if config.name not in PRESETS:
        return config
    wider = dataclasses.replace(preset(config.name), learning=config.learning)
    return wider if fits_in(config, wider) else config


def resume_optimizer(optimizer: Optimizer, weights: dict[str, np.ndarray], steps: int) -> None:
    """Give an optimizer the state among `weights`, as `load_start` returns them.

    Parameters
    ----------
    optimizer
        Changed in place.
    weights
        By name. State whose shape differs is left new: with another number of streams, the moments of
        units that have own weights may be kept otherwise.
    steps
        Learning steps behind the weights.
    """
    for name, value in weights.items():
        key = name[len(OPTIMIZER) :]
        if (
            name.startswith(OPTIMIZER)
            and key in optimizer.state
            and optimizer.state[key].shape == value.shape
        ):
            optimizer.state[key][...] = optimizer.xp.asarray(value)
            optimizer.steps = steps


def save_checkpoint(path: Path, network: Hierarchy, history: dict[str, Any]) -> None:
    """Write the weights that learn and the optimizer's state: what `load_start` goes on from.

    Parameters
    ----------
    path
        The file.
    network
        With its optimizer.
    history
        Counts and scores, kept in the file's header.
    """
    state = {k: to_numpy(v) for k, v in optimizer_of(network).state.items()}
    weights = {k: to_numpy(v) for k, v in network.weights.items()}
    save_model(path, network.gains.learnt_config(), weights, history, state)


def optimizer_of(network: Hierarchy) -> Optimizer:
    """Return the optimizer that moves a network's weights.

    Raises
    ------
    ValueError
        It has none.
    """
    if network.optimizer is None:
        raise ValueError("the network has no optimizer")
    return network.optimizer


def averaged_weights(network: Hierarchy) -> dict[str, np.ndarray]:
    """Return the running mean of the weights over the last steps: what is validated and shipped."""
    average = optimizer_of(network).averaged(network.weights)
    return {k: to_numpy(v) for k, v in average.items()}
