"""An eye: a network with a state of its own, which is shown a part of each frame and names candidates."""

from __future__ import annotations

import math
from collections.abc import Collection

import cv2
import numpy as np
import numpy.typing as npt

from pvm_perception.core.awake import ForecastLearner
from pvm_perception.core.backend import Floats, Images
from pvm_perception.core.interfaces import Network
from pvm_perception.core.pictures import motion_ahead
from pvm_perception.core.shown import ShownReadout
from pvm_perception.types import Candidate
from pvm_perception.vision.cuts import CutDetector
from pvm_perception.vision.divergence import DivergenceMonitor
from pvm_perception.vision.frame import View, network_input
from pvm_perception.vision.motion import seen_through
from pvm_perception.vision.veil import LEAST_NEAR, Veil

LEAST_SCORE = 0.02  # score of a candidate below which it never matters to a track


class Eye:
    """A network with a state of its own, and with a monitor of whether that state has diverged.

    Parameters
    ----------
    network
        Of one stream.
    forecasts_well
        Whether its forecasts are good enough to tell by them that its state has diverged.
    foresees
        Whether it foresees the next picture by moves, where its network can.

    Attributes
    ----------
    learner : what teaches the network's forecast by each picture; None where nothing learns
    shown : finds the targets that were shown in a few boxes; None where there are none
    errors : (forecast's, copying's) mean squared errors at the last picture, in units of the full range from
        black to white, squared; copying expects the picture before once more. NaN where there was no forecast
    veil : over what it sees; `curve` lifts that of the last picture, None where there is none
    cut : whether the last picture has nothing in common with what was expected: another scene
    times_diverged : how often the state was begun anew because it had diverged
    steps : how often the network was shown a picture
    """

    def __init__(self, network: Network, forecasts_well: bool, foresees: bool = True) -> None:
        self.network, self._forecasts_well, self._foresees = network, forecasts_well, foresees
        self.shown: ShownReadout | None = None
        config = network.config
        self._picture = np.empty((1, config.height, config.width, 3), np.uint8)
        self._lifted = np.empty_like(self._picture)
        self._clear = self._picture  # the picture without a veil
        self.veil = Veil() if foresees else Veil(LEAST_NEAR)
        self._shown = np.array([[0, 0, config.height, config.width]], np.int32)
        self._scratch: dict[tuple[int, int], Images] = {}
        self._monitor, self._cuts = DivergenceMonitor(), CutDetector()
        self.times_diverged = self.steps = 0
        self.learner: ForecastLearner | None = None
        self.reset()

    def reset(self) -> None:
        """Forget the past."""
        self.network.reset()
        self._monitor.reset()
        self._cuts.reset()
        self.veil.reset()
        self.curve: npt.NDArray[np.uint8] | None = None
        self.errors: tuple[float, float] = (math.nan, math.nan)
        self.cut = False

    def see(
        self,
        image: Images,
        view: View,
        motion: npt.NDArray[np.float32] | None,
        targets: Collection[str],
        twice: bool = True,
        ahead: npt.NDArray[np.float32] | None = None,
        curve: npt.NDArray[np.uint8] | None = None,
    ) -> list[Candidate]:
        """Show the network a part of a frame and return its candidates.

        Without a past the network is shown the picture twice: at the first time it has no context, and
        its answers are far worse. A state that has diverged is forgotten.

        Parameters
        ----------
        image
            (H, W, 3) BGR.
        view
            The part that the network sees.
        motion
            (4,) what the camera's motion did to the whole frame, or None.
        targets
            Names of the targets that are looked for.
        twice
            Whether to show a picture without a past twice.
        ahead
            (4,) what the camera's motion will do to the whole frame until the next, or None.
        curve
            (256,) what lifts the whole frame's veil; None: that of the part that is seen is lifted. Layers
            see the picture without it, while the forecast is of what the camera sees.

        Returns
        -------
        list of Candidate
            Best first, cut at the frame's border; source px.
        """
        size = (image.shape[0], image.shape[1])
        network_input(image, view, self._picture[0], self._scratch)
        self._shown[0] = view.filled
        if curve is None:
            curve = self.veil.look(view.cut(image))
        self.curve, self._clear = curve, self._picture if curve is None else self._lifted
        if curve is not None:
            self._lifted[...] = self._picture
            self._part(self._lifted)[...] = cv2.LUT(self._part(self._picture), curve)
        self.errors = (math.nan, math.nan)
        knows_past = not self.network.fresh.any()
        if knows_past:
            moved, moves = (None if m is None else seen_through(view, m, size)[None] for m in (motion, ahead))
            self._step(moved, ahead=moves)
            if self._foresees:
                self.errors = self._scaled(self.network.forecast_errors())
        self.cut = self._foresees and self._cuts.is_cut(self._part(self._picture), self.errors)
        if self.cut:
            self._surprise_at_cut = self.network.surprise()[0]
        elif knows_past:
            if self.learner is not None:
                self.learner.learn(self._picture, motion_ahead(1, moved, moves), self._shown)
            if self._forecasts_well and self._monitor.diverged(*self._scaled(self.network.layer_errors())):
                self.times_diverged += 1
                self.errors = (math.nan, math.nan)
                knows_past = False
        if self.cut or not knows_past:
            self._begin(twice)
        return self._candidates(view, size, targets)

    def _begin(self, twice: bool) -> None:
        """Begin the state anew with the picture that is shown."""
        self.network.reset()
        self._step()
        if twice:
            self._step(first=False)

    def _part(self, picture: Images) -> Images:
        """Return the part of a picture (1, H, W, 3) that shows the frame, (rows, cols, 3)."""
        top, left, rows, cols = self._shown[0]
        return picture[0, top : top + rows, left : left + cols]

    def surprise(self) -> Floats:
        """Return how surprised each unit is by the last picture, (rows, cols); see `Network.surprise`."""
        return self._surprise_at_cut if self.cut else self.network.surprise()[0]

    def heat(self, target: str) -> Floats:
        """Return the presence of a target that the model knows, (rows, cols) in 0..1."""
        names = self.network.config.targets
        if target not in names and self.shown is not None:
            heat = self.shown.heat(self.network, self._clear[0], target)
        else:
            heat = self.network.heat()[0, :, :, names.index(target)]
        return np.ascontiguousarray(heat, np.float32)

    def _step(
        self,
        motion: npt.NDArray[np.float32] | None = None,
        first: bool = True,
        ahead: npt.NDArray[np.float32] | None = None,
    ) -> None:
        foresees = first and self._foresees
        self.network.step(self._picture, motion, self._shown, foresees, ahead, self._clear)
        self.steps += 1

    def _candidates(self, view: View, size: tuple[int, int], targets: Collection[str]) -> list[Candidate]:
        found = []
        height, width = size
        trained = self.network.candidates(LEAST_SCORE)[0]
        by_target = list(zip(self.network.config.targets, trained, strict=True))
        if self.shown and not set(self.shown.shown.names).isdisjoint(targets):
            by_target += self.shown.candidates(self.network, self._clear[0], LEAST_SCORE)
        for target, rows in by_target:
            if target not in targets:
                continue
            boxes = view.to_source(rows[:, :4]).tolist()
            for (left, top, w, h), score in zip(boxes, rows[:, 4].tolist(), strict=True):
                x, y = max(left, 0.0), max(top, 0.0)
                w, h = min(left + w, width) - x, min(top + h, height) - y
                if w > 0 and h > 0:
                    found.append(Candidate(target, x, y, w, h, score))
        return sorted(found, key=lambda c: -c.score)

    def _scaled(self, errors: tuple[float, float]) -> tuple[float, float]:
        """Return squared errors in input units in squared units of the full range from black to white."""
        span = self.network.config.high - self.network.config.low
        return errors[0] / span**2, errors[1] / span**2

    def warm_up(self) -> None:
        """Let the device compile, load and allocate now what else the first picture would wait for.

        The network has seen a black picture then: `reset` it.
        """
        self._picture[...] = 0
        for _ in range(2):  # a stream's first frame, and one that has a past
            self.network.step(self._picture)
            self.network.candidates(LEAST_SCORE)
        self.network.forecast_errors()
