"""The hierarchy: one frame of B streams in, codes, predictions and readouts out; online learning."""

from __future__ import annotations

import copy
from types import ModuleType

import numpy as np

from pvm_perception.core import algebra
from pvm_perception.core.backend import Array, cache_aligned, to_numpy
from pvm_perception.core.config import INPUT, MOTION, MOTION_VALUES, HierarchyConfig
from pvm_perception.core.encoder import Encoder
from pvm_perception.core.heatmap import HeatmapReadout
from pvm_perception.core.inputs import Source
from pvm_perception.core.interfaces import Losses, ReadoutLosses
from pvm_perception.core.optimizer import Optimizer
from pvm_perception.core.readout import BoxReadout
from pvm_perception.core.size import weight_shapes
from pvm_perception.errors import PvmError

READOUTS = {"box": BoxReadout, "heatmap": HeatmapReadout}
MOTION_UNIT = 0.025  # of each motion value: heard as 1, which is what codes are usually like
MOTION_LIMIT = 4.0  # loudest that motion is heard: faster than this, nothing in the picture lasts


class Hierarchy:
    """A future-encoder hierarchy for B streams (arXiv 1607.06854).

    Parameters
    ----------
    config
        Shape, wiring and learning.
    batch
        Number of streams B that run side by side.
    xp
        numpy or cupy.
    weights
        Flat dictionary as from a model file; None draws new ones from `seed`.
    step
        Learning steps already behind these weights; opens staged links and layers.
    learns
        Whether it will `learn`, for which it keeps what its units hear.
    """

    def __init__(self, config: HierarchyConfig, batch: int = 1, xp: ModuleType = np,
                 weights: dict[str, np.ndarray] | None = None, seed: int = 0,
                 step: int = 0, learns: bool = True) -> None:
        self.config, self.batch, self.xp, self.step_count = config, batch, xp, step
        self.encoders = [Encoder(config, layer, batch, xp) for layer in config.layers]
        if learns:
            self.prepare_learning()
        self.readout = READOUTS[config.readout.kind](config, batch, xp)
        shapes = weight_shapes(config)
        if weights is None:
            weights = self._new_weights(np.random.default_rng(seed))
        for name, shape in shapes.items():
            if name not in weights or weights[name].shape != shape:
                raise PvmError(f"weights do not fit the configuration: {name} should be {shape}")
        self.weights = {name: _own_copy(weights[name], xp) for name in shapes}
        self._names: dict[str, dict[str, str]] = {}  # by part: name there -> name in `weights`
        for name in shapes:
            part, key = name.split(".", 1)
            self._names.setdefault(part, {})[key] = name
        self.optimizer: Optimizer | None = None
        self._integrates = any("integral" in layer.terms for layer in config.layers)
        self.sources = {INPUT: self._source(INPUT, batch)}
        for layer in config.layers:
            self.sources[layer.name] = self._source(layer.name, batch)
        self.motion = xp.zeros((batch, 2, MOTION_VALUES), np.float32)  # one source unit, one outside
        # both on the host: that a GPU should tell what to do next would stop it at every layer
        self.fresh = np.ones(batch, bool)  # streams whose next frame is their first
        self.known = np.zeros(batch, bool)  # streams whose last frame had one before
        self.dz_readout: list[Array] | None = None
        self.out: Array = None

    @property
    def runs_on(self) -> str:
        """Say in words what computes it."""
        return "cpu (NumPy)" if self.xp is np else "cuda arrays"

    def prepare_learning(self) -> None:
        """Allocate what learning needs: from the next frame on, each frame's inputs are kept."""
        for encoder in self.encoders:
            encoder.keep_past()

    def as_learning(self) -> Hierarchy:
        """Return the network that can `learn`, which is this one, ready for it."""
        self.prepare_learning()
        return self

    def twin(self) -> Hierarchy:
        """Return a hierarchy with a state of its own that shares these very weights."""
        other = Hierarchy(self.config, self.batch, self.xp, self.weights, step=self.step_count,
                          learns=False)
        other.weights = self.weights
        return other

    def copy(self, _into: object = None) -> Hierarchy:
        """Return a hierarchy that shares these very weights and goes on from this state by itself."""
        shared = (self.weights, self.config, self.optimizer, self.xp)
        return copy.deepcopy(self, {id(part): part for part in shared})

    def _source(self, name: str, batch: int) -> Source:
        rows, cols = self.config.grid(name)
        return Source(batch, rows * cols, self.config.code_width(name),
                      self.config.integral_decay if self._integrates else None, self.xp)

    def _new_weights(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        parts = [(e.layer.name, e.parameters(rng)) for e in self.encoders]
        parts.append(("readout", self.readout.parameters(rng)))
        return {f"{part}.{k}": v for part, values in parts for k, v in values.items()}

    def _part(self, part: str) -> dict[str, Array]:
        return {key: self.weights[name] for key, name in self._names[part].items()}

    def blocks(self, images: np.ndarray) -> Array:
        """Cut images (B, H, W, 3) uint8 into the input's blocks (B, rows * cols, 3 * block**2).

        The answer's memory is the next call's, too.
        """
        c = self.config
        rows, cols = c.grid(INPUT)
        check_images(c, self.batch, images)
        x = self.xp.asarray(images).reshape(self.batch, rows, c.block, cols, c.block, 3)
        blocks = self.sources[INPUT].scratch(self.batch, rows, cols, c.block, c.block, 3)
        blocks[...] = x.transpose(0, 1, 3, 2, 4, 5)
        blocks *= np.float32((c.high - c.low) / 255)
        blocks += np.float32(c.low)
        return blocks.reshape(self.batch, rows * cols, -1)

    def _hear_motion(self, motion: np.ndarray | None) -> None:
        """Take what the robot's motion did to the picture; none for a stream's first frame."""
        if motion is None:
            self.motion[...] = 0
            return
        check_motion(self.batch, motion)
        heard = np.asarray(motion, np.float32) / np.float32(MOTION_UNIT)
        heard = np.clip(heard, -MOTION_LIMIT, MOTION_LIMIT) * self.known[:, None]
        self.motion[:, 0] = self.xp.asarray(heard)

    def reset(self, streams: np.ndarray | None = None) -> None:
        """Forget the past of the streams marked in `streams` (B,) bool, or of all; keep weights."""
        marked = np.ones(self.batch, bool) if streams is None else streams
        index = algebra.picked(marked, self.xp)
        if index is None:
            return
        for part in (*self.sources.values(), *self.encoders, self.readout):
            part.forget(index)
        self.fresh |= marked

    def step(self, images: np.ndarray, motion: np.ndarray | None = None) -> Array:
        """Run one frame of every stream.

        Parameters
        ----------
        images
            (B, H, W, 3) uint8, BGR, at the network's size.
        motion
            (B, 4), what the camera's own motion since the frame before did to the far background:
            its shift right and its shift down at the middle of the picture, as shares of the
            picture's width and height; its roll, radians, clockwise as seen; the logarithm of its
            growth. None, and zeros, say nothing: a robot that stands, or has no odometry.
            Unused where no unit hears motion.

        Returns
        -------
        The readout's raw answers, for `readout.decode` and `readout.heat`.
        """
        running = [e for e in self.encoders if self.step_count >= e.layer.start]
        # `advance` writes into the other of two buffers, so these stay the frame before's
        past = {name: s.now for name, s in self.sources.items() if name != INPUT}
        self.known = ~self.fresh
        fresh = algebra.picked(self.fresh, self.xp)
        self._hear_motion(motion)
        past[MOTION] = self.motion
        if self.config.schedule == "parallel":
            running = running[::-1]  # each layer still finds the codes of the frame before below it
        self.sources[INPUT].advance(self.blocks(images), fresh)
        for encoder in running:
            source = self.sources[encoder.below]
            codes = encoder.forward(self._part(encoder.layer.name), source, past, fresh,
                                    self.step_count)
            self.sources[encoder.layer.name].advance(codes, fresh)
        for source in self.sources.values():
            source.settle()
        self.fresh = np.zeros(self.batch, bool)
        codes = [self.sources[layer.name].now for layer in self.config.layers]
        self.out = self.readout.forward(self._part("readout"), codes)
        return self.out

    def candidates(self, least: float, most: int = 8) -> list[list[np.ndarray]]:
        """Return the last frame's candidate boxes, as the readout's `decode` does."""
        return self.readout.decode(self.out, least, most)

    def heat(self) -> np.ndarray:
        """Return the last frame's presence, (B, R, C, targets) in 0..1."""
        return self.readout.heat(self.out)

    def learn(self, boxes: np.ndarray | None = None, rate: float | None = None) -> Losses:
        """Learn from the frame of the last `step`: its surprise and, where known, its boxes.

        Parameters
        ----------
        boxes
            (B, M, Truth.COLUMNS) truth as in `BoxReadout.truth`; None learns from the stream alone.
        rate
            Learning rate; None takes the configuration's final rate.
        """
        self.prepare_learning()
        if self.optimizer is None:
            self.optimizer = Optimizer(self.weights, self.config.learning, self.xp,
                                       self.batch)
        learning = self.config.learning
        gradients: dict[str, Array] = {}
        nothing = self.xp.zeros((), np.float32)
        dz_now = None
        losses = ReadoutLosses(nothing, nothing, self.xp.zeros(self.batch, np.float32))
        if boxes is not None:
            grads, errors, losses = self.readout.backward(self._part("readout"), self.out, boxes)
            gradients |= {f"readout.{k}": g for k, g in grads.items()}
            dz_now = self._credit(errors)
        prediction = nothing
        for i, encoder in enumerate(self.encoders):
            if self.step_count < encoder.layer.start:
                continue
            dz = None if self.dz_readout is None else self.dz_readout[i]
            grads, loss = encoder.gradients(self._part(encoder.layer.name), self.known,
                                            learning.prediction_weight, dz)
            prediction = loss if i == 0 else prediction
            gradients |= {f"{encoder.layer.name}.{k}": g for k, g in grads.items()}
        # The readout's error of this frame waits for the next: then both use the same inputs.
        self.dz_readout = dz_now
        norm = self.optimizer.update(self.weights, gradients,
                                     learning.final_rate if rate is None else rate)
        self.step_count += 1
        means = self.xp.stack((prediction, self._copy_error(), losses.presence, losses.box))
        found = to_numpy(self.xp.concatenate((means, losses.by_stream)))  # one wait for a GPU
        return Losses(*found[:4].tolist(), norm, found[4:])

    def _credit(self, errors: list[Array]) -> list[Array]:
        """Let the readout's error descend: return each layer's error before its non-linearity.

        `errors` holds (B, U + 1, N) per layer, from the readout alone.
        """
        order = {e.layer.name: i for i, e in enumerate(self.encoders)}
        depth = self.config.learning.credit_depth
        dz: list[Array] = [None] * len(self.encoders)
        generations = [{0: error} for error in errors]  # how many layers each part came down
        for i in range(len(self.encoders) - 1, -1, -1):
            encoder = self.encoders[i]
            total = 0
            if depth >= len(self.encoders):
                generations[i] = {0: sum(generations[i].values())}
            for age, error in generations[i].items():
                part = encoder.before_code(error[:, :-1])  # (B, U, N)
                total = total + part
                below = order.get(encoder.below)
                if age + 1 <= depth and below is not None:
                    d = self.xp.zeros_like(errors[below])
                    encoder.descend(self._part(encoder.layer.name), part, d)
                    key = 0 if depth >= len(self.encoders) else age + 1
                    generations[below][key] = generations[below].get(key, 0) + d
            dz[i] = total
        return dz

    def forecast_errors(self) -> tuple[float, float]:
        """Return the mean squared errors at the last frame of layer 1's forecast and of copying.

        Copying means to repeat the frame before; in squared input units.
        """
        error = self.encoders[0].error
        errors = self.xp.stack((self.xp.vdot(error, error) / np.float32(error.size),
                                self._copy_error()))
        return tuple(to_numpy(errors).tolist())  # stacked: one wait for a GPU

    def _copy_error(self) -> Array:
        source = self.sources[INPUT]
        change = source.term("derivative")  # the last row of zeros adds nothing
        return self.xp.vdot(change, change) / np.float32(source.now[:, :-1].size)

    def codes(self, name: str) -> np.ndarray:
        """Return the last frame's codes of a layer, (B, U, N)."""
        return to_numpy(self.sources[name].now[:, :-1]).copy()

    def surprise(self) -> np.ndarray:
        """Return the root mean square surprise of each layer-1 unit, (B, rows, cols)."""
        layer = self.config.layers[0]
        rms = self.xp.sqrt((self.encoders[0].error ** 2).mean(axis=2))
        return to_numpy(rms).reshape(self.batch, layer.rows, layer.cols)

    def predicted_images(self) -> np.ndarray:
        """Return the frames that layer 1 expects next, (B, H, W, 3) uint8, BGR."""
        encoder = self.encoders[0]
        images = as_images(self.config, encoder.block, encoder.prediction, self.xp)
        return to_numpy(images)  # a byte for each value on its way from a GPU


def _own_copy(weight: Array, xp: ModuleType) -> Array:
    """Return a copy of a weight, float32, as the device likes it best."""
    return cache_aligned(np.asarray(weight, np.float32)) if xp is np else xp.array(weight, np.float32)


def as_images(config: HierarchyConfig, block: Array, prediction: Array, xp: ModuleType) -> Array:
    """Return layer 1's prediction as images, (B, H, W, 3) uint8, BGR.

    `block` (U, children) names the input's blocks that each unit predicts, `prediction` is (B, U, S).
    """
    c, batch = config, len(prediction)
    rows, cols = c.grid(INPUT)
    grid = xp.zeros((batch, rows * cols + 1, 3 * c.block**2), np.float32)
    grid[:, block] = prediction.reshape(batch, *block.shape, -1)
    x = grid[:, :-1].reshape(batch, rows, cols, c.block, c.block, 3)
    x = x.transpose(0, 1, 3, 2, 4, 5).reshape(batch, c.height, c.width, 3)
    return xp.clip((x - c.low) * (255 / (c.high - c.low)) + 0.5, 0, 255).astype(np.uint8)


def check_images(config: HierarchyConfig, batch: int, images: np.ndarray) -> None:
    """Raise PvmError unless `images` are (B, H, W, 3) uint8 of the network's size."""
    shape = (batch, config.height, config.width, 3)
    if images.shape != shape or images.dtype != np.uint8:
        raise PvmError(f"the network takes uint8 images of shape {shape}, not {images.dtype} "
                       f"{images.shape}")


def check_motion(batch: int, motion: np.ndarray) -> None:
    """Raise PvmError unless `motion` are (B, 4) finite numbers."""
    if np.shape(motion) != (batch, MOTION_VALUES):
        raise PvmError(f"motion must be an array of shape {(batch, MOTION_VALUES)}, "
                       f"not {np.shape(motion)}")
    if not np.isfinite(motion).all():  # it would stay in the codes for ever
        raise PvmError("motion must be finite numbers; give zeros where it is not known")
