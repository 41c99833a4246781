"""The units of one scale of the picture, for B streams, and what they learn from it.

Shapes: B streams, U units of a scale in rows of L lanes, N code width, D inputs, T terms of a choice.
"""

from __future__ import annotations

import numpy as np

from pvm_perception.core.activations import LEAK
from pvm_perception.core.backend import Array
from pvm_perception.core.config import Forecast, HierarchyConfig
from pvm_perception.core.forecast_frame import COLOURS, TERMS, WHITE, Frame, Geometry, Moves
from pvm_perception.core.kernels.forecast import steps


class Scale:
    """The units of one scale of the picture, for B streams.

    Parameters
    ----------
    config
        The network's; its `forecast.code` is above 0.
    number
        Of the scale: 1 is the finest, each next one half as fine.
    batch
        Number of streams B.

    Attributes
    ----------
    now, last : what it made of this frame and of the one before
    """

    def __init__(self, config: HierarchyConfig, number: int, batch: int) -> None:
        self.forecast = f = config.forecast
        self.batch, self.number = batch, number
        height, width = config.height >> number - 1, config.width >> number - 1
        self.g = g = _geometry(f, height, width, number == f.scales)
        self.steps = steps()
        self.now = Frame.zeros(g, batch)
        self.last = Frame.zeros(g, batch, self.now)
        self._now, self._last = (
            [self.steps.bind(g, frame.stream(b)) for b in range(batch)] for frame in (self.now, self.last)
        )
        self._allowed = np.array([term in f.terms for term in TERMS], np.float32)
        self._restricted = not self._allowed.all()

    @property
    def wrong(self) -> Array:
        """Each unit's mean squared error of the last forecast, (B, U)."""
        return self.now.wrong[:, : self.g.units]

    @property
    def changed(self) -> Array:
        """Each unit's mean squared change, (B, U)."""
        return self.now.changed[:, : self.g.units]

    @property
    def picture(self) -> Array:
        """The forecast of the next picture, (B, 3, H, W) float32, 0..1."""
        return self.now.picture * np.float32(1 / WHITE)

    def see(self, images: Array, finer: Scale | None, fresh: Array) -> None:
        """Take the next picture, and tell what of the forecast was wrong.

        Parameters
        ----------
        images
            (B, H, W, 3) uint8, which the finest scale takes.
        finer
            The scale below, which has seen them: this one takes the means of 2 x 2 of its pixels.
        fresh
            (B,) bool: streams that begin.
        """
        self.now, self.last, self._now, self._last = self.last, self.now, self._last, self._now
        begins = bool(fresh.any())
        if begins:
            self.last.forget(fresh)
        for b in range(self.batch):
            if finer:
                self.steps.halve(self._now[b], finer._now[b])
            else:
                self.steps.see(self._now[b], images[b])
            self.steps.compare(self._now[b], self._last[b])
        for array in (self.now.error, self.now.wrong, self.now.changed) if begins else ():
            array[fresh] = 0

    def foresee(self, p: dict[str, Array], parent: Scale | None, known: Array, ahead: Array | None) -> None:
        """Choose how each unit's part moves on, and make the forecast of the next picture.

        Parameters
        ----------
        p
            The scale's weights.
        parent
            The scale above, which has chosen already; None at the top.
        known
            (B,) bool: streams that had a frame before. The others expect this picture once more.
        ahead
            (B, 4) float32 the robot's motion to come, as `Forecaster.step` takes it.
        """
        if self._restricted:
            p = {**p, "w2": p["w2"] * self._allowed, "b2": p["b2"] * self._allowed}
        if "motion" not in self.forecast.context:
            ahead = None
        for b in range(self.batch):
            self.steps.foresee(
                self._now[b],
                self._last[b],
                parent._now[b] if parent else None,
                p,
                None if ahead is None or np.isnan(ahead[b, 0]) else ahead[b],
                bool(known[b]),
            )

    def seen(self) -> Array:
        """Return the last pictures, (B, 3, H, W) float32, 0..1."""
        m = self.g.margin
        return self.now.planes[:, 0, :, m : m + self.g.height, m : m + self.g.width] * np.float32(1 / WHITE)

    def departure(self, b: int) -> float:
        """Return how far a stream's forecast departs from its picture where it is shown, mean square."""
        return self.steps.departure(self._now[b])

    def judge(self, b: int, usual: Array, surprise: Array) -> None:
        """Write how surprising a stream's frame was at each unit.

        Parameters
        ----------
        b
            Which stream.
        usual, surprise
            (U,) as `Steps.judge` takes them.
        """
        self.steps.judge(self._now[b], usual, surprise)

    def gradients(
        self, p: dict[str, Array], weight: Array, from_children: Array | None
    ) -> tuple[dict[str, Array], Array | None]:
        """Return the gradients of the frame before, now that its future is here, and the parent's code's.

        Parameters
        ----------
        p
            The weights.
        weight
            (B,) factor of each stream's mean squared error; 0 where nothing was foreseen.
        from_children
            (B, N, U) the children's error in these codes, or None.

        Returns
        -------
        gradients, for_parent
            By name; (B, N, U of the parent), None at the top.
        """
        then, g, units = self.last, self.g, self.g.units
        by_gates = np.zeros_like(then.gates)  # (B, T, L)
        factor = 2 * weight / (COLOURS * g.height * g.width)  # (B,)
        for b in np.flatnonzero(weight).tolist():
            self.steps.gradient(self._last[b], float(factor[b]), by_gates[b])
        by_gates = by_gates[..., :units] * self._allowed[:, None]  # (B, T, U)
        dcode = p["w2"] @ by_gates  # (B, N, U)
        if from_children is not None:
            dcode += from_children
        dz = _normalise_activate_backward(dcode, then.sums[..., :units], then.sizes[:, None, :units])
        dz[weight == 0] = 0
        grads: dict[str, Array] = {
            "w1": np.einsum("bdu,bnu->dn", then.inputs[..., :units], dz, optimize=True),
            "b1": dz.sum((0, 2)),
            "w2": np.einsum("bnu,btu->nt", then.code[..., :units], by_gates, optimize=True),
            "b2": by_gates.sum((0, 2)),
        }
        if g.top or "feedback" not in g.context:
            return grads, None
        d = p["w1"][g.parts["feedback"]] @ dz  # (B, N, U)
        d = d.reshape(self.batch, -1, g.rows // 2, 2, g.cols // 2, 2).sum((3, 5))
        return grads, d.reshape(self.batch, -1, units // 4)


def _normalise_activate_backward(d: Array, z: Array, sizes: Array) -> Array:
    """Return the error of the sums before they were normalised, from that of the codes, d; all (B, N, U)."""
    out = np.where(z > 0, d, LEAK * d)
    out -= z * (out * z).mean(1, keepdims=True)
    out /= sizes
    return out


def _geometry(f: Forecast, height: int, width: int, top: bool) -> Geometry:
    return Geometry(
        height,
        width,
        shared=_around(f.whole) + _half_steps(f.half),
        inherited=() if top or not f.inherit else _around(f.inherit, 1),
        kept=_around(f.keep, 1),
        code=f.code,
        top=top,
        context=tuple(f.context),
    )


def _around(reach: int, step: int = 2) -> Moves:
    """Return moves of up to `reach` steps each way, half px, the middle first."""
    side = range(-reach * step, reach * step + 1, step)
    moves = [(y, x) for y in side for x in side]
    return tuple(sorted(moves, key=lambda m: (m != (0, 0), moves.index(m))))


def _half_steps(reach: int) -> Moves:
    """Return moves of half pixels of up to `reach` px each way, those of whole pixels left out."""
    side = range(-2 * reach, 2 * reach + 1)
    return tuple((y, x) for y in side for x in side if y & 1 or x & 1)
