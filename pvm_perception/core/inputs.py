"""What a layer's units hear: codes with their past, and the parts of them that each unit listens to.

Shapes: B streams, U units, D inputs, N code width.
"""

from __future__ import annotations

from types import ModuleType

import numpy as np

from pvm_perception.core import algebra, wiring
from pvm_perception.core.backend import Array
from pvm_perception.core.config import Link


class Source:
    """Codes of one layer (or blocks of the input) with what changed and what is usual.

    Each array is (B, U + 1, N); the last row stays zero and stands for what lies outside.
    """

    def __init__(self, batch: int, units: int, width: int, decay: float | None, xp: ModuleType) -> None:
        self.xp = xp
        self.decay = decay  # of the running mean; None: nobody asks for it
        shape = (batch, units + 1, width)
        self.now, self.before = xp.zeros(shape, np.float32), xp.zeros(shape, np.float32)
        self.mean = None if decay is None else xp.zeros(shape, np.float32)
        self.scratch = algebra.Scratch(self.now.size, xp)

    def advance(self, codes: Array, fresh: Array | slice | None) -> None:
        """Take this frame's codes (B, U, N); streams in `fresh` (or none) have no frame before."""
        self.before, self.now = self.now, self.before
        self.now[:, :-1] = codes
        if fresh is not None:
            for past in self._past():
                past[fresh] = self.now[fresh]

    def _past(self) -> list[Array]:
        return [self.before] if self.mean is None else [self.before, self.mean]

    def settle(self) -> None:
        """Let the running mean follow, after the frame's terms were read."""
        if self.mean is None:
            return
        self.mean *= self.decay
        part = self.scratch(*self.now.shape)
        self.mean += self.xp.multiply(self.now, np.float32(1 - self.decay), out=part)

    def forget(self, streams: Array | slice) -> None:
        """Zero the state of the streams with these indices."""
        for array in (self.now, *self._past()):
            array[streams] = 0

    def term(self, name: str) -> Array:
        """Return one view of the signal, (B, U + 1, N), in memory that the next call uses again."""
        if name == "signal":
            return self.now
        usual = self.before if name == "derivative" else self.mean
        return self.xp.subtract(self.now, usual, out=self.scratch(*self.now.shape))


class InputPart:
    """One part of what a layer's units hear, and the rows of the weights that belong to it.

    Parts are kept apart, and as they are: what units hear overlaps, side by side it is many times as
    much. Where each unit hears one unit of a coarser grid (a parent, the top), the product is made once
    per source unit and spread over its listeners.

    Parameters
    ----------
    hears
        A view of the signal (one of the layer's terms), or the link whose codes come.
    rows
        The part's rows of the weights.
    shape
        Of what there is to hear, (B, Us + 1, N).
    grid
        (rows, cols) of those that each hear something else: the layer's, or a coarser one.
    index
        (U, K) source units that each unit of the grid hears; None for an array that comes as it is.

    Attributes
    ----------
    now, before : (B, Us + 1, N), what there is to hear at this frame and was at the one before
    keeps : whether it stays there, for learning; else it lies in the source's own memory
    scratch : memory for all that units hear, side by side
    """

    def __init__(self, origin: str | Link, rows: slice, shape: tuple[int, int, int], grid: tuple[int, int],
                 index: Array, xp: ModuleType) -> None:
        self.origin, self.rows, self.grid, self.index, self.xp = origin, rows, grid, index, xp
        self.units = grid[0] * grid[1]
        self.shape, self.keeps_past = shape, False
        self.scratch: algebra.Scratch
        self.now: Array = None
        self.before: Array = None
        self._graded: Array = None  # memory for what a gain changes, where nothing is kept

    def keep_past(self) -> None:
        """Keep what is heard from now on, as learning needs it."""
        if not self.keeps_past:
            self.now, self.before = (self.xp.zeros(self.shape, np.float32) for _ in range(2))
            self.keeps_past = True

    def load(self, source: Array, gain: float) -> None:
        """Hear `source`, (B, Us + 1, N), times a gain; 0 is silence."""
        if self.keeps_past:
            self.now, self.before = self.before, self.now
        elif gain == 1 and self.origin not in ("derivative", "integral"):  # whose memory is used again
            self.now = source
            return
        else:
            if self._graded is None:
                self._graded = self.xp.zeros(self.shape, np.float32)
            self.now = self._graded
        if gain == 0:
            self.now[...] = 0
        else:
            self.xp.multiply(source, np.float32(gain), out=self.now)

    @property
    def operand(self) -> algebra.Operand:
        """What is heard now, as `algebra.gather_matmul` takes it."""
        return self.now, self.index, self.rows

    def gathered(self, before: bool = False) -> Array:
        """Return what each unit reads, side by side, (B, U, D), in memory that others use again."""
        return algebra.gather_inputs(self.before if before else self.now, self.index, self.scratch)

    def weight_grad(self, dz: Array, out: Array, before: bool = True) -> None:
        """Write the gradient of shared weights' rows of this part; dz (B, U, N) is the error on its grid."""
        source = self.before if before else self.now
        algebra.gather_outer(out[self.rows], source, self.index, dz, self.scratch)


def add_broadcast(y: Array, grid: tuple[int, int], total: Array, coarse: tuple[int, int]) -> None:
    """Add `total`, (B, r * c, N) on a coarse grid, to each unit of y (B, U, N) that lies under it."""
    if grid == coarse:
        y += total
        return
    r, kr, c, kc = wiring.even_spread(coarse, grid)
    wide = y.reshape(y.shape[0], r, kr, c, kc, y.shape[2])
    wide += total.reshape(y.shape[0], r, 1, c, 1, y.shape[2])


def sum_pool(d: Array, grid: tuple[int, int], coarse: tuple[int, int]) -> Array:
    """Return d (B, U, N) of a grid, summed over the units under each of a coarser one: (B, r * c, N)."""
    if grid == coarse:
        return d
    r, kr, c, kc = wiring.even_spread(coarse, grid)
    tall = d.reshape(d.shape[0], r, kr, c * kc * d.shape[2]).sum(axis=2)  # (B, r, cols * N)
    return tall.reshape(d.shape[0], r * c, kc, d.shape[2]).sum(axis=2)
