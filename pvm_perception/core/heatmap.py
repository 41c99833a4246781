"""The paper's readout: each unit of each layer draws its part of a heat map; layers are averaged."""

from __future__ import annotations

from types import ModuleType

import numpy as np

from pvm_perception.core import algebra, wiring
from pvm_perception.core.backend import Array, to_numpy
from pvm_perception.core.config import HierarchyConfig
from pvm_perception.core.interfaces import ReadoutLosses
from pvm_perception.core.size import map_block
from pvm_perception.types import Truth


class HeatmapReadout:
    """A small perceptron per unit, code -> hidden -> its block of a map on layer 1's grid.

    arXiv 1607.06854, section 3.4: the maps of all layers are averaged and the box is the extent
    of the half-maximum contour around the peak. The map is 1 inside the target's box, else 0;
    the error is squared.
    """

    def __init__(self, config: HierarchyConfig, batch: int, xp: ModuleType) -> None:
        self.config, self.batch, self.xp = config, batch, xp
        self.rows, self.cols = config.layers[0].rows, config.layers[0].cols
        self.stride = config.stride
        self.targets = len(config.targets)
        self.hidden = config.readout.hidden
        self.phi = algebra.activation(config.activation, xp)
        cells = self.rows * self.cols
        self.blocks, self.parts, cover = [], [], np.zeros(cells, np.float32)
        for layer in config.layers:
            index = wiring.block_index((self.rows, self.cols), (layer.rows, layer.cols),
                                       map_block(config, layer))
            self.blocks.append(xp.asarray(index))  # (U, k) map cells
            self.parts.append(xp.asarray(_parts_of(index, cells)))  # (cells, most units at a cell)
            cover += np.bincount(index.ravel(), minlength=cells)
        # what each unit's hidden layer and its part of the map hold, (B, U, H) and (B, U, k * T)
        self.inner = [(xp.zeros((batch, len(block), self.hidden), np.float32),
                       xp.zeros((batch, len(block), block.shape[1] * self.targets), np.float32))
                      for block in self.blocks]
        self.scratch = algebra.Scratch(max(a.size for pair in self.inner for a in pair), xp)
        self.cover = xp.asarray(cover)

    def parameters(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Return new weights, own ones for each unit."""
        p = {}
        for i, (layer, block) in enumerate(zip(self.config.layers, self.blocks, strict=True)):
            units, k = block.shape
            shapes = ((units, layer.code, self.hidden), (units, self.hidden, k * self.targets))
            for j, shape in enumerate(shapes):
                p[f"w{j + 1}.{i + 1}"] = (rng.standard_normal(shape, np.float32)
                                          * np.float32(shape[1] ** -0.5))
                p[f"b{j + 1}.{i + 1}"] = np.zeros((units, shape[2]), np.float32)
        return p

    @property
    def products(self) -> list[tuple[int, int, int]]:
        """Return (rows, D, N) of the products for one stream's frame."""
        return [shape for layer, (units, cells) in zip(
                    self.config.layers, (block.shape for block in self.blocks), strict=True)
                for shape in ((units, layer.code, self.hidden),
                              (units, self.hidden, cells * self.targets))]

    def forward(self, p: dict[str, Array], codes: list[Array]) -> Array:
        """Return the averaged maps (B, R, C, targets) for codes of (B, U + 1, N) each."""
        xp, batch = self.xp, codes[0].shape[0]
        total = xp.zeros((batch, self.rows * self.cols, self.targets), np.float32)
        self.seen = []
        for i, parts in enumerate(self.parts):
            x = codes[i][:, :-1]  # (B, U, N)
            hidden, part = self.inner[i]
            for j, below, here in ((1, x, hidden), (2, hidden, part)):
                z = algebra.product_into(self.scratch(*here.shape), below, p[f"w{j}.{i + 1}"], xp)
                z += p[f"b{j}.{i + 1}"]
                self.phi.value(z, here)
            self.seen.append((x, hidden, part))
            laid = xp.zeros((batch, self.blocks[i].size + 1, self.targets), np.float32)
            laid[:, :-1] = part.reshape(batch, -1, self.targets)
            for k in range(parts.shape[1]):  # once, but where units overlap
                total += laid.take(parts[:, k], axis=1)
        total /= self.cover[None, :, None]
        return total.reshape(batch, self.rows, self.cols, self.targets)

    def forget(self, streams: Array | slice) -> None:
        """Do nothing: this readout keeps no state."""

    def truth(self, boxes: np.ndarray) -> np.ndarray:
        """Return (B, R, C, T) maps: 1 where a cell's centre lies in a target's box."""
        return self._maps(boxes)[0]

    def _maps(self, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the truth, and how much each cell of it counts; both (B, R, C, T)."""
        heat = np.zeros((len(boxes), self.rows, self.cols, self.targets), np.float32)
        care = np.ones_like(heat)
        rows = (np.arange(self.rows) + 0.5) * self.stride[0]
        cols = (np.arange(self.cols) + 0.5) * self.stride[1]
        order = np.argsort(boxes[:, :, Truth.WEIGHT], axis=1, kind="stable")  # what is surer prevails
        for b, m in np.ndindex(order.shape):
            t, x, y, w, h, _, sure = boxes[b, order[b, m]]
            if t < 0:
                continue
            inside = ((abs(rows - y - h / 2) <= max(h, self.stride[0]) / 2)[:, None]
                      & (abs(cols - x - w / 2) <= max(w, self.stride[1]) / 2)[None])
            heat[b, inside, int(t)] = sure > 0
            care[b, inside, int(t)] = sure
        return heat, care

    def backward(self, p: dict[str, Array], out: Array, boxes: np.ndarray
                 ) -> tuple[dict[str, Array], list[Array], ReadoutLosses]:
        """Compare each unit's part with the truth; layout as in `BoxReadout.backward`."""
        xp = self.xp
        heat, care = map(xp.asarray, self._maps(boxes))
        batch = heat.shape[0]
        flat, cared = (xp.concatenate([a.reshape(batch, -1, self.targets),
                                       xp.zeros((batch, 1, self.targets), np.float32)], axis=1)
                       for a in (heat, care))
        weight = np.float32(self.config.learning.presence_weight / batch)
        gradients, errors = {}, []
        for i, block in enumerate(self.blocks):
            x, hidden, part = self.seen[i]
            truth = algebra.gather(flat, block, xp.empty(part.shape, np.float32))
            d = (part - truth) * self.phi.slope(part) * weight
            d *= algebra.gather(cared, block, truth)
            gradients[f"w2.{i + 1}"] = algebra.Outer.of(hidden, d)
            gradients[f"b2.{i + 1}"] = d.sum(axis=0)
            d = algebra.affine_input_grad(d, p[f"w2.{i + 1}"]) * self.phi.slope(hidden)
            gradients[f"w1.{i + 1}"] = algebra.Outer.of(x, d)
            gradients[f"b1.{i + 1}"] = d.sum(axis=0)
            error = xp.zeros((batch, x.shape[1] + 1, x.shape[2]), np.float32)
            error[:, :-1] = algebra.affine_input_grad(d, p[f"w1.{i + 1}"])
            errors.append(error)
        by_stream = (care * (out - heat) ** 2).mean(axis=(1, 2, 3))  # (B,)
        return gradients, errors, ReadoutLosses(by_stream.mean(), xp.zeros((), np.float32), by_stream)

    def heat(self, out: Array) -> np.ndarray:
        """Return presence (B, R, C, targets) in 0..1."""
        return np.clip(to_numpy(out), 0, 1)

    def decode(self, out: Array, least: float, most: int = 8) -> list[list[np.ndarray]]:
        """Return the half-maximum extent around each map's peak; layout as `BoxReadout.decode`."""
        del most  # the paper's tracker has one target, hence one box a map
        return [[self._contour(heat[:, :, t], least) for t in range(self.targets)]
                for heat in self.heat(out)]

    def _contour(self, heat: np.ndarray, least: float) -> np.ndarray:
        row, col = np.unravel_index(int(heat.argmax()), heat.shape)
        peak = float(heat[row, col])
        if not peak >= least:  # it may be no number
            return np.zeros((0, 5), np.float32)
        high = heat >= peak / 2
        region = np.zeros_like(high)
        region[row, col] = True
        while True:  # grow to the connected part; at most rows + cols rounds on a small map
            grown = region.copy()
            grown[1:] |= region[:-1]
            grown[:-1] |= region[1:]
            grown[:, 1:] |= region[:, :-1]
            grown[:, :-1] |= region[:, 1:]
            grown &= high
            if (grown == region).all():
                break
            region = grown
        r, c = np.nonzero(region)
        sy, sx = self.stride
        return np.array([[c.min() * sx, r.min() * sy, (np.ptp(c) + 1) * sx, (np.ptp(r) + 1) * sy,
                          peak]], np.float32)


def _parts_of(index: np.ndarray, cells: int) -> np.ndarray:
    """Return which parts lie on each cell of the map, (cells, K).

    Positions in `index`, (U, k), read row by row; `index.size`, behind the last of them, where a cell has
    fewer than K.
    """
    count = np.bincount(index.ravel(), minlength=cells)
    parts = np.full((cells, count.max()), index.size)
    order = np.argsort(index.ravel(), kind="stable")
    rank = np.arange(index.size) - np.repeat(np.cumsum(count) - count, count)
    parts[index.ravel()[order], rank] = order
    return parts
