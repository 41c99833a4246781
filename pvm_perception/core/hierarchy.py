"""The hierarchy: runs frames of B streams through all layers and the readout, and learns online.

One frame goes through `Hierarchy.step`: images become the input's blocks, each layer in turn makes its
codes and its prediction (`encoder`), the readout turns all codes into heat maps and boxes. `learn` then
adapts all layers to the error of their own predictions and, where true boxes are given, the readout and
the codes to the readout's error. Beside the layers a `forecast.Forecaster` foresees the next picture by the
moves of its parts; it reads the images alone, so the boxes do not depend on it.

Shapes: B streams, U units of a layer, N values of a code, S values of a signal, H x W pixels, R x C cells of
the readout, T targets.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from types import ModuleType

import numpy as np

from pvm_perception.core import algebra, learning
from pvm_perception.core.backend import Array, Floats, Images, Mask, Rectangles, own_copy, to_numpy
from pvm_perception.core.config import INPUT, MOTION, MOTION_VALUES, HierarchyConfig
from pvm_perception.core.encoder import Encoder
from pvm_perception.core.forecast import Forecaster, first_weights
from pvm_perception.core.gains import LinkGains
from pvm_perception.core.heatmap import HeatmapReadout
from pvm_perception.core.inputs import Source
from pvm_perception.core.interfaces import Losses, Network, Readout
from pvm_perception.core.optimizer import Optimizer
from pvm_perception.core.pictures import as_blocks, as_images, motion_ahead, scaled_motion
from pvm_perception.core.readout import BoxReadout
from pvm_perception.core.size import FORECAST, check_weights, weight_shapes
from pvm_perception.errors import PvmError

READOUTS: dict[str, Callable[[HierarchyConfig, int, ModuleType], Readout]] = {
    "box": BoxReadout,
    "heatmap": HeatmapReadout,
}


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
    seed
        Of new weights.
    step
        Learning steps already behind these weights; opens staged links and layers.
    learns
        Whether it will `learn`, for which each frame's inputs are kept.

    Attributes
    ----------
    encoders : the layers, from the bottom
    readout : from the codes to boxes
    gains : of the context links, which may learn
    weights : all weights by name, as "L1.w1" or "readout.b2"
    sources : the codes of each layer, and the blocks of the input, by name
    fresh : (B,) streams whose next frame is their first
    known : (B,) streams whose last frame had one before it
    out : the readout's raw answers to the last frame, None before the first

    Raises
    ------
    PvmError
        If the weights do not fit the configuration.
    """

    def __init__(
        self,
        config: HierarchyConfig,
        batch: int = 1,
        xp: ModuleType = np,
        weights: Mapping[str, Array] | None = None,
        seed: int = 0,
        step: int = 0,
        learns: bool = True,
    ) -> None:
        self.config, self.batch, self.xp, self.step_count = config, batch, xp, step
        self.encoders = [Encoder(config, layer, batch, xp) for layer in config.layers]
        self.gains = LinkGains(config, {e.layer.name: e.inputs for e in self.encoders}, xp)
        if learns:
            self.prepare_learning()
        self.readout = READOUTS[config.readout.kind](config, batch, xp)
        self.forecaster = Forecaster(config, batch) if config.forecast.code else None  # on the host
        self._host_weights: tuple[int, dict[str, Floats]] = (-1, {})  # of the forecast, and of which step
        if weights is None:
            weights = self._new_weights(np.random.default_rng(seed))
        check_weights(config, weights)
        self.weights: dict[str, Array] = {name: own_copy(weights[name], xp) for name in weight_shapes(config)}
        self._names: dict[str, dict[str, str]] = {}  # of each part: its name of a weight -> that in `weights`
        for name in self.weights:
            part, key = name.split(".", 1)
            self._names.setdefault(part, {})[key] = name
        self.optimizer: Optimizer | None = None
        integrates = any("integral" in layer.terms for layer in config.layers)
        decay = config.integral_decay if integrates else None
        self.sources: dict[str, Source] = {}
        for name in (INPUT, *(layer.name for layer in config.layers)):
            rows, cols = config.grid(name)
            self.sources[name] = Source(batch, rows * cols, config.code_width(name), decay, xp)
        self.motion = xp.zeros((batch, 2, MOTION_VALUES), np.float32)  # one source unit, one row of zeros
        # on the host, which decides by them, and would wait for a GPU at every layer
        self.fresh, self.known = np.ones(batch, bool), np.zeros(batch, bool)
        self.dz_readout: list[Array] | None = None  # by layer: the readout's error of the last frame
        self.out: Array | None = None

    @property
    def runs_on(self) -> str:
        """What computes the network, in words."""
        return "cpu (NumPy)" if self.xp is np else "cuda arrays"

    def prepare_learning(self) -> None:
        """Allocate what learning needs: from the next frame on, each frame's inputs are kept."""
        for encoder in self.encoders:
            encoder.inputs.keep_past()

    def twin(self) -> Hierarchy:
        """Return a hierarchy with a state of its own that shares these very weights."""
        config = self.gains.learnt_config()
        other = Hierarchy(config, self.batch, self.xp, self.weights, step=self.step_count, learns=False)
        other.weights = self.weights
        return other

    def copy(self, into: Network | None = None) -> Hierarchy:
        """Return a hierarchy that shares these very weights and goes on from this state by itself.

        Of an earlier copy, `into`, the forecaster is used again; the other state takes new memory.
        """
        shared = (self.weights, self.config, self.optimizer, self.xp)
        kept: dict[int, object] = {id(part): part for part in shared}
        if self.forecaster:  # compiled steps hold addresses: its state is copied by itself
            forecaster = into.forecaster if isinstance(into, Hierarchy) else None
            kept[id(self.forecaster)] = forecaster = forecaster or Forecaster(self.config, self.batch)
            forecaster.copy_state(self.forecaster)
        return copy.deepcopy(self, kept)

    def _new_weights(self, rng: np.random.Generator) -> dict[str, Floats]:
        parts = [(e.layer.name, e.parameters(rng)) for e in self.encoders]
        parts.append(("readout", self.readout.parameters(rng)))
        forecast = first_weights(self.config.forecast, rng)
        return {f"{part}.{k}": v for part, values in parts for k, v in values.items()} | forecast

    def part(self, part: str) -> dict[str, Array]:
        """Return the weights of a layer, or of the readout, by their names there."""
        return {key: self.weights[name] for key, name in self._names[part].items()}

    def blocks(self, images: Images) -> Array:
        """Return images (B, H, W, 3) as the input's blocks; the next call uses the same memory."""
        return as_blocks(self.config, self.batch, images, self.sources[INPUT].scratch, self.xp)

    def _load_motion(self, motion: Floats | None) -> None:
        """Take the robot's motion as an input; it is zero at a stream's first frame."""
        if motion is None:
            self.motion[...] = 0
            return
        self.motion[:, 0] = self.xp.asarray(scaled_motion(self.batch, motion) * self.known[:, None])

    def reset(self, streams: Mask | None = None) -> None:
        """Forget the past of the marked streams (B,), or of all; the weights stay."""
        marked = np.ones(self.batch, bool) if streams is None else streams
        index = algebra.stream_index(marked, self.xp)
        if index is None:
            return
        for source in self.sources.values():
            source.forget(index)
        for encoder in self.encoders:
            encoder.forget(index)
        self.readout.forget(index)
        if self.forecaster:
            self.forecaster.reset(marked)
        self.fresh |= marked

    def step(
        self,
        images: Images,
        motion: Floats | None = None,
        shown: Rectangles | None = None,
        foresee: bool = True,
        ahead: Floats | None = None,
        clear: Images | None = None,
    ) -> Array:
        """Run one frame of every stream.

        Parameters
        ----------
        images
            (B, H, W, 3) uint8, BGR, at the network's size.
        motion
            (B, 4), what the camera's own motion since the frame before did to the far background:
            its shift right and its shift down at the middle of the picture, as shares of the
            picture's width and height; its roll, radians, clockwise as seen; the logarithm of its
            growth. None, like zeros, is for a robot that stands still or has no odometry.
            Unused where no link brings motion to a layer.
        shown
            (B, 4) the part of each image that a camera filled, the rest being bars; None: all of it.
        foresee
            Whether the forecast takes these images, too. Not where they are those of the step before, shown
            once more so that codes read their context; nor where nobody asks for the forecast.
        ahead
            (B, 4), as motion, but until the next frame, as far as the robot knows: what the forecast hears.
            NaN in the streams where it is not known: there the robot goes on as `motion` says, where that is
            not zero. None: in all streams.
        clear
            (B, H, W, 3) the images as layers see them; None: as they are.

        Returns
        -------
        (B, R, C, T, ...)
            The readout's raw answers, for `readout.decode` and `readout.heat`.

        Raises
        ------
        PvmError
            If images or motions have another shape, or the motion is not finite.
        """
        running = [e for e in self.encoders if self.step_count >= e.layer.start]
        # `advance` writes into the other of two buffers, so these stay the frame before's
        past = {name: s.now for name, s in self.sources.items() if name != INPUT}
        self.known = ~self.fresh
        fresh = algebra.stream_index(self.fresh, self.xp)
        self._load_motion(motion)
        past[MOTION] = self.motion
        if self.config.schedule == "parallel":
            running = running[::-1]  # each layer still finds the codes of the frame before below it
        self.sources[INPUT].advance(self.blocks(images if clear is None else clear), fresh)
        for encoder in running:
            p, source = self.part(encoder.layer.name), self.sources[encoder.below]
            h = encoder.forward(p, source, past, fresh, self.step_count)  # (B, U, N)
            self.sources[encoder.layer.name].advance(h, fresh)
        for source in self.sources.values():
            source.update_mean()
        self.fresh = np.zeros(self.batch, bool)
        codes = [self.sources[layer.name].now for layer in self.config.layers]  # (B, U + 1, N) each
        self.out = self.readout.forward(self.part("readout"), codes)
        if self.forecaster and foresee:
            coming = motion_ahead(self.batch, motion, ahead)
            self.forecaster.step(images, self.forecast_weights(), coming, shown)
        return self.out

    def answers(self) -> Array:
        """Return the readout's raw answers to the last frame."""
        if self.out is None:
            raise PvmError("the network has answers only after its first step")
        return self.out

    def candidates(self, least: float, most: int = 8) -> list[list[Floats]]:
        """See `Network.candidates`."""
        return self.readout.decode(self.answers(), least, most)

    def heat(self) -> Floats:
        """Return the last frame's presence, (B, R, C, T) in 0..1."""
        return self.readout.heat(self.answers())

    def learn(
        self,
        boxes: Floats | None = None,
        rate: float | None = None,
        codes: bool = True,
        soft: Floats | None = None,
    ) -> Losses:
        """Learn from the frame of the last `step`: its surprise and, where known, its boxes.

        See `learning.learn`. Returns what the step cost, before it changed the weights.
        """
        if codes:
            self.prepare_learning()
        return learning.learn(self, boxes, rate, codes, soft)

    def forecast_weights(self) -> dict[str, Floats]:
        """Return the forecast's weights on the host, by name; copied anew where they have learnt."""
        if self.xp is np:
            return self.weights
        if self._host_weights[0] != self.step_count:
            copies = {name: to_numpy(w) for name, w in self.weights.items() if name.startswith(FORECAST)}
            self._host_weights = self.step_count, copies
        return self._host_weights[1]

    def forecast_learnt(self) -> None:
        """Take over what changed in the arrays of `forecast_weights`."""
        if self.xp is not np:
            for name, w in self.forecast_weights().items():
                self.weights[name][...] = self.xp.asarray(w)

    def forecast_errors(self) -> tuple[float, float]:
        """Return the last frame's mean squared errors of the forecast and of copying.

        Copying means to expect the frame before once more. Both are in squared input units.
        """
        return self.forecaster.mean_errors() if self.forecaster else self.layer_errors()

    def layer_errors(self) -> tuple[float, float]:
        """Return the last frame's mean squared errors of layer 1's own prediction and of copying.

        Layer 1 predicts from its codes, so that its error tells whether the codes diverge. Both are in
        squared input units.
        """
        error = self.encoders[0].error
        errors = self.xp.stack((self.xp.vdot(error, error) / np.float32(error.size), self.copy_error()))
        forecast, copied = to_numpy(errors).tolist()  # stacked, so that a GPU is waited for once
        return forecast, copied

    def copy_error(self) -> Array:
        """Return the mean squared change of the input since the frame before, () on the device."""
        source = self.sources[INPUT]
        change = source.term("derivative")  # (B, U + 1, N); its last row is zeros
        return self.xp.vdot(change, change) / np.float32(source.now[:, :-1].size)

    def codes(self, name: str) -> Floats:
        """Return the last frame's codes of a layer, (B, U, N)."""
        return to_numpy(self.sources[name].now[:, :-1]).copy()

    def surprise(self) -> Floats:
        """Return each unit's surprise at the last frame, (B, rows, cols).

        With a forecast by moves it is the forecast's squared error over the one that the unit expected;
        without, the root mean square error of layer 1's prediction, full range from black to white.
        """
        if self.forecaster:
            return self.forecaster.surprise()
        layer = self.config.layers[0]
        rms: Array = self.xp.sqrt((self.encoders[0].error ** 2).mean(axis=2))
        span = np.float32(self.config.high - self.config.low)
        surprise: Floats = to_numpy(rms / span).reshape(self.batch, layer.rows, layer.cols)
        return surprise

    def moves(self) -> Floats | None:
        """Return where each unit expects its part of the next frame from, (B, rows, cols, 2) px.

        Down and right of itself. None without a forecast by moves.
        """
        return self.forecaster.moves() if self.forecaster else None

    def predicted_images(self, whole: bool = False) -> Images:
        """Return the frames expected next, (B, H, W, 3) uint8 BGR; `whole` as for `Forecaster.images`."""
        if self.forecaster:
            return self.forecaster.images(whole)
        first = self.encoders[0]  # converted on the device: a byte for each value is copied, not four
        return to_numpy(as_images(self.config, first.block, first.prediction, self.xp))
