"""One layer of future encoders: its forward step and its local learning rule.

A unit predicts its signal (its block of the layer below) one frame ahead. It reads views of that
signal and context, and sums them up to its code:

    code       = activation(normalise(inputs @ w1 + b1))
    prediction = code @ w2 + b2   (+ the signal itself, where the output is its change)

When the next frame is here, the error of the prediction is the layer's loss. Its gradient stays in the
layer: nothing is passed back through time or down to other layers, except the readout's error.

Shapes: B streams, U units, D inputs of a unit, N values of its code, S values of its signal; Us units
of a source, K of which one unit reads.
"""

from __future__ import annotations

import itertools
from types import ModuleType

import numpy as np

from pvm_perception.core import algebra, wiring
from pvm_perception.core.algebra import Gradient
from pvm_perception.core.backend import Array, Floats, Mask
from pvm_perception.core.config import HierarchyConfig, Layer, Link
from pvm_perception.core.inputs import InputPart, Source, add_broadcast, sum_pool
from pvm_perception.core.size import context_links, forward_link

SMALL_CHANGE, SMALL_SIGNAL = 0.1, 0.5  # scale of new prediction weights: of changes, of whole signals


class Encoder:
    """A layer of future encoders (arXiv 1607.06854, section 3), for B streams at once.

    Parameters
    ----------
    config
        The network's configuration.
    layer
        Which of its layers this is.
    batch
        B.
    xp
        Array module.

    Attributes
    ----------
    views : the parts of a unit's input that come from its signal: signal, derivative, integral, error
    context : the parts that come over other links, each with its link
    input_parts : all of them, in the order of the rows of w1
    h, h_before : (B, U, N), the codes of this frame and of the one before
    signal : (B, U, S), this frame's signal
    prediction : (B, U, S), the signal that is expected at the next frame
    error : (B, U, S), the signal less its prediction; zeros at a stream's first frame
    """

    def __init__(self, config: HierarchyConfig, layer: Layer, batch: int, xp: ModuleType) -> None:
        self.xp, self.layer, self.batch = xp, layer, batch
        self.own = not config.shared  # whether each unit has weights of its own
        forward = forward_link(config, layer)
        grid, below = (layer.rows, layer.cols), config.grid(forward.source)
        self.grid, self.below = grid, forward.source
        self.units = layer.rows * layer.cols  # U
        width = config.code_width(forward.source)
        block = wiring.block_index(below, grid, layer.children)
        self.block = xp.asarray(block)  # (U, K) the units that a unit predicts
        # (U, K) the units that it sees, which are more by the link's radius
        self.window = xp.asarray(wiring.block_index(below, grid, layer.children, forward.radius))
        self.one_to_one = layer.children == (1, 1) and below == grid
        self.signal_size = block.shape[1] * width  # S
        self.terms = tuple(t for t in layer.terms if t not in ("signal", "error"))
        self.uses_error = "error" in layer.terms
        self.gain = forward.gain
        self.inputs = 0  # D; grows with each part
        children = below[0] * below[1] + 1  # with the row of zeros for what lies outside
        self.views = [self._new_part("signal", children, width, self.window, grid)]
        self.views += [self._new_part(term, children, width, self.block, grid) for term in self.terms]
        if self.uses_error:
            self.views.append(self._new_part("error", self.units, self.signal_size, None, grid))
        self.context: list[tuple[Link, InputPart]] = []
        for link in context_links(config, layer):
            self._add_context(config, link)
        self.input_parts = self.views + [part for _, part in self.context]
        # parts that are summed on the same grid, the coarsest grid first
        self.groups = [
            list(same)
            for _, same in itertools.groupby(
                sorted(self.input_parts, key=lambda part: part.units), key=lambda part: part.grid
            )
        ]
        most = max(part.units * part.depth for part in self.input_parts)
        code, signal = batch * self.units * layer.code, batch * self.units * self.signal_size
        self.product_scratch = algebra.Scratch(batch * most, xp), algebra.Scratch(code, xp)
        for part in self.input_parts:
            part.scratch = self.product_scratch[0]
        self.unit_scratch = [algebra.Scratch(max(code, signal), xp) for _ in range(2)]
        self.phi = algebra.activation(config.activation, xp)
        self.activates_output = config.output == "activation"
        self.predicts_change = config.output == "change"
        self.h: Array = xp.zeros((batch, self.units, layer.code), np.float32)
        self.h_before: Array = xp.zeros_like(self.h)
        self.sums: Array = xp.zeros_like(self.h)  # (B, U, N) before the activation, normalised
        self.normalise = config.normalise
        if self.normalise:  # learning needs the normalised sums, and what they were divided by
            self.sums_before: Array = xp.zeros_like(self.h)
            self.sizes: Array = xp.ones((batch, self.units, 1), np.float32)  # (B, U, 1)
            self.sizes_before: Array = xp.ones_like(self.sizes)
        self.signal: Array = xp.zeros((batch, self.units, self.signal_size), np.float32)
        self.prediction: Array = xp.zeros_like(self.signal)
        self.error: Array = xp.zeros_like(self.signal)
        self._w1_gradient: Array | None = None

    def _new_part(
        self, origin: str | Link, units: int, width: int, index: Array | None, grid: tuple[int, int]
    ) -> InputPart:
        """Return a part that takes the next rows of w1, for a source (B, units, width)."""
        rows = slice(self.inputs, self.inputs + width * (1 if index is None else index.shape[1]))
        self.inputs = rows.stop
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
        for part in self.input_parts:
            part.keep_past()

    def parameters(self, rng: np.random.Generator) -> dict[str, Floats]:
        """Draw new weights: Gaussian, scaled by the number of inputs; predictions start small."""
        lead = (self.units,) if self.own else ()

        def gauss(*shape: int, scale: float) -> Floats:
            return rng.standard_normal((*lead, *shape), np.float32) * np.float32(scale)

        d, n, s = self.inputs, self.layer.code, self.signal_size
        scale = SMALL_CHANGE if self.predicts_change else SMALL_SIGNAL
        return {
            "w1": gauss(d, n, scale=d**-0.5),
            "b1": np.zeros((*lead, n), np.float32),
            "w2": gauss(n, s, scale=scale * n**-0.5),
            "b2": np.zeros((*lead, s), np.float32),
        }

    @property
    def products(self) -> list[tuple[int, int, int]]:
        """The layer's matrix products for one stream's frame, as (rows, D, N)."""
        shapes = [(part.units, part.depth, self.layer.code) for part in self.input_parts]
        return [*shapes, (self.units, self.layer.code, self.signal_size)]

    def forward(
        self,
        p: dict[str, Array],
        source: Source,
        codes: dict[str, Array],
        fresh: Array | slice | None,
        step: int,
    ) -> Array:
        """Run one frame.

        Parameters
        ----------
        p
            The layer's weights: w1 (D, N), b1 (N,), w2 (N, S), b2 (S,); own weights are led by U.
        source
            This frame's state of the layer below.
        codes
            Codes of the frame before by layer name, and this frame's motion; each (B, Us + 1, N).
        fresh
            Index of the streams in which this is the first frame; None where there are none.
        step
            Learning step, for the staged start of links.

        Returns
        -------
        (B, U, N)
            The codes. `prediction` then holds the forecast of the next frame's signal and `error`
            the surprise of this one.
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
        z, h = self._sum(p, source, codes, step), self.h  # (B, U, N) both
        if self.normalise:
            algebra.normalise_activate(z, self.sizes, h, self.phi, self.xp)
        else:
            self.phi.value(z, h)
        y = self.unit_scratch[0](*self.prediction.shape) if self.activates_output else self.prediction
        y[...] = p["b2"]  # (B, U, S)
        if self.predicts_change:
            y += self.signal
        algebra.gather_matmul(
            y,
            [(h, None, algebra.ALL)],
            p["w2"],
            (self.product_scratch[0], self.unit_scratch[1]),
            self.xp,
            adds=True,
        )
        if self.activates_output:
            self.phi.value(y, self.prediction)
        return h

    def _sum(self, p: dict[str, Array], source: Source, codes: dict[str, Array], step: int) -> Array:
        """Return inputs @ w1 + b1, (B, U, N), which lies in `sums`.

        The sum grows from the coarsest grid to the units' own, so that little work is done at each unit.
        """
        total, total_grid, turn = p["b1"], None, 0  # total: (B, r * c, N) on `total_grid`, or (N,)
        for parts in self.groups:
            for part in parts:
                part.load(*self._values_of(part, source, codes, step))
            grid, turn = parts[0].grid, 1 - turn
            y = (
                self.sums
                if grid == self.grid
                else self.unit_scratch[turn](self.batch, parts[0].units, self.layer.code)
            )
            algebra.gather_matmul(y, [part.operand for part in parts], p["w1"], self.product_scratch, self.xp)
            add_broadcast(y, grid, total, total_grid or grid)
            total, total_grid = y, grid
        return total

    def _values_of(
        self, part: InputPart, source: Source, codes: dict[str, Array], step: int
    ) -> tuple[Array, float]:
        """Return the values that a part reads, (B, Us + 1, N), and their gain."""
        if isinstance(part.origin, Link):
            return codes[part.origin.source], part.origin.gain if step >= part.origin.start else 0.0
        return self.error if part.origin == "error" else source.term(part.origin), self.gain

    def before_code(self, d: Array, before: bool = False, out: Array | None = None) -> Array:
        """Return the error of the sums before the activation, from the error `d` of the codes.

        Parameters
        ----------
        d
            (B, U, N).
        before
            Whether it is of the frame before instead of this one.
        out
            Memory for the result (B, U, N), which may be `d`; None takes new memory.
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

    def gradients(
        self, p: dict[str, Array], known: Mask, weight: float, dz_readout: Array | None
    ) -> tuple[dict[str, Gradient], Array]:
        """Return the gradients of the weights at the frame before, now that its future is here.

        Parameters
        ----------
        p
            The weights.
        known
            (B,) on the host: the streams whose last frame had one before it. In the others
            `forward` left no error.
        weight
            Factor of the prediction error.
        dz_readout
            (B, U, N) the readout's error of the sums at the frame before, or None.

        Returns
        -------
        gradients, loss
            The loss () is the mean squared prediction error over the streams that have one, on the device.
        """
        count = max(int(known.sum()), 1)
        loss = self.xp.vdot(self.error, self.error) / (count * self.units * self.signal_size)
        # L = weight / 2 * mean over streams and units of the summed squared error / S
        scale = weight / (count * self.units * self.signal_size)
        if self.own:
            scale *= self.units * self.signal_size  # each unit's weights see the unit's own error alone
        # dL/dprediction is -scale * dp; the factor is multiplied in later, where there are fewer values
        scale = np.float32(-scale)
        dp = self.error * self.phi.slope(self.signal - self.error) if self.activates_output else self.error
        h = self.h_before
        back = p["w2"].swapaxes(-1, -2)  # (S, N)
        dz = algebra.gather_matmul(
            self.unit_scratch[0](*h.shape),
            [(dp, None, algebra.ALL)],  # (B, U, N)
            back if self.own else self.xp.ascontiguousarray(back),
            self.product_scratch,
            self.xp,
        )
        dz *= scale
        self.before_code(dz, before=True, out=dz)
        if dz_readout is not None:
            dz += dz_readout
        return {
            "w1": self.input_gradient(dz),
            "b1": self._bias_gradient(dz),
            "w2": self._prediction_gradient(p["w2"], h, dp, scale),
            "b2": self._bias_gradient(dp) * scale,
        }, loss

    def _prediction_gradient(self, w2: Array, h: Array, dp: Array, scale: np.float32) -> Gradient:
        """Return the gradient of w2 for codes h (B, U, N) and errors dp (B, U, S), times `scale`."""
        if self.own:
            return algebra.Outer.of(h, dp) * scale
        gradient: Array = self.xp.empty_like(w2)
        algebra.gather_outer(gradient, h, None, dp, self.product_scratch[0])
        gradient *= scale
        return gradient

    def _bias_gradient(self, d: Array) -> Array:
        """Return d (B, U, N) summed over those that share the bias: (N,), or (U, N) of own weights."""
        return d.sum(axis=0) if self.own else algebra.total(d, self.xp)

    def input_gradient(self, dz: Array, before: bool = True) -> Gradient:
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
            inputs = [part.gathered(before).copy() for part in self.input_parts]  # (B, U, .) each
            return algebra.Outer.of(self.xp.concatenate(inputs, axis=2), dz)
        if self._w1_gradient is None:
            self._w1_gradient = self.xp.empty((self.inputs, self.layer.code), np.float32)
        grid = self.grid
        for parts in reversed(self.groups):  # the coarser the grid, the fewer errors are left
            dz, grid = sum_pool(dz, grid, parts[0].grid), parts[0].grid
            for part in parts:
                part.weight_gradient(dz, self._w1_gradient, before)
        return self._w1_gradient

    def forget(self, streams: Array | slice) -> None:
        """Zero the state of the streams with these indices."""
        for array in (self.h, self.h_before, self.prediction, self.error):
            array[streams] = 0
