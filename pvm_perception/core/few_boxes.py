"""From what cells read of a few boxes to a shown target's readout, in closed form.

Presence is a ridge regression on descriptors (`core.descriptor`), of the boxes' cells against the other cells
of the same pictures and painted backgrounds; its scale is set by cells that it was not fitted on. The box is
the descriptor's guess, corrected by a ridge regression on its hidden values.

Shapes: n cells, V values of a descriptor, READ values read at a cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pvm_perception.core.backend import Floats
from pvm_perception.core.descriptor import GUESS, HIDDEN, VALUES
from pvm_perception.core.size import BOX_ANSWERS, READ

Halves = npt.NDArray[np.float16]
Doubles = npt.NDArray[np.float64]
RIDGE = 10.0  # of presence, in variances of what a cell reads; far less finds things only as they were shown
BOX_RIDGE = 3.0
POSITIVE = 0.5  # weight of all the target's cells together, all cells being 1
NEAR, FAR, HARD = 0.35, 0.35, 0.3  # shares in the weight of what is not the target: other cells of the taught
# pictures, of the backgrounds, and of those of either that a first fit takes for the target
HARDEST = 256  # cells of the last kind
FOLDS = 3
ALARM = 0.95  # share of the backgrounds whose best cell stays below `DOUBT`
DOUBT = -0.3  # presence logit of a background's best cells, from which no track is born
SURE = 2.0  # and of the target's usual cell
LEAST_STEP = 0.05  # between the two, before scaling: no target is told from noise
LIKELY = 1.0  # presence logit of a picture's best cell from which the target may be in it


@dataclass(frozen=True)
class Example:
    """What cells read of one box, in several views of it.

    Attributes
    ----------
    view : (n,) which of its views a cell belongs to
    inside : (n, READ) what cells on the target read
    presence : (n,) 0..1, 1 at its centre
    box : (n, 4) offset right and down in cells, log width and height over `cells.UNIT_BOX`
    outside : (m, V) descriptors of cells of the same views away from it
    """

    view: npt.NDArray[np.int64]
    inside: Halves
    presence: Floats
    box: Floats
    outside: Halves


class Moments:
    """Sums that a weighted ridge regression needs: of cells' values and their products."""

    def __init__(self, values: Floats) -> None:
        count = max(len(values), 1)
        self.mean: Floats = values.sum(axis=0) / np.float32(count)  # (V,)
        self.square: Floats = values.T @ values / np.float32(count)  # (V, V)


class Backgrounds:
    """Descriptors in pictures without a target.

    Parameters
    ----------
    values
        (pictures, R * C, V) of each picture's cells.
    """

    def __init__(self, values: Halves) -> None:
        self.values = values
        self._flat = values[:, ::2].reshape(-1, values.shape[-1]).astype(np.float32)
        self.unit: Floats = self._flat.std(axis=0) + np.float32(1e-3)  # (V,) of each value

    def moments(self, unit: Floats) -> Moments:
        """Return their moments; of each value, a unit is given, (V,)."""
        return Moments(self._flat / unit)


def fit(
    examples: list[Example], backgrounds: Backgrounds, place: Sequence[Halves] = ()
) -> tuple[Floats, Floats]:
    """Return the readout of a target that was shown in some boxes.

    Parameters
    ----------
    examples
        What cells read of each box; at least one.
    backgrounds
        Descriptors in pictures without the target.
    place
        (R * C, V) descriptors in each of some pictures of the place where it will be sought. Those that
        it may be in, by what is known without them, are left out.

    Returns
    -------
    weights, bias
        (READ, 5) and (5,): of presence's logit, and of the box as in `Example.box`.
    """
    weights, bias = _fit(examples, [backgrounds])
    telling = weights[VALUES, 0]
    clear = [p for p in place if (p.astype(np.float32) @ telling).max() + bias[0] < LIKELY]
    return _fit(examples, [backgrounds, Backgrounds(np.stack(clear))]) if clear else (weights, bias)


def _fit(examples: list[Example], backgrounds: list[Backgrounds]) -> tuple[Floats, Floats]:
    """Return the readout as `fit`; hardly a picture of any of the backgrounds shall have a box."""
    unit = backgrounds[0].unit
    outside = np.concatenate([e.outside for e in examples]).astype(np.float32) / unit
    values = np.concatenate([b.values for b in backgrounds])  # (pictures, R * C, V)
    against = [(NEAR, Moments(outside)), *((FAR, b.moments(unit)) for b in backgrounds)]
    inside = [e.inside[:, VALUES].astype(np.float32) / unit for e in examples]
    presence = [e.presence for e in examples]
    first = _presence(inside, presence, against)
    against.append((HARD, Moments(_hardest(first, outside, values, unit))))
    telling, offset = _presence(inside, presence, against)
    sure = _held_out(examples, inside, against)
    best = [[(v.astype(np.float32) / unit @ telling + offset).max() for v in b.values] for b in backgrounds]
    doubt = max(float(np.quantile(scores, ALARM)) for scores in best)
    scale = (SURE - DOUBT) / max(sure - doubt, LEAST_STEP)
    weights = np.zeros((READ, BOX_ANSWERS))
    bias = np.zeros(BOX_ANSWERS)
    weights[VALUES, 0] = telling * scale / unit
    bias[0] = DOUBT + (offset - doubt) * scale
    read = np.concatenate([e.inside for e in examples]).astype(np.float32)
    wanted = np.concatenate([e.box for e in examples]) - read[:, GUESS]
    weights[HIDDEN, 1:], bias[1:] = _boxes(read[:, HIDDEN], np.concatenate(presence), wanted)
    weights[GUESS, 1:] = np.eye(BOX_ANSWERS - 1)
    return weights.astype(np.float32), bias.astype(np.float32)


def _hardest(fitted: tuple[Doubles, float], outside: Floats, values: Halves, unit: Floats) -> Floats:
    """Return the cells away from the target that a fit takes for it most, (HARDEST, V)."""
    flat = values.reshape(-1, len(unit))
    weights = (fitted[0] / unit).astype(np.float32)
    scores = np.concatenate([flat.astype(np.float32) @ weights, outside @ fitted[0]])
    worst = np.argsort(-scores)[:HARDEST]
    far = worst[worst < len(flat)]
    near = worst[worst >= len(flat)] - len(flat)
    return np.concatenate([flat[far].astype(np.float32) / unit, outside[near]])


def _presence(
    inside: list[Floats], presence: list[Floats], against: list[tuple[float, Moments]]
) -> tuple[Doubles, float]:
    """Return weights (V,) and bias of presence."""
    values, wanted = np.concatenate(inside), np.concatenate(presence)
    own = Moments(values)
    all_of_them = sum(share for share, _ in against)
    shares = [POSITIVE, *((1 - POSITIVE) * share / all_of_them for share, _ in against)]
    parts = [own, *(moments for _, moments in against)]
    mean: Doubles = np.average([m.mean for m in parts], axis=0, weights=shares).astype(float)
    square: Doubles = np.average([m.square for m in parts], axis=0, weights=shares).astype(float)
    height = POSITIVE * float(wanted.mean())  # mean presence over all cells
    cross: Doubles = POSITIVE * (wanted @ values) / len(values) - height * mean  # (V,)
    weights = _solve(square - np.outer(mean, mean), cross, RIDGE)
    return weights, float(height - mean @ weights)


def _solve(covariance: Doubles, cross: Doubles, ridge: float) -> Doubles:
    """Return the weights of a ridge regression."""
    weights: Doubles = np.linalg.solve(covariance + ridge * np.eye(len(covariance)), cross).astype(float)
    return weights


def _held_out(examples: list[Example], inside: list[Floats], against: list[tuple[float, Moments]]) -> float:
    """Return the usual best score of the target in views that presence was not fitted on.

    Where there is one box, its views are halved.
    """
    if len(examples) > 1:
        groups = [k % FOLDS for k in range(len(examples))]
        masks = [
            [np.full(len(v), g == fold) for v, g in zip(inside, groups, strict=True)] for fold in range(FOLDS)
        ]
    else:
        masks = [[examples[0].view % 2 == half] for half in range(2)]
    best = []
    for left_out in masks:
        if not any(m.any() for m in left_out) or all(m.all() for m in left_out):
            continue
        learnt = [(v[~m], e.presence[~m]) for v, e, m in zip(inside, examples, left_out, strict=True)]
        weights, bias = _presence([v for v, _ in learnt], [p for _, p in learnt], against)
        for v, e, m in zip(inside, examples, left_out, strict=True):
            scores = v[m] @ weights + bias
            best += [scores[e.view[m] == k].max() for k in np.unique(e.view[m])]
    return float(np.median(best))


def _boxes(values: Floats, presence: Floats, box: Floats) -> tuple[Doubles, Doubles]:
    """Return weights (hidden values, 4) and bias (4,) of the box, by cells on the target."""
    share = (presence / presence.sum())[:, None].astype(np.float64)  # (n, 1)
    mean, height = (share * values).sum(axis=0), (share * box).sum(axis=0)  # (hidden values,), (4,)
    away = values - mean
    weights = _solve((away * share).T @ away, (away * share).T @ (box - height), BOX_RIDGE)
    return weights, height - mean @ weights
