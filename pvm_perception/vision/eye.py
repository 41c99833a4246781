"""One look: a network that is shown a part of each frame, and what it sees there."""

from __future__ import annotations

import numpy as np

from pvm_perception.core.placement import Network
from pvm_perception.types import Detection
from pvm_perception.vision.divergence import DivergenceMonitor
from pvm_perception.vision.frame import View, network_input
from pvm_perception.vision.motion import seen_through

LEAST_SCORE = 0.02  # readouts below this are never of use to the track manager


class Eye:
    """A network with a state of its own, and with an eye on whether that state has lost itself.

    Parameters
    ----------
    network
        Of one stream.
    targets
        Those of its targets that are looked for.
    forecasts_well
        Whether its forecasts are good enough to tell by them that its state is lost.

    Attributes
    ----------
    had_forecast : whether the last picture was expected, well or badly: there was one before it
    times_diverged : how often the state was begun anew because it had lost itself
    steps : how often the network was shown a picture
    """

    def __init__(self, network: Network, targets: tuple[str, ...], forecasts_well: bool) -> None:
        self.network, self._targets, self._forecasts_well = network, targets, forecasts_well
        config = network.config
        self._picture = np.empty((1, config.height, config.width, 3), np.uint8)
        self._shown = np.array([[0, 0, config.height, config.width]], np.int32)
        self._scratch: dict[tuple[int, int], np.ndarray] = {}
        self._monitor = DivergenceMonitor()
        self.times_diverged = self.steps = 0
        self.reset()

    def reset(self) -> None:
        """Forget the past."""
        self.network.reset()
        self._monitor.reset()
        self.had_forecast = False

    def see(self, image: np.ndarray, view: View, motion: np.ndarray | None) -> list[Detection]:
        """Look at a part of a frame.

        Without a past it looks twice: at first it has no context, and sees far less well. A state that
        has lost itself is forgotten.

        Parameters
        ----------
        image
            (H, W, 3) uint8, BGR.
        view
            What the network sees of it.
        motion
            (4,) what the camera's motion did to the whole frame, or None.

        Returns
        -------
        list of Detection
            Of the targets looked for, best first, with raw scores, cut at the frame's border; source px.
        """
        size = image.shape[:2]
        network_input(image, view, self._picture[0], self._scratch)
        self._shown[0] = view.filled
        self.had_forecast = not self.network.fresh.any()
        if self.had_forecast:
            told = None if motion is None else seen_through(view, motion, size)[None]
            self._step(told)
            if self._forecasts_well and self._monitor.lost(*self._scaled(self.network.layer_errors())):
                self.times_diverged += 1
                self.had_forecast = False
                self.network.reset()
        if not self.had_forecast:
            self._step()
            self._step(again=True)
        return self._sights(view, size)

    def _step(self, motion: np.ndarray | None = None, again: bool = False) -> None:
        self.network.step(self._picture, motion, self._shown, again)
        self.steps += 1

    def _sights(self, view: View, size: tuple[int, int]) -> list[Detection]:
        detections = []
        height, width = size
        found = self.network.candidates(LEAST_SCORE)[0]
        for target, rows in zip(self.network.config.targets, found, strict=True):
            if target not in self._targets:
                continue
            boxes = view.to_source(rows[:, :4]).tolist()
            for (left, top, w, h), score in zip(boxes, rows[:, 4].tolist(), strict=True):
                x, y = max(left, 0.0), max(top, 0.0)
                w, h = min(left + w, width) - x, min(top + h, height) - y
                if w > 0 and h > 0:
                    detections.append(Detection(target, x, y, w, h, score))
        return sorted(detections, key=lambda d: -d.score)

    def forecast_errors(self) -> tuple[float, float]:
        """Return (forecast's, copying's) mean squared errors at the last picture.

        Copying means to expect the picture before once more. In squared units of the full range from
        black to white.
        """
        return self._scaled(self.network.forecast_errors())

    def _scaled(self, errors: tuple[float, float]) -> tuple[float, float]:
        """Return squared errors in input units in squared units of the full range from black to white."""
        span = self.network.config.high - self.network.config.low
        return errors[0] / span**2, errors[1] / span**2

    def warm_up(self) -> None:
        """Let the device compile, load and allocate now what else the first picture would wait for.

        What it has seen then is nothing to go on from: `reset` it.
        """
        self._picture[...] = 0
        for _ in range(2):  # a stream's first frame, and one that has a past
            self.network.step(self._picture)
            self.network.candidates(LEAST_SCORE)
        self.network.forecast_errors()
