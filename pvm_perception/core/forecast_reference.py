"""The steps of a forecast in NumPy: the oracle of `kernels/forecast.cpp`, and its stand-in.

Shapes: U units of a scale (rows x cols), K moves with rows of `stride` values, H x W pixels of the scale's
picture. Planes are (PHASES, COLOURS, lines, pitch): the picture with a margin, blue, green and red, at
whole pixels and half a pixel to the right, down, and both. A move is (down, right) in half pixels: the
place, seen from here, that this place's content comes from.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pvm_perception.core.size import FORECAST_BLOCK, FORECAST_KINDS, FORECAST_STATISTICS, FORECAST_TERMS

BLOCK, WINDOW = FORECAST_BLOCK, 8  # px: side of what a unit owns, and of what it judges moves by
OUTSIDE = (WINDOW - BLOCK) // 2
COLOURS, PHASES = 3, 4
KINDS = FORECAST_TERMS[:FORECAST_KINDS]  # of evidence: over the block, the window, the siblings' windows
STATISTICS = FORECAST_STATISTICS  # of each kind, which a unit's code takes
TERMS = FORECAST_TERMS  # of a choice; each has a gate
SHARE = (
    np.array([1, 3, 5, 7, 7, 5, 3, 1], np.float32) / 8
)  # of a window's pixels in a forecast, along an axis
QUIET = np.float32(1e-4)  # squared difference that means nothing, full range from black to white
SURE = np.float32(2.0)  # sharpness of the mean move among the statistics
RARE = np.float32(1e-3)  # added to a share before its logarithm is taken
LEAST = np.float32(3e-3)  # of the likeliest move's share: those below are left out of the choice
MARGIN = 12  # px around the picture: a window that lies outside sees the edge repeated


@dataclass(frozen=True)
class Geometry:
    """The geometry of one scale.

    Attributes
    ----------
    height, width : px of the scale's picture
    moves : K, that a unit tries
    shared, alike : how many of them, from the first, are those of all units, and of its siblings
    margin : px around the picture
    """

    height: int
    width: int
    moves: int
    shared: int
    alike: int
    margin: int = MARGIN

    @property
    def rows(self) -> int:
        """Units from top to bottom."""
        return self.height // BLOCK

    @property
    def cols(self) -> int:
        """Units from left to right."""
        return self.width // BLOCK

    @property
    def pitch(self) -> int:
        """Values in a line of a plane."""
        return self.width + 2 * self.margin

    @property
    def lines(self) -> int:
        """Lines of a plane."""
        return self.height + 2 * self.margin

    @property
    def stride(self) -> int:
        """Values in a row of moves: a multiple of 16."""
        return -(-self.moves // 16) * 16


class Steps:
    """The steps for one scale; all arrays are of one stream, float32 where nothing else is said."""

    def __init__(self, geometry: Geometry) -> None:
        self.g = g = geometry
        unit = np.arange(g.rows * g.cols)
        self._top = (unit // g.cols * BLOCK - OUTSIDE)[:, None]  # (U, 1)
        self._left = (unit % g.cols * BLOCK - OUTSIDE)[:, None]
        self._window = (np.arange(WINDOW)[:, None] * g.pitch + np.arange(WINDOW)).ravel()  # (64,)
        row = np.minimum(unit // g.cols & ~1, max(g.rows - 2, 0))
        col = np.minimum(unit % g.cols & ~1, max(g.cols - 2, 0))
        lower, right = g.cols * (g.rows > 1), int(g.cols > 1)
        first = row * g.cols + col
        self._siblings = np.stack([first, first + right, first + lower, first + lower + right])  # (4, U)

    def picture(self, image: np.ndarray, planes: np.ndarray) -> None:
        """Write an image (H, W, 3) uint8 into the colours' planes at whole pixels, 0..1."""
        self._inner(planes)[...] = image.transpose(2, 0, 1) * np.float32(1 / 255)

    def halve(self, fine: Geometry, source: np.ndarray, planes: np.ndarray) -> None:
        """Write the picture in the planes of a scale twice as fine: means of 2 x 2 pixels."""
        g, m = self.g, fine.margin
        picture = source[0, :, m : m + fine.height, m : m + fine.width]
        self._inner(planes)[...] = picture.reshape(COLOURS, g.height, 2, g.width, 2).mean((2, 4))

    def fill(self, shown: np.ndarray, planes: np.ndarray) -> None:
        """Repeat the edge of the shown part (4,) int32 (top, left, rows, cols); then the other planes."""
        g = self.g
        top, left, rows, cols = (int(v) for v in shown)
        lines = np.clip(np.arange(g.lines), top + g.margin, top + g.margin + rows - 1)
        places = np.clip(np.arange(g.pitch), left + g.margin, left + g.margin + cols - 1)
        planes[0] = planes[0][:, lines[:, None], places]
        planes[1] = _between(planes[0], 2)
        planes[1, ..., 0] = planes[1, ..., 1]
        planes[1, ..., -2:] = planes[0, ..., -1:]
        planes[2], planes[3] = _between(planes[0], 1), _between(planes[1], 1)

    def moves(
        self,
        parent: np.ndarray | None,
        last: np.ndarray,
        inherited: np.ndarray,
        kept: np.ndarray,
        limit: int,
        moves: np.ndarray,
    ) -> None:
        """Write the moves that are not those of all units into `moves` (U, stride, 2) int16, half px.

        Parameters
        ----------
        parent
            (U / 4, 2) the likeliest moves of the scale above, or None at the top.
        last
            (U, 2) the likeliest moves of the frame before.
        inherited, kept
            (n, 2) what is tried around twice the parent's, and around the last.
        limit
            The largest of `parent` and of `last` that are followed.
        moves
            Written from the first that is not shared on.
        """
        g = self.g
        if parent is not None:
            above = np.clip(parent, -limit, limit).reshape(g.rows // 2, g.cols // 2, 2) * 2
            above = above.repeat(2, 0).repeat(2, 1).reshape(-1, 1, 2)
            moves[:, g.shared : g.alike] = above + inherited
        moves[:, g.alike : g.moves] = np.clip(last, -limit, limit)[:, None] + kept

    def evidence(
        self, now: np.ndarray, before: np.ndarray, moves: np.ndarray, block: np.ndarray, window: np.ndarray
    ) -> None:
        """Write how well each move explains this frame: mean squared differences.

        Over the unit's block and over its window, (U, stride) each; moves (U, stride, 2) int16.
        """
        g = self.g
        square = np.zeros((g.rows * g.cols, g.moves, WINDOW, WINDOW), np.float32)
        for c in range(COLOURS):
            seen = now[0, c].ravel()[self._places(self._top, self._left) + self._window]  # (U, 64)
            square += (self._moved(before, c, moves) - seen[:, None]).reshape(square.shape) ** 2 / COLOURS
        inner = slice(OUTSIDE, OUTSIDE + BLOCK)
        block[:, : g.moves], window[:, : g.moves] = (
            square[:, :, inner, inner].mean((2, 3)),
            square.mean((2, 3)),
        )
        block[:, g.moves :], window[:, g.moves :] = block[:, :1], block[:, :1]

    def weigh(
        self,
        block: np.ndarray,
        window: np.ndarray,
        moves: np.ndarray,
        evidence: np.ndarray,
        inputs: np.ndarray,
    ) -> None:
        """Write the evidence (U, KINDS, stride) and its statistics into the first columns of `inputs` (U, D).

        Evidence is the logarithm of the mean difference over that of each move; statistics of a kind:
        logarithms of staying's, the least and the mean difference; the mean move, right and down; its
        spread.
        """
        g = self.g
        siblings = window[self._siblings].mean(0)
        siblings[:, g.alike :] = window[:, g.alike :]
        down, right = moves[:, : g.moves, 0] / np.float32(2), moves[:, : g.moves, 1] / np.float32(2)
        for i, differ in enumerate((block, window, siblings)):
            known = differ[:, : g.moves]
            mean = known.mean(1, keepdims=True) + QUIET
            evidence[:, i] = np.log(mean) - np.log(differ + QUIET)
            e = evidence[:, i, : g.moves]
            share = np.exp(SURE * (e - e.max(1, keepdims=True)))
            share /= share.sum(1, keepdims=True)
            x, y = (share * right).sum(1), (share * down).sum(1)
            spread = np.maximum((share * (right**2 + down**2)).sum(1) - x**2 - y**2, 0)
            to = inputs[:, i * STATISTICS : (i + 1) * STATISTICS]
            for j, value in enumerate((differ[:, 0] + QUIET, known.min(1) + QUIET, mean[:, 0])):
                to[:, j] = 0.3 * np.log(value) + 1.5
            to[:, 3], to[:, 4], to[:, 5] = 0.25 * x, 0.25 * y, 0.5 * np.log(spread + 0.05) + 0.5

    def neighbours(self, codes: np.ndarray, inputs: np.ndarray, first: int) -> None:
        """Write the mean of the codes (U, N) of each unit and its neighbours into `inputs` (U, D).

        From column `first` on; at the edges the nearest units count again.
        """
        g = self.g
        around = np.pad(codes.reshape(g.rows, g.cols, -1), ((1, 1), (1, 1), (0, 0)), mode="edge")
        shifted = [around[y : y + g.rows, x : x + g.cols] for y in range(3) for x in range(3)]
        inputs[:, first : first + codes.shape[1]] = (sum(shifted) / np.float32(9)).reshape(codes.shape)

    def choose(
        self,
        evidence: np.ndarray,
        gates: np.ndarray,
        moves: np.ndarray,
        parent: np.ndarray,
        motion: np.ndarray,
        moved: bool,
        last: np.ndarray | None,
        habit: np.ndarray,
        choice: np.ndarray,
        mean: np.ndarray,
        likeliest: np.ndarray,
    ) -> None:
        """Write the choice among moves (U, stride), the mean move (U, 2) px, the likeliest's index (U,).

        `gates` (U, TERMS or more) weighs the terms. `parent` and `motion`, (U, 2) px down and right, are the
        moves of the parent and, if `moved`, of the robot's own motion; `last` is the choice of the frame
        before, or None. `habit` (U, stride) is written: the logarithms of the last choice's shares, for the
        moves of all units.
        """
        g = self.g
        habit[...] = 0
        if last is not None:
            habit[:, : g.shared] = np.log(last[:, : g.shared] + RARE)
        logit = np.einsum(
            "utk,ut->uk", self._terms(evidence, moves, parent, motion, moved, habit), gates[:, : len(TERMS)]
        )[:, : g.moves]
        likeliest[...] = logit.argmax(1)
        share = np.exp(logit - logit.max(1, keepdims=True))
        share[share < LEAST] = 0
        choice[:, : g.moves], choice[:, g.moves :] = share / share.sum(1, keepdims=True), 0
        mean[...] = np.einsum("uk,ukd->ud", choice[:, : g.moves], moves[:, : g.moves] / np.float32(2))

    def mix(self, choice: np.ndarray, moves: np.ndarray, now: np.ndarray, out: np.ndarray) -> None:
        """Write the forecast (3, H, W): moved windows, overlapping with the shares of their pixels."""
        share = choice[:, : self.g.moves]
        for c in range(COLOURS):
            mixed = np.einsum("uk,ukw->uw", share, self._moved(now, c, moves))
            out[c] = self._overlap(mixed.reshape(-1, WINDOW, WINDOW) * np.outer(SHARE, SHARE)) / self._cover()

    def errors(
        self,
        shown: np.ndarray,
        now: np.ndarray,
        before: np.ndarray,
        forecast: np.ndarray,
        error: np.ndarray,
        wrong: np.ndarray,
        changed: np.ndarray,
    ) -> None:
        """Write what came less the forecast, (3, H, W), and its and the change's mean square by unit, (U,).

        Both are 0 outside of the shown part.
        """
        g = self.g
        top, left, rows, cols = (int(v) for v in shown)
        inside = np.zeros((g.height, g.width), np.float32)
        inside[top : top + rows, left : left + cols] = 1
        error[...] = (self._inner(now) - forecast) * inside
        change = (self._inner(now) - self._inner(before)) * inside
        for of, to in ((error, wrong), (change, changed)):
            square = (of * of).reshape(COLOURS, g.rows, BLOCK, g.cols, BLOCK)
            to[...] = square.mean((0, 2, 4)).ravel()

    def gradient(
        self,
        error: np.ndarray,
        planes: np.ndarray,
        choice: np.ndarray,
        evidence: np.ndarray,
        moves: np.ndarray,
        parent: np.ndarray,
        motion: np.ndarray,
        moved: bool,
        habit: np.ndarray,
        weight: float,
        gates: np.ndarray,
    ) -> None:
        """Write the gradient of half the squared error, times `weight`, by the gates (U, TERMS or more).

        The arrays are those that the forecast was made with; `error` as from `errors`, one frame later.
        """
        g, share = self.g, choice[:, : self.g.moves]
        by_move = np.zeros_like(share)
        for c in range(COLOURS):
            wrong = self._windows(error[c] / self._cover()) * np.outer(SHARE, SHARE)
            by_move -= np.einsum(
                "uw,ukw->uk", wrong.reshape(-1, WINDOW * WINDOW), self._moved(planes, c, moves)
            )
        by_logit = np.float32(weight) * share * (by_move - (share * by_move).sum(1, keepdims=True))
        terms = self._terms(evidence, moves, parent, motion, moved, habit)[:, :, : g.moves]
        gates[:, : len(TERMS)] = np.einsum("utk,uk->ut", terms, by_logit)

    def _terms(
        self,
        evidence: np.ndarray,
        moves: np.ndarray,
        parent: np.ndarray,
        motion: np.ndarray,
        moved: bool,
        habit: np.ndarray,
    ) -> np.ndarray:
        """Return the value of each term of a choice for each move, (U, TERMS, stride)."""
        down, right = moves[..., 0] / np.float32(2), moves[..., 1] / np.float32(2)

        def near(of: np.ndarray) -> np.ndarray:
            return -np.log((right - of[:, 1:]) ** 2 + (down - of[:, :1]) ** 2 + 1)

        prior = [
            (right == 0) & (down == 0),
            near(parent),
            habit,
            near(motion) * moved,
            right / 2,
            down / 2,
            -0.12 * (right**2 + down**2),
        ]
        return np.concatenate([evidence, np.stack(prior, 1).astype(np.float32)], 1)

    def _inner(self, planes: np.ndarray) -> np.ndarray:
        """Return the picture in the colours' planes, (3, H, W): a view."""
        m = self.g.margin
        return planes[0, :, m : m + self.g.height, m : m + self.g.width]

    def _places(self, top: np.ndarray, left: np.ndarray) -> np.ndarray:
        """Return where windows begin in a plane; far outside they stop, where all pixels repeat the edge."""
        g = self.g
        top = np.clip(top, -g.margin, g.height + g.margin - WINDOW)
        left = np.clip(left, -g.margin, g.width + g.margin - WINDOW)
        return (top + g.margin) * g.pitch + left + g.margin

    def _moved(self, planes: np.ndarray, channel: int, moves: np.ndarray) -> np.ndarray:
        """Return each unit's window moved by each move, (U, K, WINDOW**2)."""
        g = self.g
        down, right = moves[:, : g.moves, 0].astype(int), moves[:, : g.moves, 1].astype(int)
        phase = (right & 1) + 2 * (down & 1)
        place = self._places(self._top + (down >> 1), self._left + (right >> 1)) + phase * (g.lines * g.pitch)
        return np.ascontiguousarray(planes[:, channel]).ravel()[place[..., None] + self._window]

    def _overlap(self, windows: np.ndarray) -> np.ndarray:
        """Return overlapping windows (U, WINDOW, WINDOW) added up to a picture, (H, W)."""
        g = self.g
        total = np.zeros((g.height + 2 * OUTSIDE, g.width + 2 * OUTSIDE), np.float32)
        by_unit = windows.reshape(g.rows, g.cols, WINDOW, WINDOW)
        for y in range(WINDOW):
            for x in range(WINDOW):
                total[y : y + g.height : BLOCK, x : x + g.width : BLOCK] += by_unit[:, :, y, x]
        return total[OUTSIDE:-OUTSIDE, OUTSIDE:-OUTSIDE]

    def _windows(self, picture: np.ndarray) -> np.ndarray:
        """Return the window of each unit, (U, WINDOW, WINDOW), with zeros outside: `_overlap`, transposed."""
        g, padded = self.g, np.pad(picture, OUTSIDE)
        view = np.lib.stride_tricks.sliding_window_view(padded, (WINDOW, WINDOW))[::BLOCK, ::BLOCK]
        return view.reshape(g.rows * g.cols, WINDOW, WINDOW)

    def _cover(self) -> np.ndarray:
        """Return the sum of the shares of all windows over each pixel, (H, W): below 1 at the edges."""
        ones = np.broadcast_to(np.outer(SHARE, SHARE), (self.g.rows * self.g.cols, WINDOW, WINDOW))
        return self._overlap(ones)


def _between(planes: np.ndarray, axis: int) -> np.ndarray:
    """Return the values half a pixel further along an axis, by cubic interpolation; edges are repeated."""
    n = planes.shape[axis]
    a, b, c, d = (planes.take(np.clip(np.arange(n) + k, 0, n - 1), axis) for k in (-1, 0, 1, 2))
    return np.float32(0.5625) * (b + c) - np.float32(0.0625) * (a + d)
