"""All that a layer's units read, and their weighted sum: views of the signal, and context over links.

Shapes: B streams, U units, D inputs of a unit, N values of its code, S values of its signal; Us units of a
source, K of which one unit reads.
"""

from __future__ import annotations

import itertools
from types import ModuleType

import numpy as np

from pvm_perception.core import algebra, wiring
from pvm_perception.core.algebra import Gradient
from pvm_perception.core.backend import Array
from pvm_perception.core.config import HierarchyConfig, Layer, Link
from pvm_perception.core.inputs import InputPart, Source, add_broadcast, sum_pool
from pvm_perception.core.size import context_links, forward_link


class LayerInputs:
    """The inputs of a layer's units, in parts that are never laid side by side (see `InputPart`).

    Parameters
    ----------
    config
        The network's configuration.
    layer
        Whose inputs these are.
    batch
        B.
    xp
        Array module.

    Attributes
    ----------
    below : the name of the layer below, or of the input
    block : (U, K) the units below that each unit predicts; together they are its signal
    window : (U, K) the units below that it sees, which are more by the link's radius
    gain : of the link that brings the signal
    views : the parts that come from the signal: signal, derivative, integral, error
    context : the parts that come over other links, each with its link
    gains : of these links, in the same order; they may change between frames
    parts : all of them, in the order of the rows of w1
    depth : D
    product_scratch : memory for gathered inputs of all units, and for (B, U, N)
    """

    def __init__(self, config: HierarchyConfig, layer: Layer, batch: int, xp: ModuleType) -> None:
        self.xp, self.batch, self.code = xp, batch, layer.code
        self.own = not config.shared  # whether each unit has weights of its own
        forward = forward_link(config, layer)
        self.grid, self.below, self.gain = (layer.rows, layer.cols), forward.source, forward.gain
        below, width, units = config.grid(self.below), config.code_width(self.below), layer.rows * layer.cols
        block = wiring.block_index(below, self.grid, layer.children)
        self.block = xp.asarray(block)
        self.window = xp.asarray(wiring.block_index(below, self.grid, layer.children, forward.radius))
        self.uses_error = "error" in layer.terms
        self.depth = 0  # grows with each part
        children = below[0] * below[1] + 1  # with the row of zeros for what lies outside
        others = [t for t in layer.terms if t not in ("signal", "error")]
        self.views = [self._new_part("signal", children, width, self.window, self.grid)]
        self.views += [self._new_part(term, children, width, self.block, self.grid) for term in others]
        if self.uses_error:
            self.views.append(self._new_part("error", units, block.shape[1] * width, None, self.grid))
        self.context: list[tuple[Link, InputPart]] = []
        for link in context_links(config, layer):
            self._add_context(config, link)
        self.gains = {link: link.gain for link, _ in self.context}
        self.parts = self.views + [part for _, part in self.context]
        # parts that are summed on the same grid, the coarsest grid first
        self._groups = [
            list(same)
            for _, same in itertools.groupby(
                sorted(self.parts, key=lambda part: part.units), key=lambda part: part.grid
            )
        ]
        most = max(part.units * part.depth for part in self.parts)
        self.product_scratch = (
            algebra.Scratch(batch * most, xp),
            algebra.Scratch(batch * units * self.code, xp),
        )
        for part in self.parts:
            part.scratch = self.product_scratch[0]
        self._gradient: Array | None = None

    def _new_part(
        self, origin: str | Link, units: int, width: int, index: Array | None, grid: tuple[int, int]
    ) -> InputPart:
        """Return a part that takes the next rows of w1, for a source (B, units, width)."""
        rows = slice(self.depth, self.depth + width * (1 if index is None else index.shape[1]))
        self.depth = rows.stop
        return InputPart(origin, rows, (self.batch, units, width), grid, index, self.xp)

    def _add_context(self, config: HierarchyConfig, link: Link) -> None:
        """Add the part of one context link.

        Where each unit reads one unit of a coarser grid, the product is made once for each unit of that
        grid. Such grids must divide each other, so that their sums can be added up grid by grid.
        """
        source, width = config.grid(link.source), config.code_width(link.source)
        coarser = not (self.own or link.radius) and all(
            wiring.even_spread(*sorted((source, other)))
            for other in (self.grid, *(part.grid for _, part in self.context))
        )
        grid = source if coarser and source < self.grid else self.grid
        index = self.xp.asarray(wiring.neighbour_index(source, grid, link.radius, link.shape))
        self.context.append((link, self._new_part(link, source[0] * source[1] + 1, width, index, grid)))

    def keep_past(self) -> None:
        """Keep each frame's inputs for the next one, as learning needs them; takes more memory."""
        for part in self.parts:
            part.keep_past()

    def sum(
        self,
        p: dict[str, Array],
        source: Source,
        codes: dict[str, Array],
        error: Array,
        step: int,
        out: Array,
        scratch: list[algebra.Scratch],
    ) -> None:
        """Take this frame's inputs and write their weighted sum, inputs @ w1 + b1.

        The sum grows from the coarsest grid to the units' own, so that little work is done at each unit.

        Parameters
        ----------
        p
            The layer's weights: w1 (D, N), b1 (N,); own weights are led by U.
        source
            This frame's state of the layer below.
        codes
            Codes of the frame before by layer name, and this frame's motion; each (B, Us + 1, N).
        error
            (B, U, S) the error of the prediction of this frame's signal.
        step
            Learning step, for the staged start of links.
        out
            (B, U, N), which is written.
        scratch
            Two pieces of memory, each for (B, U, N) at least.
        """
        total, total_grid, turn = p["b1"], None, 0  # total: (B, r * c, N) on `total_grid`, or (N,)
        for parts in self._groups:
            for part in parts:
                part.load(*self._values_of(part, source, codes, error, step))
            grid, turn = parts[0].grid, 1 - turn
            y = out if grid == self.grid else scratch[turn](self.batch, parts[0].units, self.code)
            algebra.gather_matmul(y, [part.operand for part in parts], p["w1"], self.product_scratch, self.xp)
            add_broadcast(y, grid, total, total_grid or grid)
            total, total_grid = y, grid

    def _values_of(
        self, part: InputPart, source: Source, codes: dict[str, Array], error: Array, step: int
    ) -> tuple[Array, float]:
        """Return the values that a part reads, (B, Us + 1, N), and their gain."""
        if isinstance(part.origin, Link):
            return codes[part.origin.source], self.gains[part.origin] if step >= part.origin.start else 0.0
        return error if part.origin == "error" else source.term(part.origin), self.gain

    def descend(self, p: dict[str, Array], dz: Array, below: Array) -> None:
        """Pass an error of the sums on to the codes below, through every view of this frame's signal.

        Parameters
        ----------
        p
            The layer's weights.
        dz
            (B, U, N) the error of the sums before the activation.
        below
            (B, Us + 1, N), to which the error is added.
        """
        seen, *others = (p["w1"][..., part.rows, :] for part in self.views)
        gain = np.float32(self.gain)
        algebra.matmul_scatter(below, dz, seen * gain, self.window)
        if others:  # all other views are of the same block: their weights may be summed up first
            algebra.matmul_scatter(below, dz, sum(others[1:], others[0]) * gain, self.block)

    def gradient(self, dz: Array, before: bool = True) -> Gradient:
        """Return the gradient of w1, (D, N) or, of own weights, its factors.

        That of shared weights lies in a buffer that the next call writes again: new memory for a
        large gradient costs more than the gradient.

        Parameters
        ----------
        dz
            (B, U, N) the error of the sums before the activation.
        before
            Whether it is of the frame before instead of this one.
        """
        if self.own:
            inputs = [part.gathered(before).copy() for part in self.parts]  # (B, U, .) each
            return algebra.Outer.of(self.xp.concatenate(inputs, axis=2), dz)
        if self._gradient is None:
            self._gradient = self.xp.empty((self.depth, self.code), np.float32)
        grid = self.grid
        for parts in reversed(self._groups):  # the coarser the grid, the fewer errors are left
            dz, grid = sum_pool(dz, grid, parts[0].grid), parts[0].grid
            for part in parts:
                part.weight_gradient(dz, self._gradient, before)
        return self._gradient
