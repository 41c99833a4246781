"""What may be read of a tracker between two frames: what its networks saw, expect and have learnt."""

from __future__ import annotations

import numpy as np

from pvm_perception.core.backend import Floats, Images
from pvm_perception.core.config import HierarchyConfig
from pvm_perception.core.interfaces import Network
from pvm_perception.errors import PvmError
from pvm_perception.vision.perception import Perception
from pvm_perception.vision.track_state import Belief
from pvm_perception.vision.tracker import TrackManager


class Inspection:
    """The accessors of `api.Tracker` that only read, and change nothing.

    Attributes
    ----------
    config : the network's configuration
    """

    config: HierarchyConfig
    _perception: Perception
    _tracks: TrackManager
    _versions: int  # how often what it was shown changed, and what models that went before had changed

    def beliefs(self) -> list[Belief]:
        """Return the tracks that are followed, reported or not, best first."""
        return self._tracks.beliefs()

    @property
    def network_steps(self) -> int:
        """How often networks were shown a picture so far: once a frame or more."""
        return self._perception.network_steps

    @property
    def _network(self) -> Network:
        return self._perception.network

    @property
    def times_diverged(self) -> int:
        """How often a state that had diverged was begun anew."""
        return self._perception.times_diverged

    @property
    def model_version(self) -> int:
        """How often the model changed: by learning, awake or asleep, or by what it was shown."""
        return self._perception.changes + self._versions

    @property
    def device(self) -> str:
        """The device that the network runs on: "cpu" or "cuda"."""
        return "cpu" if self._network.xp is np else "cuda"

    @property
    def runs_on(self) -> str:
        """What computes the network: "cpu kernels (avx2)", "cpu (NumPy)", "cuda kernels" or the like."""
        return self._network.runs_on

    @property
    def learns(self) -> str:
        """What learns where `learning` is on, in one line: of some models nothing does."""
        return self._perception.learns

    @property
    def times_given_up(self) -> int:
        """How often what was learnt foresaw worse than before and was given up."""
        learner = self._perception.learner
        return learner.returns if learner else 0

    def prediction(self) -> Images:
        """Return the frame it expects next, (h, w, 3) uint8 BGR, at the network's resolution."""
        return self._perception.prediction()

    def foresee(self, steps: int) -> list[Images]:
        """Return the frames it expects 1 to `steps` frames from now, as `prediction` does the next.

        Each is the forecast of a copy of the network that was shown the one before it; the state of
        this tracker stays as it is. The robot's own motion in that time is unknown.

        Raises
        ------
        PvmError
            If `steps` is less than 1.
        """
        if steps < 1:
            raise PvmError(f"steps must be at least 1, not {steps}")
        return self._perception.foresee(steps)

    def surprise(self) -> Floats:
        """Return how surprised each unit is by the last frame, (rows, cols) float32.

        The squared error of its forecast over the one that it expected: about 1 where all is as usual. A
        model without a forecast by moves gives the root mean square error, full range from black to white.
        """
        return self._perception.whole.surprise()

    def moves(self) -> Floats | None:
        """Return how each unit expects its part of the picture to move on, (rows, cols, 2) float32.

        From the last frame to the next: px to the right and px down at the network's resolution. The units
        are those of `surprise`. None of a model without a forecast by moves.
        """
        moves = self._network.moves()  # where from
        return None if moves is None else -moves[0, :, :, ::-1]

    @property
    def light(self) -> float:
        """The share of the light that came through a veil over the last frame, as fog; 1 without one."""
        return self._perception.light

    def codes(self) -> dict[str, Floats]:
        """Return each layer's codes at the last frame, from the bottom: (rows, cols, N) float32.

        Of the first look, which sees the whole frame; zeros before there was one.
        """
        return self._perception.codes()

    def prediction_error(self) -> tuple[float, float]:
        """Return (forecast's, copying's) mean squared error at the last frame.

        Copying means to expect the frame before once more. Units: full range from black to white,
        squared. NaN until two frames of a stream were seen.
        """
        return self._perception.prediction_error()
