"""The tracker as a Python object; the node, `track` and `evaluate` all go through it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pvm_perception.core.backend import Floats, Images, to_numpy
from pvm_perception.core.config import HierarchyConfig
from pvm_perception.core.model_file import load_model, save_model
from pvm_perception.core.placement import build_network
from pvm_perception.core.shown import ShownTargets
from pvm_perception.core.size import SHOWN
from pvm_perception.errors import PvmError
from pvm_perception.shipped import default_model
from pvm_perception.target_book import TargetBook
from pvm_perception.types import TARGETS, Detection, Track
from pvm_perception.vision.calibration import Calibration
from pvm_perception.vision.frame import as_bgr
from pvm_perception.vision.frame_clock import FrameClock
from pvm_perception.vision.inspection import Inspection
from pvm_perception.vision.motion import checked_motion
from pvm_perception.vision.perception import Perception
from pvm_perception.vision.tracker import LONGEST_STEP, TrackManager
from pvm_perception.vision.tracker_settings import TrackerSettings


class Tracker(TargetBook, Inspection):
    """Frames in, tracked boxes out.

    Parameters
    ----------
    targets
        Which targets to report; all are read out in one pass.
    model
        Model file; None takes the one that ships.
    device
        "cpu", "cuda", or "auto" (a GPU where one answers).
    learn
        Whether the forecast of the next picture learns from the frames. Boxes do not depend on it: they
        stay exactly those of a tracker that does not learn.
    settings
        How readouts become tracks.
    fovea
        Whether to look a second time, at higher resolution, at what is tracked or sought.
    calibration
        From readout scores to probabilities; None takes the model's own.

    Attributes
    ----------
    notice : what its user should know of how it runs, in one line; empty where all is as asked for

    Raises
    ------
    PvmError
        In one line: an unknown target or device, a model that is missing or damaged.

    Examples
    --------
    >>> tracker = Tracker(targets=("green_ball",))
    >>> for track in tracker.update(image, stamp=0.033):
    ...     print(track.target, track.x, track.y, track.w, track.h, track.score)
    """

    def __init__(
        self,
        targets: Sequence[str] = TARGETS,
        model: str | Path | None = None,
        device: str = "cpu",
        learn: bool = False,
        settings: TrackerSettings | None = None,
        fovea: bool = True,
        calibration: Calibration | None = None,
    ) -> None:
        self.model = Path(model) if model is not None else default_model()
        self.config, weights, self._history = load_model(self.model)
        self._built = (device, fovea, calibration)  # how to build another network in place of this one
        self._shown = ShownTargets.of(self.config, weights, self._history)
        self._teacher = None
        self._versions = 0  # changes by what it was shown, and of models that went before
        self._targets = self._checked_targets(targets)
        network, self.notice = build_network(self.config, weights, device, self._history.get("steps", 0))
        self._perception = Perception(network, self._history, fovea, calibration)
        self._perception.learning = learn
        if learn and self._perception.learner is None:
            self.notice = "; ".join(filter(None, (self.notice, f"learning: {self.learns}")))
        self._perception.find_shown(self._shown)
        self._tracks = TrackManager(settings)
        self.detections: list[Detection] = []
        self.reset()

    def reset(self) -> None:
        """Forget the past: recurrent state and tracks. Weights, and what was learnt, stay."""
        self._perception.reset()
        self._tracks.reset()
        self._clock = FrameClock()
        self.detections = []

    @property
    def learning(self) -> bool:
        """Whether the forecast of the next picture learns; may be changed between frames."""
        return self._perception.learning

    @learning.setter
    def learning(self, value: bool) -> None:
        self._perception.learning = value

    @property
    def learning_budget(self) -> float:
        """The share of a core that learning may take, 0..1; at 1 each frame that moves is learnt from."""
        learner = self._perception.learner
        return learner.budget if learner else 1.0

    @learning_budget.setter
    def learning_budget(self, value: float) -> None:
        if self._perception.learner:
            self._perception.learner.budget = value

    def warm_up(self) -> None:
        """Let the device compile, load and allocate now what else the first frame would wait for."""
        self._perception.warm_up()

    @property
    def period(self) -> float:
        """The usual time between two frames, seconds, as far as their stamps have shown it."""
        return self._clock.period

    @property
    def settings(self) -> TrackerSettings:
        """How detections become tracks; may be replaced between frames."""
        return self._tracks.settings

    @settings.setter
    def settings(self, value: TrackerSettings) -> None:
        self._tracks.settings = value

    def update(
        self,
        image: Images | None,
        stamp: float | None = None,
        motion: Sequence[float] | Floats | None = None,
        ahead: Sequence[float] | Floats | None = None,
    ) -> list[Track]:
        """Look at one frame.

        Parameters
        ----------
        image
            (H, W, 3) uint8, BGR, of any size; also grey, (H, W) or (H, W, 1), and BGRA, (H, W, 4).
            None for a frame that is missing, which ages the tracks.
        stamp
            Seconds. A stamp a few frames before the newest one is a late frame's; one further back (a
            bag that loops, a simulation that restarts) resets state and tracks first.
        motion
            What the camera's own motion since the last image that was looked at does to the far
            background of the frame, as `vision.motion` defines it: (shift right, shift down) as
            shares of the frame's width and height, roll in radians clockwise as seen, logarithm
            of the growth. None where it is not known.
        ahead
            The same from this image to the next, as far as the robot knows its own speed: what is foreseen
            then begins and ends with the robot's own turns. None where it is not known; the robot is then
            taken to go on as `motion` says, where that is not zero.

        Returns
        -------
        list of Track
            Boxes in pixels of `image`, one for each target believed present.

        Raises
        ------
        PvmError
            If the image is not one of these, or a motion not four finite numbers; nothing changes
            then.
        """
        if image is not None:
            image = as_bgr(image)
        moved, moves = (None if m is None else checked_motion(m) for m in (motion, ahead))
        periods = self._elapsed(stamp)
        if image is None:
            self.detections = []
            return self._tracks.update(None, periods)
        self._tracks.follow_size((image.shape[0], image.shape[1]))
        self._tracks.turn(moved, periods)
        expected = self._tracks.report(min(periods, LONGEST_STEP), tentative=True)
        self.detections = self._perception.see(image, moved, self._targets, expected, moves)
        if self._perception.cut:
            self._tracks.cut()
        tracks = self._tracks.update(self.detections, periods)
        self._tracks.turn(moves, periods)
        return tracks

    def track_still(self, image: Images, steps: int = 3) -> list[Track]:
        """Track a still that has nothing to do with the image before: reset, then update several times.

        Parameters
        ----------
        image
            As for `update`.
        steps
            How often the network is shown the image, at least once.

        Returns
        -------
        list of Track
            As `update`.
        """
        image = as_bgr(image)
        self.reset()
        tracks = self.update(image)
        for _ in range(steps - 1):
            tracks = self.update(image)
        return tracks

    look = track_still

    @property
    def fovea(self) -> tuple[int, int, int, int] | None:
        """The window x, y, w, h of the second look, source px; None where there was none."""
        v = self._perception.window
        return None if v is None else (v.x, v.y, v.width, v.height)

    def forecast(self, frames: float) -> list[Track]:
        """Return the last frame's tracks as expected `frames` later: their boxes moved on."""
        return self._tracks.report(frames)

    def _elapsed(self, stamp: float | None) -> float:
        """Return the time since the last frame, in usual frame periods; reset on a jump."""
        step = self._clock.step(stamp)
        if step.jumped:
            clock = self._clock
            self.reset()
            self._clock = clock
        elif step.gap:
            self._perception.forget()
        return step.periods

    def heatmap(self, target: str) -> Floats:
        """Return the last frame's presence of `target`, (rows, cols) float32 in 0..1.

        The map covers the network's input, bars included; see `source_view`.
        """
        (target,) = self._checked_targets(target)
        return self._perception.heatmap(target)

    def snapshot(self) -> tuple[HierarchyConfig, dict[str, Floats], dict[str, Any]]:
        """Return copies of the network as it is now: what `save_model` takes after the path."""
        network = self._network
        weights = {k: np.array(to_numpy(v)) for k, v in network.weights.items()}
        history = {k: v for k, v in self._history.items() if k != SHOWN} | {
            "steps": network.step_count,
            "awake_steps": self._history.get("awake_steps", 0) + self._perception.changes,
        }
        if self._shown.names:
            history[SHOWN] = self._shown.entries()
        return self.config, weights | self._shown.tensors(), history

    def swap(self, model: str | Path) -> None:
        """Go on with another model, as a sleep makes it: between two frames, tracks stay.

        Parameters
        ----------
        model
            A model file of this network's configuration. Targets that were shown stay as they are.

        Raises
        ------
        PvmError
            It cannot be loaded or is of another configuration; nothing changes then.
        """
        config, weights, history = load_model(model)
        if config.to_dict() != self.config.to_dict():
            raise PvmError(f"the model {model} is another network than the one that runs")
        device, fovea, calibration = self._built
        network, notice = build_network(config, weights, device, history.get("steps", 0))
        perception = Perception(network, history, fovea, calibration)
        perception.warm_up()
        learning, budget = self.learning, self.learning_budget
        self._versions += self._perception.changes + 1
        self.model, self._history, self.notice = Path(model), history, notice
        self._perception, self._teacher = perception, None
        perception.find_shown(self._shown)
        self.learning, self.learning_budget = learning, budget

    def save(self, path: str | Path) -> None:
        """Write the network as it is now, with what it learnt, to a model file."""
        save_model(path, *self.snapshot())

    def info(self) -> dict[str, Any]:
        """Return what this tracker runs: model, size, device, training history."""
        return {
            "model": str(self.model),
            "network": self.config.name,
            "device": self.runs_on,
            "targets": list(self.targets),
            "weights": sum(int(w.size) for w in self._network.weights.values()),
            "input": [self.config.width, self.config.height],
            "history": self._history,
            "settings": dataclasses.asdict(self.settings),
        }
