"""The steps of a forecast in NumPy: the oracle of the compiled ones and of CUDA's, and their stand-in.

Shapes as in `forecast_frame`; here rows of the units' values are cut to their U units.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pvm_perception.core.forecast_frame import (
    BLOCK,
    COLOURS,
    KINDS,
    OUTSIDE,
    STATISTICS,
    TERMS,
    WHITE,
    WINDOW,
    Frame,
    Geometry,
)
from pvm_perception.core.forecast_windows import (
    SHARE,
    around_mean,
    between,
    by_motion,
    cover,
    moved,
    overlap,
    spread,
    windows,
)

QUIET = np.float32(1e-4)  # squared difference that means nothing, full range from black to white
SURE = np.float32(2.0)  # sharpness of the mean move among the statistics
RARE = np.float32(1e-3)  # added to a share before its logarithm is taken
LEAST = np.float32(3e-3)  # of the likeliest move's share: those below are left out of the choice
NORM_FLOOR, LEAK = np.float32(1e-3), np.float32(0.1)  # of codes, as in `activations`
CLEAN = np.float32(3e-5)  # squared error that is below notice, full range squared
FORGOTTEN = np.float32(0.03)  # share of a frame in the running mean error of a unit
SUDDEN = np.float32(9.0)  # times the usual error beyond which an error does not raise what is usual


@dataclass(frozen=True)
class Bound:
    """A stream's frame with its scale's geometry."""

    g: Geometry
    frame: Frame


class NumpySteps:
    """The steps as NumPy computes them; see `Steps`."""

    def bind(self, g: Geometry, frame: Frame) -> Bound:
        """See `Steps.bind`."""
        return Bound(g, frame)

    def see(self, now: Bound, image: np.ndarray) -> None:
        """See `Steps.see`."""
        _inner(now)[...] = image.transpose(2, 0, 1).astype(np.int16) * (WHITE // 255)
        _fill(now)

    def halve(self, now: Bound, finer: Bound) -> None:
        """See `Steps.halve`."""
        g = now.g
        _inner(now)[...] = _inner(finer).reshape(COLOURS, g.height, 2, g.width, 2).sum((2, 4)) + 2 >> 2
        _fill(now)

    def compare(self, now: Bound, last: Bound) -> None:
        """See `Steps.compare`."""
        g, f = now.g, now.frame
        top, left, rows, cols = (int(v) for v in now.frame.shown)
        inside = np.zeros((g.height, g.width), np.int16)
        inside[top : top + rows, left : left + cols] = 1
        f.error[...] = (_inner(now) - f.picture) * inside
        change = (_inner(now) - _inner(last)) * inside
        for of, to in ((f.error, f.wrong), (change, f.changed)):
            square = (_in_floats(of) ** 2).reshape(COLOURS, g.rows, BLOCK, g.cols, BLOCK)
            to[: g.units] = square.mean((0, 2, 4)).ravel()

    def foresee(
        self,
        now: Bound,
        last: Bound,
        parent: Bound | None,
        weights: dict[str, np.ndarray],
        motion: np.ndarray | None,
        known: bool,
    ) -> None:
        """See `Steps.foresee`."""
        g, f, units = now.g, now.frame, now.g.units
        f.moved[...] = motion is not None
        if parent:
            f.parent[:, :units] = 2 * spread(g, parent.frame.mean)
        if motion is not None:
            f.motion[:, :units] = by_motion(g, motion)
        if known:
            _try_moves(now, last, parent)
            _compare_moves(now, last)
            _add_extras(now, last)
            _weigh(now)
        else:
            f.inputs[...] = 0
        _hear(now, last, parent)
        z = weights["w1"].T @ f.inputs[:, :units] + weights["b1"][:, None]
        f.sizes[:units] = np.sqrt((z * z).mean(0) + NORM_FLOOR)
        f.sums[:, :units] = z / f.sizes[:units]
        f.code[:, :units] = np.maximum(f.sums, LEAK * f.sums)[:, :units]
        f.gates[:, :units] = weights["w2"].T @ f.code[:, :units] + weights["b2"][:, None]
        if known:
            _choose(now, last)
        else:
            f.choice[...], f.choice[0], f.mean[...], f.likeliest[...] = 0, 1, 0, 0
        _mix(now)
        f.chosen[...] = known

    def departure(self, now: Bound) -> float:
        """See `Steps.departure`."""
        top, left, rows, cols = (int(v) for v in now.frame.shown)
        part = np.s_[:, top : top + rows, left : left + cols]
        change = _in_floats(now.frame.picture[part] - _inner(now)[part])
        return float(np.vdot(change, change)) / now.frame.picture.size

    def judge(self, now: Bound, usual: np.ndarray, surprise: np.ndarray) -> None:
        """See `Steps.judge`."""
        g, wrong = now.g, now.frame.wrong[: now.g.units]
        middle = np.median(wrong) + CLEAN
        if not usual.any():
            usual[...] = middle
        surprise[...] = around_mean(g, wrong) / (around_mean(g, usual) + middle)
        usual += FORGOTTEN * (np.minimum(wrong, SUDDEN * usual) - usual)

    def gradient(self, then: Bound, weight: float, gates: np.ndarray) -> None:
        """See `Steps.gradient`."""
        g, f, units = then.g, then.frame, then.g.units
        share = f.choice[:, :units]  # (K, U)
        by_move = np.zeros_like(share)
        for c in range(COLOURS):
            wrong = windows(g, _in_floats(f.error[c]) / cover(g)) * np.outer(SHARE, SHARE).ravel()  # (U, 64)
            by_move -= np.einsum("uw,kuw->ku", wrong, moved(g, then.frame.planes, c, f.moves))
        by_logit = np.float32(weight) * share * (by_move - (share * by_move).sum(0))
        gates[:, :units] = np.einsum("tku,ku->tu", _terms(then), by_logit)


def level(square: np.ndarray) -> np.ndarray:
    """Return the logarithm of a squared difference, of about unit size."""
    return 0.3 * np.log(square + QUIET) + 1.5


def _inner(of: Bound) -> np.ndarray:
    """Return the picture in the colours' planes, (3, H, W): a view."""
    m, g = of.g.margin, of.g
    return of.frame.planes[0, :, m : m + g.height, m : m + g.width]


def _in_floats(pixels: np.ndarray) -> np.ndarray:
    """Return int16 pixels as float32, 0..1."""
    return pixels * np.float32(1 / WHITE)


def _fill(now: Bound) -> None:
    """Repeat the edge of the shown part; then the other planes."""
    g, planes = now.g, now.frame.planes
    top, left, rows, cols = (int(v) for v in now.frame.shown)
    lines = np.clip(np.arange(g.lines), top + g.margin, top + g.margin + rows - 1)
    places = np.clip(np.arange(g.pitch), left + g.margin, left + g.margin + cols - 1)
    planes[0] = planes[0][:, lines[:, None], places]
    planes[1] = between(planes[0], 2)
    planes[1, ..., 0] = planes[1, ..., 1]
    planes[1, ..., -2:] = planes[0, ..., -1:]
    planes[2], planes[3] = between(planes[0], 1), between(planes[1], 1)


def _try_moves(now: Bound, last: Bound, parent: Bound | None) -> None:
    """Write the moves that are not all units', and which earlier ones are equal."""
    g, f, shared = now.g, now.frame, len(now.g.shared)
    offsets, units = g.tried[shared:, :, None], g.units  # (own, 2, 1)
    if parent:
        above = spread(g, np.clip(parent.frame.likeliest, -g.limit, g.limit)) * 2
        f.moves[shared : g.alike, :, :units] = above + offsets[: len(g.inherited)]
    kept = np.clip(last.frame.likeliest[:, :units], -g.limit, g.limit)
    f.moves[g.alike :, :, :units] = kept + offsets[len(g.inherited) :]
    own = f.moves[shared:, None, :, :units]  # (own, 1, 2, U)
    earlier = np.arange(g.alike) < np.arange(shared, g.moves)[:, None]  # (own, alike)
    equal = (own == f.moves[None, : g.alike, :, :units]).all(2) & earlier[..., None]  # (own, alike, U)
    f.same[:, :units] = np.where(equal.any(1), equal.argmax(1), -1)


def _compare_moves(now: Bound, last: Bound) -> None:
    """Write how well each move explains this frame: mean squares, in the place of the evidence."""
    g, f = now.g, now.frame
    square = np.zeros((g.moves, g.units, WINDOW, WINDOW), np.float32)
    still = np.zeros_like(f.moves[:1])
    for c in range(COLOURS):
        change = moved(g, last.frame.planes, c, f.moves) - moved(g, now.frame.planes, c, still)
        square += change.reshape(square.shape) ** 2 / COLOURS
    inner = slice(OUTSIDE, OUTSIDE + BLOCK)
    block, window = square[:, :, inner, inner].mean((2, 3)), square.mean((2, 3))  # (K, U)
    row, col = np.divmod(np.arange(g.units), g.cols)
    first = np.minimum(row & ~1, max(g.rows - 2, 0)) * g.cols + np.minimum(col & ~1, max(g.cols - 2, 0))
    right, lower = int(g.cols > 1), g.cols * (g.rows > 1)
    siblings = sum(window[:, first + k] for k in (0, right, lower, lower + right)) / 4
    siblings[g.alike :] = window[g.alike :]
    f.evidence[..., : g.units] = np.stack([block, window, siblings])


def _weigh(now: Bound) -> None:
    """Turn differences into evidence, and write its statistics into the first inputs.

    Evidence is the logarithm of the mean difference over that of each move; statistics of a kind: logarithms
    of staying's, the least and the mean difference; the mean move, right and down; its spread.
    """
    f, units = now.frame, now.g.units
    down, right = (f.moves[:, i, :units] / np.float32(2) for i in range(2))  # (K, U)
    for i in range(len(KINDS)):
        differ = f.evidence[i, :, :units].copy()
        mean = differ.mean(0)
        e = f.evidence[i, :, :units]
        e[...] = np.log(mean + QUIET) - np.log(differ + QUIET)
        share = np.exp(SURE * (e - e.max(0)))
        share /= share.sum(0)
        x, y = (share * right).sum(0), (share * down).sum(0)
        spread = np.maximum((share * (right**2 + down**2)).sum(0) - x**2 - y**2, 0)
        levels = [level(value) for value in (differ[0], differ.min(0), mean)]
        statistics = np.stack([*levels, 0.25 * x, 0.25 * y, 0.5 * np.log(spread + 0.05) + 0.5])
        f.inputs[i * STATISTICS : (i + 1) * STATISTICS, :units] = statistics


def _add_extras(now: Bound, last: Bound) -> None:
    """Write what the units know beside the evidence into their inputs."""
    g, f, units = now.g, now.frame, now.g.units
    x, shared = f.inputs[g.parts["extras"], :units], len(g.shared)
    x[0:2], x[2:4] = 0.25 * f.parent[:, :units], 0.25 * last.frame.mean[:, :units]
    wrong, changed = f.wrong[:units], f.changed[:units]
    x[4], x[5], x[6], x[7] = level(wrong), level(changed), level(wrong.mean()), level(changed.mean())
    # of the whole frame: the moves that all units try
    whole = f.evidence[0, :shared, :units].mean(1)
    evidence = np.log((whole.mean() + QUIET) / (whole + QUIET))
    share = np.exp(2 * (evidence - evidence.max()))
    x[8], x[9] = level(whole[0]), level(whole.min())
    x[10:12] = (share @ g.tried[:shared] / share.sum() / 8)[:, None]
    x[12] = last.frame.chosen[0]
    x[13] = x[4] - x[5]
    x[14:16] = np.clip(0.25 * f.motion[:, :units], -4, 4) * f.moved[0]
    x[16] = f.moved[0]


def _hear(now: Bound, last: Bound, parent: Bound | None) -> None:
    """Write the parent's codes of this frame and the mean of the neighbours' of the last into the inputs."""
    g, f, units = now.g, now.frame, now.g.units
    if parent and "feedback" in g.context:
        f.inputs[g.parts["feedback"], :units] = spread(g, parent.frame.code)
    if "lateral" in g.context:
        f.inputs[g.parts["lateral"], :units] = around_mean(g, last.frame.code[:, :units])


def _choose(now: Bound, last: Bound) -> None:
    """Write the choice among moves, the mean move, and the likeliest."""
    g, f, units = now.g, now.frame, now.g.units
    f.habit[...] = np.log(last.frame.choice[: len(g.shared)] + RARE) if last.frame.chosen[0] else 0
    logit = np.einsum("tku,tu->ku", _terms(now), f.gates[:, :units])
    share = np.exp(logit - logit.max(0))
    share[share < LEAST] = 0
    f.choice[:, :units] = share / share.sum(0)
    f.mean[:, :units] = np.einsum("ku,kdu->du", f.choice[:, :units], f.moves[..., :units] / np.float32(2))
    f.likeliest[:, :units] = f.moves[logit.argmax(0), :, np.arange(units)].T


def _mix(now: Bound) -> None:
    """Write the forecast: moved windows, overlapping with the shares of their pixels."""
    g, f = now.g, now.frame
    for c in range(COLOURS):
        mixed = np.einsum("ku,kuw->uw", f.choice[:, : g.units], moved(g, now.frame.planes, c, f.moves))
        picture = overlap(g, mixed * np.outer(SHARE, SHARE).ravel()) / cover(g)
        f.picture[c] = np.rint(WHITE * picture)


def _terms(of: Bound) -> np.ndarray:
    """Return the value of each term of a choice for each move, (TERMS, K, U)."""
    f, units = of.frame, of.g.units
    down, right = (f.moves[:, i, :units] / np.float32(2) for i in range(2))

    def near(move: np.ndarray) -> np.ndarray:
        return -np.log((right - move[1, :units]) ** 2 + (down - move[0, :units]) ** 2 + 1)

    habit = np.zeros_like(right)
    habit[: len(of.g.shared)] = f.habit[:, :units]
    prior = [
        (right == 0) & (down == 0),
        near(f.parent),
        habit,
        near(f.motion) * f.moved[0],
        right / 2,
        down / 2,
        -0.12 * (right**2 + down**2),
    ]
    terms = np.concatenate([f.evidence[..., :units], np.stack(prior).astype(np.float32)])
    assert len(terms) == len(TERMS)
    return terms
