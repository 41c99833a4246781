"""One layer of future encoders: signal and context in, code and prediction out; local learning.

Shapes: B streams, U units, D inputs, N code width, S values of a unit's signal.
"""

from __future__ import annotations

import itertools
import math
from types import ModuleType

import numpy as np

from pvm_perception.core import algebra, wiring
from pvm_perception.core.backend import Array
from pvm_perception.core.config import HierarchyConfig, Layer, Link
from pvm_perception.core.inputs import InputPart, Source, add_broadcast, sum_pool
from pvm_perception.core.size import context_links, forward_link


class Encoder:
    """A layer of future encoders (arXiv 1607.06854, section 3), for B streams at once."""

    def __init__(self, config: HierarchyConfig, layer: Layer, batch: int, xp: ModuleType) -> None:
        self.xp, self.layer, self.batch = xp, layer, batch
        self.own = not config.shared
        forward = forward_link(config, layer)
        grid, below = (layer.rows, layer.cols), config.grid(forward.source)
        self.grid = grid
        self.below = forward.source
        self.units = layer.rows * layer.cols
        width = config.code_width(forward.source)
        block = wiring.block_index(below, grid, layer.children)
        self.block = xp.asarray(block)  # (U, children)
        self.window = xp.asarray(wiring.block_index(below, grid, layer.children, forward.radius))
        self.one_to_one = layer.children == (1, 1) and below == grid
        self.signal_size = block.shape[1] * width  # S
        self.terms = tuple(t for t in layer.terms if t not in ("signal", "error"))
        self.uses_error = "error" in layer.terms
        self.gain = forward.gain
        self.inputs = 0  # D

        def part(origin: str | Link, units: int, n: int, index: Array = None,
                 at: tuple[int, int] = grid) -> InputPart:
            rows = slice(self.inputs, self.inputs + n * (1 if index is None else index.shape[1]))
            self.inputs = rows.stop
            return InputPart(origin, rows, (batch, units, n), at, index, xp)

        # views of the signal: seen, (changed, unusual), surprising
        children = below[0] * below[1] + 1
        self.views = [part("signal", children, width, self.window)]
        self.views += [part(term, children, width, self.block) for term in self.terms]
        if self.uses_error:
            self.views.append(part("error", self.units, self.signal_size))
        self.context: list[tuple[Link, InputPart]] = []
        for link in context_links(config, layer):
            source, n = config.grid(link.source), config.code_width(link.source)
            # one product for all units under a source unit, if all such grids lie in each other
            alike = not (self.own or link.radius) and all(
                wiring.even_spread(*sorted((source, g))) for g in (grid, *(
                    e.grid for _, e in self.context)))
            at = source if alike and source < grid else grid
            index = xp.asarray(wiring.neighbour_index(source, at, link.radius, link.shape))
            self.context.append((link, part(link, source[0] * source[1] + 1, n, index, at)))
        self.input_parts = self.views + [e for _, e in self.context]
        # those of one grid, the coarsest grid first
        self.groups = [list(same) for _, same in itertools.groupby(
            sorted(self.input_parts, key=lambda e: e.units), key=lambda e: e.grid)]
        most = max(e.units * (e.rows.stop - e.rows.start) for e in self.input_parts)
        self.product_scratch = (algebra.Scratch(batch * most, xp),
                                algebra.Scratch(batch * self.units * layer.code, xp))
        for e in self.input_parts:
            e.scratch = self.product_scratch[0]
        self.phi = algebra.activation(config.activation, xp)
        self.activates_output = config.output == "activation"
        self.from_signal = config.output == "change"
        shape = (batch, self.units)
        self.h = xp.zeros((*shape, layer.code), np.float32)
        self.h_before = xp.zeros_like(self.h)
        self.sums = xp.zeros_like(self.h)  # before the non-linearity
        self.normalise = config.normalise
        if self.normalise:  # of the sums, normalised, learning asks; and of their root mean squares
            self.sums_before = xp.zeros_like(self.h)
            self.sizes = xp.ones((*shape, 1), np.float32)
            self.sizes_before = xp.ones_like(self.sizes)
        self.signal = xp.zeros((*shape, self.signal_size), np.float32)
        self.prediction = xp.zeros_like(self.signal)
        self.error = xp.zeros_like(self.signal)
        self.unit_scratch = [algebra.Scratch(batch * self.units * max(layer.code, self.signal_size), xp)
                       for _ in range(2)]
        self.w1_grad: Array = None

    def keep_past(self) -> None:
        """Keep what is heard from now on, as learning needs it: in some times as much memory."""
        for e in self.input_parts:
            e.keep_past()

    def parameters(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Return new weights: Gaussian, scaled by the number of inputs; predictions start small."""
        lead = (self.units,) if self.own else ()

        def gauss(*shape: int, scale: float) -> np.ndarray:
            return (rng.standard_normal((*lead, *shape), np.float32) * np.float32(scale))

        d, n, s = self.inputs, self.layer.code, self.signal_size
        loud = 0.1 if self.from_signal else 0.5
        return {"w1": gauss(d, n, scale=d**-0.5), "b1": np.zeros((*lead, n), np.float32),
                "w2": gauss(n, s, scale=loud * n**-0.5), "b2": np.zeros((*lead, s), np.float32)}

    @property
    def heard(self) -> int:
        """Return how many values all units together hear at one stream's frame."""
        return sum(e.units * (e.rows.stop - e.rows.start) for e in self.input_parts)

    @property
    def multiply_adds(self) -> int:
        """Return the multiply-adds of one stream's frame."""
        return sum(map(math.prod, self.products))

    @property
    def learning_multiply_adds(self) -> int:
        """Return those of learning from one stream's frame: `gradients`, without the readout's."""
        return self.multiply_adds + self.layer.code * self.units * self.signal_size

    @property
    def values(self) -> int:
        """Return how many values one stream's frame has here: heard, coded, predicted."""
        return self.heard + self.units * (self.layer.code + self.signal_size)

    @property
    def products(self) -> list[tuple[int, int, int]]:
        """Return (rows, D, N) of the layer's products for one stream's frame."""
        shapes = [(e.units, e.rows.stop - e.rows.start, self.layer.code) for e in self.input_parts]
        return [*shapes, (self.units, self.layer.code, self.signal_size)]

    def forward(self, p: dict[str, Array], source: Source, codes: dict[str, Array],
                fresh: Array | slice | None, step: int) -> Array:
        """Run one frame.

        Parameters
        ----------
        p
            The layer's weights.
        source
            This frame's state of the layer below.
        codes
            Codes of the frame before, by layer name, and this frame's motion; each (B, U + 1, N).
        fresh
            Index of the streams in which this is the first frame; None where there are none.
        step
            Learning step, for the staged start of links.

        Returns
        -------
        (B, U, N)
            The codes; `prediction` then holds the forecast of the next frame's signal and
            `error` the surprise of this one.
        """
        self.h, self.h_before = self.h_before, self.h
        if self.normalise:
            self.sums, self.sums_before = self.sums_before, self.sums
            self.sizes, self.sizes_before = self.sizes_before, self.sizes
        if self.one_to_one:
            self.signal = source.now[:, :-1]  # (B, U, S)
        else:
            algebra.gather(source.now, self.block, self.signal)
        self.xp.subtract(self.signal, self.prediction, out=self.error)
        if fresh is not None:
            self.error[fresh] = 0
        z, h = self._sum(p, source, codes, step), self.h
        if self.normalise:
            algebra.normalise_activate(z, self.sizes, h, self.phi, self.xp)
        else:
            self.phi.value(z, h)
        y = self.unit_scratch[0](*self.prediction.shape) if self.activates_output else self.prediction
        y[...] = p["b2"]
        if self.from_signal:
            y += self.signal
        algebra.gather_matmul(y, [(h, None, algebra.ALL)], p["w2"],
                              (self.product_scratch[0], self.unit_scratch[1]), self.xp, adds=True)
        if self.activates_output:
            self.phi.value(y, self.prediction)
        return h

    def _sum(self, p: dict[str, Array], source: Source, codes: dict[str, Array], step: int) -> Array:
        """Return what all that is heard comes to, with its bias, (B, U, N): in `sums`.

        It is summed up from the coarsest grid to the units', so that little is done at each unit.
        """
        total, at, turn = p["b1"], None, 0  # on a grid, (B, r * c, N); at first for all
        for parts in self.groups:
            for part in parts:
                part.load(*self._values_of(part, source, codes, step))
            grid, turn = parts[0].grid, 1 - turn
            y = self.sums if grid == self.grid else self.unit_scratch[turn](
                self.batch, parts[0].units, self.layer.code)
            algebra.gather_matmul(y, [e.operand for e in parts], p["w1"], self.product_scratch, self.xp)
            add_broadcast(y, grid, total, at or grid)
            total, at = y, grid
        return total

    def _values_of(self, part: InputPart, source: Source, codes: dict[str, Array], step: int
                   ) -> tuple[Array, float]:
        """Return the values that a part reads, (B, Us + 1, N), and its gain."""
        if isinstance(part.origin, Link):
            return codes[part.origin.source], part.origin.gain if step >= part.origin.start else 0.0
        return self.error if part.origin == "error" else source.term(part.origin), self.gain

    def before_code(self, d: Array, before: bool = False, out: Array = None) -> Array:
        """Return the error of the sums before the non-linearity, from that of the codes.

        Both (B, U, N), of this frame or of the one before; in `out`, or in new memory.
        """
        h = self.h_before if before else self.h
        out = self.xp.empty_like(h) if out is None else out
        if self.normalise:
            z, sizes = (self.sums_before, self.sizes_before) if before else (self.sums, self.sizes)
            algebra.normalise_activate_backward(d, z, sizes, h, self.phi, out, self.xp)
        else:
            self.xp.multiply(d, self.phi.slope(h), out=out)
        return out

    def descend(self, p: dict[str, Array], dz: Array, below: Array) -> None:
        """Pass an error before the non-linearity, dz (B, U, N), on to the codes below.

        It goes through every view of this frame's signal (seen, changed, unusual, surprising) and
        is added onto `below` (B, Us + 1, N).
        """
        seen, *others = (p["w1"][..., e.rows, :] for e in self.views)
        gain = np.float32(self.gain)
        algebra.matmul_scatter(below, dz, seen * gain, self.window)
        if others:
            algebra.matmul_scatter(below, dz, sum(others) * gain, self.block)

    def gradients(self, p: dict[str, Array], known: np.ndarray, weight: float,
                  dz_readout: Array | None) -> tuple[dict[str, Array], Array]:
        """Return the weights' gradients for the frame before, now that its future is here.

        Parameters
        ----------
        p
            The weights.
        known
            (B,) bool, on the host: where the frame before belongs to the same stream. Elsewhere
            `forward` left no error.
        weight
            Factor of the prediction error.
        dz_readout
            Error from the readout before the non-linearity, of the frame before, or None.

        Returns
        -------
        gradients, loss
            Loss: mean squared prediction error over the streams that have one; no dimensions,
            on the device.
        """
        count = max(int(known.sum()), 1)
        loss = self.xp.vdot(self.error, self.error) / (count * self.units * self.signal_size)
        # L = weight / 2 * mean over streams and units of the summed squared error / S
        scale = weight / (count * self.units * self.signal_size)
        if self.own:
            scale *= self.units * self.signal_size  # own weights: each unit minds its own error
        # dL/dprediction is dp times this, which is multiplied in later, where there are fewer values
        scale = np.float32(-scale)
        dp = self.error * self.phi.slope(self.signal - self.error) if self.activates_output else self.error
        h = self.h_before
        back = p["w2"].swapaxes(-1, -2)
        dz = algebra.gather_matmul(self.unit_scratch[0](*h.shape), [(dp, None, algebra.ALL)],  # (B, U, N)
                                   back if self.own else self.xp.ascontiguousarray(back),
                                   self.product_scratch, self.xp)
        dz *= scale
        self.before_code(dz, before=True, out=dz)
        if dz_readout is not None:
            dz += dz_readout
        if self.own:
            w2 = algebra.Outer.of(h, dp) * scale
        else:
            w2 = self.xp.empty_like(p["w2"])
            algebra.gather_outer(w2, h, None, dp, self.product_scratch[0])
            w2 *= scale
        return {"w1": self.input_grad(dz), "b1": self._sum_of(dz), "w2": w2,
                "b2": self._sum_of(dp) * scale}, loss

    def _sum_of(self, d: Array) -> Array:
        """Return the gradient of a bias: d (B, U, N), summed over who shares it."""
        return d.sum(axis=0) if self.own else algebra.total(d, self.xp)

    def input_grad(self, dz: Array, before: bool = True) -> Array | algebra.Outer:
        """Return the gradient of w1 for dz (B, U, N) of the frame before, or of this one.

        That of shared weights lies in a buffer that the next call writes again: new memory for a
        large gradient costs more than the gradient.
        """
        if self.own:
            heard = [e.gathered(before).copy() for e in self.input_parts]
            return algebra.Outer.of(self.xp.concatenate(heard, axis=2), dz)
        if self.w1_grad is None:
            self.w1_grad = self.xp.empty((self.inputs, self.layer.code), np.float32)
        grid = self.grid
        for parts in reversed(self.groups):  # the coarser, the fewer errors are left
            dz, grid = sum_pool(dz, grid, parts[0].grid), parts[0].grid
            for part in parts:
                part.weight_grad(dz, self.w1_grad, before)
        return self.w1_grad

    def forget(self, streams: Array | slice) -> None:
        """Zero the state of the streams with these indices."""
        for array in (self.h, self.h_before, self.prediction, self.error):
            array[streams] = 0
