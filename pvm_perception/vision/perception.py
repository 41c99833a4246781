"""What is seen of each frame: two eyes, the fovea that leads the second one, calibration, learning."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pvm_perception.core.awake import ForecastLearner, forecast_learner
from pvm_perception.core.backend import Floats, Images, OneThread
from pvm_perception.core.interfaces import Network
from pvm_perception.core.meanwhile import meanwhile
from pvm_perception.core.shown import ShownReadout, ShownTargets
from pvm_perception.types import Candidate, Detection, Track
from pvm_perception.vision.calibration import Calibration
from pvm_perception.vision.eye import Eye
from pvm_perception.vision.foresight import Foresight, expected
from pvm_perception.vision.fovea import Fovea, Glance
from pvm_perception.vision.frame import View
from pvm_perception.vision.joining import merge, touch
from pvm_perception.vision.reflections import discount_reflections
from pvm_perception.vision.surprise import Surprise
from pvm_perception.vision.verdicts import Verdicts

GOOD_FORECAST = 1.5  # forecast error over copying's on validation clips, of a network worth its state


class Perception:
    """Two eyes on one stream: one sees the whole frame, the other a window of it, enlarged.

    Parameters
    ----------
    network
        Of one stream.
    history
        The model's history: its calibration, and how well it forecasts.
    fovea
        Whether there is a second eye.
    calibration
        From readout scores to probabilities; None takes the model's own.

    Attributes
    ----------
    learner : what teaches the forecast of the next picture; None where the network has none by moves
    view : the part of the last frame that the first eye saw; None before there was a frame
    """

    def __init__(
        self,
        network: Network,
        history: dict[str, Any],
        fovea: bool = True,
        calibration: Calibration | None = None,
    ) -> None:
        self._one_thread = OneThread()
        # a bad forecast of a network that never forecast well says nothing about its state
        quality = history.get("validation", {}).get("prediction_over_copy", math.inf)
        forecasts_well = quality < GOOD_FORECAST
        self.whole = Eye(network, forecasts_well)
        self.near: Eye | None = None
        self.beside: Eye | None = None
        # the heat map readout draws one contour a frame: a second eye has nothing to add to it
        if fovea and network.config.readout.kind == "box":
            # nobody asks the closer eyes what they foresee, and that takes as long as all the rest
            self.near = Eye(network.twin(), forecasts_well, foresees=False)
            self.beside = Eye(network.twin(), forecasts_well, foresees=False)
        self._fovea, self._verdicts = Fovea(), Verdicts()
        self._calibration = calibration or Calibration.of(history)
        self._foresight = Foresight()
        self.learner: ForecastLearner | None = forecast_learner(network)
        self._learns = False
        self._size: tuple[int, int] | None = None
        self.view: View | None = None

    @property
    def _eyes(self) -> list[Eye]:
        return [eye for eye in (self.whole, self.near, self.beside) if eye is not None]

    @property
    def network(self) -> Network:
        """The network of the first eye."""
        return self.whole.network

    @property
    def learning(self) -> bool:
        """Whether the forecast of the next picture learns; may be changed between frames."""
        return self._learns

    @learning.setter
    def learning(self, value: bool) -> None:
        self._learns = value
        self.whole.learner = self.learner if value else None

    @property
    def changes(self) -> int:
        """How often learning changed the network."""
        return self.learner.steps + self.learner.returns if self.learner else 0

    @property
    def learns(self) -> str:
        """What learns where learning is on, in one line."""
        if self.learner is None:
            name = self.network.config.name
            return f"nothing: the {name} model has no forecast by moves, which alone may learn"
        return "the forecast of the next picture"

    def find_shown(self, shown: ShownTargets) -> None:
        """Look for these shown targets, too."""
        for eye in self._eyes:  # each its own: they may read at the same time
            eye.shown = ShownReadout(self.network.config, shown) if shown.names else None

    def reset(self) -> None:
        """Forget the past of both eyes; weights, and what was learnt, stay."""
        self.forget()
        self.view = self._size = None

    def forget(self) -> None:
        """Forget all eyes' recurrent state and where the closer ones looked."""
        self.whole.reset()
        self._forget_windows()

    def _forget_windows(self) -> None:
        """Forget the closer eyes' recurrent state and where they looked."""
        for eye in self._eyes:
            if eye is not self.whole:
                eye.reset()
        self._fovea.reset()
        self._verdicts.reset()

    def warm_up(self) -> None:
        """Let the device compile, load and allocate now what else the first frame would wait for."""
        with self._one_thread:
            for eye in self._eyes:
                eye.warm_up()
        self.forget()

    def see(
        self,
        image: Images,
        motion: npt.NDArray[np.float32] | None,
        targets: Collection[str],
        tracks: Sequence[Track],
        ahead: npt.NDArray[np.float32] | None = None,
    ) -> list[Detection]:
        """Return what both eyes see of a frame.

        Parameters
        ----------
        image
            (H, W, 3) BGR, of any size; another size than the last one's begins a new past.
        motion
            (4,) what the camera's motion did to the frame, or None.
        targets
            Names of the targets that are looked for.
        tracks
            What is expected in this frame, source px: the second eye follows it.
        ahead
            (4,) what the camera's motion will do to the frame until the next, or None.
        """
        size = (image.shape[0], image.shape[1])
        if self.view is None or size != self._size:
            config = self.network.config
            self._size, self.view = size, View.fit(size, (config.height, config.width))
            self.forget()  # the old codes belong to other parts of the scene
        with self._one_thread:
            far = found = self.whole.see(image, self.view, motion, targets, ahead=ahead)
            if self.cut:
                self._forget_windows()
                tracks = ()
            surprise = None
            if not math.isnan(self.whole.errors[0]):
                surprise = Surprise(self.whole.surprise(), self.view, tracks)
            if self.near is not None:
                window = self._fovea.choose(self.view, tracks, far, surprise)
                glance = self._fovea.choose_beside(self.view, tracks, far, surprise)
                near, beside = self._look_closer(image, motion, targets, window, glance)
                if window is not None:
                    self._fovea.note_candidates(near)
                    found = merge(found, near, window, self.view, self._fovea.moved)
                if glance is not None and glance.counts:
                    found = self._join_beside(found, beside, glance, tracks)
                found = self._verdicts.hold(far, found, self._fovea.windows, self.view, tracks)
        evidence = surprise.evidence if surprise else lambda _: 0.0
        seen = [self._calibration.detection(c, self.view.scale, evidence(c)) for c in found]
        return discount_reflections(image, seen)

    def _look_closer(
        self,
        image: Images,
        motion: npt.NDArray[np.float32] | None,
        targets: Collection[str],
        window: View | None,
        glance: Glance | None,
    ) -> tuple[list[Candidate], list[Candidate]]:
        """Return what the second eye sees in its window and the third one in its own, at the same time."""
        curve = self.whole.curve

        def second() -> list[Candidate]:
            if self.near is None or window is None:
                return []
            if self._fovea.moved:
                self.near.reset()  # the window's own jump is no motion of what is in it
            return self.near.see(image, window, motion, targets, curve=curve)

        def third() -> list[Candidate]:
            if self.beside is None or glance is None:
                return []
            if glance.new:
                self.beside.reset()
            return self.beside.see(image, glance.view, motion, targets, twice=glance.counts, curve=curve)

        both = window is not None and glance is not None and self.network.xp is np
        with meanwhile(second, both) as near:
            beside = third()
        return near(), beside

    def _join_beside(
        self, found: list[Candidate], beside: list[Candidate], glance: Glance, tracks: Sequence[Track]
    ) -> list[Candidate]:
        """Return `found` and what the third eye saw, but what it must not judge."""
        assert self.view is not None  # there was a frame
        left_alone = [t for t in tracks if self._fovea.leaves_alone(t)]

        def spared(c: Candidate) -> bool:
            return any(touch(c, t) for t in left_alone)

        beside = [c for c in beside if not spared(c)]
        self._fovea.note_beside(beside)
        rest = [c for c in found if not spared(c)]
        joined = merge(rest, beside, glance.view, self.view, glance.new)
        return sorted([c for c in found if spared(c)] + joined, key=lambda c: -c.score)

    def change_targets(self) -> None:
        """Forget where targets were looked for that are not looked for any more."""
        self._fovea.reset()

    @property
    def window(self) -> View | None:
        """The part of the last frame that the second eye saw; None where it saw none."""
        return self._fovea.view if self.near is not None else None

    @property
    def network_steps(self) -> int:
        """How often networks were shown a picture so far: once a frame or more."""
        return sum(eye.steps for eye in self._eyes)

    @property
    def light(self) -> float:
        """The share of the light that came through a veil over the last frame; 1 without one."""
        return self.whole.veil.light

    @property
    def cut(self) -> bool:
        """Whether the last frame had nothing in common with what was expected: another scene."""
        return self.whole.cut

    @property
    def times_diverged(self) -> int:
        """How often a state that had diverged was begun anew."""
        return sum(eye.times_diverged for eye in self._eyes)

    def prediction(self) -> Images:
        """Return the frame that the first eye expects next, (h, w, 3), at the network's resolution."""
        return expected(self.network, self.view)

    def foresee(self, steps: int) -> list[Images]:
        """Return the frames that the first eye expects 1 to `steps` frames from now."""
        with self._one_thread:
            return self._foresight.images(self.network, self.view, steps)

    def heatmap(self, target: str) -> Floats:
        """Return the first eye's presence of a target that the model knows, (rows, cols) in 0..1."""
        if self.view is None:
            cells = self.network.config.cells
            return np.zeros((cells.rows, cells.cols), np.float32)
        return self.whole.heat(target)

    def codes(self) -> dict[str, Floats]:
        """Return the first eye's codes by layer, (rows, cols, N) each."""
        return {
            layer.name: self.network.codes(layer.name)[0].reshape(layer.rows, layer.cols, -1)
            for layer in self.network.config.layers
        }

    def prediction_error(self) -> tuple[float, float]:
        """Return (forecast's, copying's) mean squared error at the last frame.

        In units of the full range from black to white, squared; NaN until two frames of a stream were seen.
        """
        return self.whole.errors
