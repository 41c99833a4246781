"""The units of one scale of the picture: what they try, take in and choose, and what they learn from it.

Shapes: B streams, U units of a scale, K moves, N code width, D inputs, T terms of a choice.
"""

from __future__ import annotations

import numpy as np

from pvm_perception.core import algebra
from pvm_perception.core.backend import Array
from pvm_perception.core.config import MOTION_VALUES, Forecast, HierarchyConfig
from pvm_perception.core.forecast_reference import (
    BLOCK,
    COLOURS,
    KINDS,
    PHASES,
    QUIET,
    STATISTICS,
    TERMS,
    Geometry,
)
from pvm_perception.core.kernels.forecast import steps
from pvm_perception.core.size import FORECAST_EXTRAS

FASTEST = 96  # half pixels of a scale: moves beyond are not handed on


def scale_parts(forecast: Forecast, top: bool) -> dict[str, slice]:
    """Return which of a unit's inputs are statistics, extras, the parent's and the neighbours' codes."""
    parts, end = {}, 0
    for name, width in (
        ("statistics", len(KINDS) * STATISTICS),
        ("extras", FORECAST_EXTRAS),
        ("feedback", 0 if top else forecast.code),
        ("lateral", forecast.code),
    ):
        parts[name] = slice(end, end + width)
        end += width
    return parts


class _Frame:
    """What one scale made of one frame, kept until the next tells how good it was."""

    def __init__(self, batch: int, g: Geometry, forecast: Forecast, inputs: int) -> None:
        units, code = g.rows * g.cols, forecast.code

        def zeros(*shape: int) -> Array:
            return np.zeros((batch, *shape), np.float32)

        self.planes = zeros(PHASES, COLOURS, g.lines, g.pitch)
        self.moves = np.zeros((batch, units, g.stride, 2), np.int16)
        self.evidence = zeros(units, len(KINDS), g.stride)
        self.choice, self.habit = zeros(units, g.stride), zeros(units, g.stride)
        self.inputs = zeros(units, inputs)
        self.sums, self.sizes = zeros(units, code), np.ones((batch, units, 1), np.float32)
        self.code = zeros(units, code)
        self.gates = zeros(units, len(TERMS))
        self.parent, self.motion = zeros(units, 2), zeros(units, 2)
        self.moved = np.zeros(batch, bool)
        self.mean = zeros(units, 2)  # the move that is expected, px down and right
        self.likeliest = np.zeros((batch, units, 2), np.int16)  # half px
        self.chosen = np.zeros(batch, bool)  # streams that had a frame before, and so chose

    def forget(self, streams: Array) -> None:
        """Zero what the next frame takes from this one."""
        self.code[streams] = self.mean[streams] = self.likeliest[streams] = 0
        self.chosen[streams] = False


class Scale:
    """The units of one scale of the picture, for B streams."""

    def __init__(self, config: HierarchyConfig, number: int, batch: int) -> None:
        self.forecast = f = config.forecast
        self.batch, self.number = batch, number
        top = number == f.scales
        shared = _around(f.whole) + _half_steps(f.half)
        inherited, kept = ([] if top else _around(f.inherit, 1)), _around(f.keep, 1, middle=True)
        self.shared, self.inherited, self.kept = (
            np.array(m, np.int16).reshape(-1, 2) for m in (shared, inherited, kept)
        )
        alike = len(shared) + len(inherited)
        self.g = g = Geometry(
            config.height >> number - 1, config.width >> number - 1, alike + len(kept), len(shared), alike
        )
        self.steps = steps(g)
        self.units = g.rows * g.cols
        self.parts = scale_parts(f, top)
        self.now, self.last = (_Frame(batch, g, f, self.parts["lateral"].stop) for _ in range(2))
        for frame in (self.now, self.last):
            frame.moves[:, :, : len(shared)] = self.shared
        self.picture = np.zeros((batch, COLOURS, g.height, g.width), np.float32)  # the forecast
        self.error = np.zeros_like(self.picture)
        self.wrong, self.changed = (
            np.zeros((batch, self.units), np.float32) for _ in range(2)
        )  # mean squares
        self._block, self._window = (np.zeros((self.units, g.stride), np.float32) for _ in range(2))
        # codes with the edge's rows repeated, and their sums over three rows with the edge's columns repeated
        self._phi = algebra.activation("leaky", np)
        self.allowed = np.array([term in f.terms for term in TERMS], np.float32)
        self.restricted = not self.allowed.all()
        self._unit = np.arange(self.units)
        row, col = np.divmod(self._unit, g.cols)
        self._places = np.stack(
            [(row + 0.5) * BLOCK - g.height / 2, (col + 0.5) * BLOCK - g.width / 2], 1
        ).astype(np.float32)  # (U, 2) px from the middle

    def seen(self, b: int) -> Array:
        """Return a stream's last picture, (3, H, W) float32, 0..1: a view."""
        m = self.g.margin
        return self.now.planes[b, 0, :, m : m + self.g.height, m : m + self.g.width]

    def compare(self, shown: Array, fresh: Array) -> None:
        """Take the new picture, which is in `now.planes`: what of the forecast was wrong."""
        for b in range(self.batch):
            self.steps.errors(
                shown[b],
                self.now.planes[b],
                self.last.planes[b],
                self.picture[b],
                self.error[b],
                self.wrong[b],
                self.changed[b],
            )
        for array in (self.error, self.wrong, self.changed):
            array[fresh] = 0
        self.last.forget(fresh)

    def foresee(self, p: dict[str, Array], parent: Scale | None, known: Array, motion: Array | None) -> None:
        """Choose how each unit's part moves on, and make the forecast of the next picture.

        Parameters
        ----------
        p
            The scale's weights.
        parent
            The scale above, which has chosen already; None at the top.
        known
            (B,) bool: streams that had a frame before. The others expect this picture once more.
        motion
            (B, 4) of the robot, as `Hierarchy.step` takes it; None where it is not known.
        """
        now, last, f = self.now, self.last, self.forecast
        streams: list[int] = np.flatnonzero(known).tolist()
        now.inputs[~known] = 0  # or the code of a stream's first frame would be that of an older stream
        now.moved[...] = False  # zeros say nothing: a robot without odometry
        if motion is not None and "motion" in f.context:
            now.moved[...] = (motion != 0).any(1)
            now.motion[...] = self._by_motion(motion)
        if parent:
            now.parent[...] = self._spread(parent.now.mean) * 2
        for b in streams:
            above = parent.now.likeliest[b] if parent else None
            self.steps.moves(above, last.likeliest[b], self.inherited, self.kept, FASTEST, now.moves[b])
        for b in streams:
            self.steps.evidence(now.planes[b], last.planes[b], now.moves[b], self._block, self._window)
            self.steps.weigh(self._block, self._window, now.moves[b], now.evidence[b], now.inputs[b])
            self._extras(b)
        self._listen(parent, last.code)
        algebra.product_into(now.sums, now.inputs, p["w1"], np)
        now.sums += p["b1"]
        algebra.normalise_activate(now.sums, now.sizes, now.code, self._phi, np)
        algebra.product_into(now.gates, now.code, p["w2"], np)
        now.gates += p["b2"]
        if self.restricted:
            now.gates *= self.allowed
        likeliest = np.zeros(self.units, np.int32)
        for b in range(self.batch):
            if known[b]:
                self.steps.choose(
                    now.evidence[b],
                    now.gates[b],
                    now.moves[b],
                    now.parent[b],
                    now.motion[b],
                    bool(now.moved[b]),
                    last.choice[b] if last.chosen[b] else None,
                    now.habit[b],
                    now.choice[b],
                    now.mean[b],
                    likeliest,
                )
                now.likeliest[b] = now.moves[b][self._unit, likeliest]
            else:
                now.choice[b], now.choice[b, :, 0], now.mean[b], now.likeliest[b] = 0, 1, 0, 0
            self.steps.mix(now.choice[b], now.moves[b], now.planes[b], self.picture[b])
        now.chosen[...] = known

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
            (B, U, N) the children's error in these codes, or None.

        Returns
        -------
        gradients, for_parent
            By name; (B, U of the parent, N), None at the top.
        """
        then, pixels = self.last, np.float32(COLOURS * self.g.height * self.g.width)
        by_gates = np.zeros_like(then.gates)  # (B, U, T)
        for b in np.flatnonzero(weight).tolist():
            self.steps.gradient(
                self.error[b],
                then.planes[b],
                then.choice[b],
                then.evidence[b],
                then.moves[b],
                then.parent[b],
                then.motion[b],
                bool(then.moved[b]),
                then.habit[b],
                float(2 * weight[b] / pixels),
                by_gates[b],
            )
        by_gates *= self.allowed
        dcode = by_gates @ p["w2"].T  # (B, U, N)
        if from_children is not None:
            dcode += from_children
        dz = np.empty_like(dcode)
        algebra.normalise_activate_backward(dcode, then.sums, then.sizes, then.code, self._phi, dz, np)
        dz[weight == 0] = 0
        grads = {
            "w1": algebra.outer_product(then.inputs, dz),
            "b1": algebra.total(dz, np),
            "w2": algebra.outer_product(then.code, by_gates),
            "b2": algebra.total(by_gates, np),
        }
        feedback = self.parts["feedback"]
        if feedback.start == feedback.stop or "feedback" not in self.forecast.context:
            return grads, None
        d = dz @ p["w1"][feedback].T
        g = self.g
        return grads, d.reshape(self.batch, g.rows // 2, 2, g.cols // 2, 2, -1).sum((2, 4)).reshape(
            self.batch, self.units // 4, -1
        )

    def _extras(self, b: int) -> None:
        """Write what a stream's units know beside the evidence into their inputs."""
        now, x = self.now, self.now.inputs[b, :, self.parts["extras"]]
        x[:, 0:2], x[:, 2:4] = 0.25 * now.parent[b], 0.25 * self.last.mean[b]
        x[:, 4], x[:, 5] = _level(self.wrong[b]), _level(self.changed[b])
        x[:, 6], x[:, 7] = _level(self.wrong[b].mean()), _level(self.changed[b].mean())
        # of the whole frame: the moves that all units try
        whole = self._block[:, : len(self.shared)].mean(0)
        evidence = np.log((whole.mean() + QUIET) / (whole + QUIET))
        share = np.exp(2 * (evidence - evidence.max()))
        x[:, 8], x[:, 9] = _level(whole[0]), _level(whole.min())
        x[:, 10:12] = share @ self.shared / share.sum() / 8
        x[:, 12] = self.last.chosen[b]
        x[:, 13] = x[:, 4] - x[:, 5]
        x[:, 14:16] = np.clip(0.25 * now.motion[b], -4, 4) * now.moved[b]
        x[:, 16] = now.moved[b]

    def _listen(self, parent: Scale | None, codes: Array) -> None:
        """Write the parent's codes of this frame and the neighbours' of the last into the inputs."""
        now, context = self.now, self.forecast.context
        if parent and "feedback" in context:
            rows, cols = self.g.rows // 2, self.g.cols // 2
            by_parent = now.inputs.reshape(self.batch, rows, 2, cols, 2, -1)[..., self.parts["feedback"]]
            by_parent[...] = parent.now.code.reshape(self.batch, rows, 1, cols, 1, -1)
        if "lateral" in context:
            for b in range(self.batch):
                self.steps.neighbours(codes[b], now.inputs[b], self.parts["lateral"].start)

    def _spread(self, values: Array) -> Array:
        """Return values of the parents (B, U / 4, n) at their children, (B, U, n)."""
        g = self.g
        grid = values.reshape(self.batch, g.rows // 2, 1, g.cols // 2, 1, -1)
        return np.broadcast_to(grid, (self.batch, g.rows // 2, 2, g.cols // 2, 2, grid.shape[-1])).reshape(
            self.batch, self.units, -1
        )

    def _by_motion(self, motion: Array) -> Array:
        """Return the move of each unit's place by the robot's motion (B, 4), (B, U, 2) px down, right."""
        right, down, roll, growth = (motion[:, i, None] for i in range(MOTION_VALUES))
        y, x = self._places.T
        # the content went there, so what is here comes from the other side
        return -np.stack(
            [down * self.g.height + growth * y + roll * x, right * self.g.width + growth * x - roll * y], 2
        )


def _around(reach: int, step: int = 2, middle: bool = False) -> list[tuple[int, int]]:
    """Return moves of up to `reach` steps each way, half px; no reach: none, or the middle alone."""
    if not reach and not middle:
        return [(0, 0)] if step == 2 else []
    side = range(-reach * step, reach * step + 1, step)
    moves = [(y, x) for y in side for x in side]
    return sorted(moves, key=lambda m: (m != (0, 0), moves.index(m)))


def _half_steps(reach: int) -> list[tuple[int, int]]:
    """Return moves of half pixels of up to `reach` px each way, those of whole pixels left out."""
    side = range(-2 * reach, 2 * reach + 1)
    return [(y, x) for y in side for x in side if y & 1 or x & 1]


def _level(square: Array) -> Array:
    """Return the logarithm of a squared difference, of about unit size."""
    return 0.3 * np.log(square + QUIET) + 1.5
