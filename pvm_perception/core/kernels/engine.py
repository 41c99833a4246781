"""Inference of one hierarchy with fused kernels, `kernels.cu`'s or `cpu.cpp`'s: tables once, few launches.

Everything that a frame needs has its place in device memory beforehand and every launch has the same
arguments at every frame, so the launches can be captured as one CUDA graph: which half of the
codes is this frame's, and which streams begin, travels with the pixels.
"""

from __future__ import annotations

import numpy as np

from pvm_perception.core import hierarchy, pictures
from pvm_perception.core.backend import Rectangles
from pvm_perception.core.forecast import Forecaster
from pvm_perception.core.interfaces import Network
from pvm_perception.core.kernels import plan
from pvm_perception.core.kernels.plan import Launch
from pvm_perception.core.kernels.runner import Runner
from pvm_perception.core.kernels.tables import Tables
from pvm_perception.core.meanwhile import meanwhile
from pvm_perception.core.readout import BoxReadout
from pvm_perception.errors import PvmError

TINY = np.float32(1e-30)  # below every presence of a candidate; the kernel writes 0 where there is none


class Engine:
    """Runs frames of a hierarchy's streams: a `Hierarchy` whose codes and readout do not learn.

    Parameters
    ----------
    network
        On the host: its weights are copied, or shared where the device can; its readout decodes; its state
        is not used.
    runner
        The device.
    of
        An engine of this network on this device, to share its weights; None brings them there.

    Attributes
    ----------
    known : streams whose last frame had one before, (B,) bool
    readout : as `Hierarchy.readout`, on the host
    runs_on : in words, what computes it

    Raises
    ------
    PvmError
        If the kernels do not compute this kind of network, or the device does not run them.
    """

    def __init__(self, network: hierarchy.Hierarchy, runner: Runner, of: Engine | None = None) -> None:
        plan.check_supported(network.config, network.batch)
        if not isinstance(network.readout, BoxReadout):
            raise PvmError(
                f"the kernels compute a BoxReadout, not a {type(network.readout).__name__}; arrays do, slower"
            )
        self.config, self.batch, self.runner = network.config, network.batch, runner
        self.readout: BoxReadout = network.readout
        self.xp, self._network = runner.xp, network
        self.runs_on = runner.name
        c, batch = network.config, network.batch
        self.fresh = np.ones(batch, bool)  # streams whose next frame is their first
        self.known = np.zeros(batch, bool)  # streams whose last frame had one before
        pixels = batch * c.height * c.width * 3
        # two, so that the frame before's pixels are still there
        self._sent = [runner.host(plan.FRAME.itemsize + pixels) for _ in range(2)]
        self._half = 0  # which of the two, and which half of the codes, is the last frame's
        self._copy_errors = np.zeros(batch)  # mean squared change of the pixels from the frame before
        shared = {} if of is None else of._device.shared
        self._device: Tables = Tables(network, network.readout, runner, self._sent[0], shared)
        self._answer = runner.host(self._device.found.nbytes).view(np.float32)
        self._launch = runner.load(self._device.calls)
        self.forecaster = Forecaster(c, batch) if c.forecast.code else None  # on the host

    @property
    def calls(self) -> list[tuple[Launch, tuple[int, int]]]:
        """A frame's launches in order, each with the addresses of the frame and of its table."""
        return self._device.calls

    @property
    def weights(self) -> dict[str, np.ndarray]:
        """The weights on the host, by name, as `Hierarchy.weights`."""
        return self._network.weights

    @property
    def step_count(self) -> int:
        """Learning steps behind these weights."""
        return self._network.step_count

    def twin(self) -> Engine:
        """Return an engine with a state of its own that reads these very weights."""
        return Engine(self._network, self.runner, self)

    def copy(self, into: Network | None = None) -> Engine:
        """Return an engine that shares these very weights and goes on from this state by itself.

        `into`, an earlier copy of this engine, is used again; None makes one.
        """
        other = into if isinstance(into, Engine) else self.twin()
        read = [self.runner.read(array) for array in self._device.state]
        for values, array in zip(read, other._device.state, strict=True):
            other.runner.write(array, values)
        for mine, its in zip(self._sent, other._sent, strict=True):
            its[...] = mine
        other.fresh, other.known = self.fresh.copy(), self.known.copy()
        other._half, other._copy_errors = self._half, self._copy_errors.copy()
        other.runner.read(other._device.found, other._answer)  # which waits until all is there
        if self.forecaster and other.forecaster:
            other.forecaster.copy_state(self.forecaster)
        return other

    def forecast_weights(self) -> dict[str, np.ndarray]:
        """Return the forecast's weights by name, which lie on the host alone."""
        return self.weights

    def forecast_learnt(self) -> None:
        """Do nothing: no copy of the forecast's weights is elsewhere."""

    def step(
        self,
        images: np.ndarray,
        motion: np.ndarray | None = None,
        shown: Rectangles | None = None,
        foresee: bool = True,
        ahead: np.ndarray | None = None,
        clear: np.ndarray | None = None,
    ) -> None:
        """Run one frame of every stream; answers stay on the device. See `Network.step`."""
        seen = images if clear is None else clear
        for some in (images, seen):
            pictures.check_images(self.config, self.batch, some)
        if motion is not None:
            pictures.check_motion(self.batch, motion)
        self.known = ~self.fresh
        self._half ^= 1
        sent = self._sent[self._half]
        frame = sent[: plan.FRAME.itemsize].view(plan.FRAME)[0]
        frame["half"], frame["fresh"][: self.batch] = self._half, self.fresh
        frame["motion"][: self.batch] = 0 if motion is None else motion
        sent[plan.FRAME.itemsize :] = seen.reshape(-1)
        self.runner.write(self._device.received, sent)
        forecaster = self.forecaster if foresee else None
        # a GPU works meanwhile by itself; without a forecast there is too little for a thread to wait for
        with meanwhile(self._launch, forecaster is not None and self.xp is np):
            self._copy_errors = self._change() * self.known
            if forecaster:
                coming = pictures.motion_ahead(self.batch, motion, ahead)
                forecaster.step(images, self.weights, coming, shown)
        self.runner.read(self._device.found, self._answer)
        self.fresh = np.zeros(self.batch, bool)

    def answers(self) -> np.ndarray:
        """Return the readout's raw answers to the last frame, (B, R, C, targets, 5)."""
        return self.runner.read(self._device.out)

    def candidates(self, least: float, most: int = plan.MAX_BOXES) -> list[list[np.ndarray]]:
        """Return at most `plan.MAX_BOXES` candidates of a target; see `Network.candidates`."""
        found = self._answer[: -self.batch].reshape(self.batch, -1, plan.MAX_BOXES, plan.BOX_VALUES)
        found = found[:, :, :most]
        return [[rows[rows[:, -1] >= max(least, TINY), :-1] for rows in targets] for targets in found]

    def heat(self) -> np.ndarray:
        """Return the last frame's presence, (B, R, C, targets) in 0..1."""
        return self.readout.heat(self.answers())

    def reset(self, streams: np.ndarray | None = None) -> None:
        """Forget the past of the streams marked in `streams` (B,) bool, or of all; keep weights."""
        marked = np.ones(self.batch, bool) if streams is None else streams
        self.fresh |= marked
        if self.forecaster:
            self.forecaster.reset(marked)

    def codes(self, name: str) -> np.ndarray:
        """Return the last frame's codes of a layer, (B, U, N)."""
        return self._of_past(self.runner.read(self._device.codes[name])[self._half, :, :-1])

    def prediction(self, layer: int = 0) -> np.ndarray:
        """Return what a layer expects of its signal at the next frame, (B, U, S)."""
        return self._of_past(self.runner.read(self._device.predictions[layer]))

    def error(self, layer: int = 0) -> np.ndarray:
        """Return the error of a layer's prediction of the last frame, (B, U, S)."""
        return self._of_past(self.runner.read(self._device.errors[layer]))

    def forecast_errors(self) -> tuple[float, float]:
        """Return the mean squared errors at the last frame, as `Hierarchy.forecast_errors`."""
        return self.forecaster.mean_errors() if self.forecaster else self.layer_errors()

    def layer_errors(self) -> tuple[float, float]:
        """Return the mean squared errors at the last frame, as `Hierarchy.layer_errors`."""
        wrong = self._of_past(self._answer[-self.batch :].copy())
        return float(wrong.mean()), float(self._of_past(self._copy_errors.copy()).mean())

    def _change(self) -> np.ndarray:
        """Return the mean squared difference of the last two frames, (B,), in squared input units."""
        c = self.config
        now, before = (
            self._sent[k][plan.FRAME.itemsize :].reshape(self.batch, -1) for k in (self._half, self._half ^ 1)
        )
        change = np.array([self.runner.squared_difference(a, b) for a, b in zip(now, before, strict=True)])
        return change * (((c.high - c.low) / 255) ** 2 / now.shape[1])

    def surprise(self) -> np.ndarray:
        """Return each unit's surprise at the last frame, as `Hierarchy.surprise`."""
        if self.forecaster:
            return self.forecaster.surprise()
        layer = self.config.layers[0]
        wrong = self._of_past(self.runner.read(self._device.wrong))
        span = np.float32(self.config.high - self.config.low)
        return np.sqrt(wrong).reshape(self.batch, layer.rows, layer.cols) / span

    def moves(self) -> np.ndarray | None:
        """Return where each unit expects its part of the next frame from, as `Hierarchy.moves`."""
        return self.forecaster.moves() if self.forecaster else None

    def predicted_images(self, whole: bool = False) -> np.ndarray:
        """Return the frames expected next, (B, H, W, 3) uint8 BGR; `whole` as for `Forecaster.images`."""
        if self.forecaster:
            return self.forecaster.images(whole)
        block = self._network.encoders[0].block
        return pictures.as_images(self.config, block, self.prediction(), np)

    def _of_past(self, values: np.ndarray) -> np.ndarray:
        """Return values (B, ...), zeros for the streams that were reset since."""
        values[self.fresh] = 0
        return values
