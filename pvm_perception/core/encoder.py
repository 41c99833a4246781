"""One layer of future encoders: signal and context in, code and prediction out; local learning.

Shapes: B streams, U units, D inputs, N code width, S values of a unit's signal.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

from pvm_perception.core import algebra, wiring
from pvm_perception.core.config import HierarchyConfig, Layer, Link

Array = Any


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

    def advance(self, codes: Array, fresh: Array) -> None:
        """Take this frame's codes (B, U, N); where `fresh` (B,) there is no frame before."""
        self.before, self.now = self.now, self.before
        self.now[:, :-1] = codes
        if fresh.any():
            self.before[fresh] = self.now[fresh]
            self.mean[fresh] = self.now[fresh]

    def settle(self) -> None:
        """Let the running mean follow, after the frame's terms were read."""
        self.mean *= self.decay
        self.mean += (1 - self.decay) * self.now

    def forget(self, streams: Array) -> None:
        """Zero the state of the streams marked in `streams` (B,) bool."""
        for array in (self.now, self.before, self.mean):
            array[streams] = 0

    def term(self, name: str) -> Array:
        """Return one view of the signal, (B, U + 1, N)."""
        if name == "signal":
            return self.now
        return self.now - (self.before if name == "derivative" else self.mean)


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
        self.context: list[tuple[Link, Array]] = []
        sizes = [self.window.shape[1] * width] + [self.signal_size] * (
            len(self.terms) + self.hears_error)
        for link in config.links:
            if link.target == layer.name and link.kind != "feedforward":
                index = wiring.neighbour_index(config.grid(link.source), grid, link.radius,
                                               link.shape)
                self.context.append((link, xp.asarray(index)))
                sizes.append(index.shape[1] * config.code_width(link.source))
        self.gain = forward.gain
        ends = np.cumsum(sizes)
        self.slices = [slice(int(e - s), int(e)) for s, e in zip(sizes, ends, strict=True)]
        self.inputs = int(ends[-1])  # D
        self.phi, self.dphi = algebra.activation(config.activation, xp)
        self.squash_output = config.output == "activation"
        self.from_signal = config.output == "change"
        shape = (batch, self.units)
        self.x = xp.zeros((*shape, self.inputs), np.float32)
        self.x_before = xp.zeros_like(self.x) if batch else self.x
        self.h = xp.zeros((*shape, layer.code), np.float32)
        self.h_before = xp.zeros_like(self.h)
        self.signal = xp.zeros((*shape, self.signal_size), np.float32)
        self.prediction = xp.zeros_like(self.signal)
        self.error = xp.zeros_like(self.signal)

    def parameters(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Return new weights: Gaussian, scaled by the number of inputs; predictions start small."""
        lead = (self.units,) if self.own else ()

        def gauss(*shape: int, scale: float) -> np.ndarray:
            return (rng.standard_normal((*lead, *shape), np.float32) * np.float32(scale))

        d, n, s = self.inputs, self.layer.code, self.signal_size
        loud = 0.1 if self.from_signal else 0.5
        return {"w1": gauss(d, n, scale=d**-0.5), "b1": np.zeros((*lead, n), np.float32),
                "w2": gauss(n, s, scale=loud * n**-0.5), "b2": np.zeros((*lead, s), np.float32)}

    def forward(self, p: dict[str, Array], source: Source, codes: dict[str, Array],
                fresh: Array, step: int) -> Array:
        """Run one frame.

        Parameters
        ----------
        p
            The layer's weights.
        source
            This frame's state of the layer below.
        codes
            Codes of the frame before, by layer name, each (B, U + 1, N).
        fresh
            (B,) bool, streams in which this is the first frame.
        step
            Learning step, for the staged start of links.

        Returns
        -------
        (B, U, N)
            The codes; `prediction` then holds the forecast of the next frame's signal and
            `error` the surprise of this one.
        """
        self.x, self.x_before = self.x_before, self.x
        self.h, self.h_before = self.h_before, self.h
        x = self.x
        self.signal = algebra.gather(source.now, self.block)  # (B, U, S)
        self.xp.subtract(self.signal, self.prediction, out=self.error)
        self.error[fresh] = 0
        places = iter(self.slices)
        x[:, :, next(places)] = algebra.gather(source.now, self.window)
        for term in self.terms:
            x[:, :, next(places)] = algebra.gather(source.term(term), self.block)
        if self.hears_error:
            x[:, :, next(places)] = self.error
        if self.gain != 1:
            x[:, :, :self.slices[len(self.terms) + self.hears_error].stop] *= self.gain
        for link, index in self.context:
            place = next(places)
            if link.gain == 0 or step < link.start:
                x[:, :, place] = 0
                continue
            x[:, :, place] = algebra.gather(codes[link.source], index)
            if link.gain != 1:
                x[:, :, place] *= link.gain
        self.h[...] = self.phi(algebra.affine(x, p["w1"], p["b1"]))
        self.prediction = algebra.affine(self.h, p["w2"], p["b2"])
        if self.squash_output:
            self.prediction = self.phi(self.prediction)
        elif self.from_signal:
            self.prediction += self.signal
        return self.h

    def descend(self, p: dict[str, Array], dz: Array, below: Array) -> None:
        """Pass an error before the non-linearity, dz (B, U, N), on to the codes below.

        It goes through every view of this frame's signal (seen, changed, unusual, surprising) and
        is added onto `below` (B, Us + 1, N).
        """
        views = self.slices[:1 + len(self.terms) + self.hears_error]
        d = algebra.affine_input_grad(dz, p["w1"][..., :views[-1].stop, :])
        if self.gain != 1:
            d *= self.gain
        algebra.scatter(below, d[:, :, views[0]], self.window)
        if len(views) > 1:
            algebra.scatter(below, sum(d[:, :, view] for view in views[1:]), self.block)

    def gradients(self, p: dict[str, Array], known: Array, weight: float,
                  dz_readout: Array | None) -> tuple[dict[str, Array], float]:
        """Return the weights' gradients for the frame before, now that its future is here.

        Parameters
        ----------
        p
            The weights.
        known
            (B,) float32, 1 where the frame before belongs to the same stream.
        weight
            Factor of the prediction error.
        dz_readout
            Error from the readout before the non-linearity, of the frame before, or None.

        Returns
        -------
        gradients, loss
            Loss: mean squared prediction error over the streams that have one.
        """
        xp = self.xp
        count = max(float(known.sum()), 1.0)
        loss = float(((self.error**2).mean(axis=(1, 2)) * known).sum() / count)
        # L = weight / 2 * mean over streams and units of the summed squared error / S
        scale = weight / (count * self.units * self.signal_size)
        if self.own:
            scale *= self.units * self.signal_size  # own weights: each unit minds its own error
        dp = self.error * (-scale * known)[:, None, None]  # (B, U, S): dL/dprediction
        dp = dp.astype(np.float32, copy=False)
        if self.squash_output:
            dp *= self.dphi(self.signal - self.error)
        h = self.h_before
        dz = algebra.affine_input_grad(dp, p["w2"]) * self.dphi(h)  # (B, U, N)
        if dz_readout is not None:
            dz += dz_readout
        dw2, db2 = algebra.affine_weight_grad(h, dp, self.own)
        dw1, db1 = algebra.affine_weight_grad(self.x_before, xp.ascontiguousarray(dz), self.own)
        return {"w1": dw1, "b1": db1, "w2": dw2, "b2": db2}, loss

    def forget(self, streams: Array) -> None:
        """Zero the state of the streams marked in `streams` (B,) bool."""
        for array in (self.h, self.h_before, self.prediction, self.error):
            array[streams] = 0
