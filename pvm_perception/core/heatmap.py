"""The paper's readout: each unit of each layer draws its part of a heat map; layers are averaged.

Shapes: B streams, U units of a layer, N values of a code, H hidden values, R x C cells of the map, T
targets, k cells that one unit draws.
"""

from __future__ import annotations

from types import ModuleType

import numpy as np

from pvm_perception.core import activations, algebra, wiring
from pvm_perception.core.algebra import Gradient
from pvm_perception.core.backend import Array, Floats, Index, to_numpy
from pvm_perception.core.config import HierarchyConfig
from pvm_perception.core.interfaces import ReadoutLosses
from pvm_perception.core.size import map_block
from pvm_perception.types import Truth


class HeatmapReadout:
    """A small perceptron per unit, code -> hidden -> its block of a map on layer 1's grid.

    arXiv 1607.06854, section 3.4: the maps of all layers are averaged and the box is the extent
    of the half-maximum contour around the peak. The map is 1 inside the target's box, else 0;
    the error is squared.

    Parameters
    ----------
    config
        The network's configuration.
    batch
        B.
    xp
        Array module.
    """

    def __init__(self, config: HierarchyConfig, batch: int, xp: ModuleType) -> None:
        self.config, self.batch, self.xp = config, batch, xp
        self.rows, self.cols = config.layers[0].rows, config.layers[0].cols
        self.stride = config.stride
        self.targets = len(config.targets)
        self.hidden = config.readout.hidden
        self.phi = activations.activation(config.activation, xp)
        cells = self.rows * self.cols
        self.blocks: list[Array] = []  # by layer: (U, k) map cells that each unit draws
        self.parts: list[Array] = []  # by layer: (R * C, most units at a cell) which units draw a cell
        cover = np.zeros(cells, np.float32)  # how many units draw each cell
        for layer in config.layers:
            index = wiring.block_index(
                (self.rows, self.cols), (layer.rows, layer.cols), map_block(config, layer)
            )
            self.blocks.append(xp.asarray(index))
            self.parts.append(xp.asarray(_parts_of(index, cells)))
            cover += np.bincount(index.ravel(), minlength=cells)
        # by layer: the units' hidden values and their parts of the map, (B, U, H) and (B, U, k * T)
        self.inner = [
            (
                xp.zeros((batch, len(block), self.hidden), np.float32),
                xp.zeros((batch, len(block), block.shape[1] * self.targets), np.float32),
            )
            for block in self.blocks
        ]
        self.seen: list[tuple[Array, Array, Array]] = []  # by layer: codes, hidden, parts of `forward`
        self.scratch = algebra.Scratch(max(a.size for pair in self.inner for a in pair), xp)
        self.cover = xp.asarray(cover)

    def parameters(self, rng: np.random.Generator) -> dict[str, Floats]:
        """Draw new weights, own ones for each unit, by name."""
        p: dict[str, Floats] = {}
        for i, (layer, block) in enumerate(zip(self.config.layers, self.blocks, strict=True)):
            units, k = block.shape
            shapes = ((units, layer.code, self.hidden), (units, self.hidden, k * self.targets))
            for j, shape in enumerate(shapes):
                p[f"w{j + 1}.{i + 1}"] = rng.standard_normal(shape, np.float32) * np.float32(shape[1] ** -0.5)
                p[f"b{j + 1}.{i + 1}"] = np.zeros((units, shape[2]), np.float32)
        return p

    @property
    def products(self) -> list[tuple[int, int, int]]:
        """The matrix products for one frame of one stream, as (rows, D, N)."""
        return [
            shape
            for layer, (units, cells) in zip(
                self.config.layers, (block.shape for block in self.blocks), strict=True
            )
            for shape in ((units, layer.code, self.hidden), (units, self.hidden, cells * self.targets))
        ]

    def forward(self, p: dict[str, Array], codes: list[Array]) -> Array:
        """Average the layers' maps, (B, R, C, T); see `Readout.forward`."""
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
            for k in range(parts.shape[1]):  # once, except where the parts of several units overlap
                total += laid.take(parts[:, k], axis=1)
        total /= self.cover[None, :, None]
        return total.reshape(batch, self.rows, self.cols, self.targets)

    def forget(self, streams: Array | slice) -> None:
        """Do nothing: this readout keeps no state."""

    def truth(self, boxes: Floats) -> Floats:
        """Return (B, R, C, T) maps: 1 where a cell's centre lies in a target's box."""
        return self._maps(boxes)[0]

    def _maps(self, boxes: Floats) -> tuple[Floats, Floats]:
        """Return the true maps, and how much each cell of them counts; both (B, R, C, T)."""
        heat = np.zeros((len(boxes), self.rows, self.cols, self.targets), np.float32)
        care = np.ones_like(heat)
        rows = (np.arange(self.rows) + 0.5) * self.stride[0]
        cols = (np.arange(self.cols) + 0.5) * self.stride[1]
        order = np.argsort(boxes[:, :, Truth.WEIGHT], axis=1, kind="stable")  # surer boxes overwrite others
        for b, m in np.ndindex(order.shape):
            row = boxes[b, order[b, m]]
            t, (x, y, w, h), sure = int(row[Truth.TARGET]), row[Truth.BOX], row[Truth.WEIGHT]
            if t < 0:
                continue
            inside = (abs(rows - y - h / 2) <= max(h, self.stride[0]) / 2)[:, None] & (
                abs(cols - x - w / 2) <= max(w, self.stride[1]) / 2
            )[None]
            heat[b, inside, t] = sure > 0
            care[b, inside, t] = sure
        return heat, care

    def backward(
        self, p: dict[str, Array], out: Array, boxes: Floats, soft: Floats | None = None, codes: bool = True
    ) -> tuple[dict[str, Gradient], list[Array], ReadoutLosses]:
        """Compare each unit's part of the map with the true one, whatever `soft`; see `Readout.backward`."""
        xp = self.xp
        heat, care = map(xp.asarray, self._maps(boxes))
        batch = heat.shape[0]
        flat, cared = (
            xp.concatenate(
                [a.reshape(batch, -1, self.targets), xp.zeros((batch, 1, self.targets), np.float32)], axis=1
            )
            for a in (heat, care)
        )  # (B, R * C + 1, T)
        weight = np.float32(self.config.learning.presence_weight / batch)
        gradients: dict[str, Gradient] = {}
        errors: list[Array] = []
        for i, block in enumerate(self.blocks):
            x, hidden, part = self.seen[i]
            truth = algebra.gather(flat, block, xp.empty(part.shape, np.float32))
            d = (part - truth) * self.phi.slope(part) * weight
            d *= algebra.gather(cared, block, truth)
            gradients[f"w2.{i + 1}"] = algebra.Outer.of(hidden, d)
            gradients[f"b2.{i + 1}"] = d.sum(axis=0)
            d = algebra.input_error(d, p[f"w2.{i + 1}"]) * self.phi.slope(hidden)
            gradients[f"w1.{i + 1}"] = algebra.Outer.of(x, d)
            gradients[f"b1.{i + 1}"] = d.sum(axis=0)
            if not codes:
                continue
            error = xp.zeros((batch, x.shape[1] + 1, x.shape[2]), np.float32)
            error[:, :-1] = algebra.input_error(d, p[f"w1.{i + 1}"])
            errors.append(error)
        by_stream = (care * (out - heat) ** 2).mean(axis=(1, 2, 3))  # (B,)
        return gradients, errors, ReadoutLosses(by_stream.mean(), xp.zeros((), np.float32), by_stream)

    def heat(self, out: Array) -> Floats:
        """Return the presence (B, R, C, T) in 0..1 from the averaged maps."""
        return np.clip(to_numpy(out), 0, 1)

    def decode(self, out: Array, least: float, most: int = 8) -> list[list[Floats]]:
        """Return the extent of the half-maximum contour around each map's peak; see `Readout.decode`."""
        del most  # a map has one peak, hence at most one box
        return [[self._contour(heat[:, :, t], least) for t in range(self.targets)] for heat in self.heat(out)]

    def _contour(self, heat: Floats, least: float) -> Floats:
        """Return (n, 5) x, y, w, h, peak of one map (R, C), n at most 1."""
        row, col = np.unravel_index(int(heat.argmax()), heat.shape)
        peak = float(heat[row, col])
        if not peak >= least:  # it may be not a number
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
        return np.array(
            [[c.min() * sx, r.min() * sy, (np.ptp(c) + 1) * sx, (np.ptp(r) + 1) * sy, peak]], np.float32
        )


def _parts_of(index: Index, cells: int) -> Index:
    """Return which of the units' parts lie on each cell of the map, (cells, K).

    Parts are numbered as `index` (U, k) lists them, row by row; where a cell has fewer than K parts,
    the number is `index.size`.
    """
    count = np.bincount(index.ravel(), minlength=cells)
    parts = np.full((cells, count.max()), index.size)
    order = np.argsort(index.ravel(), kind="stable")
    rank = np.arange(index.size) - np.repeat(np.cumsum(count) - count, count)
    parts[index.ravel()[order], rank] = order
    return parts
