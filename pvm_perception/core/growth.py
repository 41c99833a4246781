"""A network that grows: wider codes and more links, and at first it answers almost as before.

What is new is read by nobody at first: the rows of the weights that belong to it are zero. New codes
and new units of the readout's hidden layers listen at once, to random mixtures of what the old ones
listen to (so the root mean square that sums are brought to stays what it was, up to chance), and learning
finds out what they are good for. Compare Net2Net (Chen et al. 2016), which doubles units instead.
"""

from __future__ import annotations

import dataclasses
import operator
from typing import Any

import numpy as np

from pvm_perception.core.config import HierarchyConfig, Link
from pvm_perception.core.encoder import Encoder
from pvm_perception.core.forecast import first_weights
from pvm_perception.core.model_file import OPTIMIZER
from pvm_perception.core.size import weight_shapes
from pvm_perception.errors import PvmError

Part = tuple[str, str, int]  # what is read (a term, a kind of link), of which layer, how many units of it
FACTORS = (f"{OPTIMIZER}x.", f"{OPTIMIZER}d.")  # a momentum's, which begins anew
OF_HIDDEN, OF_MIXING = ("project", "recall", "b1"), ("mix", "b_mix")  # the readout's, by what they feed


def fits_in(config: HierarchyConfig, wider: HierarchyConfig) -> bool:
    """Whether a network can grow to a wider one: the same units, all its links, nothing narrower.

    A network without a forecast by moves may grow to one with it; else the forecasts must be the same.

    Parameters
    ----------
    config
        Of the network as it is.
    wider
        Of the network that it is to become.
    """

    def rest(c: HierarchyConfig) -> dict[str, Any]:
        layers = [dataclasses.replace(layer, code=1) for layer in c.layers]
        readout = dataclasses.replace(c.readout, hidden=1, mixing=min(c.readout.mixing, 1))
        return c.to_dict() | {
            "layers": layers,
            "readout": readout,
            "links": (),
            "learning": (),
            "forecast": (),
        }

    def widths(c: HierarchyConfig) -> tuple[int, ...]:
        return *(layer.code for layer in c.layers), c.readout.hidden, c.readout.mixing

    if config.forecast.code and config.forecast != wider.forecast:
        return False
    if rest(config) != rest(wider) or not set(config.links) <= set(wider.links):
        return False
    fits = operator.le if config.readout.kind == "box" else operator.eq
    return all(map(fits, widths(config), widths(wider)))


def grown(
    config: HierarchyConfig, weights: dict[str, np.ndarray], wider: HierarchyConfig, seed: int = 0
) -> dict[str, np.ndarray]:
    """Return a network's weights in a wider one.

    Parameters
    ----------
    config, weights
        The network; an optimizer's state may be among the weights, as from `load_model`.
    wider
        What it grows to; see `fits_in`. Under a readout of heat maps only links come anew.
    seed
        Of what the new codes listen to.

    Raises
    ------
    PvmError
        If the network does not fit in the wider one.
    """
    if not fits_in(config, wider):
        raise PvmError(f"network {config.name!r} cannot grow to one of other units, or of less")
    shapes, places = weight_shapes(wider), _places(config, wider)
    mixtures = _mixtures(config, wider, np.random.default_rng(seed))

    def grow(name: str, w: np.ndarray) -> np.ndarray:
        plain = name.split(".", 2)[2] if name.startswith(OPTIMIZER) else name  # "optimizer.m.L1.w1"
        if w.shape == shapes[plain] or name.startswith(FACTORS):
            return w
        at = places.get(plain) or tuple(np.arange(n) for n in w.shape)
        out = np.zeros(shapes[plain], w.dtype)
        where: tuple[Any, ...] = (..., *np.ix_(*at))  # own weights have an axis of units before these
        out[where] = w
        if plain in mixtures and (plain == name or name.startswith(f"{OPTIMIZER}average.")):
            n = w.shape[-1]  # while an optimizer's moments of what is new begin at zero
            out[..., n:] = out[..., :n] @ mixtures[plain]
        return out

    new = {} if config.forecast.code else first_weights(wider.forecast, np.random.default_rng(seed))
    return {name: grow(name, w) for name, w in weights.items()} | new


def _places(config: HierarchyConfig, wider: HierarchyConfig) -> dict[str, tuple[np.ndarray, ...]]:
    """Return where weights' values lie in the wider network, by axis, the units' own left out.

    Weights without an entry keep their places at the beginning of each axis.
    """

    def spread(old: list[Part], new: list[Part]) -> np.ndarray:
        begin, begins = 0, {}
        for part in new:
            begins[part] = begin
            begin += part[2] * wider.code_width(part[1])
        return np.concatenate(
            [
                (
                    begins[part]
                    + np.arange(part[2])[:, None] * wider.code_width(part[1])
                    + np.arange(config.code_width(part[1]))
                ).ravel()
                for part in old
            ]
        )

    places: dict[str, tuple[np.ndarray, ...]] = {}
    for layer in config.layers:
        name, (inputs, signal), (new, _) = layer.name, _parts(config, layer.name), _parts(wider, layer.name)
        codes, outputs = np.arange(layer.code), spread([signal], [signal])
        places |= {
            f"{name}.w1": (spread(inputs, new), codes),
            f"{name}.b1": (codes,),
            f"{name}.w2": (codes, outputs),
            f"{name}.b2": (outputs,),
        }
    if config.readout.kind == "box":
        shapes = weight_shapes(config)
        for i, layer in enumerate(config.layers):
            weight = f"readout.project{i + 1}"
            part = ("codes", layer.name, shapes[weight][0] // layer.code)
            places[weight] = spread([part], [part]), np.arange(config.readout.hidden)
    return places


def _parts(config: HierarchyConfig, name: str) -> tuple[list[Part], Part]:
    """Return what a layer's units read, in the order of the weights' rows, and what they predict."""
    encoder = Encoder(config, config.layer(name), 0, np)
    inputs: list[Part] = []
    for part in encoder.inputs.parts:
        kind, source = (
            (part.origin.kind, part.origin.source)
            if isinstance(part.origin, Link)
            else (part.origin, encoder.below)
        )
        inputs.append((kind, source, (part.rows.stop - part.rows.start) // config.code_width(source)))
    return inputs, ("predicted", encoder.below, encoder.block.shape[1])


def _mixtures(
    config: HierarchyConfig, wider: HierarchyConfig, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Return what of each old unit the new ones read, (old, new - old), by weight."""

    def mixture(old: int, new: int) -> np.ndarray:
        return rng.standard_normal((old, new - old), np.float32) * np.float32(max(old, 1) ** -0.5)

    found: dict[str, np.ndarray] = {}
    for old, new in zip(config.layers, wider.layers, strict=True):
        found |= dict.fromkeys((f"{old.name}.w1", f"{old.name}.b1"), mixture(old.code, new.code))
    hidden = mixture(config.readout.hidden, wider.readout.hidden)
    mixing = mixture(config.readout.mixing, wider.readout.mixing)
    for weight in weight_shapes(config):
        part, kind = weight.split(".", 1)
        if part == "readout" and kind.startswith((*OF_HIDDEN, *OF_MIXING)):
            found[weight] = hidden if kind.startswith(OF_HIDDEN) else mixing
    return found
