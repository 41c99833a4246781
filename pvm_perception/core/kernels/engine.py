"""Inference of one hierarchy with fused kernels, `kernels.cu`'s or `cpu.cpp`'s: tables once, few launches.

Everything that a frame needs has its place in device memory beforehand and every launch has the same
arguments at every frame, so the launches can be captured as one CUDA graph: which half of the
codes is this frame's, and which streams begin, travels with the pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from types import ModuleType
from typing import Any, Protocol

import numpy as np

from pvm_perception.core import algebra, hierarchy, pictures, wiring
from pvm_perception.core.backend import Array, Rectangles
from pvm_perception.core.cells import LOGIT_LIMIT, SIZE_LIMIT, UNIT_BOX
from pvm_perception.core.config import INPUT, MOTION, MOTION_VALUES
from pvm_perception.core.encoder import Encoder
from pvm_perception.core.forecast import Forecaster
from pvm_perception.core.interfaces import Network
from pvm_perception.core.kernels import plan
from pvm_perception.core.kernels.plan import Launch
from pvm_perception.core.readout import BoxReadout
from pvm_perception.errors import PvmError

INPUT_THREADS = DECODE_THREADS = 256
TINY = np.float32(1e-30)  # presence of what is there at all; the kernel writes 0 where nothing is


def source_code() -> str:
    """Return the text of `kernels.cu`."""
    return files(__package__).joinpath("kernels.cu").read_text(encoding="utf-8")


class Runner(Protocol):
    """What the engine asks of a device."""

    @property
    def name(self) -> str:
        """What computes, in words."""

    @property
    def multiprocessors(self) -> int:
        """How many blocks run at a time."""

    @property
    def shares(self) -> bool:
        """Whether it reads the host's own weights, as they are at that moment."""

    @property
    def xp(self) -> ModuleType:
        """The array module of its arrays."""

    def host(self, size: int) -> np.ndarray:
        """Return host memory (size,) uint8, zeros, that the device copies from and to best."""

    def put(self, array: np.ndarray) -> Array:
        """Return a copy of a host array in the device's memory."""

    def address(self, array: Array) -> int:
        """Return where a device array lies."""

    def write(self, array: Array, values: np.ndarray) -> None:
        """Copy host values over a device array; they may not change until the next `read`."""

    def read(self, array: Array, out: np.ndarray | None = None) -> np.ndarray:
        """Copy a device array to the host when all before is done; to new memory, or into `out`."""

    def squared_difference(self, a: np.ndarray, b: np.ndarray) -> float:
        """Return the sum of the squared differences of two host arrays (n,) uint8."""

    def load(self, launches: list[tuple[Launch, tuple[int, int]]]) -> Callable[[], None]:
        """Return what runs kernels in order, each with its two addresses, once at each call.

        Loading may run them: nothing counts that they wrote so far. PvmError where it cannot be done.
        """


class Engine:
    """Runs frames of a hierarchy's streams: a `Hierarchy` to all who do not ask it to learn.

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
    calls : a frame's launches in order, each with the addresses of the frame and of its table
    known : streams whose last frame had one before, (B,) bool
    readout : as `Hierarchy.readout`, on the host
    runs_on : in words, what computes it
    shares : whether its weights are the host's own, and learn when those do

    Raises
    ------
    PvmError
        If the kernels do not compute this kind of network, or the device does not run them.
    """

    def __init__(self, network: hierarchy.Hierarchy, runner: Runner, of: Engine | None = None) -> None:
        plan.check_supported(network.config, network.batch)
        if not isinstance(network.readout, BoxReadout):
            raise PvmError(f"the kernels compute a BoxReadout, not a {type(network.readout).__name__}; "
                           "arrays do, slower")
        self.config, self.batch, self.runner = network.config, network.batch, runner
        self.readout: BoxReadout = network.readout
        self.xp, self._network = runner.xp, network
        self.runs_on, self.shares = runner.name, runner.shares
        self.calls: list[tuple[Launch, tuple[int, int]]] = []
        self._kept: list[Array] = []  # the tables hold addresses alone
        self._state: list[Array] = []  # all that frames write
        self._shared: dict[Any, Array] = {} if of is None else of._shared
        c, batch = network.config, network.batch
        self.fresh = np.ones(batch, bool)  # streams whose next frame is their first
        self.known = np.zeros(batch, bool)  # streams whose last frame had one before
        pixels = batch * c.height * c.width * 3
        # two, so that the frame before's pixels are still there
        self._sent = [runner.host(plan.FRAME.itemsize + pixels) for _ in range(2)]
        self._half = 0  # which of the two, and which half of the codes, is the last frame's
        self._copy_errors = np.zeros(batch)  # mean squared change of the pixels from the frame before
        self._received = runner.put(self._sent[0])
        self._blocks = self._zeros(batch, _count(c.grid(INPUT)) + 1, c.code_width(INPUT))
        self._motion = self._zeros(batch, 2, MOTION_VALUES)
        self._codes = {layer.name: self._zeros(2, batch, layer.rows * layer.cols + 1, layer.code)
                       for layer in c.layers}
        self._predictions = [self._zeros(batch, e.units, e.signal_size) for e in network.encoders]
        self._errors = [self._zeros(batch, e.units, e.signal_size) for e in network.encoders]
        readout = network.readout
        self._out = self._zeros(batch, readout.rows, readout.cols, readout.targets, readout.answers)
        self._wrong = self._zeros(batch, network.encoders[0].units)  # layer 1's mean squared errors
        # all that a frame brings back, in one copy: candidate boxes, each stream's mean of `_wrong`
        self._found = self._zeros(batch * (readout.targets * plan.MAX_BOXES * plan.BOX_VALUES + 1))
        self._answer = runner.host(self._found.nbytes).view(np.float32)
        self._add_input()
        for i, encoder in enumerate(network.encoders):
            self._add_layer(network, encoder, i)
        self._add_readout(network)
        self._add_decode(network)
        self._launch = runner.load(self.calls)
        self.forecaster = Forecaster(c, batch) if c.forecast.code else None  # on the host

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
        for values, array in zip([self.runner.read(a) for a in self._state], other._state, strict=True):
            other.runner.write(array, values)
        for mine, its in zip(self._sent, other._sent, strict=True):
            its[...] = mine
        other.fresh, other.known = self.fresh.copy(), self.known.copy()
        other._half, other._copy_errors = self._half, self._copy_errors.copy()
        other.runner.read(other._found, other._answer)  # which waits until all is there
        if self.forecaster and other.forecaster:
            other.forecaster.copy_state(self.forecaster)
        return other

    def as_learning(self) -> hierarchy.Hierarchy:
        """Return the network that can `learn`: these weights and this state as the device's arrays.

        Where the device shares the host's weights, engines that have them see them learn.
        """
        network = hierarchy.Hierarchy(self.config, self.batch, self.xp, self.weights, step=self.step_count)
        if self.runner.shares:
            network.weights = self.weights
        self._hand_over(network)
        return network

    def as_twin_of(self, network: hierarchy.Hierarchy) -> hierarchy.Hierarchy:
        """Return a twin of a network of this configuration, which goes on from this engine's state."""
        twin = network.twin()
        self._hand_over(twin)
        return twin

    def _hand_over(self, network: hierarchy.Hierarchy) -> None:
        """Write this state into a network of the same configuration, as the device's arrays."""
        xp, readout = self.xp, network.readout
        if not isinstance(readout, BoxReadout):
            raise PvmError(f"the kernels have the state of a BoxReadout, not of a {type(readout).__name__}")
        network.fresh, network.known = self.fresh.copy(), self.known.copy()
        network.out = xp.asarray(self.answers())
        if self.forecaster and network.forecaster:
            network.forecaster.copy_state(self.forecaster)
        source, size = network.sources[INPUT], (self.batch, self.config.height, self.config.width, 3)
        for half, blocks in ((self._half, source.now), (self._half ^ 1, source.before)):
            blocks[:, :-1] = network.blocks(self._sent[half][plan.FRAME.itemsize:].reshape(size))
        readout.memory[...] = xp.asarray(self._of_past(self.runner.read(self._memory)))
        for i, encoder in enumerate(network.encoders):
            codes = xp.asarray(self.codes(encoder.layer.name))
            network.sources[encoder.layer.name].now[:, :-1] = codes
            encoder.h[...], encoder.prediction[...] = codes, xp.asarray(self.prediction(i))
            encoder.sums[...] = xp.where(codes > 0, codes, codes / algebra.LEAK)
            encoder.error[...] = xp.asarray(self.error(i))

    def step(self, images: np.ndarray, motion: np.ndarray | None = None, shown: Rectangles | None = None,
             foresee: bool = True) -> None:
        """Run one frame of every stream; arguments as `Hierarchy.step`'s, answers stay on the device."""
        pictures.check_images(self.config, self.batch, images)
        if motion is not None:
            pictures.check_motion(self.batch, motion)
        self.known = ~self.fresh
        self._half ^= 1
        sent = self._sent[self._half]
        frame = sent[:plan.FRAME.itemsize].view(plan.FRAME)[0]
        frame["half"], frame["fresh"][:self.batch] = self._half, self.fresh
        frame["motion"][:self.batch] = 0 if motion is None else motion
        sent[plan.FRAME.itemsize:] = images.reshape(-1)
        self.runner.write(self._received, sent)
        self._launch()
        self._copy_errors = self._change() * self.known  # while the device works
        if self.forecaster and foresee:
            self.forecaster.step(images, self.weights, motion, shown)
        self.runner.read(self._found, self._answer)
        self.fresh = np.zeros(self.batch, bool)

    def answers(self) -> np.ndarray:
        """Return the readout's raw answers to the last frame, (B, R, C, targets, 5)."""
        return self.runner.read(self._out)

    def candidates(self, least: float, most: int = plan.MAX_BOXES) -> list[list[np.ndarray]]:
        """Return the last frame's candidate boxes, as `Hierarchy.candidates`; at most `plan.MAX_BOXES`."""
        found = self._answer[:-self.batch].reshape(self.batch, -1, plan.MAX_BOXES, plan.BOX_VALUES)
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
        return self._of_past(self.runner.read(self._codes[name])[self._half, :, :-1])

    def prediction(self, layer: int = 0) -> np.ndarray:
        """Return what a layer expects of its signal at the next frame, (B, U, S)."""
        return self._of_past(self.runner.read(self._predictions[layer]))

    def error(self, layer: int = 0) -> np.ndarray:
        """Return the error of a layer's prediction of the last frame, (B, U, S)."""
        return self._of_past(self.runner.read(self._errors[layer]))

    def forecast_errors(self) -> tuple[float, float]:
        """Return the mean squared errors at the last frame, as `Hierarchy.forecast_errors`."""
        return self.forecaster.mean_errors() if self.forecaster else self.layer_errors()

    def layer_errors(self) -> tuple[float, float]:
        """Return the mean squared errors at the last frame, as `Hierarchy.layer_errors`."""
        wrong = self._of_past(self._answer[-self.batch:].copy())
        return float(wrong.mean()), float(self._of_past(self._copy_errors.copy()).mean())

    def _change(self) -> np.ndarray:
        """Return the mean squared difference of the last two frames, (B,), in squared input units."""
        c = self.config
        now, before = (self._sent[k][plan.FRAME.itemsize:].reshape(self.batch, -1)
                       for k in (self._half, self._half ^ 1))
        change = np.array([self.runner.squared_difference(a, b) for a, b in zip(now, before, strict=True)])
        return change * (((c.high - c.low) / 255)**2 / now.shape[1])

    def surprise(self) -> np.ndarray:
        """Return each unit's surprise at the last frame, as `Hierarchy.surprise`."""
        if self.forecaster:
            return self.forecaster.surprise()
        layer = self.config.layers[0]
        wrong = self._of_past(self.runner.read(self._wrong))
        span = np.float32(self.config.high - self.config.low)
        return np.sqrt(wrong).reshape(self.batch, layer.rows, layer.cols) / span

    def moves(self) -> np.ndarray | None:
        """Return where each unit expects its part of the next frame from, as `Hierarchy.moves`."""
        return self.forecaster.moves() if self.forecaster else None

    def predicted_images(self) -> np.ndarray:
        """Return the frames that are expected next, (B, H, W, 3) uint8, BGR."""
        if self.forecaster:
            return self.forecaster.images()
        block = self._network.encoders[0].block
        return pictures.as_images(self.config, block, self.prediction(), np)

    def _of_past(self, values: np.ndarray) -> np.ndarray:
        """Return values (B, ...) without those of streams that were told to forget since."""
        values[self.fresh] = 0
        return values

    def _put(self, array: np.ndarray) -> Array:
        self._kept.append(self.runner.put(np.ascontiguousarray(array)))
        return self._kept[-1]

    def _zeros(self, *shape: int) -> Array:
        self._state.append(self._put(np.zeros(shape, np.float32)))
        return self._state[-1]

    def _address(self, key: Any, values: np.ndarray) -> int:
        """Return the device's address of what no frame changes; it lies there once for all twins."""
        if key not in self._shared:
            self._shared[key] = self.runner.put(np.ascontiguousarray(values))
        return self.runner.address(self._shared[key])

    def _weight(self, name: str) -> int:
        """Return the device's address of a weight."""
        if self.runner.shares:
            return self.runner.address(self.weights[name])
        return self._address(name, self.weights[name])

    def _index(self, index: np.ndarray, units: int) -> int:
        """Return the device's address of a table of a source's units; equal tables lie there once."""
        wiring.check_index(index, units)
        values = index.astype(np.int32)
        return self._address((values.tobytes(), values.shape), values)

    def _input_part(self, name: str, index: Array, first: int = 0, gain: float = 1.0,
                    past: bool = False) -> Array:
        """Return the table of one part of what units read from the source called `name`."""
        width, rows = self.config.code_width(name), _count(self.config.grid(name)) + 1
        single = {INPUT: self._blocks, MOTION: self._motion}  # kept for this frame alone
        half = 0 if name in single else self.batch * rows * width
        part = np.zeros((), plan.INPUT_PART)
        part[()] = (self.runner.address(single[name] if name in single else self._codes[name]),
                    self._index(index, rows - 1), index.shape[1], width, rows, half,
                    past and name not in single, first, gain)
        return part

    def _add(self, kernel: str, table: np.ndarray, blocks: int, threads: int, shared: int) -> None:
        """Append a launch: blocks of one stream, threads and bytes of shared memory of a block."""
        launch = Launch(kernel, (blocks, self.batch), threads, shared)
        # every table lies at its own place, so an address is all that a launch needs
        self.calls.append((launch, (self.runner.address(self._received),
                                     self.runner.address(self._put(table.view(np.uint8))))))

    def _add_input(self) -> None:
        c = self.config
        rows, cols = c.grid(INPUT)
        table = np.zeros(1, plan.INPUT_TABLE)
        table[0] = (self.runner.address(self._blocks), self.runner.address(self._motion), rows, cols,
                    c.block, (c.high - c.low) / 255, c.low, hierarchy.MOTION_UNIT,
                    hierarchy.MOTION_LIMIT)
        values = c.height * c.width * 3
        self._add("input_blocks", table, -(-values // INPUT_THREADS), INPUT_THREADS, 0)

    def _add_layer(self, network: hierarchy.Hierarchy, encoder: Encoder, i: int) -> None:
        name, n = encoder.layer.name, encoder.layer.code
        table = np.zeros(1, plan.LAYER)
        row = table[0]
        parts = [self._input_part(encoder.below, encoder.window, encoder.views[0].rows.start, encoder.gain)]
        parts += [self._input_part(link.source, wiring.neighbour_index(
                    self.config.grid(link.source), encoder.grid, link.radius, link.shape),
                    part.rows.start, link.gain, past=True) for link, part in encoder.context]
        for k, part in enumerate(parts):
            row["parts"][k] = part
        row["signal"] = self._input_part(encoder.below, encoder.block)
        for key in ("w1", "b1", "w2", "b2"):
            row[key] = self._weight(f"{name}.{key}")
        for key, array in (("codes", self._codes[name]), ("prediction", self._predictions[i]),
                           ("error", self._errors[i])):
            row[key] = self.runner.address(array)
        if i == 0:
            row["surprise"] = self.runner.address(self._wrong)
        row["part_count"], row["inputs"], row["code"] = len(parts), encoder.inputs, n
        row["size"], row["units"] = encoder.signal_size, encoder.units
        row["half"] = self.batch * (encoder.units + 1) * n
        row["error_first"] = encoder.views[-1].rows.start if encoder.uses_error else -1
        row["error_gain"], row["slope"], row["norm_floor"] = encoder.gain, algebra.LEAK, algebra.NORM_FLOOR
        kernel, _, blocks, threads, shared = plan.tiled(
            "layer", (encoder.units,), self.batch, max(encoder.inputs, n + plan.SQUARES), n,
            self.runner.multiprocessors)
        self._add(kernel, table, blocks, threads, shared)

    def _add_readout(self, network: hierarchy.Hierarchy) -> None:
        readout, layers = self.readout, self.config.layers
        h, m, a, cells = (readout.hidden, readout.mixing, readout.answers * readout.targets,
                          readout.rows * readout.cols)
        self._memory = memory = self._zeros(self.batch, cells + 1, a)
        table = np.zeros(1, plan.READOUT)
        row = table[0]
        products = [(self._input_part(layer.name, index), index.shape, f"readout.project{i + 1}",
                     self._corners(grid, (readout.rows, readout.cols)))
                    for i, (layer, index, grid) in enumerate(zip(layers, readout.neighbours,
                                                                 readout.grids, strict=True))]
        # the readout's memory lies in one place: one launch reads it, the next writes it
        recall = np.zeros((), plan.INPUT_PART)
        recall[()] = (self.runner.address(memory), self._index(readout.near, cells), readout.near.shape[1], a,
                      cells + 1, 0, 1, 0, 1.0)
        products.append((recall, readout.near.shape, "readout.recall",
                         self._corners((readout.rows, readout.cols), (readout.rows, readout.cols))))
        units = tuple(shape[0] for _, shape, _, _ in products)
        depths = [self.weights[name].shape[0] for _, _, name, _ in products]
        kernel, tile, blocks, threads, shared = plan.tiled(
            "project", units, self.batch, max(depths), h, self.runner.multiprocessors)
        first = 0
        for k, (part, shape, name, (corner, share)) in enumerate(products):
            row["projections"][k] = (part, self._weight(name),
                               self.runner.address(self._zeros(self.batch, shape[0], h)),
                               self._index(corner, shape[0] - 1), self._address(share.tobytes(), share),
                               shape[0], depths[k], corner.shape[1], first)
            first += -(-shape[0] // tile)
        for key in ("b1", "mix", "b_mix", "w2", "b2"):
            row[key] = self._weight(f"readout.{key}")
        row["memory"], row["out"] = self.runner.address(memory), self.runner.address(self._out)
        row["projection_count"], row["hidden"], row["mixing"] = len(products), h, m
        row["answers"], row["cells"], row["values_per_target"] = a, cells, readout.answers
        row["logit_limit"], row["size_limit"] = LOGIT_LIMIT, SIZE_LIMIT
        self._add(kernel, table, blocks, threads, shared)
        kernel, _, blocks, threads, shared = plan.tiled(
            "answer", (cells,), self.batch, h + m + a, max(h, m, a), self.runner.multiprocessors)
        self._add(kernel, table, blocks, threads, shared)

    def _add_decode(self, network: hierarchy.Hierarchy) -> None:
        readout, units = self.readout, network.encoders[0].units
        pairs = readout.rows * readout.cols * readout.targets
        shared = 4 * (2 * pairs + DECODE_THREADS)
        if shared > plan.SHARED_LIMIT:
            raise PvmError(f"the kernels cannot hold {pairs} answers in a block; arrays do, slower")
        found, out, wrong = map(self.runner.address, (self._found, self._out, self._wrong))
        boxes = self.batch * readout.targets * plan.MAX_BOXES * plan.BOX_VALUES
        table = np.zeros(1, plan.DECODE)
        table[0] = (out, wrong, found, found + 4 * boxes, readout.rows, readout.cols, readout.targets,
                    readout.answers, units, *readout.stride, UNIT_BOX, SIZE_LIMIT)
        self._add("decode", table, 1, DECODE_THREADS, shared)

    @staticmethod
    def _corners(grid: tuple[int, int], cells: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Return which units of a grid count for each cell, and by how much: linear interpolation.

        Both (cells, corners): int64 units, float32 shares.
        """
        if grid == cells:
            return np.arange(_count(cells))[:, None], np.ones((_count(cells), 1), np.float32)
        ends = [wiring.interpolation(s, t) for s, t in zip(grid, cells, strict=True)]
        (row, down), (col, right) = ends  # each (cells along an axis, 2)
        corner = row[:, None, :, None] * grid[1] + col[None, :, None, :]
        share = down[:, None, :, None] * right[None, :, None, :]
        corner, share = corner.reshape(-1, 4), share.reshape(-1, 4)  # (cells, 4)
        most = np.count_nonzero(share, axis=1).max()
        order = np.argsort(-share, axis=1, kind="stable")[:, :most]
        return np.take_along_axis(corner, order, axis=1), np.take_along_axis(share, order, axis=1)


def _count(grid: tuple[int, int]) -> int:
    return grid[0] * grid[1]
