"""One layer of future encoders: signal and context in, code and prediction out; local learning.

Shapes: B streams, U units, D inputs, N code width, S values of a unit's signal.
"""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any

import numpy as np

from pvm_perception.core import algebra, wiring
from pvm_perception.core.config import HierarchyConfig, Layer, Link

Array = Any
QUIET = np.float32(1e-3)  # mean square of sums below which normalising no longer lifts them


class Source:
    """Codes of one layer (or blocks of the input) with what changed and what is usual.

    Each array is (B, U + 1, N); the last row stays zero and stands for what lies outside.
    """

    def __init__(self, batch: int, units: int, width: int, decay: float, xp: ModuleType) -> None:
        self.xp = xp
        self.decay = decay
        shape = (batch, units + 1, width)
        self.now = xp.zeros(shape, np.float32)
        self.before = xp.zeros(shape, np.float32)
        self.mean = xp.zeros(shape, np.float32)
        self.spare = algebra.Spare(self.now.size, xp)

    def advance(self, codes: Array, fresh: Array | slice | None) -> None:
        """Take this frame's codes (B, U, N); streams in `fresh` (or none) have no frame before."""
        self.before, self.now = self.now, self.before
        self.now[:, :-1] = codes
        if fresh is not None:
            self.before[fresh] = self.now[fresh]
            self.mean[fresh] = self.now[fresh]

    def settle(self) -> None:
        """Let the running mean follow, after the frame's terms were read."""
        self.mean *= self.decay
        part = self.spare(*self.now.shape)
        self.mean += self.xp.multiply(self.now, np.float32(1 - self.decay), out=part)

    def forget(self, streams: Array | slice) -> None:
        """Zero the state of the streams with these indices."""
        for array in (self.now, self.before, self.mean):
            array[streams] = 0

    def term(self, name: str) -> Array:
        """Return one view of the signal, (B, U + 1, N), in memory that the next call uses again."""
        if name == "signal":
            return self.now
        usual = self.before if name == "derivative" else self.mean
        return self.xp.subtract(self.now, usual, out=self.spare(*self.now.shape))


class Ear:
    """One part of what a layer's units hear, and the rows of the weights that belong to it.

    Parts are kept apart, for this frame and for the one before: putting them side by side in
    one array would move every value once more. Where each unit hears one unit of a coarser grid
    (a parent, the top), the product is made once per source unit and spread over its listeners.

    Parameters
    ----------
    rows
        The part's rows of the weights.
    index
        (U, K) source units that each unit hears; None for an array that comes as it is.
    spread
        (r, kr, c, kc) where r x c source units each serve kr x kc units, else None.
    """

    def __init__(self, rows: slice, batch: int, units: int, xp: ModuleType,
                 index: Array = None, spread: tuple[int, int, int, int] | None = None) -> None:
        self.rows, self.index, self.xp, self.spread = rows, index, xp, spread
        self.heard_by = units if spread is None else spread[0] * spread[2]
        shape = (batch, self.heard_by, rows.stop - rows.start)
        self.now, self.before = xp.zeros(shape, np.float32), xp.zeros(shape, np.float32)

    def advance(self) -> None:
        """Begin a frame: what was heard becomes what was heard before."""
        self.now, self.before = self.before, self.now

    def listen(self, source: Array, gain: float) -> None:
        """Take this frame's values from `source`, (B, Us + 1, N), times a gain; 0 is silence."""
        if gain == 0:
            self.now[...] = 0
            return
        if self.spread is not None:
            self.now[...] = source[:, :-1]
        elif self.index is None:
            self.now[...] = source
        else:
            algebra.gather(source, self.index, self.now)
        if gain != 1:
            self.now *= np.float32(gain)

    def add_to(self, z: Array, w: Array, spare: algebra.Spare) -> None:
        """Add this part's share, (B, U, N), to the sum before the non-linearity."""
        y = spare(z.shape[0], self.heard_by, z.shape[2])
        algebra.product_into(y, self.now, w[..., self.rows, :], self.xp)
        if self.spread is None:
            z += y
        else:
            r, kr, c, kc = self.spread
            wide = z.reshape(z.shape[0], r, kr, c, kc, z.shape[2])
            wide += y.reshape(z.shape[0], r, 1, c, 1, z.shape[2])

    def weight_grad(self, dz: Array, out: Array, before: bool = True) -> None:
        """Write the gradient of shared weights' rows of this part, for the error dz (B, U, N)."""
        if self.spread is not None:
            r, kr, c, kc = self.spread
            dz = dz.reshape(dz.shape[0], r, kr, c, kc, -1).sum(axis=(2, 4))
            dz = dz.reshape(dz.shape[0], r * c, -1)
        out[self.rows] = algebra.weight_grad(self.before if before else self.now, dz)


class Encoder:
    """A layer of future encoders (arXiv 1607.06854, section 3), for B streams at once."""

    def __init__(self, config: HierarchyConfig, layer: Layer, batch: int, xp: ModuleType) -> None:
        self.xp, self.layer, self.batch = xp, layer, batch
        self.own = not config.shared
        forward = next(k for k in config.links
                       if k.target == layer.name and k.kind == "feedforward")
        grid, below = (layer.rows, layer.cols), config.grid(forward.source)
        self.below = forward.source
        self.units = layer.rows * layer.cols
        width = config.code_width(forward.source)
        block = wiring.block_index(below, grid, layer.children)
        self.block = xp.asarray(block)  # (U, children)
        self.window = xp.asarray(wiring.block_index(below, grid, layer.children, forward.radius))
        self.signal_size = block.shape[1] * width  # S
        self.terms = tuple(t for t in layer.terms if t not in ("signal", "error"))
        self.hears_error = "error" in layer.terms
        self.gain = forward.gain
        self.inputs = 0  # D

        def ear(size: int, index: Array = None, spread: tuple | None = None) -> Ear:
            rows = slice(self.inputs, self.inputs + size)
            self.inputs = rows.stop
            return Ear(rows, batch, self.units, xp, index, spread)

        # views of the signal: seen, (changed, unusual), surprising
        self.views = [ear(self.window.shape[1] * width, self.window)]
        self.views += [ear(self.signal_size, self.block) for _ in self.terms]
        if self.hears_error:
            self.views.append(ear(self.signal_size))
        self.context: list[tuple[Link, Ear]] = []
        for link in config.links:
            if link.target == layer.name and link.kind != "feedforward":
                source, n = config.grid(link.source), config.code_width(link.source)
                index = wiring.neighbour_index(source, grid, link.radius, link.shape)
                spread = wiring.even_spread(source, grid)
                if self.own or link.radius or spread == (grid[0], 1, grid[1], 1):
                    spread = None
                self.context.append((link, ear(index.shape[1] * n, xp.asarray(index), spread)))
        self.ears = self.views + [e for _, e in self.context]
        self.phi, self.dphi = algebra.activation(config.activation, xp)
        self.squash_output = config.output == "activation"
        self.from_signal = config.output == "change"
        shape = (batch, self.units)
        self.h = xp.zeros((*shape, layer.code), np.float32)
        self.h_before = xp.zeros_like(self.h)
        self.normalise = config.normalise
        if self.normalise:  # the normalised sums and their root mean squares, now and before
            self.sums, self.sums_before = xp.zeros_like(self.h), xp.zeros_like(self.h)
            self.sizes = xp.ones((*shape, 1), np.float32)
            self.sizes_before = xp.ones_like(self.sizes)
        self.signal = xp.zeros((*shape, self.signal_size), np.float32)
        self.prediction = xp.zeros_like(self.signal)
        self.error = xp.zeros_like(self.signal)
        self.spare = algebra.Spare(batch * self.units * max(layer.code, self.signal_size), xp)
        self.w1_grad: Array = None

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
        return sum(e.heard_by * (e.rows.stop - e.rows.start) for e in self.ears)

    @property
    def multiply_adds(self) -> int:
        """Return the multiply-adds of one stream's frame."""
        return self.layer.code * (self.heard + self.units * self.signal_size)

    @property
    def learning_multiply_adds(self) -> int:
        """Return those of learning from one stream's frame: `gradients`, without the readout's."""
        return self.multiply_adds + self.layer.code * self.units * self.signal_size

    @property
    def values(self) -> int:
        """Return how many values one stream's frame has here: heard, coded, predicted."""
        return self.heard + self.units * (self.layer.code + self.signal_size)

    @property
    def largest_product(self) -> tuple[int, int, int]:
        """Return (rows, D, N) of the layer's largest product for one stream's frame."""
        shapes = [(e.heard_by, e.rows.stop - e.rows.start, self.layer.code) for e in self.ears]
        return max([*shapes, (self.units, self.layer.code, self.signal_size)], key=math.prod)

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
        for ear in self.ears:
            ear.advance()
        self.h, self.h_before = self.h_before, self.h
        if self.normalise:
            self.sums, self.sums_before = self.sums_before, self.sums
            self.sizes, self.sizes_before = self.sizes_before, self.sizes
        algebra.gather(source.now, self.block, self.signal)  # (B, U, S)
        self.xp.subtract(self.signal, self.prediction, out=self.error)
        if fresh is not None:
            self.error[fresh] = 0
        views = iter(self.views)
        next(views).listen(source.now, self.gain)
        for term in self.terms:
            next(views).listen(source.term(term), self.gain)
        if self.hears_error:
            next(views).listen(self.error, self.gain)
        for link, ear in self.context:
            ear.listen(codes[link.source], link.gain if step >= link.start else 0.0)
        h, prediction = self.h, self.prediction  # both become what they are called below
        h[...] = p["b1"]
        for ear in self.ears:
            ear.add_to(h, p["w1"], self.spare)
        if self.normalise:
            square = self.xp.einsum("bun,bun->bu", h, h)[..., None]
            self.sizes = self.xp.sqrt(square / np.float32(h.shape[2]) + QUIET)
            h /= self.sizes
            self.sums[...] = h
        self.phi(h, self.spare(*h.shape))
        algebra.product_into(prediction, h, p["w2"], self.xp)
        prediction += p["b2"]
        if self.squash_output:
            self.phi(prediction, self.spare(*prediction.shape))
        elif self.from_signal:
            prediction += self.signal
        return h

    def before_code(self, d: Array, before: bool = False) -> Array:
        """Return the error of the sums before the non-linearity, from that of the codes.

        Both (B, U, N), of this frame or of the one before.
        """
        d = d * self.dphi(self.h_before if before else self.h)
        if self.normalise:
            y, size = (self.sums_before, self.sizes_before) if before else (self.sums, self.sizes)
            along = self.xp.einsum("bun,bun->bu", d, y)[..., None] / np.float32(y.shape[2])
            d -= y * along
            d /= size
        return d

    def descend(self, p: dict[str, Array], dz: Array, below: Array) -> None:
        """Pass an error before the non-linearity, dz (B, U, N), on to the codes below.

        It goes through every view of this frame's signal (seen, changed, unusual, surprising) and
        is added onto `below` (B, Us + 1, N).
        """
        seen, *others = (p["w1"][..., e.rows, :] for e in self.views)
        gain = np.float32(self.gain)
        algebra.scatter(below, algebra.affine_input_grad(dz, seen * gain), self.window)
        if others:
            algebra.scatter(below, algebra.affine_input_grad(dz, sum(others) * gain), self.block)

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
        dp = self.error * np.float32(-scale)  # dL/dprediction
        if self.squash_output:
            dp *= self.dphi(self.signal - self.error)
        h = self.h_before
        dz = self.before_code(algebra.affine_input_grad(dp, p["w2"]), before=True)  # (B, U, N)
        if dz_readout is not None:
            dz += dz_readout
        dz = self.xp.ascontiguousarray(dz)
        return {"w1": self.input_grad(dz), "b1": dz.sum(axis=0 if self.own else (0, 1)),
                "w2": algebra.Outer.of(h, dp) if self.own else algebra.weight_grad(h, dp),
                "b2": dp.sum(axis=0 if self.own else (0, 1))}, loss

    def input_grad(self, dz: Array, before: bool = True) -> Array | algebra.Outer:
        """Return the gradient of w1 for dz (B, U, N) of the frame before, or of this one.

        That of shared weights lies in a buffer that the next call writes again: new memory for a
        large gradient costs more than the gradient.
        """
        if self.own:
            heard = [e.before if before else e.now for e in self.ears]
            return algebra.Outer.of(self.xp.concatenate(heard, axis=2), dz)
        if self.w1_grad is None:
            self.w1_grad = self.xp.empty((self.inputs, self.layer.code), np.float32)
        for ear in self.ears:
            ear.weight_grad(dz, self.w1_grad, before)
        return self.w1_grad

    def forget(self, streams: Array | slice) -> None:
        """Zero the state of the streams with these indices."""
        for array in (self.h, self.h_before, self.prediction, self.error):
            array[streams] = 0
