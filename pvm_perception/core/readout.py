"""Codes to heat maps and boxes, and the readout's learning.

Every readout offers `parameters`, `forward`, `backward` and `decode`; a new one is one class
and one entry in `READOUTS`.
"""

from __future__ import annotations

import itertools
from types import ModuleType

import numpy as np

from pvm_perception.core import algebra, wiring
from pvm_perception.core.backend import Array, to_numpy
from pvm_perception.core.config import HierarchyConfig
from pvm_perception.core.interfaces import ReadoutLosses
from pvm_perception.core.size import BOX_ANSWERS, readout_neighbourhood
from pvm_perception.types import Truth

UNIT_BOX = 24.0  # px: a box head that answers 0 means a box of this side
MIN_SIDE = 6  # px: a target smaller than this is neither taught nor punished
BEND = 0.1  # error of a box answer from which its loss grows in proportion, no longer squared
MIDDLE = 4  # of the nine cells around one, itself among them
MIN_VISIBLE = 0.35  # a target hidden further than this is neither taught nor punished


class BoxReadout:
    """Presence and box at each cell of one layer's grid, from the codes of all layers around it.

    Each layer's codes of a small neighbourhood are projected, brought to the cells by linear
    interpolation, and summed; a rectifier (or two, with a mixing layer between) and a linear head
    follow. Per target the head gives (presence logit, centre offset right and down in cells, log
    width and log height against `UNIT_BOX`). Presence is learnt with the penalty-reduced focal
    loss (Zhou et al. 2019, "Objects as Points"), the box with a smooth L1 loss around the centre.

    With a memory, each cell also hears what it and its neighbours said at the frame before, so
    that evidence accumulates and a target is looked for where it was.
    """

    answers = BOX_ANSWERS  # of a cell, for each target; presence comes first

    def __init__(self, config: HierarchyConfig, batch: int, xp: ModuleType) -> None:
        self.config, self.batch, self.xp = config, batch, xp
        cells = config.cells
        self.rows, self.cols = cells.rows, cells.cols
        self.stride = config.stride
        self.targets = len(config.targets)
        self.hidden, self.mixing = config.readout.hidden, config.readout.mixing
        self.neighbours, self.grids, self.upsampling = [], [], []
        for i, layer in enumerate(config.layers):
            grid, block, radius = readout_neighbourhood(config, i)
            index = (wiring.block_index((layer.rows, layer.cols), grid, block, radius) if block else
                     wiring.neighbour_index(grid, grid, radius, config.readout.shape))
            self.neighbours.append(xp.asarray(index))
            self.grids.append(grid)
            self.upsampling.append(tuple(xp.asarray(wiring.resize_matrix(s, t)) for s, t in
                                   zip(grid, (self.rows, self.cols), strict=True)))
        cell_grid, width = (self.rows, self.cols), self.answers * self.targets
        self.near = xp.asarray(wiring.neighbour_index(cell_grid, cell_grid, config.readout.memory,
                                                      "square"))
        self.memory = xp.zeros((batch, self.rows * self.cols + 1, width), np.float32)
        self.memory_before = xp.zeros_like(self.memory)  # what had been said before
        everywhere = batch * self.rows * self.cols
        self.active = xp.zeros((everywhere, self.hidden), np.float32)
        self.mixed = xp.zeros((everywhere, self.mixing), np.float32)
        self.wide_scratch, self.tall_scratch = (algebra.Scratch(self.active.size, xp) for _ in range(2))
        heard = max(index.size * n for index, n in zip(
            [*self.neighbours, self.near], [*(k.code for k in config.layers), width], strict=True))
        self.product_scratch = (algebra.Scratch(batch * heard, xp), self.wide_scratch)
        self.codes: list[Array] = []  # of the last `forward`
        self.cell = xp.asarray(self.stride[::-1], np.float32)  # a cell's width and height, px
        rows, cols = (np.arange(n, dtype=np.float32) + 0.5 for n in (self.rows, self.cols))
        self.cell_y = rows * self.stride[0]  # (R,) px
        self.cell_x = cols * self.stride[1]  # (C,) px
        # on the host, where answers become boxes: the nine cells around each, presence with a row of
        # zeros for what lies outside, cells' middles and their distance, x before y, px
        self.around = wiring.neighbour_index(cell_grid, cell_grid, 1, "square")
        self.present = np.zeros((batch, self.rows * self.cols + 1, self.targets), np.float32)
        self.pitch = np.array(self.stride[::-1], np.float32)
        self.places = np.stack([np.tile(self.cell_x, self.rows), np.repeat(self.cell_y, self.cols)], 1)

    def parameters(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Return new weights; presence starts rare, so that the first frames do not shout."""
        def gauss(*shape: int, scale: float) -> np.ndarray:
            return rng.standard_normal(shape, np.float32) * np.float32(scale)

        p = {}
        for i, layer in enumerate(self.config.layers):
            d = self.neighbours[i].shape[1] * layer.code
            p[f"project{i + 1}"] = gauss(d, self.hidden,
                                         scale=(d * len(self.config.layers) / 2) ** -0.5)
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
        p["b2"] = np.tile(np.array([-4, 0, 0, 0, 0], np.float32), self.targets)
        return p

    @property
    def products(self) -> list[tuple[int, int, int]]:
        """Return (rows, D, N) of the products for one stream's frame."""
        shapes = [(len(index), index.shape[1] * layer.code, self.hidden)
                  for index, layer in zip(self.neighbours, self.config.layers, strict=True)]
        if self.config.readout.memory:
            shapes.append((len(self.near), self.near.shape[1] * self.memory.shape[2], self.hidden))
        cells = self.rows * self.cols
        if self.mixing:
            shapes.append((cells, self.hidden, self.mixing))
        return [*shapes, (cells, self.mixing or self.hidden, self.answers * self.targets)]

    def forward(self, p: dict[str, Array], codes: list[Array]) -> Array:
        """Return the head's raw answers (B, R, C, targets, 5) for codes of (B, U + 1, N) each."""
        xp, batch = self.xp, self.batch
        z = self.active.reshape(batch, self.rows, self.cols, self.hidden)
        self.codes = codes
        z[...] = p["b1"]
        every = self.active.reshape(batch, -1, self.hidden)  # (B, R*C, H)
        for i, index in enumerate(self.neighbours):
            w = p[f"project{i + 1}"]
            if self.grids[i] == (self.rows, self.cols):
                algebra.gather_matmul(every, [(codes[i], index, algebra.ALL)], w, self.product_scratch, xp,
                                      adds=True)
                continue
            y = self.wide_scratch(batch, len(index), self.hidden)
            algebra.gather_matmul(y, [(codes[i], index, algebra.ALL)], w, self.product_scratch, xp)
            z += self._upsample(y.reshape(batch, *self.grids[i], self.hidden), i)
        if self.config.readout.memory:
            self.memory_before[...] = self.memory
            algebra.gather_matmul(every, [(self.memory_before, self.near, algebra.ALL)], p["recall"],
                                  self.product_scratch, xp, adds=True)
        xp.maximum(z, 0, out=z)
        last = self.active  # (B*R*C, H)
        if self.mixing:
            last = xp.matmul(last, p["mix"], out=self.mixed)  # (B*R*C, M)
            last += p["b_mix"]
            xp.maximum(last, 0, out=last)
        out = last @ p["w2"] + p["b2"]
        out = out.reshape(batch, self.rows, self.cols, self.targets, self.answers)
        if self.config.readout.memory:
            self._remember(out)
        return out

    def _remember(self, out: Array) -> None:
        """Keep what was said, for the next frame: presence, and the box as far as believed."""
        xp = self.xp
        flat = out.reshape(out.shape[0], -1, self.targets, self.answers)
        kept = self.memory.reshape(out.shape[0], -1, self.targets, self.answers)[:, :-1]  # a view
        presence, box = kept[..., :1], kept[..., 1:]
        xp.maximum(flat[..., :1], np.float32(-20), out=presence)
        xp.minimum(presence, np.float32(20), out=presence)
        xp.negative(presence, out=presence)
        xp.exp(presence, out=presence)
        presence += np.float32(1)
        xp.reciprocal(presence, out=presence)
        xp.maximum(flat[..., 1:], np.float32(-3), out=box)
        xp.minimum(box, np.float32(3), out=box)
        box *= presence

    def forget(self, streams: Array | slice) -> None:
        """Zero the memory of the streams with these indices."""
        self.memory[streams] = 0

    def _upsample(self, y: Array, i: int) -> Array:
        """Interpolate (B, r, c, H) of layer i to the cells (B, R, C, H)."""
        if y.shape[1:3] == (self.rows, self.cols):
            return y
        b, r, c, h = y.shape
        down, right = self.upsampling[i]
        tall = self.tall_scratch(b, self.rows, c * h)
        self.xp.matmul(down, y.reshape(b, r, c * h), out=tall)
        wide = self.wide_scratch(b, self.rows, self.cols, h)  # y is no longer needed
        return self.xp.matmul(right, tall.reshape(b, self.rows, c, h), out=wide)

    def _upsample_transposed(self, y: Array, i: int, grid: tuple[int, int]) -> Array:
        """Transpose of `_upsample`: (B, R, C, H) -> (B, r, c, H)."""
        if grid == (self.rows, self.cols):
            return y
        b, h = y.shape[0], y.shape[3]
        down, right = self.upsampling[i]
        y = right.T @ y  # (B, R, c, H)
        return (down.T @ y.reshape(b, self.rows, -1)).reshape(b, *grid, h)

    def truth(self, boxes: np.ndarray) -> tuple[np.ndarray, ...]:
        """Turn boxes into what the head should answer.

        Parameters
        ----------
        boxes
            (B, M, Truth.COLUMNS) float32. A row of weight 0 marks a place where it is
            not known whether the target is there; it may be as large as the frame, where nothing is
            known but the other rows.

        Returns
        -------
        heat (B, R, C, T), box (B, R, C, T, 4), weight (B, R, C, T), care (B, R, C, T)
            Presence, box answers, how much the box counts, how much presence does.
        """
        shape = (len(boxes), self.rows, self.cols, self.targets)
        heat, weight = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        box, care = np.zeros((*shape, 4), np.float32), np.ones(shape, np.float32)
        centres: list[tuple[int, int, int, int, float]] = []
        for b, m in zip(*np.nonzero(boxes[:, :, Truth.TARGET] >= 0), strict=True):
            t, x, y, w, h, visible, sure = (float(v) for v in boxes[b, m])
            t = int(t)
            if w <= 0 or h <= 0:
                continue
            cx, cy = x + w / 2, y + h / 2
            sy, sx = self.stride
            dy, dx = (self.cell_y - cy) / sy, (self.cell_x - cx) / sx  # cells
            if visible < MIN_VISIBLE or max(w, h) < MIN_SIDE:
                sure = 0.0
            if sure < 1:
                inside = ((np.abs(dy) <= h / 2 / sy + 1)[:, None]
                          & (np.abs(dx) <= w / 2 / sx + 1)[None])
                care[b, inside, t] = np.minimum(care[b, inside, t], sure)
            if sure == 0:
                continue
            sigma_y, sigma_x = (min(max(0.14 * s / q, 0.55), 2.0) for s, q in ((h, sy), (w, sx)))
            bump = np.exp(-0.5 * ((dy / sigma_y) ** 2)[:, None] - 0.5 * ((dx / sigma_x) ** 2)[None])
            row = min(max(int(cy / sy), 0), self.rows - 1)
            col = min(max(int(cx / sx), 0), self.cols - 1)
            bump[row, col] = 1.0
            centres.append((b, row, col, t, sure))
            closer = bump > heat[b, :, :, t]
            heat[b, :, :, t] = np.where(closer, bump, heat[b, :, :, t])
            taught = closer & (bump > 0.2)
            weight[b, :, :, t] = np.where(taught, bump * sure, weight[b, :, :, t])
            answer = np.empty((self.rows, self.cols, 4), np.float32)
            answer[..., 0], answer[..., 1] = -dx[None], -dy[:, None]
            answer[..., 2:] = np.log(np.array([w, h]) / UNIT_BOX)
            box[b, taught, t] = answer[taught]
        for b, row, col, t, sure in centres:  # a target counts also where its surroundings do not
            care[b, row, col, t] = sure
        return heat, box, weight, care

    def backward(self, p: dict[str, Array], out: Array, boxes: np.ndarray
                 ) -> tuple[dict[str, Array], list[Array], ReadoutLosses]:
        """Compare the answers of the last `forward` with the truth.

        Returns
        -------
        gradients, code_errors, losses
            Gradients of the readout's weights; for each layer the error of its codes
            (B, U + 1, N).
        """
        xp, learning = self.xp, self.config.learning
        heat, box, weight, care = self.truth(boxes)
        count = max(float(care[heat == 1].sum()), 1.0)
        weight /= max(float(weight.sum()), 1.0)
        heat, box, weight, care = map(xp.asarray, (heat, box, weight, care))
        logit = out[..., 0]
        q = 1 / (1 + xp.exp(-logit))
        log_q, log_not = -xp.logaddexp(0, -logit), -xp.logaddexp(0, logit)
        centre = heat == 1
        calm = (1 - heat) ** 4  # how much a look-alike there counts
        loss = care * xp.where(centre, -((1 - q) ** 2) * log_q, -calm * q * q * log_not)
        d_logit = care * xp.where(centre, (1 - q) ** 2 * (2 * q * log_q - (1 - q)),
                                  calm * q * q * (q - 2 * (1 - q) * log_not))
        # offsets count as shares of the box, as overlap does, but more mildly
        sides = UNIT_BOX * xp.exp(box[..., 2:])
        share = xp.sqrt(xp.minimum(self.cell / sides, 2.0))
        scale = xp.concatenate([share, xp.full_like(share, 1.5)], axis=-1)
        miss = (out[..., 1:] - box) * scale
        bend = xp.abs(miss)
        taught = weight[..., None]
        smooth = xp.where(bend < BEND, miss * miss / (2 * BEND), bend - BEND / 2)
        d_box = xp.where(bend < BEND, miss / BEND, xp.sign(miss)) * scale * taught
        by_stream = loss.sum(axis=(1, 2, 3))  # (B,)
        losses = ReadoutLosses(by_stream.sum() / count, (smooth * taught).sum(), by_stream)
        d_out = xp.empty_like(out)
        d_out[..., 0] = d_logit * (learning.presence_weight / count)
        d_out[..., 1:] = d_box * learning.box_weight
        gradients, errors = self._descend(p, d_out.reshape(-1, self.answers * self.targets))
        return gradients, errors, losses

    def _descend(self, p: dict[str, Array], d_out: Array
                 ) -> tuple[dict[str, Array], list[Array]]:
        xp = self.xp
        last = self.mixed if self.mixing else self.active
        gradients = {"w2": last.T @ d_out, "b2": algebra.total(d_out, xp)}
        d = (d_out @ p["w2"].T) * (last > 0)
        if self.mixing:
            gradients |= {"mix": self.active.T @ d, "b_mix": algebra.total(d, xp)}
            d = (d @ p["mix"].T) * (self.active > 0)
        dz = d.reshape(-1, self.rows, self.cols, self.hidden)
        gradients["b1"] = algebra.total(d, xp)
        if self.config.readout.memory:
            gradients["recall"] = self._outer(p["recall"], self.memory_before, self.near, d)
        errors = []
        for i, layer in enumerate(self.config.layers):
            w, index = p[f"project{i + 1}"], self.neighbours[i]
            dy = self._upsample_transposed(dz, i, self.grids[i]).reshape(self.batch, -1, self.hidden)
            gradients[f"project{i + 1}"] = self._outer(w, self.codes[i], index, dy)
            below = xp.zeros((self.batch, layer.rows * layer.cols + 1, layer.code), np.float32)
            algebra.matmul_scatter(below, dy, w, index)
            errors.append(below)
        return gradients, errors

    def _outer(self, w: Array, source: Array, index: Array, dz: Array) -> Array:
        """Return the gradient of weights w, as `algebra.gather_outer` tells it."""
        gradient = self.xp.empty_like(w)
        dz = dz.reshape(self.batch, -1, self.hidden)
        algebra.gather_outer(gradient, source, index, dz, self.product_scratch[0])
        return gradient

    def heat(self, out: Array) -> np.ndarray:
        """Return presence (B, R, C, targets) in 0..1."""
        return 1 / (1 + np.exp(-to_numpy(out[..., 0])))

    def decode(self, out: Array, least: float, most: int = 8) -> list[list[np.ndarray]]:
        """Return candidate boxes, by stream and target: (n, 5) rows x, y, w, h, score.

        A candidate is a peak among its eight neighbours; its box is the mean of the answers
        around it that agree with it, weighted by their presence, which is steadier than one
        cell's. Its score is the peak's presence times the root of how well the neighbours'
        boxes overlap the peak's: around a true target they name the same box, around a
        look-alike each its own. Network pixels.
        """
        out = to_numpy(out)
        self.present[:, :-1] = self.heat(out).reshape(len(out), -1, self.targets)
        here = self.present[:, :-1]  # (B, R * C, T)
        highest = self.present.take(self.around.T, axis=1).max(axis=1)  # of a cell and its neighbours
        stream, cell, target = np.nonzero((here >= highest) & (here >= least))
        peaks = np.argsort(-here[stream, cell, target], kind="stable")  # the strongest first
        groups = [peaks[(stream[peaks] == b) & (target[peaks] == t)][:most]
                  for b in range(len(out)) for t in range(self.targets)]
        kept = np.concatenate(groups)
        rows = self._boxes(out, stream[kept], cell[kept], target[kept])
        ends = list(itertools.accumulate(map(len, groups)))
        parts = [rows[end - len(group):end] for group, end in zip(groups, ends, strict=True)]
        return [parts[k:k + self.targets] for k in range(0, len(parts), self.targets)]

    def _boxes(self, out: np.ndarray, stream: np.ndarray, cell: np.ndarray,
               target: np.ndarray) -> np.ndarray:
        """Return (n, 5) x, y, w, h, score of peaks, whose indices are (n,) each."""
        near = self.around[cell]  # (n, 9)
        heat = self.present[stream[:, None], near, target[:, None]]
        inside = near < self.rows * self.cols
        near = np.where(inside, near, cell[:, None])
        flat = out.reshape(len(out), -1, self.targets, self.answers)
        a = flat[stream[:, None], near, target[:, None]]  # (n, 9, 5)
        place = self.places[near] + a[..., 1:3] * self.pitch  # (n, 9, 2) x, y of the boxes' middles
        size = np.minimum(np.maximum(a[..., 3:], -3), 3)
        side = UNIT_BOX * np.exp(size)  # (n, 9, 2)
        away, side0 = place - place[:, MIDDLE, None], side[:, MIDDLE, None]
        agree = (np.abs(away) < side0 / 4).all(axis=2) & inside
        k = heat**2 * agree
        k /= np.maximum(k.sum(axis=1, keepdims=True), 1e-12)
        k = k[:, None]  # (n, 1, 9)
        sides = UNIT_BOX * np.exp(k @ size)[:, 0]  # (n, 2)
        corner = (k @ place)[:, 0] - sides / 2
        # how much of the two boxes together is both's
        both = np.minimum(away + side / 2, side0 / 2) - np.maximum(away - side / 2, -side0 / 2)
        both = np.maximum(both, 0).prod(axis=2)  # (n, 9)
        overlap = both / (side.prod(axis=2) + side0.prod(axis=2) - both) * inside
        # without the peak itself, whose overlap is 1 but for rounding
        agreement = np.maximum(overlap.sum(axis=1) - 1, 0) / np.maximum(inside.sum(axis=1) - 1, 1)
        score = heat[:, MIDDLE] * agreement**0.5
        return np.concatenate([corner, sides, score[:, None]], axis=1, dtype=np.float32)
