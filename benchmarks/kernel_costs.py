"""What each kernel of a frame moves and computes, and the time that it should take on three GPUs.

An estimate from data sheets, for readers without such a card; `kernels.py` prints it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from pvm_perception.core.encoder import Encoder
from pvm_perception.core.hierarchy import Hierarchy
from pvm_perception.core.kernels import plan
from pvm_perception.core.kernels.engine import Engine
from pvm_perception.core.kernels.plan import Launch

NODE = 2.0  # microseconds between two kernels of one graph
LINE = 32  # bytes that one multiprocessor takes from the second-level cache in a cycle: half its width
SHARE = 0.25  # of the multiply-adds' peak: each needs its wide load, and phases wait for each other
VALUE = 4  # bytes of a float32


@dataclass(frozen=True)
class Cost:
    """What one launch moves and computes.

    Attributes
    ----------
    block_reads
        Bytes that one block reads: what bounds a small grid, whose blocks each read all weights.
    reads, writes
        Bytes that the whole launch moves at least: every value once.
    flops
        Of the whole launch; a multiply-add counts as two.
    """

    block_reads: int
    reads: int
    writes: int
    flops: int


@dataclass(frozen=True)
class Card:
    """A GPU as the prediction sees it; figures from its maker's data sheets.

    Attributes
    ----------
    multiprocessors, clock
        Their number, and GHz under load.
    lanes
        Float32 multiply-adds of one multiprocessor in a cycle.
    bandwidth
        Of the memory, GB/s.
    launch
        Microseconds between the beginnings of two kernels that the host launches one by one.
    """

    name: str
    multiprocessors: int
    clock: float
    lanes: int
    bandwidth: float
    launch: float


CARDS = (
    Card("Jetson Orin NX 16 GB", 8, 0.92, 128, 102, 10.0),
    Card("RTX 4070", 46, 2.48, 128, 504, 5.0),
    Card("H200", 132, 1.98, 128, 4800, 5.0),
)


def predicted_us(launch: Launch, cost: Cost, card: Card, between: float) -> float:
    """Return the microseconds that a launch should take.

    The longest of: memory at its bandwidth; the blocks, in turns on the multiprocessors, each reading
    its bytes from the second-level cache, or doing its multiply-adds; `between` is added.

    Parameters
    ----------
    launch
        Its grid counts.
    cost
        Of this launch.
    card
        The GPU.
    between
        Microseconds between two kernels.
    """
    blocks = launch.grid[0] * launch.grid[1]
    turns = -(-blocks // card.multiprocessors)
    cycles = max(cost.block_reads / LINE, cost.flops / blocks / (2 * card.lanes * SHARE))
    memory = (cost.reads + cost.writes) / card.bandwidth / 1e3
    return between + max(memory, turns * cycles / card.clock / 1e3)


def launches_with_costs(network: Hierarchy, engine: Engine) -> list[tuple[Launch, Cost]]:
    """Return a frame's launches in order with what each moves and computes.

    Parameters
    ----------
    network
        On the host.
    engine
        That runs it.
    """
    launches = [launch for launch, _ in engine.calls]
    return list(zip(launches, _costs(network, launches), strict=True))


def _costs(network: Hierarchy, launches: list[Launch]) -> Iterator[Cost]:
    first, *layers, project, answer, _ = launches
    pixels = network.config.height * network.config.width * 3
    yield _cost(network.batch, first.threads // 4, pixels // 4 * network.batch, pixels, pixels)
    for encoder, launch in zip(network.encoders, layers, strict=True):
        yield _layer(network, encoder, _tile(launch))
    yield from _readout(network, _tile(project), _tile(answer))
    readout = network.readout
    pairs = readout.rows * readout.cols * readout.targets
    read = pairs * readout.answers + network.encoders[0].units
    found = readout.targets * plan.MAX_BOXES * plan.BOX_VALUES + 1  # boxes, and the mean error
    yield _cost(network.batch, read, network.batch * read, found, 9 * pairs)


def _cost(batch: int, block_reads: int, reads: int, writes: int, multiply_adds: int) -> Cost:
    """Return a cost from counts of values; `writes` and `multiply_adds` are of one stream."""
    return Cost(VALUE * block_reads, VALUE * reads, VALUE * writes * batch, 2 * multiply_adds * batch)


def _tile(launch: Launch) -> int:
    """Return how many units a block serves: the number at the end of the kernel's name."""
    return int(launch.kernel.rpartition("_")[2])


def _layer(network: Hierarchy, encoder: Encoder, tile: int) -> Cost:
    config, n, units = network.config, encoder.layer.code, encoder.units
    weights = n * (encoder.inputs.depth + encoder.signal_size + 1) + encoder.signal_size
    read = encoder.inputs.depth + 2 * encoder.signal_size  # the signal and the prediction of it
    sources = {encoder.below, *(link.source for link, _ in encoder.inputs.context)}
    state = sum(math.prod(config.grid(name)) * config.code_width(name) for name in sources)
    bottom = encoder is network.encoders[0]  # it writes each unit's error, too
    return _cost(
        network.batch,
        weights + tile * read,
        weights + network.batch * (state + units * encoder.signal_size),
        units * (n + 2 * encoder.signal_size + bottom),
        units * n * (encoder.inputs.depth + encoder.signal_size),
    )


def _readout(network: Hierarchy, project_tile: int, answer_tile: int) -> Iterator[Cost]:
    """Yield the costs of the projections of all layers and of the memory, and of the answers."""
    readout, layers, batch = network.readout, network.config.layers, network.batch
    h, m, a = readout.hidden, readout.mixing, readout.answers * readout.targets
    cells = readout.rows * readout.cols
    units = [index.shape[0] for index in (*readout.neighbours, readout.near)]
    names = [*(f"readout.project{i + 1}" for i in range(len(layers))), "readout.recall"]
    depths = [network.weights[name].shape[0] for name in names]
    read = sum(layer.rows * layer.cols * layer.code for layer in layers) + cells * a
    yield _cost(
        batch,
        max(depths) * (h + project_tile),
        h * sum(depths) + batch * read,
        sum(units) * h,
        h * sum(u * d for u, d in zip(units, depths, strict=True)),
    )
    grids = (*readout.grids, (readout.rows, readout.cols))
    corners = sum(
        1 if grid == (readout.rows, readout.cols) else min(4, math.prod(grid)) for grid in grids
    )  # units between which a cell interpolates
    last = h * (m + 1) + m * (a + 1) + a
    yield _cost(
        batch,
        last + answer_tile * corners * h,
        last + batch * sum(units) * h,
        2 * cells * a,
        cells * (h * (corners + m) + m * a),
    )
