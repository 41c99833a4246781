"""From a hierarchy to tables: what each kernel of `kernels.cu` is given, and how it is launched.

The structured dtypes list the fields of the structs in `kernels.cu`, in the same order.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files

import numpy as np

from pvm_perception.core.config import MOTION_VALUES, HierarchyConfig
from pvm_perception.core.size import context_links
from pvm_perception.errors import PvmError

STREAMS, MAX_PARTS = 4, 8  # as in kernels.cu
SHARED_LIMIT = 48 << 10  # bytes that a block may have without asking the driver for more
MOST_THREADS = {8: 256, 4: 512, 2: 1024, 1: 1024}  # of a block, by tile; as in kernels.cu
BALANCE = 4  # units of a tile whose multiply-adds take about as long as reading their weight
SQUARES = 8  # partial sums of squares, as in kernels.cu
MAX_BOXES, BOX_VALUES = 8, 6  # boxes of a target that `decode` finds, and values of each, as in kernels.cu


def source_code() -> str:
    """Return the text of `kernels.cu`."""
    return files(__package__).joinpath("kernels.cu").read_text(encoding="utf-8")


def _struct(**fields: object) -> np.dtype:
    return np.dtype(list(fields.items()), align=True)


_POINTER = np.uint64
FRAME = _struct(half=np.int32, fresh=(np.int32, STREAMS), motion=(np.float32, (STREAMS, MOTION_VALUES)))
WORDS = _struct(at=_POINTER, pitch=np.int32, steps=np.float32, largest=np.float32)
PACKED = _struct(at=_POINTER, scale=_POINTER, together=np.int32)
INPUT_PART = _struct(
    source=_POINTER,
    index=_POINTER,
    fan_in=np.int32,
    width=np.int32,
    rows=np.int32,
    half=np.int32,
    past=np.int32,
    first=np.int32,
    gain=np.float32,
    words=WORDS,
    packed=PACKED,
)
INPUT_TABLE = _struct(
    blocks=_POINTER,
    motion=_POINTER,
    rows=np.int32,
    cols=np.int32,
    block=np.int32,
    scale=np.float32,
    low=np.float32,
    motion_unit=np.float32,
    motion_limit=np.float32,
    block_words=WORDS,
    motion_words=WORDS,
)
LAYER = _struct(
    parts=(INPUT_PART, MAX_PARTS),
    signal=INPUT_PART,
    w1=_POINTER,
    b1=_POINTER,
    w2=_POINTER,
    b2=_POINTER,
    codes=_POINTER,
    prediction=_POINTER,
    error=_POINTER,
    surprise=_POINTER,
    part_count=np.int32,
    inputs=np.int32,
    code=np.int32,
    size=np.int32,
    units=np.int32,
    half=np.int32,
    error_first=np.int32,
    error_gain=np.float32,
    slope=np.float32,
    norm_floor=np.float32,
    code_words=WORDS,
    packed_error=PACKED,
    packed_w2=PACKED,
)
PROJECTION = _struct(
    input=INPUT_PART,
    w=_POINTER,
    out=_POINTER,
    corner=_POINTER,
    share=_POINTER,
    units=np.int32,
    inputs=np.int32,
    corners=np.int32,
    first_block=np.int32,
)
READOUT = _struct(
    projections=(PROJECTION, MAX_PARTS),
    b1=_POINTER,
    mix=_POINTER,
    b_mix=_POINTER,
    w2=_POINTER,
    b2=_POINTER,
    memory=_POINTER,
    out=_POINTER,
    projection_count=np.int32,
    hidden=np.int32,
    mixing=np.int32,
    answers=np.int32,
    cells=np.int32,
    values_per_target=np.int32,
    logit_limit=np.float32,
    size_limit=np.float32,
    memory_words=WORDS,
    packed_mix=PACKED,
    packed_w2=PACKED,
)
DECODE = _struct(
    out=_POINTER,
    wrong=_POINTER,
    found=_POINTER,
    mean=_POINTER,
    rows=np.int32,
    cols=np.int32,
    targets=np.int32,
    values_per_target=np.int32,
    units=np.int32,
    down=np.float32,
    right=np.float32,
    unit=np.float32,
    size_limit=np.float32,
)


def check_supported(config: HierarchyConfig, batch: int) -> None:
    """Raise an error where the kernels do not compute a network: they know preset `robot`'s kind.

    Parameters
    ----------
    config
        Of the network.
    batch
        Number of streams.

    Raises
    ------
    PvmError
        It names what they do not compute.
    """
    terms = {term for layer in config.layers for term in layer.terms}
    starts = max(*(layer.start for layer in config.layers), *(link.start for link in config.links))
    parts = max(1 + len(context_links(config, layer)) for layer in config.layers)
    faults = (
        (batch > STREAMS, f"{batch} streams (at most {STREAMS})"),
        (not config.shared, "weights of each unit's own"),
        (config.activation != "leaky", f"activation {config.activation}"),
        (not config.normalise, "codes that are not normalised"),
        (config.output != "change", f"output {config.output}"),
        (config.schedule != "sweep", f"schedule {config.schedule}"),
        (terms - {"signal", "error"}, f"signal terms {sorted(terms - {'signal', 'error'})}"),
        (starts > 0, "layers or links that start later"),
        (config.readout.kind != "box", f"readout {config.readout.kind}"),
        (not config.readout.memory, "a readout without memory"),
        (not config.readout.mixing, "a readout without a mixing layer"),
        (len(config.layers) >= MAX_PARTS, f"{len(config.layers)} layers (at most {MAX_PARTS - 1})"),
        (parts > MAX_PARTS, f"a layer that reads {parts} others (at most {MAX_PARTS})"),
    )
    for wrong, what in faults:
        if wrong:
            raise PvmError(
                f"the kernels do not run network {config.name!r}: it has {what}; arrays do, slower"
            )


@dataclass(frozen=True)
class Launch:
    """One kernel of a frame.

    Attributes
    ----------
    kernel
        Its name in `kernels.cu`.
    grid
        Blocks, (tiles of units, streams).
    threads
        Of a block.
    shared
        Bytes of shared memory of a block.
    """

    kernel: str
    grid: tuple[int, int]
    threads: int
    shared: int


def tiled(
    kernel: str, units: tuple[int, ...], batch: int, rows: int, columns: int, multiprocessors: int
) -> tuple[str, int, int, int, int]:
    """Return (name, tile, blocks of a stream, threads, shared bytes) of a tiled kernel.

    A block takes time for each weight it reads and for each unit it serves with it; blocks beyond the
    number of multiprocessors wait for another turn. The tile with the shortest time is taken.

    Parameters
    ----------
    kernel
        Name without the tile.
    units
        Of each part of the launch; a tile does not cross parts.
    batch
        Streams.
    rows
        Values per unit in shared memory, besides the partial sums.
    columns
        Width of the widest product.
    multiprocessors
        Of the device.

    Raises
    ------
    PvmError
        If one unit's inputs do not fit in shared memory, or a product is wider than a block.
    """
    found = []
    for tile, most in MOST_THREADS.items():
        slices = most // columns
        blocks, threads = sum(-(-u // tile) for u in units), slices * columns
        shared = 4 * tile * (rows + threads)
        if slices and shared <= SHARED_LIMIT:
            turns = -(-blocks * batch // multiprocessors)
            found.append((turns * (BALANCE + tile), f"{kernel}_{tile}", tile, blocks, threads, shared))
    if not found:
        raise PvmError(
            f"the kernels cannot hold {rows} inputs for {columns} codes in a block; arrays do, slower"
        )
    return min(found, key=lambda choice: choice[0])[1:]
