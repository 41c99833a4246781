"""The next picture, foreseen: each unit chooses how its part of the world moves on.

A future encoder (arXiv 1607.06854) codes what it sees and predicts it one frame ahead. Here its prediction
is a choice among moves of its part of the picture: it judges each move by how well it would have explained
this frame (evidence), codes that together with the choice of its parent (feedback), the codes of its
neighbours (lateral) and the robot's own motion, and the code sets how much each kind of evidence and each
expectation counts. The picture has several scales, each half as fine as the one below; a unit also tries
moves about the one that its parent chose, so that large moves are found coarsely first (as in pyramids of
optical flow), and about its own last one. Learning is local: one step, from the forecast's error, without
labels; a parent hears its children's error in its code.

Shapes: B streams, U units of a scale, K moves, N code width, D inputs, T terms of a choice.
"""

from __future__ import annotations

import numpy as np

from pvm_perception.core.backend import Array
from pvm_perception.core.config import Forecast, HierarchyConfig
from pvm_perception.core.forecast_frame import TERMS, input_parts
from pvm_perception.core.forecast_reference import CLEAN
from pvm_perception.core.forecast_scale import Scale
from pvm_perception.core.forecast_trust import Trust
from pvm_perception.core.size import FORECAST
from pvm_perception.errors import PvmError

MEMORY = 0.04  # share of a frame in a stream's mean error, after its first frames
FIRST_GATES = {"block": 0.2, "window": 1.0, "siblings": 0.4, "habit": 0.3}  # of untaught units


def first_weights(forecast: Forecast, rng: np.random.Generator) -> dict[str, Array]:
    """Return the weights of untaught units.

    They choose by evidence alone, which already foresees better than copying.

    Parameters
    ----------
    forecast
        The configuration; none are returned where its `code` is 0.
    rng
        Draws the weights from a unit's inputs to its code.

    Returns
    -------
    dict
        By scale and name: "forecast1.w1" is of the finest. w1 (D, N), b1 (N,), w2 (N, T), b2 (T,).
    """
    weights: dict[str, Array] = {}
    for number in range(1, forecast.scales + 1 if forecast.code else 1):
        inputs = input_parts(forecast.code, number == forecast.scales)["lateral"].stop
        gates = [FIRST_GATES.get(term, 0.0) for term in TERMS]
        weights |= {
            f"{FORECAST}{number}.w1": rng.standard_normal((inputs, forecast.code), np.float32)
            * np.float32(inputs**-0.5),
            f"{FORECAST}{number}.b1": np.zeros(forecast.code, np.float32),
            f"{FORECAST}{number}.w2": np.zeros((forecast.code, len(TERMS)), np.float32),
            f"{FORECAST}{number}.b2": np.array(gates, np.float32),
        }
    return weights


class Forecaster:
    """Foresees the next picture of B streams.

    Parameters
    ----------
    config
        The network's; its `forecast.code` must be above 0.
    batch
        Number of streams B.
    """

    def __init__(self, config: HierarchyConfig, batch: int) -> None:
        self.config, self.batch = config, batch
        self.scales = [Scale(config, n, batch) for n in range(1, config.forecast.scales + 1)]
        self.known = np.zeros(batch, bool)  # streams whose last frame had been foreseen
        self._seen = np.zeros(batch, bool)  # streams that have a picture
        finest = self.scales[0]
        self._usual = np.zeros((batch, finest.g.units), np.float32)  # each finest unit's running mean error
        self._surprise = np.zeros((batch, finest.g.rows, finest.g.cols), np.float32)
        self._error = np.ones(batch, np.float32)  # each stream's mean error, for the gradient's weight
        self._age = np.zeros(batch, np.float32)
        self.trust = Trust(batch, config.forecast.trust)
        self._tempered = np.zeros(batch, np.float32)  # mean squared error of what the trust made of it
        self._shown = b""  # the part that is shown, as bytes
        self._whole = np.array([[0, 0, config.height, config.width]] * batch, np.int32)

    def reset(self, streams: Array) -> None:
        """Forget the past of the streams marked in `streams` (B,) bool."""
        self._seen[streams] = False
        self._usual[streams] = 0

    def step(
        self,
        images: Array,
        weights: dict[str, Array],
        ahead: Array | None = None,
        shown: Array | None = None,
    ) -> None:
        """Take the next frame of every stream and foresee the one after.

        Parameters
        ----------
        images
            (B, H, W, 3) uint8.
        weights
            By name, among others those of `first_weights`.
        ahead
            (B, 4) what the robot's own motion will do to the picture until the next frame, in the values of
            `Hierarchy.step`'s motion; NaN in the streams where it is not known. None: in none.
        shown
            (B, 4) top, left, rows, cols of the part of the image that a camera filled; None: all.
        """
        shown = self._whole if shown is None else np.asarray(shown, np.int32)
        if shown.tobytes() != self._shown:
            self._show(shown)
        ahead = None if ahead is None else np.ascontiguousarray(ahead, np.float32)
        fresh, below = ~self._seen, None
        for scale in self.scales:
            scale.see(images, below, fresh)
            below = scale
        finest = self.scales[0]
        self.known = self._seen & finest.last.chosen[:, 0].astype(bool)
        self._tempered = self.trust.judge(finest.wrong.mean(1), finest.changed.mean(1), self.known)
        known, parent = self._seen.copy(), None
        for scale in reversed(self.scales):
            scale.foresee(_of(weights, scale.number), parent, known, ahead)
            parent = scale
        self._seen[...] = True
        self._judge()
        self.trust.foresee(np.array([finest.departure(b) for b in range(self.batch)]))

    def _show(self, shown: Array) -> None:
        """Take which part (B, 4) of the next pictures is shown."""
        size = (self.config.height, self.config.width)
        if (
            shown.shape != (self.batch, 4)
            or (shown[:, :2] < 0).any()
            or (shown[:, 2:] < 1).any()
            or (shown[:, :2] + shown[:, 2:] > size).any()
        ):
            raise PvmError(f"the part that is shown must lie in a picture of {size[1]}x{size[0]} px")
        for scale in self.scales:
            scale.now.shown[...] = _part(shown, scale.number - 1, size)
        self._shown = shown.tobytes()

    def gradients(self, weights: dict[str, Array], weight: float) -> dict[str, Array]:
        """Return the gradients of all scales' weights by the last frame's forecast error, by name.

        A stream counts by its error over its own mean error, so that what is hard to foresee does not drown
        what is easy: the gradient is that of the error's logarithm.

        Parameters
        ----------
        weights
            By name, as `step` took them.
        weight
            Factor of the gradients.
        """
        finest = self.scales[0]
        self._age = np.where(self.known, self._age + 1, 0)
        share = np.maximum(MEMORY, 1 / np.maximum(self._age, 1)).astype(np.float32)
        error = finest.wrong.mean(1)
        self._error = np.where(self.known, (1 - share) * self._error + share * error, self._error)
        each = np.where(self.known, weight / (self._error + CLEAN), 0).astype(np.float32)
        each /= max(int(self.known.sum()), 1)
        grads: dict[str, Array] = {}
        from_children = None
        for scale in self.scales:
            found, from_children = scale.gradients(_of(weights, scale.number), each, from_children)
            grads |= {f"{FORECAST}{scale.number}.{name}": g for name, g in found.items()}
        return grads

    def mean_errors(self) -> tuple[float, float]:
        """Return the last frame's mean squared errors of the forecast and of copying, input units squared."""
        span = (self.config.high - self.config.low) ** 2
        changed = self.scales[0].changed[self.known].sum() / self.scales[0].changed.size
        return float(self._tempered.mean()) * span, float(changed) * span

    def surprise(self) -> Array:
        """Return each finest unit's error over what is usual there and in this frame, (B, rows, cols).

        The squared error around the unit over the sum of its own running mean and the median of the frame: a
        leaf that always flickers surprises less than a ball that appears, and a camera that shakes makes
        nothing special. About 1/2 where all is as usual; 0 without a forecast.
        """
        return self._surprise.copy()

    def _judge(self) -> None:
        """Tell how surprising the last frame was, then take its errors for what is usual."""
        for b in range(self.batch):
            if self.known[b]:
                self.scales[0].judge(b, self._usual[b], self._surprise[b].reshape(-1))
            else:
                self._surprise[b] = 0

    def moves(self) -> Array:
        """Return where each finest unit's content comes from, (B, rows, cols, 2) px down and right."""
        scale = self.scales[0]
        moves = scale.now.mean[..., : scale.g.units].reshape(self.batch, 2, scale.g.rows, scale.g.cols)
        return moves.transpose(0, 2, 3, 1)

    def images(self, whole: bool = False) -> Array:
        """Return the frames expected next, (B, H, W, 3) uint8.

        Parameters
        ----------
        whole
            Whether to make the whole change that the moves foresee, not the share that is trusted: what
            shows the next frame but one, when it is taken for the next.
        """
        finest = self.scales[0]
        pictures = finest.picture
        if not whole:
            seen = finest.seen()  # (B, 3, H, W)
            pictures = seen + self.trust.share[:, None, None, None] * (pictures - seen)
        pictures = pictures.transpose(0, 2, 3, 1)
        return np.clip(pictures * 255 + np.float32(0.5), 0, 255).astype(np.uint8)

    def copy_state(self, other: Forecaster) -> None:
        """Take over the state of another forecaster of the same configuration and batch."""
        for name in ("known", "_seen", "_error", "_age", "_usual", "_surprise", "_tempered"):
            setattr(self, name, getattr(other, name).copy())
        self.trust.copy_state(other.trust)
        self._shown = other._shown
        for mine, theirs in zip(self.scales, other.scales, strict=True):
            for frame in ("now", "last"):
                for name, value in vars(getattr(theirs, frame)).items():
                    getattr(getattr(mine, frame), name)[...] = value


def _part(shown: Array, halvings: int, size: tuple[int, int]) -> Array:
    """Return the shown part in the pixels of a coarser scale, those that it fills; at least one.

    Parameters
    ----------
    shown
        (B, 4) top, left, rows, cols; px of the finest scale, whose (rows, cols) are `size`.
    halvings
        How much coarser the scale is.
    size
        Of the finest scale.
    """
    most = np.array(size) >> halvings
    low = np.minimum(-(-shown[:, :2] >> halvings), most - 1)
    high = np.clip(shown[:, :2] + shown[:, 2:] >> halvings, low + 1, most)
    return np.concatenate([low, high - low], 1).astype(np.int32)


def _of(weights: dict[str, Array], number: int) -> dict[str, Array]:
    return {name: weights[f"{FORECAST}{number}.{name}"] for name in ("w1", "b1", "w2", "b2")}
