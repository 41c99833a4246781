"""What learns asleep: the forecast, and the readout. The codes stay, for all that is known rests on them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pvm_perception.core.cells import LEAST_BUMP
from pvm_perception.core.config import HierarchyConfig, Learning
from pvm_perception.core.hierarchy import Hierarchy
from pvm_perception.core.optimizer import Optimizer
from pvm_perception.core.readout import BoxReadout
from pvm_perception.core.size import FORECAST
from pvm_perception.living.replay import STREAMS, Replay
from pvm_perception.living.timer import Timer
from pvm_perception.training.checkpoint import averaged_weights
from pvm_perception.training.forecast_only import ForecastOnly

FORECAST_RATE, READOUT_RATE = 1e-4, 3e-4  # of Adam, with a half cosine over the sleep
PULL = 30.0  # share of the way back to the old weights, per step and unit of rate
READOUT = "readout"

Weights = dict[str, np.ndarray]


def forecast_learns(config: HierarchyConfig, old: Weights, replay: Replay, timer: Timer) -> Weights:
    """Return the forecast's weights after it foresaw the place again and again.

    Parameters
    ----------
    config, old
        Of the network, and its weights.
    replay
        What it sees.
    timer
        Ends it.
    """
    network = ForecastOnly(config, STREAMS, np, old)
    names = [n for n in network.weights if n.startswith(FORECAST)]
    network.optimizer = _optimizer(network.weights)
    for step in replay.steps(labelled=False, timer=timer):
        if step.begins:
            network.reset()
        network.step(step.images, step.motion, ahead=step.ahead)
        if not step.begins:
            rate = timer.rate(FORECAST_RATE)
            network.learn(rate=rate)
            _pull(network.weights, old, names, rate)
    average = averaged_weights(network)
    return {n: average[n] for n in names}


def readout_learns(config: HierarchyConfig, old: Weights, replay: Replay, timer: Timer) -> Weights:
    """Return the readout's weights after it learnt from the tracker's own boxes.

    Wherever nothing is believed to be known, in moments and in painted scenes, it learns its own answers from
    before the sleep, so that it forgets nothing (Li & Hoiem 2016, "Learning without Forgetting"). Half of the
    way to what it learnt forgets less than half (Wortsman et al. 2022, "Robust fine-tuning").

    Parameters
    ----------
    config, old, replay, timer
        See `forecast_learns`.
    """
    network = Hierarchy(config, STREAMS, np, old, step=10**9, learns=False)
    before = BoxReadout(config, STREAMS, np)
    was = {n: w.copy() for n, w in network.part(READOUT).items()}
    names = [n for n in network.weights if n.startswith(READOUT)]
    network.optimizer = optimizer = _optimizer(network.weights)
    for step in replay.steps(labelled=True, timer=timer):
        if step.begins:
            network.reset()
            before.forget(slice(None))
        for _ in range(2 if step.begins else 1):  # a look without a past looks twice
            network.step(step.images, step.motion, foresee=False)
            codes = [network.sources[layer.name].now for layer in config.layers]  # (B, U + 1, N) each
            answers = before.forward(was, codes)  # (B, R, C, T, 5)
        answers[..., 0] = before.heat(answers)
        known = before.cells.truth(step.truth).care > 0  # (B, R, C, T)
        known &= step.lived[:, None, None, None]
        unseen = known & (answers[..., 0] < LEAST_BUMP)  # where it was seen, it had a box already
        answers[known, 0] = np.nan
        answers[unseen, 1:] = np.nan
        part, rate = network.part(READOUT), timer.rate(READOUT_RATE)
        found, _, _ = network.readout.backward(part, network.answers(), step.truth, answers, codes=False)
        optimizer.update(network.weights, {f"{READOUT}.{n}": g for n, g in found.items()}, rate)
        _pull(network.weights, old, names, rate)
    average = averaged_weights(network)
    return {n: average[n] for n in names}


def _optimizer(weights: Weights) -> Optimizer:
    return Optimizer(weights, Learning("adam", clip=1.0, average=0.99), np, STREAMS)


def _pull(weights: Weights, old: Weights, names: Sequence[str], rate: float) -> None:
    """Draw weights back to the old ones."""
    for name in names:
        weights[name] -= np.float32(rate * PULL) * (weights[name] - old[name])
