"""The box readout: from all layers' codes to presence and box at each cell, with its learning.

Shapes: B streams, U units of a layer, N values of a code, R x C cells, T targets, H hidden values, G
values after the mixing layer, A = 5 T answers.
"""

from __future__ import annotations

from types import ModuleType

import numpy as np

from pvm_perception.core import algebra, wiring
from pvm_perception.core.algebra import Gradient
from pvm_perception.core.backend import Array, Floats
from pvm_perception.core.cells import LEAST_BUMP, LOGIT_LIMIT, SIZE_LIMIT, UNIT_BOX, Cells
from pvm_perception.core.config import HierarchyConfig
from pvm_perception.core.interfaces import ReadoutLosses
from pvm_perception.core.size import BOX_ANSWERS, readout_neighbourhood

BEND = 0.1  # error of a box answer from which its loss grows in proportion, no longer squared
RARE = -4.0  # presence logit of a new readout: targets are rare, and first frames shall raise no alarm
SIZE_SHARE = 1.5  # how much an error of a size answer counts, against that of an offset


class BoxReadout:
    """Presence and box at each cell of one layer's grid, from the codes of all layers around it.

    Each layer's codes of a small neighbourhood are projected, brought to the cells by linear
    interpolation, and summed; a rectifier (or two, with a mixing layer between) and a linear head
    follow. `cells` says what the head's answers mean. Presence is learnt with the penalty-reduced
    focal loss (Zhou et al. 2019, "Objects as Points"), the box with a smooth L1 loss around the centre.

    With a memory, each cell also reads what it and its neighbours answered at the frame before, so
    that evidence accumulates and a target is expected where it was.

    Parameters
    ----------
    config
        The network's configuration.
    batch
        B.
    xp
        Array module.

    Attributes
    ----------
    memory : (B, R * C + 1, A) what the cells answered last: presence, and the box times presence; the
        last row is zeros
    memory_before : (B, R * C + 1, A) the memory that the last `forward` read
    cells : what the answers mean, on the host
    """

    answers = BOX_ANSWERS  # of a cell about one target; presence comes first

    def __init__(self, config: HierarchyConfig, batch: int, xp: ModuleType) -> None:
        self.config, self.batch, self.xp = config, batch, xp
        self.rows, self.cols = config.cells.rows, config.cells.cols
        self.stride = config.stride
        self.targets = len(config.targets)
        self.hidden, self.mixing = config.readout.hidden, config.readout.mixing
        grid, width = (self.rows, self.cols), self.answers * self.targets
        self.cells = Cells(batch, grid, self.stride, self.targets)
        self.neighbours: list[Array] = []  # by layer: (U, K) units that are read at each place
        self.grids: list[tuple[int, int]] = []  # by layer: the grid of these places
        self.upsampling: list[tuple[Array, Array]] = []  # by layer: (R, r) and (C, c) from there to the cells
        for i, layer in enumerate(config.layers):
            places, block, radius = readout_neighbourhood(config, i)
            index = (
                wiring.block_index((layer.rows, layer.cols), places, block, radius)
                if block
                else wiring.neighbour_index(places, places, radius, config.readout.shape)
            )
            self.neighbours.append(xp.asarray(index))
            self.grids.append(places)
            self.upsampling.append(
                (
                    xp.asarray(wiring.resize_matrix(places[0], self.rows)),
                    xp.asarray(wiring.resize_matrix(places[1], self.cols)),
                )
            )
        self.near = xp.asarray(  # (R * C, K) cells whose answers of the frame before a cell reads
            wiring.neighbour_index(grid, grid, config.readout.memory, "square")
        )
        self.memory: Array = xp.zeros((batch, self.rows * self.cols + 1, width), np.float32)
        self.memory_before: Array = xp.zeros_like(self.memory)
        everywhere = batch * self.rows * self.cols
        self.active: Array = xp.zeros((everywhere, self.hidden), np.float32)
        self.mixed: Array = xp.zeros((everywhere, self.mixing), np.float32)
        self.wide_scratch, self.tall_scratch = (algebra.Scratch(self.active.size, xp) for _ in range(2))
        most = max(
            index.size * n
            for index, n in zip(
                [*self.neighbours, self.near], [*(k.code for k in config.layers), width], strict=True
            )
        )
        self.product_scratch = (algebra.Scratch(batch * most, xp), self.wide_scratch)
        self.codes: list[Array] = []  # by layer: (B, U + 1, N), of the last `forward`
        self.cell_size = xp.asarray(self.stride[::-1], np.float32)  # (2,) a cell's width and height, px

    def parameters(self, rng: np.random.Generator) -> dict[str, Floats]:
        """Draw new weights, by name."""

        def gauss(*shape: int, scale: float) -> Floats:
            return rng.standard_normal(shape, np.float32) * np.float32(scale)

        p: dict[str, Floats] = {}
        for i, layer in enumerate(self.config.layers):
            d = self.neighbours[i].shape[1] * layer.code
            p[f"project{i + 1}"] = gauss(d, self.hidden, scale=(d * len(self.config.layers) / 2) ** -0.5)
        if self.config.readout.memory:
            d = self.near.shape[1] * self.memory.shape[2]
            p["recall"] = gauss(d, self.hidden, scale=0.3 * d**-0.5)
        p["b1"] = np.zeros(self.hidden, np.float32)
        last = self.hidden
        if self.mixing:
            p["mix"] = gauss(last, self.mixing, scale=(last / 2) ** -0.5)
            p["b_mix"] = np.zeros(self.mixing, np.float32)
            last = self.mixing
        p["w2"] = gauss(last, self.answers * self.targets, scale=0.1 * last**-0.5)
        p["b2"] = np.tile(np.array([RARE, 0, 0, 0, 0], np.float32), self.targets)
        return p

    @property
    def products(self) -> list[tuple[int, int, int]]:
        """The matrix products for one frame of one stream, as (rows, D, N)."""
        shapes = [
            (len(index), index.shape[1] * layer.code, self.hidden)
            for index, layer in zip(self.neighbours, self.config.layers, strict=True)
        ]
        if self.config.readout.memory:
            shapes.append((len(self.near), self.near.shape[1] * self.memory.shape[2], self.hidden))
        cells = self.rows * self.cols
        if self.mixing:
            shapes.append((cells, self.hidden, self.mixing))
        return [*shapes, (cells, self.mixing or self.hidden, self.answers * self.targets)]

    def forward(self, p: dict[str, Array], codes: list[Array]) -> Array:
        """Return the cells' answers, (B, R, C, T, 5): presence's logit and the box; see `Readout.forward`."""
        xp, batch = self.xp, self.batch
        z = self.active.reshape(batch, self.rows, self.cols, self.hidden)  # (B, R, C, H)
        self.codes = codes
        z[...] = p["b1"]
        flat = self.active.reshape(batch, -1, self.hidden)  # (B, R * C, H), the same memory
        for i, index in enumerate(self.neighbours):
            w = p[f"project{i + 1}"]  # (K * N, H)
            operand = [(codes[i], index, algebra.ALL)]
            if self.grids[i] == (self.rows, self.cols):
                algebra.gather_matmul(flat, operand, w, self.product_scratch, xp, adds=True)
                continue
            y = self.wide_scratch(batch, len(index), self.hidden)
            algebra.gather_matmul(y, operand, w, self.product_scratch, xp)
            z += self._upsample(y.reshape(batch, *self.grids[i], self.hidden), i)
        if self.config.readout.memory:
            self.memory_before[...] = self.memory
            algebra.gather_matmul(
                flat,
                [(self.memory_before, self.near, algebra.ALL)],
                p["recall"],
                self.product_scratch,
                xp,
                adds=True,
            )
        xp.maximum(z, 0, out=z)
        last = self.active  # (B * R * C, H)
        if self.mixing:
            last = xp.matmul(last, p["mix"], out=self.mixed)  # (B * R * C, G)
            last += p["b_mix"]
            xp.maximum(last, 0, out=last)
        out = last @ p["w2"] + p["b2"]  # (B * R * C, A)
        out = out.reshape(batch, self.rows, self.cols, self.targets, self.answers)
        if self.config.readout.memory:
            self._remember(out)
        return out

    def _remember(self, out: Array) -> None:
        """Keep answers (B, R, C, T, 5) for the next frame: presence, and the box times presence."""
        xp = self.xp
        flat = out.reshape(out.shape[0], -1, self.targets, self.answers)
        memory = self.memory.reshape(out.shape[0], -1, self.targets, self.answers)[:, :-1]  # a view
        presence, box = memory[..., :1], memory[..., 1:]
        xp.maximum(flat[..., :1], np.float32(-LOGIT_LIMIT), out=presence)
        xp.minimum(presence, np.float32(LOGIT_LIMIT), out=presence)
        xp.negative(presence, out=presence)
        xp.exp(presence, out=presence)
        presence += np.float32(1)
        xp.reciprocal(presence, out=presence)
        xp.maximum(flat[..., 1:], np.float32(-SIZE_LIMIT), out=box)
        xp.minimum(box, np.float32(SIZE_LIMIT), out=box)
        box *= presence

    def forget(self, streams: Array | slice) -> None:
        """Zero the memory of the streams with these indices."""
        self.memory[streams] = 0

    def _upsample(self, y: Array, i: int) -> Array:
        """Interpolate (B, r, c, H) on the grid of layer i to the cells, (B, R, C, H)."""
        if y.shape[1:3] == (self.rows, self.cols):
            return y
        b, r, c, h = y.shape
        down, right = self.upsampling[i]  # (R, r), (C, c)
        tall = self.tall_scratch(b, self.rows, c * h)
        self.xp.matmul(down, y.reshape(b, r, c * h), out=tall)
        wide = self.wide_scratch(b, self.rows, self.cols, h)  # y lies there too, but is no longer needed
        return self.xp.matmul(right, tall.reshape(b, self.rows, c, h), out=wide)

    def _upsample_transposed(self, y: Array, i: int, grid: tuple[int, int]) -> Array:
        """Bring (B, R, C, H) back to the grid of layer i, (B, r, c, H): the transpose of `_upsample`."""
        if grid == (self.rows, self.cols):
            return y
        b, h = y.shape[0], y.shape[3]
        down, right = self.upsampling[i]
        y = right.T @ y  # (B, R, c, H)
        return (down.T @ y.reshape(b, self.rows, -1)).reshape(b, *grid, h)

    def backward(
        self, p: dict[str, Array], out: Array, boxes: Floats, soft: Floats | None = None, codes: bool = True
    ) -> tuple[dict[str, Gradient], list[Array], ReadoutLosses]:
        """Compare the answers of the last `forward` with the true boxes; see `Readout.backward`."""
        xp, learning = self.xp, self.config.learning
        truth = self.cells.truth(boxes)
        count = max(float(truth.care[truth.heat == 1].sum()), 1.0)  # targets in view
        if soft is not None:
            presence, taught = soft[..., 0], ~np.isnan(soft[..., 1:])  # (B, R, C, T), (B, R, C, T, 4)
            near = np.where(presence > LEAST_BUMP, presence, 0)
            np.copyto(truth.box, soft[..., 1:], where=taught)
            np.copyto(truth.weight, near, where=taught.all(-1) & ~np.isnan(presence))
        share = truth.weight / max(float(truth.weight.sum()), 1.0)
        heat, box, share, care = map(xp.asarray, (truth.heat, truth.box, share, truth.care))
        logit = out[..., 0]  # (B, R, C, T), as all that follows
        q = 1 / (1 + xp.exp(-logit))
        log_q, log_not = -xp.logaddexp(0, -logit), -xp.logaddexp(0, logit)
        centre = heat == 1
        absent = (1 - heat) ** 4  # how much false presence counts: little near a centre
        loss = care * xp.where(centre, -((1 - q) ** 2) * log_q, -absent * q * q * log_not)
        d_logit = care * xp.where(
            centre, (1 - q) ** 2 * (2 * q * log_q - (1 - q)), absent * q * q * (q - 2 * (1 - q) * log_not)
        )
        if soft is not None:  # relative entropy to the soft presence, 0 where the answer is the same
            presence, truly = xp.asarray(presence), xp.isnan(xp.asarray(presence))
            given = xp.clip(presence, 1e-7, 1 - 1e-7)
            excess = given * (xp.log(given) - log_q) + (1 - given) * (xp.log1p(-given) - log_not)
            loss = xp.where(truly, loss, excess)
            d_logit = xp.where(truly, d_logit, q - presence)
        # an offset counts as a share of the box, as overlap does, but more mildly
        sides = UNIT_BOX * xp.exp(box[..., 2:])  # (B, R, C, T, 2)
        offset_share = xp.sqrt(xp.minimum(self.cell_size / sides, 2.0))
        scale = xp.concatenate([offset_share, xp.full_like(offset_share, SIZE_SHARE)], axis=-1)
        miss = (out[..., 1:] - box) * scale  # (B, R, C, T, 4)
        far = xp.abs(miss)
        learns = share[..., None]  # of the box error: cells near a target's centre learn its box
        smooth = xp.where(far < BEND, miss * miss / (2 * BEND), far - BEND / 2)
        d_box = xp.where(far < BEND, miss / BEND, xp.sign(miss)) * scale * learns
        by_stream = loss.sum(axis=(1, 2, 3))  # (B,)
        losses = ReadoutLosses(by_stream.sum() / count, (smooth * learns).sum(), by_stream)
        d_out = xp.empty_like(out)  # (B, R, C, T, 5)
        d_out[..., 0] = d_logit * (learning.presence_weight / count)
        d_out[..., 1:] = d_box * learning.box_weight
        gradients, errors = self._descend(p, d_out.reshape(-1, self.answers * self.targets), codes)
        return gradients, errors, losses

    def _descend(
        self, p: dict[str, Array], d_out: Array, codes: bool
    ) -> tuple[dict[str, Gradient], list[Array]]:
        """Return the gradients for an error of the answers (B * R * C, A), and each layer's code error."""
        xp = self.xp
        last = self.mixed if self.mixing else self.active
        gradients: dict[str, Gradient] = {"w2": last.T @ d_out, "b2": algebra.total(d_out, xp)}
        d = (d_out @ p["w2"].T) * (last > 0)
        if self.mixing:
            gradients |= {"mix": self.active.T @ d, "b_mix": algebra.total(d, xp)}
            d = (d @ p["mix"].T) * (self.active > 0)
        dz = d.reshape(-1, self.rows, self.cols, self.hidden)  # (B, R, C, H)
        gradients["b1"] = algebra.total(d, xp)
        if self.config.readout.memory:
            gradients["recall"] = self._outer(p["recall"], self.memory_before, self.near, d)
        errors = []
        for i, layer in enumerate(self.config.layers):
            w, index = p[f"project{i + 1}"], self.neighbours[i]
            dy = self._upsample_transposed(dz, i, self.grids[i]).reshape(self.batch, -1, self.hidden)
            gradients[f"project{i + 1}"] = self._outer(w, self.codes[i], index, dy)
            if not codes:
                continue
            error = xp.zeros((self.batch, layer.rows * layer.cols + 1, layer.code), np.float32)
            algebra.matmul_scatter(error, dy, w, index)
            errors.append(error)  # (B, U + 1, N)
        return gradients, errors

    def _outer(self, w: Array, source: Array, index: Array, dz: Array) -> Array:
        """Return the gradient of weights w (K * N, H); see `algebra.gather_outer`."""
        gradient = self.xp.empty_like(w)
        dz = dz.reshape(self.batch, -1, self.hidden)
        algebra.gather_outer(gradient, source, index, dz, self.product_scratch[0])
        return gradient

    def heat(self, out: Array) -> Floats:
        """Return the presence (B, R, C, T) in 0..1 from the cells' answers (B, R, C, T, 5)."""
        return self.cells.heat(out)

    def decode(self, out: Array, least: float, most: int = 8) -> list[list[Floats]]:
        """See `Readout.decode`."""
        return self.cells.decode(out, least, most)
