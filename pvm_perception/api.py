"""The tracker as a Python object; the node, `track` and `evaluate` all go through it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pvm_perception.core.backend import OneThread, to_numpy
from pvm_perception.core.config import MOTION_VALUES, HierarchyConfig
from pvm_perception.core.interfaces import Network
from pvm_perception.core.model_file import load_model, save_model
from pvm_perception.core.placement import build_network, sharing_weights, switch_to_learning
from pvm_perception.errors import PvmError
from pvm_perception.shipped import shipped
from pvm_perception.types import TARGETS, Detection, Track
from pvm_perception.vision.calibration import Calibration
from pvm_perception.vision.eye import Eye
from pvm_perception.vision.foresight import Foresight, expected
from pvm_perception.vision.fovea import Fovea, merge
from pvm_perception.vision.frame import View, as_bgr
from pvm_perception.vision.frame_clock import FrameClock
from pvm_perception.vision.tracker import LONGEST_STEP, TrackerSettings, TrackManager

GOOD_FORECAST = 1.5  # mean error over copying on validation clips, of a network worth its state


def default_model() -> Path:
    """Return the path of the model that ships with the package."""
    return shipped("models/robot.safetensors")


class Tracker:
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
        Whether the hierarchy goes on learning to predict from the frames themselves.
    settings
        How readouts become tracks.
    fovea
        Whether to look a second time, at higher resolution, at what is tracked or sought.
    calibration
        From readout scores to probabilities; None takes the model's own.

    Attributes
    ----------
    notice : why the network runs slower than it might, in one line; empty where it does not

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

    def __init__(self, targets: Sequence[str] = TARGETS, model: str | Path | None = None,
                 device: str = "cpu", learn: bool = False,
                 settings: TrackerSettings | None = None, fovea: bool = True,
                 calibration: Calibration | None = None) -> None:
        if isinstance(targets, str):
            targets = (targets,)
        self.model = Path(model) if model is not None else default_model()
        config, weights, self._history = load_model(self.model)
        unknown = [t for t in targets if t not in config.targets]
        if unknown or not targets:
            what = f"unknown target {unknown[0]!r}" if unknown else "no target was named"
            raise PvmError(f"{what}; this model knows {', '.join(config.targets)}")
        self.targets = tuple(targets)
        self._one_thread = OneThread()
        self.config = config
        network, self.notice = build_network(config, weights, device, learn, self._history.get("steps", 0))
        # the paper's readout draws one contour a frame: a second look has nothing to add to it
        self._fovea = Fovea() if fovea and config.readout.kind == "box" else None
        # of a network that never forecast well, a bad forecast says nothing
        well = self._history.get("validation", {}).get("prediction_over_copy", math.inf) < GOOD_FORECAST
        self._whole = Eye(network, self.targets, well)
        self._near = Eye(sharing_weights(network), self.targets, well) if self._fovea else None
        self._eyes = [eye for eye in (self._whole, self._near) if eye]
        self._calibration = calibration or Calibration.of(self._history)
        self._foresight = Foresight()
        self._tracks = TrackManager(settings or TrackerSettings())
        self._learning = learn
        self.model_version = 0
        self.detections: list[Detection] = []
        self.reset()

    def reset(self) -> None:
        """Forget the past: recurrent state and tracks. Weights, and what was learnt, stay."""
        self._forget()
        self._tracks.reset()
        self._view: View | None = None
        self._size: tuple[int, int] | None = None
        self._clock = FrameClock()
        self._frames = 0
        self.detections = []

    def _forget(self) -> None:
        """Forget the recurrent state of both looks."""
        for eye in self._eyes:
            eye.reset()
        if self._fovea:
            self._fovea.reset()

    @property
    def network_steps(self) -> int:
        """How often networks were shown a picture so far: once a frame or more."""
        return sum(eye.steps for eye in self._eyes)

    @property
    def _network(self) -> Network:
        return self._whole.network

    @property
    def times_diverged(self) -> int:
        """How often a state that had lost itself was begun anew."""
        return sum(eye.times_diverged for eye in self._eyes)

    @property
    def device(self) -> str:
        """The device that the network runs on: "cpu" or "cuda"."""
        return "cpu" if self._network.xp is np else "cuda"

    @property
    def runs_on(self) -> str:
        """What computes the network: "cpu kernels (avx2)", "cpu (NumPy)", "cuda kernels" or the like."""
        return self._network.runs_on

    @property
    def learning(self) -> bool:
        """Whether the hierarchy goes on learning; may be changed between frames.

        Kernels do not learn: where they ran, arrays take over for good, with the weights and the state.
        """
        return self._learning

    @learning.setter
    def learning(self, value: bool) -> None:
        if value:
            near = self._near.network if self._near else None
            self._whole.network, near = switch_to_learning(self._network, near)
            if self._near:
                self._near.network = near
        self._learning = value

    def warm_up(self) -> None:
        """Let the device compile, load and allocate now what else the first frame would wait for."""
        with self._one_thread:
            for eye in self._eyes:
                eye.warm_up()
        self._forget()

    @property
    def period(self) -> float:
        """The usual time between two frames, seconds, as the stamps told so far."""
        return self._clock.period

    @property
    def settings(self) -> TrackerSettings:
        """How readouts become tracks; may be replaced between frames."""
        return self._tracks.settings

    @settings.setter
    def settings(self, value: TrackerSettings) -> None:
        self._tracks.settings = value

    def update(self, image: np.ndarray | None, stamp: float | None = None,
               motion: Sequence[float] | np.ndarray | None = None) -> list[Track]:
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

        Returns
        -------
        list of Track
            Boxes in pixels of `image`, one for each target believed present.

        Raises
        ------
        PvmError
            If the image is not one of these, or the motion not four finite numbers; nothing changes
            then.
        """
        if image is not None:
            image = as_bgr(image)
        if motion is not None:
            motion = _checked_motion(motion)
        dt = self._elapsed(stamp)
        if image is None:
            self.detections = []
            return self._tracks.update(None, dt)
        with self._one_thread:
            self._see(image, dt, motion)
        return self._tracks.update(self.detections, dt)

    def _see(self, image: np.ndarray, dt: float, motion: np.ndarray | None) -> None:
        """Run the network on a frame; leave what it saw in `detections`."""
        if image.shape[:2] != self._size:
            self._size = image.shape[:2]
            self._view = View.fit(self._size, (self.config.height, self.config.width))
            self._forget()  # a new resolution or aspect: the old codes lie elsewhere
        self.detections = self._whole.see(image, self._view, motion)
        self._frames += 1
        if self._fovea:
            self._look_closer(image, dt, motion)
        self.detections = [Detection(d.target, d.x, d.y, d.w, d.h, self._calibration.probability(d.score))
                           for d in self.detections]
        if self.learning:
            self._network.learn()
            self.model_version += 1

    def _look_closer(self, image: np.ndarray, dt: float, motion: np.ndarray | None) -> None:
        """Run the second look and join what both saw."""
        tracks = self._tracks.report(min(dt, LONGEST_STEP), tentative=True)
        view = self._fovea.choose(self._view, tracks, self.detections)
        if view is None:
            return
        if self._fovea.moved:
            self._near.reset()  # so the window's own jump is not heard as motion either
        near = self._near.see(image, view, motion)
        self._fovea.note_detections(near)
        self.detections = merge(self.detections, near, view, self._view)

    def track_still(self, image: np.ndarray, steps: int = 3) -> list[Track]:
        """Look at a still that has nothing to do with the image before: reset, then look often.

        Same arguments, answer and errors as `update`.
        """
        image = as_bgr(image)
        self.reset()
        for _ in range(steps):
            tracks = self.update(image)
        return tracks

    look = track_still

    @property
    def fovea(self) -> tuple[int, int, int, int] | None:
        """The window x, y, w, h of the second look, source px; None where there was none."""
        v = self._fovea.view if self._fovea else None
        return None if v is None else (v.x, v.y, v.width, v.height)

    def forecast(self, frames: float) -> list[Track]:
        """Return the last frame's tracks as expected `frames` later, boxes moved on."""
        return self._tracks.report(frames)

    def _elapsed(self, stamp: float | None) -> float:
        """Return the time since the last frame, in usual frame periods; reset on a jump."""
        step = self._clock.step(stamp)
        if step.jumped:
            clock = self._clock
            self.reset()
            self._clock = clock
        elif step.gap:
            self._forget()
        return step.periods

    def heatmap(self, target: str) -> np.ndarray:
        """Return the last frame's presence of `target`, (rows, cols) float32 in 0..1.

        The map covers the network's input, bars included; see `source_view`.
        """
        if target not in self.config.targets:
            raise PvmError(f"unknown target {target!r}; this model knows "
                           f"{', '.join(self.config.targets)}")
        if not self._frames:
            cells = self.config.cells
            return np.zeros((cells.rows, cells.cols), np.float32)
        index = self.config.targets.index(target)
        return np.ascontiguousarray(self._network.heat()[0, :, :, index],
                                    np.float32)

    def prediction(self) -> np.ndarray:
        """Return the frame it expects next, (h, w, 3) uint8 BGR, at the network's resolution."""
        return expected(self._network, self._view)

    def foresee(self, steps: int) -> list[np.ndarray]:
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
        with self._one_thread:
            return self._foresight.images(self._network, self._view, steps)

    def surprise(self) -> np.ndarray:
        """Return how surprised each unit is by the last frame, (rows, cols) float32.

        The squared error of its forecast over the one that it expected: about 1 where all is as usual. A
        model without a forecast by moves gives the root mean square error, full range from black to white.
        """
        return self._network.surprise()[0]

    def moves(self) -> np.ndarray | None:
        """Return how each unit expects its part of the picture to move on, (rows, cols, 2) float32.

        From the last frame to the next: px to the right and px down at the network's resolution. The units
        are those of `surprise`. None of a model without a forecast by moves.
        """
        moves = self._network.moves()  # where from
        return None if moves is None else -moves[0, :, :, ::-1]

    def codes(self) -> dict[str, np.ndarray]:
        """Return each layer's codes at the last frame, from the bottom: (rows, cols, N) float32.

        Of the first look, which sees the whole frame; zeros before there was one.
        """
        return {layer.name: self._network.codes(layer.name)[0].reshape(layer.rows, layer.cols, -1)
                for layer in self.config.layers}

    def prediction_error(self) -> tuple[float, float]:
        """Return (forecast's, copying's) mean squared error at the last frame.

        Copying means to expect the frame before once more. Units: full range from black to white,
        squared. NaN until two frames of a stream were seen.
        """
        return self._whole.forecast_errors() if self._whole.had_forecast else (math.nan, math.nan)

    def snapshot(self) -> tuple[HierarchyConfig, dict[str, np.ndarray], dict[str, Any]]:
        """Return copies of the network as it is now: what `save_model` takes after the path."""
        network = self._network
        weights = {k: np.array(to_numpy(v)) for k, v in network.weights.items()}
        return self.config, weights, self._history | {"steps": network.step_count}

    def save(self, path: str | Path) -> None:
        """Write the network as it is now, with what it learnt, to a model file."""
        save_model(path, *self.snapshot())

    def info(self) -> dict[str, Any]:
        """Return what this tracker runs: model, size, device, training history."""
        return {"model": str(self.model), "network": self.config.name, "device": self.runs_on,
                "targets": list(self.targets), "weights": sum(
                    int(w.size) for w in self._network.weights.values()),
                "input": [self.config.width, self.config.height], "history": self._history,
                "settings": dataclasses.asdict(self.settings)}


def _checked_motion(motion: Sequence[float] | np.ndarray) -> np.ndarray:
    """Return (4,) float32."""
    try:
        values = np.asarray(motion, np.float32)
    except (TypeError, ValueError):
        values = np.empty(0, np.float32)
    if values.shape != (MOTION_VALUES,) or not np.isfinite(values).all():
        raise PvmError(f"motion must be {MOTION_VALUES} finite numbers (shift right, shift down, roll, "
                       f"log growth) or None, not {motion!r}")
    return values
