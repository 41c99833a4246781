"""Inference of one hierarchy with the kernels of `kernels.cu`: tables once, few launches a frame.

Everything that a frame needs has its place in device memory beforehand and every launch has the same
arguments at every frame, so the launches can be captured as one CUDA graph: which half of the
codes is this frame's, and which streams begin, travels with the pixels.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Any, Protocol

import numpy as np

from pvm_perception.core import algebra, hierarchy, wiring
from pvm_perception.core.backend import to_numpy
from pvm_perception.core.config import INPUT, MOTION, MOTION_VALUES
from pvm_perception.core.encoder import QUIET, Encoder
from pvm_perception.core.gpu import plan
from pvm_perception.core.gpu.plan import Launch

Array = Any
INPUT_THREADS = 256


def source_code() -> str:
    """Return the text of `kernels.cu`."""
    return files(__package__).joinpath("kernels.cu").read_text(encoding="utf-8")


class Runner(Protocol):
    """What the engine asks of a device."""

    multiprocessors: int

    def put(self, array: np.ndarray) -> Array:
        """Return a copy of a host array in the device's memory."""

    def address(self, array: Array) -> int:
        """Return where a device array lies."""

    def write(self, array: Array, values: np.ndarray) -> None:
        """Copy host values over a device array."""

    def read(self, array: Array) -> np.ndarray:
        """Return a copy of a device array on the host, when all launches are done."""

    def run(self, launches: list[tuple[Launch, tuple[int, int]]]) -> None:
        """Run kernels in order, each with its two addresses; the same list at every frame."""


class Engine:
    """Runs frames of a hierarchy's streams; computes what `Hierarchy.step` does, without learning.

    Parameters
    ----------
    network
        Its configuration and weights are copied; its state is not used.
    runner
        The device.

    Raises
    ------
    PvmError
        If the kernels do not compute this kind of network.
    """

    def __init__(self, network: hierarchy.Hierarchy, runner: Runner) -> None:
        plan.check_supported(network.config, network.batch)
        self.config, self.batch, self.runner = network.config, network.batch, runner
        self.launches: list[Launch] = []
        self._calls: list[tuple[Launch, tuple[int, int]]] = []
        self._kept: list[Array] = []  # the tables hold addresses alone
        self._indices: dict[tuple[bytes, tuple[int, ...]], int] = {}
        c, batch = network.config, network.batch
        pixels = batch * c.height * c.width * 3
        self._upload = np.zeros(plan.FRAME.itemsize + pixels, np.uint8)
        self._frame = self._upload[:plan.FRAME.itemsize].view(plan.FRAME)[0]
        self._frame["fresh"] = 1
        self._uploaded = runner.put(self._upload)
        self._blocks = self._zeros(batch, _count(c.grid(INPUT)) + 1, c.code_width(INPUT))
        self._motion = self._zeros(batch, 2, MOTION_VALUES)
        self._codes = {layer.name: self._zeros(2, batch, layer.rows * layer.cols + 1, layer.code)
                       for layer in c.layers}
        self._predictions = [self._zeros(batch, e.units, e.signal_size) for e in network.encoders]
        self._errors = [self._zeros(batch, e.units, e.signal_size) for e in network.encoders]
        self._add_input()
        for i, encoder in enumerate(network.encoders):
            self._add_layer(network, encoder, i)
        self._answers = network.readout.answers
        self._add_readout(network)

    def step(self, images: np.ndarray, motion: np.ndarray | None = None) -> np.ndarray:
        """Run one frame of every stream; arguments and answers as `Hierarchy.step`'s, on the host."""
        hierarchy.check_images(self.config, self.batch, images)
        if motion is not None:
            hierarchy.check_motion(self.batch, motion)
        frame = self._frame
        frame["half"] ^= 1
        frame["motion"][:self.batch] = 0 if motion is None else motion
        self._upload[plan.FRAME.itemsize:] = images.reshape(-1)
        self.runner.write(self._uploaded, self._upload)
        self.runner.run(self._calls)
        frame["fresh"] = 0
        cells = self.config.cells
        return self.runner.read(self._out).reshape(self.batch, cells.rows, cells.cols, -1,
                                                   self._answers)

    def reset(self, streams: np.ndarray | None = None) -> None:
        """Forget the past of the streams marked in `streams` (B,) bool, or of all, at the next step."""
        self._frame["fresh"][:self.batch] |= np.ones(self.batch, bool) if streams is None else streams

    def codes(self, name: str) -> np.ndarray:
        """Return the last frame's codes of a layer, (B, U, N)."""
        return self.runner.read(self._codes[name])[self._frame["half"], :, :-1]

    def prediction(self, layer: int = 0) -> np.ndarray:
        """Return what a layer expects of its signal at the next frame, (B, U, S)."""
        return self.runner.read(self._predictions[layer])

    def error(self, layer: int = 0) -> np.ndarray:
        """Return the error of a layer's prediction of the last frame, (B, U, S)."""
        return self.runner.read(self._errors[layer])

    def _put(self, array: np.ndarray) -> Array:
        self._kept.append(self.runner.put(np.ascontiguousarray(array)))
        return self._kept[-1]

    def _zeros(self, *shape: int) -> Array:
        return self._put(np.zeros(shape, np.float32))

    def _address(self, array: np.ndarray) -> int:
        """Return the device's address of a copy of a host array."""
        return self.runner.address(self._put(array))

    def _index(self, index: Array) -> int:
        """Return the device's address of a table of source units; equal tables lie there once."""
        values = to_numpy(index).astype(np.int32)
        key = (values.tobytes(), values.shape)
        if key not in self._indices:
            self._indices[key] = self._address(values)
        return self._indices[key]

    def _ear(self, name: str, index: Array, first: int = 0, gain: float = 1.0,
             past: bool = False) -> np.void:
        """Return the table of one part of what units hear from the source called `name`."""
        width, rows = self.config.code_width(name), _count(self.config.grid(name)) + 1
        single = {INPUT: self._blocks, MOTION: self._motion}
        half = 0 if name in single else self.batch * rows * width
        ear = np.zeros((), plan.EAR)
        ear[()] = (self.runner.address(single.get(name, self._codes.get(name))),
                   self._index(index), index.shape[1], width, rows, half,
                   past and name not in single, first, gain)
        return ear

    def _add(self, kernel: str, table: np.ndarray, blocks: int, threads: int, shared: int,
             block_reads: int, reads: int, writes: int, multiply_adds: int) -> None:
        """Append a launch; counts of one stream, in values of 4 bytes but for `shared`, bytes."""
        launch = Launch(kernel, (blocks, self.batch), threads, shared, 4 * block_reads, 4 * reads,
                        4 * writes * self.batch, 2 * multiply_adds * self.batch)
        self.launches.append(launch)
        # every table lies at its own place, so an address is all that a launch needs
        self._calls.append((launch, (self.runner.address(self._uploaded),
                                     self._address(table.view(np.uint8)))))

    def _add_input(self) -> None:
        c = self.config
        rows, cols = c.grid(INPUT)
        table = np.zeros(1, plan.INPUT_TABLE)
        table[0] = (self.runner.address(self._blocks), self.runner.address(self._motion), rows, cols,
                    c.block, (c.high - c.low) / 255, c.low, hierarchy.MOTION_UNIT,
                    hierarchy.MOTION_LIMIT)
        values = c.height * c.width * 3
        self._add("input_blocks", table, -(-values // INPUT_THREADS), INPUT_THREADS, 0,
                  INPUT_THREADS // 4, values // 4 * self.batch, values, values)

    def _add_layer(self, network: hierarchy.Hierarchy, encoder: Encoder, i: int) -> None:
        name, n = encoder.layer.name, encoder.layer.code
        table = np.zeros(1, plan.LAYER)
        row = table[0]
        ears = [self._ear(encoder.below, encoder.window, encoder.views[0].rows.start, encoder.gain)]
        ears += [self._ear(link.source, ear.index, ear.rows.start, link.gain, past=True)
                 for link, ear in encoder.context]
        for k, ear in enumerate(ears):
            row["ears"][k] = ear
        row["signal"] = self._ear(encoder.below, encoder.block)
        for key in ("w1", "b1", "w2", "b2"):
            row[key] = self._address(to_numpy(network.weights[f"{name}.{key}"]))
        for key, array in (("codes", self._codes[name]), ("prediction", self._predictions[i]),
                           ("error", self._errors[i])):
            row[key] = self.runner.address(array)
        row["heard"], row["inputs"], row["code"] = len(ears), encoder.inputs, n
        row["size"], row["units"] = encoder.signal_size, encoder.units
        row["half"] = self.batch * (encoder.units + 1) * n
        row["error_first"] = encoder.views[-1].rows.start if encoder.hears_error else -1
        row["error_gain"], row["slope"], row["quiet"] = encoder.gain, algebra.LEAK, QUIET
        kernel, tile, blocks, threads, shared = plan.tiled(
            "layer", (encoder.units,), self.batch, max(encoder.inputs, n + plan.SQUARES), n,
            self.runner.multiprocessors)
        weights = n * (encoder.inputs + encoder.signal_size + 1) + encoder.signal_size
        heard = encoder.inputs + 2 * encoder.signal_size  # the signal and the prediction of it
        state = sum(_count(self.config.grid(s)) * self.config.code_width(s) for s in
                    {encoder.below, *(link.source for link, _ in encoder.context)})
        self._add(kernel, table, blocks, threads, shared, weights + tile * heard,
                  weights + self.batch * (state + encoder.units * encoder.signal_size),
                  encoder.units * (n + 2 * encoder.signal_size),
                  encoder.units * n * (encoder.inputs + encoder.signal_size))

    def _add_readout(self, network: hierarchy.Hierarchy) -> None:
        readout, layers = network.readout, self.config.layers
        h, m, a, cells = (readout.hidden, readout.mixing, readout.answers * readout.targets,
                          readout.rows * readout.cols)
        weights = {k.split(".", 1)[1]: to_numpy(w) for k, w in network.weights.items()
                   if k.startswith("readout.")}
        said = self._zeros(self.batch, cells + 1, a)
        self._out = self._zeros(self.batch, cells, a)
        table = np.zeros(1, plan.READOUT)
        row = table[0]
        products = [(self._ear(layer.name, index), index.shape, weights[f"project{i + 1}"],
                     self._corners(grid, (readout.rows, readout.cols)))
                    for i, (layer, index, grid) in enumerate(zip(layers, readout.neighbours,
                                                                 readout.grids, strict=True))]
        # what was said is kept in one place: it is read in one launch and written in the next
        memory = np.zeros((), plan.EAR)
        memory[()] = (self.runner.address(said), self._index(readout.near), readout.near.shape[1], a,
                      cells + 1, 0, 1, 0, 1.0)
        products.append((memory, readout.near.shape, weights["recall"],
                         self._corners((readout.rows, readout.cols), (readout.rows, readout.cols))))
        units = tuple(shape[0] for _, shape, _, _ in products)
        most = max(w.shape[0] for _, _, w, _ in products)
        kernel, tile, blocks, threads, shared = plan.tiled(
            "project", units, self.batch, most, h, self.runner.multiprocessors)
        first = 0
        for k, (ear, shape, w, (corner, share)) in enumerate(products):
            row["parts"][k] = (ear, self._address(w),
                               self.runner.address(self._zeros(self.batch, shape[0], h)),
                               self._index(corner), self._address(share), shape[0], w.shape[0],
                               corner.shape[1], first)
            first += -(-shape[0] // tile)
        for key in ("b1", "mix", "b_mix", "w2", "b2"):
            row[key] = self._address(weights[key])
        row["said"], row["out"] = self.runner.address(said), self.runner.address(self._out)
        row["heard"], row["hidden"], row["mixing"] = len(products), h, m
        row["answers"], row["cells"], row["each"] = a, cells, readout.answers
        heard = sum(layer.rows * layer.cols * layer.code for layer in layers) + cells * a
        self._add(kernel, table, blocks, threads, shared, most * (h + tile),
                  sum(w.size for _, _, w, _ in products) + self.batch * heard, sum(units) * h,
                  sum(u * w.size for u, (_, _, w, _) in zip(units, products, strict=True)))
        kernel, tile, blocks, threads, shared = plan.tiled(
            "answer", (cells,), self.batch, h + m + a, max(h, m, a), self.runner.multiprocessors)
        last = h * (m + 1) + m * (a + 1) + a
        corners = sum(corner.shape[1] for _, _, _, (corner, _) in products)
        self._add(kernel, table, blocks, threads, shared, last + tile * corners * h,
                  last + self.batch * sum(units) * h, 2 * cells * a,
                  cells * (h * (corners + m) + m * a))

    @staticmethod
    def _corners(grid: tuple[int, int], cells: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Return which units of a grid count for each cell, and by how much: linear interpolation.

        Both (cells, corners): int64 units, float32 shares.
        """
        if grid == cells:
            return np.arange(_count(cells))[:, None], np.ones((_count(cells), 1), np.float32)
        down, right = (wiring.resize_matrix(s, t) for s, t in zip(grid, cells, strict=True))
        shares = np.kron(down, right)  # (cells, units)
        corner = np.argsort(-shares, axis=1, kind="stable")[:, :4]
        return corner, np.take_along_axis(shares, corner, axis=1)


def _count(grid: tuple[int, int]) -> int:
    return grid[0] * grid[1]
