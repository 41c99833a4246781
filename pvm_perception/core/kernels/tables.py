"""What the kernels are given: a network's buffers, tables and launches on one device.

Shapes: B streams, U units of a layer, N values of a code, S values of a signal.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pvm_perception.core import activations, pictures, wiring
from pvm_perception.core.backend import Array
from pvm_perception.core.cells import LOGIT_LIMIT, SIZE_LIMIT, UNIT_BOX
from pvm_perception.core.config import INPUT, MOTION, MOTION_VALUES
from pvm_perception.core.encoder import Encoder
from pvm_perception.core.hierarchy import Hierarchy
from pvm_perception.core.kernels import plan
from pvm_perception.core.kernels.operands import MEMORY, Operands
from pvm_perception.core.kernels.plan import Launch
from pvm_perception.core.kernels.runner import Runner
from pvm_perception.core.readout import BoxReadout
from pvm_perception.errors import PvmError

INPUT_THREADS = DECODE_THREADS = 256


class Tables:
    """The state of a network's streams in a device's memory, and the launches that run a frame.

    Parameters
    ----------
    network
        On the host; its state is not used.
    readout
        The network's.
    runner
        The device.
    frame
        Host memory as every frame is sent: `plan.FRAME`, then the pixels.
    shared
        Device arrays that no frame changes, by content, of another such object; new ones are added.

    Attributes
    ----------
    calls : a frame's launches in order, each with the addresses of the frame and of its table
    kept : all device arrays of this object, since the tables hold addresses alone
    state : those that frames write
    received : the frame, as sent
    blocks, motion : the input's blocks (B, U + 1, 3 * block**2); the robot's motion (B, 2, 4)
    codes : by layer, (2, B, U + 1, N), of this frame and of the one before
    predictions, errors : of each layer, (B, U, S)
    memory : the readout's memory, (B, cells + 1, answers)
    out : the readout's raw answers, (B, R, C, targets, answers of a target)
    wrong : layer 1's mean squared errors, (B, U)
    found : all that a frame brings back, in one copy: candidate boxes, each stream's mean of `wrong`
    """

    def __init__(
        self,
        network: Hierarchy,
        readout: BoxReadout,
        runner: Runner,
        frame: np.ndarray,
        shared: dict[Any, Array],
    ) -> None:
        c, batch = network.config, network.batch
        self.config, self.batch, self.readout, self.runner = c, batch, readout, runner
        self._weights, self.shared = network.weights, shared
        self.calls: list[tuple[Launch, tuple[int, int]]] = []
        self.kept: list[Array] = []
        self.state: list[Array] = []
        self.received = runner.put(frame)
        self.blocks = self._zeros(batch, _count(c.grid(INPUT)) + 1, c.code_width(INPUT))
        self.motion = self._zeros(batch, 2, MOTION_VALUES)
        self.memory = self._zeros(batch, readout.rows * readout.cols + 1, readout.targets * readout.answers)
        self.codes = {
            layer.name: self._zeros(2, batch, layer.rows * layer.cols + 1, layer.code) for layer in c.layers
        }
        sources = {INPUT: self.blocks, MOTION: self.motion, MEMORY: self.memory} | self.codes
        self._operands = Operands(network, runner, sources, self._zeros, shared)
        self.predictions = [self._zeros(batch, e.units, e.signal_size) for e in network.encoders]
        self.errors = [self._zeros(batch, e.units, e.signal_size) for e in network.encoders]
        self.out = self._zeros(batch, readout.rows, readout.cols, readout.targets, readout.answers)
        self.wrong = self._zeros(batch, network.encoders[0].units)  # layer 1's mean squared errors
        # all that a frame brings back, in one copy: candidate boxes, each stream's mean of `_wrong`
        self.found = self._zeros(batch * (readout.targets * plan.MAX_BOXES * plan.BOX_VALUES + 1))
        self._add_input()
        for i, encoder in enumerate(network.encoders):
            self._add_layer(encoder, i)
        self._add_readout()
        self._add_decode(network.encoders[0].units)

    def _put(self, array: np.ndarray) -> Array:
        self.kept.append(self.runner.put(np.ascontiguousarray(array)))
        return self.kept[-1]

    def _zeros(self, *shape: int, dtype: type = np.float32) -> Array:
        self.state.append(self._put(np.zeros(shape, dtype)))
        return self.state[-1]

    def _address(self, key: Any, values: np.ndarray) -> int:
        """Return the device's address of what no frame changes; it lies there once for all twins."""
        if key not in self.shared:
            self.shared[key] = self.runner.put(np.ascontiguousarray(values))
        return self.runner.address(self.shared[key])

    def weight_address(self, name: str) -> int:
        """Return the device's address of a weight."""
        if self.runner.shares:
            return self.runner.address(self._weights[name])
        return self._address(name, self._weights[name])

    def _index(self, index: np.ndarray, units: int) -> int:
        """Return the device's address of a table of a source's units; equal tables lie there once."""
        wiring.check_index(index, units)
        values = index.astype(np.int32)
        return self._address((values.tobytes(), values.shape), values)

    def _input_part(
        self,
        name: str,
        index: Array,
        weights: str = "",
        first: int = 0,
        gain: float = 1.0,
        past: bool = False,
    ) -> Array:
        """Return the table of one part of what units read from the source called `name`, and its weights."""
        width, rows = self.config.code_width(name), _count(self.config.grid(name)) + 1
        single = {INPUT: self.blocks, MOTION: self.motion}  # kept for this frame alone
        half = 0 if name in single else self.batch * rows * width
        part = np.zeros((), plan.INPUT_PART)
        part[()] = (
            self.runner.address(single[name] if name in single else self.codes[name]),
            self._index(index, rows - 1),
            index.shape[1],
            width,
            rows,
            half,
            past and name not in single,
            first,
            gain,
            self._operands.words[name],
            self._operands.packed(weights, name, gain, first, index.shape[1]),
        )
        return part

    def _add(self, kernel: str, table: np.ndarray, blocks: int, threads: int, shared: int) -> None:
        """Append a launch: blocks of one stream, threads and bytes of shared memory of a block."""
        launch = Launch(kernel, (blocks, self.batch), threads, shared)
        # every table lies at its own place, so an address is all that a launch needs
        self.calls.append(
            (
                launch,
                (self.runner.address(self.received), self.runner.address(self._put(table.view(np.uint8)))),
            )
        )

    def _add_input(self) -> None:
        c = self.config
        rows, cols = c.grid(INPUT)
        table = np.zeros(1, plan.INPUT_TABLE)
        table[0] = (
            self.runner.address(self.blocks),
            self.runner.address(self.motion),
            rows,
            cols,
            c.block,
            (c.high - c.low) / 255,
            c.low,
            pictures.MOTION_UNIT,
            pictures.MOTION_LIMIT,
            self._operands.words[INPUT],
            self._operands.words[MOTION],
        )
        values = c.height * c.width * 3
        self._add("input_blocks", table, -(-values // INPUT_THREADS), INPUT_THREADS, 0)

    def _add_layer(self, encoder: Encoder, i: int) -> None:
        name, n, inputs = encoder.layer.name, encoder.layer.code, encoder.inputs
        table = np.zeros(1, plan.LAYER)
        row = table[0]
        w1, below = f"{name}.w1", inputs.below
        parts = [self._input_part(below, inputs.window, w1, inputs.views[0].rows.start, inputs.gain)]
        parts += [
            self._input_part(
                link.source,
                wiring.neighbour_index(self.config.grid(link.source), inputs.grid, link.radius, link.shape),
                w1,
                part.rows.start,
                link.gain,
                past=True,
            )
            for link, part in inputs.context
        ]
        for k, part in enumerate(parts):
            row["parts"][k] = part
        row["signal"] = self._input_part(encoder.below, encoder.block)
        for key in ("w1", "b1", "w2", "b2"):
            row[key] = self.weight_address(f"{name}.{key}")
        for key, array in (
            ("codes", self.codes[name]),
            ("prediction", self.predictions[i]),
            ("error", self.errors[i]),
        ):
            row[key] = self.runner.address(array)
        if i == 0:
            row["surprise"] = self.runner.address(self.wrong)
        row["part_count"], row["inputs"], row["code"] = len(parts), inputs.depth, n
        row["size"], row["units"] = encoder.signal_size, encoder.units
        row["half"] = self.batch * (encoder.units + 1) * n
        row["error_first"] = error = inputs.views[-1].rows.start if inputs.uses_error else -1
        row["code_words"] = self._operands.words[name]
        if error >= 0:
            row["packed_error"] = self._operands.packed_scaled(w1, encoder.signal_size, inputs.gain, error)
        row["packed_w2"] = self._operands.packed(f"{name}.w2", name)
        row["error_gain"], row["slope"], row["norm_floor"] = (
            inputs.gain,
            activations.LEAK,
            activations.NORM_FLOOR,
        )
        kernel, _, blocks, threads, shared = plan.tiled(
            "layer",
            (encoder.units,),
            self.batch,
            max(inputs.depth, n + plan.SQUARES),
            n,
            self.runner.multiprocessors,
        )
        self._add(kernel, table, blocks, threads, shared)

    def _add_readout(self) -> None:
        readout, layers = self.readout, self.config.layers
        h, m, a, cells = (
            readout.hidden,
            readout.mixing,
            readout.answers * readout.targets,
            readout.rows * readout.cols,
        )
        table = np.zeros(1, plan.READOUT)
        row = table[0]
        products = [
            (
                self._input_part(layer.name, index, f"readout.project{i + 1}"),
                index.shape,
                f"readout.project{i + 1}",
                wiring.corners(grid, (readout.rows, readout.cols)),
            )
            for i, (layer, index, grid) in enumerate(
                zip(layers, readout.neighbours, readout.grids, strict=True)
            )
        ]
        # the readout's memory lies in one place: one launch reads it, the next writes it
        recall = np.zeros((), plan.INPUT_PART)
        recall[()] = (
            self.runner.address(self.memory),
            self._index(readout.near, cells),
            readout.near.shape[1],
            a,
            cells + 1,
            0,
            1,
            0,
            1.0,
            self._operands.words[MEMORY],
            self._operands.packed("readout.recall", MEMORY, fan_in=readout.near.shape[1]),
        )
        products.append(
            (
                recall,
                readout.near.shape,
                "readout.recall",
                wiring.corners((readout.rows, readout.cols), (readout.rows, readout.cols)),
            )
        )
        units = tuple(shape[0] for _, shape, _, _ in products)
        depths = [self._weights[name].shape[0] for _, _, name, _ in products]
        kernel, tile, blocks, threads, shared = plan.tiled(
            "project", units, self.batch, max(depths), h, self.runner.multiprocessors
        )
        first = 0
        for k, (part, shape, name, (corner, share)) in enumerate(products):
            row["projections"][k] = (
                part,
                self.weight_address(name),
                self.runner.address(self._zeros(self.batch, shape[0], h)),
                self._index(corner, shape[0] - 1),
                self._address(share.tobytes(), share),
                shape[0],
                depths[k],
                corner.shape[1],
                first,
            )
            first += -(-shape[0] // tile)
        for key in ("b1", "mix", "b_mix", "w2", "b2"):
            row[key] = self.weight_address(f"readout.{key}")
        row["memory"], row["out"] = self.runner.address(self.memory), self.runner.address(self.out)
        row["projection_count"], row["hidden"], row["mixing"] = len(products), h, m
        row["answers"], row["cells"], row["values_per_target"] = a, cells, readout.answers
        row["logit_limit"], row["size_limit"] = LOGIT_LIMIT, SIZE_LIMIT
        row["memory_words"] = self._operands.words[MEMORY]
        row["packed_mix"] = self._operands.packed_scaled("readout.mix", h)
        row["packed_w2"] = self._operands.packed_scaled("readout.w2", m)
        self._add(kernel, table, blocks, threads, shared)
        kernel, _, blocks, threads, shared = plan.tiled(
            "answer", (cells,), self.batch, h + m + a, max(h, m, a), self.runner.multiprocessors
        )
        self._add(kernel, table, blocks, threads, shared)

    def _add_decode(self, units: int) -> None:
        readout = self.readout
        pairs = readout.rows * readout.cols * readout.targets
        shared = 4 * (2 * pairs + DECODE_THREADS)
        if shared > plan.SHARED_LIMIT:
            raise PvmError(f"the kernels cannot hold {pairs} answers in a block; arrays do, slower")
        found, out, wrong = map(self.runner.address, (self.found, self.out, self.wrong))
        boxes = self.batch * readout.targets * plan.MAX_BOXES * plan.BOX_VALUES
        table = np.zeros(1, plan.DECODE)
        table[0] = (
            out,
            wrong,
            found,
            found + 4 * boxes,
            readout.rows,
            readout.cols,
            readout.targets,
            readout.answers,
            units,
            *readout.stride,
            UNIT_BOX,
            SIZE_LIMIT,
        )
        self._add("decode", table, 1, DECODE_THREADS, shared)


def _count(grid: tuple[int, int]) -> int:
    return grid[0] * grid[1]
