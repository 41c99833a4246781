"""How well it foresees the next frames: against repeating the last one, and against optical flow."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np

from pvm_perception.api import Tracker
from pvm_perception.types import Box
from pvm_perception.vision.frame import View, network_input

HORIZONS = (1, 2, 4, 8)  # frames ahead
MOVING = 2e-4  # error of copying, full range squared, from which a frame moves: 3.6 of 255 grey levels, RMS
PLACES = (1, 3)  # how many of the most surprising places may lie on the target
METHODS = ("copy", "forecast", "flow")


@dataclass
class Forecasts:
    """Errors of one sequence's forecasts: at the network's input, over what it shows of the frame.

    Attributes
    ----------
    horizons : how many frames ahead is foreseen, in rising order
    errors : by horizon, a row of mean squared errors for each frame, in the order of METHODS
    ranks : for each target in view, which of the most surprising places is the first that lies on it, from
        1; infinite where none of `max(PLACES)` does
    """

    horizons: tuple[int, ...] = HORIZONS
    errors: dict[int, list[tuple[float, ...]]] = field(init=False)
    ranks: list[float] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        self.errors = {k: [] for k in self.horizons}
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self._past: deque[np.ndarray] = deque(maxlen=self.horizons[-1])  # the last frames
        self._expected: deque[dict[str, list[np.ndarray]]] = deque(maxlen=self.horizons[-1])  # there

    def see(self, tracker: Tracker, image: np.ndarray, boxes: Iterable[Box] | None = None) -> None:
        """Take a frame that the tracker was just shown, and what is labelled in it.

        Parameters
        ----------
        tracker
            That foresees; its state is that after this frame.
        image
            (H, W, 3) uint8 BGR.
        boxes
            Of all targets; source px. None: not labelled.
        """
        config = tracker.config
        view = View.fit(image.shape[:2], (config.height, config.width))
        rows, cols = view.shown
        now = network_input(image, view)[view.top : view.top + rows, view.left : view.left + cols]
        if self._past and self._past[-1].shape != now.shape:
            self._past.clear()
            self._expected.clear()
        if self._past and boxes is not None:
            heights = tracker.surprise()
            self.ranks += [pop_out(heights, view, box) for box in boxes if box.weight > 0]
        for horizon in self.horizons:
            if len(self._expected) >= horizon and self._expected[-horizon]:
                expected = self._expected[-horizon]
                self.errors[horizon].append(tuple(_error(expected[m][horizon - 1], now) for m in METHODS))
        self._expected.append(self._foresee(tracker, now) if self._past else {})
        self._past.append(now)

    def _foresee(self, tracker: Tracker, now: np.ndarray) -> dict[str, list[np.ndarray]]:
        most = self.horizons[-1]
        return {
            "copy": [now] * most,
            "forecast": tracker.foresee(most),
            "flow": moved_on(self._past[-1], now, most, self._flow),
        }

    def rows(self, sequence: str) -> list[dict[str, float | int | str]]:
        """Return a row for each horizon: errors over copying's, of all frames and of those that move.

        The first also says in which share of the labelled targets one of the most surprising places lies on
        the target (`pop_out_1`, `pop_out_3`); blank where none is labelled.
        """
        rows = []
        for horizon, errors in self.errors.items():
            table = np.array(errors).reshape(-1, len(METHODS))
            moving = table[table[:, 0] > MOVING]
            row: dict[str, float | int | str] = {
                "sequence": sequence,
                "horizon": horizon,
                "frames": len(table),
                "copy_error": float(table[:, 0].mean()) if len(table) else float("nan"),
                **ratios(table),
                "moving_frames": len(moving),
                **{f"moving_{name}": value for name, value in ratios(moving).items()},
            }
            for n in PLACES:
                known = self.ranks if horizon == self.horizons[0] else []
                row[f"pop_out_{n}"] = float(np.mean(np.array(known) <= n)) if known else float("nan")
            rows.append(row)
        return rows


def ratios(table: np.ndarray) -> dict[str, float]:
    """Return summed errors over copying's, of (frames, 3) errors of METHODS; NaN where nothing changed.

    `copy_or_flow` takes the better of the two in each frame, known only afterwards.
    """
    copied = table[:, 0].sum()
    if not copied:
        return dict.fromkeys(("forecast", "flow", "copy_or_flow"), float("nan"))
    return {
        "forecast": float(table[:, 1].sum() / copied),
        "flow": float(table[:, 2].sum() / copied),
        "copy_or_flow": float(np.minimum(table[:, 0], table[:, 2]).sum() / copied),
    }


def means(rows: list[dict[str, float | int | str]]) -> list[dict[str, float | int | str]]:
    """Return a row for each horizon: geometric means of the ratios over sequences, else plain means."""
    found = []
    for horizon in dict.fromkeys(r["horizon"] for r in rows):
        mine = [r for r in rows if r["horizon"] == horizon]
        row = {"sequence": "geometric mean", "horizon": horizon}
        for name in (n for n in rows[0] if n not in row):
            values = np.array([r[name] for r in mine], float)
            values = values[np.isfinite(values)]
            if name.endswith("frames"):
                row[name] = int(values.sum())
            elif not len(values):
                row[name] = float("nan")
            elif name == "copy_error" or name.startswith("pop_out"):
                row[name] = float(values.mean())
            else:
                row[name] = float(np.exp(np.log(np.maximum(values, 1e-12)).mean()))
        found.append(row)
    return found


def moved_on(before: np.ndarray, now: np.ndarray, steps: int, flow: Any) -> list[np.ndarray]:
    """Return a frame moved on by the optical flow, once for each frame ahead.

    Dense inverse search (Kroeger et al. 2016) finds where each pixel was before; a pixel of the next frame is
    taken from as far on that way again.

    Parameters
    ----------
    before
        (h, w, 3) uint8 BGR, the frame before.
    now
        (h, w, 3) uint8 BGR, which is moved.
    steps
        How many frames ahead.
    flow
        OpenCV's `DISOpticalFlow`.

    Returns
    -------
    list
        (h, w, 3) uint8 BGR each, from 1 to `steps` frames ahead.
    """
    then, last = (cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) for image in (before, now))
    back = flow.calc(last, then, None)  # (h, w, 2) px
    y, x = np.mgrid[: now.shape[0], : now.shape[1]].astype(np.float32)
    return [
        cv2.remap(
            now, x + k * back[..., 0], y + k * back[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        for k in range(1, steps + 1)
    ]


def pop_out(surprise: np.ndarray, view: View, box: Box) -> float:
    """Return which of the most surprising places, from 1, is the first that lies on a box; infinite: none.

    A place is the middle of the pixels of a unit of layer 1; the next place is the most surprising one at
    least the box's longer side away from those before. Of `max(PLACES)` places. A box that is smaller than a
    unit's pixels counts as large as those.

    Parameters
    ----------
    surprise
        (rows, cols) of the whole input, bars included.
    view
        What the input shows of the frame.
    box
        Source px.
    """
    rows, cols = surprise.shape
    step = np.array([view.network[1] / cols, view.network[0] / rows])  # px of a unit's block
    x, y, w, h = view.to_network(np.array([box.x, box.y, box.w, box.h]))
    # the middles of the blocks; those in the bars do not count
    middle = np.stack(np.meshgrid(np.arange(cols), np.arange(rows)), axis=-1) * step + step / 2  # (R, C, 2)
    low, high = np.array([view.left, view.top]), np.array([view.left, view.top]) + view.shown[::-1]
    left = np.where(((middle > low) & (middle < high)).all(axis=-1), surprise, -1.0)
    for rank in range(1, max(PLACES) + 1):
        place = middle.reshape(-1, 2)[left.argmax()]
        if (np.abs(place - (x + w / 2, y + h / 2)) < np.maximum((w, h), step) / 2).all():
            return rank
        left[np.linalg.norm(middle - place, axis=-1) < max(w, h, *step)] = -1.0
    return float("inf")


def _error(a: np.ndarray, b: np.ndarray) -> float:
    """Return the mean squared difference of two uint8 images, full range squared."""
    return float(np.square(a.astype(np.float32) - b).mean() / 255**2)
