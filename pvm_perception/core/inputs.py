"""What a layer's units read: sources (codes with their past) and the input parts made of them.

Shapes: B streams, U units, D inputs of a unit, N code width; Us units of a source, K of which one
unit reads.
"""

from __future__ import annotations

from types import ModuleType

import numpy as np

from pvm_perception.core import algebra, wiring
from pvm_perception.core.backend import Array
from pvm_perception.core.config import Link


class Source:
    """The codes of one layer, or the blocks of the input, with their derivative and running mean.

    Parameters
    ----------
    batch, units, width
        B, Us and N.
    decay
        Decay of the running mean per frame; None where no unit reads it.
    xp
        Array module.

    Attributes
    ----------
    now, before : (B, Us + 1, N), this frame's codes and those of the frame before
    mean : (B, Us + 1, N), their running mean, or None

    The last row of each array stays zero and stands for what lies outside of the grid.
    """

    def __init__(self, batch: int, units: int, width: int, decay: float | None, xp: ModuleType) -> None:
        self.xp, self.decay = xp, decay
        shape = (batch, units + 1, width)
        self.now: Array = xp.zeros(shape, np.float32)
        self.before: Array = xp.zeros(shape, np.float32)
        self.mean: Array | None = None if decay is None else xp.zeros(shape, np.float32)
        self.scratch = algebra.Scratch(self.now.size, xp)

    def advance(self, codes: Array, fresh: Array | slice | None) -> None:
        """Take this frame's codes.

        Parameters
        ----------
        codes
            (B, Us, N).
        fresh
            Index of the streams that have no frame before, or None: there the past equals the present.
        """
        self.before, self.now = self.now, self.before
        self.now[:, :-1] = codes
        if fresh is not None:
            for past in self._past():
                past[fresh] = self.now[fresh]

    def _past(self) -> list[Array]:
        return [self.before] if self.mean is None else [self.before, self.mean]

    def update_mean(self) -> None:
        """Move the running mean towards this frame's codes; call it when the frame's terms were read."""
        if self.mean is None or self.decay is None:
            return
        self.mean *= self.decay
        part = self.scratch(*self.now.shape)
        self.mean += self.xp.multiply(self.now, np.float32(1 - self.decay), out=part)

    def forget(self, streams: Array | slice) -> None:
        """Zero the state of the streams with these indices."""
        for array in (self.now, *self._past()):
            array[streams] = 0

    def term(self, name: str) -> Array:
        """Return one view of the signal, (B, Us + 1, N), in memory that the next call uses again.

        "signal" is the codes themselves, "derivative" their change from the frame before, "integral"
        their distance from the running mean.
        """
        if name == "signal":
            return self.now
        reference = self.before if name == "derivative" else self.mean
        return self.xp.subtract(self.now, reference, out=self.scratch(*self.now.shape))


class InputPart:
    """One part of the inputs of a layer's units, with the rows of w1 that belong to it.

    Parts are kept apart and ungathered: the units' neighbourhoods overlap, and side by side they take
    many times as much memory. Where each unit reads one unit of a coarser grid (its parent, the top),
    the product is made once for each of these and then spread over the units below it.

    Parameters
    ----------
    origin
        A view of the layer's signal (one of its terms), or the link that brings the codes.
    rows
        The part's rows of w1.
    shape
        (B, Us + 1, N) of the source.
    grid
        (rows, cols) of the units that each read something else: the layer's grid, or a coarser one.
    index
        (U, K) the source units that each unit of the grid reads; None where the source has one row for
        each unit.
    xp
        Array module.

    Attributes
    ----------
    now, before : (B, Us + 1, N), the source's values at this frame and at the one before
    keeps_past : whether they stay there for learning; else `now` may be the source's own memory
    units : units of the grid
    depth : inputs of one unit that this part holds, K * N
    scratch : memory for the gathered inputs of all units
    """

    scratch: algebra.Scratch
    now: Array
    before: Array

    def __init__(
        self,
        origin: str | Link,
        rows: slice,
        shape: tuple[int, int, int],
        grid: tuple[int, int],
        index: Array | None,
        xp: ModuleType,
    ) -> None:
        self.origin, self.rows, self.grid, self.index, self.xp = origin, rows, grid, index, xp
        self.units, self.depth = grid[0] * grid[1], rows.stop - rows.start
        self.shape, self.keeps_past = shape, False
        self._scaled: Array | None = None  # memory for values times a gain, where nothing is kept

    def keep_past(self) -> None:
        """Keep each frame's values for the next one, as learning needs them."""
        if not self.keeps_past:
            self.now, self.before = (self.xp.zeros(self.shape, np.float32) for _ in range(2))
            self.keeps_past = True

    def load(self, source: Array, gain: float) -> None:
        """Take this frame's values.

        Parameters
        ----------
        source
            (B, Us + 1, N), whose last row is zeros.
        gain
            What they are multiplied with; 0 where the link is closed.
        """
        if self.keeps_past:
            self.now, self.before = self.before, self.now
        elif gain == 1 and self.origin not in ("derivative", "integral"):  # these share their memory
            self.now = source
            return
        else:
            if self._scaled is None:
                self._scaled = self.xp.zeros(self.shape, np.float32)
            self.now = self._scaled
        if gain == 0:
            self.now[...] = 0
        else:
            self.xp.multiply(source, np.float32(gain), out=self.now)

    @property
    def operand(self) -> algebra.Operand:
        """What `algebra.gather_matmul` takes of this frame: values, index and rows."""
        return self.now, self.index, self.rows

    def gathered(self, before: bool = False) -> Array:
        """Return what each unit reads, side by side, (B, U, K * N), in memory that other parts use too."""
        return algebra.gather_inputs(self.before if before else self.now, self.index, self.scratch)

    def weight_gradient(self, dz: Array, out: Array, before: bool = True) -> None:
        """Write the gradient of this part's rows of shared weights.

        Parameters
        ----------
        dz
            (B, U, N) the error on the part's grid.
        out
            (D, N) the gradient of all of w1.
        before
            Whether the error is of the frame before.
        """
        source = self.before if before else self.now
        algebra.gather_outer(out[self.rows], source, self.index, dz, self.scratch)


def add_broadcast(y: Array, grid: tuple[int, int], total: Array, coarse: tuple[int, int]) -> None:
    """Add each value of a coarse grid to all units of a finer grid that lie under it.

    Parameters
    ----------
    y
        (B, U, N) on `grid`, which is changed.
    grid
        (rows, cols).
    total
        (B, r * c, N) on `coarse`.
    coarse
        (r, c), of which `grid` is a multiple.
    """
    if grid == coarse:
        y += total
        return
    r, kr, c, kc = _spread(coarse, grid)
    wide = y.reshape(y.shape[0], r, kr, c, kc, y.shape[2])
    wide += total.reshape(y.shape[0], r, 1, c, 1, y.shape[2])


def sum_pool(d: Array, grid: tuple[int, int], coarse: tuple[int, int]) -> Array:
    """Return sums over the units under each unit of a coarser grid: the transpose of `add_broadcast`.

    Parameters
    ----------
    d
        (B, U, N) of the finer grid.
    grid
        Its (rows, cols).
    coarse
        (r, c) of the coarser one, which divide them.

    Returns
    -------
    Array
        (B, r * c, N).
    """
    if grid == coarse:
        return d
    r, kr, c, kc = _spread(coarse, grid)
    tall = d.reshape(d.shape[0], r, kr, c * kc * d.shape[2]).sum(axis=2)  # (B, r, cols * N)
    return tall.reshape(d.shape[0], r * c, kc, d.shape[2]).sum(axis=2)


def _spread(coarse: tuple[int, int], grid: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return (r, kr, c, kc): each of r x c coarse units lies over kr x kc units of the grid."""
    spread = wiring.even_spread(coarse, grid)
    if spread is None:
        raise ValueError(f"grid {grid} is no multiple of {coarse}")
    return spread
