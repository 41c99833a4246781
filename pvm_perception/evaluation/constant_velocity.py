"""Where a box will be if it goes on as it did: what a user adds to a detector to follow and forecast."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import cv2
import numpy as np

from pvm_perception.types import Track

Rect = tuple[float, float, float, float]  # x, y, w, h; source px


class ConstantVelocity:
    """A Kalman filter over x, y, w, h and their speeds; carries a box through `coast` frames without one.

    Its deviations are shares of the first box's side, so that it does the same at every resolution.
    """

    coast = 5  # frames
    drift = (0.02,) * 4 + (0.1, 0.1, 0.01, 0.01)  # of x, y, w, h, then of their speeds, in a frame
    error = 0.05  # of a box that was seen
    first_speed = 0.5  # per frame, of a box that was just found

    def __init__(self) -> None:
        self.filter: cv2.KalmanFilter | None = None
        self.gap = 0

    def update(self, box: Rect | None) -> Rect | None:
        """Take what was seen in this frame; return the smoothed box, None where there is none (any more)."""
        self.gap = 0 if box else self.gap + 1
        if self.gap > self.coast:
            self.filter = None
        if self.filter is None:
            if box is None:
                return None
            self.filter = self._start(box)
        state = self.filter.predict()
        if box is not None:
            state = self.filter.correct(np.array(box, np.float32)[:, None])
        return _rect(state)

    def ahead(self) -> Rect | None:
        """Return the box expected one frame later; the filter stays as it is."""
        if self.filter is None:
            return None
        return _rect(self.filter.transitionMatrix @ self.filter.statePost)

    def _start(self, box: Rect) -> cv2.KalmanFilter:
        side = (box[2] * box[3]) ** 0.5
        kalman = cv2.KalmanFilter(8, 4)
        kalman.transitionMatrix = np.eye(8, dtype=np.float32) + np.eye(8, k=4, dtype=np.float32)
        kalman.measurementMatrix = np.eye(4, 8, dtype=np.float32)
        kalman.processNoiseCov = np.diag(np.square(side * np.array(self.drift, np.float32)))
        kalman.measurementNoiseCov = (side * self.error) ** 2 * np.eye(4, dtype=np.float32)
        kalman.errorCovPost = np.diag(
            np.square(side * np.array([self.error] * 4 + [self.first_speed] * 4, np.float32))
        )
        kalman.statePost = np.array([*box, 0, 0, 0, 0], np.float32)[:, None]
        return kalman


def _rect(state: np.ndarray) -> Rect | None:
    """Return the box of a filter's state, None where it has shrunk to nothing."""
    x, y, w, h = map(float, state[:4, 0])
    return (x, y, w, h) if min(w, h) >= 1 else None


def forecaster() -> Callable[[list[Track]], list[Track]]:
    """Return what makes of each frame's boxes, whoever found them, those of one frame later.

    The best box of each target counts, as in `evaluate.shot`.
    """
    filters: dict[str, ConstantVelocity] = defaultdict(ConstantVelocity)

    def forecast(tracks: list[Track]) -> list[Track]:
        best = {t.target: t for t in sorted(tracks, key=lambda t: t.score)}
        expected = []
        for target in {*filters, *best}:
            track, follower = best.get(target), filters[target]
            follower.update((track.x, track.y, track.w, track.h) if track else None)
            if box := follower.ahead():
                expected.append(Track(target, *box, track.score if track else 0.0, 0))
        return expected

    return forecast
