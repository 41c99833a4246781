"""How a hierarchy learns from one frame: what `Hierarchy.learn` does.

Every layer learns from the error of its own prediction. Where true boxes are given, the readout learns
from its error, which also descends through the layers to the codes.

Shapes: B streams, U units of a layer, N values of a code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pvm_perception.core.algebra import Gradient
from pvm_perception.core.backend import Array, Floats, to_numpy
from pvm_perception.core.interfaces import Losses, ReadoutLosses
from pvm_perception.core.optimizer import Optimizer

if TYPE_CHECKING:
    from pvm_perception.core.hierarchy import Hierarchy


def learn(
    network: Hierarchy,
    boxes: Floats | None,
    rate: float | None,
    codes: bool = True,
    soft: Floats | None = None,
) -> Losses:
    """Change the weights by the errors of the last frame.

    Parameters
    ----------
    network
        It has seen a frame since it was prepared for learning.
    boxes
        (B, M, Truth.COLUMNS) the true boxes in network pixels, as `types.Truth` lays them out; None learns
        from the stream alone.
    rate
        Learning rate; None takes the configuration's final rate.
    codes
        Whether layers and forecast learn; else the readout alone does.
    soft
        See `Readout.backward`.
    """
    xp, settings = network.xp, network.config.learning
    if network.optimizer is None:
        network.optimizer = Optimizer(network.weights, settings, xp, network.batch)
    gradients: dict[str, Gradient] = {}
    nothing = xp.zeros((), np.float32)
    dz_now: list[Array] | None = None
    losses = ReadoutLosses(nothing, nothing, xp.zeros(network.batch, np.float32))
    if boxes is not None:
        part, answers = network.part("readout"), network.answers()
        found, errors, losses = network.readout.backward(part, answers, boxes, soft, codes)
        gradients |= {f"readout.{k}": g for k, g in found.items()}
        dz_now = pass_down(network, errors) if codes else None
    prediction = nothing
    for i, encoder in enumerate(network.encoders):
        if not codes or network.step_count < encoder.layer.start:
            continue
        name, dz = encoder.layer.name, None if network.dz_readout is None else network.dz_readout[i]
        found, loss = encoder.gradients(network.part(name), network.known, settings.prediction_weight, dz)
        prediction = loss if i == 0 else prediction
        gradients |= {f"{name}.{k}": g for k, g in found.items()}
        if settings.gain_speed:
            speed = settings.gain_speed * (settings.final_rate if rate is None else rate)
            network.gains.learn(name, network.weights[f"{name}.w1"], found["w1"], speed)
    # The readout's error of this frame waits for the next: then both use the same inputs.
    network.dz_readout = dz_now
    if network.forecaster and codes:
        forecast_weights = network.forecast_weights()
        of_forecast = network.forecaster.gradients(forecast_weights, network.config.forecast.weight)
        gradients |= {name: xp.asarray(g) for name, g in of_forecast.items()}
    norm = network.optimizer.update(network.weights, gradients, settings.final_rate if rate is None else rate)
    network.step_count += 1
    means = xp.stack((prediction, network.copy_error(), losses.presence, losses.box))
    values = to_numpy(xp.concatenate((means, losses.by_stream)))  # copied at once: a GPU is waited for once
    forecast, copied, presence, box = values[:4].tolist()
    if network.forecaster:
        forecast, copied = network.forecast_errors()
    return Losses(forecast, copied, presence, box, norm, values[4:])


def pass_down(network: Hierarchy, errors: list[Array]) -> list[Array]:
    """Pass the readout's error down the layers.

    It descends `credit_depth` layers below the one where the readout read it. Errors that came
    down from different heights stay apart, as long as the depth can stop one and not the other.

    Parameters
    ----------
    network
        It has just seen the frame of these errors.
    errors
        For each layer the readout's own error of its codes, (B, U + 1, N).

    Returns
    -------
    list
        For each layer the whole error of its sums before the activation, (B, U, N).
    """
    encoders, depth = network.encoders, network.config.learning.credit_depth
    order = {e.layer.name: i for i, e in enumerate(encoders)}
    unbounded = depth >= len(encoders)
    dz: dict[int, Array] = {}
    descended: list[dict[int, Array]] = [{0: error} for error in errors]  # by layers that it came down
    for i in range(len(encoders) - 1, -1, -1):
        encoder = encoders[i]
        if unbounded:
            first, *rest = descended[i].values()
            descended[i] = {0: sum(rest, first)}
        for age, error in descended[i].items():
            part = encoder.before_code(error[:, :-1])  # (B, U, N)
            dz[i] = dz[i] + part if i in dz else part
            below = order.get(encoder.below)
            if age + 1 <= depth and below is not None:
                d = network.xp.zeros_like(errors[below])  # (B, Us + 1, N)
                encoder.inputs.descend(network.part(encoder.layer.name), part, d)
                key = age if unbounded else age + 1
                descended[below][key] = descended[below][key] + d if key in descended[below] else d
    return [dz[i] for i in range(len(encoders))]
