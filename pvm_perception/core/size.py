"""What a network of a configuration is made of, by arithmetic: known before anything is allocated.

A configuration may come from anybody's model file. Its ranges bound each number; here their products are
bounded, so that no small file makes large tables.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pvm_perception.core.backend import Array
from pvm_perception.core.wiring import block_size, neighbourhood_size
from pvm_perception.errors import PvmError

if TYPE_CHECKING:
    from pvm_perception.core.config import HierarchyConfig, Layer, Link

Shape = tuple[int, ...]
MOST_WEIGHTS = 1 << 27  # 512 MiB of float32; the preset `paper` has 22 million
MOST_READ = (
    1 << 23
)  # index table entries: units times those that each reads; 128 MiB with the kernels' copies
MOST_VALUES = 1 << 28  # what one stream's frame holds: sums, codes, predictions; 1 GiB of float32
MOST_PRODUCTS = 1 << 36  # multiply-adds of one frame: a second on a CPU
FORECAST = "forecast"  # the first letters of its scales' weights
FORECAST_BLOCK = 4  # px of its scale that a unit foresees, each way
FORECAST_TERMS = (
    "block",
    "window",
    "siblings",  # evidence
    "stay",
    "parent",
    "habit",
    "motion",
    "right",
    "down",
    "small",
)  # expectations
FORECAST_KINDS = 3  # of evidence: the first terms
FORECAST_STATISTICS = 6  # of each kind, inputs of a forecasting unit's code
FORECAST_EXTRAS = 17  # its inputs other than statistics and codes
SHOWN = "shown"  # the first word of the weights of targets that were shown
DESCRIPTOR_HIDDEN, DESCRIPTOR_VALUES = 256, 64  # of the perceptron that describes what a cell sees
SQUARE, SQUARES = (
    4,
    8,
)  # px of a square of the picture, and how many each way a descriptor reads around a cell
SURROUNDINGS = 3 * SQUARES**2 + 6  # values of them, and of mean and spread of the picture's three colours
BOX_ANSWERS = 5  # of a cell, for each target: presence, then the box
READ = DESCRIPTOR_VALUES + DESCRIPTOR_HIDDEN + BOX_ANSWERS - 1  # values that a cell reads for shown targets


def weight_shapes(config: HierarchyConfig) -> dict[str, Shape]:
    """Return the shape of every weight of a configuration, by name."""
    shapes = {
        f"{layer.name}.{key}": shape
        for layer in config.layers
        for key, shape in _layer_shapes(config, layer).items()
    }
    shapes |= _forecast_shapes(config)
    own = _box_shapes if config.readout.kind == "box" else _heatmap_shapes
    return shapes | {f"readout.{key}": shape for key, shape in own(config).items()}


def check_size(config: HierarchyConfig) -> None:
    """Raise PvmError where a network is larger than the limits above."""
    reads = values = products = 0
    for layer in config.layers:
        units, (inputs, code) = layer.rows * layer.cols, _layer_shapes(config, layer)["w1"][-2:]
        signal = math.prod(layer.children) * config.code_width(forward_link(config, layer).source)
        tables = [block_size(layer.children, margin) for margin in (0, forward_link(config, layer).radius)]
        tables += [neighbourhood_size(link.radius, link.shape) for link in context_links(config, layer)]
        reads += units * sum(tables)
        values += units * (inputs + 8 * code + 5 * signal)
        products += units * code * (inputs + signal)
    for units, near, depth, width in _readout_products(config):
        reads += units * near
        values += units * (depth + 3 * width)
        products += units * depth * width
    values += 12 * config.height * config.width
    weights = sum(map(math.prod, weight_shapes(config).values()))
    for count, most, what in (
        (weights, MOST_WEIGHTS, "weights"),
        (reads, MOST_READ, "pairs of a unit and one that it reads"),
        (values, MOST_VALUES, "values in a frame"),
        (products, MOST_PRODUCTS, "multiply-adds in a frame"),
    ):
        if count > most:
            raise PvmError(f"network {config.name!r} has {count:,} {what}; at most {most:,} are run")


def check_weights(config: HierarchyConfig, weights: Mapping[str, Array]) -> None:
    """Raise an error unless every weight of a configuration is there, in its shape.

    Parameters
    ----------
    config
        Of the network.
    weights
        By name; others may be among them.

    Raises
    ------
    PvmError
        One is not there, or has another shape.
    """
    for name, shape in weight_shapes(config).items():
        if name not in weights or weights[name].shape != shape:
            raise PvmError(f"weights do not fit the configuration: {name} should be {shape}")


def forward_link(config: HierarchyConfig, layer: Layer) -> Link:
    """Return the link that brings a layer its signal.

    Parameters
    ----------
    config
        Of the network.
    layer
        One of its layers.
    """
    return next(k for k in config.links if k.target == layer.name and k.kind == "feedforward")


def context_links(config: HierarchyConfig, layer: Layer) -> list[Link]:
    """Return the links that bring a layer's units what they read besides their signal.

    Parameters
    ----------
    config
        Of the network.
    layer
        One of its layers.
    """
    return [k for k in config.links if k.target == layer.name and k.kind != "feedforward"]


def _layer_shapes(config: HierarchyConfig, layer: Layer) -> dict[str, Shape]:
    forward = forward_link(config, layer)
    width = config.code_width(forward.source)
    signal = block_size(layer.children) * width  # S
    inputs = block_size(layer.children, forward.radius) * width + (len(layer.terms) - 1) * signal
    inputs += sum(
        neighbourhood_size(link.radius, link.shape) * config.code_width(link.source)
        for link in context_links(config, layer)
    )  # D
    lead = () if config.shared else (layer.rows * layer.cols,)
    return {
        "w1": (*lead, inputs, layer.code),
        "b1": (*lead, layer.code),
        "w2": (*lead, layer.code, signal),
        "b2": (*lead, signal),
    }


def _forecast_shapes(config: HierarchyConfig) -> dict[str, Shape]:
    f = config.forecast
    outputs = len(FORECAST_TERMS)  # a gate for each
    shapes: dict[str, Shape] = {}
    for number in range(1, f.scales + 1 if f.code else 1):
        inputs = FORECAST_KINDS * FORECAST_STATISTICS + FORECAST_EXTRAS + f.code * (1 + (number < f.scales))
        shapes |= {
            f"{FORECAST}{number}.w1": (inputs, f.code),
            f"{FORECAST}{number}.b1": (f.code,),
            f"{FORECAST}{number}.w2": (f.code, outputs),
            f"{FORECAST}{number}.b2": (outputs,),
        }
    return shapes


def readout_neighbourhood(
    config: HierarchyConfig, i: int
) -> tuple[tuple[int, int], tuple[int, int] | None, int]:
    """Return how the box readout reads a layer.

    A layer with more rows or columns than the cells is read on theirs, each cell the block under it widened
    by the radius; another on its own grid, each unit's neighbours, without a block.

    Parameters
    ----------
    config
        Of the network.
    i
        Which layer, from 0.

    Returns
    -------
    grid, block, radius
        (rows, cols) that it is read on; (rows, cols) of the block or None; units.
    """
    layer, cells, radii = config.layers[i], config.cells, config.readout.radius
    radius = min(radii[min(i, len(radii) - 1)], max(layer.rows, layer.cols) - 1)
    if layer.rows > cells.rows or layer.cols > cells.cols:
        return (cells.rows, cells.cols), (-(-layer.rows // cells.rows), -(-layer.cols // cells.cols)), radius
    return (layer.rows, layer.cols), None, radius


def _box_near(config: HierarchyConfig, i: int) -> int:
    """Return how many of layer i's units are read at one place."""
    _, block, radius = readout_neighbourhood(config, i)
    return block_size(block, radius) if block else neighbourhood_size(radius, config.readout.shape)


def _box_shapes(config: HierarchyConfig) -> dict[str, Shape]:
    r, answers = config.readout, BOX_ANSWERS * len(config.targets)
    shapes: dict[str, Shape] = {
        f"project{i + 1}": (_box_near(config, i) * layer.code, r.hidden)
        for i, layer in enumerate(config.layers)
    }
    if r.memory:
        shapes["recall"] = (neighbourhood_size(r.memory, "square") * answers, r.hidden)
    shapes["b1"] = (r.hidden,)
    if r.mixing:
        shapes |= {"mix": (r.hidden, r.mixing), "b_mix": (r.mixing,)}
    return shapes | {"w2": (r.mixing or r.hidden, answers), "b2": (answers,)}


def shown_layers(config: HierarchyConfig) -> list[int]:
    """Return which layers the readout of shown targets reads: up to the one above the cells'.

    Higher layers say where in the frame something is, and what else is there: too much to learn from few
    boxes.
    """
    cells = config.layers.index(config.cells)
    return list(range(min(cells + 2, len(config.layers))))


def shown_width(config: HierarchyConfig) -> int:
    """Return how many values of codes and picture are read at a cell for shown targets."""
    codes = sum(_box_near(config, i) * config.layers[i].code for i in shown_layers(config))
    return codes + SURROUNDINGS


def descriptor_shapes(width: int) -> dict[str, Shape]:
    """Return the shapes of a descriptor's weights by name, where so many values are read at a cell."""
    hidden, values, box = DESCRIPTOR_HIDDEN, DESCRIPTOR_VALUES, BOX_ANSWERS - 1
    return {
        "w1": (width, hidden),
        "b1": (hidden,),
        "w2": (hidden, values),
        "b2": (values,),
        "guess": (hidden, box),
        "b_guess": (box,),
    }


def shown_shapes(config: HierarchyConfig, count: int) -> dict[str, Shape]:
    """Return the shapes of what a network knows of its shown targets, by the tensors' names.

    Parameters
    ----------
    config
        Of the network.
    count
        How many targets it was shown.
    """
    if not count:
        return {}
    shapes: dict[str, Shape] = {"w": (count, READ, BOX_ANSWERS), "b": (count, BOX_ANSWERS)}
    described = descriptor_shapes(shown_width(config))
    return {f"{SHOWN}.{key}": shape for key, shape in (shapes | described).items()}


def map_block(config: HierarchyConfig, layer: Layer) -> tuple[int, int]:
    """Return the block of layer 1's cells that one unit draws for the heat map readout, (rows, cols).

    Parameters
    ----------
    config
        Of the network.
    layer
        The unit's.
    """
    first = config.layers[0]
    return -(-first.rows // layer.rows), -(-first.cols // layer.cols)


def _heatmap_shapes(config: HierarchyConfig) -> dict[str, Shape]:
    hidden = config.readout.hidden
    shapes: dict[str, Shape] = {}
    for i, layer in enumerate(config.layers):
        units, drawn = layer.rows * layer.cols, block_size(map_block(config, layer)) * len(config.targets)
        shapes |= {
            f"w1.{i + 1}": (units, layer.code, hidden),
            f"b1.{i + 1}": (units, hidden),
            f"w2.{i + 1}": (units, hidden, drawn),
            f"b2.{i + 1}": (units, drawn),
        }
    return shapes


def _readout_products(config: HierarchyConfig) -> list[tuple[int, int, int, int]]:
    """Return (units, how many units each reads, inputs, outputs) of the readout's products."""
    r, targets, cells = config.readout, len(config.targets), config.cells.rows * config.cells.cols
    if r.kind == "heatmap":
        return [
            row
            for layer in config.layers
            for units, drawn in [(layer.rows * layer.cols, block_size(map_block(config, layer)))]
            for row in ((units, 2 * drawn, layer.code, r.hidden), (units, 0, r.hidden, drawn * targets))
        ]
    found = []
    for i, layer in enumerate(config.layers):
        grid, near = readout_neighbourhood(config, i)[0], _box_near(config, i)
        found.append((math.prod(grid), near, near * layer.code, r.hidden))
        found.append((cells, 0, 0, r.hidden))  # brought to the cells
    near = neighbourhood_size(r.memory, "square")
    found.append((cells, near + 9, near * BOX_ANSWERS * targets if r.memory else 0, r.hidden))
    return [*found, (cells, 0, r.hidden, r.mixing), (cells, 0, r.mixing or r.hidden, BOX_ANSWERS * targets)]
