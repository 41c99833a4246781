"""Learning to foresee alone: of the network only the forecast runs and learns, several times as fast.

The forecast rests on the picture, not on the layers' codes, so what it learns alone fits the whole network.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from pvm_perception.core.backend import Floats, Images, Rectangles
from pvm_perception.core.config import HierarchyConfig
from pvm_perception.core.forecast import Forecaster
from pvm_perception.core.hierarchy import Hierarchy
from pvm_perception.core.interfaces import Losses
from pvm_perception.core.pictures import motion_ahead
from pvm_perception.errors import PvmError
from pvm_perception.streams.footage import Footage
from pvm_perception.vision.frame import View, network_input

FRAMES = 40  # of each held-back clip that the forecast is measured on


class ForecastOnly(Hierarchy):
    """A hierarchy whose layers and readout rest; parameters as `Hierarchy`."""

    def step(  # type: ignore[override]  # its readout rests: there are no answers to return
        self,
        images: Images,
        motion: Floats | None = None,
        shown: Rectangles | None = None,
        foresee: bool = True,
        ahead: Floats | None = None,
        clear: Images | None = None,
    ) -> None:
        """Foresee the next frame of every stream, whatever `foresee` says; see `Hierarchy.step`."""
        self.known, self.fresh = ~self.fresh, np.zeros(self.batch, bool)
        coming = motion_ahead(self.batch, motion, ahead)
        self._forecasting.step(images, self.forecast_weights(), coming, shown)

    def learn(
        self,
        boxes: Floats | None = None,
        rate: float | None = None,
        codes: bool = True,
        soft: Floats | None = None,
    ) -> Losses:
        """Learn from the error of the last forecast, whatever else is given; see `learning.learn`."""
        if self.optimizer is None:
            raise PvmError("a network whose forecast alone learns needs an optimizer")
        found = self._forecasting.gradients(self.forecast_weights(), self.config.forecast.weight)
        norm = self.optimizer.update(
            self.weights,
            {name: self.xp.asarray(g) for name, g in found.items()},
            self.config.learning.final_rate if rate is None else rate,
        )
        self.step_count += 1
        return Losses(*self.forecast_errors(), 0.0, 0.0, norm, np.zeros(self.batch, np.float32))

    @property
    def _forecasting(self) -> Forecaster:
        if self.forecaster is None:
            raise PvmError(f"network {self.config.name!r} has no forecast by moves that could learn")
        return self.forecaster


class HeldBack:
    """Real video that nothing is learnt from, on which a forecast is measured while it learns.

    Parameters
    ----------
    paths
        Folders of frames, video files, bags, and folders of these.
    config
        Of the network.
    """

    def __init__(self, paths: Iterable[Path], config: HierarchyConfig) -> None:
        self.config = config
        footage = Footage(paths)
        self.clips = [footage.frames(piece)[:FRAMES] for piece in footage.pieces]

    def ratio(self, weights: dict[str, Floats]) -> float:
        """Return the forecast's error over copying's: the geometric mean over the clips, each as a whole."""
        logs = [math.log(self._ratio(clip, weights)) for clip in self.clips if len(clip) > 2]
        return math.exp(sum(logs) / len(logs))

    def _ratio(self, clip: np.ndarray, weights: dict[str, Floats]) -> float:
        size = (self.config.height, self.config.width)
        view, forecaster = View.fit(clip.shape[1:3], size), Forecaster(self.config, 1)
        wrong, copied = 1e-9, 1e-9
        for frame in clip:
            image = network_input(frame, view)[None]
            forecaster.step(image, weights, shown=np.array([view.filled], np.int32))
            errors = forecaster.mean_errors()
            wrong, copied = wrong + errors[0], copied + errors[1]
        return wrong / copied
