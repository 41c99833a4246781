"""The cells of the box readout on the host: what they should answer, and which boxes answers mean.

A cell answers for each target: a presence logit, the offset of the target's centre from its own (right,
down, in cells), and the logarithms of width and height over `UNIT_BOX`.

Shapes: B streams, R x C cells, T targets, M true boxes, n candidate boxes.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pvm_perception.core import wiring
from pvm_perception.core.backend import Array, Floats, to_numpy
from pvm_perception.core.size import BOX_ANSWERS
from pvm_perception.types import Truth

UNIT_BOX = 24.0  # px: the side of a box whose size answers are 0
SIZE_LIMIT = 3.0  # largest size answer that counts, either way: boxes of UNIT_BOX / 20 to UNIT_BOX * 20
LOGIT_LIMIT = 20.0  # largest presence logit that is remembered, either way
MIN_SIDE = 6  # px: a target smaller than this is neither learnt as present nor as absent
MIN_VISIBLE = 0.35  # visible share of a target below which it is neither learnt as present nor as absent
BUMP = 0.14  # width of the presence that is learnt around a centre, as a share of the box's side
BUMP_LIMITS = (0.55, 2.0)  # and its limits, in cells
LEAST_BUMP = 0.2  # presence from which a cell learns the box
CENTRE = 4  # which of the nine cells around a cell is itself
AGREEMENT = 0.25  # how far a neighbour's centre may lie off, in sides of the box, to be averaged with it

Integers = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True)
class CellTruth:
    """What the cells should answer.

    Attributes
    ----------
    heat : (B, R, C, T) presence, 1 at the centres
    box : (B, R, C, T, 4) offset right and down, log width and height
    weight : (B, R, C, T) how much the box counts at a cell; 0 where it is not learnt
    care : (B, R, C, T) how much presence counts, 0..1; 0 where it is not learnt
    """

    heat: Floats
    box: Floats
    weight: Floats
    care: Floats


class Cells:
    """The grid of cells that answer about targets.

    Parameters
    ----------
    batch
        B.
    grid
        (R, C).
    stride
        Network pixels from one cell to the next, (down, right).
    targets
        T.
    """

    def __init__(self, batch: int, grid: tuple[int, int], stride: tuple[float, float], targets: int) -> None:
        self.rows, self.cols = grid
        self.stride, self.targets = stride, targets
        rows, cols = (np.arange(n, dtype=np.float32) + 0.5 for n in grid)
        self.y = rows * stride[0]  # (R,) px, the cells' middles
        self.x = cols * stride[1]  # (C,) px
        self.middles = np.stack([np.tile(self.x, self.rows), np.repeat(self.y, self.cols)], 1)  # (R * C, 2)
        self.pitch = np.array(stride[::-1], np.float32)  # (2,) px, right and down
        self.around = wiring.neighbour_index(grid, grid, 1, "square")  # (R * C, 9)
        # presence, with a row of zeros last for what lies outside: (B, R * C + 1, T)
        self._presence = np.zeros((batch, self.rows * self.cols + 1, targets), np.float32)

    def truth(self, boxes: Floats) -> CellTruth:
        """Return what the cells should answer.

        Parameters
        ----------
        boxes
            (B, M, Truth.COLUMNS) the true boxes in network pixels, as `types.Truth` lays them out.
            A row of weight 0 marks a place where it is not known whether the target is there; it may
            be as large as the frame, where nothing is known but the other rows.
        """
        shape = (len(boxes), self.rows, self.cols, self.targets)
        found = CellTruth(
            np.zeros(shape, np.float32),
            np.zeros((*shape, 4), np.float32),
            np.zeros(shape, np.float32),
            np.ones(shape, np.float32),
        )
        centres = [
            self._add(found, b, boxes[b, m])
            for b, m in zip(*np.nonzero(boxes[:, :, Truth.TARGET] >= 0), strict=True)
        ]
        for centre in centres:
            if centre is not None:  # a target counts also where its surroundings do not
                place, sure = centre
                found.care[place] = sure
        return found

    def _add(self, found: CellTruth, b: int, row: Floats) -> tuple[tuple[int, int, int, int], float] | None:
        """Add one true box, a row (Truth.COLUMNS,) of stream b.

        Return the index of the cell at its centre and how much it counts; None where it is not learnt.
        """
        t = int(row[Truth.TARGET])
        x, y, w, h = row[Truth.BOX].tolist()
        sure = float(row[Truth.WEIGHT])
        if w <= 0 or h <= 0:
            return None
        centre_x, centre_y = x + w / 2, y + h / 2
        down, right = self.stride
        dy, dx = (self.y - centre_y) / down, (self.x - centre_x) / right  # (R,) and (C,), cells
        if float(row[Truth.VISIBLE]) < MIN_VISIBLE or max(w, h) < MIN_SIDE:
            sure = 0.0
        if sure < 1:
            inside = (np.abs(dy) <= h / 2 / down + 1)[:, None] & (np.abs(dx) <= w / 2 / right + 1)[
                None
            ]  # (R, C)
            found.care[b, inside, t] = np.minimum(found.care[b, inside, t], sure)
        if sure == 0:
            return None
        sigma_y, sigma_x = (
            min(max(BUMP * side / step, BUMP_LIMITS[0]), BUMP_LIMITS[1])
            for side, step in ((h, down), (w, right))
        )
        bump = np.exp(-0.5 * ((dy / sigma_y) ** 2)[:, None] - 0.5 * ((dx / sigma_x) ** 2)[None])  # (R, C)
        at_row = min(max(int(centre_y / down), 0), self.rows - 1)
        at_col = min(max(int(centre_x / right), 0), self.cols - 1)
        bump[at_row, at_col] = 1.0
        closer = bump > found.heat[b, :, :, t]  # where boxes of one target overlap, the nearer one counts
        found.heat[b, :, :, t] = np.where(closer, bump, found.heat[b, :, :, t])
        learns = closer & (bump > LEAST_BUMP)
        found.weight[b, :, :, t] = np.where(learns, bump * sure, found.weight[b, :, :, t])
        answer = np.empty((self.rows, self.cols, 4), np.float32)
        answer[..., 0], answer[..., 1] = -dx[None], -dy[:, None]
        answer[..., 2:] = np.log(np.array([w, h]) / UNIT_BOX)
        found.box[b, learns, t] = answer[learns]
        return (b, at_row, at_col, t), sure

    @staticmethod
    def heat(out: Array) -> Floats:
        """Return presence (B, R, C, T) in 0..1 from answers (B, R, C, T, 5)."""
        heat: Floats = 1 / (1 + np.exp(-to_numpy(out[..., 0])))
        return heat

    def decode(self, out: Array, least: float, most: int = 8) -> list[list[Floats]]:
        """Return candidate boxes, by stream and target: (n, 5) rows x, y, w, h, score.

        A candidate is a peak among its eight neighbours. Its box is the mean of the answers around it
        that agree with it, weighted by their presence, which is steadier than one cell's. Its score
        is the peak's presence times the root of how well the neighbours' boxes overlap the peak's:
        around a true target they name the same box, around a look-alike each names another.

        Parameters
        ----------
        out
            (B, R, C, T, 5) the cells' answers.
        least
            The least presence of a peak, 0..1.
        most
            The largest number of candidates of one target.
        """
        out = to_numpy(out)
        self._presence[:, :-1] = self.heat(out).reshape(len(out), -1, self.targets)
        here = self._presence[:, :-1]  # (B, R * C, T)
        highest = self._presence.take(self.around.T, axis=1).max(axis=1)  # of a cell and its neighbours
        stream, cell, target = np.nonzero((here >= highest) & (here >= least))
        peaks = np.argsort(-here[stream, cell, target], kind="stable")  # the strongest first
        groups = [
            peaks[(stream[peaks] == b) & (target[peaks] == t)][:most]
            for b in range(len(out))
            for t in range(self.targets)
        ]
        kept = np.concatenate(groups)
        rows = self._boxes(out, stream[kept], cell[kept], target[kept])
        ends = list(itertools.accumulate(map(len, groups)))
        parts = [rows[end - len(group) : end] for group, end in zip(groups, ends, strict=True)]
        return [parts[k : k + self.targets] for k in range(0, len(parts), self.targets)]

    def _boxes(self, out: Floats, stream: Integers, cell: Integers, target: Integers) -> Floats:
        """Return (n, 5) x, y, w, h, score of peaks, whose indices are (n,) each."""
        near = self.around[cell]  # (n, 9)
        heat = self._presence[stream[:, None], near, target[:, None]]  # (n, 9)
        inside = near < self.rows * self.cols
        near = np.where(inside, near, cell[:, None])
        flat = out.reshape(len(out), -1, self.targets, BOX_ANSWERS)
        answers = flat[stream[:, None], near, target[:, None]]  # (n, 9, 5)
        middle = self.middles[near] + answers[..., 1:3] * self.pitch  # (n, 9, 2) x, y of the boxes' middles
        size = np.minimum(np.maximum(answers[..., 3:], -SIZE_LIMIT), SIZE_LIMIT)
        side = UNIT_BOX * np.exp(size)  # (n, 9, 2)
        away, peak_side = middle - middle[:, CENTRE, None], side[:, CENTRE, None]
        agree = (np.abs(away) < peak_side * AGREEMENT).all(axis=2) & inside
        share = heat**2 * agree
        share /= np.maximum(share.sum(axis=1, keepdims=True), 1e-12)
        share = share[:, None]  # (n, 1, 9)
        sides = UNIT_BOX * np.exp(share @ size)[:, 0]  # (n, 2)
        corner = (share @ middle)[:, 0] - sides / 2
        # the area that a neighbour's box and the peak's have in common
        both = np.minimum(away + side / 2, peak_side / 2) - np.maximum(away - side / 2, -peak_side / 2)
        both = np.maximum(both, 0).prod(axis=2)  # (n, 9)
        overlap = both / (side.prod(axis=2) + peak_side.prod(axis=2) - both) * inside
        # the mean over the neighbours: without the peak itself, whose overlap is 1 but for rounding
        agreement = np.maximum(overlap.sum(axis=1) - 1, 0) / np.maximum(inside.sum(axis=1) - 1, 1)
        score = heat[:, CENTRE] * agreement**0.5
        return np.concatenate([corner, sides, score[:, None]], axis=1, dtype=np.float32)
