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

from types import ModuleType

import numpy as np

from pvm_perception.core import activations, algebra
from pvm_perception.core.algebra import Gradient
from pvm_perception.core.backend import Array, Floats, Mask
from pvm_perception.core.config import HierarchyConfig, Layer
from pvm_perception.core.inputs import Source
from pvm_perception.core.layer_inputs import LayerInputs

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
    inputs : all that its units read
    h, h_before : (B, U, N), the codes of this frame and of the one before
    signal : (B, U, S), this frame's signal
    prediction : (B, U, S), the signal that is expected at the next frame
    error : (B, U, S), the signal less its prediction; zeros at a stream's first frame
    """

    def __init__(self, config: HierarchyConfig, layer: Layer, batch: int, xp: ModuleType) -> None:
        self.xp, self.layer, self.batch = xp, layer, batch
        self.own = not config.shared  # whether each unit has weights of its own
        self.inputs = LayerInputs(config, layer, batch, xp)
        self.units = layer.rows * layer.cols  # U
        self.signal_size = self.block.shape[1] * config.code_width(self.below)  # S
        self.one_to_one = layer.children == (1, 1) and config.grid(self.below) == (layer.rows, layer.cols)
        largest = batch * self.units * max(layer.code, self.signal_size)
        self.unit_scratch = [algebra.Scratch(largest, xp) for _ in range(2)]
        self.phi = activations.activation(config.activation, xp)
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

    @property
    def below(self) -> str:
        """The name of the layer below, or of the input."""
        return self.inputs.below

    @property
    def block(self) -> Array:
        """The units below that each unit predicts, (U, K)."""
        return self.inputs.block

    def parameters(self, rng: np.random.Generator) -> dict[str, Floats]:
        """Draw new weights: Gaussian, scaled by the number of inputs; predictions start small."""
        lead = (self.units,) if self.own else ()

        def gauss(*shape: int, scale: float) -> Floats:
            return rng.standard_normal((*lead, *shape), np.float32) * np.float32(scale)

        d, n, s = self.inputs.depth, self.layer.code, self.signal_size
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
        shapes = [(part.units, part.depth, self.layer.code) for part in self.inputs.parts]
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
        z, h = self.sums, self.h  # (B, U, N) both
        self.inputs.sum(p, source, codes, self.error, step, z, self.unit_scratch)
        if self.normalise:
            activations.normalise_activate(z, self.sizes, h, self.phi, self.xp)
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
            (self.inputs.product_scratch[0], self.unit_scratch[1]),
            self.xp,
            adds=True,
        )
        if self.activates_output:
            self.phi.value(y, self.prediction)
        return h

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
            activations.normalise_activate_backward(d, z, sizes, h, self.phi, out, self.xp)
        else:
            self.xp.multiply(d, self.phi.slope(h), out=out)
        return out

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
            self.inputs.product_scratch,
            self.xp,
        )
        dz *= scale
        self.before_code(dz, before=True, out=dz)
        if dz_readout is not None:
            dz += dz_readout
        return {
            "w1": self.inputs.gradient(dz),
            "b1": self._bias_gradient(dz),
            "w2": self._prediction_gradient(p["w2"], h, dp, scale),
            "b2": self._bias_gradient(dp) * scale,
        }, loss

    def _prediction_gradient(self, w2: Array, h: Array, dp: Array, scale: np.float32) -> Gradient:
        """Return the gradient of w2 for codes h (B, U, N) and errors dp (B, U, S), times `scale`."""
        if self.own:
            return algebra.Outer.of(h, dp) * scale
        gradient: Array = self.xp.empty_like(w2)
        algebra.gather_outer(gradient, h, None, dp, self.inputs.product_scratch[0])
        gradient *= scale
        return gradient

    def _bias_gradient(self, d: Array) -> Array:
        """Return d (B, U, N) summed over those that share the bias: (N,), or (U, N) of own weights."""
        return d.sum(axis=0) if self.own else algebra.total(d, self.xp)

    def forget(self, streams: Array | slice) -> None:
        """Zero the state of the streams with these indices."""
        for array in (self.h, self.h_before, self.prediction, self.error):
            array[streams] = 0
